/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tasks that are stuck in one wait. Owns the settings, the ladder and the looks; what is seen goes
 * to hung_task_group.c, which decides and tells.
 *
 * Nothing here may block on what a hung task holds: it reads the iterator, kallsyms, the counters
 * of disks, and stat and status of processes; never stack, syscall, maps or mountinfo.
 */
#include "detect/hung_task.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <bpf/bpf.h>

#include "../../bpf/hung_task.h"
#include "base/file.h"
#include "detect/iterator.h"
#include "host/kallsyms.h"
#include "hung_task.skel.h"

#define THRESHOLD_DEFAULT_NS (120 * NS_PER_S)
#define LOOKS_PER_THRESHOLD 8
#define PERIOD_MIN_NS (125 * NS_PER_MS)
#define POLL_PERIOD_MIN_NS (500 * NS_PER_MS) /* a look at /proc costs some ten times more */
#define PERIOD_MAX_NS (10 * NS_PER_S)
#define TICK_READ_INTERVAL_NS (60 * NS_PER_S)
#define RECORDS_BYTES (64 * KIB)

struct hung_task_settings {
	uint64_t threshold;
	int kernel_threads;
};

struct hung_task {
	struct hung_task_bpf *skeleton;
	struct bpf_link *link;
	struct groups *groups;
	struct proc_look *proc;
	char *records; /* RECORDS_BYTES, as read */
	struct blocked_task_event record; /* one of them, aligned; the longest there is */
	uint64_t period_ns, look, tick_read_ns;
	ino_t fuse_module; /* of /sys/module/fuse when its addresses were read */
	bool walk_next;
	struct log_limit read_limit;
};

/* --- Settings --- */

static const struct field settings_fields[] = {
	SCHEMA_FIELD(struct hung_task_settings, threshold, "threshold", FIELD_DURATION,
		     .minimum = (int64_t)NS_PER_S, .maximum = (int64_t)(24 * 3600 * NS_PER_S)),
	SCHEMA_FIELD(struct hung_task_settings, kernel_threads, "kernelThreads", FIELD_TRISTATE),
};
static const struct schema settings_schema =
	SCHEMA("settings of detector hung_task", struct hung_task_settings, settings_fields,
	       .extra_offset = SCHEMA_STRICT);

static void set_defaults(void *memory)
{
	struct hung_task_settings *settings = memory;

	if (!settings->threshold)
		settings->threshold = THRESHOLD_DEFAULT_NS;
	if (settings->kernel_threads < 0)
		settings->kernel_threads = true;
}

/* --- What both rungs share --- */

static void on_group(void *userdata, struct group *group, struct waiter *const *waiters,
		     size_t count, bool cleared, uint64_t now_ns)
{
	struct detector_run *run = userdata;
	const struct hung_task *state = run->state;
	const struct hung_task_settings *settings = run->settings;
	struct finding finding = {
		.detector = run->detector->name,
		.type = cleared			? "Cleared"
			: group->kernel_threads ? "HungKernelThread"
						: "HungTask",
		.cleared = cleared,
		.subject = strdup(group->subject),
		.event = group_event(run, state->groups, group, waiters, count, cleared,
				     settings->threshold, now_ns),
	};

	if (!finding.subject || !finding.event) {
		log_error("reporting hung tasks (%s): out of memory", group->subject);
		finding_clear(&finding);
		return;
	}
	detector_report(run, &finding);
}

/* How often the kernel wakes those who wait for direct I/O: every half hung_task_timeout_secs. */
static uint64_t read_tick(const struct host *host)
{
	uint64_t seconds;

	if (file_read_u64(host->proc, "sys/kernel/hung_task_timeout_secs", &seconds) < 0 ||
	    seconds > 1000000)
		return 0;
	return seconds * NS_PER_S / 2;
}

static int start_groups(struct detector_run *run, bool iterator, uint64_t period_min_ns)
{
	struct hung_task *state = run->state;
	const struct hung_task_settings *settings = run->settings;

	state->period_ns =
		MIN(MAX(settings->threshold / LOOKS_PER_THRESHOLD, period_min_ns), PERIOD_MAX_NS);
	struct groups_options options = {.host = run->host,
					 .threshold_ns = settings->threshold,
					 .period_ns = state->period_ns,
					 .iterator = iterator,
					 .report = on_group,
					 .userdata = run};
	state->groups = groups_new(&options);
	return state->groups ? 0 : -ENOMEM;
}

static void stop(struct detector_run *run)
{
	struct hung_task *state = run->state;

	bpf_link__destroy(state->link);
	hung_task_bpf__destroy(state->skeleton);
	groups_free(state->groups);
	proc_look_free(state->proc);
	free(state->records);
}

/* --- Rung: the iterator --- */

static struct hung_task_control *control_of(const struct hung_task *state)
{
	return &state->skeleton->bss->control;
}

enum {
	RANGE_FREEZE,
	RANGE_FUSE,
	RANGE_SCHEDULER,
	RANGE_SCHEDULER_END,
	RANGE_TICKING,
	RANGE_COUNT = RANGE_TICKING + 4
};

_Static_assert(RANGE_COUNT - RANGE_TICKING == TICKING_FUNCTIONS_MAX,
	       "a range for each ticking function");

static void find_module(const struct detector_run *run, ino_t *ret_inode)
{
	struct stat status;

	*ret_inode = fstatat(run->host->sys, "module/fuse", &status, 0) == 0 ? status.st_ino : 0;
}

/* Tells the iterator where the functions are that it looks for. */
static int set_ranges(const struct detector_run *run)
{
	struct hung_task *state = run->state;
	struct hung_task_control *control = control_of(state);
	struct kernel_range ranges[RANGE_COUNT];
	const char *names[RANGE_COUNT] = {[RANGE_FREEZE] = "percpu_rwsem_wait",
					  [RANGE_FUSE] = "request_wait_answer",
					  [RANGE_SCHEDULER] = "__sched_text_start",
					  [RANGE_SCHEDULER_END] = "__sched_text_end"};

	for (size_t i = 0; i < TICKING_FUNCTIONS_MAX; i++)
		names[RANGE_TICKING + i] = ticking_functions[i];
	find_module(run, &state->fuse_module);
	int r = kallsyms_ranges(run->host, names, RANGE_COUNT, ranges);
	if (r < 0)
		return r;
	control->freeze_wait =
		(struct address_range){ranges[RANGE_FREEZE].start, ranges[RANGE_FREEZE].end};
	control->fuse_wait =
		(struct address_range){ranges[RANGE_FUSE].start, ranges[RANGE_FUSE].end};
	control->scheduler = (struct address_range){ranges[RANGE_SCHEDULER].start,
						    ranges[RANGE_SCHEDULER_END].start};
	for (size_t i = 0; i < TICKING_FUNCTIONS_MAX; i++)
		control->ticking[i] = (struct address_range){ranges[RANGE_TICKING + i].start,
							     ranges[RANGE_TICKING + i].end};
	return 0;
}

static int probe_iterator(const struct btf *btf, const struct host *host, char *reason,
			  size_t reason_size)
{
	if (btf_has_iterator(btf, "task"))
		return 0;
	snprintf(reason, reason_size,
		 "the kernel has no iterator over tasks (it came with Linux 5.8)");
	return -EOPNOTSUPP;
}

/*
 * What a former agent's looks found goes on: a wait is as old as the first look that saw it, whoever
 * looked. But what it is about has been told to that one alone. Returns the number of the last look.
 */
static uint64_t take_over_waits(const struct hung_task *state)
{
	int map = bpf_map__fd(state->skeleton->maps.blocked_tasks);
	uint32_t key, next;
	struct blocked_wait wait;
	uint64_t last = 0;
	bool more = bpf_map_get_next_key(map, NULL, &key) == 0;

	for (size_t i = 0; more && i < BLOCKED_TASKS_MAX; i++, key = next) {
		if (bpf_map_lookup_elem(map, &key, &wait) == 0) {
			last = MAX(last, wait.look);
			wait.looks_detailed = 0;
			bpf_map_update_elem(map, &key, &wait, BPF_EXIST);
		}
		more = bpf_map_get_next_key(map, &key, &next) == 0;
	}
	return last;
}

static int start_iterator(struct detector_run *run, char *reason, size_t reason_size)
{
	struct hung_task *state = run->state;
	const struct hung_task_settings *settings = run->settings;

	state->skeleton = hung_task_bpf__open();
	if (!state->skeleton)
		return detector_fail(reason, reason_size, -errno, "opening the BPF object");
	int r = detector_load(run, state->skeleton->skeleton, "the iterator", reason, reason_size);
	if (r < 0)
		return r;
	if (!state->skeleton->bss)
		return detector_fail_unmapped(reason, reason_size);
	state->link = bpf_program__attach_iter(state->skeleton->progs.find_blocked, NULL);
	if (!state->link)
		return detector_fail(reason, reason_size, -errno, "attaching the iterator");
	r = set_ranges(run);
	if (r == -EPERM)
		return detector_fail(reason, reason_size, r,
				     "reading /proc/kallsyms (the kernel hides addresses: sysctl "
				     "kernel.kptr_restrict=1)");
	if (r < 0)
		return detector_fail(reason, reason_size, r, "reading /proc/kallsyms");
	state->look = take_over_waits(state);
	control_of(state)->threshold_ns = settings->threshold;
	control_of(state)->kernel_threads = settings->kernel_threads;
	state->records = malloc(RECORDS_BYTES);
	r = state->records ? start_groups(run, true, PERIOD_MIN_NS) : -ENOMEM;
	return r < 0 ? detector_fail(reason, reason_size, r, "starting the detector") : 0;
}

/* Whatever may have changed since the last minute. */
static void refresh(const struct detector_run *run, uint64_t now_ns)
{
	struct hung_task *state = run->state;
	ino_t module;

	if (state->tick_read_ns && now_ns - state->tick_read_ns < TICK_READ_INTERVAL_NS)
		return;
	state->tick_read_ns = now_ns;
	control_of(state)->tick_ns = read_tick(run->host);
	find_module(run, &module);
	if (module != state->fuse_module)
		set_ranges(run); /* on failure FUSE is looked for at the old place, or not at all */
}

static void on_record(const struct hung_task *state, const struct event_header *header)
{
	if (header->type == EVENT_BLOCKED_TASK)
		groups_see_task(state->groups, (const struct blocked_task_event *)header, NULL);
	else if (header->type == EVENT_FROZEN_FILESYSTEM)
		groups_see_frozen(state->groups,
				  &((const struct frozen_filesystem_event *)header)->filesystem);
}

/* A record is as long as its type says, or it is not read. */
static size_t record_size(const struct event_header *header)
{
	if (header->type == EVENT_FROZEN_FILESYSTEM)
		return sizeof(struct frozen_filesystem_event);
	if (header->type != EVENT_BLOCKED_TASK)
		return 0;
	return header->size == BLOCKED_TASK_FIRST_HALF ? BLOCKED_TASK_FIRST_HALF
						       : sizeof(struct blocked_task_event);
}

/* The record at DATA, of LENGTH bytes at most. Returns its size, 0 if it is cut, or -errno. */
static ssize_t take_record(void *userdata, const char *data, size_t length)
{
	struct hung_task *state = userdata;
	struct event_header header;

	if (length < sizeof(header))
		return 0;
	memcpy(&header, data, sizeof(header));
	size_t size = record_size(&header);
	if (header.version != EVENTS_VERSION || !size || header.size != size)
		return -EPROTO;
	if (length < size)
		return 0;
	memcpy(&state->record, data, size);
	on_record(state, &state->record.header);
	return (ssize_t)size;
}

/* Drops the waits that this look did not find again: their tasks have moved on. */
static void sweep(const struct hung_task *state)
{
	int map = bpf_map__fd(state->skeleton->maps.blocked_tasks);
	uint32_t key, next;
	struct blocked_wait wait;
	bool more = bpf_map_get_next_key(map, NULL, &key) == 0;

	for (size_t i = 0; more && i < BLOCKED_TASKS_MAX; i++, key = next) {
		/* In this order: a deleted key has no next. */
		more = bpf_map_get_next_key(map, &key, &next) == 0;
		if (bpf_map_lookup_elem(map, &key, &wait) == 0 && wait.look != state->look)
			bpf_map_delete_elem(map, &key);
	}
}

static uint64_t look_iterator(struct detector_run *run)
{
	struct hung_task *state = run->state;
	struct hung_task_control *control = control_of(state);
	uint64_t now_ns = clock_boot(run->clock);
	uint32_t suppressed;

	refresh(run, now_ns);
	control->look = ++state->look;
	control->tasks = control->blocked = control->waiting = control->freeze_waiting = 0;
	control->records = control->filesystems = control->walk_first = control->walk_cursor = 0;
	control->last_pid = 0;
	control->walk = state->walk_next ? WALK_WANTED : WALK_OFF;
	groups_begin(state->groups);
	int r = iterator_read(state->link, state->records, RECORDS_BYTES, take_record, state);
	if (r < 0) {
		groups_abandon(state->groups);
		if (log_limit_pass(&state->read_limit, 1, 600 * NS_PER_S, &suppressed))
			log_warning("looking for hung tasks: reading the task iterator: %s; trying "
				    "again at the next look",
				    strerror(-r));
	}
	groups_end(state->groups, clock_boot(run->clock),
		   control->walk == WALK_COMPLETE || control->walk == WALK_OFF,
		   control->waiting > 0 || groups_waiters(state->groups) > 0);
	state->walk_next = control->freeze_waiting > 0;
	if (r == 0)
		sweep(state);
	return state->period_ns;
}

/* --- Rung: /proc --- */

static int start_proc(struct detector_run *run, char *reason, size_t reason_size)
{
	struct hung_task *state = run->state;
	const struct hung_task_settings *settings = run->settings;

	state->proc = proc_look_new(run->host, settings->kernel_threads, read_tick(run->host));
	int r = state->proc ? start_groups(run, false, POLL_PERIOD_MIN_NS) : -ENOMEM;
	return r < 0 ? detector_fail(reason, reason_size, r, "starting the detector") : 0;
}

static uint64_t look_proc(struct detector_run *run)
{
	struct hung_task *state = run->state;
	const struct hung_task_settings *settings = run->settings;
	uint64_t now_ns = clock_boot(run->clock);
	uint32_t suppressed;

	groups_begin(state->groups);
	ssize_t waiting = proc_look_run(state->proc, state->groups, settings->threshold, now_ns);
	if (waiting < 0) {
		groups_abandon(state->groups);
		if (log_limit_pass(&state->read_limit, 1, 600 * NS_PER_S, &suppressed))
			log_warning("looking for hung tasks: reading /proc: %s; trying again at "
				    "the next look",
				    strerror((int)-waiting));
	}
	groups_end(state->groups, now_ns, false, waiting > 0);
	return state->period_ns;
}

static uint64_t look(struct detector_run *run)
{
	const struct hung_task *state = run->state;

	return state->skeleton ? look_iterator(run) : look_proc(run);
}

static const struct hook hooks[] = {
	{.name = "iter/task", .probe = probe_iterator, .start = start_iterator},
	{.name = "poll/proc",
	 .degraded = true,
	 .shortfall =
		 "reads /proc: sees only the function a task sleeps in (nothing on 5.10 kernels), "
		 "not what it waits for, who holds a lock, which filesystem is frozen, or waits "
		 "for a FUSE server",
	 .start = start_proc},
	{0},
};

static const uint16_t event_types[] = {EVENT_BLOCKED_TASK, EVENT_NONE};

DETECTOR(hung_task) = {
	.name = "hung_task",
	.summary =
		"Tasks that sleep uninterruptibly, or for a FUSE server, longer than a threshold",
	.hooks = hooks,
	.settings = &settings_schema,
	.defaults = set_defaults,
	.state_size = sizeof(struct hung_task),
	.stop = stop,
	.event_types = event_types,
	.look = look,
};
