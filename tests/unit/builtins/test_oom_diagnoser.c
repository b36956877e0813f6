/* SPDX-License-Identifier: Apache-2.0 */
/* What is concluded from an OOM kill, word for word. */
#include "builtin_fixture.h"

#define MEMINFO                                                                       \
	"MemTotal:       16777216 kB\nMemFree:        100000 kB\nMemAvailable:   %d " \
	"kB\nSwapTotal:      %d kB\nSwapFree:       %d kB\n"
#define PSI                                                                                      \
	"some avg10=40.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=%s avg60=0.00 avg300=0.00 " \
	"total=1\n"
#define ID "3f4e8c1b2a7d9e0f1c2b3a495867d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9"
#define POD "8a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
#define PATH "/kubepods/burstable/pod" POD "/" ID

#define EVENT(rest, status)                                                                        \
	"{\"apiVersion\":\"lifeboat.dev/"                                                          \
	"v1alpha1\",\"kind\":\"Abnormal\",\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"}" \
	","                                                                                        \
	"\"spec\":{\"source\":\"KernelEvent\",\"kernelEvent\":{\"detector\":\"oom\",\"type\":"     \
	"\"OOMKill\","                                                                             \
	"\"time\":\"2026-11-23T18:00:00Z\",\"process\":{\"pid\":4711,\"tgid\":4711,\"startTime\":" \
	"1000,\"comm\":\"java\"}," rest "}},\"status\":{" status "}}"
#define LIMIT(path)                                                                       \
	"\"limitCgroup\":{\"path\":\"" path "\",\"limitBytes\":536870912,\"usageBytes\":" \
	"536866816}"
#define VICTIM(anon, shmem) \
	"\"victim\":{\"anonBytes\":" #anon ",\"fileBytes\":4000000,\"shmemBytes\":" #shmem "}"
#define GROUP(path, rest)                                                                      \
	"\"context\":{\"cgroup\":{\"groups\":[{\"path\":\"" path "\",\"role\":\"limit\"," rest \
	"}]}}"

static void node(const struct plugin_fixture *fixture, int available, const char *full, int swap)
{
	fake_file(&fixture->root, "proc/meminfo", MEMINFO, available, swap, swap / 4);
	fake_file(&fixture->root, "proc/pressure/memory", PSI, full);
}

static void diagnose(struct plugin_fixture *fixture, const char *text, const char *reason,
		     const char *message)
{
	fixture_call(fixture, PLUGIN_DIAGNOSER, "oom", text);
	assert_int_equal(fixture->call.plugin->diagnose(&fixture->call), PLUGIN_RECOGNISED);
	assert_true(fixture->abnormal->status.identifiable);
	assert_string_equal(fixture->abnormal->status.reason, reason);
	fixture_expect_message(fixture, message);
}

static void one_process_that_outgrew_its_container_is_told(void **state)
{
	node(*state, 12582912, "0.30", 0);
	diagnose(
		*state,
		EVENT("\"container\":{\"runtime\":\"containerd\",\"id\":\"" ID
		      "\",\"cgroupPath\":\"" PATH "\"},"
		      "\"details\":{\"scope\":\"cgroup\"," VICTIM(500000000, 0) "," LIMIT(
			      PATH) ","
				    "\"trigger\":{\"pid\":4712,\"tgid\":4711,\"comm\":\"worker\"}}",
		      "\"occurrences\":{\"count\":3,\"firstTime\":\"2026-11-23T17:00:00Z\","
		      "\"lastTime\":\"2026-11-23T18:00:00Z\"}," GROUP(
			      PATH, "\"oomKills\":3,\"shmemBytes\":1048576,\"processes\":2")),
		"ContainerOutOfMemory",
		"java (pid 4711) was killed because container 3f4e8c1b2a7d (containerd) of pod "
		"8a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9 reached its memory limit of 512 MiB: this "
		"one process outgrew it.\n"
		"Evidence: 512 MiB were in use (page cache is not why: the kernel drops it before "
		"it kills). The victim alone held 477 MiB (93 % of the limit). "
		"2 processes are left in the group. The kernel has killed 3 times "
		"in this group. This fault was seen 3 times within 1h. The node now has 12 GiB of "
		"16 GiB available; all its tasks waited for memory 0.3 % of the last 10 s.\n"
		"Repair: nothing is changed for an OOM kill; it is checked whether the workload "
		"comes back or the group stays well below its limit.\n"
		"Advice: look for a leak or an unbounded cache (a runtime's heap may not know the "
		"limit: -Xmx, GOMEMLIMIT, --max-old-space-size); if it needs that much, raise the "
		"limit. The limit is resources.limits.memory of the container.");
}

static void many_processes_under_one_limit_are_told(void **state)
{
	node(*state, 12582912, "0.30", 0);
	diagnose(*state,
		 EVENT("\"details\":{\"scope\":\"cgroup\"," VICTIM(50000000, 0) "," LIMIT(
			       "/system.slice/web.service") ","
							    "\"trigger\":{\"pid\":4800,\"tgid\":"
							    "4800,\"comm\":\"apache2\"}}",
		       GROUP("/system.slice/web.service",
			     "\"oomKills\":1,\"shmemBytes\":1048576,\"processes\":12")),
		 "ContainerOutOfMemory",
		 "java (pid 4711) was killed because control group /system.slice/web.service "
		 "reached its memory limit of 512 MiB: many processes share it, and the largest "
		 "was killed.\n"
		 "Evidence: 512 MiB were in use (page cache is not why: the kernel drops it before "
		 "it kills). The victim held only 47.7 MiB (9 % of the limit), the others in the "
		 "group about 464 MiB together. 12 processes are left in the group. It was apache2 "
		 "(pid 4800) that asked for more; the kernel chose the victim. The node now has 12 "
		 "GiB of 16 GiB available; all its tasks waited for memory 0.3 % of the last 10 "
		 "s.\n"
		 "Repair: nothing is changed for an OOM kill; it is checked whether the workload "
		 "comes back or the group stays well below its limit.\n"
		 "Advice: run fewer workers, or raise the limit to what all of them need together. "
		 "The limit is MemoryMax= of the unit (systemctl set-property UNIT MemoryMax=…).");
}

static void files_in_memory_are_told_as_what_killing_does_not_free(void **state)
{
	node(*state, 12582912, "0.30", 0);
	diagnose(*state,
		 EVENT("\"details\":{\"scope\":\"cgroup\"," VICTIM(50000000,
								   0) "," LIMIT("/demo") "}",
		       GROUP("/demo", "\"shmemBytes\":400000000,\"processes\":1")),
		 "ContainerOutOfMemory",
		 "java (pid 4711) was killed because control group /demo reached its memory limit "
		 "of 512 MiB: shared memory fills it.\n"
		 "Evidence: 512 MiB were in use (page cache is not why: the kernel drops it before "
		 "it kills). 382 MiB is shared memory: files in tmpfs (/dev/shm, a memory-backed "
		 "emptyDir) count against the limit, and killing a process does not free them. 1 "
		 "process is left in the group. The node now has 12 GiB of 16 GiB available; all "
		 "its tasks waited for memory 0.3 % of the last 10 s.\n"
		 "Repair: nothing is changed for an OOM kill; it is checked whether the workload "
		 "comes back or the group stays well below its limit.\n"
		 "Advice: delete or bound those files (mount the tmpfs with size=), or raise the "
		 "limit by what they need.");
}

static void memory_of_the_kernel_is_told_apart(void **state)
{
	node(*state, 12582912, "0.30", 0);
	diagnose(
		*state,
		EVENT("\"details\":{\"scope\":\"cgroup\"," VICTIM(50000000,
								  0) "," LIMIT("/demo") "}",
		      GROUP("/demo", "\"shmemBytes\":0,\"kernelBytes\":400000000,\"processes\":0")),
		"ContainerOutOfMemory",
		"java (pid 4711) was killed because control group /demo reached its memory limit "
		"of 512 MiB: memory of the kernel fills it.\n"
		"Evidence: 512 MiB were in use (page cache is not why: the kernel drops it before "
		"it kills). 382 MiB is memory that the kernel holds for the group (dentries, "
		"sockets, page tables), not the processes' own. 0 processes are left in the group. "
		"The node now has 12 GiB of 16 GiB available; all its tasks waited for memory 0.3 "
		"% of the last 10 s.\n"
		"Repair: nothing is changed for an OOM kill; it is checked whether the workload "
		"comes back or the group stays well below its limit.\n"
		"Advice: look at slab and sock in cgroup.json: very many files, connections or "
		"processes cost kernel memory.");
}

static void little_evidence_still_names_the_group(void **state)
{
	diagnose(
		*state,
		EVENT("\"details\":{\"scope\":\"cgroup\",\"limitCgroup\":{\"path\":\"/demo\"}}",
		      ""),
		"ContainerOutOfMemory",
		"java (pid 4711) was killed because control group /demo reached its memory limit.\n"
		"Evidence: nothing but the kill itself; the group was gone before it could be "
		"read.\n"
		"Repair: nothing is changed for an OOM kill; it is checked whether the workload "
		"comes back or the group stays well below its limit.\n"
		"Advice: raise the limit above what the workload needs at its peak, or find out "
		"why it needs more than before.");
}

static void a_full_node_names_the_largest_processes(void **state)
{
	struct plugin_fixture *fixture = *state;

	node(fixture, 400000, "35.20", 1048576);
	fake_process(&fixture->root, 9, 1, "postgres", 'S', 5, false);
	diagnose(
		fixture,
		EVENT("\"details\":{\"scope\":\"node\"," VICTIM(
			      9000000000,
			      0) ",\"node\":{\"totalBytes\":17179869184,\"freeBytes\":70000000}}",
		      ""),
		"NodeOutOfMemory",
		"The node ran out of memory, and the kernel killed java (pid 4711).\n"
		"Evidence: The victim held 8.4 GiB. 66.8 MiB of 16 GiB were free then. Of 1 GiB of "
		"swap, 256 MiB are free now. The node now has 391 MiB of 16 GiB available; all its "
		"tasks waited for memory 35.2 % of the last 10 s. Largest now: postgres (pid 9) "
		"400 KiB.\n"
		"Repair: nothing is changed for an OOM kill; it is checked whether the node has "
		"memory again.\n"
		"Advice: give the largest consumers memory limits, so that they and not their "
		"neighbours are killed; move work away or add memory; protect what must live with "
		"a lower oom_score_adj.");
}

static void a_node_that_was_not_full_points_to_the_constraint(void **state)
{
	node(*state, 12582912, "0.00", 0);
	diagnose(
		*state,
		EVENT("\"details\":{\"scope\":\"node\"," VICTIM(
			      9000000000,
			      0) ",\"node\":{\"totalBytes\":17179869184,\"freeBytes\":7000000000}}",
		      ""),
		"NodeOutOfMemory",
		"The node ran out of memory, and the kernel killed java (pid 4711).\n"
		"Evidence: The victim held 8.4 GiB. 6.5 GiB of 16 GiB were free then. That is not "
		"a full node: one NUMA node or cpuset was full, or a large contiguous piece was "
		"missing (the oom-kill line in kernel-log.txt names the constraint). There is no "
		"swap, so private memory had nowhere to go. The node now has 12 GiB of 16 GiB "
		"available; all its tasks waited for memory 0.0 % of the last 10 s.\n"
		"Repair: nothing is changed for an OOM kill; it is checked whether the node has "
		"memory again.\n"
		"Advice: give the largest consumers memory limits, so that they and not their "
		"neighbours are killed; move work away or add memory; protect what must live with "
		"a lower oom_score_adj.");
}

static void a_kill_of_which_nothing_is_left_blames_no_limit(void **state)
{
	diagnose(*state, EVENT("\"details\":{\"scope\":\"unknown\"}", ""), "OutOfMemory",
		 "The kernel killed a process for lack of memory; whether a control group reached "
		 "its limit or the node ran out was not to be seen.\n"
		 "Evidence: the kernel's count of kills has grown, and no group that is left tells "
		 "of one.\n"
		 "Repair: nothing is changed for an OOM kill.\n"
		 "Advice: kernel-log.txt has the kernel's own account where the log is kept: its "
		 "line oom-kill names the victim and the constraint.");
}

static void other_events_are_not_its_business(void **state)
{
	struct plugin_fixture *fixture = *state;

	fixture_call(fixture, PLUGIN_DIAGNOSER, "oom",
		     "{\"apiVersion\":\"lifeboat.dev/"
		     "v1alpha1\",\"kind\":\"Abnormal\",\"metadata\":{\"name\":\"a\",\"namespace\":"
		     "\"default\"},"
		     "\"spec\":{\"source\":\"Custom\"}}");
	assert_int_equal(fixture->call.plugin->diagnose(&fixture->call), PLUGIN_NOT_MINE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLUGIN_TEST(one_process_that_outgrew_its_container_is_told),
		PLUGIN_TEST(many_processes_under_one_limit_are_told),
		PLUGIN_TEST(files_in_memory_are_told_as_what_killing_does_not_free),
		PLUGIN_TEST(memory_of_the_kernel_is_told_apart),
		PLUGIN_TEST(little_evidence_still_names_the_group),
		PLUGIN_TEST(a_full_node_names_the_largest_processes),
		PLUGIN_TEST(a_node_that_was_not_full_points_to_the_constraint),
		PLUGIN_TEST(a_kill_of_which_nothing_is_left_blames_no_limit),
		PLUGIN_TEST(other_events_are_not_its_business),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
