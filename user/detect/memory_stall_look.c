/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The looks: what the kernel's tables have of tasks that reclaim, whose limits they are at, and what
 * has to be told. What a stall is, is memory_stall_judge.c's to say.
 */
#include "detect/memory_stall.h"

#include <fcntl.h>

#include <bpf/bpf.h>

#include "base/file.h"

#define WINDOWS_UNTIL_TOLD_AGAIN 10
#define LEVELS_MAX 32
#define ENTRIES_AT_ONCE 256 /* of the kernel's table */
#define GROUPS_PER_LOOK 64 /* of a walk, and LOOK_NS to the next ones */
#define LOOK_NS (50 * NS_PER_MS)
#define WARNING_INTERVAL_NS (600 * NS_PER_S)

/* --- The kernel's tables --- */

/* False if not all of them could be read. */
static bool read_tasks(struct stall_state *state)
{
	static const struct bpf_map_batch_opts options = {.sz = sizeof(options)};
	uint32_t pids[ENTRIES_AT_ONCE], next, *from = NULL;
	struct reclaiming_task seen[ENTRIES_AT_ONCE];
	bool all = true;
	int r;

	do {
		uint32_t count = ENTRIES_AT_ONCE;

		r = bpf_map_lookup_batch(state->tasks_fd, from, &next, pids, seen, &count,
					 &options);
		if (r < 0 && r != -ENOENT)
			return false;
		for (uint32_t i = 0; i < count; i++)
			all &= stall_tasks_see(&state->tasks, pids[i], &seen[i]) == 0;
		from = &next;
	} while (r == 0);
	return all;
}

void stall_take_over(struct detector_run *run)
{
	struct stall_state *state = run->state;

	stall_tasks_begin(&state->tasks, clock_boot(run->clock));
	read_tasks(state);
	stall_tasks_forget_past(&state->tasks);
}

static bool is_gone(const struct host *host, uint32_t pid)
{
	char name[16];

	snprintf(name, sizeof(name), "%u", pid);
	return faccessat(host->proc, name, F_OK, 0) < 0 && errno == ENOENT;
}

/*
 * Takes out whom nothing is known of any more: threads that have ended, and where the table is nearly
 * full those that did not reclaim within the window.
 */
static void forget_tasks(struct detector_run *run)
{
	struct stall_state *state = run->state;
	struct stall_tasks *tasks = &state->tasks;
	bool crowded = tasks->count > RECLAIMING_TASKS_MAX / 4 * 3;

	for (size_t i = tasks->count; i-- > 0;) {
		const struct stall_task *task = &tasks->tasks[i];
		bool idle =
			!task->seen.since_ns && !task->share.reclaims[tasks->look % STALL_SLOTS];

		if (task->look == tasks->look &&
		    (!idle || !(is_gone(run->host, task->pid) ||
				(crowded && !stall_share_ns(&task->share)))))
			continue;
		bpf_map_delete_elem(state->tasks_fd, &task->pid);
		stall_tasks_end(tasks, i);
	}
}

static void forget_groups(struct stall_state *state)
{
	for (ssize_t i; (i = stall_tasks_idle_group(&state->tasks)) >= 0;) {
		bpf_map_delete_elem(state->groups_fd, &state->tasks.groups[i].key);
		stall_tasks_forget_group(&state->tasks, (size_t)i);
	}
}

/* False if it is not known, or not the whole of it. */
static bool find_path(struct detector_run *run, struct stall_group *group)
{
	struct stall_state *state = run->state;
	char path[EVENT_CGROUP_PATH_SIZE];
	struct event_cgroup cgroup;

	if (group->path)
		return true;
	if (bpf_map_lookup_elem(state->groups_fd, &group->key, &cgroup) < 0)
		return false;
	/* While the kernel fills it in. */
	if (cgroup.id != group->key.cgroup_id || cgroup.truncated)
		return false;
	group->path = strdup(event_cgroup_path(&cgroup, path, sizeof(path)));
	return group->path;
}

/* --- Limits --- */

static struct stall_limit *find_limit(struct stall_state *state, const char *path)
{
	for (size_t i = 0; i < state->limit_count; i++)
		if (streq(state->limits[i].path, path))
			return &state->limits[i];
	return NULL;
}

static struct stall_limit *obtain_limit(struct stall_state *state, const char *path)
{
	struct stall_limit *limit = find_limit(state, path);
	uint32_t suppressed;

	if (limit)
		return limit;
	if (state->limit_count == STALL_LIMITS_MAX) {
		if (log_limit_pass(&state->full_limit, 1, WARNING_INTERVAL_NS, &suppressed))
			log_warning("more than %d control groups have a limit of memory: the "
				    "others, as %s, are not watched",
				    STALL_LIMITS_MAX, path);
		return NULL;
	}
	limit = &state->limits[state->limit_count];
	*limit = (struct stall_limit){.path = strdup(path)};
	if (!limit->path)
		return NULL;
	state->limit_count++;
	return limit;
}

/* The limit of the group PATH itself with its counters as they are now; NULL if it has none. */
static struct stall_limit *sample_limit(struct detector_run *run, const char *path)
{
	struct stall_state *state = run->state;
	struct stall_limit *limit = find_limit(state, path);
	struct limit_counters counters;

	if (!limit || limit->look != state->tasks.look) {
		if (limit_counters_read(run->host, path, &counters) < 0 ||
		    !limit_counters_limited(&counters))
			return NULL;
		limit = obtain_limit(state, path);
		if (!limit)
			return NULL;
		stall_limit_add(limit, &counters, state->tasks.boot_ns);
		limit->look = state->tasks.look;
	}
	limit->wanted_look = state->tasks.look;
	return limit;
}

/*
 * Whose limit makes the tasks of GROUP reclaim: of those at and above it the lowest that a charge met
 * within the window, or that it is near to.
 */
static void find_limit_of(struct detector_run *run, struct stall_group *group)
{
	char path[EVENT_CGROUP_PATH_SIZE];
	bool hit = false;

	group->limit = NULL;
	snprintf(path, sizeof(path), "%s", group->path);
	for (unsigned i = 0; i < LEVELS_MAX && path[0] && !streq(path, "/"); i++) {
		struct stall_limit *limit = sample_limit(run, path);

		*strrchr(path, '/') = '\0';
		if (!limit || hit)
			continue;
		hit = stall_limit_was_hit(limit);
		if (hit || (!group->limit && stall_limit_is_near(limit)))
			group->limit = limit;
	}
}

/* --- Telling --- */

/* Reclaimed for longer within the window, or else is in it for longer. */
static int compare_tasks(const void *a, const void *b)
{
	const struct stall_task *left = *(const struct stall_task *const *)a,
				*right = *(const struct stall_task *const *)b;
	uint64_t left_ns = stall_share_ns(&left->share), right_ns = stall_share_ns(&right->share);

	return left_ns < right_ns ? 1 : left_ns > right_ns ? -1 : 0;
}

static bool is_below(const struct stall_state *state, const struct stall_task *task,
		     const struct stall_limit *limit)
{
	for (size_t i = 0; i < state->tasks.group_count; i++) {
		const struct stall_group *group = &state->tasks.groups[i];

		if (group->limit == limit && group->key.cgroup_id == task->seen.group.cgroup_id &&
		    group->key.hierarchy == task->seen.group.hierarchy)
			return true;
	}
	return false;
}

/* The tasks below LIMIT that were in reclaim within the window, into TASKS. Returns how many. */
static size_t gather(const struct stall_state *state, const struct stall_limit *limit,
		     const struct stall_task **tasks, struct stall_work *ret_work)
{
	struct stall_work work = {};
	size_t count = 0;

	for (size_t i = 0; i < state->tasks.group_count; i++) {
		const struct stall_group *group = &state->tasks.groups[i];

		if (group->limit != limit)
			continue;
		work.reclaim_ns += stall_share_ns(&group->all);
		work.reclaims += stall_share_reclaims(&group->all);
		work.worst_ns = MAX(work.worst_ns, stall_share_ns(&group->gone));
	}
	for (size_t i = 0; work.reclaim_ns && i < state->tasks.count; i++) {
		const struct stall_task *task = &state->tasks.tasks[i];
		uint64_t ns = stall_share_ns(&task->share), since_ns = task->seen.since_ns;

		if (!ns || !is_below(state, task, limit))
			continue;
		work.worst_ns = MAX(work.worst_ns, ns);
		if (since_ns)
			work.longest_ns =
				MAX(work.longest_ns,
				    state->tasks.boot_ns - MIN(state->tasks.boot_ns, since_ns));
		tasks[count++] = task;
	}
	qsort(tasks, count, sizeof(tasks[0]), compare_tasks);
	*ret_work = work;
	return count;
}

static void tell(struct detector_run *run, struct stall_limit *limit,
		 const struct stall_subject *subject, bool cleared)
{
	struct finding finding;

	if (stall_finding(run, subject, cleared, &finding) < 0) {
		log_error("reporting the memory stall of control group %s: out of memory",
			  limit->path);
		return;
	}
	limit->told_ns = cleared ? 0 : subject->boot_ns;
	detector_report(run, &finding);
}

static void judge(struct detector_run *run, struct stall_limit *limit,
		  const struct stall_task **tasks)
{
	const struct stall_settings *settings = run->settings;
	struct stall_state *state = run->state;
	struct stall_work work;
	size_t count = gather(state, limit, tasks, &work);
	uint64_t again_ns = WINDOWS_UNTIL_TOLD_AGAIN * settings->threshold_ns;
	const struct stall_subject subject = {
		.limit = limit,
		.work = &work,
		.judgement = stall_judge(limit, &work, settings->threshold_ns,
					 (unsigned)settings->percent),
		.tasks = tasks,
		.count = count,
		.threshold_ns = settings->threshold_ns,
		.boot_ns = state->tasks.boot_ns,
	};

	if (!limit->told_ns) {
		if (subject.judgement.stalled)
			tell(run, limit, &subject, false);
	} else if (subject.judgement.over) {
		tell(run, limit, &subject, true);
	} else if (subject.boot_ns - limit->told_ns >= again_ns) {
		tell(run, limit, &subject, false);
	}
}

/* The group is gone, or has no limit any more. */
static void tell_gone(struct detector_run *run, struct stall_limit *limit)
{
	const struct stall_settings *settings = run->settings;
	const struct stall_work work = {};
	const struct stall_subject subject = {
		.limit = limit,
		.work = &work,
		.threshold_ns = settings->threshold_ns,
		.boot_ns = clock_boot(run->clock),
	};

	tell(run, limit, &subject, true);
}

/* Judges what was sampled in this look, and forgets what nobody asked for within a window. */
static void judge_all(struct detector_run *run)
{
	struct stall_state *state = run->state;
	_cleanup_free_ const struct stall_task **tasks =
		calloc(state->tasks.count + 1, sizeof(*tasks));

	for (size_t i = state->limit_count; tasks && i-- > 0;) {
		struct stall_limit *limit = &state->limits[i];

		if (limit->look == state->tasks.look)
			judge(run, limit, tasks);
		else if (limit->told_ns)
			tell_gone(run, limit);
		if (limit->told_ns || state->tasks.look - limit->wanted_look <= STALL_SLOTS)
			continue;
		free(limit->path);
		*limit = state->limits[--state->limit_count];
	}
}

/* --- Looks --- */

static uint64_t period_ns(const struct detector_run *run)
{
	return ((const struct stall_settings *)run->settings)->threshold_ns / STALL_SLOTS;
}

/*
 * Where only reclaim tells of a stall, the limits are read of those that reclaim a good deal: pages of
 * files are dropped at many a limit, all day long.
 */
static bool is_wanted(const struct detector_run *run, const struct stall_group *group)
{
	const struct stall_settings *settings = run->settings;
	uint64_t ns = stall_share_ns(&group->all);

	return group->key.hierarchy == 0
		       ? ns > 0
		       : ns * 400 >= settings->threshold_ns * (uint64_t)settings->percent;
}

uint64_t stall_look_at_reclaim(struct detector_run *run)
{
	struct stall_state *state = run->state;

	stall_tasks_begin(&state->tasks, clock_boot(run->clock));
	bool all = read_tasks(state);

	run->lost = *state->lost;
	for (size_t i = 0; i < state->tasks.group_count; i++) {
		struct stall_group *group = &state->tasks.groups[i];

		group->limit = NULL;
		if (is_wanted(run, group) && find_path(run, group))
			find_limit_of(run, group);
	}
	for (size_t i = 0; i < state->limit_count; i++)
		if (state->limits[i].told_ns)
			sample_limit(run, state->limits[i].path);
	judge_all(run);
	/* Whom this look did not see may be stuck all the same. */
	if (all) {
		forget_tasks(run);
		forget_groups(state);
	}
	return period_ns(run);
}

static void visit(struct detector_run *run, const struct cgroup_walk_group *group)
{
	struct stall_state *state = run->state;
	struct limit_counters counters;
	struct stall_limit *limit;

	if (limit_counters_read_at(group->fd, CGROUP_V2, &counters) < 0 ||
	    !limit_counters_limited(&counters))
		return;
	limit = obtain_limit(state, group->path);
	if (!limit)
		return;
	stall_limit_add(limit, &counters, clock_boot(run->clock));
	limit->look = limit->wanted_look = state->tasks.look;
}

uint64_t stall_look_at_pressure(struct detector_run *run)
{
	struct stall_state *state = run->state;
	uint64_t boot_ns = clock_boot(run->clock);
	bool complete = false;

	if (!state->under_way) {
		stall_tasks_begin(&state->tasks, boot_ns);
		state->under_way = true;
		state->round_began_ns = boot_ns;
	}
	for (unsigned i = 0; i < GROUPS_PER_LOOK && state->under_way; i++) {
		struct cgroup_walk_group group;
		int r = cgroup_walk_next(state->walk, &group);

		if (r == 0)
			visit(run, &group);
		/* What was not looked at may be as it was. */
		complete = r == -ENODATA;
		state->under_way = r == 0;
	}
	if (state->under_way)
		return LOOK_NS;
	state->tasks.boot_ns = boot_ns;
	if (complete)
		judge_all(run);
	uint64_t due_ns = state->round_began_ns + period_ns(run);

	return due_ns > boot_ns + LOOK_NS ? due_ns - boot_ns : LOOK_NS;
}
