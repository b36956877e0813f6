/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Container identity from a cgroup path. What is known here is how each runtime names its groups:
 * as a scope of systemd ("cri-containerd-ID.scope"), as a folder of cgroupfs ("crio-ID"), as
 * "SLICE:PREFIX:ID" where a runtime with the cgroupfs driver was given a path meant for systemd,
 * or as a bare id below a folder that tells whose it is.
 */
#include "host/container.h"

#include <ctype.h>
#include <limits.h>

#define ID_DIGITS 64
#define UUID_LENGTH 36
#define STATIC_POD_DIGITS 32 /* the hash of a static pod's manifest stands in for its uid */

/* Prefixes before "-ID" or ":ID". The longer of two that match stands first. */
static const struct {
	const char *prefix, *runtime;
} named_groups[] = {
	{"cri-containerd", "containerd"},
	{"nerdctl", "containerd"},
	{"crio", "cri-o"},
	{"docker", "docker"},
	{"libpod-payload", "podman"}, /* --cgroups=split: below the unit of a Quadlet */
	{"libpod", "podman"},
};

/* Folders whose child of 64 hexadecimal digits is a container of that runtime. */
static const struct {
	const char *folder, *runtime;
} parent_groups[] = {
	{"docker", "docker"},
	{"libpod_parent", "podman"},
};

/* Namespaces of containerd below which `ctr` and nerdctl put /NAMESPACE/ID. */
static const char *const containerd_namespaces[] = {"default", "k8s.io", "moby", "buildkit"};

static bool is_hexadecimal(const char *text, size_t length)
{
	if (strlen(text) != length)
		return false;
	for (size_t i = 0; i < length; i++)
		if (!isdigit((unsigned char)text[i]) && (text[i] < 'a' || text[i] > 'f'))
			return false;
	return true;
}

/* identifiers.Validate of containerd: letters and digits, with single . _ - between them. */
static bool is_containerd_name(const char *text)
{
	bool separator = true;

	for (const char *c = text; *c; c++) {
		bool alphanumeric = isalnum((unsigned char)*c);

		if (!alphanumeric && (separator || !strchr("._-", *c)))
			return false;
		separator = !alphanumeric;
	}
	return !separator;
}

/* A pod's uid at TEXT, to its end; kubelet writes '_' for '-', which systemd takes for a folder. */
static bool take_pod_uid(const char *text, char ret_uid[UUID_LENGTH + 1])
{
	char uid[UUID_LENGTH + 1];

	if (is_hexadecimal(text, STATIC_POD_DIGITS)) {
		memcpy(ret_uid, text, STATIC_POD_DIGITS + 1);
		return true;
	}
	if (strlen(text) != UUID_LENGTH)
		return false;
	for (size_t i = 0; i <= UUID_LENGTH; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		uid[i] = text[i] == '_' ? '-' : text[i];
		if (i < UUID_LENGTH && dash != (uid[i] == '-'))
			return false;
		if (i < UUID_LENGTH && !dash && !isxdigit((unsigned char)uid[i]))
			return false;
	}
	memcpy(ret_uid, uid, sizeof(uid));
	return true;
}

/* "podUID", "kubepods-burstable-podUID" or either with ".slice". */
static bool match_pod(char *name, char ret_uid[UUID_LENGTH + 1])
{
	if (endswith(name, ".slice"))
		name[strlen(name) - strlen(".slice")] = '\0';
	for (const char *pod = name; (pod = strstr(pod, "pod")); pod++)
		if ((pod == name || pod[-1] == '-') && take_pod_uid(pod + strlen("pod"), ret_uid))
			return true;
	return false;
}

static bool match_named(const char *name, char separator, struct container *container)
{
	for (size_t i = 0; i < ARRAY_SIZE(named_groups); i++) {
		const char *id = startswith(name, named_groups[i].prefix);

		if (!id || *id != separator || !is_hexadecimal(id + 1, ID_DIGITS))
			continue;
		container->runtime = named_groups[i].runtime;
		memcpy(container->id, id + 1, ID_DIGITS + 1);
		return true;
	}
	return false;
}

/* What a bare id's place tells of its runtime. */
static const char *runtime_of_parent(const char *parent, unsigned depth, bool in_ecs, bool in_pod)
{
	for (size_t i = 0; i < ARRAY_SIZE(parent_groups); i++)
		if (streq(parent, parent_groups[i].folder))
			return parent_groups[i].runtime;
	for (size_t i = 0; i < ARRAY_SIZE(containerd_namespaces) && depth == 1; i++)
		if (streq(parent, containerd_namespaces[i]))
			return "containerd";
	if (in_ecs)
		return "docker"; /* Amazon ECS: /ecs/TASK/ID */
	/* cri-dockerd writes the same; whoever needs certainty asks the runtime. */
	return in_pod ? "containerd" : "";
}

/* /NAMESPACE/NAME of plain `ctr`, whose names are free. */
static bool match_containerd_name(const char *parent, const char *name, struct container *container)
{
	for (size_t i = 0; i < ARRAY_SIZE(containerd_namespaces); i++) {
		if (!streq(parent, containerd_namespaces[i]) || !is_containerd_name(name) ||
		    strlen(name) >= sizeof(container->id))
			continue;
		container->runtime = "containerd";
		memcpy(container->id, name, strlen(name) + 1);
		return true;
	}
	return false;
}

/* "\x2d", as systemd escapes what may not stand in a unit's name, back to the character. */
static void unescape(char *text)
{
	char *out = text;

	for (const char *in = text; *in; in++) {
		unsigned code;

		if (in[0] == '\\' && in[1] == 'x' && isxdigit((unsigned char)in[2]) &&
		    isxdigit((unsigned char)in[3]) && sscanf(in + 2, "%2x", &code) == 1 && code) {
			*out++ = (char)code;
			in += 3;
		} else {
			*out++ = *in;
		}
	}
	*out = '\0';
}

/* One folder of the path; true when it is the container's. */
static bool match_component(char *name, const char *parent, unsigned depth, bool in_ecs,
			    bool in_pod, struct container *container)
{
	char *colon = strchr(name, ':');

	if (colon && strchr(colon + 1, ':')) {
		*colon = '\0';
		match_pod(name, container->pod_uid);
		return match_named(colon + 1, ':', container);
	}
	if (endswith(name, ".scope"))
		name[strlen(name) - strlen(".scope")] = '\0';
	if (match_named(name, '-', container))
		return true;
	if (is_hexadecimal(name, ID_DIGITS)) {
		container->runtime = runtime_of_parent(parent, depth, in_ecs, in_pod);
		memcpy(container->id, name, ID_DIGITS + 1);
		return true;
	}
	if (depth == 1 && match_containerd_name(parent, name, container))
		return true;
	match_pod(name, container->pod_uid);
	return false;
}

/* "user@1000.service": what is below was made by that user, under names of his choice. */
static bool is_of_user(const char *name)
{
	return startswith(name, "user@") && endswith(name, ".service");
}

bool container_from_cgroup(const char *path, struct container *ret_container)
{
	struct container container = {.runtime = ""};
	char name[NAME_MAX * 4 + 1], parent[NAME_MAX * 4 + 1] = "";
	unsigned depth = 0;
	bool in_ecs = false;

	for (const char *next = path; *next;) {
		size_t length = strcspn(next, "/");
		const char *component = next;

		next += length + (next[length] == '/');
		/* "/../.." stands before paths seen from another cgroup namespace. */
		if (length == 0 || length >= sizeof(name) ||
		    (length == 2 && component[0] == '.' && component[1] == '.'))
			continue;
		memcpy(name, component, length);
		name[length] = '\0';
		unescape(name);
		container.rootless |= !container.pod_uid[0] && is_of_user(name);
		if (match_component(name, parent, depth, in_ecs, container.pod_uid[0],
				    &container)) {
			container.group_length = (size_t)(component + length - path);
			break;
		}
		if (depth == 0 && streq(name, "ecs"))
			in_ecs = true;
		memcpy(parent, name, sizeof(parent));
		depth++;
	}
	if (container.rootless)
		container.pod_uid[0] = '\0';
	*ret_container = container;
	return container.id[0] || container.pod_uid[0];
}

int container_id_width(const char *id)
{
	return is_hexadecimal(id, ID_DIGITS) ? 12 : (int)strlen(id);
}
