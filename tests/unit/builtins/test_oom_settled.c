/* SPDX-License-Identifier: Apache-2.0 */
/* When an OOM kill counts as settled, and when not. */
#include "builtin_fixture.h"

#define ID "3f4e8c1b2a7d9e0f1c2b3a495867d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9"
#define POD "8a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
#define CONTAINER "/kubepods/pod" POD "/" ID
#define LONG_AGO 10 /* ticks since boot */

static uint64_t now_ns;

static uint64_t fake_ns(void *userdata)
{
	return now_ns;
}

static int64_t fake_realtime(void *userdata)
{
	return INT64_C(1795456800) * (int64_t)NS_PER_S +
	       (int64_t)now_ns; /* 2026-11-23T18:00:00Z at boot */
}

static const struct clock fake_clock = {
	.monotonic_ns = fake_ns, .boot_ns = fake_ns, .realtime_ns = fake_realtime};

static void group(const struct plugin_fixture *fixture, const char *path, unsigned long usage,
		  int kills, const char *pids)
{
	char file[PATH_MAX];

	fake_file(&fixture->root, "proc/1/mountinfo",
		  "30 20 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
	fake_file(&fixture->root, "sys/fs/cgroup/cgroup.controllers", "memory\n");
	snprintf(file, sizeof(file), "sys/fs/cgroup%s/memory.current", path);
	fake_file(&fixture->root, file, "%lu\n", usage);
	snprintf(file, sizeof(file), "sys/fs/cgroup%s/memory.max", path);
	fake_file(&fixture->root, file, "33554432\n");
	snprintf(file, sizeof(file), "sys/fs/cgroup%s/memory.events", path);
	fake_file(&fixture->root, file, "max 9\noom 1\noom_kill %d\n", kills);
	snprintf(file, sizeof(file), "sys/fs/cgroup%s/cgroup.procs", path);
	fake_file(&fixture->root, file, "%s", pids);
}

/* Killed 100 s after boot; it is now 110 s after boot. */
static void prepare(struct plugin_fixture *fixture, const char *path, const char *reason)
{
	_cleanup_free_ char *text = NULL;

	now_ns = 110 * NS_PER_S;
	assert_true(asprintf(&text,
			     "{\"apiVersion\":\"lifeboat.dev/"
			     "v1alpha1\",\"kind\":\"Abnormal\",\"metadata\":{\"name\":\"a\","
			     "\"namespace\":\"default\"},"
			     "\"spec\":{\"source\":\"KernelEvent\",\"kernelEvent\":{\"detector\":"
			     "\"oom\",\"type\":\"OOMKill\","
			     "\"time\":\"2026-11-23T18:01:40Z\",\"process\":{\"pid\":50,\"tgid\":"
			     "50,\"startTime\":10,\"comm\":\"web\"},"
			     "\"container\":{\"cgroupPath\":\"%s\"},\"details\":{\"scope\":\"%s\","
			     "\"limitCgroup\":{\"path\":\"%s\"}}}},"
			     "\"status\":{\"reason\":\"%s\"}}",
			     path, streq(reason, "NodeOutOfMemory") ? "node" : "cgroup", path,
			     reason) > 0);
	fixture_call(fixture, PLUGIN_RECOVERER, "oom-settled", text);
	fixture->call.clock = &fake_clock;
	assert_int_equal(fixture->call.plugin->plan(&fixture->call), PLUGIN_RECOGNISED);
}

static int verify(struct plugin_fixture *fixture)
{
	return fixture->call.plugin->verify(&fixture->call);
}

static void add_process(const struct plugin_fixture *fixture, int pid,
			unsigned long long start_time, const char *path)
{
	char file[64];

	fake_process(&fixture->root, pid, 1, "web", 'S', start_time, false);
	snprintf(file, sizeof(file), "proc/%d/cgroup", pid);
	fake_file(&fixture->root, file, "0::%s\n", path);
}

static void a_group_whose_rest_goes_on_well_below_its_limit_has_settled(void **state)
{
	group(*state, "/demo", 3145728, 1, "60\n61\n");
	prepare(*state, "/demo", "ContainerOutOfMemory");
	assert_string_equal(fixture_context(*state, "target")->valuestring, "control group /demo");
	assert_int_equal(verify(*state), PLUGIN_RECOGNISED);
	fixture_expect_message(
		*state,
		"no further kill; the group is at 3 MiB of 32 MiB; 2 of its processes go on");
}

static void an_empty_plain_group_has_settled_and_says_so(void **state)
{
	group(*state, "/demo", 0, 1, "");
	prepare(*state, "/demo", "ContainerOutOfMemory");
	assert_int_equal(verify(*state), PLUGIN_RECOGNISED);
	fixture_expect_message(
		*state,
		"no further kill; the group is at 0 B of 32 MiB; nothing runs in it any more");
}

static void a_workload_that_is_back_has_settled_even_near_the_limit(void **state)
{
	group(*state, "/demo", 31457280, 1, "60\n");
	prepare(*state, "/demo", "ContainerOutOfMemory");
	add_process(*state, 60, LONG_AGO, "/demo");
	assert_int_equal(verify(*state), PLUGIN_NOT_MINE);
	add_process(*state, 70, 10500, "/demo");
	assert_int_equal(verify(*state), PLUGIN_RECOGNISED);
	fixture_expect_message(*state, "web runs again (pid 70); the group is at 30 MiB of 32 MiB");
}

static void another_kill_has_not_settled(void **state)
{
	group(*state, "/demo", 3145728, 1, "60\n");
	prepare(*state, "/demo", "ContainerOutOfMemory");
	group(*state, "/demo", 3145728, 2, "60\n");
	assert_int_equal(verify(*state), PLUGIN_NOT_MINE);
}

static void a_kill_of_this_very_moment_has_not_settled(void **state)
{
	group(*state, "/demo", 3145728, 1, "60\n");
	prepare(*state, "/demo", "ContainerOutOfMemory");
	now_ns = 101 * NS_PER_S;
	assert_int_equal(verify(*state), PLUGIN_NOT_MINE);
}

static void a_container_that_is_gone_settles_when_its_pod_has_a_new_one(void **state)
{
	group(*state, "/kubepods", 3145728, 1, "");
	prepare(*state, CONTAINER, "ContainerOutOfMemory");
	assert_string_equal(fixture_context(*state, "target")->valuestring,
			    "container 3f4e8c1b2a7d (containerd) of pod " POD);
	assert_int_equal(verify(*state), PLUGIN_NOT_MINE);
	add_process(*state, 71, 10500, "/kubepods/pod11111111-2222-3333-4444-555555555555/" ID);
	assert_int_equal(verify(*state), PLUGIN_NOT_MINE);
	add_process(*state, 72, 10500,
		    "/kubepods/pod" POD
		    "/00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
	assert_int_equal(verify(*state), PLUGIN_RECOGNISED);
	fixture_expect_message(*state, "web runs again (pid 72), in a new group");
}

static void a_stopped_container_is_not_settled_by_an_empty_group(void **state)
{
	group(*state, CONTAINER, 0, 1, "");
	prepare(*state, CONTAINER, "ContainerOutOfMemory");
	assert_int_equal(verify(*state), PLUGIN_NOT_MINE);
}

static void a_node_settles_when_memory_is_back(void **state)
{
	struct plugin_fixture *fixture = *state;

	fake_file(&fixture->root, "proc/meminfo",
		  "MemTotal: 16777216 kB\nMemAvailable: 400000 kB\n");
	prepare(fixture, "/demo", "NodeOutOfMemory");
	assert_string_equal(fixture_context(fixture, "target")->valuestring, "the node's memory");
	assert_int_equal(verify(fixture), PLUGIN_NOT_MINE);
	fake_file(&fixture->root, "proc/meminfo",
		  "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n");
	fake_file(&fixture->root, "proc/pressure/memory",
		  "full avg10=55.00 avg60=0.00 avg300=0.00 total=1\n");
	assert_int_equal(verify(fixture), PLUGIN_NOT_MINE);
	fake_file(&fixture->root, "proc/pressure/memory",
		  "full avg10=0.00 avg60=0.00 avg300=0.00 total=1\n");
	assert_int_equal(verify(fixture), PLUGIN_RECOGNISED);
	fixture_expect_message(
		fixture, "8 GiB of 16 GiB are available again; web has not been started again");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLUGIN_TEST(a_group_whose_rest_goes_on_well_below_its_limit_has_settled),
		PLUGIN_TEST(an_empty_plain_group_has_settled_and_says_so),
		PLUGIN_TEST(a_workload_that_is_back_has_settled_even_near_the_limit),
		PLUGIN_TEST(another_kill_has_not_settled),
		PLUGIN_TEST(a_kill_of_this_very_moment_has_not_settled),
		PLUGIN_TEST(a_container_that_is_gone_settles_when_its_pod_has_a_new_one),
		PLUGIN_TEST(a_stopped_container_is_not_settled_by_an_empty_group),
		PLUGIN_TEST(a_node_settles_when_memory_is_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
