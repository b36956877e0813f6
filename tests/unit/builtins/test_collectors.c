/* SPDX-License-Identifier: Apache-2.0 */
/* The collectors, on this process and on roots of the test's own. */
#include "builtin_fixture.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>

#include "host/process.h"

#define HEAD                                                                                      \
	"{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\",\"metadata\":{\"name\":" \
	"\"a\",\"namespace\":\"default\"},"

/* An Abnormal about PID, ready for the collector on the real root. */
static void about(struct plugin_fixture *fixture, const char *collector, pid_t pid)
{
	_cleanup_free_ char *text = NULL;
	struct process process;

	assert_int_equal(process_read(fixture->real, pid, &process), 0);
	assert_true(asprintf(&text,
			     HEAD "\"spec\":{\"source\":\"KernelEvent\",\"kernelEvent\":{"
				  "\"detector\":\"hung_task\",\"type\":\"HungTask\","
				  "\"time\":\"2026-11-23T18:00:00Z\",\"process\":{\"pid\":%d,"
				  "\"tgid\":%d,\"startTime\":%" PRIu64 ",\"comm\":\"x\"}}}}",
			     (int)pid, (int)pid, process.start_time) > 0);
	fixture_call(fixture, PLUGIN_COLLECTOR, collector, text);
	fixture->call.host = fixture->real;
}

static int collect(struct plugin_fixture *fixture)
{
	return fixture->call.plugin->collect(&fixture->call);
}

static void process_tree_shows_ancestors_descendants_and_threads(void **state)
{
	struct plugin_fixture *fixture = *state;
	pid_t child = fork();

	if (child == 0) {
		pause();
		_exit(0);
	}
	about(fixture, "process-tree", getpid());
	int r = collect(fixture);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_int_equal(r, PLUGIN_RECOGNISED);
	assert_int_equal(fixture_context(fixture, "process.pid")->valueint, getpid());
	assert_int_equal(fixture_context(fixture, "descendantCount")->valueint, 1);
	assert_int_equal(fixture_context(fixture, "threadStates.R")->valueint, 1);
	const cJSON *ancestors = fixture_context(fixture, "ancestors");
	assert_int_equal(json_number(cJSON_GetArrayItem(ancestors, 0), "pid", 0), 1);
	_cleanup_free_ char *text = fixture_artifact(fixture, "process-tree.txt");
	assert_non_null(strstr(text, "test_collectors"));
	assert_non_null(strstr(text, "Threads of"));
}

static void process_tree_of_the_dead_falls_back_to_the_parent(void **state)
{
	struct plugin_fixture *fixture = *state;
	_cleanup_free_ char *text = NULL;
	struct process own;

	assert_int_equal(process_read(fixture->real, getpid(), &own), 0);
	assert_true(
		asprintf(&text,
			 HEAD
			 "\"spec\":{\"source\":\"KernelEvent\",\"kernelEvent\":{"
			 "\"detector\":\"oom\",\"type\":\"OOMKill\","
			 "\"time\":\"2026-11-23T18:00:00Z\",\"process\":{\"pid\":4194303,"
			 "\"tgid\":4194303,\"startTime\":5,\"comm\":\"x\",\"parent\":{\"pid\":%d,"
			 "\"tgid\":%d,\"startTime\":%" PRIu64 "}}}}}",
			 (int)getpid(), (int)getpid(), own.start_time) > 0);
	fixture_call(fixture, PLUGIN_COLLECTOR, "process-tree", text);
	fixture->call.host = fixture->real;
	assert_int_equal(collect(fixture), PLUGIN_RECOGNISED);
	assert_true(cJSON_IsTrue(fixture_context(fixture, "ended")));
	assert_int_equal(fixture_context(fixture, "process.pid")->valueint, getpid());
}

static void equal_kernel_stacks_are_one_group(void **state)
{
	struct plugin_fixture *fixture = *state;

	for (int pid = 100; pid < 104; pid++) {
		char path[64];

		fake_process(&fixture->root, pid, 1, "dd", 'D', 1000, false);
		snprintf(path, sizeof(path), "proc/%d/stack", pid);
		fake_file(&fixture->root, path,
			  pid < 103 ? "[<0>] percpu_rwsem_wait+0x11d/0x140\n[<0>] "
				      "mnt_want_write+0x1/0x2\n"
				    : "[<0>] io_schedule+0x1/0x2\n");
	}
	fixture_call(
		fixture, PLUGIN_COLLECTOR, "kernel-stacks",
		HEAD
		"\"spec\":{\"source\":\"KernelEvent\",\"kernelEvent\":{\"detector\":\"hung_"
		"task\",\"type\":\"HungTask\",\"time\":\"2026-11-23T18:00:00Z\",\"details\":{"
		"\"waiters\":[{\"pid\":100,\"startTime\":1000},{\"pid\":101,\"startTime\":1000},"
		"{\"pid\":102,\"startTime\":1000},{\"pid\":105,\"startTime\":1000}],"
		"\"lock\":{\"owner\":{\"pid\":103,\"startTime\":1000}}}}}}");
	assert_int_equal(collect(fixture), PLUGIN_RECOGNISED);
	assert_int_equal(fixture_context(fixture, "tasks")->valueint, 4);
	assert_int_equal(fixture_context(fixture, "distinct")->valueint, 2);
	const cJSON *first = cJSON_GetArrayItem(fixture_context(fixture, "stacks"), 0);
	assert_int_equal(json_number(first, "count", 0), 3);
	assert_string_equal(cJSON_GetArrayItem(json_at(first, "frames"), 0)->valuestring,
			    "percpu_rwsem_wait+0x11d/0x140");
	_cleanup_free_ char *text = fixture_artifact(fixture, "kernel-stacks.txt");
	assert_non_null(strstr(text, "103 (dd) state D, owner of the lock"));
}

static void a_reused_pid_gives_no_stack(void **state)
{
	struct plugin_fixture *fixture = *state;

	fake_process(&fixture->root, 100, 1, "dd", 'D', 2000, false);
	fixture_call(fixture, PLUGIN_COLLECTOR, "kernel-stacks",
		     HEAD
		     "\"spec\":{\"source\":\"KernelEvent\",\"kernelEvent\":{\"detector\":\"hung_"
		     "task\",\"type\":\"HungTask\",\"time\":\"2026-11-23T18:00:00Z\",\"details\":{"
		     "\"waiters\":[{\"pid\":100,\"startTime\":1000}]}}}}");
	assert_int_equal(collect(fixture), PLUGIN_NOT_MINE);
}

static void counters_of_a_group_have_one_set_of_names(void **state)
{
	struct plugin_fixture *fixture = *state;

	fake_file(&fixture->root, "proc/1/mountinfo",
		  "31 20 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
	fake_file(&fixture->root, "sys/fs/cgroup/memory/a/memory.usage_in_bytes", "5000\n");
	fake_file(&fixture->root, "sys/fs/cgroup/memory/a/memory.limit_in_bytes", "8000\n");
	fake_file(&fixture->root, "sys/fs/cgroup/memory/a/memory.kmem.usage_in_bytes", "7\n");
	fake_file(&fixture->root, "sys/fs/cgroup/memory/a/memory.oom_control",
		  "under_oom 0\noom_kill 3\n");
	fake_file(&fixture->root, "sys/fs/cgroup/memory/a/memory.stat",
		  "total_rss 10\ntotal_cache 30\ntotal_shmem 20\n");
	fake_file(&fixture->root, "sys/fs/cgroup/memory/a/cgroup.procs", "1\n");
	fixture_call(
		fixture, PLUGIN_COLLECTOR, "cgroup",
		HEAD
		"\"spec\":{\"source\":\"KernelEvent\",\"kernelEvent\":{\"detector\":\"oom\","
		"\"type\":\"OOMKill\",\"time\":\"2026-11-23T18:00:00Z\",\"container\":{"
		"\"cgroupPath\":\"/gone\"},\"details\":{\"limitCgroup\":{\"path\":\"/a\"}}}}}");
	assert_int_equal(collect(fixture), PLUGIN_RECOGNISED);
	const cJSON *groups = fixture_context(fixture, "groups"),
		    *group = cJSON_GetArrayItem(groups, 0);
	assert_string_equal(json_string(group, "role"), "limit");
	assert_int_equal(json_number(group, "usageBytes", 0), 5000);
	assert_int_equal(json_number(group, "limitBytes", 0), 8000);
	assert_int_equal(json_number(group, "oomKills", 0), 3);
	assert_int_equal(json_number(group, "anonBytes", 0), 10);
	assert_int_equal(json_number(group, "pageCacheBytes", 0), 10);
	assert_int_equal(json_number(group, "kernelBytes", 0), 7);
	assert_int_equal(json_number(group, "processes", 0), 1);
	assert_true(json_bool(cJSON_GetArrayItem(groups, 1), "gone", false));
	_cleanup_free_ char *text = fixture_artifact(fixture, "cgroup.json");
	assert_non_null(strstr(text, "total_shmem"));
}

static void the_kernel_log_is_cut_to_the_minute_around(void **state)
{
	struct plugin_fixture *fixture = *state;
	uint64_t now_us = clock_monotonic(clock_system()) / NS_PER_US;

	fake_file(&fixture->root, "dev/kmsg",
		  "6,1,5,-;long ago: Out of memory\n SUBSYSTEM=x\n6,2,%" PRIu64
		  ",-;eth0: link up\n4,3,%" PRIu64
		  ",-;INFO: task dd:1 blocked for more than 10 seconds.\n"
		  "3,4,%" PRIu64 ",-;something broke\ngarbage\n",
		  now_us - 1000, now_us, now_us + 5);
	fixture_call(fixture, PLUGIN_COLLECTOR, "kernel-log",
		     HEAD "\"spec\":{\"source\":\"Custom\"}}");
	bool long_ago_is_recent = now_us < 60000000; /* on a host that has just booted */
	assert_int_equal(collect(fixture), PLUGIN_RECOGNISED);
	assert_int_equal(fixture_context(fixture, "lines")->valueint, 3 + long_ago_is_recent);
	const cJSON *telling = fixture_context(fixture, "telling");
	int count = cJSON_GetArraySize(telling);
	assert_int_equal(count, 2 + long_ago_is_recent);
	assert_string_equal(cJSON_GetArrayItem(telling, count - 2)->valuestring,
			    "INFO: task dd:1 blocked for more than 10 seconds.");
	assert_string_equal(cJSON_GetArrayItem(telling, count - 1)->valuestring, "something broke");
	_cleanup_free_ char *text = fixture_artifact(fixture, "kernel-log.txt");
	assert_non_null(strstr(text, "eth0: link up\n"));
}

static void a_flood_in_the_kernel_log_leaves_the_newest(void **state)
{
	struct plugin_fixture *fixture = *state;
	uint64_t now_us = clock_monotonic(clock_system()) / NS_PER_US;
	char path[96];

	fake_file(&fixture->root, "dev/kmsg", "%s", "");
	snprintf(path, sizeof(path), "%s/dev/kmsg", fixture->root.path);
	FILE *file = fopen(path, "we");
	assert_non_null(file);
	/* As one record a read, like the device: no line crosses a chunk of 16 KiB. */
	for (int i = 0; i < 8192; i++)
		fprintf(file, "6,%d,%020" PRIu64 ",-;%0*d\n", 1, now_us, 128 - 28, i);
	fclose(file);
	fixture_call(fixture, PLUGIN_COLLECTOR, "kernel-log",
		     HEAD "\"spec\":{\"source\":\"Custom\"}}");
	assert_int_equal(collect(fixture), PLUGIN_RECOGNISED);
	assert_non_null(fixture_context(fixture, "bytesCut"));
	_cleanup_free_ char *text = fixture_artifact(fixture, "kernel-log.txt");
	assert_true(strlen(text) <= 256 * KIB);
	assert_non_null(strstr(text, "0008191\n"));
	assert_null(strstr(text, "0000000\n"));
}

static void open_files_are_counted_by_kind(void **state)
{
	struct plugin_fixture *fixture = *state;
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	about(fixture, "open-files", getpid());
	int r = collect(fixture);
	close(pipes[0]);
	close(pipes[1]);
	assert_int_equal(r, PLUGIN_RECOGNISED);
	assert_true(fixture_context(fixture, "kinds.pipe")->valueint >= 2);
	assert_non_null(fixture_context(fixture, "node.open"));
	_cleanup_free_ char *text = fixture_artifact(fixture, "open-files.txt");
	assert_non_null(strstr(text, "pipe:["));
}

static void the_host_is_told_without_asking_network_filesystems(void **state)
{
	struct plugin_fixture *fixture = *state;

	fake_file(&fixture->root, "proc/1/mountinfo",
		  "1 0 254:0 / / rw - ext4 /dev/vda rw\n2 1 0:45 / /srv rw - nfs4 filer:/x rw\n"
		  "3 2 254:1 / /srv/local rw - ext4 /dev/vdb rw\n4 1 0:5 / /proc rw - proc proc "
		  "rw\n");
	fake_file(&fixture->root, "proc/loadavg", "0.50 0.25 0.10 1/100 5\n");
	fake_file(&fixture->root, "proc/uptime", "1234.5 0.0\n");
	fake_file(&fixture->root, "proc/version", "Linux version 6.18\n");
	fake_file(&fixture->root, "proc/meminfo", "MemTotal: 100 kB\nMemAvailable: 50 kB\n");
	fixture_call(fixture, PLUGIN_COLLECTOR, "host", HEAD "\"spec\":{\"source\":\"Custom\"}}");
	assert_int_equal(collect(fixture), PLUGIN_RECOGNISED);
	assert_int_equal(cJSON_GetArraySize(fixture_context(fixture, "filesystems")), 1);
	const cJSON *skipped = fixture_context(fixture, "notAsked");
	assert_int_equal(cJSON_GetArraySize(skipped), 2);
	assert_string_equal(cJSON_GetArrayItem(skipped, 1)->valuestring, "/srv/local");
	assert_int_equal(fixture_context(fixture, "memory.availableBytes")->valueint, 51200);
	assert_true(cJSON_GetArrayItem(fixture_context(fixture, "load"), 1)->valuedouble == 0.25);
	_cleanup_free_ char *text = fixture_artifact(fixture, "host.txt");
	assert_non_null(strstr(text, "not asked: it may hang"));
}

static void all_work_on_the_real_root(void **state)
{
	static const char *const names[] = {"process-tree", "kernel-stacks", "pressure", "cgroup",
					    "kernel-log",   "open-files",    "host"};
	struct plugin_fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		uint64_t start_ns = clock_monotonic(clock_system());

		about(fixture, names[i], getpid());
		int r = collect(fixture);
		/* What a host lacks (PSI, /dev/kmsg) is said, and is no crash. */
		if (r == PLUGIN_RECOGNISED)
			assert_non_null(plugin_context_of(&fixture->call, names[i]));
		assert_true(clock_monotonic(clock_system()) - start_ns < 10 * NS_PER_S);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLUGIN_TEST(process_tree_shows_ancestors_descendants_and_threads),
		PLUGIN_TEST(process_tree_of_the_dead_falls_back_to_the_parent),
		PLUGIN_TEST(equal_kernel_stacks_are_one_group),
		PLUGIN_TEST(a_reused_pid_gives_no_stack),
		PLUGIN_TEST(counters_of_a_group_have_one_set_of_names),
		PLUGIN_TEST(the_kernel_log_is_cut_to_the_minute_around),
		PLUGIN_TEST(a_flood_in_the_kernel_log_leaves_the_newest),
		PLUGIN_TEST(open_files_are_counted_by_kind),
		PLUGIN_TEST(the_host_is_told_without_asking_network_filesystems),
		PLUGIN_TEST(all_work_on_the_real_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
