/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container is called: pod, namespace, container, image, sandbox, as its runtime wrote it into the
 * OCI configuration (bundle/config.json) and its annotations; and a memory of those that are gone.
 */
#pragma once

#include "host/container.h"
#include "host/host.h"

struct container_names {
	char *runtime; /* "containerd", "cri-o", "docker", "podman"; the others may be NULL */
	char *id;
	char *sandbox; /* id of the pod's sandbox container */
	bool is_sandbox; /* this is it */
	char *pod, *pod_uid, *namespace; /* Kubernetes' names; for containerd without Kubernetes NULL */
	char *name; /* of the container in its pod, or as Docker and Podman call it */
	char *image;
	char *bundle; /* folder of config.json */
};
void container_names_clear(struct container_names *names);
#define _cleanup_container_names_ _cleanup_(container_names_clear)

/*
 * Reads BUNDLE/config.json. Returns 0, -ENOENT, -EBADMSG if it is no OCI configuration, -EFBIG, or another
 * negative errno.
 */
int container_names_read(const struct host *host, const char *bundle, struct container_names *ret_names);

/*
 * Finds container ID in the places where containerd, CRI-O, Docker and Podman keep their bundles below /run.
 * With MAY_BLOCK (for workers) also what Docker and Podman keep on disk: the names they give. Returns 0,
 * -ENOENT or a negative errno.
 */
int container_names_find(const struct host *host, const char *id, bool may_block,
			 struct container_names *ret_names);

/*
 * The containers seen so far, at most REGISTRY_MAX: the longest gone give way. Owned by the agent, asked at
 * each finding.
 */
#define CONTAINER_REGISTRY_MAX 2048
struct container_registry;
int container_registry_new(const struct host *host, struct container_registry **ret_registry);
void container_registry_free(struct container_registry *registry);
DEFINE_CLEANUP(struct container_registry, container_registry_free);

/* The container of ID, looked up now or remembered; NULL if never seen. Valid until the next call. */
const struct container_names *container_registry_get(struct container_registry *registry, const char *id);
/* A folder of bundles that is not in the usual place (a shim's working directory told it). */
int container_registry_learn(struct container_registry *registry, const char *bundle);
/* Looks what containers there are now, so that they are known when they are gone. */
int container_registry_refresh(struct container_registry *registry);
