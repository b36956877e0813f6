/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which container a cgroup path belongs to: runtime, container id, pod uid, from the path alone (the
 * container may be gone). Names of pod and container come later, from the OCI configuration.
 */
#pragma once

#include "base/json.h"

struct container {
	const char *
		runtime; /* "containerd", "cri-o", "docker", "podman", or "" when the path does not tell */
	char id[65]; /* 64 hexadecimal digits, or the name that plain `ctr` gave; "" if none */
	char pod_uid[37]; /* with dashes; "" if none */
	bool rootless; /* below a user's own systemd: whoever that is has called it so */
	size_t group_length; /* bytes of the path that name the container's own group; 0 if none */
};

/*
 * Reads PATH ("/kubepods.slice/…/cri-containerd-ID.scope", "/docker/ID", "/default/ID" …), cgroupfs and systemd
 * drivers, nested ones too (the outermost container wins). Returns true if it belongs to a container,
 * or to a pod alone (id "": the pod's own group, whose limit is that of all its containers). In a user's own
 * groups there are containers (of rootless Podman, Docker, nerdctl), and no pods.
 */
bool container_from_cgroup(const char *path, struct container *ret_container);

/*
 * How many characters of ID a person is shown: twelve of a hexadecimal one, as every runtime's tools do, and all
 * of a name that somebody chose.
 */
int container_id_width(const char *id);
