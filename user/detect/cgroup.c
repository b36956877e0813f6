/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults of control groups. Owns the settings and the looks: all groups of a hierarchy are gone through
 * in rounds, a few at a look, so that thousands of them neither hold up the agent's loop nor cost more
 * than their share. What is a fault is the other parts' to say.
 */
#include "detect/cgroup.h"

#include <limits.h>

#define FROZEN_THRESHOLD_NS (300 * NS_PER_S)
#define PIDS_CLEAR_AFTER_NS (300 * NS_PER_S)
#define THROTTLED_THRESHOLD_NS (300 * NS_PER_S)
#define THROTTLED_PERCENT 80
#define LEFTOVER_THRESHOLD_NS (300 * NS_PER_S)
#define PIDS_ROUND_NS (10 * NS_PER_S)
#define ROUNDS_PER_THRESHOLD 5
#define ROUND_MIN_NS (200 * NS_PER_MS)
#define ROUND_MAX_NS (60 * NS_PER_S)
#define GROUPS_PER_LOOK 64
#define LOOK_NS (50 * NS_PER_MS) /* between two looks of one round */
#define COST_FACTOR 1000 /* a round is to take 0.1 % of the time */
#define WALKS_MAX 5

struct fault_settings {
	int enabled;
	uint64_t threshold;
};

struct pids_settings {
	int enabled;
	uint64_t clear_after;
};

struct throttled_settings {
	int enabled;
	uint64_t threshold;
	int64_t percent;
};

struct cgroup_settings {
	struct fault_settings frozen;
	struct pids_settings pids;
	struct throttled_settings throttled;
	struct fault_settings leftover;
};

enum fault {
	FAULT_FROZEN = 1 << 0,
	FAULT_PIDS = 1 << 1,
	FAULT_THROTTLED = 1 << 2,
	FAULT_LEFTOVER = 1 << 3,
};

struct hierarchy {
	struct cgroup_walk *walk;
	const char *controller; /* static */
	unsigned faults; /* that are looked for in it */
};

struct cgroup_state {
	struct frozen_groups *frozen;
	struct pids_groups *pids;
	struct throttled_groups *throttled;
	struct leftover_groups *leftover;
	struct hierarchy hierarchies[WALKS_MAX];
	size_t hierarchy_count, hierarchy; /* the one that is under way */
	char frozen_path[PATH_MAX]; /* of the frozen group that the walk is below; "" if none */
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

static const struct field pids_fields[] = {
	SCHEMA_FIELD(struct pids_settings, enabled, "enabled", FIELD_TRISTATE),
	SCHEMA_FIELD(struct pids_settings, clear_after, "clearAfter", FIELD_DURATION,
		     .minimum = (int64_t)NS_PER_S, .maximum = (int64_t)(24 * 3600 * NS_PER_S)),
};
static const struct schema pids_schema =
	SCHEMA("pids", struct pids_settings, pids_fields, .extra_offset = SCHEMA_STRICT);

static const struct field throttled_fields[] = {
	SCHEMA_FIELD(struct throttled_settings, enabled, "enabled", FIELD_TRISTATE),
	SCHEMA_FIELD(struct throttled_settings, threshold, "threshold", FIELD_DURATION,
		     .minimum = (int64_t)NS_PER_S, .maximum = (int64_t)(24 * 3600 * NS_PER_S)),
	SCHEMA_FIELD(struct throttled_settings, percent, "percent", FIELD_INTEGER, .minimum = 1,
		     .maximum = 100),
};
static const struct schema throttled_schema = SCHEMA(
	"throttled", struct throttled_settings, throttled_fields, .extra_offset = SCHEMA_STRICT);

static const struct field fields[] = {
	SCHEMA_FIELD(struct cgroup_settings, frozen, "frozen", FIELD_STRUCT,
		     .schema = &fault_schema),
	SCHEMA_FIELD(struct cgroup_settings, pids, "pids", FIELD_STRUCT, .schema = &pids_schema),
	SCHEMA_FIELD(struct cgroup_settings, throttled, "throttled", FIELD_STRUCT,
		     .schema = &throttled_schema),
	SCHEMA_FIELD(struct cgroup_settings, leftover, "leftover", FIELD_STRUCT,
		     .schema = &fault_schema),
};
static const struct schema settings_schema =
	SCHEMA("cgroup", struct cgroup_settings, fields, .extra_offset = SCHEMA_STRICT);

static void set_defaults(void *memory)
{
	struct cgroup_settings *settings = memory;

	settings->frozen = (struct fault_settings){true, FROZEN_THRESHOLD_NS};
	settings->pids = (struct pids_settings){true, PIDS_CLEAR_AFTER_NS};
	settings->throttled =
		(struct throttled_settings){true, THROTTLED_THRESHOLD_NS, THROTTLED_PERCENT};
	settings->leftover = (struct fault_settings){true, LEFTOVER_THRESHOLD_NS};
}

/* --- Looks --- */

static void end_round(struct detector_run *run, uint64_t boot_ns)
{
	struct cgroup_state *state = run->state;

	/* What was not looked at may be as it was. */
	if (state->frozen && !state->incomplete)
		frozen_groups_round_end(state->frozen, boot_ns);
	if (state->throttled && !state->incomplete)
		throttled_groups_round_end(state->throttled, boot_ns);
	if (state->leftover && !state->incomplete)
		leftover_groups_round_end(state->leftover, boot_ns);
	if (state->pids)
		pids_groups_round_end(state->pids, !state->incomplete, boot_ns);
	state->incomplete = false;
	state->hierarchy = 0;
}

static bool is_below(const char *path, const char *above)
{
	const char *rest = startswith(path, above);

	return *above && rest && *rest == '/';
}

static void visit(struct cgroup_state *state, const struct hierarchy *hierarchy,
		  const struct cgroup_walk_group *group, uint64_t boot_ns)
{
	enum cgroup_version version = cgroup_walk_version(hierarchy->walk);

	if (hierarchy->faults & FAULT_FROZEN && !is_below(group->path, state->frozen_path)) {
		bool frozen = frozen_groups_visit(state->frozen, version, group, boot_ns);

		snprintf(state->frozen_path, sizeof(state->frozen_path), "%s",
			 frozen ? group->path : "");
	}
	if (hierarchy->faults & FAULT_PIDS)
		pids_groups_visit(state->pids, version, group, boot_ns);
	if (hierarchy->faults & FAULT_THROTTLED)
		throttled_groups_visit(state->throttled, version, group, boot_ns);
	if (hierarchy->faults & FAULT_LEFTOVER)
		leftover_groups_visit(state->leftover, version, hierarchy->controller, group,
				      boot_ns);
}

/* Goes through some groups. True when the round is over. */
static bool go_on(struct detector_run *run, uint64_t boot_ns)
{
	struct cgroup_state *state = run->state;

	for (unsigned i = 0; i < GROUPS_PER_LOOK && state->hierarchy < state->hierarchy_count;
	     i++) {
		const struct hierarchy *hierarchy = &state->hierarchies[state->hierarchy];
		struct cgroup_walk_group group;
		int r = cgroup_walk_next(hierarchy->walk, &group);

		if (r == 0) {
			visit(state, hierarchy, &group, boot_ns);
			continue;
		}
		state->incomplete |= r != -ENODATA;
		state->frozen_path[0] = '\0';
		state->hierarchy++;
	}
	return state->hierarchy == state->hierarchy_count;
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

/* Looks for FAULT in the hierarchy of CONTROLLER. Returns 1, 0 if there is none, or a negative errno. */
static int add_walk(struct detector_run *run, const char *controller, enum fault fault)
{
	struct cgroup_state *state = run->state;
	struct cgroup_walk *walk;
	int r = cgroup_walk_new(run->host, controller, &walk);

	if (r < 0)
		return r == -EOPNOTSUPP || r == -ENOENT ? 0 : r;
	for (size_t i = 0; i < state->hierarchy_count; i++) {
		struct hierarchy *other = &state->hierarchies[i];

		/* There is but one of v2. */
		if (cgroup_walk_version(other->walk) != cgroup_walk_version(walk) ||
		    (cgroup_walk_version(walk) == CGROUP_V1 &&
		     !streq(other->controller, controller)))
			continue;
		other->faults |= fault;
		cgroup_walk_free(walk);
		return 1;
	}
	state->hierarchies[state->hierarchy_count++] = (struct hierarchy){walk, controller, fault};
	return 1;
}

static int start_frozen(struct detector_run *run, const struct fault_settings *settings)
{
	struct cgroup_state *state = run->state;
	int r = frozen_groups_new(run, settings->threshold, &state->frozen);

	state->round_ns = MIN(state->round_ns, settings->threshold / ROUNDS_PER_THRESHOLD);
	/* A hybrid host has two kinds of freezers: v1's, and those of the unified hierarchy. */
	if (r >= 0)
		r = add_walk(run, "freezer", FAULT_FROZEN);
	return r < 0 ? r : add_walk(run, "", FAULT_FROZEN);
}

static int start_pids(struct detector_run *run, const struct pids_settings *settings)
{
	struct cgroup_state *state = run->state;
	int r = pids_groups_new(run, settings->clear_after, &state->pids);

	state->round_ns = MIN(state->round_ns,
			      MIN(settings->clear_after / ROUNDS_PER_THRESHOLD, PIDS_ROUND_NS));
	return r < 0 ? r : add_walk(run, "pids", FAULT_PIDS);
}

static int start_throttled(struct detector_run *run, const struct throttled_settings *settings)
{
	struct cgroup_state *state = run->state;
	int r = throttled_groups_new(run, settings->threshold, (uint64_t)settings->percent,
				     &state->throttled);

	/* As often as samples are taken, and a little more, as a round may be late. */
	state->round_ns =
		MIN(state->round_ns, settings->threshold / (2 * THROTTLED_SAMPLES_PER_WINDOW));
	return r < 0 ? r : add_walk(run, "cpu", FAULT_THROTTLED);
}

static int start_leftover(struct detector_run *run, const struct fault_settings *settings)
{
	/* Runtimes make the group in all hierarchies: one is enough, and pids is gone through anyway. */
	static const char *const controllers[] = {"pids", "memory", "freezer", ""};
	struct cgroup_state *state = run->state;
	int r = leftover_groups_new(run, settings->threshold, &state->leftover);

	state->round_ns = MIN(state->round_ns, settings->threshold / ROUNDS_PER_THRESHOLD);
	for (size_t i = 0; i < ARRAY_SIZE(controllers) && r == 0; i++)
		r = add_walk(run, controllers[i], FAULT_LEFTOVER);
	return r;
}

static int start(struct detector_run *run, char *reason, size_t reason_size)
{
	const struct cgroup_settings *settings = run->settings;
	struct cgroup_state *state = run->state;
	int r = 0;

	state->round_ns = ROUND_MAX_NS;
	if (settings->frozen.enabled)
		r = start_frozen(run, &settings->frozen);
	if (r >= 0 && settings->pids.enabled)
		r = start_pids(run, &settings->pids);
	if (r >= 0 && settings->throttled.enabled)
		r = start_throttled(run, &settings->throttled);
	if (r >= 0 && settings->leftover.enabled)
		r = start_leftover(run, &settings->leftover);
	state->round_ns = MAX(state->round_ns, ROUND_MIN_NS);
	return r < 0 ? detector_fail(reason, reason_size, r, "opening the control groups") : 0;
}

static void stop(struct detector_run *run)
{
	struct cgroup_state *state = run->state;

	frozen_groups_free(state->frozen);
	pids_groups_free(state->pids);
	throttled_groups_free(state->throttled);
	leftover_groups_free(state->leftover);
	for (size_t i = 0; i < state->hierarchy_count; i++)
		cgroup_walk_free(state->hierarchies[i].walk);
}

static const struct hook hooks[] = {
	{.name = "poll/cgroupfs", .probe = probe_cgroupfs, .start = start},
	{0},
};

DETECTOR(cgroup) = {
	.name = "cgroup",
	.summary =
		"Control groups that stay frozen though no runtime paused them, whose limit of pids "
		"refuses forks, whose CPU quota runs out most of the time, or whose container was "
		"removed and left processes behind",
	.hooks = hooks,
	.settings = &settings_schema,
	.defaults = set_defaults,
	.state_size = sizeof(struct cgroup_state),
	.stop = stop,
	.look = look,
};
