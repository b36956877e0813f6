/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container is called: pod, namespace, container, image, sandbox, as its runtime wrote it
 * into the OCI configuration (bundle/config.json) and its annotations; and a memory of those that
 * are gone.
 */
#pragma once

#include "host/container.h"
#include "host/host.h"

struct container_names {
	char *runtime; /* "containerd", "cri-o", "docker", "podman"; the others may be NULL */
	char *id;
	char *sandbox; /* id of the pod's sandbox container */
	bool is_sandbox; /* this is it */
	/* Kubernetes' names; NULL where there is no Kubernetes */
	char *pod, *pod_uid, *namespace;
	char *name; /* of the container in its pod, or as Docker and Podman call it */
	char *image;
	char *bundle; /* folder of config.json, below the host's root; NULL: it has none */
	char *cgroup; /* the control group asked for, where that is a path ("/default/web") */
};
void container_names_clear(struct container_names *names);
#define _cleanup_container_names_ _cleanup_(container_names_clear)

/*
 * Reads BUNDLE/config.json. Returns 0, -ENOENT, -EBADMSG if it is no OCI configuration, -EFBIG, or
 * another negative errno.
 */
int container_names_read(const struct host *host, const char *bundle,
			 struct container_names *ret_names);

/*
 * Finds container ID in the places where containerd, CRI-O, Docker and Podman keep their bundles
 * below /run. With MAY_BLOCK (for workers) also what is kept on disk: the names that Docker and
 * Podman give. Returns 0, -ENOENT, -ENOTUNIQ if there are several of that name (containerd's names
 * are free within a namespace), or another negative errno.
 */
int container_names_find(const struct host *host, const char *id, bool may_block,
			 struct container_names *ret_names);

/*
 * {runtime, id, pod, podUid, namespace, name, image, sandbox} put into JSON, as far as known;
 * `sandbox` only where true. Returns 0 or -ENOMEM.
 */
int container_names_put(cJSON *json, const struct container_names *names);

/*
 * The containers seen so far, at most CONTAINER_REGISTRY_MAX: the longest gone give way. Owned by the
 * agent, asked at each finding; reads below /run alone, which is in memory. HOST must outlive it.
 */
#define CONTAINER_REGISTRY_MAX 2048
struct container_registry;
int container_registry_new(const struct host *host, struct container_registry **ret_registry);
void container_registry_free(struct container_registry *registry);
DEFINE_CLEANUP(struct container_registry, container_registry_free);

/*
 * The container of ID, looked up now or remembered; NULL if never seen, or if several have that name.
 * Valid until the next call.
 */
const struct container_names *container_registry_get(struct container_registry *registry,
						     const char *id);
/*
 * The container whose control group is PATH or above it, where the path itself does not tell: names
 * of plain `ctr`, cgroup paths of somebody's own. NULL if there is none. Valid until the next call.
 */
const struct container_names *container_registry_of_cgroup(struct container_registry *registry,
							   const char *path);
/*
 * The container whose own control group is PATH, of those seen so far: one that is there, else the one
 * that was there last; NULL if there is none. Looks nowhere. Valid until the next call.
 */
const struct container_names *container_registry_of_own_group(struct container_registry *registry,
							      const char *path);
/*
 * A bundle that is not in the usual place (a shim's working directory told it): it and those beside it
 * are looked at from now on. Returns 0, -EPERM if the folder is not root's, -EXDEV if it is one that
 * lies on disk (Podman's), -ENOSPC, or another negative errno.
 */
int container_registry_learn(struct container_registry *registry, const char *bundle);
/*
 * Looks what containers there are now, so that they are known when they are gone. Reads only what is
 * new. Returns 1 if there is any folder of bundles, 0 if there is none, -ENOSPC if there are more
 * containers than can be remembered, or another negative errno.
 */
int container_registry_refresh(struct container_registry *registry);
