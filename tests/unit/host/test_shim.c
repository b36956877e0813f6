/* SPDX-License-Identifier: Apache-2.0 */
/* What makes a process a shim, and of which kind. */
#include "shim_fixture.h"

static void a_shim_is_known_by_its_program_and_bundle(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim shim = {0};

	fake_v1(root, 1010, APP_ID);
	fake_file(root, "proc/1010/net/unix",
		  UNIX_HEAD UNIX_OTHERS "0000000005ca38a5: 00000002 00000000 00010000 0001 01 1110 "
					"@/containerd-shim/moby/" APP_ID "/shim.sock@\n");
	assert_int_equal(shim_read(root->host, 1010, NULL, 0, &shim), 0);
	assert_int_equal(shim.kind, SHIM_CONTAINERD_V1);
	assert_int_equal(shim.process.pid, 1010);
	assert_int_equal(shim.process.start_time, 10100);
	assert_string_equal(shim.program, "/usr/bin/docker-containerd-shim");
	assert_string_equal(shim.bundle, "/" V1_FOLDER "/moby/" APP_ID);
	assert_string_equal(shim.namespace, "moby");
	assert_string_equal(shim.id, APP_ID);
	assert_string_equal(shim.socket, "@/containerd-shim/moby/" APP_ID "/shim.sock@");
}

static void a_replaced_program_and_a_removed_bundle_are_still_told(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim shim = {0};
	struct shim_container *containers;
	size_t count;

	fake_shim(root, 1010, "/usr/bin/containerd-shim-runc-v2 (deleted)",
		  "/" V2_FOLDER "/default/web (deleted)");
	assert_int_equal(shim_read(root->host, 1010, NULL, 0, &shim), 0);
	assert_int_equal(shim.kind, SHIM_CONTAINERD_V2);
	assert_string_equal(shim.program, "/usr/bin/containerd-shim-runc-v2");
	assert_string_equal(shim.namespace, "default");
	assert_string_equal(shim.id, "web");
	assert_null(shim.socket);
	assert_int_equal(shim_containers(root->host, &shim, &containers, &count), 0);
	assert_int_equal(count, 1);
	assert_string_equal(containers[0].id, "web");
	assert_null(containers[0].bundle);
	shim_containers_free(containers, count);
}

/* A container of root's, and a program of somebody else's who says that it is its shim. */
static void fake_impostor(const struct fake_root *root, int pid, const char *id)
{
	char bundle[256];

	fake_file(root, V2_FOLDER "/k8s.io/" APP_ID "/config.json", "{\"ociVersion\":\"1.1.0\"}");
	snprintf(bundle, sizeof(bundle), "/" V2_FOLDER "/k8s.io/%s", id);
	fake_shim(root, pid, "/tmp/containerd-shim-runc-v2", bundle);
}

static void fake_mounts(const struct fake_root *root, int pid, const char *namespace)
{
	char path[64];

	snprintf(path, sizeof(path), "proc/%d/ns", pid);
	fake_folder(root, path);
	fake_process_link(root, pid, "ns/mnt", namespace);
}

static void expect_shim(const struct fake_root *root, int pid, const char *id, const char *bundle)
{
	_cleanup_shim_ struct shim shim = {0};

	assert_int_equal(shim_read(root->host, pid, NULL, 0, &shim), 0);
	if (!(id ? streq_ptr(shim.id, id) : !shim.id) ||
	    !(bundle ? streq_ptr(shim.bundle, bundle) : !shim.bundle))
		fail_msg("shim %d has the id %s and the bundle %s", pid, shim.id, shim.bundle);
}

static void a_users_shim_takes_nobodys_place(void **state)
{
	static const char status[] = "Tgid:\t%d\nUid:\t1000\t1000\t1000\t1000\n";
	const struct fake_root *root = *state;

	fake_impostor(root, 1010, APP_ID);
	fake_file(root, "proc/1010/status", status, 1010);
	expect_shim(root, 1010, NULL, NULL);
	/* His own container may have a name. */
	fake_impostor(root, 1020, "mine");
	fake_file(root, "proc/1020/status", status, 1020);
	expect_shim(root, 1020, "mine", NULL);
}

static void a_shim_in_a_container_takes_nobodys_place(void **state)
{
	const struct fake_root *root = *state;

	fake_mounts(root, 1, "mnt:[4026531841]");
	fake_impostor(root, 1010, APP_ID);
	fake_mounts(root, 1010, "mnt:[4026532999]");
	fake_file(root, "proc/1010/cgroup", "0::%s\n", POD_GROUP DB_ID);
	expect_shim(root, 1010, NULL, NULL);
}

static void a_shim_with_mounts_of_its_own_must_be_where_it_says(void **state)
{
	const struct fake_root *root = *state;

	fake_mounts(root, 1, "mnt:[4026531841]");
	fake_impostor(root, 1010, APP_ID);
	fake_mounts(root, 1010, "mnt:[4026532999]");
	fake_file(root, "proc/1010/cgroup", "0::/system.slice/containerd.service\n");
	expect_shim(root, 1010, NULL, NULL);
	/* The bundle was removed: nobody's place is taken. */
	fake_impostor(root, 1020, "gone");
	fake_mounts(root, 1020, "mnt:[4026532999]");
	fake_file(root, "proc/1020/cgroup", "0::/system.slice/containerd.service\n");
	expect_shim(root, 1020, "gone", "/" V2_FOLDER "/k8s.io/gone");
	/* The node's own */
	fake_impostor(root, 1030, APP_ID);
	fake_mounts(root, 1030, "mnt:[4026531841]");
	expect_shim(root, 1030, APP_ID, "/" V2_FOLDER "/k8s.io/" APP_ID);
}

static void a_folder_called_as_no_container_is_no_bundle(void **state)
{
	static const char *const names[] = {"a\nb", "a b", "\x1b[31m", "-a", "..", "a;b"};
	const struct fake_root *root = *state;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		fake_impostor(root, 1010 + (int)i, names[i]);
		expect_shim(root, 1010 + (int)i, NULL, NULL);
	}
}

static void what_is_no_shim_is_none(void **state)
{
	static const char *const patterns[] = {"cont*", "runsc-*"};
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim shim = {0};

	fake_process(root, 2, 0, "kthreadd", 'S', 1, true);
	fake_shim(root, 20, "/usr/bin/containerd", NULL);
	fake_shim(root, 30, "/usr/bin/containerd-shim", NULL);
	fake_process(root, 40, 1, "containerd-shim", 'Z', 400, false);
	assert_int_equal(shim_read(root->host, 2, NULL, 0, &shim), -ENOTTY);
	assert_int_equal(shim_read(root->host, 20, NULL, 0, &shim), -ENOTTY);
	assert_int_equal(shim_read(root->host, 40, NULL, 0, &shim), -ESRCH);
	assert_int_equal(shim_read(root->host, 50, NULL, 0, &shim), -ESRCH);
	assert_int_equal(shim_read(root->host, 20, patterns, 2, &shim), 0);
	assert_int_equal(shim.kind, SHIM_OTHER);
	assert_null(shim.bundle);
	assert_null(shim.id);
	assert_true(shim_name_matches(patterns, 2, "containerd"));
	assert_false(shim_name_matches(patterns, 2, "runsc"));
}

static void the_kind_is_told_by_the_name(void **state)
{
	static const struct {
		const char *program;
		enum shim_kind kind;
	} programs[] = {
		{"/usr/bin/containerd-shim", SHIM_CONTAINERD_V1},
		{"/usr/bin/containerd-shim-runc-v1", SHIM_CONTAINERD_V2},
		{"/opt/bin/containerd-shim-kata-v2", SHIM_CONTAINERD_V2},
		{"/opt/bin/containerd-shim-my-own-runtime-v12", SHIM_CONTAINERD_V2},
		{"/opt/bin/containerd-shim-v2beta", SHIM_OTHER},
		{"/opt/bin/containerd-shim-wrapper", SHIM_OTHER},
		{"/usr/bin/conmon", SHIM_CONMON},
	};
	const struct fake_root *root = *state;

	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		_cleanup_shim_ struct shim shim = {0};

		fake_shim(root, 50 + (int)i, programs[i].program, NULL);
		assert_int_equal(shim_read(root->host, 50 + (int)i, NULL, 0, &shim), 0);
		assert_int_equal(shim.kind, programs[i].kind);
	}
}

static void of_several_sockets_the_one_that_the_bundle_names_is_it(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim first = {0}, named = {0}, unseen = {0};

	fake_v1(root, 1010, APP_ID);
	fake_file(
		root, "proc/1010/net/unix",
		UNIX_HEAD
		"0000000005ca38a5: 00000002 00000000 00010000 0001 01 1110 /run/debug\n"
		"0000000005ca38a6: 00000002 00000000 00010000 0001 01 1210 /run/containerd/s/x y\n");
	assert_int_equal(shim_read(root->host, 1010, NULL, 0, &first), 0);
	assert_string_equal(first.socket, "/run/debug");
	fake_file(root, V1_FOLDER "/moby/" APP_ID "/address", "unix:///run/containerd/s/x y\n");
	assert_int_equal(shim_read(root->host, 1010, NULL, 0, &named), 0);
	assert_string_equal(named.socket, "/run/containerd/s/x y");
	/* Where nothing can be seen, what the bundle says has to do. */
	fake_v1(root, 1020, DB_ID);
	fake_file(root, V1_FOLDER "/moby/" DB_ID "/address", "/containerd-shim/moby/x/shim.sock");
	assert_int_equal(shim_read(root->host, 1020, NULL, 0, &unseen), 0);
	assert_string_equal(unseen.socket, "@/containerd-shim/moby/x/shim.sock");
}

static void a_shim_is_written_and_read_as_json(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim shim = {0}, again = {0};
	_cleanup_json_ cJSON *json = NULL, *empty = cJSON_CreateObject();

	fake_v1(root, 1010, APP_ID);
	assert_int_equal(shim_read(root->host, 1010, NULL, 0, &shim), 0);
	json = shim_json(&shim);
	assert_string_equal(json_string(json, "kind"), "containerd-v1");
	assert_string_equal(json_string(json, "comm"), "docker-containe");
	assert_null(json_string(json, "socket"));
	assert_int_equal(shim_from_json(json, &again), 0);
	assert_int_equal(again.process.pid, 1010);
	assert_int_equal(again.process.start_time, 10100);
	assert_int_equal(again.kind, SHIM_CONTAINERD_V1);
	assert_string_equal(again.bundle, shim.bundle);
	assert_string_equal(again.id, APP_ID);
	assert_null(again.socket);
	shim_clear(&again);
	assert_int_equal(shim_from_json(empty, &again), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SHIM_TEST(a_shim_is_known_by_its_program_and_bundle),
		SHIM_TEST(a_replaced_program_and_a_removed_bundle_are_still_told),
		SHIM_TEST(a_users_shim_takes_nobodys_place),
		SHIM_TEST(a_shim_in_a_container_takes_nobodys_place),
		SHIM_TEST(a_shim_with_mounts_of_its_own_must_be_where_it_says),
		SHIM_TEST(a_folder_called_as_no_container_is_no_bundle),
		SHIM_TEST(what_is_no_shim_is_none),
		SHIM_TEST(the_kind_is_told_by_the_name),
		SHIM_TEST(of_several_sockets_the_one_that_the_bundle_names_is_it),
		SHIM_TEST(a_shim_is_written_and_read_as_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
