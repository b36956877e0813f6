/* SPDX-License-Identifier: Apache-2.0 */
/* Throttled periods over time, v1 and v2, on a tree and with a clock of the test's own. */
#include "cgroup_fixture.h"

#define THRESHOLD_NS (50 * NS_PER_S) /* samples are 10 s apart: 100 periods */
#define GROUP "sys/fs/cgroup/cpu/web"

struct fixture {
	struct cgroup_fixture base;
	struct throttled_groups *throttled;
	unsigned second;
	uint64_t periods, throttled_periods;
	bool v2;
};

static void lay_quota(const struct fixture *fixture, int quota_us)
{
	if (fixture->v2) {
		fake_file(fixture->base.root, GROUP "/cpu.max",
			  quota_us < 0 ? "max 100000\n" : "%d 100000\n", quota_us);
		return;
	}
	fake_file(fixture->base.root, GROUP "/cpu.cfs_quota_us", "%d\n", quota_us);
	fake_file(fixture->base.root, GROUP "/cpu.cfs_period_us", "100000\n");
}

static int setup(void **state, bool v2)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	cgroup_fixture_setup(&fixture->base,
			     v2 ? "/sys/fs/cgroup/cpu rw - cgroup2 cgroup rw"
				: "/sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct");
	fixture->v2 = v2;
	fake_file(fixture->base.root, "sys/fs/cgroup/cpu/cgroup.controllers", "cpu\n");
	fake_process(fixture->base.root, 7, 1, "web", 'R', 100, false);
	fake_file(fixture->base.root, GROUP "/cgroup.procs", "7\n");
	lay_quota(fixture, 50000);
	assert_int_equal(throttled_groups_new(&fixture->base.slot.run, THRESHOLD_NS, 80,
					      &fixture->throttled),
			 0);
	assert_int_equal(cgroup_walk_new(fixture->base.root->host, "cpu", &fixture->base.walk), 0);
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

	throttled_groups_free(fixture->throttled);
	cgroup_fixture_teardown(&fixture->base);
	free(fixture);
	return 0;
}

static void look(struct fixture *fixture)
{
	uint64_t boot_ns = (1000 + fixture->second) * NS_PER_S;
	struct cgroup_walk_group group;

	while (cgroup_walk_next(fixture->base.walk, &group) == 0)
		throttled_groups_visit(fixture->throttled, cgroup_walk_version(fixture->base.walk),
				       &group, boot_ns);
	throttled_groups_round_end(fixture->throttled, boot_ns);
}

/* Ten seconds in which PERIODS were wanted, and THROTTLED of them cut; then a round, and one too early. */
static void ten_seconds(struct fixture *fixture, unsigned periods, unsigned throttled)
{
	fixture->periods += periods;
	fixture->throttled_periods += throttled;
	fake_file(fixture->base.root, GROUP "/cpu.stat",
		  "usage_usec 1\nnr_periods %llu\nnr_throttled %llu\n%s %llu\n",
		  (unsigned long long)fixture->periods,
		  (unsigned long long)fixture->throttled_periods,
		  fixture->v2 ? "throttled_usec" : "throttled_time",
		  (unsigned long long)fixture->throttled_periods *
			  (fixture->v2 ? 50000 : 50000000));
	look(fixture);
	fixture->second += 5;
	look(fixture);
	fixture->second += 5;
}

static void a_whole_window_at_the_share_is_told_and_half_of_it_clears(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < 5; i++)
		ten_seconds(fixture, 100, 90);
	assert_int_equal(fixture->base.told, 0);
	ten_seconds(fixture, 100, 50); /* one mild fifth: 82 % in all */
	assert_int_equal(fixture->base.told, 1);
	assert_string_equal(fixture->base.last.type, "CPUThrottled");
	assert_string_equal(fixture->base.last.subject, "CPU quota of control group /web");
	const cJSON *details = json_at(fixture->base.last.event, "details");

	assert_int_equal(json_u64(details, "periods"), 500);
	assert_int_equal(json_u64(details, "throttled"), 410);
	assert_int_equal(json_u64(details, "throttledPercent"), 82);
	assert_int_equal(json_u64(details, "seconds"), 50);
	assert_true(json_number(details, "throttledSeconds", 0) == 20.5);
	assert_true(json_number(details, "quotaCPUs", 0) == 0.5);
	/* A little less is not over yet, and is not told again. */
	for (unsigned i = 0; i < 5; i++)
		ten_seconds(fixture, 100, 60);
	assert_int_equal(fixture->base.told, 1);
	assert_int_equal(fixture->base.cleared, 0);
	for (unsigned i = 0; i < 5; i++)
		ten_seconds(fixture, 100, 30);
	assert_int_equal(fixture->base.cleared, 1);
}

static void less_than_the_share_or_mostly_idle_is_not_told(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < 10; i++)
		ten_seconds(fixture, 100, 79);
	lay_quota(fixture, 60000); /* another window */
	for (unsigned i = 0; i < 10; i++)
		ten_seconds(fixture, 40, 40);
	assert_int_equal(fixture->base.told, 0);
}

static void without_a_quota_nothing_is_read_and_with_another_it_begins_anew(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < 5; i++)
		ten_seconds(fixture, 100, 100);
	lay_quota(fixture, 60000);
	for (unsigned i = 0; i < 5; i++)
		ten_seconds(fixture, 100, 100);
	assert_int_equal(fixture->base.told, 0);
	ten_seconds(fixture, 100, 100);
	assert_int_equal(fixture->base.told, 1);
	lay_quota(fixture, -1);
	ten_seconds(fixture, 100, 100);
	assert_int_equal(fixture->base.cleared, 1);
	for (unsigned i = 0; i < 10; i++)
		ten_seconds(fixture, 100, 100);
	assert_int_equal(fixture->base.told, 1);
}

static void rounds_that_are_rarer_than_the_threshold_need_but_two(void **state)
{
	struct fixture *fixture = *state;

	ten_seconds(fixture, 100, 100);
	fixture->second += 90;
	ten_seconds(fixture, 1000, 900);
	assert_int_equal(fixture->base.told, 1);
	const cJSON *details = json_at(fixture->base.last.event, "details");

	assert_int_equal(json_u64(details, "seconds"), 100);
	assert_int_equal(json_u64(details, "periods"), 1000);
	/* Nor is what was before the last threshold part of it. */
	fixture->second += 90;
	ten_seconds(fixture, 1000, 300);
	assert_int_equal(fixture->base.cleared, 1);
}

#define V1(name) cmocka_unit_test_setup_teardown(name, setup_v1, teardown)
#define V2(name) cmocka_unit_test_setup_teardown(name, setup_v2, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		V1(a_whole_window_at_the_share_is_told_and_half_of_it_clears),
		V2(a_whole_window_at_the_share_is_told_and_half_of_it_clears),
		V1(less_than_the_share_or_mostly_idle_is_not_told),
		V2(rounds_that_are_rarer_than_the_threshold_need_but_two),
		V1(without_a_quota_nothing_is_read_and_with_another_it_begins_anew),
		V2(without_a_quota_nothing_is_read_and_with_another_it_begins_anew),
	};

	return cmocka_run_group_tests_name("cgroup_throttled", tests, NULL, NULL);
}
