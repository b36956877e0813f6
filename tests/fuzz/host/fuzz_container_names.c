/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of what tells a container's names: the OCI configuration and its annotations, the address
 * beside it, Docker's and Podman's files, and a cgroup path. The first byte says which. Besides not to
 * crash, what comes of it can be printed, and no name is longer than its field.
 */
#include "../fuzz_root.h"

#include "host/container_names.h"
#include "host/shim_bundle.h"

#define ID "3f4e8c1b2a7d9e0f1c2b3a495867d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9"
#define CONTAINERD "/run/containerd/io.containerd.runtime.v2.task/k8s.io/" ID
#define STORAGE "/run/containers/storage/overlay-containers/" ID "/userdata"
#define DOCKER "/var/lib/docker/containers/" ID
#define PODMAN "/var/lib/containers/storage/overlay-containers"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char *const folders[] = {CONTAINERD, STORAGE, DOCKER, PODMAN};

	fuzz_root_begin();
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		fuzz_root_folder(folders[i]);
	return 0;
}

static void claim_name(const char *text, size_t maximum)
{
	if (!text)
		return;
	claim_plain(text);
	claim(*text && strlen(text) <= maximum, "a name is neither empty nor endless");
}

static void find(void)
{
	_cleanup_container_names_ struct container_names names = {0};
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (container_names_find(fuzz_host, ID, true, &names) < 0)
		return;
	claim(streq_ptr(names.id, ID), "what is found is what was looked for");
	claim_name(names.runtime, 16);
	claim_name(names.sandbox, 253);
	claim_name(names.pod, 253);
	claim_name(names.pod_uid, 253);
	claim_name(names.namespace, 253);
	claim_name(names.name, 253);
	claim_name(names.image, 1024);
	claim_name(names.cgroup, 4095);
	claim(json && container_names_put(json, &names) == 0, "there is memory");
}

static void check_file(const char *name, const uint8_t *data, size_t size)
{
	fuzz_root_write(name, data, size);
	find();
	fuzz_root_remove(name);
}

static void check_socket(const char *name, const uint8_t *data, size_t size)
{
	fuzz_root_write(name, data, size);
	_cleanup_free_ char *socket = bundle_socket(fuzz_host, CONTAINERD);
	claim(!socket || *socket == '/' || *socket == '@', "a socket has a path or a name");
	fuzz_root_remove(name);
}

static void check_path(const char *text)
{
	struct container container;
	_cleanup_free_ char *namespace = NULL, *id = NULL;

	if (container_from_cgroup(text, &container)) {
		claim(container.id[0] || container.pod_uid[0], "a container or a pod");
		claim(!container.pod_uid[0] || !container.rootless, "users have no pods");
		claim(strspn(container.id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					   "0123456789._-") == strlen(container.id),
		      "an id can be part of a path");
	}
	if (bundle_split(text, &namespace, &id) == 0) {
		claim_name(id, SIZE_MAX);
		claim(!strchr(id, '/') && *id != '.', "an id can be part of a path");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	_cleanup_free_ char *text = strndup((const char *)data + 1, size - 1);

	claim(text, "there is memory");
	switch (data[0]) {
	case 'a':
		check_socket(CONTAINERD "/address", data + 1, size - 1);
		break;
	case 'b':
		check_socket(CONTAINERD "/bootstrap.json", data + 1, size - 1);
		break;
	case 'd':
		check_file(DOCKER "/config.v2.json", data + 1, size - 1);
		break;
	case 'p':
		check_file(PODMAN "/containers.json", data + 1, size - 1);
		break;
	case 's':
		check_file(STORAGE "/config.json", data + 1, size - 1);
		break;
	case 'c':
		check_file(CONTAINERD "/config.json", data + 1, size - 1);
		break;
	default:
		check_path(text);
	}
	return 0;
}
