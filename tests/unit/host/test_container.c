/* SPDX-License-Identifier: Apache-2.0 */
/* Cgroup paths as found in the field, and whose container each is. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>

#include "host/container.h"

#define ID "3f4e8c1b2a7d9e0f1c2b3a495867d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9"
#define ID2 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define UID "8a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
#define UID_ "8a1b2c3d_4e5f_6071_8293_a4b5c6d7e8f9"
#define HASH "c0ffee00c0ffee00c0ffee00c0ffee00"

static const struct {
	const char *path, *runtime, *id, *pod_uid;
} paths[] = {
	/* containerd, Kubernetes, systemd driver */
	{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_
	 ".slice/cri-containerd-" ID ".scope",
	 "containerd", ID, UID},
	{"/kubepods.slice/kubepods-pod" UID_ ".slice/cri-containerd-" ID ".scope", "containerd", ID,
	 UID},
	/* … and what the container put below itself */
	{"/kubepods.slice/kubepods-pod" UID_ ".slice/cri-containerd-" ID ".scope/init.scope",
	 "containerd", ID, UID},
	/* containerd, Kubernetes, cgroupfs driver */
	{"/kubepods/burstable/pod" UID "/" ID, "containerd", ID, UID},
	{"/kubepods/pod" UID "/" ID, "containerd", ID, UID},
	{"/kubepods/besteffort/pod" HASH "/" ID, "containerd", ID, HASH},
	/* containerd with cgroupfs that was given systemd's form of path */
	{"/system.slice/containerd.service/kubepods-besteffort-pod" UID_
	 ".slice:cri-containerd:" ID,
	 "containerd", ID, UID},
	/* ctr and nerdctl */
	{"/default/web", "containerd", "web", ""},
	{"/default/redis-server_1.2", "containerd", "redis-server_1.2", ""},
	{"/k8s.io/" ID, "containerd", ID, ""},
	{"/default/" ID, "containerd", ID, ""},
	{"/system.slice/nerdctl-" ID ".scope", "containerd", ID, ""},
	{"/user.slice/user-1000.slice/user@1000.service/user.slice/nerdctl-" ID ".scope",
	 "containerd", ID, ""},
	/* CRI-O */
	{"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_ ".slice/crio-" ID
	 ".scope",
	 "cri-o", ID, UID},
	{"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_ ".slice/crio-" ID
	 ".scope/container",
	 "cri-o", ID, UID},
	{"/kubepods/besteffort/pod" UID "/crio-" ID, "cri-o", ID, UID},
	{"/kubepods.slice/kubepods-pod" UID_ ".slice/crio-conmon-" ID ".scope", "", "", UID},
	/* Docker */
	{"/system.slice/docker-" ID ".scope", "docker", ID, ""},
	{"/docker/" ID, "docker", ID, ""},
	{"/docker/" ID "/init", "docker", ID, ""},
	{"/system.slice:docker:" ID, "docker", ID, ""},
	{"/user.slice/user-1000.slice/user@1000.service/app.slice/docker-" ID ".scope", "docker",
	 ID, ""},
	{"/kubepods/besteffort/pod" UID "/docker/" ID, "docker", ID, UID},
	{"/kubepods.slice/kubepods-pod" UID_ ".slice/docker-" ID ".scope", "docker", ID, UID},
	{"/ecs/5a1b2c3d4e5f60718293a4b5c6d7e8f9/" ID, "docker", ID, ""},
	{"/ecstasks.slice/ecstasks-5a1b2c3d4e5f60718293a4b5c6d7e8f9.slice/docker-" ID ".scope",
	 "docker", ID, ""},
	/* Podman */
	{"/machine.slice/libpod-" ID ".scope", "podman", ID, ""},
	{"/machine.slice/libpod-" ID ".scope/container", "podman", ID, ""},
	{"/machine.slice/machine-libpod_pod_" ID2 ".slice/libpod-" ID ".scope", "podman", ID, ""},
	{"/libpod_parent/libpod-" ID, "podman", ID, ""},
	{"/libpod_parent/" ID, "podman", ID, ""},
	{"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID ".scope/container",
	 "podman", ID, ""},
	{"/user.slice/user-1000.slice/user@1000.service/user.slice/user-libpod_pod_" ID2
	 ".slice/libpod-" ID ".scope",
	 "podman", ID, ""},
	{"/system.slice/web.service/libpod-payload-" ID, "podman", ID, ""},
	{"/machine.slice/libpod-conmon-" ID ".scope", "", "", ""},
	{"/system.slice/web.service/supervisor", "", "", ""},
	/* pods alone, and systemd's escapes */
	{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_ ".slice", "", "",
	 UID},
	{"/kubepods/burstable/pod" UID, "", "", UID},
	{"/kubepods.slice/kubepods-pod8a1b2c3d\\x2d4e5f\\x2d6071\\x2d8293\\x2da4b5c6d7e8f9.slice/"
	 "crio-" ID ".scope",
	 "cri-o", ID, UID},
	/* a user's own groups, called as that user likes: no pod is there */
	{"/user.slice/user-1000.slice/user@1000.service/app.slice/kubepods-pod" UID_ ".slice", "",
	 "", ""},
	{"/user.slice/user-1000.slice/user@1000.service/app.slice/kubepods-pod" UID_
	 ".slice/cri-containerd-" ID ".scope",
	 "containerd", ID, ""},
	/* k3s and RKE2, whose kubelet runs in the unit; Talos; minikube's systemd driver in Docker */
	{"/system.slice/k3s.service/kubepods/besteffort/pod" UID "/" ID, "containerd", ID, UID},
	{"/podruntime/kubelet/kubepods/burstable/pod" UID "/" ID, "containerd", ID, UID},
	{"/system.slice/docker-" ID ".scope/kubepods.slice/kubepods-pod" UID_ ".slice/docker-" ID2
	 ".scope",
	 "docker", ID, ""},
	/* a node in a container (kind), and Docker inside a pod: the outermost container */
	{"/docker/" ID "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" UID_
	 ".slice/cri-containerd-" ID2 ".scope",
	 "docker", ID, ""},
	{"/kubelet/kubepods/burstable/pod" UID "/" ID, "containerd", ID, UID},
	{"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" UID_
	 ".slice/cri-containerd-" ID ".scope",
	 "containerd", ID, UID},
	{"/kubepods/pod" UID "/" ID "/docker/" ID2, "containerd", ID, UID},
	{"/system.slice/docker-" ID ".scope/docker/" ID2, "docker", ID, ""},
	{"/docker/" ID "/kubelet/kubepods/besteffort/pod" UID "/" ID2, "docker", ID, ""},
	{"/machine.slice/libpod-" ID ".scope/container/kubelet.slice/kubelet-kubepods.slice/"
	 "cri-containerd-" ID2 ".scope",
	 "podman", ID, ""},
	/* a pod of guaranteed quality, systemd driver, v1's named hierarchy too */
	{"/kubepods.slice/kubepods-pod" UID_ ".slice/crio-" ID ".scope", "cri-o", ID, UID},
	/* plain ctr in a namespace of somebody's own: the path alone cannot tell (the registry can) */
	{"/batch/job-7", "", "", ""},
	{"/batch/job-7/sub", "", "", ""},
	/* seen from another cgroup namespace */
	{"/../../kubepods/burstable/pod" UID "/" ID, "containerd", ID, UID},
	/* an id below somebody's own parent group: a container, but whose */
	{"/batch/" ID, "", ID, ""},
	/* no containers */
	{"/", "", "", ""},
	{"", "", "", ""},
	{"/system.slice/docker.service", "", "", ""},
	{"/system.slice/containerd.service", "", "", ""},
	{"/user.slice/user-1000.slice/session-3.scope", "", "", ""},
	{"/kubepods.slice/kubepods-burstable.slice", "", "", ""},
	{"/batch/d1a4cfff56d2e02e9e9aa23d22628310", "", "", ""},
	{"/demo/victim", "", "", ""},
	{"/default", "", "", ""},
	{"/default/-bad-", "", "", ""},
	{"/system.slice/cri-containerd-short.scope", "", "", ""},
	{"/docker/buildx", "", "", ""},
	{"/system.slice/podman-1234.scope", "", "", ""},
	{"/kubepods/podnotauid/x", "", "", ""},
};

static void every_runtimes_paths_name_the_container(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct container container;
		bool found = container_from_cgroup(paths[i].path, &container);

		if (!streq(container.runtime, paths[i].runtime) ||
		    !streq(container.id, paths[i].id) ||
		    !streq(container.pod_uid, paths[i].pod_uid) ||
		    found != (*paths[i].id || *paths[i].pod_uid))
			fail_msg("%s: runtime \"%s\" id \"%s\" pod \"%s\" found %d", paths[i].path,
				 container.runtime, container.id, container.pod_uid, found);
	}
}

static void what_is_of_a_user_is_told(void **state)
{
	struct container container;

	assert_true(container_from_cgroup("/user.slice/user-1000.slice/user@1000.service/app.slice/"
					  "cri-containerd-" ID ".scope",
					  &container));
	assert_true(container.rootless);
	/* … and not what has such a name inside of a container */
	assert_true(container_from_cgroup("/kubepods/burstable/pod" UID "/" ID "/user@0.service/x",
					  &container));
	assert_false(container.rootless);
	assert_string_equal(container.pod_uid, UID);
}

static void the_containers_own_group_is_told_from_what_is_below_it(void **state)
{
	static const struct {
		const char *own, *below;
	} groups[] = {
		{"/docker/" ID, "/init"},
		{"/kubepods.slice/kubepods-pod" UID_ ".slice/crio-" ID ".scope", "/container"},
		{"/system.slice:docker:" ID, ""},
		{"/default/web", "/a/b"},
	};
	struct container container;
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		snprintf(path, sizeof(path), "%s%s", groups[i].own, groups[i].below);
		assert_true(container_from_cgroup(path, &container));
		assert_int_equal(container.group_length, strlen(groups[i].own));
	}
	container_from_cgroup("/kubepods/pod" UID, &container);
	assert_int_equal(container.group_length, 0);
}

static void an_endless_name_is_passed_over(void **state)
{
	struct container container;
	static char path[8192];

	memset(path, 'a', sizeof(path) - 1);
	path[0] = '/';
	assert_false(container_from_cgroup(path, &container));
	memcpy(path + 4000, "/docker/" ID, strlen("/docker/" ID) + 1);
	assert_true(container_from_cgroup(path, &container));
	assert_string_equal(container.runtime, "docker");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_runtimes_paths_name_the_container),
		cmocka_unit_test(what_is_of_a_user_is_told),
		cmocka_unit_test(the_containers_own_group_is_told_from_what_is_below_it),
		cmocka_unit_test(an_endless_name_is_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
