/* SPDX-License-Identifier: Apache-2.0 */
/* Who looks after processes, by their parents. */
#include "fake_root.h"

#include "host/cgroup_supervisor.h"

static int64_t find(const struct fake_root *root, const int64_t *pids, size_t count)
{
	struct process supervisor;
	int r = cgroup_supervisor_find(root->host, pids, count, count, &supervisor);

	return r < 0 ? r : supervisor.pid;
}
#define FIND(root, ...)                            \
	find(root, (const int64_t[]){__VA_ARGS__}, \
	     sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static void children_of_init_and_of_one_another_have_nobody(void **state)
{
	const struct fake_root *root = *state;

	fake_process(root, 10, 1, "nginx", 'S', 100, false);
	fake_process(root, 12, 10, "nginx", 'S', 101, false);
	fake_process(root, 11, 12, "nginx", 'S', 102, false);
	assert_int_equal(FIND(root, 12, 10, 11), -ESRCH);
}

static void a_parent_outside_of_it_looks_after_them_whatever_it_is_called(void **state)
{
	const struct fake_root *root = *state;

	fake_process(root, 5, 1, "buildkitd", 'S', 90, false);
	fake_process(root, 10, 1, "nginx", 'S', 100, false);
	fake_process(root, 11, 5, "nginx", 'S', 100, false);
	assert_int_equal(FIND(root, 10, 11), 5);
	assert_int_equal(FIND(root, 10), -ESRCH);
}

static void a_shim_in_the_group_does_too(void **state)
{
	const struct fake_root *root = *state;

	fake_process(root, 10, 1, "containerd-shim", 'S', 100, false);
	fake_link(root, "proc/10/exe", "/usr/bin/containerd-shim-kata-v2");
	fake_process(root, 11, 1, "qemu", 'S', 101, false);
	assert_int_equal(FIND(root, 11, 10), 10);
}

static void the_dead_count_for_nothing(void **state)
{
	const struct fake_root *root = *state;

	fake_process(root, 5, 1, "sh", 'S', 90, false);
	fake_process(root, 10, 5, "nginx", 'Z', 100, false);
	assert_int_equal(FIND(root, 10, 77), -ENODATA);
	fake_process(root, 11, 1, "nginx", 'S', 100, false);
	assert_int_equal(FIND(root, 10, 11), -ESRCH);
}

static void numbers_of_another_pid_namespace_tell_nothing(void **state)
{
	const struct fake_root *root = *state;

	fake_process(root, 11, 1, "nginx", 'S', 100, false);
	assert_int_equal(FIND(root, 11, 0), -EXDEV);
}

#define FAKE(test) cmocka_unit_test_setup_teardown(test, fake_root_setup, fake_root_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FAKE(children_of_init_and_of_one_another_have_nobody),
		FAKE(a_parent_outside_of_it_looks_after_them_whatever_it_is_called),
		FAKE(a_shim_in_the_group_does_too),
		FAKE(the_dead_count_for_nothing),
		FAKE(numbers_of_another_pid_namespace_tell_nothing),
	};

	return cmocka_run_group_tests_name("cgroup_supervisor", tests, NULL, NULL);
}
