/* SPDX-License-Identifier: Apache-2.0 */
/*
 * leftover-container on canned findings, and what kill-leftover refuses, on a tree of the test's own.
 * What it kills is real processes' to tell: tests/host/test_cgroup_leftover.py.
 */
#include "builtin_fixture.h"

#define ID "3f4e8c1b2a7d9e0f1c2b3a495867d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9"
#define GROUP "/docker/" ID
#define BUNDLE "run/containerd/io.containerd.runtime.v2.task/moby/" ID

static void diagnose(struct plugin_fixture *fixture, const char *container, const char *details)
{
	_cleanup_free_ char *text = NULL;

	assert_true(asprintf(&text,
			     "{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\","
			     "\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"},\"spec\":{"
			     "\"source\":\"KernelEvent\",\"kernelEvent\":{\"detector\":\"cgroup\","
			     "\"type\":\"LeftoverContainer\",\"time\":\"2026-11-23T18:00:00Z\","
			     "\"container\":%s,\"details\":%s}}}",
			     container, details) > 0);
	fixture_call(fixture, PLUGIN_DIAGNOSER, "leftover-container", text);
	assert_int_equal(fixture->call.plugin->diagnose(&fixture->call), PLUGIN_RECOGNISED);
	assert_string_equal(fixture->abnormal->status.reason, "LeftoverContainer");
}

static void what_is_certain_is_said_with_what_it_holds(void **state)
{
	struct plugin_fixture *fixture = *state;

	fake_file(&fixture->root, "proc/1/mountinfo",
		  "30 20 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
	fake_file(&fixture->root, "sys/fs/cgroup/cgroup.controllers", "memory\n");
	fake_file(&fixture->root, "sys/fs/cgroup/batch/web/memory.current", "33554432\n");
	fake_file(&fixture->root, "sys/fs/cgroup/batch/web/memory.max", "max\n");
	diagnose(fixture,
		 "{\"runtime\":\"containerd\",\"id\":\"web\",\"namespace\":\"shop\",\"pod\":"
		 "\"cart-1\",\"name\":\"web\",\"cgroupPath\":\"/batch/web\"}",
		 "{\"fault\":\"leftover\",\"seconds\":372.5,\"exact\":true,\"knownBy\":"
		 "\"bundle-seen\",\"bundle\":\"/run/b/web\",\"containerId\":\"web\",\"cgroup\":{"
		 "\"path\":\"/batch/web\",\"version\":2,\"id\":1,\"hierarchy\":\"unified\"},"
		 "\"members\":{\"processes\":3,\"families\":[{\"comm\":\"nginx\",\"processes\":2},"
		 "{\"comm\":\"sh\",\"processes\":1}]}}");
	fixture_expect_message(
		fixture,
		"container web of pod shop/cart-1 was removed, and 3 of its processes go on, for "
		"6m12s by now: its runtime does not know of them any more, and they have no "
		"parent but init. They hold their memory, ports, volumes and locks, and no "
		"command of the runtime ends them. A shim that was killed while its runtime was "
		"down or could not clean up leaves this, and so does a deletion by force.\n"
		"Evidence: control group /batch/web (v2). Its bundle was seen and is gone: "
		"/run/b/web. Processes: nginx (2), sh (1). They use 32 MiB of memory.\n"
		"Repair: recoverer kill-leftover, where it is enabled, kills them and removes the "
		"control group.\n"
		"Advice: see that no runtime has it (ctr -n NAMESPACE task ls, crictl ps -a --id "
		"web); then kill -9 what is in its cgroup.procs, and rmdir it. If they serve "
		"somebody, start what replaces them first.");
}

static void what_is_not_certain_is_said_to_be_so(void **state)
{
	diagnose(*state, "{\"runtime\":\"docker\",\"id\":\"" ID "\"}",
		 "{\"fault\":\"leftover\",\"seconds\":300,\"exact\":false,\"knownBy\":\"path\","
		 "\"containerId\":\"" ID "\",\"cgroup\":{\"path\":\"/system.slice/docker-" ID
		 ".scope\",\"version\":1,\"id\":1,\"hierarchy\":\"pids\"},\"members\":{"
		 "\"processes\":1}}");
	fixture_expect_message(
		*state,
		"container 3f4e8c1b2a7d (docker) seems to have been removed, and 1 of its "
		"processes goes on, for 5m by now: its runtime does not know of them any more, "
		"and they have no parent but init. They hold their memory, ports, volumes and "
		"locks, and no command of the runtime ends them. A shim that was killed while its "
		"runtime was down or could not clean up leaves this, and so does a deletion by "
		"force.\n"
		"Evidence: control group /system.slice/docker-" ID ".scope (v1). Neither a bundle "
		"nor a runtime's state is there by the id in that name; none was seen, either.\n"
		"Repair: none, as it is not certain that no runtime has it.\n"
		"Advice: see that no runtime has it (docker ps -a --filter id=" ID "); then "
		"systemctl kill -s KILL docker-" ID ".scope. If they serve somebody, start what "
		"replaces them first.");
}

/* --- kill-leftover --- */

static void lay_group(const struct plugin_fixture *fixture, const char *path, int parent)
{
	char file[PATH_MAX];

	fake_file(&fixture->root, "proc/1/mountinfo",
		  "30 20 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
	fake_file(&fixture->root, "sys/fs/cgroup/cgroup.controllers", "pids\n");
	snprintf(file, sizeof(file), "sys/fs/cgroup%s/cgroup.procs", path);
	fake_file(&fixture->root, file, "7\n8\n");
	fake_process(&fixture->root, 7, parent, "nginx", 'S', 100, false);
	fake_process(&fixture->root, 8, 7, "nginx", 'S', 100, false);
}

struct claim {
	const char *path, *id, *bundle;
	bool inexact;
	int64_t wrong_id; /* to be added to the group's inode number */
};

static int plan(struct plugin_fixture *fixture, struct claim claim)
{
	_cleanup_free_ char *text = NULL;
	struct stat status = {};
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s/sys/fs/cgroup%s", fixture->root.path, claim.path);
	stat(full, &status);
	assert_true(asprintf(&text,
			     "{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\","
			     "\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"},\"spec\":{"
			     "\"source\":\"KernelEvent\",\"kernelEvent\":{\"detector\":\"cgroup\","
			     "\"type\":\"LeftoverContainer\",\"time\":\"2026-11-23T18:00:00Z\","
			     "\"details\":{\"exact\":%s,\"containerId\":\"%s\",\"bundle\":\"%s\","
			     "\"cgroup\":{\"path\":\"%s\",\"id\":%lld,\"version\":2,"
			     "\"hierarchy\":\"unified\"}}}},\"status\":{\"reason\":"
			     "\"LeftoverContainer\"}}",
			     claim.inexact ? "false" : "true", claim.id ? claim.id : ID,
			     claim.bundle ? claim.bundle : "/" BUNDLE, claim.path,
			     (long long)status.st_ino + claim.wrong_id) > 0);
	fixture_call(fixture, PLUGIN_RECOVERER, "kill-leftover", text);
	return fixture->call.plugin->plan(&fixture->call);
}
#define PLAN(fixture, ...) plan(fixture, (struct claim){__VA_ARGS__})

static void what_is_gone_for_certain_is_planned(void **state)
{
	struct plugin_fixture *fixture = *state;

	lay_group(fixture, GROUP, 1);
	assert_int_equal(PLAN(fixture, .path = GROUP), PLUGIN_RECOGNISED);
	assert_string_equal(fixture_context(fixture, "target")->valuestring,
			    "the 2 processes left of container 3f4e8c1b2a7d (docker)");
	assert_int_equal(fixture->call.plugin->verify(&fixture->call), PLUGIN_NOT_MINE);
	/* They end, whoever did it. */
	fake_file(&fixture->root, "sys/fs/cgroup" GROUP "/cgroup.procs", "%s", "");
	assert_int_equal(fixture->call.plugin->recover(&fixture->call), PLUGIN_NOT_MINE);
	assert_int_equal(fixture->call.plugin->verify(&fixture->call), PLUGIN_RECOGNISED);
}

static void what_is_not_certain_or_another_group_is_not_touched(void **state)
{
	struct plugin_fixture *fixture = *state;

	lay_group(fixture, GROUP, 1);
	assert_int_equal(PLAN(fixture, .path = GROUP, .inexact = true), PLUGIN_NOT_MINE);
	assert_int_equal(PLAN(fixture, .path = GROUP, .wrong_id = 1), PLUGIN_NOT_MINE);
	assert_int_equal(PLAN(fixture, .path = "/docker/gone", .wrong_id = 1), PLUGIN_NOT_MINE);
	assert_int_equal(PLAN(fixture, .path = GROUP, .id = ""), -EINVAL);
}

/* Whoever may use the API may have written that. */
static void what_is_not_called_as_that_containers_is_not_touched(void **state)
{
	struct plugin_fixture *fixture = *state;
	static const char user[] =
		"/user.slice/user-1000.slice/user@1000.service/app.slice/docker-" ID ".scope";

	lay_group(fixture, "/system.slice/sshd.service", 1);
	lay_group(fixture, "/docker/" ID "/below", 1);
	lay_group(fixture, user, 1);
	lay_group(fixture, GROUP, 1);
	assert_int_equal(PLAN(fixture, .path = "/system.slice/sshd.service"), PLUGIN_NOT_MINE);
	assert_int_equal(PLAN(fixture, .path = "/system.slice"), PLUGIN_NOT_MINE);
	assert_int_equal(PLAN(fixture, .path = "/docker/" ID "/below"), PLUGIN_NOT_MINE);
	assert_int_equal(PLAN(fixture, .path = "/docker"), PLUGIN_NOT_MINE);
	assert_int_equal(PLAN(fixture, .path = user), PLUGIN_NOT_MINE);
	assert_int_equal(PLAN(fixture, .path = GROUP, .bundle = ""), PLUGIN_NOT_MINE);
	assert_int_equal(PLAN(fixture, .path = GROUP, .bundle = "/run/x/moby/" ID),
			 PLUGIN_NOT_MINE);
	assert_int_equal(PLAN(fixture, .path = GROUP), PLUGIN_RECOGNISED);
}

static void what_a_runtime_still_has_is_not_touched(void **state)
{
	struct plugin_fixture *fixture = *state;
	static const char *const records[] = {
		BUNDLE,
		"run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/" ID,
		"run/containers/storage/overlay-containers/" ID "/userdata",
		"var/lib/containers/storage/overlay-containers/" ID "/userdata",
	};
	char file[256], path[PATH_MAX];

	lay_group(fixture, GROUP, 1);
	for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
		snprintf(file, sizeof(file), "%s/config.json", records[i]);
		fake_file(&fixture->root, file, "{\"ociVersion\":\"1.1.0\"}");
		assert_int_equal(PLAN(fixture, .path = GROUP), PLUGIN_NOT_MINE);
		snprintf(path, sizeof(path), "%s/%s", fixture->root.path, file);
		assert_int_equal(unlink(path), 0);
		*strrchr(path, '/') = '\0';
		assert_int_equal(rmdir(path), 0);
		assert_int_equal(PLAN(fixture, .path = GROUP), PLUGIN_RECOGNISED);
	}
	/* It came back between plan and recovery. */
	fake_file(&fixture->root, BUNDLE "/config.json", "{\"ociVersion\":\"1.1.0\"}");
	assert_int_equal(fixture->call.plugin->recover(&fixture->call), PLUGIN_NOT_MINE);
}

static void what_docker_has_a_record_of_is_not_touched(void **state)
{
	struct plugin_fixture *fixture = *state;

	lay_group(fixture, GROUP, 1);
	fake_file(&fixture->root, "var/lib/docker/containers/" ID "/config.v2.json",
		  "{\"Name\":\"/web\"}");
	assert_int_equal(PLAN(fixture, .path = GROUP), PLUGIN_NOT_MINE);
}

static void what_somebody_looks_after_is_not_touched(void **state)
{
	struct plugin_fixture *fixture = *state;

	fake_process(&fixture->root, 5, 1, "sh", 'S', 90, false);
	lay_group(fixture, GROUP, 5);
	assert_int_equal(PLAN(fixture, .path = GROUP), PLUGIN_NOT_MINE);
	lay_group(fixture, GROUP, 1);
	assert_int_equal(PLAN(fixture, .path = GROUP), PLUGIN_RECOGNISED);
	lay_group(fixture, GROUP, 5);
	assert_int_equal(fixture->call.plugin->recover(&fixture->call), PLUGIN_NOT_MINE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLUGIN_TEST(what_is_certain_is_said_with_what_it_holds),
		PLUGIN_TEST(what_is_not_certain_is_said_to_be_so),
		PLUGIN_TEST(what_is_gone_for_certain_is_planned),
		PLUGIN_TEST(what_is_not_certain_or_another_group_is_not_touched),
		PLUGIN_TEST(what_is_not_called_as_that_containers_is_not_touched),
		PLUGIN_TEST(what_a_runtime_still_has_is_not_touched),
		PLUGIN_TEST(what_docker_has_a_record_of_is_not_touched),
		PLUGIN_TEST(what_somebody_looks_after_is_not_touched),
	};

	return cmocka_run_group_tests_name("leftover_container", tests, NULL, NULL);
}
