/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults of control groups. Owns the settings and the looks: all groups of a hierarchy are gone through
 * in rounds, a few at a look, so that thousands of them neither hold up the agent's loop nor cost more
 * than their share. What is a fault is the other parts' to say.
 */
#include "detect/cgroup.h"

#define FROZEN_THRESHOLD_NS (300 * NS_PER_S)
#define ROUNDS_PER_THRESHOLD 5
#define ROUND_MIN_NS (200 * NS_PER_MS)
#define ROUND_MAX_NS (60 * NS_PER_S)
#define GROUPS_PER_LOOK 64
#define LOOK_NS (50 * NS_PER_MS) /* between two looks of one round */
#define COST_FACTOR 1000 /* a round is to take 0.1 % of the time */
#define WALKS_MAX 2

struct fault_settings {
	int enabled;
	uint64_t threshold;
};

struct cgroup_settings {
	struct fault_settings frozen;
};

struct cgroup_state {
	struct frozen_groups *frozen;
	struct cgroup_walk *walks[WALKS_MAX];
	size_t walk_count, walk; /* the one that is under way */
	bool incomplete; /* a walk of this round failed */
	bool under_way;
	uint64_t round_ns; /* from the beginning of one round to the next */
	uint64_t round_began_ns, round_due_ns; /* boot time */
	uint64_t round_cost_ns; /* what the looks of this round took */
};

/* --- Settings --- */

static const struct field fault_fields[] = {
	SCHEMA_FIELD(struct fault_settings, enabled, "enabled", FIELD_TRISTATE),
	SCHEMA_FIELD(struct fault_settings, threshold, "threshold", FIELD_DURATION,
		     .minimum = (int64_t)NS_PER_S, .maximum = (int64_t)(24 * 3600 * NS_PER_S)),
};
static const struct schema fault_schema =
	SCHEMA("fault", struct fault_settings, fault_fields, .extra_offset = SCHEMA_STRICT);

static const struct field fields[] = {
	SCHEMA_FIELD(struct cgroup_settings, frozen, "frozen", FIELD_STRUCT,
		     .schema = &fault_schema),
};
static const struct schema settings_schema =
	SCHEMA("cgroup", struct cgroup_settings, fields, .extra_offset = SCHEMA_STRICT);

/* A part of the configuration may tell one of a fault's settings alone: the other is its default then. */
static uint64_t threshold_of(const struct fault_settings *fault, uint64_t default_ns)
{
	return fault->threshold ? fault->threshold : default_ns;
}

static void set_defaults(void *memory)
{
	struct cgroup_settings *settings = memory;

	settings->frozen = (struct fault_settings){true, FROZEN_THRESHOLD_NS};
}

/* --- Looks --- */

static void end_round(struct detector_run *run, uint64_t boot_ns)
{
	struct cgroup_state *state = run->state;

	/* What was not looked at may be as it was. */
	if (state->frozen && !state->incomplete)
		frozen_groups_round_end(state->frozen, boot_ns);
	state->incomplete = false;
	state->walk = 0;
}

/* Goes through some groups. True when the round is over. */
static bool go_on(struct detector_run *run, uint64_t boot_ns)
{
	struct cgroup_state *state = run->state;

	for (unsigned i = 0; i < GROUPS_PER_LOOK && state->walk < state->walk_count; i++) {
		struct cgroup_walk *walk = state->walks[state->walk];
		struct cgroup_walk_group group;
		int r = cgroup_walk_next(walk, &group);

		if (r < 0) {
			state->incomplete |= r != -ENODATA;
			state->walk++;
			continue;
		}
		if (state->frozen &&
		    frozen_groups_visit(state->frozen, cgroup_walk_version(walk), &group, boot_ns))
			cgroup_walk_skip(walk);
	}
	return state->walk == state->walk_count;
}

static uint64_t look(struct detector_run *run)
{
	struct cgroup_state *state = run->state;
	uint64_t begin_ns = clock_boot(run->clock), question_ns = 0;

	if (!state->under_way && begin_ns >= state->round_due_ns) {
		state->under_way = true;
		state->round_began_ns = begin_ns;
		state->round_cost_ns = 0;
	}
	if (state->under_way && go_on(run, begin_ns)) {
		end_round(run, begin_ns);
		state->under_way = false;
	}
	if (state->frozen)
		question_ns = frozen_groups_look(state->frozen, begin_ns);
	uint64_t now_ns = clock_boot(run->clock);

	state->round_cost_ns += now_ns - begin_ns;
	if (state->under_way)
		return LOOK_NS;
	state->round_due_ns =
		state->round_began_ns + MAX(state->round_ns, state->round_cost_ns * COST_FACTOR);
	uint64_t due_ns = state->round_due_ns - MIN(state->round_due_ns, now_ns);

	return MAX(question_ns ? MIN(question_ns, due_ns) : due_ns, LOOK_NS);
}

/* --- The ladder --- */

static int probe_cgroupfs(const struct btf *btf _unused_, const struct host *host, char *reason,
			  size_t reason_size)
{
	enum cgroup_version version;
	_cleanup_close_ int fd = cgroup_open(host, "freezer", "/", &version);

	if (fd >= 0)
		return 0;
	snprintf(reason, reason_size, "no hierarchy of control groups with freezers is mounted");
	return fd;
}

/* Walks the hierarchy of CONTROLLER, unless one walk does already. */
static int add_walk(struct detector_run *run, const char *controller)
{
	struct cgroup_state *state = run->state;
	struct cgroup_walk *walk;
	int r = cgroup_walk_new(run->host, controller, &walk);

	if (r < 0)
		return r == -EOPNOTSUPP || r == -ENOENT ? 0 : r;
	for (size_t i = 0; i < state->walk_count; i++)
		if (cgroup_walk_version(state->walks[i]) == CGROUP_V2 &&
		    cgroup_walk_version(walk) == CGROUP_V2) {
			cgroup_walk_free(walk);
			return 0;
		}
	state->walks[state->walk_count++] = walk;
	return 0;
}

static int start(struct detector_run *run, char *reason, size_t reason_size)
{
	const struct cgroup_settings *settings = run->settings;
	struct cgroup_state *state = run->state;
	uint64_t threshold_ns = threshold_of(&settings->frozen, FROZEN_THRESHOLD_NS);
	int r = 0;

	state->round_ns = MIN(MAX(threshold_ns / ROUNDS_PER_THRESHOLD, ROUND_MIN_NS), ROUND_MAX_NS);
	/* A hybrid host has two kinds of freezers: v1's, and those of the unified hierarchy. */
	if (settings->frozen.enabled) {
		r = frozen_groups_new(run, threshold_ns, &state->frozen);
		if (r == 0)
			r = add_walk(run, "freezer");
		if (r == 0)
			r = add_walk(run, "");
	}
	return r < 0 ? detector_fail(reason, reason_size, r, "opening the control groups") : 0;
}

static void stop(struct detector_run *run)
{
	struct cgroup_state *state = run->state;

	frozen_groups_free(state->frozen);
	for (size_t i = 0; i < state->walk_count; i++)
		cgroup_walk_free(state->walks[i]);
}

static const struct hook hooks[] = {
	{.name = "poll/cgroupfs", .probe = probe_cgroupfs, .start = start},
	{0},
};

DETECTOR(cgroup) = {
	.name = "cgroup",
	.summary = "Control groups that stay frozen though no runtime paused them",
	.hooks = hooks,
	.settings = &settings_schema,
	.defaults = set_defaults,
	.state_size = sizeof(struct cgroup_state),
	.stop = stop,
	.look = look,
};
