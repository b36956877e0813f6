/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process_crash detector: processes that a fatal signal ended. Owns the ladder and the reading of
 * what the kernel counted instead of telling; leaves what a crash means to the other parts.
 */
#include "detect/process_crash.h"

#include <bpf/bpf.h>

#include "process_crash.skel.h"

#define LOOK_NS NS_PER_S

struct crash_state {
	struct process_crash_bpf *skeleton;
	struct bpf_link *on_signal, *on_exit;
	struct crash_programs *programs;
};

/* --- Crashes --- */

static void on_event(struct detector_run *run, const struct event_header *header)
{
	const struct process_crash_event *event = (const struct process_crash_event *)header;
	struct crash_state *state = run->state;

	/* A plug-in of the agent: that it failed is told by what called it. */
	if (event->process.parent_tgid == (uint32_t)getpid())
		return;
	_cleanup_json_ cJSON *json = crash_event_json(run, event);
	_cleanup_free_ char *subject = json ? crash_subject(json) : NULL;
	struct crash_program key = {
		.cgroup_id = event->cgroup.id,
		.exe_inode = event->signal.exe_inode,
	};

	memcpy(key.comm, event->process_comm, sizeof(key.comm));
	if (!subject || crash_programs_add(state->programs, subject, &key, header->boot_ns,
					   TAKE_PTR(json)) < 0) {
		log_error("could not report the crash of process %u: out of memory",
			  event->process.tgid);
		return;
	}
	detector_look_in(run, LOOK_NS);
}

static uint64_t read_folded(void *userdata, const struct crash_program *key)
{
	struct crash_state *state = userdata;
	struct crash_rate rate;

	/* None: the kernel has forgotten it, and nothing was counted. */
	if (!state->skeleton ||
	    bpf_map_lookup_elem(bpf_map__fd(state->skeleton->maps.crash_programs), key, &rate) < 0)
		return 0;
	return rate.folded;
}

static uint64_t read_told(void *userdata, const struct crash_program *key)
{
	struct crash_state *state = userdata;
	uint64_t told;

	if (!state->skeleton ||
	    bpf_map_lookup_elem(bpf_map__fd(state->skeleton->maps.crash_told), key, &told) < 0)
		return 0;
	return told;
}

static void write_told(void *userdata, const struct crash_program *key, uint64_t folded)
{
	struct crash_state *state = userdata;

	if (state->skeleton)
		bpf_map_update_elem(bpf_map__fd(state->skeleton->maps.crash_told), key, &folded,
				    BPF_ANY);
}

static uint64_t look(struct detector_run *run)
{
	struct crash_state *state = run->state;

	return crash_programs_look(state->programs, clock_boot(run->clock));
}

/* --- The ladder --- */

static int probe_tracepoints(const struct btf *btf, const struct host *host, char *reason,
			     size_t reason_size)
{
	static const char *const names[] = {"signal_deliver", "sched_process_exit"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		int arguments = btf_tracepoint_arguments(btf, names[i]);

		if (arguments >= 0)
			continue;
		snprintf(reason, reason_size, "the kernel has no tracepoint %s", names[i]);
		return arguments;
	}
	return 0;
}

static const char signal_raw[] = "crash_signal_raw";

static int load(struct detector_run *run, const char *on_signal, const char *on_exit, char *reason,
		size_t reason_size)
{
	const char *const names[] = {on_signal, on_exit};
	struct crash_state *state = run->state;
	int r;

	process_crash_bpf__destroy(state->skeleton);
	state->skeleton = process_crash_bpf__open();
	if (!state->skeleton)
		return detector_fail(reason, reason_size, -errno,
				     "opening the process_crash detector's BPF object");
	state->skeleton->rodata->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct bpf_program *program =
			bpf_object__find_program_by_name(state->skeleton->obj, names[i]);

		r = program ? bpf_program__set_autoload(program, true) : -ENOENT;
		if (r < 0)
			return detector_fail(reason, reason_size, r, "finding %s", names[i]);
	}
	/*
	 * Before 6.1 a raw_tp program with a table whose entries are made one by one is warned of in the
	 * kernel's log, with a stack: with panic_on_warn that ends the node (kernel/bpf/verifier.c,
	 * check_map_prog_compatibility()).
	 */
	r = streq(on_signal, signal_raw)
		    ? bpf_map__set_map_flags(state->skeleton->maps.dying_processes, 0)
		    : 0;
	return r < 0 ? detector_fail(reason, reason_size, r, "choosing how %s is loaded", on_signal)
		     : detector_load(run, state->skeleton->skeleton, on_signal, reason,
				     reason_size);
}

static int attach(struct detector_run *run, const char *name, struct bpf_link **ret_link,
		  char *reason, size_t reason_size)
{
	const struct crash_state *state = run->state;
	struct bpf_program *program = bpf_object__find_program_by_name(state->skeleton->obj, name);
	int r = detector_attach(run, program, ret_link);

	return r < 0 ? detector_fail(reason, reason_size, r, "attaching %s", name) : 0;
}

/* The exit is watched first: a signal before that would be kept, and never sent. */
static int attach_both(struct detector_run *run, const char *on_signal, const char *on_exit,
		       char *reason, size_t reason_size)
{
	struct crash_state *state = run->state;
	const struct crash_programs_options options = {.run = run,
						       .settings = run->settings,
						       .read_folded = read_folded,
						       .read_told = read_told,
						       .write_told = write_told,
						       .userdata = state};
	int r = crash_programs_new(&options, &state->programs);

	if (r < 0)
		return detector_fail(reason, reason_size, r, "keeping track of crashes");
	r = attach(run, on_exit, &state->on_exit, reason, reason_size);
	return r < 0 ? r : attach(run, on_signal, &state->on_signal, reason, reason_size);
}

/*
 * The program that names the files of a stack calls bpf_find_vma(), of 5.17: whether a kernel has
 * that is asked by loading it.
 */
static int start_btf(struct detector_run *run, char *reason, size_t reason_size)
{
	static const char on_signal[] = "crash_signal_btf";
	const char *on_exit = "crash_exit_named";
	int r = load(run, on_signal, on_exit, reason, reason_size);

	if (r < 0) {
		reason[0] = '\0';
		on_exit = "crash_exit_btf";
		r = load(run, on_signal, on_exit, reason, reason_size);
	}
	return r < 0 ? r : attach_both(run, on_signal, on_exit, reason, reason_size);
}

static int start_raw(struct detector_run *run, char *reason, size_t reason_size)
{
	static const char on_exit[] = "crash_exit_raw";
	int r = load(run, signal_raw, on_exit, reason, reason_size);

	return r < 0 ? r : attach_both(run, signal_raw, on_exit, reason, reason_size);
}

static void stop(struct detector_run *run)
{
	struct crash_state *state = run->state;

	crash_programs_flush(state->programs, clock_boot(run->clock));
	detector_detach(run, state->on_signal);
	detector_detach(run, state->on_exit);
	process_crash_bpf__destroy(state->skeleton);
	crash_programs_free(state->programs);
}

static const struct hook hooks[] = {
	{.name = "tp_btf/signal_deliver", .probe = probe_tracepoints, .start = start_btf},
	{
		.name = "raw_tp/signal_deliver",
		.degraded = true,
		.shortfall = "Does not name the libraries on the crashed process's stack",
		.start = start_raw,
	},
	{},
};

static const struct field settings_fields[] = {
	SCHEMA_FIELD(struct crash_settings, loop_window_ns, "loopWindow", FIELD_DURATION,
		     .minimum = 10 * NS_PER_S, .maximum = 24 * 3600 * NS_PER_S),
	SCHEMA_FIELD(struct crash_settings, loop_crashes, "loopCrashes", FIELD_INTEGER,
		     .minimum = 2, .maximum = 1000),
};
static const struct schema settings_schema =
	SCHEMA("settings of detector process_crash", struct crash_settings, settings_fields,
	       .extra_offset = SCHEMA_STRICT);

static void settings_defaults(void *settings)
{
	*(struct crash_settings *)settings = (struct crash_settings){
		.loop_window_ns = 600 * NS_PER_S,
		.loop_crashes = 3,
	};
}

static const uint16_t event_types[] = {EVENT_PROCESS_CRASH, EVENT_NONE};

DETECTOR(process_crash) = {
	.name = "process_crash",
	.summary = "Processes that a fatal signal ended (SIGSEGV, SIGABRT, SIGBUS …), once or in a "
		   "loop",
	.hooks = hooks,
	.settings = &settings_schema,
	.defaults = settings_defaults,
	.state_size = sizeof(struct crash_state),
	.stop = stop,
	.event = on_event,
	.event_types = event_types,
	.event_size = sizeof(struct process_crash_event),
	.look = look,
};
