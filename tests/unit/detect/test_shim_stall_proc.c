/* SPDX-License-Identifier: Apache-2.0 */
/* What a look by /proc alone sees of shims: a /proc of the test's own. */
#include "../host/fake_root.h"

#include "detect/shim_stall.h"

enum { SHIM = 100, START = 5000 };

static void process_of_threads(const struct fake_root *root, unsigned pid, const char *comm,
			       char state, unsigned parent, unsigned long long flags,
			       unsigned threads, const char *more)
{
	char path[64];

	snprintf(path, sizeof(path), "proc/%u/stat", pid);
	fake_file(root, path,
		  "%u (%s) %c %u 1 1 0 -1 %llu 0 0 0 0 0 0 0 0 20 0 %u 0 %u 0 0 "
		  "18446744073709551615 0 0 0\n",
		  pid, comm, state, parent, flags, threads, START + pid);
	snprintf(path, sizeof(path), "proc/%u/status", pid);
	fake_file(root, path, "Name:\t%s\nTgid:\t%u\nUid:\t0\t0\t0\t0\n%s", comm, pid, more);
}

static void process(const struct fake_root *root, unsigned pid, const char *comm, char state,
		    unsigned parent, unsigned long long flags, const char *more)
{
	process_of_threads(root, pid, comm, state, parent, flags, 1, more);
}

static void look_at(const struct fake_root *root, struct shim_look *look)
{
	static const char *const patterns[] = {"containerd-shim*", "conmon"};

	assert_int_equal(shim_look_read_proc(root->host, patterns, ARRAY_SIZE(patterns), look), 0);
}

static const struct seen_task *find(const struct shim_look *look, uint32_t pid)
{
	for (size_t i = 0; i < look->task_count; i++)
		if (look->tasks[i].pid == pid)
			return &look->tasks[i];
	return NULL;
}

static void shims_and_their_children_alone_are_seen(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_look_ struct shim_look look = {};

	process(root, 1, "systemd", 'S', 0, 0, "");
	process(root, SHIM, "containerd-shim", 'S', 1, 0, "TracerPid:\t0\n");
	process(root, SHIM + 1, "sleep", 'S', SHIM, 0, "");
	process(root, SHIM + 2, "sleep", 'Z', SHIM, 0, "");
	process(root, SHIM + 3, "sleep", 'Z', 1, 0, "");
	process(root, SHIM + 4, "containerd", 'S', 1, 0, "");
	process(root, SHIM + 5, "conmonster", 'S', 1, 0, "");
	look_at(root, &look);
	assert_int_equal(look.shim_count, 1);
	assert_int_equal(look.shims[0].task.tgid, SHIM);
	assert_false(look.shims[0].stopped);
	assert_int_equal(event_start_time(look.shims[0].task.start_boot_ns), START + SHIM);
	assert_int_equal(look.task_count, 2);
	assert_int_equal(find(&look, SHIM + 1)->flags, 0);
	assert_int_equal(find(&look, SHIM + 2)->flags, SHIM_TASK_ZOMBIE);
	assert_int_equal(find(&look, SHIM + 2)->shim_pid, SHIM);
	assert_int_equal(find(&look, SHIM + 2)->shim_start_boot_ns,
			 look.shims[0].task.start_boot_ns);
}

static void a_shim_is_stopped_when_each_of_its_threads_is(void **state)
{
	const struct fake_root *root = *state;

	for (unsigned i = 0; i < 2; i++) {
		_cleanup_shim_look_ struct shim_look look = {};

		process(root, 7, "gdb", 'S', 0, 0, "");
		process(root, SHIM, "conmon", 't', 1, 0,
			"TracerPid:\t7\nvoluntary_ctxt_switches:\t40\n"
			"nonvoluntary_ctxt_switches:\t2\n");
		fake_folder(root, "proc/100/task/100");
		fake_folder(root, "proc/100/task/101");
		process(root, SHIM + 1, "conmon", i ? 'S' : 't', 1, 0, "");
		/* A thread: not a process of its own. */
		fake_file(root, "proc/101/status", "Tgid:\t100\nUid:\t0\t0\t0\t0\n");
		look_at(root, &look);
		assert_int_equal(look.shims[0].tracer_pid, 7);
		assert_string_equal(look.shims[0].tracer_comm, "gdb");
		assert_int_equal(look.shims[0].stopped, i == 0);
		if (i == 0)
			assert_int_equal(look.shims[0].switches, 42);
	}
}

static void a_killed_init_is_dying_with_what_is_left_in_its_namespace(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_look_ struct shim_look look = {};

	process(root, SHIM, "containerd-shim", 'S', 1, 0, "TracerPid:\t0\n");
	process(root, SHIM + 1, "sleep", 'S', SHIM, 0x4,
		"NSpid:\t101\t1\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000100\n");
	process(root, SHIM + 2, "sleep", 'Z', SHIM, 0x4, "NSpid:\t102\t7\n");
	/* It dumps core, which takes a while. */
	process(root, SHIM + 4, "java", 'S', SHIM, 0x4,
		"NSpid:\t104\t1\nSigPnd:\t0000000000000100\nShdPnd:\t0000000000000000\n"
		"CoreDumping:\t1\n");
	/* Its first thread has ended, and the others live on. */
	process_of_threads(root, SHIM + 5, "app", 'Z', SHIM, 0x4, 2,
			   "NSpid:\t105\t1\nSigPnd:\t0000000000000000\n"
			   "ShdPnd:\t0000000000000000\n");
	process(root, SHIM + 3, "sleep", 'S', SHIM, 0,
		"NSpid:\t103\t1\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\n");
	fake_folder(root, "proc/101/ns");
	fake_folder(root, "proc/102/ns");
	fake_folder(root, "proc/103/ns");
	fake_link(root, "proc/101/ns/pid", "pid:[4026532001]");
	fake_link(root, "proc/102/ns/pid", "pid:[4026532001]");
	fake_link(root, "proc/103/ns/pid", "pid:[4026532002]");
	look_at(root, &look);
	assert_int_equal(look.task_count, 5);
	assert_int_equal(find(&look, SHIM + 4)->flags, 0);
	assert_int_equal(find(&look, SHIM + 5)->flags, 0);
	assert_int_equal(find(&look, SHIM + 1)->flags, SHIM_TASK_DYING_INIT);
	assert_int_equal(find(&look, SHIM + 1)->remaining, 1);
	assert_int_equal(find(&look, SHIM + 1)->pid_namespace, 4026532001);
	assert_int_equal(find(&look, SHIM + 2)->flags, SHIM_TASK_ZOMBIE | SHIM_TASK_HOLDER);
	assert_int_equal(find(&look, SHIM + 2)->pid_namespace, 4026532001);
	assert_int_equal(find(&look, SHIM + 3)->flags, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_root_setup, fake_root_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(shims_and_their_children_alone_are_seen),
		TEST(a_shim_is_stopped_when_each_of_its_threads_is),
		TEST(a_killed_init_is_dying_with_what_is_left_in_its_namespace),
	};

	return cmocka_run_group_tests_name("shim_stall_proc", tests, NULL, NULL);
}
