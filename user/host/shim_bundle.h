/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bundle folders: where a runtime keeps what it knows of one container. What their paths tell
 * (namespace and id), and the small files in them (address, bootstrap.json, init.pid, pidfile).
 * Paths are the node's; they are read below the root of HOST. config.json is container_names'.
 */
#pragma once

#include "host/host.h"

/*
 * Splits ".../io.containerd.runtime.v2.task/NAMESPACE/ID" (containerd, v1.linux too) or
 * ".../overlay-containers/ID/userdata" (CRI-O, Podman; no namespace). Returns 0, -ENOENT if PATH is
 * neither or has names that no container has, or -ENOMEM.
 */
int bundle_split(const char *path, char **ret_namespace, char **ret_id);

/* True if the folder holds the configuration of a container. */
bool bundle_exists(const struct host *host, const char *bundle);

/*
 * The socket of the shim that serves the container, as written down by it or by containerd: a path,
 * or "@…" where abstract. NULL if that is not known.
 */
char *bundle_socket(const struct host *host, const char *bundle);

/* True if both name the same socket, with or without the NUL that old shims let follow the name. */
bool bundle_socket_equal(const char *a, const char *b);

/*
 * The pid of container ID's init as the runtime wrote it down (containerd and its shims in the
 * bundle, which may be NULL; Podman below /run wherever the bundle is), or 0.
 */
int64_t bundle_init_pid(const struct host *host, const char *bundle, const char *id);

/* Where CRI-O and Podman keep what is of container ID below /run. NULL when out of memory. */
char *bundle_run_folder(const char *id);

/* Names of the folders in FOLDER, at most MAXIMUM. Returns 0, -E2BIG or another negative errno. */
int bundle_list(const struct host *host, const char *folder, size_t maximum, char ***ret_names,
		size_t *ret_count);
void bundle_list_free(char **names, size_t count);
