/* SPDX-License-Identifier: Apache-2.0 */
/* cpu-throttled on canned findings. */
#include "builtin_fixture.h"

static void diagnose(struct plugin_fixture *fixture, const char *type, const char *more,
		     int expected)
{
	_cleanup_free_ char *text = NULL;

	assert_true(asprintf(&text,
			     "{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\","
			     "\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"},\"spec\":{"
			     "\"source\":\"KernelEvent\",\"kernelEvent\":{\"detector\":\"cgroup\","
			     "\"type\":\"%s\",\"time\":\"2026-11-23T18:00:00Z\",\"details\":{"
			     "\"cgroup\":{\"path\":\"/web\",\"version\":2},\"seconds\":300,"
			     "\"periods\":3000,\"throttled\":2910,\"throttledPercent\":97,"
			     "\"throttledSeconds\":512.25,\"quotaCPUs\":0.5%s}}}}",
			     type, more) > 0);
	fixture_call(fixture, PLUGIN_DIAGNOSER, "cpu-throttled", text);
	assert_int_equal(fixture->call.plugin->diagnose(&fixture->call), expected);
}

static void the_quota_and_what_it_costs_are_told(void **state)
{
	struct plugin_fixture *fixture = *state;

	diagnose(fixture, "CPUThrottled",
		 ",\"members\":{\"threads\":2,\"families\":[{\"comm\":\"web\",\"threads\":2}]}",
		 PLUGIN_RECOGNISED);
	assert_string_equal(fixture->abnormal->status.reason, "CPUThrottled");
	fixture_expect_message(
		fixture,
		"control group /web needs more than the 0.5 CPUs of its quota: for 5m it was kept "
		"from running in 97 % of the periods in which it wanted to.\n"
		"Evidence: cpu.stat of /web: 2910 of 3000 periods throttled, 512.2 s of waiting in "
		"all (its CPUs added up). Threads in it: web (2).\n"
		"Repair: none; how much CPU it may have is its owner's to decide.\n"
		"Advice: raise the limit (resources.limits.cpu, --cpus, CPUQuota=) or drop it and "
		"keep the request; else find what it computes (perf top -G, pprof). Probes and "
		"leases that time out in it are a consequence.");
}

static void too_many_threads_are_named(void **state)
{
	struct plugin_fixture *fixture = *state;

	diagnose(fixture, "CPUThrottled",
		 ",\"members\":{\"threads\":64,\"families\":[{\"comm\":\"java\",\"threads\":64}]}",
		 PLUGIN_RECOGNISED);
	assert_non_null(strstr(fixture->abnormal->status.message, "64 threads share 0.5 CPUs"));
	diagnose(fixture, "PidsLimit", "", PLUGIN_NOT_MINE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLUGIN_TEST(the_quota_and_what_it_costs_are_told),
		PLUGIN_TEST(too_many_threads_are_named),
	};

	return cmocka_run_group_tests_name("cpu_throttled", tests, NULL, NULL);
}
