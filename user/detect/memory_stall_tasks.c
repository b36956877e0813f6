/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who was in reclaim for how long within the window. The kernel's counters only grow; what they grew
 * by between two looks is one slot of a ring. A reclaim that goes on counts up to the look.
 */
#include "detect/memory_stall.h"

void stall_tasks_clear(struct stall_tasks *tasks)
{
	for (size_t i = 0; i < tasks->group_count; i++)
		free(tasks->groups[i].path);
	free(tasks->groups);
	free(tasks->tasks);
	*tasks = (struct stall_tasks){};
}

static size_t slot_of(const struct stall_tasks *tasks)
{
	return tasks->look % STALL_SLOTS;
}

static void empty_slot(struct stall_share *share, size_t slot)
{
	share->ns[slot] = share->reclaims[slot] = 0;
}

static void add(struct stall_share *share, size_t slot, uint64_t ns, uint64_t reclaims)
{
	share->ns[slot] += ns;
	share->reclaims[slot] += reclaims;
}

uint64_t stall_share_ns(const struct stall_share *share)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < STALL_SLOTS; i++)
		sum += share->ns[i];
	return sum;
}

uint64_t stall_share_reclaims(const struct stall_share *share)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < STALL_SLOTS; i++)
		sum += share->reclaims[i];
	return sum;
}

void stall_tasks_begin(struct stall_tasks *tasks, uint64_t boot_ns)
{
	tasks->look++;
	tasks->slot_began_ns = tasks->boot_ns;
	tasks->boot_ns = boot_ns;
	for (size_t i = 0; i < tasks->count; i++)
		empty_slot(&tasks->tasks[i].share, slot_of(tasks));
	for (size_t i = 0; i < tasks->group_count; i++) {
		empty_slot(&tasks->groups[i].all, slot_of(tasks));
		empty_slot(&tasks->groups[i].gone, slot_of(tasks));
	}
}

static bool same_group(const struct cgroup_counters_key *a, const struct cgroup_counters_key *b)
{
	return a->cgroup_id == b->cgroup_id && a->hierarchy == b->hierarchy;
}

static struct stall_group *obtain_group(struct stall_tasks *tasks,
					const struct cgroup_counters_key *key)
{
	for (size_t i = 0; i < tasks->group_count; i++)
		if (same_group(&tasks->groups[i].key, key))
			return &tasks->groups[i];
	if (tasks->group_count == tasks->group_capacity) {
		size_t capacity = MAX(tasks->group_capacity * 2, (size_t)16);
		struct stall_group *grown = reallocarray(tasks->groups, capacity, sizeof(*grown));

		if (!grown)
			return NULL;
		tasks->groups = grown;
		tasks->group_capacity = capacity;
	}
	struct stall_group *group = &tasks->groups[tasks->group_count++];

	*group = (struct stall_group){.key = *key};
	return group;
}

/* The kernel's table keeps its order, so that the next one mostly follows. */
static struct stall_task *find(struct stall_tasks *tasks, uint32_t pid)
{
	for (size_t i = 0; i < tasks->count; i++) {
		size_t at = (tasks->next + i) % tasks->count;

		if (tasks->tasks[at].pid == pid) {
			tasks->next = at + 1;
			return &tasks->tasks[at];
		}
	}
	return NULL;
}

static struct stall_task *add_task(struct stall_tasks *tasks, uint32_t pid)
{
	if (tasks->count == tasks->capacity) {
		size_t capacity = MAX(tasks->capacity * 2, (size_t)64);
		struct stall_task *grown = reallocarray(tasks->tasks, capacity, sizeof(*grown));

		if (!grown)
			return NULL;
		tasks->tasks = grown;
		tasks->capacity = capacity;
	}
	struct stall_task *task = &tasks->tasks[tasks->count++];

	*task = (struct stall_task){.pid = pid};
	return task;
}

/* Time in reclaim until now. */
static uint64_t stalled_ns(const struct reclaiming_task *seen, uint64_t boot_ns)
{
	return seen->total_ns +
	       (seen->since_ns ? boot_ns - MIN(boot_ns, seen->since_ns) : UINT64_C(0));
}

/* The group that TASK was in at the last look: there is one as long as the task is. */
static struct stall_group *group_of(struct stall_tasks *tasks, const struct stall_task *task)
{
	for (size_t i = 0; i < tasks->group_count; i++)
		if (same_group(&tasks->groups[i].key, &task->seen.group))
			return &tasks->groups[i];
	return NULL;
}

static void leave_group(struct stall_tasks *tasks, const struct stall_task *task)
{
	struct stall_group *group = group_of(tasks, task);

	if (group)
		group->tasks--;
}

void stall_tasks_end(struct stall_tasks *tasks, size_t index)
{
	struct stall_task *task = &tasks->tasks[index];
	struct stall_group *group = group_of(tasks, task);

	for (size_t i = 0; group && i < STALL_SLOTS; i++)
		add(&group->gone, i, task->share.ns[i], task->share.reclaims[i]);
	leave_group(tasks, task);
	*task = tasks->tasks[--tasks->count];
}

int stall_tasks_see(struct stall_tasks *tasks, uint32_t pid, const struct reclaiming_task *seen)
{
	struct stall_group *group = obtain_group(tasks, &seen->group);
	struct stall_task *task = find(tasks, pid);
	uint64_t before_ns = 0, reclaims_before = 0;

	if (!group)
		return -ENOMEM;
	/* Its number has been given to another one. */
	if (task && task->seen.start_boot_ns != seen->start_boot_ns) {
		stall_tasks_end(tasks, (size_t)(task - tasks->tasks));
		task = NULL;
	}
	if (task) {
		before_ns = stalled_ns(&task->seen, tasks->slot_began_ns);
		reclaims_before = task->seen.reclaims;
		leave_group(tasks, task);
	} else {
		task = add_task(tasks, pid);
	}
	if (!task)
		return -ENOMEM;
	group->tasks++;
	uint64_t now_ns = stalled_ns(seen, tasks->boot_ns);
	uint64_t ns = now_ns - MIN(now_ns, before_ns);
	uint64_t reclaims = seen->reclaims - MIN(seen->reclaims, reclaims_before);

	task->seen = *seen;
	task->look = tasks->look;
	add(&task->share, slot_of(tasks), ns, reclaims);
	add(&group->all, slot_of(tasks), ns, reclaims);
	return 0;
}

void stall_tasks_forget_past(struct stall_tasks *tasks)
{
	for (size_t i = 0; i < tasks->count; i++)
		tasks->tasks[i].share = (struct stall_share){};
	for (size_t i = 0; i < tasks->group_count; i++)
		tasks->groups[i].all = tasks->groups[i].gone = (struct stall_share){};
}

ssize_t stall_tasks_idle_group(const struct stall_tasks *tasks)
{
	for (size_t i = 0; i < tasks->group_count; i++)
		if (!tasks->groups[i].tasks && !stall_share_ns(&tasks->groups[i].all))
			return (ssize_t)i;
	return -1;
}

void stall_tasks_forget_group(struct stall_tasks *tasks, size_t index)
{
	free(tasks->groups[index].path);
	tasks->groups[index] = tasks->groups[--tasks->group_count];
}
