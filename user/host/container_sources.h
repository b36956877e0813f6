/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where runtimes keep what they know of their containers, for container_names_find() and the
 * registry alone; and how names are set from it.
 */
#pragma once

#include "base/json.h"
#include "host/container_names.h"

/*
 * Folders below the host's root. Containerd's state folders hold, for each version of the shim, one
 * folder a namespace, and in it the bundles: STATE/KIND/NAMESPACE/ID.
 */
extern const char *const containerd_states[]; /* in memory; ended by NULL, as all here */
extern const char *const containerd_states_on_disk[];
extern const char *const containerd_kinds[];
/* "/run/containers/storage/overlay-containers": CRI-O and Podman, ID/userdata. */
extern const char *const storage_states[];
extern const char *const storage_states_on_disk[];

/*
 * Where CRI-O or Podman keep what is of container ID while it runs, below /run, whichever storage
 * driver it is of; the caller's to free. Returns 0, -ENOENT if there is no such folder, or -ENOMEM.
 */
int container_storage_folder(const struct host *host, const char *id, char **ret_folder);
/* True if RUNTIME ("containerd", "docker", "cri-o") has any folder of bundles where they are looked for. */
bool container_runtime_is_here(const struct host *host, const char *runtime);
/* True if FOLDER is one of those on disk, or below one. */
bool container_folder_is_on_disk(const char *folder);

/* Fills an empty FIELD with VALUE (NULL or "": leaves it), made printable and cut. 0 or -ENOMEM. */
int container_names_set(char **field, const char *value);
int container_names_set_name(struct container_names *names, const char *value);
int container_names_set_image(struct container_names *names, const char *value);
int container_names_take_docker_labels(struct container_names *names, const cJSON *labels);

/* FOLDER/NAME as JSON. Returns 0, -ENOENT, -EBADMSG, -EFBIG or another negative errno. */
int container_json_read(const struct host *host, const char *folder, const char *name,
			size_t maximum, cJSON **ret_json);

/* What Docker and Podman keep on disk, added to NAMES. Returns 0, -ENOENT or a negative errno. */
int container_names_complete(const struct host *host, const char *id,
			     struct container_names *names);
