/* SPDX-License-Identifier: Apache-2.0 */
/* pids-exhausted on canned findings: what used the limit up. */
#include "builtin_fixture.h"

static void diagnose(struct plugin_fixture *fixture, const char *details)
{
	_cleanup_free_ char *text = NULL;

	assert_true(asprintf(&text,
			     "{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\","
			     "\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"},\"spec\":{"
			     "\"source\":\"KernelEvent\",\"kernelEvent\":{\"detector\":\"cgroup\","
			     "\"type\":\"PidsLimit\",\"time\":\"2026-11-23T18:00:00Z\","
			     "\"details\":{\"cgroup\":{\"path\":\"/web\",\"version\":1},"
			     "\"limit\":100,\"refused\":3,%s}}}}",
			     details) > 0);
	fixture_call(fixture, PLUGIN_DIAGNOSER, "pids-exhausted", text);
	assert_int_equal(fixture->call.plugin->diagnose(&fixture->call), PLUGIN_RECOGNISED);
	assert_string_equal(fixture->abnormal->status.reason, "PidsLimitReached");
}

static void expect_cause(struct plugin_fixture *fixture, const char *cause)
{
	const char *message = fixture->abnormal->status.message;

	if (!strstr(message, cause))
		fail_msg("\"%s\" is not in\n%s", cause, message);
}

static void processes_of_one_name_use_it_up(void **state)
{
	diagnose(*state,
		 "\"current\":100,\"askedIn\":\"/web/inner\",\"members\":{\"processes\":80,"
		 "\"looked\":80,\"threads\":100,\"families\":[{\"comm\":\"sh\",\"processes\":70,"
		 "\"threads\":90},{\"comm\":\"init\",\"processes\":1,\"threads\":1}]}");
	fixture_expect_message(
		*state,
		"control group /web has as many processes and threads as it may (100): 3 forks "
		"were refused. Processes called sh use it up (70, with 90 threads).\n"
		"Evidence: pids.current is 100 of 100 in /web. That it was this limit is "
		"concluded: of those above the fork it has the least room. The forks were asked "
		"for in /web/inner. Largest families: sh (70 processes, 90 threads), init (1 "
		"process, 1 threads).\n"
		"Repair: none; programs see EAGAIN (\"Resource temporarily unavailable\", \"unable "
		"to create native thread\") until some end.\n"
		"Advice: end what leaks, bound its pool of workers or threads, let an init reap "
		"(docker run --init, shareProcessNamespace), or raise the limit: podPidsLimit of "
		"the kubelet, --pids-limit, TasksMax= of the unit.");
}

static void each_cause_is_told_apart(void **state)
{
	struct plugin_fixture *fixture = *state;

	diagnose(fixture, "\"exact\":true,\"current\":100,\"members\":{\"processes\":2,\"looked\":"
			  "2,\"threads\":99,\"families\":[{\"comm\":\"java\",\"processes\":1,"
			  "\"threads\":98}]}");
	expect_cause(fixture, "The threads of one process, java, use it up (98).");
	assert_null(strstr(fixture->abnormal->status.message, "concluded"));
	diagnose(fixture, "\"current\":100,\"members\":{\"processes\":2,\"looked\":2,\"threads\":"
			  "10,\"families\":[{\"comm\":\"app\",\"processes\":2,\"threads\":10}]}");
	expect_cause(fixture, "90 of them have ended and are not reaped");
	/* Most were not looked at: nothing is known of the rest. */
	diagnose(fixture, "\"current\":100,\"members\":{\"processes\":90,\"looked\":2,\"threads\":"
			  "10,\"families\":[{\"comm\":\"app\",\"processes\":2,\"threads\":10}]}");
	expect_cause(fixture, "No single program uses it up.");
	diagnose(fixture, "\"current\":12");
	expect_cause(fixture, "it was a burst");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLUGIN_TEST(processes_of_one_name_use_it_up),
		PLUGIN_TEST(each_cause_is_told_apart),
	};

	return cmocka_run_group_tests_name("pids_exhausted", tests, NULL, NULL);
}
