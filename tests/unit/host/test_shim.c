/* SPDX-License-Identifier: Apache-2.0 */
/* Shims and their containers, in trees of fake processes and bundles. */
#include "fake_root.h"

#include "host/shim.h"

#define POD_ID "913aefc81e1c32a2fc0342f6852e840a88f9d04d3c4eef025ec9070443e69c9b"
#define APP_ID "376f103c056cdbfa71fdd8ba9f469825e552bcde7ec6aa29ae908862b93f3ad3"
#define DB_ID "2d02e5342ee1cf16404c19720a019bff47b75eb3220f333e476b5026a7dce0a3"
#define V1_FOLDER "run/containerd/io.containerd.runtime.v1.linux"
#define V2_FOLDER "run/containerd/io.containerd.runtime.v2.task"
#define POD_GROUP "/kubepods/burstable/pod0f9c4a56-4a0a-4b3f-9d0e-0123456789ab/"

/* A link in the folder of a process, which there may be only once. */
static void fake_process_link(const struct fake_root *root, int pid, const char *name,
			      const char *target)
{
	char path[128];

	snprintf(path, sizeof(path), "proc/%d/%s", pid, name);
	fake_link(root, path, target);
}

/* A shim with its program, its bundle as working directory, and sockets 100 + pid and 200 + pid. */
static void fake_shim(const struct fake_root *root, int pid, const char *program,
		      const char *bundle)
{
	const char *name = strrchr(program, '/') + 1;
	char comm[16], path[128], link[64];

	snprintf(comm, sizeof(comm), "%.15s", name);
	fake_process(root, pid, 1, comm, 'S', (unsigned long long)pid * 10, false);
	fake_process_link(root, pid, "exe", program);
	if (bundle)
		fake_process_link(root, pid, "cwd", bundle);
	snprintf(path, sizeof(path), "proc/%d/fd", pid);
	fake_folder(root, path);
	fake_process_link(root, pid, "fd/0", "/dev/null");
	snprintf(link, sizeof(link), "socket:[%d]", 100 + pid);
	fake_process_link(root, pid, "fd/7", link);
	snprintf(link, sizeof(link), "socket:[%d]", 200 + pid);
	fake_process_link(root, pid, "fd/8", link);
}

#define UNIX_HEAD "Num       RefCount Protocol Flags    Type St Inode Path\n"
/* A connected socket, and one that SOCK_SEQPACKET connections are accepted on. */
#define UNIX_OTHERS                                                                \
	"00000000ade162ee: 00000003 00000000 00000000 0001 03 1110 /run/other\n"   \
	"00000000ade162ef: 00000002 00000000 00010000 0005 01 1210 /run/packets\n" \
	"00000000ade162f0: 00000003 00000000 00000000 0001 03 77\n"

static void fake_v1(const struct fake_root *root, int pid, const char *id)
{
	char bundle[256], path[512];

	snprintf(bundle, sizeof(bundle), "/" V1_FOLDER "/moby/%s", id);
	fake_shim(root, pid, "/usr/bin/docker-containerd-shim", bundle);
	snprintf(path, sizeof(path), "%s/config.json", bundle + 1);
	fake_file(root, path, "{}");
	snprintf(path, sizeof(path), "%s/init.pid", bundle + 1);
	fake_file(root, path, "%d", pid + 1);
}

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

static void fake_member(const struct fake_root *root, int pid, int ppid, char process_state,
			const char *group)
{
	char path[64];

	fake_process(root, pid, ppid, "member", process_state, (unsigned long long)pid * 10, false);
	snprintf(path, sizeof(path), "proc/%d/cgroup", pid);
	fake_file(root, path, "0::%s\n", group);
}

static void fake_bundle(const struct fake_root *root, const char *id, const char *socket, int init)
{
	char path[256];

	snprintf(path, sizeof(path), V2_FOLDER "/k8s.io/%s/config.json", id);
	fake_file(root, path, "{}");
	snprintf(path, sizeof(path), V2_FOLDER "/k8s.io/%s/init.pid", id);
	fake_file(root, path, "%d", init);
	snprintf(path, sizeof(path), V2_FOLDER "/k8s.io/%s/%s", id,
		 *socket == '{' ? "bootstrap.json" : "address");
	fake_file(root, path, "%s", socket);
}

static void fake_pod(const struct fake_root *root)
{
	fake_shim(root, 500, "/usr/bin/containerd-shim-runc-v2", "/" V2_FOLDER "/k8s.io/" POD_ID);
	fake_file(root, "proc/500/cgroup", "0::/system.slice/containerd.service\n");
	fake_file(root, "proc/500/net/unix",
		  UNIX_HEAD
		  "0000000005ca38a5: 00000002 00000000 00010000 0001 01 600 /run/s/pod\n");
	fake_bundle(root, POD_ID, "unix:///run/s/pod", 501);
	fake_bundle(root, APP_ID,
		    "{\"version\":3,\"address\":\"unix:///run/s/pod\",\"protocol\":\"ttrpc\"}",
		    502);
	fake_bundle(root, DB_ID, "unix:///run/s/another", 503);
	fake_member(root, 501, 500, 'S', POD_GROUP POD_ID);
}

static const struct shim_container *find(const struct shim_container *containers, size_t count,
					 const char *id)
{
	for (size_t i = 0; i < count; i++)
		if (streq(containers[i].id, id))
			return &containers[i];
	fail_msg("no container %s", id);
	return NULL;
}

static void a_pods_shim_serves_all_whose_bundles_name_its_socket(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim shim = {0};
	struct shim_container *containers;
	size_t count;

	fake_pod(root);
	fake_member(root, 502, 500, 'S', POD_GROUP APP_ID);
	fake_member(root, 510, 502, 'S', POD_GROUP APP_ID);
	fake_member(root, 511, 510, 'S', POD_GROUP APP_ID);
	fake_member(root, 512, 510, 'Z', POD_GROUP APP_ID);
	/* What the shared pid namespace's init adopted, an exec, and a helper of the shim's own. */
	fake_member(root, 513, 501, 'S', POD_GROUP APP_ID);
	fake_member(root, 514, 500, 'S', POD_GROUP APP_ID);
	fake_member(root, 515, 500, 'S', "/system.slice/containerd.service");
	fake_member(root, 516, 1, 'S', POD_GROUP APP_ID);
	assert_int_equal(shim_read(root->host, 500, NULL, 0, &shim), 0);
	assert_int_equal(shim_containers(root->host, &shim, &containers, &count), 0);
	assert_int_equal(count, 2);
	assert_string_equal(containers[0].id, POD_ID);
	assert_int_equal(containers[0].init.pid, 501);
	assert_int_equal(containers[0].processes, 1);
	assert_string_equal(containers[1].id, APP_ID);
	assert_string_equal(containers[1].bundle, "/" V2_FOLDER "/k8s.io/" APP_ID);
	assert_int_equal(containers[1].init.pid, 502);
	assert_int_equal(containers[1].processes, 5);
	shim_containers_free(containers, count);
}

static void an_init_that_is_gone_is_not_the_process_that_has_its_pid_now(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim shim = {0};
	struct shim_container *containers;
	size_t count;

	fake_pod(root);
	fake_member(root, 502, 1, 'S', "/user.slice");
	assert_int_equal(shim_read(root->host, 500, NULL, 0, &shim), 0);
	assert_int_equal(shim_containers(root->host, &shim, &containers, &count), 0);
	const struct shim_container *app = find(containers, count, APP_ID);
	assert_int_equal(app->init_pid, 502);
	assert_int_equal(app->init.pid, 0);
	assert_int_equal(app->processes, 0);
	shim_containers_free(containers, count);
}

static void an_init_that_was_not_reaped_is_a_zombie(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim shim = {0};
	struct shim_container *containers;
	size_t count;

	fake_pod(root);
	fake_member(root, 502, 500, 'Z', "/");
	assert_int_equal(shim_read(root->host, 500, NULL, 0, &shim), 0);
	assert_int_equal(shim_containers(root->host, &shim, &containers, &count), 0);
	const struct shim_container *app = find(containers, count, APP_ID);
	assert_int_equal(app->init.pid, 502);
	assert_int_equal(app->init.state, 'Z');
	assert_int_equal(app->processes, 0);
	shim_containers_free(containers, count);
}

static void a_container_without_bundle_is_seen_by_its_processes(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim shim = {0};
	struct shim_container *containers;
	size_t count;

	fake_pod(root);
	fake_member(root, 520, 500, 'S', POD_GROUP DB_ID);
	assert_int_equal(shim_read(root->host, 500, NULL, 0, &shim), 0);
	assert_int_equal(shim_containers(root->host, &shim, &containers, &count), 0);
	assert_int_equal(count, 3);
	const struct shim_container *other = find(containers, count, DB_ID);
	assert_null(other->bundle);
	assert_int_equal(other->init_pid, 0);
	assert_int_equal(other->processes, 1);
	shim_containers_free(containers, count);
}

static void a_helper_of_the_shim_is_in_no_container(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim shim = {0};
	struct shim_container *containers;
	size_t count;

	fake_shim(root, 500, "/usr/bin/containerd-shim-runc-v2", "/" V2_FOLDER "/mine/web");
	fake_file(root, "proc/500/cgroup", "0::/system.slice/containerd.service\n");
	fake_member(root, 501, 500, 'S', "/system.slice/containerd.service");
	fake_member(root, 502, 500, 'S', "/mine/web");
	fake_member(root, 503, 500, 'S', "/moved/elsewhere");
	assert_int_equal(shim_read(root->host, 500, NULL, 0, &shim), 0);
	assert_int_equal(shim_containers(root->host, &shim, &containers, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(containers[0].processes, 2);
	shim_containers_free(containers, count);
}

static void a_group_may_be_called_as_no_container_is(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim shim = {0};
	struct shim_container *containers;
	size_t count;

	fake_pod(root);
	fake_member(root, 502, 500, 'S', POD_GROUP DB_ID);
	fake_member(root, 510, 502, 'S', POD_GROUP DB_ID);
	assert_int_equal(shim_read(root->host, 500, NULL, 0, &shim), 0);
	assert_int_equal(shim_containers(root->host, &shim, &containers, &count), 0);
	assert_int_equal(count, 2);
	assert_int_equal(find(containers, count, APP_ID)->processes, 2);
	shim_containers_free(containers, count);
}

static void a_shim_of_one_container_has_all_below_it_in_there(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim shim = {0};
	struct shim_container *containers;
	size_t count;

	fake_v1(root, 1010, APP_ID);
	fake_process(root, 1015, 1010, "orphan", 'S', 20000, false);
	fake_process(root, 1016, 1010, "orphan", 'Z', 20000, false);
	fake_process(root, 1017, 1015, "child", 'S', 20001, false);
	assert_int_equal(shim_read(root->host, 1010, NULL, 0, &shim), 0);
	assert_int_equal(shim_containers(root->host, &shim, &containers, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(containers[0].init_pid, 1011);
	assert_int_equal(containers[0].init.pid, 0);
	assert_int_equal(containers[0].processes, 2);
	shim_containers_free(containers, count);
}

static void conmon_is_known_by_its_group_or_by_what_it_started(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim podman = {0}, crio = {0}, plain = {0};
	struct shim_container *containers;
	size_t count;

	fake_shim(root, 60, "/usr/bin/conmon", "/root");
	fake_file(root, "proc/60/cgroup", "0::/machine.slice/libpod-conmon-" APP_ID ".scope\n");
	assert_int_equal(shim_read(root->host, 60, NULL, 0, &podman), 0);
	assert_string_equal(podman.id, APP_ID);
	assert_null(podman.bundle);
	fake_shim(root, 70, "/usr/bin/conmon",
		  "/run/containers/storage/overlay-containers/" DB_ID "/userdata");
	fake_file(root, "run/containers/storage/overlay-containers/" DB_ID "/userdata/config.json",
		  "{}");
	fake_file(root, "run/containers/storage/overlay-containers/" DB_ID "/userdata/pidfile",
		  "71");
	fake_member(root, 71, 70, 'S', "/crio-" DB_ID);
	assert_int_equal(shim_read(root->host, 70, NULL, 0, &crio), 0);
	assert_string_equal(crio.id, DB_ID);
	assert_null(crio.namespace);
	assert_int_equal(shim_containers(root->host, &crio, &containers, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(containers[0].init_pid, 71);
	assert_int_equal(containers[0].init.pid, 71);
	assert_non_null(containers[0].bundle);
	shim_containers_free(containers, count);
	fake_shim(root, 80, "/usr/bin/conmon", "/root");
	fake_file(root, "proc/80/cgroup", "0::/user.slice\n");
	fake_member(root, 81, 80, 'S', "/libpod_parent/libpod-" POD_ID);
	assert_int_equal(shim_read(root->host, 80, NULL, 0, &plain), 0);
	assert_string_equal(plain.id, POD_ID);
}

static void the_conmon_of_a_container_is_not_that_of_a_process_started_in_it(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim found = {0}, exec = {0};
	struct shim_container *containers;
	size_t count;

	fake_file(root, "run/containers/storage/overlay-containers/" APP_ID "/userdata/pidfile",
		  "91");
	/* In whatever order /proc lists them. */
	for (int pid = 90; pid <= 120; pid += 2) {
		fake_shim(root, pid, "/usr/bin/conmon", "/root");
		fake_member(root, pid + 1, pid, 'S', "/machine.slice/libpod-" APP_ID ".scope");
	}
	assert_int_equal(shim_of_container(root->host, APP_ID, &found), 0);
	assert_int_equal(found.process.pid, 90);
	assert_int_equal(shim_read(root->host, 100, NULL, 0, &exec), 0);
	assert_int_equal(shim_containers(root->host, &exec, &containers, &count), 0);
	assert_int_equal(containers[0].init.pid, 101);
	assert_int_equal(containers[0].init_pid, 0);
	shim_containers_free(containers, count);
}

static void a_containers_shim_is_found_also_without_any_process(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim full = {0}, prefix = {0}, short_name = {0};

	fake_pod(root);
	fake_shim(root, 700, "/usr/bin/containerd-shim", "/" V1_FOLDER "/lb/web");
	assert_int_equal(shim_of_container(root->host, APP_ID, &full), 0);
	assert_int_equal(full.process.pid, 500);
	assert_int_equal(shim_of_container(root->host, "376f103c056c", &prefix), 0);
	assert_int_equal(prefix.process.pid, 500);
	assert_int_equal(shim_of_container(root->host, "web", &short_name), 0);
	assert_int_equal(short_name.process.pid, 700);
	/* Too short a beginning could be anybody's. */
	assert_int_equal(shim_of_container(root->host, "376f103c056", &full), -ESRCH);
	assert_int_equal(shim_of_container(root->host, "we", &full), -ESRCH);
	assert_int_equal(shim_of_container(root->host, "", &full), -ESRCH);
	assert_int_equal(shim_of_container(root->host, DB_ID, &full), -ESRCH);
}

static void the_same_name_in_two_namespaces_is_not_guessed(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim shim = {0};

	fake_shim(root, 700, "/usr/bin/containerd-shim", "/" V1_FOLDER "/one/web");
	fake_shim(root, 710, "/usr/bin/containerd-shim-runc-v2", "/" V2_FOLDER "/two/web");
	assert_int_equal(shim_of_container(root->host, "web", &shim), -ENOTUNIQ);
}

static void a_process_leads_to_the_shim_above_it(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim above = {0}, itself = {0};

	fake_process(root, 1, 0, "systemd", 'S', 1, false);
	fake_v1(root, 1010, APP_ID);
	fake_process(root, 1015, 1010, "web", 'S', 20000, false);
	fake_process(root, 1017, 1015, "worker", 'S', 20001, false);
	assert_int_equal(shim_of_process(root->host, 1017, &above), 0);
	assert_int_equal(above.process.pid, 1010);
	assert_int_equal(shim_of_process(root->host, 1010, &itself), 0);
	assert_int_equal(itself.process.pid, 1010);
	assert_int_equal(shim_of_process(root->host, 1, &above), -ESRCH);
	assert_int_equal(shim_of_process(root->host, 4711, &above), -ESRCH);
}

static void all_shims_are_listed_and_nothing_else(void **state)
{
	const struct fake_root *root = *state;
	struct shim *shims;
	size_t count;
	bool seen[3] = {false};

	fake_process(root, 2, 0, "kthreadd", 'S', 1, true);
	fake_shim(root, 20, "/usr/bin/containerd", NULL);
	fake_v1(root, 1010, APP_ID);
	fake_shim(root, 700, "/usr/bin/containerd-shim", "/" V1_FOLDER "/one/web");
	fake_shim(root, 710, "/usr/bin/conmon", NULL);
	assert_int_equal(shim_list(root->host, &shims, &count), 0);
	assert_int_equal(count, 3);
	for (size_t i = 0; i < count; i++)
		seen[shims[i].process.pid == 1010 ? 0 : shims[i].process.pid == 700 ? 1 : 2] = true;
	assert_true(seen[0] && seen[1] && seen[2]);
	shims_free(shims, count);
}

static void one_survey_serves_many_shims(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_(shim_survey_freep) struct shim_survey *survey = NULL;
	struct process processes[] = {
		{.pid = 1010, .ppid = 1, .start_time = 10100, .state = 'S'},
		{.pid = 1011, .ppid = 1010, .start_time = 10110, .state = 'S'},
		{.pid = 1030, .ppid = 1011, .start_time = 10111, .state = 'S'},
		/* It lived before its parent's pid was the shim's. */
		{.pid = 1040, .ppid = 1010, .start_time = 90, .state = 'S'},
	};
	_cleanup_shim_ struct shim first = {0}, second = {0};
	struct shim_container *containers;
	size_t count;

	fake_v1(root, 1010, APP_ID);
	fake_v1(root, 1020, DB_ID);
	assert_int_equal(shim_read(root->host, 1010, NULL, 0, &first), 0);
	assert_int_equal(shim_read(root->host, 1020, NULL, 0, &second), 0);
	assert_int_equal(shim_survey_new(root->host, processes, ARRAY_SIZE(processes), &survey), 0);
	assert_int_equal(shim_survey_containers(survey, &first, &containers, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(containers[0].init.pid, 1011);
	assert_int_equal(containers[0].processes, 2);
	shim_containers_free(containers, count);
	assert_int_equal(shim_survey_containers(survey, &second, &containers, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(containers[0].processes, 0);
	shim_containers_free(containers, count);
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

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, fake_root_setup, fake_root_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(a_shim_is_known_by_its_program_and_bundle),
		CLAIM(a_replaced_program_and_a_removed_bundle_are_still_told),
		CLAIM(a_users_shim_takes_nobodys_place),
		CLAIM(a_shim_in_a_container_takes_nobodys_place),
		CLAIM(a_shim_with_mounts_of_its_own_must_be_where_it_says),
		CLAIM(a_folder_called_as_no_container_is_no_bundle),
		CLAIM(what_is_no_shim_is_none),
		CLAIM(the_kind_is_told_by_the_name),
		CLAIM(of_several_sockets_the_one_that_the_bundle_names_is_it),
		CLAIM(a_pods_shim_serves_all_whose_bundles_name_its_socket),
		CLAIM(an_init_that_is_gone_is_not_the_process_that_has_its_pid_now),
		CLAIM(an_init_that_was_not_reaped_is_a_zombie),
		CLAIM(a_container_without_bundle_is_seen_by_its_processes),
		CLAIM(a_helper_of_the_shim_is_in_no_container),
		CLAIM(a_group_may_be_called_as_no_container_is),
		CLAIM(a_shim_of_one_container_has_all_below_it_in_there),
		CLAIM(conmon_is_known_by_its_group_or_by_what_it_started),
		CLAIM(the_conmon_of_a_container_is_not_that_of_a_process_started_in_it),
		CLAIM(a_containers_shim_is_found_also_without_any_process),
		CLAIM(the_same_name_in_two_namespaces_is_not_guessed),
		CLAIM(a_process_leads_to_the_shim_above_it),
		CLAIM(all_shims_are_listed_and_nothing_else),
		CLAIM(one_survey_serves_many_shims),
		CLAIM(a_shim_is_written_and_read_as_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
