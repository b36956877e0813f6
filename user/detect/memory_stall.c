/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory_stall detector: groups at their limit of memory whose tasks spend their time on reclaim,
 * as what they need does not fit. Owns the settings and the ladder.
 */
#include "detect/memory_stall.h"

#include <fcntl.h>

#include "memory_stall.skel.h"

#define THRESHOLD_NS (60 * NS_PER_S)
#define PERCENT 30

static uint64_t look(struct detector_run *run)
{
	const struct stall_state *state = run->state;

	return state->walk ? stall_look_at_pressure(run) : stall_look_at_reclaim(run);
}

/* --- The ladder --- */

static int probe_tracepoints(const struct btf *btf, const struct host *host _unused_, char *reason,
			     size_t reason_size)
{
	static const char *const names[] = {"mm_vmscan_memcg_reclaim_begin",
					    "mm_vmscan_memcg_reclaim_end"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		int arguments = btf_tracepoint_arguments(btf, names[i]);

		if (arguments >= 0)
			continue;
		snprintf(reason, reason_size, "the kernel has no tracepoint %s", names[i]);
		return arguments;
	}
	return 0;
}

static int probe_pressure(const struct btf *btf _unused_, const struct host *host, char *reason,
			  size_t reason_size)
{
	enum cgroup_version version;
	_cleanup_close_ int fd = cgroup_open(host, "memory", "/", &version);

	if (fd < 0 || version != CGROUP_V2) {
		snprintf(reason, reason_size,
			 "the controller of memory is not in the unified hierarchy (cgroup v2)");
		return -EOPNOTSUPP;
	}
	if (faccessat(host->proc, "pressure/memory", R_OK, 0) == 0)
		return 0;
	snprintf(
		reason, reason_size,
		"the kernel has no pressure stall information, or it is off (CONFIG_PSI=y, psi=1)");
	return -EOPNOTSUPP;
}

static int make_limits(struct stall_state *state, char *reason, size_t reason_size)
{
	state->limits = calloc(STALL_LIMITS_MAX, sizeof(*state->limits));
	return state->limits ? 0
			     : detector_fail(reason, reason_size, -ENOMEM,
					     "keeping track of limits of memory");
}

static int attach(struct detector_run *run, const char *name, struct bpf_link **ret_link,
		  char *reason, size_t reason_size)
{
	const struct stall_state *state = run->state;
	int r = detector_attach(run, bpf_object__find_program_by_name(state->skeleton->obj, name),
				ret_link);

	return r < 0 ? detector_fail(reason, reason_size, r, "attaching %s", name) : 0;
}

/* The end is watched first: a reclaim that began before that has no beginning, and does not count. */
static int start_programs(struct detector_run *run, const char *const names[2], char *reason,
			  size_t reason_size)
{
	struct stall_state *state = run->state;
	int r = make_limits(state, reason, reason_size);

	if (r < 0)
		return r;
	state->skeleton = memory_stall_bpf__open();
	if (!state->skeleton)
		return detector_fail(reason, reason_size, -errno,
				     "opening the memory_stall detector's BPF object");
	for (size_t i = 0; i < 2; i++) {
		struct bpf_program *program =
			bpf_object__find_program_by_name(state->skeleton->obj, names[i]);

		r = program ? bpf_program__set_autoload(program, true) : -ENOENT;
		if (r < 0)
			return detector_fail(reason, reason_size, r, "finding %s", names[i]);
	}
	r = detector_load(run, state->skeleton->skeleton, names[0], reason, reason_size);
	if (r < 0)
		return r;
	if (!state->skeleton->bss)
		return detector_fail_unmapped(reason, reason_size);
	state->tasks_fd = bpf_map__fd(state->skeleton->maps.reclaim_tasks);
	state->groups_fd = bpf_map__fd(state->skeleton->maps.reclaim_groups);
	state->lost = &state->skeleton->bss->stalls_lost;
	stall_take_over(run);
	r = attach(run, names[0], &state->on_end, reason, reason_size);
	return r < 0 ? r : attach(run, names[1], &state->on_begin, reason, reason_size);
}

static int start_btf(struct detector_run *run, char *reason, size_t reason_size)
{
	static const char *const names[] = {"memory_stall_end_btf", "memory_stall_begin_btf"};

	return start_programs(run, names, reason, reason_size);
}

static int start_raw(struct detector_run *run, char *reason, size_t reason_size)
{
	static const char *const names[] = {"memory_stall_end_raw", "memory_stall_begin_raw"};

	return start_programs(run, names, reason, reason_size);
}

static int start_pressure(struct detector_run *run, char *reason, size_t reason_size)
{
	struct stall_state *state = run->state;
	int r = make_limits(state, reason, reason_size);

	if (r == 0)
		r = cgroup_walk_new(run->host, "memory", &state->walk);
	return r < 0 ? detector_fail(reason, reason_size, r, "opening the control groups") : 0;
}

static void stop(struct detector_run *run)
{
	struct stall_state *state = run->state;

	detector_detach(run, state->on_begin);
	detector_detach(run, state->on_end);
	memory_stall_bpf__destroy(state->skeleton);
	cgroup_walk_free(state->walk);
	stall_tasks_clear(&state->tasks);
	for (size_t i = 0; i < state->limit_count; i++)
		free(state->limits[i].path);
	free(state->limits);
}

static const struct hook hooks[] = {
	{.name = "tp_btf/mm_vmscan_memcg_reclaim_begin",
	 .probe = probe_tracepoints,
	 .start = start_btf},
	{.name = "raw_tp/mm_vmscan_memcg_reclaim_begin", .start = start_raw},
	{
		.name = HOOK_POLL "pressure",
		.degraded = true,
		.shortfall =
			"Sees groups whose tasks all wait for memory at the same time, but not "
			"which tasks, and no single one that is stuck",
		.probe = probe_pressure,
		.start = start_pressure,
	},
	{},
};

static const struct field settings_fields[] = {
	SCHEMA_FIELD(struct stall_settings, threshold_ns, "threshold", FIELD_DURATION,
		     .minimum = 5 * NS_PER_S, .maximum = 24 * 3600 * NS_PER_S),
	SCHEMA_FIELD(struct stall_settings, percent, "percent", FIELD_INTEGER, .minimum = 1,
		     .maximum = 100),
};
static const struct schema settings_schema =
	SCHEMA("settings of detector memory_stall", struct stall_settings, settings_fields,
	       .extra_offset = SCHEMA_STRICT);

static void settings_defaults(void *settings)
{
	*(struct stall_settings *)settings = (struct stall_settings){
		.threshold_ns = THRESHOLD_NS,
		.percent = PERCENT,
	};
}

static const uint16_t event_types[] = {EVENT_RECLAIM, EVENT_NONE};

DETECTOR(memory_stall) = {
	.name = "memory_stall",
	.summary = "Control groups at their limit of memory whose tasks spend their time on making "
		   "room",
	.hooks = hooks,
	.settings = &settings_schema,
	.defaults = settings_defaults,
	.state_size = sizeof(struct stall_state),
	.stop = stop,
	.event_types = event_types,
	.look = look,
};
