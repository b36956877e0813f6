/* SPDX-License-Identifier: Apache-2.0 */
/* memory-stall on canned findings. */
#include "builtin_fixture.h"

static void diagnose(struct plugin_fixture *fixture, const char *type, const char *details,
		     int expected)
{
	_cleanup_free_ char *text = NULL;

	assert_true(asprintf(&text,
			     "{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\","
			     "\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"},\"spec\":{"
			     "\"source\":\"KernelEvent\",\"kernelEvent\":{\"detector\":"
			     "\"memory_stall\",\"type\":\"%s\",\"time\":\"2026-11-23T18:00:00Z\","
			     "\"process\":{\"pid\":7,\"tgid\":7,\"comm\":\"web\"},\"details\":{"
			     "\"cgroup\":{\"path\":\"/web\",\"version\":1},\"thresholdSeconds\":60,"
			     "\"limit\":\"memory.limit_in_bytes\",\"limitBytes\":20971520,"
			     "\"usageBytes\":20865024,\"limitHits\":5000%s}}}}",
			     type, details) > 0);
	fixture_call(fixture, PLUGIN_DIAGNOSER, "memory-stall", text);
	assert_int_equal(fixture->call.plugin->diagnose(&fixture->call), expected);
}

static void expect(struct plugin_fixture *fixture, const char *details, const char *part)
{
	diagnose(fixture, "MemoryStall", details, PLUGIN_RECOGNISED);
	if (!strstr(fixture->abnormal->status.message, part))
		fail_msg("\"%s\" is not in\n%s", part, fixture->abnormal->status.message);
}

static void files_that_do_not_fit_are_told_with_the_numbers(void **state)
{
	struct plugin_fixture *fixture = *state;

	diagnose(fixture, "MemoryStall",
		 ",\"reclaims\":18834,\"reclaimSeconds\":66.5,\"reclaimPercent\":31.2,"
		 "\"stallPercent\":31.2,\"refaults\":{\"fileBytes\":2147483648,\"anonBytes\":0,"
		 "\"returnedPercent\":99},\"memory\":{\"anonBytes\":1048576,\"fileBytes\":"
		 "18874368,\"shmemBytes\":0,\"kernelBytes\":524288},\"tasks\":[{\"pid\":7,"
		 "\"comm\":\"web\",\"reclaimSeconds\":18.7,\"inReclaimSeconds\":0.001}]",
		 PLUGIN_RECOGNISED);
	assert_string_equal(fixture->abnormal->status.reason, "MemoryStall");
	fixture_expect_message(
		fixture,
		"control group /web needs more memory than the 20 MiB of its limit, and does not "
		"get on: web (pid 7) spent 31 % of the last 1m on making room for itself. The "
		"files that it reads again and again do not fit beside what its programs hold.\n"
		"Evidence: memory.limit_in_bytes of /web: 19.9 MiB of 20 MiB used (1 MiB "
		"anonymous, 18 MiB of files, 0 B shared, 512 KiB of the kernel), met by 5000 "
		"charges. 18834 reclaims took its tasks 1m6s. 2 GiB of files came back soon after "
		"they were evicted, 99 % of what was evicted. In reclaim for longest: web (pid 7, "
		"18s).\n"
		"Repair: none; how much memory it may have is its owner's to decide, and the "
		"kernel kills only when nothing can be evicted any more.\n"
		"Advice: raise the limit by the size of those files, or have it read less of them: "
		"fewer workers at a time, smaller indexes, reads that bypass the page cache. It is "
		"set by resources.limits.memory, --memory or MemoryMax=. Probes and leases that "
		"time out in it are a consequence.");
}

static void what_fills_the_limit_is_the_cause(void **state)
{
	struct plugin_fixture *fixture = *state;

	expect(fixture, ",\"memory\":{\"anonBytes\":18000000}",
	       "leaves too little for the files that they run from");
	expect(fixture, ",\"memory\":{\"shmemBytes\":12000000}", "Shared memory");
	expect(fixture, ",\"memory\":{\"kernelBytes\":12000000}", "Memory that the kernel holds");
	expect(fixture,
	       ",\"memory\":{\"anonBytes\":18000000},\"refaults\":{\"fileBytes\":1,\"anonBytes\":2}",
	       "swapped out and in again");
}

static void one_reclaim_that_does_not_end_waits_for_the_disk(void **state)
{
	struct plugin_fixture *fixture = *state;

	expect(fixture,
	       ",\"reclaimPercent\":100,\"stallPercent\":100,\"memory\":{\"dirtyBytes\":9000000,"
	       "\"writebackBytes\":1000000},\"tasks\":[{\"inReclaimSeconds\":90}]",
	       "a task has been in one reclaim for 1m30s. Pages that have to be written to a disk "
	       "first fill it");
	assert_non_null(strstr(fixture->abnormal->status.message, "look at the disk"));
}

static void pressure_alone_tells_no_task(void **state)
{
	struct plugin_fixture *fixture = *state;

	expect(fixture, ",\"stallPercent\":64,\"pressure\":{\"fullPercent\":64},\"majorFaults\":12",
	       "for 64 % of the last 1m all of its tasks waited for memory.");
	assert_non_null(strstr(fixture->abnormal->status.message,
			       "12 pages of files had to be read again"));
	diagnose(fixture, "OOMKill", "", PLUGIN_NOT_MINE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLUGIN_TEST(files_that_do_not_fit_are_told_with_the_numbers),
		PLUGIN_TEST(what_fills_the_limit_is_the_cause),
		PLUGIN_TEST(one_reclaim_that_does_not_end_waits_for_the_disk),
		PLUGIN_TEST(pressure_alone_tells_no_task),
	};

	return cmocka_run_group_tests_name("memory_stall_diagnoser", tests, NULL, NULL);
}
