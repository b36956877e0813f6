/* SPDX-License-Identifier: Apache-2.0 */
/* What runc and crun wrote down, and of which control group. */
#include "fake_root.h"

#include "host/runtime_state.h"

#define BUNDLE "/run/containerd/io.containerd.runtime.v2.task/default/web"

static void expect(const struct fake_root *root, const char *id, const char *group,
		   const char *expected)
{
	_cleanup_free_ char *bundle = NULL;

	assert_int_equal(runtime_state_find(root->host, id, group, &bundle), 0);
	if (expected)
		assert_string_equal(bundle, expected);
	else
		assert_null(bundle);
}

static void expect_none(const struct fake_root *root, const char *id, const char *group)
{
	char *bundle;

	assert_int_equal(runtime_state_find(root->host, id, group, &bundle), -ENOENT);
}

static void runc_tells_the_bundle_of_the_group_that_it_made(void **state)
{
	const struct fake_root *root = *state;

	expect_none(root, "web", "/default/web");
	fake_file(root, "run/containerd/runc/default/web/state.json",
		  "{\"id\":\"web\",\"config\":{\"labels\":[\"x=y\",\"bundle=" BUNDLE "\"]},"
		  "\"cgroup_paths\":{\"pids\":\"/sys/fs/cgroup/pids/default/web\",\"memory\":"
		  "\"/sys/fs/cgroup/memory/default/web\"}}");
	expect(root, "web", "/default/web", BUNDLE);
	/* of the same name, in another namespace */
	expect_none(root, "web", "/batch/web");
	/* … or above it, or of the same name elsewhere */
	expect_none(root, "web", "/default");
	expect_none(root, "web", "/web");
	expect_none(root, "web", "/");
	fake_file(root, "run/containerd/runc/batch/web/state.json",
		  "{\"config\":{},\"cgroup_paths\":{\"\":\"/sys/fs/cgroup/batch/web\"}}");
	expect(root, "web", "/batch/web", NULL);
	expect_none(root, "web", "/web");
	expect(root, "web", "/default/web", BUNDLE);
}

static void crun_does_and_may_have_put_the_processes_below_it(void **state)
{
	const struct fake_root *root = *state;

	fake_file(root, "run/crun/7/status",
		  "{\"pid\":9,\"cgroup-path\":\"/a/libpod-7/container\",\"bundle\":\"/b\"}");
	expect(root, "7", "/a/libpod-7", "/b");
	expect_none(root, "7", "/a/libpod");
	expect_none(root, "7", "/a");
	expect_none(root, "8", "/a/libpod-7");
}

static void what_is_damaged_or_no_name_tells_nothing(void **state)
{
	const struct fake_root *root = *state;

	fake_file(root, "run/runc/web/state.json", "{\"cgroup_paths\":");
	fake_file(root, "run/crun/odd/status", "{\"cgroup-path\":7}");
	fake_file(root, "run/state.json", "{\"cgroup_paths\":{\"\":\"/sys/fs/cgroup/x\"}}");
	expect_none(root, "web", "/default/web");
	expect_none(root, "odd", "/odd");
	expect_none(root, "..", "/x");
	expect_none(root, "../runc", "/x");
	expect_none(root, "", "/x");
}

#define FAKE(test) cmocka_unit_test_setup_teardown(test, fake_root_setup, fake_root_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FAKE(runc_tells_the_bundle_of_the_group_that_it_made),
		FAKE(crun_does_and_may_have_put_the_processes_below_it),
		FAKE(what_is_damaged_or_no_name_tells_nothing),
	};

	return cmocka_run_group_tests_name("runtime_state", tests, NULL, NULL);
}
