/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oom detector: who is killed for memory, whose limit was hit, and who asked. Owns the ladder
 * and what is held back to become one finding; leaves the judgement to oom_judge.c.
 */
#include "detect/oom.h"

#include "oom.skel.h"

/* A group kill is told once none of the group has died for this long. */
#define GROUP_HOLD_NS (20 * NS_PER_MS)
#define GROUP_VICTIMS_MAX 32

struct oom_settings {
	uint64_t poll_interval_ns;
};

struct oom_state {
	struct oom_bpf *skeleton;
	struct bpf_link *link;
	struct oom_symbols symbols;
	struct oom_poll *poll;
	/* The group kill that is going on, if held_count is not 0. */
	struct finding held;
	uint64_t held_count;
	struct event_task held_trigger;
	struct event_task victim; /* of the latest record */
};

/* --- Group kills --- */

static void flush_held(struct detector_run *run)
{
	struct oom_state *state = run->state;

	if (state->held_count == 0)
		return;
	json_set_number(state->held.event, "count", (double)state->held_count);
	state->held_count = 0;
	detector_report(run, &state->held);
	detector_told(run);
}

/* True if the list has the victim already: __oom_kill_process meets the first one twice. */
static bool held_has(const cJSON *victims, const struct event_task *victim)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, victims) {
		if (json_number(item, "pid", 0) == victim->pid &&
		    json_number(item, "startTime", 0) ==
			    (double)event_start_time(victim->start_boot_ns))
			return true;
	}
	return false;
}

static void hold_victim(struct detector_run *run, const struct oom_event *event)
{
	struct oom_state *state = run->state;
	cJSON *details = cJSON_GetObjectItemCaseSensitive(state->held.event, "details");
	cJSON *victims = cJSON_GetObjectItemCaseSensitive(details, "victims");

	if (!victims)
		victims = cJSON_AddArrayToObject(details, "victims");
	detector_hold(run);
	state->held.record = detector_record(run);
	if (held_has(victims, &event->victim))
		return;
	state->held_count++;
	if (victims && cJSON_GetArraySize(victims) < GROUP_VICTIMS_MAX)
		cJSON_AddItemToArray(victims, event_task_json(&event->victim));
	detector_look_in(run, GROUP_HOLD_NS);
}

static bool belongs_to_held(const struct oom_state *state, const struct oom_event *event,
			    const char *subject)
{
	return state->held_count > 0 && state->held_trigger.pid == event->trigger.pid &&
	       state->held_trigger.start_boot_ns == event->trigger.start_boot_ns &&
	       streq_ptr(state->held.subject, subject);
}

/*
 * A kill during which one agent's programs took over from another's may have been told by both, one
 * directly after the other: the kernel kills one at a time.
 */
static bool is_told_twice(struct oom_state *state, const struct event_task *victim)
{
	bool twice = victim->pid == state->victim.pid &&
		     victim->start_boot_ns == state->victim.start_boot_ns;

	state->victim = *victim;
	return twice;
}

static void on_event(struct detector_run *run, const struct event_header *header)
{
	const struct oom_event *event = (const struct oom_event *)header;
	struct oom_state *state = run->state;
	struct oom_judgement judgement =
		oom_judge(event, &state->symbols, (uint64_t)sysconf(_SC_PAGESIZE));
	struct finding finding;

	if (judgement.already_dying || is_told_twice(state, &event->victim))
		return;
	if (oom_finding(run, event, &judgement, &finding) < 0) {
		log_error("could not report that process %u was killed for memory: out of memory",
			  event->victim.tgid);
		return;
	}
	if (judgement.group && belongs_to_held(state, event, finding.subject)) {
		hold_victim(run, event);
		finding_clear(&finding);
		return;
	}
	flush_held(run);
	if (!judgement.group) {
		detector_report(run, &finding);
		return;
	}
	state->held = finding;
	state->held_trigger = event->trigger;
	hold_victim(run, event);
}

static uint64_t look(struct detector_run *run)
{
	const struct oom_settings *settings = run->settings;
	struct oom_state *state = run->state;

	flush_held(run);
	if (!state->poll)
		return 0;
	oom_poll_look(state->poll);
	return settings->poll_interval_ns;
}

/* --- The ladder --- */

static int probe_mark_victim(const struct btf *btf, const struct host *host, char *reason,
			     size_t reason_size)
{
	int arguments = btf_tracepoint_arguments(btf, "mark_victim");

	if (arguments < 0) {
		snprintf(reason, reason_size, "the kernel has no tracepoint mark_victim");
		return arguments;
	}
	if (btf_tracepoint_argument_is(btf, "mark_victim", 0, "task_struct"))
		return 0;
	snprintf(reason, reason_size,
		 "this kernel's tracepoint mark_victim gives a pid, not the task (it does since "
		 "Linux 6.9 and in later stable kernels)");
	return -EOPNOTSUPP;
}

static int probe_kill_fentry(const struct btf *btf, const struct host *host, char *reason,
			     size_t reason_size)
{
	return probe_fentry(btf, "__oom_kill_process", reason, reason_size);
}

static int probe_kill_kprobe(const struct btf *btf, const struct host *host, char *reason,
			     size_t reason_size)
{
	return probe_kprobe(btf, host, "__oom_kill_process", reason, reason_size);
}

static int probe_vmstat(const struct btf *btf, const struct host *host, char *reason,
			size_t reason_size)
{
	if (faccessat(host->proc, "vmstat", R_OK, 0) == 0)
		return 0;
	snprintf(reason, reason_size, "/proc/vmstat cannot be read: %s", strerror(errno));
	return -ENOENT;
}

/* Loads the one program NAME and attaches it. */
static int start_program(struct detector_run *run, const char *name, char *reason,
			 size_t reason_size)
{
	struct oom_state *state = run->state;
	struct bpf_program *program;
	int r;

	state->skeleton = oom_bpf__open();
	if (!state->skeleton)
		return detector_fail(reason, reason_size, -errno,
				     "opening the oom detector's BPF object");
	program = bpf_object__find_program_by_name(state->skeleton->obj, name);
	r = program ? bpf_program__set_autoload(program, true) : -ENOENT;
	if (r < 0)
		return detector_fail(reason, reason_size, r, "finding %s", name);
	r = detector_load(run, state->skeleton->skeleton, name, reason, reason_size);
	if (r < 0)
		return r;
	/* Where addresses are hidden, the counters alone are judged by: told as exact=false. */
	kallsyms_ranges(run->host, oom_symbol_names, OOM_SYMBOL_COUNT, state->symbols.range);
	r = detector_attach(run, program, &state->link);
	return r < 0 ? detector_fail(reason, reason_size, r, "attaching %s", name) : 0;
}

static int start_mark_victim(struct detector_run *run, char *reason, size_t reason_size)
{
	return start_program(run, "oom_mark_victim", reason, reason_size);
}

static int start_kill_fentry(struct detector_run *run, char *reason, size_t reason_size)
{
	return start_program(run, "oom_kill_fentry", reason, reason_size);
}

static int start_kill_kprobe(struct detector_run *run, char *reason, size_t reason_size)
{
	return start_program(run, "oom_kill_kprobe", reason, reason_size);
}

static int start_vmstat(struct detector_run *run, char *reason, size_t reason_size)
{
	struct oom_state *state = run->state;

	return oom_poll_new(run, &state->poll, reason, reason_size);
}

static void stop(struct detector_run *run)
{
	struct oom_state *state = run->state;

	flush_held(run);
	detector_detach(run, state->link);
	oom_bpf__destroy(state->skeleton);
	oom_poll_free(state->poll);
}

static const struct hook hooks[] = {
	{.name = "tp_btf/mark_victim", .probe = probe_mark_victim, .start = start_mark_victim},
	{.name = "fentry/__oom_kill_process",
	 .probe = probe_kill_fentry,
	 .start = start_kill_fentry},
	{.name = "kprobe/__oom_kill_process",
	 .probe = probe_kill_kprobe,
	 .start = start_kill_kprobe},
	{
		.name = HOOK_POLL "vmstat",
		.degraded = true,
		.shortfall = "Sees that something was killed and in which cgroup, some seconds "
			     "later, but not which process, and nothing about cgroups that are "
			     "gone by then",
		.probe = probe_vmstat,
		.start = start_vmstat,
	},
	{},
};

static const struct field settings_fields[] = {
	SCHEMA_FIELD(struct oom_settings, poll_interval_ns, "pollInterval", FIELD_DURATION,
		     .minimum = NS_PER_S, .maximum = 3600 * NS_PER_S),
};
static const struct schema settings_schema = SCHEMA("settings of detector oom", struct oom_settings,
						    settings_fields, .extra_offset = SCHEMA_STRICT);

static void settings_defaults(void *settings)
{
	((struct oom_settings *)settings)->poll_interval_ns = 5 * NS_PER_S;
}

static const uint16_t event_types[] = {EVENT_OOM_KILL, EVENT_NONE};

DETECTOR(oom) = {
	.name = "oom",
	.summary = "Processes killed because a cgroup or the node ran out of memory",
	.hooks = hooks,
	.settings = &settings_schema,
	.defaults = settings_defaults,
	.state_size = sizeof(struct oom_state),
	.stop = stop,
	.event = on_event,
	.event_types = event_types,
	.event_size = sizeof(struct oom_event),
	.look = look,
};
