/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of refused forks over time, v1 and v2, on a tree and with a clock of the test's own. */
#include "cgroup_fixture.h"

#define CLEAR_AFTER_NS (300 * NS_PER_S)
#define TOP "sys/fs/cgroup/pids"

struct fixture {
	struct cgroup_fixture base;
	struct pids_groups *pids;
};

static void lay_group(const struct fixture *fixture, const char *path, const char *maximum,
		      unsigned current, const char *events, unsigned refused)
{
	char file[256];

	snprintf(file, sizeof(file), TOP "%s/pids.max", path);
	fake_file(fixture->base.root, file, "%s\n", maximum);
	snprintf(file, sizeof(file), TOP "%s/pids.current", path);
	fake_file(fixture->base.root, file, "%u\n", current);
	snprintf(file, sizeof(file), TOP "%s/%s", path, events);
	fake_file(fixture->base.root, file, "max %u\n", refused);
	snprintf(file, sizeof(file), TOP "%s/cgroup.procs", path);
	fake_file(fixture->base.root, file, "7\n");
}

static int setup(void **state, bool v2)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	cgroup_fixture_setup(&fixture->base, v2 ? "/" TOP " rw - cgroup2 cgroup rw"
						: "/" TOP " rw - cgroup cgroup rw,pids");
	fake_file(fixture->base.root, TOP "/cgroup.controllers", "pids\n");
	fake_file(fixture->base.root, TOP "/cgroup.procs", "%s", "");
	fake_process(fixture->base.root, 7, 1, "java", 'S', 100, false);
	assert_int_equal(pids_groups_new(&fixture->base.slot.run, CLEAR_AFTER_NS, &fixture->pids),
			 0);
	assert_int_equal(cgroup_walk_new(fixture->base.root->host, "pids", &fixture->base.walk), 0);
	*state = fixture;
	return 0;
}

static int setup_v1(void **state)
{
	return setup(state, false);
}

static int setup_v2(void **state)
{
	return setup(state, true);
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	pids_groups_free(fixture->pids);
	cgroup_fixture_teardown(&fixture->base);
	free(fixture);
	return 0;
}

static void round_at(struct fixture *fixture, unsigned seconds)
{
	uint64_t boot_ns = (1000 + seconds) * NS_PER_S;
	struct cgroup_walk_group group;

	while (cgroup_walk_next(fixture->base.walk, &group) == 0)
		pids_groups_visit(fixture->pids, cgroup_walk_version(fixture->base.walk), &group,
				  boot_ns);
	pids_groups_round_end(fixture->pids, true, boot_ns);
}

static void v1_tells_the_limit_with_the_least_room_above_the_fork(void **state)
{
	struct fixture *fixture = *state;

	lay_group(fixture, "/pod", "100", 100, "pids.events", 0);
	lay_group(fixture, "/pod/web", "500", 98, "pids.events", 0);
	round_at(fixture, 0);
	assert_int_equal(fixture->base.told, 0);
	lay_group(fixture, "/pod/web", "500", 98, "pids.events", 3);
	round_at(fixture, 5);
	assert_int_equal(fixture->base.told, 1);
	assert_string_equal(fixture->base.last.type, "PidsLimit");
	assert_string_equal(fixture->base.last.subject, "pids limit of control group /pod");
	const cJSON *details = json_at(fixture->base.last.event, "details");

	assert_int_equal(json_u64(details, "refused"), 3);
	assert_int_equal(json_u64(details, "limit"), 100);
	assert_int_equal(json_u64(details, "current"), 100);
	assert_string_equal(json_string(details, "askedIn"), "/pod/web");
	assert_false(json_bool(details, "exact", true));
	assert_int_equal(json_u64(fixture->base.last.event, "count"), 3);
}

static void v2_counts_where_the_limit_is(void **state)
{
	struct fixture *fixture = *state;

	lay_group(fixture, "/pod", "100", 60, "pids.events.local", 0);
	lay_group(fixture, "/pod/web", "max", 60, "pids.events.local", 0);
	round_at(fixture, 0);
	lay_group(fixture, "/pod", "100", 60, "pids.events.local", 1);
	round_at(fixture, 5);
	assert_int_equal(fixture->base.told, 1);
	assert_string_equal(fixture->base.last.subject, "pids limit of control group /pod");
	assert_true(json_bool(json_at(fixture->base.last.event, "details"), "exact", false));
}

static void what_was_refused_before_the_start_is_not_told_but_a_new_group_is(void **state)
{
	struct fixture *fixture = *state;

	lay_group(fixture, "/old", "100", 100, "pids.events", 7);
	round_at(fixture, 0);
	lay_group(fixture, "/new", "100", 100, "pids.events", 2);
	round_at(fixture, 5);
	assert_int_equal(fixture->base.told, 1);
	assert_int_equal(fixture->base.refused, 2);
	assert_string_equal(fixture->base.last.subject, "pids limit of control group /new");
}

static void a_storm_is_told_once_a_minute_and_none_of_it_is_lost(void **state)
{
	struct fixture *fixture = *state;

	lay_group(fixture, "/web", "100", 100, "pids.events", 0);
	for (unsigned second = 0; second < 150; second += 5) {
		round_at(fixture, second);
		lay_group(fixture, "/web", "100", 100, "pids.events", second + 5);
	}
	assert_int_equal(fixture->base.told, 3);
	round_at(fixture, 150);
	/* Over, when nothing was refused for so long; what was held back comes before that. */
	round_at(fixture, 449);
	assert_int_equal(fixture->base.cleared, 0);
	round_at(fixture, 450);
	assert_int_equal(fixture->base.cleared, 1);
	assert_int_equal(fixture->base.refused, 150);
	assert_string_equal(fixture->base.last.type, "Cleared");
	round_at(fixture, 900);
	assert_int_equal(fixture->base.cleared, 1);
}

#define V1(name) cmocka_unit_test_setup_teardown(name, setup_v1, teardown)
#define V2(name) cmocka_unit_test_setup_teardown(name, setup_v2, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		V1(v1_tells_the_limit_with_the_least_room_above_the_fork),
		V2(v2_counts_where_the_limit_is),
		V1(what_was_refused_before_the_start_is_not_told_but_a_new_group_is),
		V1(a_storm_is_told_once_a_minute_and_none_of_it_is_lost),
	};

	return cmocka_run_group_tests_name("cgroup_pids", tests, NULL, NULL);
}
