/* SPDX-License-Identifier: Apache-2.0 */
/* Containers that are gone and whose processes are not, on a tree and with a clock of the test's own. */
#include "cgroup_fixture.h"

#define THRESHOLD_NS (10 * NS_PER_S)
#define ID "3f4e8c1b2a7d9e0f1c2b3a495867d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9"
#define PATH "/docker/" ID
#define GROUP "sys/fs/cgroup" PATH
#define TASKS "run/containerd/io.containerd.runtime.v2.task/"
#define BUNDLE TASKS "moby/" ID

struct fixture {
	struct cgroup_fixture base;
	struct leftover_groups *leftover;
};

/* The processes of a container: nginx and its worker, below PARENT. */
static void lay_group(const struct fixture *fixture, const char *path, int parent)
{
	char file[PATH_MAX];

	snprintf(file, sizeof(file), "sys/fs/cgroup%s/cgroup.procs", path);
	fake_file(fixture->base.root, file, "7\n8\n");
	fake_process(fixture->base.root, 7, parent, "nginx", 'S', 100, false);
	fake_process(fixture->base.root, 8, 7, "nginx", 'S', 100, false);
}

static void lay_bundle(const struct fixture *fixture, const char *folder, const char *cgroup)
{
	char file[PATH_MAX];

	snprintf(file, sizeof(file), "%s/config.json", folder);
	fake_file(fixture->base.root, file,
		  "{\"ociVersion\":\"1.1.0\",\"annotations\":{\"nerdctl/name\":\"shop\"},"
		  "\"linux\":{\"cgroupsPath\":\"%s\"}}",
		  cgroup);
	container_registry_refresh(fixture->base.containers);
}

static void remove_bundle(const struct fixture *fixture, const char *folder)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s/config.json", fixture->base.root->path, folder);
	assert_int_equal(unlink(path), 0);
	*strrchr(path, '/') = '\0';
	assert_int_equal(rmdir(path), 0);
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	cgroup_fixture_setup(&fixture->base, "/sys/fs/cgroup rw - cgroup2 cgroup2 rw");
	fake_file(fixture->base.root, "sys/fs/cgroup/cgroup.procs", "1\n");
	assert_int_equal(
		leftover_groups_new(&fixture->base.slot.run, THRESHOLD_NS, &fixture->leftover), 0);
	assert_int_equal(cgroup_walk_new(fixture->base.root->host, "", &fixture->base.walk), 0);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	leftover_groups_free(fixture->leftover);
	cgroup_fixture_teardown(&fixture->base);
	free(fixture);
	return 0;
}

/* One round, SECONDS after the test's beginning. */
static void round_at(struct fixture *fixture, unsigned seconds)
{
	uint64_t boot_ns = (1000 + seconds) * NS_PER_S;
	struct cgroup_walk_group group;

	while (cgroup_walk_next(fixture->base.walk, &group) == 0)
		leftover_groups_visit(fixture->leftover, CGROUP_V2, "", &group, boot_ns);
	leftover_groups_round_end(fixture->leftover, boot_ns);
}

static void rounds(struct fixture *fixture, unsigned from, unsigned to)
{
	for (unsigned seconds = from; seconds <= to; seconds += 5)
		round_at(fixture, seconds);
}

static void expect_quiet(const struct fixture *fixture)
{
	assert_int_equal(fixture->base.told + fixture->base.cleared, 0);
}

static void one_whose_bundle_was_seen_and_went_is_told_after_the_threshold(void **state)
{
	struct fixture *fixture = *state;

	lay_group(fixture, PATH, 1);
	lay_bundle(fixture, BUNDLE, "");
	rounds(fixture, 0, 60);
	expect_quiet(fixture);
	remove_bundle(fixture, BUNDLE);
	round_at(fixture, 70);
	round_at(fixture, 79);
	expect_quiet(fixture);
	round_at(fixture, 80);
	assert_int_equal(fixture->base.told, 1);
	assert_string_equal(fixture->base.last.type, "LeftoverContainer");
	assert_string_equal(fixture->base.last.subject,
			    "leftover container in control group " PATH);
	const cJSON *details = json_at(fixture->base.last.event, "details");

	assert_string_equal(json_string(details, "fault"), "leftover");
	assert_string_equal(json_string(details, "containerId"), ID);
	assert_string_equal(json_string(details, "knownBy"), "bundle-seen");
	assert_string_equal(json_string(details, "bundle"), "/" BUNDLE);
	assert_true(json_bool(details, "exact", false));
	assert_int_equal(json_u64(details, "seconds"), 10);
	assert_int_equal(json_u64(json_at(details, "members"), "processes"), 2);
	assert_string_equal(json_string(json_at(details, "cgroup"), "path"), PATH);
	assert_string_equal(json_string(json_at(fixture->base.last.event, "container"), "runtime"),
			    "docker");
	/* Once, and every ten thresholds. */
	round_at(fixture, 179);
	assert_int_equal(fixture->base.told, 1);
	round_at(fixture, 180);
	assert_int_equal(fixture->base.told, 2);
	/* Ended. */
	fake_file(fixture->base.root, GROUP "/cgroup.procs", "%s", "");
	round_at(fixture, 185);
	assert_int_equal(fixture->base.cleared, 1);
	rounds(fixture, 190, 220);
	assert_int_equal(fixture->base.told + fixture->base.cleared, 3);
}

static void one_that_is_gone_from_the_tree_is_over(void **state)
{
	struct fixture *fixture = *state;
	char path[PATH_MAX];

	lay_group(fixture, PATH, 1);
	lay_bundle(fixture, BUNDLE, "");
	round_at(fixture, 0);
	remove_bundle(fixture, BUNDLE);
	rounds(fixture, 5, 15);
	assert_int_equal(fixture->base.told, 1);
	snprintf(path, sizeof(path), "%s/" GROUP "/cgroup.procs", fixture->base.root->path);
	assert_int_equal(unlink(path), 0);
	*strrchr(path, '/') = '\0';
	assert_int_equal(rmdir(path), 0);
	round_at(fixture, 20);
	assert_int_equal(fixture->base.cleared, 1);
}

static void one_that_somebody_looks_after_is_well_without_its_bundle(void **state)
{
	struct fixture *fixture = *state;

	fake_process(fixture->base.root, 5, 1, "containerd-shim", 'S', 90, false);
	fake_link(fixture->base.root, "proc/5/exe", "/usr/bin/containerd-shim-runc-v2");
	lay_group(fixture, PATH, 5);
	lay_bundle(fixture, BUNDLE, "");
	round_at(fixture, 0);
	remove_bundle(fixture, BUNDLE);
	rounds(fixture, 5, 60);
	expect_quiet(fixture);
	/* A builder's `runc run`, or whatever has started it. */
	fake_process(fixture->base.root, 6, 1, "runc", 'S', 90, false);
	lay_group(fixture, PATH, 6);
	fake_process(fixture->base.root, 5, 1, "containerd-shim", 'Z', 90, false);
	rounds(fixture, 65, 120);
	expect_quiet(fixture);
	/* It ends, and init has them. */
	lay_group(fixture, PATH, 1);
	round_at(fixture, 125);
	expect_quiet(fixture);
	round_at(fixture, 135);
	assert_int_equal(fixture->base.told, 1);
}

/* The time counts from when neither is there: what comes back in between begins anew. */
static void a_runtime_that_comes_back_in_time_is_nothing(void **state)
{
	struct fixture *fixture = *state;

	lay_group(fixture, PATH, 1);
	lay_bundle(fixture, BUNDLE, "");
	round_at(fixture, 0);
	remove_bundle(fixture, BUNDLE);
	rounds(fixture, 5, 10);
	lay_bundle(fixture, BUNDLE, "");
	round_at(fixture, 12);
	remove_bundle(fixture, BUNDLE);
	rounds(fixture, 15, 20);
	expect_quiet(fixture);
	round_at(fixture, 25);
	assert_int_equal(fixture->base.told, 1);
	lay_bundle(fixture, BUNDLE, "");
	round_at(fixture, 30);
	assert_int_equal(fixture->base.cleared, 1);
}

static void lay_state(const struct fixture *fixture, const char *bundle)
{
	fake_file(fixture->base.root, "run/docker/runtime-runc/moby/" ID "/state.json",
		  "{\"config\":{\"labels\":[\"bundle=%s\"]},\"cgroup_paths\":{\"\":"
		  "\"/sys/fs/cgroup" PATH "\"}}",
		  bundle);
}

static void what_runc_wrote_down_tells_of_a_bundle_that_was_never_seen(void **state)
{
	struct fixture *fixture = *state;

	lay_group(fixture, PATH, 1);
	lay_state(fixture, "/own/io.containerd.runtime.v2.task/moby/" ID);
	rounds(fixture, 0, 10);
	assert_int_equal(fixture->base.told, 1);
	const cJSON *details = json_at(fixture->base.last.event, "details");

	assert_string_equal(json_string(details, "knownBy"), "runtime-state");
	assert_true(json_bool(details, "exact", false));
}

static void what_runc_started_from_a_bundle_that_is_there_or_no_runtimes_is_well(void **state)
{
	struct fixture *fixture = *state;

	fake_folder(fixture->base.root, TASKS "moby");
	fake_folder(fixture->base.root, "own/io.containerd.runtime.v2.task/moby/" ID);
	lay_group(fixture, PATH, 1);
	lay_state(fixture, "/own/io.containerd.runtime.v2.task/moby/" ID);
	rounds(fixture, 0, 60);
	expect_quiet(fixture);
	/* `runc run --detach` from somebody's folder, and Podman's, which lies on disk */
	lay_group(fixture, "/default/two", 1);
	fake_file(fixture->base.root, "run/runc/two/state.json",
		  "{\"config\":{\"labels\":[\"bundle=/home/me/gone\"]},\"cgroup_paths\":{\"\":"
		  "\"/sys/fs/cgroup/default/two\"}}");
	rounds(fixture, 65, 100);
	expect_quiet(fixture);
}

static void by_its_name_alone_it_is_not_certain(void **state)
{
	struct fixture *fixture = *state;

	lay_group(fixture, PATH, 1);
	/* That runtime is not on this node, as far as is known: its bundles may be anywhere. */
	rounds(fixture, 0, 60);
	expect_quiet(fixture);
	fake_folder(fixture->base.root, TASKS "moby");
	rounds(fixture, 65, 80);
	assert_int_equal(fixture->base.told, 1);
	const cJSON *details = json_at(fixture->base.last.event, "details");

	assert_string_equal(json_string(details, "knownBy"), "path");
	assert_false(json_bool(details, "exact", true));
	assert_null(json_string(details, "bundle"));
}

static void of_podman_and_cri_o_what_is_below_run_counts(void **state)
{
	struct fixture *fixture = *state;
	static const char path[] = "/machine.slice/libpod-" ID ".scope",
			  folder[] = "run/containers/storage/vfs-containers/" ID "/userdata";

	lay_group(fixture, path, 1);
	rounds(fixture, 0, 60);
	expect_quiet(fixture); /* its bundle is on disk, so nothing is known */
	fake_folder(fixture->base.root, folder);
	rounds(fixture, 65, 120);
	expect_quiet(fixture);
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s/%s", fixture->base.root->path, folder);
	assert_int_equal(rmdir(full), 0);
	rounds(fixture, 125, 135);
	assert_int_equal(fixture->base.told, 1);
	assert_string_equal(json_string(json_at(fixture->base.last.event, "details"), "bundle"),
			    "/run/containers/storage/vfs-containers/" ID "/userdata");
}

static void a_group_whose_name_tells_nothing_is_known_by_its_bundle(void **state)
{
	struct fixture *fixture = *state;

	lay_group(fixture, "/batch/job", 1);
	lay_group(fixture, "/batch/job/below", 1);
	lay_bundle(fixture, TASKS "batch/job", "/batch/job");
	rounds(fixture, 0, 60);
	remove_bundle(fixture, TASKS "batch/job");
	rounds(fixture, 65, 75);
	assert_int_equal(fixture->base.told, 1);
	assert_string_equal(
		json_string(json_at(fixture->base.last.event, "details"), "containerId"), "job");
	assert_string_equal(json_string(json_at(fixture->base.last.event, "container"), "name"),
			    "shop");
}

/* A bundle of the same name in another namespace is another container's. */
static void of_a_name_in_two_namespaces_each_has_its_own_bundle(void **state)
{
	struct fixture *fixture = *state;

	lay_group(fixture, "/default/web", 1);
	lay_bundle(fixture, TASKS "default/web", "/default/web");
	lay_bundle(fixture, TASKS "batch/web", "/batch/web");
	round_at(fixture, 0);
	remove_bundle(fixture, TASKS "batch/web");
	rounds(fixture, 5, 60);
	expect_quiet(fixture);
	lay_bundle(fixture, TASKS "batch/web", "/batch/web");
	remove_bundle(fixture, TASKS "default/web");
	rounds(fixture, 65, 75);
	assert_int_equal(fixture->base.told, 1);
}

static void what_is_no_container_or_a_users_or_below_one_is_left_alone(void **state)
{
	struct fixture *fixture = *state;
	static const char *const paths[] = {
		"/system.slice/web.service",
		"/default/web", /* called as `ctr` does, but never seen */
		"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" ID ".scope",
		"/system.slice/cri-containerd-short.scope",
		"/kubepods.slice/kubepods-pod8a1b2c3d_4e5f_6071_8293_a4b5c6d7e8f9.slice",
	};

	fake_folder(fixture->base.root, TASKS "moby");
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		lay_group(fixture, paths[i], 1);
	rounds(fixture, 0, 60);
	expect_quiet(fixture);
	/* A node in a container: its bundles are in there. */
	fake_process(fixture->base.root, 5, 1, "containerd-shim", 'S', 90, false);
	lay_group(fixture, PATH "/kubelet/kubepods/pod8a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9/" ID, 1);
	lay_group(fixture, PATH, 5);
	rounds(fixture, 65, 120);
	expect_quiet(fixture);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_whose_bundle_was_seen_and_went_is_told_after_the_threshold),
		TEST(one_that_is_gone_from_the_tree_is_over),
		TEST(one_that_somebody_looks_after_is_well_without_its_bundle),
		TEST(a_runtime_that_comes_back_in_time_is_nothing),
		TEST(what_runc_wrote_down_tells_of_a_bundle_that_was_never_seen),
		TEST(what_runc_started_from_a_bundle_that_is_there_or_no_runtimes_is_well),
		TEST(by_its_name_alone_it_is_not_certain),
		TEST(of_podman_and_cri_o_what_is_below_run_counts),
		TEST(a_group_whose_name_tells_nothing_is_known_by_its_bundle),
		TEST(of_a_name_in_two_namespaces_each_has_its_own_bundle),
		TEST(what_is_no_container_or_a_users_or_below_one_is_left_alone),
	};

	return cmocka_run_group_tests_name("cgroup_leftover", tests, NULL, NULL);
}
