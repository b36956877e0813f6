/* SPDX-License-Identifier: Apache-2.0 */
/* When a crash is settled, and when somebody is left without the program. */
#include "builtin_fixture.h"

#define ID "3f4e8c1b2a7d9e0f1c2b3a495867d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9"
#define POD "8a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
#define CONTAINER "/kubepods/pod" POD "/" ID
#define SERVICE "/system.slice/web.service"

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

static void group(const struct plugin_fixture *fixture, const char *path, const char *pids)
{
	char file[PATH_MAX];

	fake_file(&fixture->root, "proc/1/mountinfo",
		  "30 20 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
	fake_file(&fixture->root, "sys/fs/cgroup/cgroup.controllers", "memory\n");
	snprintf(file, sizeof(file), "sys/fs/cgroup%s/cgroup.procs", path);
	fake_file(&fixture->root, file, "%s", pids);
}

/* Crashed 100 s after boot, in thread "worker" of process "web"; it is now 110 s after boot. */
static void prepare(struct plugin_fixture *fixture, const char *path, const char *signal,
		    const char *last_time)
{
	_cleanup_free_ char *text = NULL;

	now_ns = 110 * NS_PER_S;
	assert_true(asprintf(&text,
			     "{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\","
			     "\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"},"
			     "\"spec\":{\"source\":\"KernelEvent\",\"kernelEvent\":{\"detector\":"
			     "\"process_crash\",\"type\":\"ProcessCrash\",\"time\":"
			     "\"2026-11-23T18:01:40Z\",\"process\":{\"pid\":51,\"tgid\":50,"
			     "\"startTime\":10,\"comm\":\"worker\"},\"container\":{\"cgroupPath\":"
			     "\"%s\"},\"details\":{\"program\":\"web\",\"processName\":\"web\","
			     "\"signal\":\"%s\",\"sender\":{\"self\":true}}}},"
			     "\"status\":{\"reason\":\"ProcessCrashed\",\"occurrences\":{\"count\":"
			     "2,\"firstTime\":\"2026-11-23T18:01:40Z\",\"lastTime\":\"%s\"}}}",
			     path, signal, last_time) > 0);
	fixture_call(fixture, PLUGIN_RECOVERER, "crash-settled", text);
	fixture->call.clock = &fake_clock;
	assert_int_equal(fixture->call.plugin->plan(&fixture->call), PLUGIN_RECOGNISED);
}

static void crashed(struct plugin_fixture *fixture, const char *path, const char *signal)
{
	prepare(fixture, path, signal, "2026-11-23T18:01:40Z");
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

static void a_program_that_runs_again_is_settled(void **state)
{
	group(*state, SERVICE, "");
	crashed(*state, SERVICE, "SIGSEGV");
	assert_string_equal(fixture_context(*state, "target")->valuestring,
			    "web of control group " SERVICE);
	assert_int_equal(verify(*state), PLUGIN_NOT_MINE);
	add_process(*state, 60, 10, "/elsewhere");
	add_process(*state, 61, 10500, "/elsewhere");
	assert_int_equal(verify(*state), PLUGIN_NOT_MINE);
	add_process(*state, 62, 10500, SERVICE);
	assert_int_equal(verify(*state), PLUGIN_RECOGNISED);
	fixture_expect_message(*state, "web runs again (pid 62)");
}

static void a_new_container_of_the_same_pod_is_the_program_again(void **state)
{
	crashed(*state, CONTAINER, "SIGSEGV");
	assert_int_equal(verify(*state), PLUGIN_NOT_MINE);
	add_process(*state, 71, 10500,
		    "/kubepods/pod" POD
		    "/00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
	assert_int_equal(verify(*state), PLUGIN_RECOGNISED);
}

static void others_of_the_group_that_go_on_settle_it(void **state)
{
	group(*state, SERVICE, "80\n81\n");
	crashed(*state, SERVICE, "SIGSEGV");
	assert_int_equal(verify(*state), PLUGIN_RECOGNISED);
	fixture_expect_message(*state, "web has not been started again; 2 other processes of its "
				       "group go on");
}

static void a_job_that_gave_up_by_itself_is_settled_anywhere(void **state)
{
	crashed(*state, CONTAINER, "SIGABRT");
	assert_int_equal(verify(*state), PLUGIN_RECOGNISED);
	fixture_expect_message(*state,
			       "web gave up by itself, as a job may, and nobody started it again");
}

static void a_command_outside_of_services_is_settled_though_gone(void **state)
{
	crashed(*state, "/user.slice/user-0.slice/session-1.scope", "SIGSEGV");
	assert_int_equal(verify(*state), PLUGIN_RECOGNISED);
	fixture_expect_message(*state,
			       "web was not started again, and nothing else ran in its group");
}

static void what_crashes_again_has_not_settled(void **state)
{
	group(*state, SERVICE, "80\n");
	prepare(*state, SERVICE, "SIGSEGV", "2026-11-23T18:01:49Z");
	assert_int_equal(verify(*state), PLUGIN_NOT_MINE);
	now_ns = 112 * NS_PER_S;
	assert_int_equal(verify(*state), PLUGIN_RECOGNISED);
}

static void a_loop_is_left_to_a_person(void **state)
{
	struct plugin_fixture *fixture = *state;

	crashed(fixture, SERVICE, "SIGSEGV");
	assert_int_equal(string_set(&fixture->abnormal->status.reason, "CrashLoop"), 0);
	assert_int_equal(fixture->call.plugin->plan(&fixture->call), PLUGIN_NOT_MINE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLUGIN_TEST(a_program_that_runs_again_is_settled),
		PLUGIN_TEST(a_new_container_of_the_same_pod_is_the_program_again),
		PLUGIN_TEST(others_of_the_group_that_go_on_settle_it),
		PLUGIN_TEST(a_job_that_gave_up_by_itself_is_settled_anywhere),
		PLUGIN_TEST(a_command_outside_of_services_is_settled_though_gone),
		PLUGIN_TEST(what_crashes_again_has_not_settled),
		PLUGIN_TEST(a_loop_is_left_to_a_person),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
