/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a container's configuration lies, by its id alone. Owns the list of places; what is in the
 * files is container_names.c's, and Docker's and Podman's own files are read here.
 */
#include <limits.h>

#include "host/container_sources.h"
#include "host/shim_bundle.h"

#define NAMESPACES_MAX 256
#define DOCKER_BYTES_MAX (1 * MIB)
#define STORAGE_BYTES_MAX (16 * MIB)

/* The distribution's; those of k3s and k0s; two of a containerd that dockerd started itself. */
const char *const containerd_states[] = {
	"/run/containerd",	  "/run/k3s/containerd",	   "/run/k0s/containerd",
	"/run/docker/containerd", "/run/docker/containerd/daemon", NULL};
/* MicroK8s calls it run, but it is a folder on disk like any other. */
const char *const containerd_states_on_disk[] = {"/var/snap/microk8s/common/run/containerd", NULL};
const char *const containerd_kinds[] = {"io.containerd.runtime.v2.task",
					"io.containerd.runtime.v1.linux", NULL};

/* One for each driver of containers/storage that is in use. */
const char *const storage_states[] = {
	"/run/containers/storage/overlay-containers", "/run/containers/storage/vfs-containers",
	"/run/containers/storage/btrfs-containers", "/run/containers/storage/zfs-containers", NULL};
const char *const storage_states_on_disk[] = {"/var/lib/containers/storage/overlay-containers",
					      "/var/lib/containers/storage/vfs-containers",
					      "/var/lib/containers/storage/btrfs-containers",
					      "/var/lib/containers/storage/zfs-containers", NULL};

bool container_folder_is_on_disk(const char *folder)
{
	for (const char *const *state = containerd_states_on_disk; *state; state++)
		if (startswith(folder, *state))
			return true;
	for (const char *const *state = storage_states_on_disk; *state; state++)
		if (startswith(folder, *state))
			return true;
	return false;
}

int container_storage_folder(const struct host *host, const char *id, char **ret_folder)
{
	for (const char *const *state = storage_states; *state; state++) {
		char *folder;

		if (asprintf(&folder, "%s/%s/userdata", *state, id) < 0)
			return -ENOMEM;
		if (!host_lacks(host, folder)) {
			*ret_folder = folder;
			return 0;
		}
		free(folder);
	}
	return -ENOENT;
}

bool container_runtime_is_here(const struct host *host, const char *runtime)
{
	bool storage = streq(runtime, "cri-o");

	if (!storage && !streq(runtime, "containerd") && !streq(runtime, "docker"))
		return false;
	for (const char *const *state = storage ? storage_states : containerd_states; *state;
	     state++) {
		_cleanup_free_ char *folder = NULL;

		if (asprintf(&folder, "%s%s%s", *state, storage ? "" : "/",
			     storage ? "" : containerd_kinds[0]) < 0)
			folder = NULL;
		else if (!host_lacks(host, folder))
			return true;
	}
	return false;
}

static const char *const docker_folders[] = {
	"/var/lib/docker/containers", "/var/snap/docker/common/var-lib-docker/containers", NULL};

/* --- Bundles --- */

/* Reads FOLDER/ID/BELOW if it is a bundle; a second find is -ENOTUNIQ. */
static int try_bundle(const struct host *host, const char *folder, const char *id,
		      const char *below, struct container_names *names)
{
	_cleanup_container_names_ struct container_names found = {0};
	_cleanup_free_ char *bundle = NULL;

	if (asprintf(&bundle, "%s/%s%s", folder, id, below) < 0) {
		bundle = NULL;
		return -ENOMEM;
	}
	int r = container_names_read(host, bundle, &found);

	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return 0; /* not here, or not to be read: elsewhere, maybe */
	if (names->id)
		return -ENOTUNIQ;
	*names = found;
	found = (struct container_names){0};
	return 0;
}

static int try_kind(const struct host *host, const char *state, const char *kind, const char *id,
		    struct container_names *names)
{
	_cleanup_free_ char *folder = NULL;
	char **namespaces = NULL;
	size_t count = 0;

	if (asprintf(&folder, "%s/%s", state, kind) < 0) {
		folder = NULL;
		return -ENOMEM;
	}
	int r = bundle_list(host, folder, NAMESPACES_MAX, &namespaces, &count);

	if (r < 0)
		return r == -ENOMEM ? r : 0;
	for (size_t i = 0; i < count && r == 0; i++) {
		_cleanup_free_ char *path = NULL;

		if (asprintf(&path, "%s/%s", folder, namespaces[i]) < 0) {
			path = NULL;
			r = -ENOMEM;
		} else {
			r = try_bundle(host, path, id, "", names);
		}
	}
	bundle_list_free(namespaces, count);
	return r;
}

static int try_containerd(const struct host *host, const char *const *states, const char *id,
			  struct container_names *names)
{
	for (; *states; states++)
		for (const char *const *kind = containerd_kinds; *kind; kind++) {
			int r = try_kind(host, *states, *kind, id, names);

			if (r < 0)
				return r;
		}
	return 0;
}

/* The same id on disk and in memory is one container. */
static int try_storage(const struct host *host, const char *const *states, const char *id,
		       struct container_names *names)
{
	int r = 0;

	for (; *states && !names->id && r == 0; states++)
		r = try_bundle(host, *states, id, "/userdata", names);
	return r;
}

/* --- What Docker and Podman keep --- */

static int take_docker(const cJSON *json, const char *id, struct container_names *names)
{
	const cJSON *config = cJSON_GetObjectItemCaseSensitive(json, "Config");
	const char *name = json_string(json, "Name");
	int r = container_names_set(&names->runtime, "docker");

	if (r == 0)
		r = container_names_set(&names->id, id);
	if (r == 0)
		r = container_names_take_docker_labels(
			names, cJSON_GetObjectItemCaseSensitive(config, "Labels"));
	/* "k8s_web_cart-1_shop_UID_0" is cri-dockerd's, whose parts the labels say. */
	if (r == 0 && name && !names->pod)
		r = container_names_set_name(names, name + (*name == '/'));
	if (r == 0)
		r = container_names_set_image(names, json_string(config, "Image"));
	return r;
}

static int complete_from_docker(const struct host *host, const char *id,
				struct container_names *names)
{
	for (const char *const *parent = docker_folders; *parent; parent++) {
		_cleanup_json_ cJSON *json = NULL;
		_cleanup_free_ char *folder = NULL;

		if (asprintf(&folder, "%s/%s", *parent, id) < 0) {
			folder = NULL;
			return -ENOMEM;
		}
		int r = container_json_read(host, folder, "config.v2.json", DOCKER_BYTES_MAX,
					    &json);

		if (r != -ENOENT)
			return r < 0 ? r : take_docker(json, id, names);
	}
	return -ENOENT;
}

/* {"names": ["web"], "metadata": "{\"image-name\": …}"} */
static int take_storage(const cJSON *item, const char *id, struct container_names *names)
{
	const cJSON *name = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(item, "names"), 0);
	const char *text = json_string(item, "metadata");
	_cleanup_json_ cJSON *metadata = NULL;
	struct problem problem = {0};

	if (text)
		json_parse(text, strlen(text), &metadata, &problem);
	/* Only CRI-O's has a pod; all names it gives are in the annotations already. */
	bool crio = json_string(metadata, "pod-name");
	int r = container_names_set(&names->runtime, crio ? "cri-o" : "podman");

	if (r == 0)
		r = container_names_set(&names->id, id);
	if (r == 0 && crio)
		r = container_names_set_name(names, json_string(metadata, "metadata-name"));
	else if (r == 0 && cJSON_IsString(name))
		r = container_names_set_name(names, name->valuestring);
	if (r == 0)
		r = container_names_set_image(names, json_string(metadata, "image-name"));
	return r;
}

static int find_in_storage(const struct host *host, const char *folder, const char *file,
			   const char *id, struct container_names *names)
{
	_cleanup_json_ cJSON *list = NULL;
	const cJSON *item;
	int r = container_json_read(host, folder, file, STORAGE_BYTES_MAX, &list);

	if (r < 0)
		return r;
	cJSON_ArrayForEach (item, list)
		if (streq_ptr(json_string(item, "id"), id))
			return take_storage(item, id, names);
	return -ENOENT;
}

/* Those that do not outlive a reboot ("podman run --rm") stand in a file of their own in /run. */
static int complete_from_storage(const struct host *host, const char *id,
				 struct container_names *names)
{
	int r = -ENOENT;

	for (const char *const *state = storage_states; *state && r == -ENOENT; state++)
		r = find_in_storage(host, *state, "volatile-containers.json", id, names);
	for (const char *const *state = storage_states_on_disk; *state && r == -ENOENT; state++)
		r = find_in_storage(host, *state, "containers.json", id, names);
	return r;
}

int container_names_complete(const struct host *host, const char *id, struct container_names *names)
{
	const char *runtime = names->runtime;

	if (!runtime || streq(runtime, "docker")) {
		int r = complete_from_docker(host, id, names);

		if (r != -ENOENT || runtime)
			return r;
	}
	if (!runtime || streq(runtime, "podman"))
		return complete_from_storage(host, id, names);
	return -ENOENT;
}

/* --- All together --- */

/* An id becomes part of a path; ids come from cgroup paths and from users. */
static bool is_file_name(const char *id)
{
	return *id && *id != '.' && !strchr(id, '/') && strlen(id) <= NAME_MAX;
}

int container_names_find(const struct host *host, const char *id, bool may_block,
			 struct container_names *ret_names)
{
	_cleanup_container_names_ struct container_names names = {0};

	if (!is_file_name(id))
		return -ENOENT;
	int r = try_containerd(host, containerd_states, id, &names);

	if (r == 0)
		r = try_storage(host, storage_states, id, &names);
	if (r == 0 && may_block)
		r = try_containerd(host, containerd_states_on_disk, id, &names);
	if (r == 0 && may_block)
		r = try_storage(host, storage_states_on_disk, id, &names);
	/* What is damaged there must not hide what is known already. */
	if (r == 0 && may_block && container_names_complete(host, id, &names) == -ENOMEM)
		r = -ENOMEM;
	if (r < 0)
		return r;
	if (!names.id)
		return -ENOENT;
	*ret_names = names;
	names = (struct container_names){0};
	return 0;
}
