/* SPDX-License-Identifier: Apache-2.0 */
/* cgroup-frozen on canned findings, and thaw-cgroup on a tree of the test's own. */
#include "builtin_fixture.h"

#define GROUP "sys/fs/cgroup/web"

static void diagnose(struct plugin_fixture *fixture, const char *details)
{
	_cleanup_free_ char *text = NULL;

	assert_true(asprintf(&text,
			     "{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\","
			     "\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"},\"spec\":{"
			     "\"source\":\"KernelEvent\",\"kernelEvent\":{\"detector\":\"cgroup\","
			     "\"type\":\"CgroupFrozen\",\"time\":\"2026-11-23T18:00:00Z\","
			     "\"details\":%s}}}",
			     details) > 0);
	fixture_call(fixture, PLUGIN_DIAGNOSER, "cgroup-frozen", text);
	assert_int_equal(fixture->call.plugin->diagnose(&fixture->call), PLUGIN_RECOGNISED);
	assert_string_equal(fixture->abnormal->status.reason, "CgroupFrozen");
}

static void what_the_runtime_says_decides(void **state)
{
	diagnose(*state, "{\"fault\":\"frozen\",\"seconds\":372.5,\"state\":\"FROZEN\","
			 "\"cgroup\":{\"path\":\"/batch/web\",\"version\":1},"
			 "\"runtime\":{\"container\":\"web\",\"state\":\"running\",\"shim\":{"
			 "\"pid\":7}},\"members\":{\"processes\":3,\"families\":[{\"comm\":"
			 "\"nginx\",\"processes\":2},{\"comm\":\"sh\",\"processes\":1}]}}");
	fixture_expect_message(
		*state,
		"control group /batch/web has been frozen for 6m12s: its processes do not run, and "
		"not even SIGKILL ends them until it is thawed. Its runtime did not pause it (it "
		"says \"running\"), so it will not resume it either: somebody else froze it and "
		"did not come back, as a checkpoint or a runtime that was interrupted does.\n"
		"Evidence: control group /batch/web (v1), freezer.state is FROZEN. 3 processes: "
		"nginx (2), sh (1). State of its shim (pid 7): running.\n"
		"Repair: recoverer thaw-cgroup, where it is enabled, thaws it.\n"
		"Advice: If nobody wants it frozen: echo THAWED > "
		"/sys/fs/cgroup/freezer/batch/web/freezer.state.");
}

static void what_cannot_be_told_is_said(void **state)
{
	diagnose(*state, "{\"fault\":\"frozen\",\"seconds\":300,\"state\":\"freezing\","
			 "\"cgroup\":{\"path\":\"/system.slice/db.service\",\"version\":2},"
			 "\"runtime\":{\"unknown\":\"nobody knows\"}}");
	fixture_expect_message(
		*state,
		"control group /system.slice/db.service has been frozen for 5m: its processes do "
		"not run. Whether that is on purpose cannot be told: nobody knows. The freeze is "
		"not complete: a process in it does not come to rest, as one in uninterruptible "
		"sleep does not.\n"
		"Evidence: control group /system.slice/db.service (v2), cgroup.freeze is 1, "
		"freezing.\n"
		"Repair: none, as it may be on purpose; recoverer thaw-cgroup thaws groups of no "
		"container where its setting `unowned` says so.\n"
		"Advice: see whether systemd froze it (systemctl show -p FreezerState UNIT); then "
		"systemctl thaw UNIT. If nobody wants it frozen: echo 0 > "
		"/sys/fs/cgroup/system.slice/db.service/cgroup.freeze.");
}

/* --- thaw-cgroup --- */

static const struct {
	bool unowned;
} allowed = {true};

static void lay_group(const struct plugin_fixture *fixture, bool frozen)
{
	fake_file(&fixture->root, "proc/1/mountinfo",
		  "30 20 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
	fake_file(&fixture->root, "sys/fs/cgroup/cgroup.controllers", "pids\n");
	fake_process(&fixture->root, 7, 1, "nginx", 'S', 100, false);
	fake_file(&fixture->root, GROUP "/cgroup.procs", "7\n");
	fake_file(&fixture->root, GROUP "/cgroup.freeze", "%d\n", frozen);
	fake_file(&fixture->root, GROUP "/cgroup.events", "populated 1\nfrozen %d\n", frozen);
}

static int plan(struct plugin_fixture *fixture, const char *path, int64_t wrong_id)
{
	_cleanup_free_ char *text = NULL;
	struct stat status = {};
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s/sys/fs/cgroup%s", fixture->root.path, path);
	stat(full, &status);
	assert_true(asprintf(&text,
			     "{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\","
			     "\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"},\"spec\":{"
			     "\"source\":\"KernelEvent\",\"kernelEvent\":{\"detector\":\"cgroup\","
			     "\"type\":\"CgroupFrozen\",\"time\":\"2026-11-23T18:00:00Z\","
			     "\"details\":{\"cgroup\":{\"path\":\"%s\",\"id\":%lld,\"version\":2}}}"
			     "},\"status\":{\"reason\":\"CgroupFrozen\"}}",
			     path, (long long)status.st_ino + wrong_id) > 0);
	fixture_call(fixture, PLUGIN_RECOVERER, "thaw-cgroup", text);
	fixture->call.settings = &allowed;
	return fixture->call.plugin->plan(&fixture->call);
}

static char *freeze_file(const struct plugin_fixture *fixture)
{
	char path[PATH_MAX], *text = NULL;

	snprintf(path, sizeof(path), "%s/" GROUP "/cgroup.freeze", fixture->root.path);
	assert_int_equal(file_read(AT_FDCWD, path, 64, &text, NULL), 0);
	return text;
}

static void a_frozen_group_of_nobody_is_thawed_where_it_is_allowed(void **state)
{
	struct plugin_fixture *fixture = *state;
	struct plugin_call *call = &fixture->call;

	lay_group(fixture, true);
	assert_int_equal(plan(fixture, "/web", 0), PLUGIN_RECOGNISED);
	assert_string_equal(fixture_context(fixture, "target")->valuestring, "control group /web");
	assert_int_equal(call->plugin->verify(call), PLUGIN_NOT_MINE);
	assert_int_equal(call->plugin->recover(call), PLUGIN_RECOGNISED);
	_cleanup_free_ char *text = freeze_file(fixture);

	assert_string_equal(text, "0\n");
	/* As the kernel would. */
	fake_file(&fixture->root, GROUP "/cgroup.events", "populated 1\nfrozen 0\n");
	assert_int_equal(call->plugin->verify(call), PLUGIN_RECOGNISED);
	fixture_expect_message(fixture, "its processes run again");
	/* Doing it again does nothing more. */
	assert_int_equal(call->plugin->recover(call), PLUGIN_NOT_MINE);
}

static void without_leave_it_stays_frozen(void **state)
{
	struct plugin_fixture *fixture = *state;

	lay_group(fixture, true);
	assert_int_equal(plan(fixture, "/web", 0), PLUGIN_RECOGNISED);
	fixture->call.settings = NULL;
	assert_int_equal(fixture->call.plugin->plan(&fixture->call), PLUGIN_NOT_MINE);
	assert_int_equal(fixture->call.plugin->recover(&fixture->call), PLUGIN_NOT_MINE);
	_cleanup_free_ char *text = freeze_file(fixture);

	assert_string_equal(text, "1\n");
}

static void another_group_of_the_same_name_or_one_that_runs_is_left_alone(void **state)
{
	struct plugin_fixture *fixture = *state;

	lay_group(fixture, true);
	assert_int_equal(plan(fixture, "/web", 1), PLUGIN_NOT_MINE);
	assert_int_equal(plan(fixture, "/gone", 1), PLUGIN_NOT_MINE);
	assert_int_equal(plan(fixture, "/../web", 1), -EINVAL);
	lay_group(fixture, false);
	assert_int_equal(plan(fixture, "/web", 0), PLUGIN_NOT_MINE);
	lay_group(fixture, true);
	fake_file(&fixture->root, GROUP "/cgroup.procs", "%s", "");
	assert_int_equal(plan(fixture, "/web", 0), PLUGIN_NOT_MINE);
}

/* No shim is above it, so nobody can say that it is not paused. */
static void a_container_without_a_runtime_to_ask_is_left_alone(void **state)
{
	struct plugin_fixture *fixture = *state;
	static const char path[] =
		"/machine.slice/"
		"libpod-3f4e8c1b2a7d3f4e8c1b2a7d3f4e8c1b2a7d3f4e8c1b2a7d3f4e8c1b2a7d3f4e.scope";
	char file[256];

	lay_group(fixture, false);
	snprintf(file, sizeof(file), "sys/fs/cgroup%s/cgroup.procs", path);
	fake_file(&fixture->root, file, "7\n");
	snprintf(file, sizeof(file), "sys/fs/cgroup%s/cgroup.freeze", path);
	fake_file(&fixture->root, file, "1\n");
	snprintf(file, sizeof(file), "sys/fs/cgroup%s/cgroup.events", path);
	fake_file(&fixture->root, file, "populated 1\nfrozen 1\n");
	assert_int_equal(plan(fixture, path, 0), PLUGIN_NOT_MINE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLUGIN_TEST(what_the_runtime_says_decides),
		PLUGIN_TEST(what_cannot_be_told_is_said),
		PLUGIN_TEST(a_frozen_group_of_nobody_is_thawed_where_it_is_allowed),
		PLUGIN_TEST(without_leave_it_stays_frozen),
		PLUGIN_TEST(another_group_of_the_same_name_or_one_that_runs_is_left_alone),
		PLUGIN_TEST(a_container_without_a_runtime_to_ask_is_left_alone),
	};

	return cmocka_run_group_tests_name("cgroup_frozen", tests, NULL, NULL);
}
