/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one OCI configuration says of its container. Which annotations are believed depends on who
 * wrote the file, as that runtime sets them itself: those of another runtime a user may have put
 * there (CRI-O copies all annotations of a pod) to be taken for somebody else.
 */
#include "host/container_names.h"

#include <fcntl.h>

#include "base/file.h"
#include "base/plain.h"
#include "host/container_sources.h"
#include "host/shim_bundle.h"

/* A pod's environment grows with the services of its namespace; execve takes 2 MiB by default. */
#define CONFIG_BYTES_MAX (4 * MIB)
#define NAME_BYTES_MAX 253 /* as the fields of kernelEvent.container */
#define IMAGE_BYTES_MAX 1024
#define CGROUP_BYTES_MAX 4095

/* Docker's namespace of containerd. */
#define DOCKER_NAMESPACE "moby"
/* What the kubelet calls a pod's sandbox where it asks for a container's name. */
#define SANDBOX_CONTAINER_NAME "POD"

void container_names_clear(struct container_names *names)
{
	free(names->runtime);
	free(names->id);
	free(names->sandbox);
	free(names->pod);
	free(names->pod_uid);
	free(names->namespace);
	free(names->name);
	free(names->image);
	free(names->bundle);
	free(names->cgroup);
	*names = (struct container_names){0};
}

static int set_bounded(char **field, const char *value, size_t maximum)
{
	if (*field || !value || !*value)
		return 0;
	size_t length = strnlen(value, maximum);

	*field = malloc(length + 1);
	if (!*field)
		return -ENOMEM;
	plain_copy(*field, value, length);
	return 0;
}

int container_names_set(char **field, const char *value)
{
	return set_bounded(field, value, NAME_BYTES_MAX);
}

int container_names_set_image(struct container_names *names, const char *value)
{
	return set_bounded(&names->image, value, IMAGE_BYTES_MAX);
}

int container_names_set_name(struct container_names *names, const char *value)
{
	if (names->is_sandbox && streq_ptr(value, SANDBOX_CONTAINER_NAME))
		return 0;
	return container_names_set(&names->name, value);
}

/*
 * Where a runtime says what: keys in the order of belief, ended by NULL. SANDBOX_VALUE is what `type`
 * is for a sandbox.
 */
struct vocabulary {
	const char *type, *sandbox_value;
	const char *sandbox[2], *pod[3], *namespace[3], *pod_uid[2], *name[3], *image[3];
};

/* pkg/cri/annotations of containerd; sandbox-uid since 1.7. nerdctl passes its labels on. */
static const struct vocabulary containerd_words = {
	.type = "io.kubernetes.cri.container-type",
	.sandbox_value = "sandbox",
	.sandbox = {"io.kubernetes.cri.sandbox-id"},
	.pod = {"io.kubernetes.cri.sandbox-name"},
	.namespace = {"io.kubernetes.cri.sandbox-namespace"},
	.pod_uid = {"io.kubernetes.cri.sandbox-uid"},
	.name = {"io.kubernetes.cri.container-name", "nerdctl/name"},
	.image = {"io.kubernetes.cri.image-name"},
};

/*
 * CRI-O: the kubelet's labels, then its own. It adds a sandbox's annotations in this order: its own,
 * those of the pod, which replace them, and the labels (server/sandbox_run_linux.go); so KubeName and
 * Namespace, which the sandbox alone has, may be what the maker of the pod wrote there. Image is what
 * was asked for in newer versions, ImageName what it was found under.
 */
static const struct vocabulary crio_words = {
	.type = "io.kubernetes.cri-o.ContainerType",
	.sandbox_value = "sandbox",
	.sandbox = {"io.kubernetes.cri-o.SandboxID"},
	.pod = {"io.kubernetes.pod.name", "io.kubernetes.cri-o.KubeName"},
	.namespace = {"io.kubernetes.pod.namespace", "io.kubernetes.cri-o.Namespace"},
	.pod_uid = {"io.kubernetes.pod.uid"},
	.name = {"io.kubernetes.container.name"},
	.image = {"io.kubernetes.cri-o.ImageName", "io.kubernetes.cri-o.Image"},
};

/* Podman's pods are not Kubernetes'; only their sandbox ("infra container") is named. */
static const struct vocabulary podman_words = {
	.type = "io.kubernetes.cri-o.ContainerType",
	.sandbox_value = "sandbox",
	.sandbox = {"io.kubernetes.cri-o.SandboxID"},
};

/* Labels in Docker's own file, by cri-dockerd and dockershim. */
static const struct vocabulary docker_words = {
	.type = "io.kubernetes.docker.type",
	.sandbox_value = "podsandbox",
	.sandbox = {"io.kubernetes.sandbox.id"},
	.pod = {"io.kubernetes.pod.name"},
	.namespace = {"io.kubernetes.pod.namespace"},
	.pod_uid = {"io.kubernetes.pod.uid"},
	.name = {"io.kubernetes.container.name"},
};

static const char *find_word(const cJSON *words, const char *const *keys, size_t count)
{
	for (size_t i = 0; i < count && keys[i]; i++) {
		const char *value = json_string(words, keys[i]);

		if (value && *value)
			return value;
	}
	return NULL;
}
#define FIND_WORD(words, keys) find_word(words, keys, ARRAY_SIZE(keys))

static int take_words(struct container_names *names, const cJSON *words,
		      const struct vocabulary *vocabulary)
{
	const char *type = json_string(words, vocabulary->type);

	names->is_sandbox |= type && streq(type, vocabulary->sandbox_value);
	if (container_names_set(&names->sandbox, FIND_WORD(words, vocabulary->sandbox)) < 0 ||
	    container_names_set(&names->pod, FIND_WORD(words, vocabulary->pod)) < 0 ||
	    container_names_set(&names->namespace, FIND_WORD(words, vocabulary->namespace)) < 0 ||
	    container_names_set(&names->pod_uid, FIND_WORD(words, vocabulary->pod_uid)) < 0 ||
	    container_names_set_name(names, FIND_WORD(words, vocabulary->name)) < 0 ||
	    container_names_set_image(names, FIND_WORD(words, vocabulary->image)) < 0)
		return -ENOMEM;
	return 0;
}

int container_names_take_docker_labels(struct container_names *names, const cJSON *labels)
{
	return take_words(names, labels, &docker_words);
}

/* Who wrote the configuration: told by where it lies, then by what it says. */
static const char *runtime_of(const char *namespace, const cJSON *annotations)
{
	const char *manager = json_string(annotations, "io.container.manager");

	if (namespace)
		return streq(namespace, DOCKER_NAMESPACE) ? "docker" : "containerd";
	/* First, as a pod's annotations may name another manager. */
	if (json_string(annotations, "io.kubernetes.cri-o.ContainerID"))
		return "cri-o";
	return streq_ptr(manager, "libpod") ? "podman" : NULL;
}

static int take_annotations(struct container_names *names, const cJSON *annotations)
{
	if (streq_ptr(names->runtime, "containerd"))
		return take_words(names, annotations, &containerd_words);
	if (streq_ptr(names->runtime, "cri-o"))
		return take_words(names, annotations, &crio_words);
	if (streq_ptr(names->runtime, "podman"))
		return take_words(names, annotations, &podman_words);
	return 0;
}

/* The group, and what its path tells of the pod (containerd before 1.7 does not name its uid). */
static int take_cgroup(struct container_names *names, const char *path)
{
	struct container container;

	if (!path)
		return 0;
	if (container_from_cgroup(path, &container) &&
	    container_names_set(&names->pod_uid, container.pod_uid) < 0)
		return -ENOMEM;
	/* Others are relative, or systemd's "SLICE:PREFIX:ID", which tell the id by themselves. */
	return *path == '/' && path[1] ? set_bounded(&names->cgroup, path, CGROUP_BYTES_MAX) : 0;
}

static int take_place(struct container_names *names, const char *bundle, char **ret_namespace)
{
	_cleanup_free_ char *id = NULL;
	const char *base;
	int r = bundle_split(bundle, ret_namespace, &id);

	if (r < 0 && r != -ENOENT)
		return r;
	base = strrchr(bundle, '/');
	if (container_names_set(&names->id, id ? id : base ? base + 1 : bundle) < 0)
		return -ENOMEM;
	names->bundle = strdup(bundle);
	return names->bundle ? 0 : -ENOMEM;
}

static int take_configuration(struct container_names *names, const char *bundle,
			      const cJSON *configuration)
{
	const cJSON *annotations = cJSON_GetObjectItemCaseSensitive(configuration, "annotations");
	_cleanup_free_ char *namespace = NULL;
	int r = take_place(names, bundle, &namespace);

	if (r == 0)
		r = container_names_set(&names->runtime, runtime_of(namespace, annotations));
	if (r == 0)
		r = take_annotations(names, annotations);
	if (r == 0)
		r = take_cgroup(names, json_string(json_at(configuration, "linux"), "cgroupsPath"));
	return r;
}

int container_json_read(const struct host *host, const char *folder, const char *name,
			size_t maximum, cJSON **ret_json)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	struct problem problem = {0};
	size_t length;

	if (asprintf(&path, "%s%s/%s", host->root, folder, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	int r = file_read_regular(path, maximum, &text, &length);

	if (r == 0)
		r = json_parse(text, length, ret_json, &problem);
	return r == -EINVAL ? -EBADMSG : r;
}

int container_names_read(const struct host *host, const char *bundle,
			 struct container_names *ret_names)
{
	_cleanup_container_names_ struct container_names names = {0};
	_cleanup_json_ cJSON *configuration = NULL;
	int r = container_json_read(host, bundle, "config.json", CONFIG_BYTES_MAX, &configuration);

	if (r == 0 && !json_string(configuration, "ociVersion"))
		r = -EBADMSG;
	if (r == 0)
		r = take_configuration(&names, bundle, configuration);
	if (r < 0)
		return r;
	*ret_names = names;
	names = (struct container_names){0};
	return 0;
}

int container_names_put(cJSON *json, const struct container_names *names)
{
	if (json_set_string(json, "runtime", names->runtime) < 0 ||
	    json_set_string(json, "id", names->id) < 0 ||
	    json_set_string(json, "pod", names->pod) < 0 ||
	    json_set_string(json, "podUid", names->pod_uid) < 0 ||
	    json_set_string(json, "namespace", names->namespace) < 0 ||
	    json_set_string(json, "name", names->name) < 0 ||
	    json_set_string(json, "image", names->image) < 0 ||
	    (names->is_sandbox && json_set_bool(json, "sandbox", true) < 0))
		return -ENOMEM;
	return 0;
}
