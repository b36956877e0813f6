/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lasts for how long at a shim, look by look, and when that is worth a word. Owns what is
 * remembered of each shim and its children; does no I/O: what it must know of the shim's
 * containers, and the question to the shim, are its caller's.
 *
 * A shim that reaps anything within a threshold is slow, not stalled: nothing is said of its
 * zombies, of an init that it holds or of an answer that it owes for as long as it does.
 */
#include "detect/shim_stall.h"

#define TELL_AGAIN_THRESHOLDS 10

const char *const held_by_names[] = {
	[HELD_BY_UNKNOWN] = "unknown",
	[HELD_BY_SHIM] = "shim",
	[HELD_BY_TASK] = "task",
};

const char *const ask_outcome_names[] = {
	[ASK_NONE] = "",
	[ASK_WAITING] = "no answer",
	[ASK_REFUSED] = "connection refused",
	[ASK_CLOSED] = "connection closed",
	[ASK_NOT_ACCEPTED] = "not accepted",
};

struct stall_watch {
	struct stall_watch_options options;
	struct stalled_shim **shims; /* sorted by pid and start time */
	size_t count;
	uint64_t now_ns; /* of the look: what was watched so far */
	uint64_t last_ns; /* … before */
	uint64_t clock_ns; /* by the caller's clock */
};

/* --- Sorting --- */

static int compare(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare_shims(const void *a, const void *b)
{
	const struct event_task *left = &((const struct seen_shim *)a)->task,
				*right = &((const struct seen_shim *)b)->task;
	int order = compare(left->tgid, right->tgid);

	return order ? order : compare(left->start_boot_ns, right->start_boot_ns);
}

static int compare_children(const struct seen_task *left, const struct seen_task *right)
{
	int order = compare(left->pid, right->pid);

	return order ? order : compare(left->start_boot_ns, right->start_boot_ns);
}

static int compare_tasks(const void *a, const void *b)
{
	const struct seen_task *left = a, *right = b;
	int order = compare(left->shim_pid, right->shim_pid);

	if (!order)
		order = compare(left->shim_start_boot_ns, right->shim_start_boot_ns);
	return order ? order : compare_children(left, right);
}

/* --- What is remembered --- */

struct stall_watch *stall_watch_new(const struct stall_watch_options *options)
{
	struct stall_watch *watch = calloc(1, sizeof(*watch));

	if (watch)
		watch->options = *options;
	return watch;
}

static void end_request(struct stall_watch *watch, struct stalled_shim *shim)
{
	if (shim->request)
		watch->options.ask_end(watch->options.userdata, shim->request);
	shim->request = NULL;
}

static void shim_forget(struct stall_watch *watch, struct stalled_shim *shim)
{
	end_request(watch, shim);
	watch->options.forget(watch->options.userdata, shim);
	free(shim->children);
	free(shim->subject);
	free(shim);
}

void stall_watch_free(struct stall_watch *watch)
{
	if (!watch)
		return;
	for (size_t i = 0; i < watch->count; i++)
		shim_forget(watch, watch->shims[i]);
	free(watch->shims);
	free(watch);
}

/* --- Children --- */

static bool is_zombie(const struct stall_child *child)
{
	return child->seen.flags & SHIM_TASK_ZOMBIE;
}

/* Something that ended and is not over at once; what comes and goes between looks is no news. */
static void count_ending(struct stalled_shim *shim, struct stall_child *child, uint64_t since_ns,
			 uint64_t now_ns)
{
	if (!since_ns || since_ns == now_ns || child->counted)
		return;
	child->counted = true;
	shim->endings++;
}

static void child_update(struct stalled_shim *shim, struct stall_child *child,
			 const struct seen_task *seen, uint64_t now_ns)
{
	child->seen = *seen;
	if (!child->first_ns)
		child->first_ns = now_ns;
	if (!is_zombie(child))
		child->zombie_ns = 0;
	else if (!child->zombie_ns)
		child->zombie_ns = now_ns;
	/* On a CPU it is at work: freeing memory, killing the others. Held, it sleeps. */
	if (!(seen->flags & SHIM_TASK_DYING_INIT) || seen->state == 'R')
		child->dying_ns = 0;
	else if (!child->dying_ns)
		child->dying_ns = now_ns;
	count_ending(shim, child, child->zombie_ns, now_ns);
	count_ending(shim, child, child->dying_ns, now_ns);
}

static void child_gone(struct stall_watch *watch, struct stalled_shim *shim,
		       const struct stall_child *child, uint64_t now_ns)
{
	shim->reaped_ns = now_ns;
	/* Seen twice: no helper of a moment. */
	if (!child->counted && child->first_ns < watch->last_ns)
		shim->endings++;
}

/* TASKS are the shim's, sorted as its children are. */
static int merge_children(struct stall_watch *watch, struct stalled_shim *shim,
			  const struct seen_task *tasks, size_t count, uint32_t left_out_from,
			  uint64_t now_ns)
{
	size_t capacity = count + (left_out_from ? shim->child_count : 0), length = 0, old = 0;
	struct stall_child *merged = calloc(MAX(capacity, (size_t)1), sizeof(*merged));

	if (!merged)
		return -ENOMEM;
	for (size_t i = 0; i < count || old < shim->child_count;) {
		int order = i == count ? 1
			    : old == shim->child_count
				    ? -1
				    : compare_children(&tasks[i], &shim->children[old].seen);

		if (order > 0) {
			const struct stall_child *child = &shim->children[old++];

			if (!left_out_from || child->seen.pid < left_out_from)
				child_gone(watch, shim, child, now_ns);
			else if (length + count - i < SHIM_TASK_RECORDS_MAX)
				merged[length++] = *child;
			continue;
		}
		if (order == 0)
			merged[length] = shim->children[old++];
		child_update(shim, &merged[length++], &tasks[i++], now_ns);
	}
	free(shim->children);
	shim->children = merged;
	shim->child_count = length;
	return 0;
}

static bool is_holder(const struct seen_task *task, const struct stall_child *init)
{
	return task->flags & SHIM_TASK_HOLDER && task->pid_namespace == init->seen.pid_namespace;
}

/* Who is left in the namespace of a dying init: alive, or a zombie that the shim must reap. */
static enum held_by find_holder(const struct shim_look *look, const struct stalled_shim *shim,
				const struct stall_child *init)
{
	bool alive = false, others = false, any = false;

	for (size_t i = 0; i < look->task_count; i++) {
		const struct seen_task *task = &look->tasks[i];

		if (!is_holder(task, init))
			continue;
		any = true;
		if (!(task->flags & SHIM_TASK_ZOMBIE))
			alive = true;
		else if (task->shim_pid != shim->seen.task.tgid)
			others = true;
	}
	/* Alone and asleep where it cannot be woken, it holds itself. */
	if (alive || (!any && init->seen.state == 'D'))
		return HELD_BY_TASK;
	return any && !others ? HELD_BY_SHIM : HELD_BY_UNKNOWN;
}

size_t stall_holders(const struct shim_look *look, const struct stall_child *init,
		     const struct seen_task *holders[SHIM_HOLDERS_MAX])
{
	size_t count = 0;

	for (size_t i = 0; i < look->task_count && count < SHIM_HOLDERS_MAX; i++)
		if (is_holder(&look->tasks[i], init))
			holders[count++] = &look->tasks[i];
	return count;
}

/* --- The question to a shim --- */

/*
 * At the second look: by then it is no helper of a moment. What ended before the first look could
 * not be seen ending, but leaves no child, or no init.
 */
static void identify(struct stall_watch *watch, struct stalled_shim *shim, uint64_t now_ns)
{
	bool misses_init = false;
	size_t alive = 0;

	if (shim->identified || shim->first_ns == now_ns)
		return;
	int r = watch->options.identify(watch->options.userdata, shim, &misses_init);
	if (r == -EAGAIN)
		return;
	shim->identified = true;
	shim->other = r == -ENOTTY;
	for (size_t i = 0; i < shim->child_count; i++)
		alive += !is_zombie(&shim->children[i]);
	if (!shim->endings && (!alive || misses_init))
		shim->endings++;
}

static void on_answer(struct stall_watch *watch, struct stalled_shim *shim, uint64_t now_ns)
{
	end_request(watch, shim);
	shim->outcome = ASK_NONE;
	shim->asked_ns = 0;
	shim->answered_ns = now_ns;
	shim->endings_answered = shim->endings_asked;
}

static void ask_start(struct stall_watch *watch, struct stalled_shim *shim, uint64_t now_ns)
{
	enum ask_outcome outcome;

	shim->endings_asked = shim->endings;
	switch (watch->options.ask_start(watch->options.userdata, shim, &shim->request)) {
	case 0:
		outcome = ASK_WAITING;
		break;
	case -ECONNREFUSED:
		outcome = ASK_REFUSED;
		break;
	case -EAGAIN:
		outcome = ASK_NOT_ACCEPTED;
		break;
	case -EOPNOTSUPP:
		shim->cannot_ask = true;
		return;
	default: /* nothing was asked, so nothing is known */
		return;
	}
	shim->outcome = outcome;
	if (!shim->asked_ns)
		shim->asked_ns = now_ns;
}

static void ask(struct stall_watch *watch, struct stalled_shim *shim, uint64_t now_ns)
{
	if (shim->seen.stopped || shim->seen.tracer_pid) {
		end_request(watch, shim);
		shim->outcome = ASK_NONE;
		shim->asked_ns = 0;
		return;
	}
	if (shim->request) {
		int r = watch->options.ask_check(watch->options.userdata, shim, shim->request);

		if (r == -EINPROGRESS)
			return;
		if (r == 0) {
			on_answer(watch, shim, now_ns);
		} else if (r == -EBADMSG) {
			/* Alive, and not what it was taken for. */
			on_answer(watch, shim, now_ns);
			shim->cannot_ask = true;
		} else {
			end_request(watch, shim);
			shim->outcome = ASK_CLOSED;
		}
	}
	/* Where something ends every second, one question every half threshold is enough. */
	if (shim->cannot_ask || shim->endings == shim->endings_answered ||
	    (shim->answered_ns && now_ns - shim->answered_ns < watch->options.threshold_ns / 2))
		return;
	ask_start(watch, shim, now_ns);
}

/* --- Judging --- */

static uint64_t age(uint64_t since_ns, uint64_t now_ns)
{
	return since_ns && now_ns > since_ns ? now_ns - since_ns : 0;
}

uint64_t stalled_shim_age(const struct stalled_shim *shim, enum stall_finding finding,
			  uint64_t now_ns)
{
	uint64_t longest = 0;

	switch (finding) {
	case STALL_STOPPED:
		return age(shim->stopped_ns, now_ns);
	case STALL_UNRESPONSIVE:
		return age(shim->asked_ns, now_ns);
	case STALL_INIT_HELD:
	case STALL_UNREAPED:
		for (size_t i = 0; i < shim->child_count; i++) {
			const struct stall_child *child = &shim->children[i];

			longest = MAX(longest, age(finding == STALL_UNREAPED ? child->zombie_ns
									     : child->dying_ns,
						   now_ns));
		}
		return longest;
	}
	return 0;
}

/* A tracer lets its tracee run between stops: only one that did not run at all is stopped. */
static void update_stopped(struct stalled_shim *shim, uint64_t now_ns)
{
	if (!shim->seen.stopped)
		shim->stopped_ns = 0;
	else if (!shim->stopped_ns || shim->stopped_switches != shim->seen.switches)
		shim->stopped_ns = now_ns;
	shim->stopped_switches = shim->seen.switches;
}

static uint32_t judge(const struct stall_watch *watch, const struct shim_look *look,
		      struct stalled_shim *shim, uint64_t now_ns)
{
	uint64_t threshold_ns = watch->options.threshold_ns;
	bool reaps = shim->reaped_ns && now_ns - shim->reaped_ns < threshold_ns;
	uint32_t findings = 0;

	if (stalled_shim_age(shim, STALL_STOPPED, now_ns) >= threshold_ns)
		findings |= STALL_STOPPED;
	if (!reaps && stalled_shim_age(shim, STALL_UNRESPONSIVE, now_ns) >= threshold_ns)
		findings |= STALL_UNRESPONSIVE;
	for (size_t i = 0; i < shim->child_count; i++) {
		struct stall_child *child = &shim->children[i];

		if (!reaps && age(child->zombie_ns, now_ns) >= threshold_ns)
			findings |= STALL_UNREAPED;
		if (age(child->dying_ns, now_ns) < threshold_ns)
			continue;
		child->held_by = find_holder(look, shim, child);
		/* What lives on in there waits for nothing that the shim does. */
		if (!reaps || child->held_by == HELD_BY_TASK)
			findings |= STALL_INIT_HELD;
	}
	return findings;
}

static void tell(struct stall_watch *watch, struct stalled_shim *shim, bool cleared,
		 uint64_t now_ns)
{
	watch->options.report(watch->options.userdata, shim, cleared, now_ns);
	shim->told_findings = cleared ? 0 : shim->told_findings | shim->findings;
	shim->told_ns = now_ns;
}

static void shim_update(struct stall_watch *watch, const struct shim_look *look,
			struct stalled_shim *shim, uint64_t now_ns)
{
	update_stopped(shim, now_ns);
	identify(watch, shim, now_ns);
	/* What only has the name of one is none; and nothing is told of who knows whom. */
	if (!shim->identified || shim->other)
		return;
	ask(watch, shim, now_ns);
	shim->findings = judge(watch, look, shim, now_ns);
	if (!shim->findings) {
		if (shim->told_findings)
			tell(watch, shim, true, now_ns);
		return;
	}
	if (shim->findings & ~shim->told_findings ||
	    now_ns - shim->told_ns >= TELL_AGAIN_THRESHOLDS * watch->options.threshold_ns)
		tell(watch, shim, false, now_ns);
}

static void shim_gone(struct stall_watch *watch, struct stalled_shim *shim, uint64_t now_ns)
{
	shim->findings = 0;
	if (shim->told_findings)
		tell(watch, shim, true, now_ns);
	shim_forget(watch, shim);
}

/* The shim's own tasks among all that the look saw. */
static const struct seen_task *tasks_of(const struct shim_look *look, const struct seen_shim *shim,
					size_t *at, size_t *ret_count)
{
	const struct seen_task *first;
	size_t count = 0;

	for (; *at < look->task_count; (*at)++) {
		const struct seen_task *task = &look->tasks[*at];
		int order = compare(task->shim_pid, shim->task.tgid);

		if (!order)
			order = compare(task->shim_start_boot_ns, shim->task.start_boot_ns);
		if (order >= 0)
			break;
	}
	first = look->task_count ? &look->tasks[*at] : NULL;
	for (; *at + count < look->task_count; count++)
		if (first[count].shim_pid != shim->task.tgid ||
		    first[count].shim_start_boot_ns != shim->task.start_boot_ns)
			break;
	*at += count;
	*ret_count = count;
	return first;
}

/*
 * What was watched so far: where a look comes late by more than that, the node slept, or had no CPU
 * for the agent, and none for a shim.
 */
static uint64_t watched_time(struct stall_watch *watch, uint64_t clock_ns)
{
	uint64_t step_ns = clock_ns - MIN(watch->clock_ns, clock_ns);

	watch->now_ns = watch->clock_ns
				? watch->now_ns + MIN(step_ns, watch->options.longest_step_ns)
				: clock_ns;
	watch->clock_ns = clock_ns;
	return watch->now_ns;
}

int stall_watch_look(struct stall_watch *watch, struct shim_look *look, uint64_t clock_ns)
{
	uint64_t now_ns = watched_time(watch, clock_ns);
	size_t capacity = look->shim_count + watch->count, length = 0, old = 0, at = 0;
	struct stalled_shim **shims =
		calloc(MAX(capacity, (size_t)1), sizeof(struct stalled_shim *));
	int r = shims ? 0 : -ENOMEM;

	if (r < 0)
		return r;
	if (look->shim_count)
		qsort(look->shims, look->shim_count, sizeof(*look->shims), compare_shims);
	if (look->task_count)
		qsort(look->tasks, look->task_count, sizeof(*look->tasks), compare_tasks);
	for (size_t i = 0; i < look->shim_count || old < watch->count;) {
		int order = i == look->shim_count ? 1
			    : old == watch->count
				    ? -1
				    : compare_shims(&look->shims[i], &watch->shims[old]->seen);
		struct stalled_shim *shim;
		size_t count;

		if (order > 0) {
			shim = watch->shims[old++];
			if (look->left_out_from && shim->seen.task.tgid >= look->left_out_from &&
			    length < SHIM_RECORDS_MAX)
				shims[length++] = shim;
			else
				shim_gone(watch, shim, now_ns);
			continue;
		}
		shim = order == 0 ? watch->shims[old++] : calloc(1, sizeof(*shim));
		if (!shim) {
			r = -ENOMEM; /* seen again at the next look */
			i++;
			continue;
		}
		shims[length++] = shim;
		if (!shim->first_ns)
			shim->first_ns = now_ns;
		shim->seen = look->shims[i++];
		const struct seen_task *tasks = tasks_of(look, &shim->seen, &at, &count);
		if (merge_children(watch, shim, tasks, count, look->left_out_from, now_ns) < 0)
			r = -ENOMEM;
		else
			shim_update(watch, look, shim, now_ns);
	}
	free(watch->shims);
	watch->shims = shims;
	watch->count = length;
	watch->last_ns = now_ns;
	return r;
}
