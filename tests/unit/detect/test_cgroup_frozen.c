/* SPDX-License-Identifier: Apache-2.0 */
/* Frozen groups over time, on a tree and with a clock of the test's own. */
#include "cgroup_fixture.h"

#define THRESHOLD_NS (10 * NS_PER_S)
#define GROUP "sys/fs/cgroup/web"

struct fixture {
	struct cgroup_fixture base;
	struct frozen_groups *frozen;
};

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	cgroup_fixture_setup(&fixture->base, "/sys/fs/cgroup rw - cgroup2 cgroup2 rw");
	fake_file(fixture->base.root, "sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n");
	fake_file(fixture->base.root, "sys/fs/cgroup/cgroup.procs", "1\n");
	fake_process(fixture->base.root, 7, 1, "nginx", 'S', 100, false);
	fake_process(fixture->base.root, 8, 1, "nginx", 'S', 100, false);
	fake_process(fixture->base.root, 9, 1, "sh", 'S', 100, false);
	fake_file(fixture->base.root, GROUP "/cgroup.procs", "7\n8\n9\n");
	fake_file(fixture->base.root, GROUP "/cgroup.freeze", "0\n");
	fake_file(fixture->base.root, GROUP "/cgroup.events", "populated 1\nfrozen 1\n");
	assert_int_equal(frozen_groups_new(&fixture->base.slot.run, THRESHOLD_NS, &fixture->frozen),
			 0);
	assert_int_equal(cgroup_walk_new(fixture->base.root->host, "", &fixture->base.walk), 0);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	frozen_groups_free(fixture->frozen);
	cgroup_fixture_teardown(&fixture->base);
	free(fixture);
	return 0;
}

/* One round, SECONDS after the test's beginning. */
static void round_at(struct fixture *fixture, unsigned seconds)
{
	uint64_t boot_ns = (1000 + seconds) * NS_PER_S;
	struct cgroup_walk_group group;

	while (cgroup_walk_next(fixture->base.walk, &group) == 0)
		if (frozen_groups_visit(fixture->frozen, CGROUP_V2, &group, boot_ns))
			cgroup_walk_skip(fixture->base.walk);
	frozen_groups_round_end(fixture->frozen, boot_ns);
	assert_int_equal(frozen_groups_look(fixture->frozen, boot_ns), 0);
}

static void freeze(const struct fixture *fixture, bool frozen)
{
	fake_file(fixture->base.root, GROUP "/cgroup.freeze", "%d\n", frozen);
}

static void a_group_is_told_when_it_has_been_frozen_for_the_threshold(void **state)
{
	struct fixture *fixture = *state;

	freeze(fixture, true);
	round_at(fixture, 0);
	round_at(fixture, 9);
	assert_int_equal(fixture->base.told, 0);
	round_at(fixture, 10);
	assert_int_equal(fixture->base.told, 1);
	assert_string_equal(fixture->base.last.subject, "frozen control group /web");
	assert_string_equal(fixture->base.last.type, "CgroupFrozen");
	const cJSON *details = json_at(fixture->base.last.event, "details");

	assert_string_equal(json_string(details, "fault"), "frozen");
	assert_string_equal(json_string(details, "state"), "frozen");
	assert_int_equal(json_u64(details, "seconds"), 10);
	assert_int_equal(json_u64(details, "thresholdSeconds"), 10);
	assert_string_equal(json_string(json_at(details, "cgroup"), "path"), "/web");
	assert_int_equal(json_u64(json_at(details, "cgroup"), "version"), 2);
	assert_string_equal(json_string(json_at(details, "cgroup"), "hierarchy"), "unified");
	assert_non_null(json_string(json_at(details, "runtime"), "unknown"));
	const cJSON *members = json_at(details, "members"),
		    *first = cJSON_GetArrayItem(json_at(members, "families"), 0);

	assert_int_equal(json_u64(members, "processes"), 3);
	assert_string_equal(json_string(first, "comm"), "nginx");
	assert_int_equal(json_u64(first, "processes"), 2);
	/* Once, and every ten thresholds. */
	round_at(fixture, 20);
	round_at(fixture, 109);
	assert_int_equal(fixture->base.told, 1);
	round_at(fixture, 110);
	assert_int_equal(fixture->base.told, 2);
	assert_int_equal(fixture->base.cleared, 0);
}

static void its_thaw_is_told_if_it_was(void **state)
{
	struct fixture *fixture = *state;

	freeze(fixture, true);
	round_at(fixture, 0);
	freeze(fixture, false);
	round_at(fixture, 5);
	freeze(fixture, true);
	round_at(fixture, 10);
	assert_int_equal(fixture->base.told + fixture->base.cleared, 0);
	round_at(fixture, 20);
	assert_int_equal(fixture->base.told, 1);
	freeze(fixture, false);
	round_at(fixture, 21);
	assert_int_equal(fixture->base.cleared, 1);
	assert_string_equal(fixture->base.last.subject, "frozen control group /web");
	round_at(fixture, 40);
	assert_int_equal(fixture->base.told + fixture->base.cleared, 2);
}

static void an_empty_group_is_not_told(void **state)
{
	struct fixture *fixture = *state;

	fake_file(fixture->base.root, GROUP "/cgroup.events", "populated 0\nfrozen 1\n");
	freeze(fixture, true);
	for (unsigned seconds = 0; seconds < 60; seconds += 10)
		round_at(fixture, seconds);
	assert_int_equal(fixture->base.told, 0);
}

static void of_groups_within_one_another_the_outermost_is_told(void **state)
{
	struct fixture *fixture = *state;

	fake_file(fixture->base.root, GROUP "/inner/cgroup.freeze", "1\n");
	fake_file(fixture->base.root, GROUP "/inner/cgroup.events", "populated 1\nfrozen 1\n");
	fake_file(fixture->base.root, GROUP "/inner/cgroup.procs", "9\n");
	freeze(fixture, true);
	round_at(fixture, 0);
	round_at(fixture, 10);
	assert_int_equal(fixture->base.told, 1);
	assert_string_equal(fixture->base.last.subject, "frozen control group /web");
	freeze(fixture, false);
	round_at(fixture, 20);
	assert_int_equal(fixture->base.cleared, 1);
	round_at(fixture, 30);
	assert_int_equal(fixture->base.told, 2);
	assert_string_equal(fixture->base.last.subject, "frozen control group /web/inner");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_group_is_told_when_it_has_been_frozen_for_the_threshold),
		TEST(its_thaw_is_told_if_it_was),
		TEST(an_empty_group_is_not_told),
		TEST(of_groups_within_one_another_the_outermost_is_told),
	};

	return cmocka_run_group_tests_name("cgroup_frozen", tests, NULL, NULL);
}
