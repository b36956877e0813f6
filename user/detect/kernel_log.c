/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel_log detector: faults that the kernel tells by a line of its log alone. Owns the
 * settings and the ladder, and hands lines on; leaves what they say to the other parts.
 */
#include "detect/kernel_log.h"

#include <bpf/bpf.h>

#include "host/kallsyms.h"

#include "kernel_log.skel.h"

#define KMSG_LOOK_NS (500 * NS_PER_MS)
#define KMSG_AGAIN_NS NS_PER_MS /* when there is more than one look reads */
#define KMSG_RECORDS 1000 /* a look; some 2 ms */
/* Between two questions for lines that were missed: one costs twice what a line does. */
#define MISSED_NS (100 * NS_PER_MS)

struct kernel_log_state {
	struct kernel_log_bpf *skeleton;
	struct bpf_link *link;
	struct kmsg *kmsg;
	struct kernel_faults *faults;
	uint64_t missed_seen, missed_asked_ns;
	struct log_limit log_limit;
};

/* --- Lines --- */

/*
 * A line that was logged while the program was at work on another on the same CPU, as by an NMI, is
 * not looked at; the kernel counts these.
 */
static void count_missed(struct detector_run *run, uint64_t boot_ns)
{
	struct kernel_log_state *state = run->state;
	struct bpf_prog_info info = {};
	uint32_t size = sizeof(info);

	/* It looks at /dev/kmsg now, and this record was still in the ring. */
	if (!state->skeleton)
		return;
	if (boot_ns - state->missed_asked_ns < MISSED_NS)
		return;
	state->missed_asked_ns = boot_ns;
	if (bpf_obj_get_info_by_fd(bpf_program__fd(state->skeleton->progs.kernel_line), &info,
				   &size) < 0 ||
	    info.recursion_misses <= state->missed_seen)
		return;
	run->lost += info.recursion_misses - state->missed_seen;
	state->missed_seen = info.recursion_misses;
}

static void on_event(struct detector_run *run, const struct event_header *header)
{
	const struct kernel_line_event *event = (const struct kernel_line_event *)header;
	struct kernel_log_state *state = run->state;
	struct kernel_line line = {
		.boot_ns = header->boot_ns,
		.cpu = header->cpu,
		.text = event->text,
		.length = MIN((size_t)event->length,
			      header->size - offsetof(struct kernel_line_event, text)),
		.cut = event->flags & KERNEL_LINE_CUT,
		.origin = event->flags & KERNEL_LINE_KERNEL    ? ORIGIN_KERNEL
			  : event->flags & KERNEL_LINE_PROGRAM ? ORIGIN_PROGRAM
							       : ORIGIN_UNKNOWN,
		.level = -1,
	};

	count_missed(run, header->boot_ns);
	kernel_text_take(state->faults, &line);
}

static void on_kmsg_line(void *userdata, const struct kernel_line *line)
{
	kernel_text_take(userdata, line);
}

static uint64_t look(struct detector_run *run)
{
	struct kernel_log_state *state = run->state;
	uint64_t now_ns = clock_boot(run->clock),
		 next_ns = kernel_faults_look(state->faults, now_ns);
	uint32_t suppressed;
	uint64_t lost;

	if (state->skeleton)
		count_missed(run, now_ns);
	if (!state->kmsg)
		return next_ns;
	int r = kmsg_read(state->kmsg, run->clock, KMSG_RECORDS, on_kmsg_line, state->faults,
			  &lost);

	run->lost += lost;
	if (r < 0 && log_limit_pass(&state->log_limit, 1, 3600 * NS_PER_S, &suppressed))
		log_warning(
			"cannot read /dev/kmsg any more: %s; faults that the kernel logs are not "
			"seen until it can be read",
			strerror(-r));
	return r > 0 ? KMSG_AGAIN_NS : KMSG_LOOK_NS;
}

/* --- The ladder --- */

/*
 * Since 5.19 the tracepoint tells each record as it is stored; until then, what consoles were
 * given: not the lines that their level leaves out. What came with it is the sequence number of
 * each console.
 */
static int probe_tracepoint(const struct btf *btf, const struct host *host, char *reason,
			    size_t reason_size)
{
	int arguments = btf_tracepoint_arguments(btf, "console");

	if (arguments < 0) {
		snprintf(reason, reason_size, "the kernel has no tracepoint console");
		return arguments;
	}
	if (btf_has_member(btf, "console", "seq") || btf_has_member(btf, "console", "nbcon_seq"))
		return 0;
	snprintf(
		reason, reason_size,
		"this kernel's tracepoint console leaves out lines that the console's level leaves "
		"out (until Linux 5.19)");
	return -EOPNOTSUPP;
}

struct needles {
	struct kernel_log_bpf *skeleton;
	int r;
};

static void add_to_filter(void *userdata, size_t rule _unused_, const uint64_t needles[2])
{
	struct needles *to = userdata;

	for (size_t i = 0; i < 2; i++) {
		uint32_t hash = needle_hash(needles[i]);

		to->skeleton->rodata->needle_filter[hash / 64] |= UINT64_C(1) << (hash % 64);
	}
}

static void add_to_map(void *userdata, size_t rule, const uint64_t needles[2])
{
	struct needles *to = userdata;
	int fd = bpf_map__fd(to->skeleton->maps.needles);

	for (size_t i = 0; i < 2; i++) {
		struct needle_rules rules = {};

		(void)bpf_map_lookup_elem(fd, &needles[i],
					  &rules); /* none yet: none of its rules */
		(i == 0 ? rules.first : rules.second)[rule / 64] |= UINT64_C(1) << (rule % 64);
		int r = bpf_map_update_elem(fd, &needles[i], &rules, BPF_ANY);

		if (r < 0)
			to->r = r;
	}
}

/* Where addresses are hidden, nothing tells programs' lines from the kernel's. */
static void find_program_code(const struct detector_run *run, struct kernel_log_bpf *skeleton)
{
	static const char *const names[PROGRAM_CODE_COUNT] = {
		"devkmsg_write",
		"devkmsg_write.cold",
		"devkmsg_emit",
		"devkmsg_emit.constprop.0",
	};
	struct kernel_range ranges[PROGRAM_CODE_COUNT] = {};

	if (kallsyms_ranges(run->host, names, PROGRAM_CODE_COUNT, ranges) < 0)
		return;
	for (size_t i = 0; i < PROGRAM_CODE_COUNT; i++) {
		skeleton->rodata->program_code[i].start = ranges[i].start;
		skeleton->rodata->program_code[i].end = ranges[i].end;
	}
}

static int start_tracepoint(struct detector_run *run, char *reason, size_t reason_size)
{
	struct kernel_log_state *state = run->state;
	struct needles needles;
	int r = kernel_faults_new(run, &state->faults);

	if (r < 0)
		return detector_fail(reason, reason_size, r, "keeping track of lines");
	state->skeleton = needles.skeleton = kernel_log_bpf__open();
	if (!state->skeleton)
		return detector_fail(reason, reason_size, -errno,
				     "opening the kernel_log detector's BPF object");
	find_program_code(run, state->skeleton);
	needles.r = 0;
	kernel_rules_needles(run->settings, add_to_filter, &needles);
	r = detector_load(run, state->skeleton->skeleton, "kernel_line", reason, reason_size);
	if (r < 0)
		return r;
	kernel_rules_needles(run->settings, add_to_map, &needles);
	if (needles.r < 0)
		return detector_fail(reason, reason_size, needles.r, "filling the map of needles");
	r = detector_attach(run, state->skeleton->progs.kernel_line, &state->link);
	return r < 0 ? detector_fail(reason, reason_size, r, "attaching kernel_line") : 0;
}

static int start_kmsg(struct detector_run *run, char *reason, size_t reason_size)
{
	struct kernel_log_state *state = run->state;
	int r = kernel_faults_new(run, &state->faults);

	if (r < 0)
		return detector_fail(reason, reason_size, r, "keeping track of lines");
	return kmsg_open(run->host, &state->kmsg, reason, reason_size);
}

static void stop(struct detector_run *run)
{
	struct kernel_log_state *state = run->state;

	kernel_faults_flush(state->faults);
	detector_detach(run, state->link);
	kernel_log_bpf__destroy(state->skeleton);
	kmsg_free(state->kmsg);
	kernel_faults_free(state->faults);
}

static const struct hook hooks[] = {
	{.name = "tp_btf/console", .probe = probe_tracepoint, .start = start_tracepoint},
	{
		.name = HOOK_POLL "kmsg",
		.degraded = true,
		.shortfall =
			"Reads /dev/kmsg twice a second: lines that the log has overwritten by "
			"then are lost, and counted",
		.start = start_kmsg,
	},
	{},
};

static const struct field settings_fields[] = {
	SCHEMA_FIELD(struct kernel_log_settings, builtin, "builtin", FIELD_TRISTATE),
	SCHEMA_FIELD(struct kernel_log_settings, without, "without", FIELD_STRINGS, .maximum = 64,
		     .check = kernel_rule_names_check),
	SCHEMA_FIELD(struct kernel_log_settings, rules, "rules", FIELD_LIST,
		     .schema = &kernel_rule_schema, .maximum = KERNEL_RULES_MAX),
};
static const struct schema settings_schema =
	SCHEMA("settings of detector kernel_log", struct kernel_log_settings, settings_fields,
	       .extra_offset = SCHEMA_STRICT);

static void settings_defaults(void *settings)
{
	((struct kernel_log_settings *)settings)->builtin = true;
}

static const uint16_t event_types[] = {EVENT_KERNEL_LINE, EVENT_NONE};

DETECTOR(kernel_log) = {
	.name = "kernel_log",
	.summary =
		"Faults that the kernel tells by a line of its log: disks, filesystems, lockups, "
		"hardware, bugs",
	.hooks = hooks,
	.settings = &settings_schema,
	.defaults = settings_defaults,
	.state_size = sizeof(struct kernel_log_state),
	.stop = stop,
	.event = on_event,
	.event_types = event_types,
	.event_size = offsetof(struct kernel_line_event, text),
	.look = look,
};
