/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of shims and their containers: trees of fake processes and bundles. */
#pragma once

#include "fake_root.h"

#include "host/shim.h"

#define POD_ID "913aefc81e1c32a2fc0342f6852e840a88f9d04d3c4eef025ec9070443e69c9b"
#define APP_ID "376f103c056cdbfa71fdd8ba9f469825e552bcde7ec6aa29ae908862b93f3ad3"
#define DB_ID "2d02e5342ee1cf16404c19720a019bff47b75eb3220f333e476b5026a7dce0a3"
#define V1_FOLDER "run/containerd/io.containerd.runtime.v1.linux"
#define V2_FOLDER "run/containerd/io.containerd.runtime.v2.task"
#define POD_GROUP "/kubepods/burstable/pod0f9c4a56-4a0a-4b3f-9d0e-0123456789ab/"

/* A link in the folder of a process, which there may be only once. */
static inline void fake_process_link(const struct fake_root *root, int pid, const char *name,
				     const char *target)
{
	char path[128];

	snprintf(path, sizeof(path), "proc/%d/%s", pid, name);
	fake_link(root, path, target);
}

/* A shim with its program, its bundle as working directory, and sockets 100 + pid and 200 + pid. */
static inline void fake_shim(const struct fake_root *root, int pid, const char *program,
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

static inline void fake_v1(const struct fake_root *root, int pid, const char *id)
{
	char bundle[256], path[512];

	snprintf(bundle, sizeof(bundle), "/" V1_FOLDER "/moby/%s", id);
	fake_shim(root, pid, "/usr/bin/docker-containerd-shim", bundle);
	snprintf(path, sizeof(path), "%s/config.json", bundle + 1);
	fake_file(root, path, "{}");
	snprintf(path, sizeof(path), "%s/init.pid", bundle + 1);
	fake_file(root, path, "%d", pid + 1);
}

static inline void fake_member(const struct fake_root *root, int pid, int ppid, char process_state,
			       const char *group)
{
	char path[64];

	fake_process(root, pid, ppid, "member", process_state, (unsigned long long)pid * 10, false);
	snprintf(path, sizeof(path), "proc/%d/cgroup", pid);
	fake_file(root, path, "0::%s\n", group);
}

static inline void fake_bundle(const struct fake_root *root, const char *id, const char *socket,
			       int init)
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

static inline void fake_pod(const struct fake_root *root)
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

#define SHIM_TEST(name) cmocka_unit_test_setup_teardown(name, fake_root_setup, fake_root_teardown)
