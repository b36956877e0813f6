/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of what tells a container's names: the OCI configuration and its annotations, the address
 * beside it, Docker's and Podman's files, and a cgroup path. The first byte says which. Besides not to
 * crash, what comes of it can be printed, and no name is longer than its field. Built like
 * fuzz_documents, with the sources of user/host and user/base; the files lie in a folder of its own.
 */
#include <sys/stat.h>

#include "base/file.h"
#include "base/plain.h"
#include "host/container_names.h"
#include "host/shim_bundle.h"

#define ID "3f4e8c1b2a7d9e0f1c2b3a495867d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9"
#define CONTAINERD "/run/containerd/io.containerd.runtime.v2.task/k8s.io/" ID
#define STORAGE "/run/containers/storage/overlay-containers/" ID "/userdata"
#define DOCKER "/var/lib/docker/containers/" ID
#define PODMAN "/var/lib/containers/storage/overlay-containers"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct host *host;

static void claim(bool claim_holds, const char *claim_text)
{
	if (claim_holds)
		return;
	fprintf(stderr, "not so: %s\n", claim_text);
	abort();
}

static void remove_tree(void)
{
	static const char *const paths[] = {CONTAINERD "/config.json",
					    CONTAINERD "/address",
					    CONTAINERD "/bootstrap.json",
					    STORAGE "/config.json",
					    DOCKER "/config.v2.json",
					    PODMAN "/containers.json",
					    CONTAINERD,
					    STORAGE,
					    DOCKER,
					    PODMAN,
					    "/proc",
					    "/sys"};
	char path[512];

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		snprintf(path, sizeof(path), "%s%s", host->root, paths[i]);
		/* Each with the folders above it that it leaves empty. */
		while (strlen(path) >= strlen(host->root) && remove(path) == 0)
			*strrchr(path, '/') = '\0';
	}
	host_free(host);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static char root[] = "/tmp/lifeboat-fuzz-XXXXXX";
	static const char *const folders[] = {CONTAINERD, STORAGE, DOCKER, PODMAN, "/proc", "/sys"};
	char path[512];

	claim(mkdtemp(root), "a folder can be made");
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		snprintf(path, sizeof(path), "%s%s", root, folders[i]);
		claim(directory_make(path, 0700) == 0, "a folder can be made");
	}
	claim(host_open(root, &host) == 0, "the folder can be a root");
	atexit(remove_tree);
	return 0;
}

static void write_file(const char *name, const uint8_t *data, size_t size)
{
	char path[512];

	snprintf(path, sizeof(path), "%s%s", host->root, name);
	_cleanup_fclose_ FILE *file = fopen(path, "we");
	claim(file && fwrite(data, 1, size, file) == size, "the file can be written");
}

static void remove_file(const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s%s", host->root, name);
	claim(remove(path) == 0, "the file can be removed");
}

static void claim_name(const char *text, size_t maximum)
{
	if (!text)
		return;
	_cleanup_free_ char *plain = malloc(strlen(text) + 1);

	claim(plain, "there is memory");
	plain_copy(plain, text, strlen(text));
	claim(streq(plain, text), "what a name is can be printed");
	claim(*text && strlen(text) <= maximum, "a name is neither empty nor endless");
}

static void find(void)
{
	_cleanup_container_names_ struct container_names names = {0};
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (container_names_find(host, ID, true, &names) < 0)
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
	write_file(name, data, size);
	find();
	remove_file(name);
}

static void check_socket(const char *name, const uint8_t *data, size_t size)
{
	write_file(name, data, size);
	_cleanup_free_ char *socket = bundle_socket(host, CONTAINERD);
	claim(!socket || *socket == '/' || *socket == '@', "a socket has a path or a name");
	remove_file(name);
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
