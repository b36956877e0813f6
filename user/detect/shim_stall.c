/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Container shims that stopped doing their work. Owns the settings, the ladder and the looks; what
 * is seen goes to shim_stall_watch.c, which decides and tells.
 */
#include "detect/shim_stall.h"

#include <bpf/bpf.h>

#include "detect/iterator.h"
#include "detect/shim_name.h"
#include "shim_stall.skel.h"

#define THRESHOLD_DEFAULT_NS (10 * NS_PER_S)
#define LOOKS_PER_THRESHOLD 4
#define PERIOD_MIN_NS (500 * NS_PER_MS)
#define POLL_PERIOD_MIN_NS (2 * NS_PER_S) /* a look at /proc costs some fifty times more */
#define PERIOD_MAX_NS (5 * NS_PER_S)
#define COST_FACTOR 500 /* a look is to take 0.2 % of the time */
#define RECORDS_BYTES (32 * KIB)
#define PATTERN_LENGTH_MAX 63
#define WILDCARDS "*?[\\"
#define WARNING_INTERVAL_NS (600 * NS_PER_S)

struct shim_stall_settings {
	uint64_t threshold;
	struct strings shims;
};

struct shim_stall {
	struct stall_common common; /* first */
	struct shim_stall_bpf *skeleton;
	struct bpf_link *link;
	char *records; /* RECORDS_BYTES, as read */
	struct shim_look look;
	uint64_t period_ns, period_max_ns; /* from one look to the next */
	struct log_limit read_limit;
};

/* --- Settings --- */

static int check_patterns(const void *value, struct problem *problem)
{
	const struct strings *patterns = value;

	for (size_t i = 0; i < patterns->count; i++) {
		const char *pattern = patterns->items[i];

		if (!*pattern || strlen(pattern) > PATTERN_LENGTH_MAX)
			return problem_set(problem, -EINVAL, NULL, "a name has 1 to %d characters",
					   PATTERN_LENGTH_MAX);
		if (strchr(WILDCARDS, *pattern))
			return problem_set(problem, -EINVAL, NULL,
					   "\"%s\" would be compared with every process: a pattern "
					   "must not begin with a wildcard",
					   pattern);
	}
	return 0;
}

static const struct field settings_fields[] = {
	SCHEMA_FIELD(struct shim_stall_settings, threshold, "threshold", FIELD_DURATION,
		     .minimum = (int64_t)NS_PER_S, .maximum = (int64_t)(24 * 3600 * NS_PER_S)),
	SCHEMA_FIELD(struct shim_stall_settings, shims, "shims", FIELD_STRINGS,
		     .maximum = SHIM_NAMES_MAX, .check = check_patterns),
};
static const struct schema settings_schema =
	SCHEMA("settings of detector shim_stall", struct shim_stall_settings, settings_fields,
	       .extra_offset = SCHEMA_STRICT);

static void set_defaults(void *memory)
{
	struct shim_stall_settings *settings = memory;

	if (!settings->threshold)
		settings->threshold = THRESHOLD_DEFAULT_NS;
	for (size_t i = 0; shim_default_patterns[i]; i++)
		if (strings_append(&settings->shims, shim_default_patterns[i]) < 0) {
			strings_clear(&settings->shims); /* all of them or none: see start_watch */
			return;
		}
}

/* --- What both rungs share --- */

static void on_report(void *userdata, struct stalled_shim *shim, bool cleared, uint64_t now_ns)
{
	struct detector_run *run = userdata;
	const struct shim_stall_settings *settings = run->settings;

	if (!shim->subject)
		shim->subject = stall_subject(shim);
	struct finding finding = {
		.detector = run->detector->name,
		.type = cleared ? "Cleared" : stall_type(shim->findings),
		.cleared = cleared,
		.subject = shim->subject ? strdup(shim->subject) : NULL,
		.event = stall_event(run, shim, cleared, settings->threshold, now_ns),
	};
	if (!finding.subject || !finding.event) {
		log_error("reporting a stalled shim (pid %u): out of memory", shim->seen.task.tgid);
		finding_clear(&finding);
		return;
	}
	detector_report(run, &finding);
}

static int start_watch(struct detector_run *run, uint64_t period_min_ns)
{
	struct shim_stall *state = run->state;
	const struct shim_stall_settings *settings = run->settings;

	state->common.patterns = (const char *const *)settings->shims.items;
	state->common.pattern_count = settings->shims.count;
	if (!settings->shims.count) { /* memory was short for a list of one's own */
		state->common.patterns = shim_default_patterns;
		while (shim_default_patterns[state->common.pattern_count])
			state->common.pattern_count++;
	}
	state->period_ns =
		MIN(MAX(settings->threshold / LOOKS_PER_THRESHOLD, period_min_ns), PERIOD_MAX_NS);
	state->period_max_ns = MAX(state->period_ns, MIN(settings->threshold / 2, PERIOD_MAX_NS));
	struct stall_watch_options options = {.threshold_ns = settings->threshold,
					      /* A timer may be late by a tenth. */
					      .longest_step_ns = state->period_max_ns / 8 * 9,
					      .identify = stall_identify,
					      .ask_start = stall_ask_start,
					      .ask_check = stall_ask_check,
					      .ask_end = stall_ask_end,
					      .report = on_report,
					      .forget = stall_forget,
					      .userdata = run};
	state->common.watch = stall_watch_new(&options);
	return state->common.watch ? 0 : -ENOMEM;
}

static void stop(struct detector_run *run)
{
	struct shim_stall *state = run->state;

	bpf_link__destroy(state->link);
	shim_stall_bpf__destroy(state->skeleton);
	if (state->common.watch)
		stall_watch_free(state->common.watch);
	stall_identity_end(&state->common);
	shim_look_clear(&state->look);
	free(state->records);
}

/* Takes in what the look saw, unless reading failed (READ_RESULT < 0). */
static void finish_look(struct detector_run *run, int read_result, const char *what)
{
	struct shim_stall *state = run->state;
	uint32_t suppressed;
	int r = read_result;

	stall_identity_begin(&state->common, &state->look);
	if (r == 0)
		r = stall_watch_look(state->common.watch, &state->look,
				     clock_monotonic(run->clock));
	stall_identity_end(&state->common);
	shim_look_clear(&state->look);
	if (r < 0 && log_limit_pass(&state->read_limit, 1, WARNING_INTERVAL_NS, &suppressed))
		log_warning("looking for stalled shims: reading %s: %s; trying again at the next "
			    "look",
			    what, strerror(-r));
}

/* --- Rung: the iterator --- */

static int probe_iterator(const struct btf *btf, const struct host *host, char *reason,
			  size_t reason_size)
{
	if (btf_has_iterator(btf, "task"))
		return 0;
	snprintf(reason, reason_size,
		 "the kernel has no iterator over tasks (it came with Linux 5.8)");
	return -EOPNOTSUPP;
}

/* As /proc tells it, of task_struct.__state (include/linux/sched.h). */
static char state_letter(uint32_t state, bool zombie)
{
	if (zombie)
		return 'Z';
	if (state & 0x04)
		return 'T';
	if (state & 0x08)
		return 't';
	if (state & 0x02)
		return state & 0x400 ? 'I' : 'D';
	return state & 0x01 ? 'S' : 'R';
}

static int on_shim(const struct detector_run *run, struct shim_look *look,
		   const struct shim_event *event)
{
	char state = state_letter(event->state, false);
	struct seen_shim shim = {.task = event->task,
				 .tracer_pid = event->traced ? event->tracer_tgid : 0};

	memcpy(shim.tracer_comm, event->tracer_comm, sizeof(shim.tracer_comm));
	if (state == 'T' || state == 't')
		seen_shim_read_threads(run->host, &shim);
	return shim_look_add_shim(look, &shim);
}

static int on_task(struct shim_look *look, const struct shim_task_event *event)
{
	struct seen_task task = {
		.start_boot_ns = event->start_boot_ns,
		.shim_start_boot_ns = event->shim_start_boot_ns,
		.pid = event->pid,
		.shim_pid = event->shim_pid,
		.state = state_letter(event->state, event->flags & SHIM_TASK_ZOMBIE),
		.flags = event->flags,
		.pid_namespace = event->pid_namespace,
		.remaining = event->remaining,
	};

	memcpy(task.comm, event->comm, sizeof(task.comm));
	if (!(event->flags & SHIM_TASK_LISTED))
		return shim_look_add_task(look, &task);
	struct process process = stall_process_of(&task);
	return shim_look_add_process(look, &process);
}

struct taking {
	const struct detector_run *run;
	struct shim_look *look;
};

/* The record at DATA, of LENGTH bytes at most. Returns its size, 0 if it is cut, or -errno. */
static ssize_t take_record(void *userdata, const char *data, size_t length)
{
	const struct taking *taking = userdata;
	union {
		struct event_header header;
		struct shim_event shim;
		struct shim_task_event task;
	} record;
	size_t size;

	if (length < sizeof(record.header))
		return 0;
	memcpy(&record.header, data, sizeof(record.header));
	size = record.header.type == EVENT_SHIM	       ? sizeof(record.shim)
	       : record.header.type == EVENT_SHIM_TASK ? sizeof(record.task)
						       : 0;
	if (record.header.version != EVENTS_VERSION || !size || record.header.size != size)
		return -EPROTO;
	if (length < size)
		return 0;
	memcpy(&record, data, size);
	int r = record.header.type == EVENT_SHIM ? on_shim(taking->run, taking->look, &record.shim)
						 : on_task(taking->look, &record.task);
	return r < 0 ? r : (ssize_t)size;
}

/* EVERYTHING: each process of the node into LOOK's processes, and nothing else. */
static int run_iterator(const struct detector_run *run, struct shim_look *look, bool everything)
{
	const struct shim_stall *state = run->state;
	struct shim_stall_control *control = &state->skeleton->bss->control;
	struct taking taking = {.run = run, .look = look};

	control->everything = everything;
	control->tasks = 0;
	control->shims = control->shim_tasks = 0;
	control->left_out = control->left_out_from = control->last_pid = 0;
	return iterator_read(state->link, state->records, RECORDS_BYTES, take_record, &taking);
}

static int list_processes(struct detector_run *run, struct shim_look *look)
{
	const struct shim_stall *state = run->state;
	int r = run_iterator(run, look, true);

	/* A part of the tree would be taken for the whole. */
	return r == 0 && state->skeleton->bss->control.left_out ? -E2BIG : r;
}

static void look_iterator(struct detector_run *run)
{
	struct shim_stall *state = run->state;
	int r = run_iterator(run, &state->look, false);

	state->look.left_out_from = state->skeleton->bss->control.left_out_from;
	finish_look(run, r, "the task iterator");
}

static int start_iterator(struct detector_run *run, char *reason, size_t reason_size)
{
	struct shim_stall *state = run->state;

	state->skeleton = shim_stall_bpf__open();
	if (!state->skeleton)
		return detector_fail(reason, reason_size, -errno, "opening the BPF object");
	int r = detector_load(run, state->skeleton->skeleton, "the iterator", reason, reason_size);
	if (r < 0)
		return r;
	if (!state->skeleton->bss)
		return detector_fail_unmapped(reason, reason_size);
	state->link = bpf_program__attach_iter(state->skeleton->progs.show_shims, NULL);
	if (!state->link)
		return detector_fail(reason, reason_size, -errno, "attaching the iterator");
	state->common.list_processes = list_processes;
	state->records = malloc(RECORDS_BYTES);
	r = state->records ? start_watch(run, PERIOD_MIN_NS) : -ENOMEM;
	if (r < 0)
		return detector_fail(reason, reason_size, r, "starting the detector");
	shim_names_fill(state->skeleton->bss->control.names, state->common.patterns,
			state->common.pattern_count);
	return 0;
}

/* --- Rung: /proc --- */

static int start_proc(struct detector_run *run, char *reason, size_t reason_size)
{
	int r = start_watch(run, POLL_PERIOD_MIN_NS);

	return r < 0 ? detector_fail(reason, reason_size, r, "starting the detector") : 0;
}

static void look_proc(struct detector_run *run)
{
	struct shim_stall *state = run->state;

	finish_look(run,
		    shim_look_read_proc(run->host, state->common.patterns,
					state->common.pattern_count, &state->look),
		    "/proc");
}

static uint64_t look(struct detector_run *run)
{
	const struct shim_stall *state = run->state;
	uint64_t begin_ns = clock_monotonic(run->clock);

	if (state->skeleton)
		look_iterator(run);
	else
		look_proc(run);
	/* With very many processes half as often. */
	uint64_t cost_ns = clock_monotonic(run->clock) - begin_ns;
	return MAX(state->period_ns, MIN(cost_ns * COST_FACTOR, state->period_max_ns));
}

static const struct hook hooks[] = {
	{.name = "iter/task", .probe = probe_iterator, .start = start_iterator},
	{.name = "poll/proc",
	 .degraded = true,
	 .shortfall =
		 "reads all of /proc at each look, which costs some fifty times more: it looks "
		 "every 2 s at most",
	 .start = start_proc},
	{0},
};

static const uint16_t event_types[] = {EVENT_SHIM, EVENT_SHIM_TASK, EVENT_NONE};

DETECTOR(shim_stall) = {
	.name = "shim_stall",
	.summary = "Container shims that are stopped, do not answer or do not reap, and inits of "
		   "containers that cannot end",
	.hooks = hooks,
	.settings = &settings_schema,
	.defaults = set_defaults,
	.state_size = sizeof(struct shim_stall),
	.stop = stop,
	.event_types = event_types,
	.look = look,
};
