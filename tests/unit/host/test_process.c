/* SPDX-License-Identifier: Apache-2.0 */
/* Processes, in trees of fake ones and on the real /proc. */
#include "fake_root.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "../skip.h"

#include "host/process.h"

static void a_process_is_read_whatever_its_name(void **state)
{
	const struct fake_root *root = *state;
	struct process process;

	fake_process(root, 7, 1, "evil) R 1 (x", 'D', 4711, false);
	fake_file(root, "proc/7/status", "Name:\tevil\nTgid:\t7\nUid:\t1000\t0\t0\t0\n");
	assert_int_equal(process_read(root->host, 7, &process), 0);
	assert_string_equal(process.comm, "evil) R 1 (x");
	assert_int_equal(process.state, 'D');
	assert_int_equal(process.ppid, 1);
	assert_int_equal(process.tgid, 7);
	assert_int_equal(process.uid, 1000);
	assert_int_equal(process.start_time, 4711);
	assert_int_equal(process.threads, 1);
	assert_int_equal(process.rss_bytes, 100 * sysconf(_SC_PAGESIZE));
	assert_false(process.kernel_thread);
	/* The detectors spell a name likewise, so that the two can be compared. */
	fake_process(root, 9, 1, "\x1b[31m\nAdvice\xff\xc3\xa9", 'S', 4712, false);
	assert_int_equal(process_read(root->host, 9, &process), 0);
	assert_string_equal(process.comm, "?[31m?Advice?\xc3\xa9");
	fake_process(root, 8, 2, "kworker/u8:1-events_unbound", 'I', 3, true);
	assert_int_equal(process_read(root->host, 8, &process), 0);
	assert_true(process.kernel_thread);
}

static void a_missing_or_reused_pid_is_no_process(void **state)
{
	const struct fake_root *root = *state;
	struct process process;

	fake_process(root, 7, 1, "web", 'S', 4711, false);
	assert_int_equal(process_read(root->host, 9, &process), -ESRCH);
	assert_int_equal(process_read(root->host, 0, &process), -ESRCH);
	assert_int_equal(process_read(root->host, -5, &process), -ESRCH);
	assert_int_equal(process_read_same(root->host, 7, 4711, &process), 0);
	assert_int_equal(process_read_same(root->host, 7, 4712, &process), -ESRCH);
	fake_file(root, "proc/11/stat", "garbage");
	assert_int_equal(process_read(root->host, 11, &process), -EINVAL);
	fake_process(root, 12, 1, "web", '\xff', 4711, false);
	assert_int_equal(process_read(root->host, 12, &process), -EINVAL);
}

static void a_tree_has_parents_first_and_nobody_else(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_free_ struct process *tree = NULL;
	size_t count;

	fake_process(root, 1, 0, "init", 'S', 1, false);
	fake_process(root, 30, 20, "grandchild", 'S', 4, false);
	fake_process(root, 10, 1, "shell", 'S', 2, false);
	fake_process(root, 20, 10, "child", 'S', 3, false);
	fake_process(root, 40, 1, "other", 'S', 5, false);
	assert_int_equal(process_tree(root->host, 10, &tree, &count), 0);
	assert_int_equal(count, 3);
	assert_int_equal(tree[0].pid, 10);
	assert_int_equal(tree[1].pid, 20);
	assert_int_equal(tree[2].pid, 30);
	assert_int_equal(process_tree(root->host, 99, &tree, &count), -ESRCH);
}

static void the_memory_cgroup_is_found_in_every_hierarchy(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_free_ char *v1 = NULL, *v2 = NULL, *hybrid = NULL, *gone = NULL;

	fake_file(root, "proc/1/cgroup",
		  "9:name=systemd:/s\n4:memory,hugetlb:/pods/a:b\n0::/unified\n");
	v1 = process_cgroup(root->host, 1);
	assert_string_equal(v1, "/pods/a:b");
	fake_file(root, "proc/2/cgroup", "0::/system.slice/web.service\n");
	v2 = process_cgroup(root->host, 2);
	assert_string_equal(v2, "/system.slice/web.service");
	fake_file(root, "proc/3/cgroup", "1:cpu:/x\n0::/y (deleted)\n");
	hybrid = process_cgroup(root->host, 3);
	assert_string_equal(hybrid, "/y");
	gone = process_cgroup(root->host, 4);
	fake_file(root, "proc/5/cgroup", "0::\n1:memory:x\n2:cpu\n");
	assert_null(process_cgroup(root->host, 5));
	assert_null(gone);
}

static void this_process_is_read_from_the_real_proc(void **state)
{
	_cleanup_host_ struct host *host = NULL;
	_cleanup_free_ char *exe = NULL;
	_cleanup_json_ cJSON *json = NULL;
	struct process process;

	assert_int_equal(host_open(NULL, &host), 0);
	assert_int_equal(process_read(host, getpid(), &process), 0);
	assert_int_equal(process.ppid, getppid());
	assert_int_equal(process.tgid, getpid());
	assert_string_equal(process.comm, "test_process");
	assert_int_equal(process.uid, getuid());
	exe = process_exe(host, getpid());
	assert_true(endswith(exe, "/test_process"));
	json = process_json(&process);
	assert_int_equal(json_number(json, "startTime", 0), process.start_time);
	assert_string_equal(json_string(json, "state"), "R");
}

static void a_pidfd_is_only_given_for_the_same_process(void **state)
{
	_cleanup_host_ struct host *host = NULL;
	struct process process;

	assert_int_equal(host_open("/", &host), 0);
	assert_int_equal(process_read(host, getpid(), &process), 0);
	_cleanup_close_ int fd = process_open(host, getpid(), process.start_time);
	assert_true(fd >= 0);
	assert_int_equal(process_open(host, getpid(), process.start_time + 1), -ESRCH);
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(process_open(host, child, 1), -ESRCH);
}

static void a_real_tree_shows_the_child(void **state)
{
	_cleanup_host_ struct host *host = NULL;
	_cleanup_free_ struct process *tree = NULL;
	size_t count;
	bool found = false;

	assert_int_equal(host_open(NULL, &host), 0);
	pid_t child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	int r = process_tree(host, getpid(), &tree, &count);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_int_equal(r, 0);
	assert_int_equal(tree[0].pid, getpid());
	for (size_t i = 0; i < count; i++)
		found |= tree[i].pid == child;
	assert_true(found);
}

/* A pid of the node's /proc is somebody else's number in a container with pids of its own. */
static void no_pidfd_is_given_across_pid_namespaces(void **state)
{
	_cleanup_host_ struct host *host = NULL;
	struct process process;
	int status;

	assert_int_equal(host_open(NULL, &host), 0);
	assert_int_equal(process_read(host, getpid(), &process), 0);
	assert_false(process.namespace_init);
	pid_t outer = fork();
	if (outer == 0) {
		if (unshare(CLONE_NEWPID) < 0)
			_exit(77);
		pid_t inner = fork();
		if (inner == 0) {
			int r = process_open(host, process.pid, process.start_time);
			_exit(r == -EXDEV ? 0 : 1);
		}
		_exit(waitpid(inner, &status, 0) == inner && WIFEXITED(status) ? WEXITSTATUS(status)
									       : 2);
	}
	assert_int_equal(waitpid(outer, &status, 0), outer);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip_because("needs the right to make a pid namespace");
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_process_is_read_whatever_its_name,
						fake_root_setup, fake_root_teardown),
		cmocka_unit_test_setup_teardown(a_missing_or_reused_pid_is_no_process,
						fake_root_setup, fake_root_teardown),
		cmocka_unit_test_setup_teardown(a_tree_has_parents_first_and_nobody_else,
						fake_root_setup, fake_root_teardown),
		cmocka_unit_test_setup_teardown(the_memory_cgroup_is_found_in_every_hierarchy,
						fake_root_setup, fake_root_teardown),
		cmocka_unit_test(this_process_is_read_from_the_real_proc),
		cmocka_unit_test(a_pidfd_is_only_given_for_the_same_process),
		cmocka_unit_test(a_real_tree_shows_the_child),
		cmocka_unit_test(no_pidfd_is_given_across_pid_namespaces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
