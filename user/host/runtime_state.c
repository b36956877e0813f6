/* SPDX-License-Identifier: Apache-2.0 */
/* The states of runc (state.json) and crun (status), and which of them is of a control group. */
#include "host/runtime_state.h"

#include <limits.h>

#include "host/container_sources.h"
#include "host/shim_bundle.h"

#define STATE_BYTES_MAX (4 * MIB)
#define NAMESPACES_MAX 256

/* Where shims let them keep it, a folder for each of containerd's namespaces; and where they do by themselves. */
static const char *const roots_with_namespaces[] = {"/run/containerd/runc",
						    "/run/docker/runtime-runc", NULL};
static const char *const roots[] = {"/run/runc", "/run/crun", NULL};

/*
 * True if FOLDER, in the hierarchy of CONTROLLER ("" for v2's), is where GROUP lies, and not one of that
 * name further down.
 */
static bool is_folder_of(const char *folder, const char *controller, const char *group)
{
	static const char top[] = "/sys/fs/cgroup";
	const char *rest = startswith(folder, top);

	if (!rest || !endswith(rest, group) || *group != '/')
		return false;
	size_t length = strlen(rest) - strlen(group);

	if (!*controller)
		return length == 0 ||
		       (length == strlen("/unified") && startswith(rest, "/unified"));
	return length > 1 && *rest == '/' && !memchr(rest + 1, '/', length - 1);
}

/* runc: {"cgroup_paths": {"pids": "/sys/fs/cgroup/pids/default/web"}, "config": {"labels": ["bundle=/…"]}} */
static int take_runc(const cJSON *json, const char *group, char **ret_bundle)
{
	const cJSON *item;
	const char *bundle = NULL;
	bool found = false;

	cJSON_ArrayForEach (item, json_at(json, "cgroup_paths"))
		found |= cJSON_IsString(item) &&
			 is_folder_of(item->valuestring, item->string, group);
	if (!found)
		return -ENOENT;
	cJSON_ArrayForEach (item, json_at(json, "config.labels"))
		if (cJSON_IsString(item) && startswith(item->valuestring, "bundle="))
			bundle = item->valuestring + strlen("bundle=");
	*ret_bundle = bundle ? strdup(bundle) : NULL;
	return bundle && !*ret_bundle ? -ENOMEM : 0;
}

/* crun: {"cgroup-path": "/default/web", "bundle": "/…"}, or "/default/web/container". */
static int take_crun(const cJSON *json, const char *group, char **ret_bundle)
{
	const char *path = json_string(json, "cgroup-path"), *bundle = json_string(json, "bundle");
	const char *rest = path ? startswith(path, group) : NULL;

	if (!rest || (*rest && !streq(rest, "/container")))
		return -ENOENT;
	*ret_bundle = bundle ? strdup(bundle) : NULL;
	return bundle && !*ret_bundle ? -ENOMEM : 0;
}

/* What is in ROOT/ID, if that is a state of the group. */
static int try_root(const struct host *host, const char *root, const char *id, const char *group,
		    char **ret_bundle)
{
	_cleanup_json_ cJSON *runc = NULL, *crun = NULL;
	_cleanup_free_ char *folder = NULL;

	if (asprintf(&folder, "%s/%s", root, id) < 0) {
		folder = NULL;
		return -ENOMEM;
	}
	int r = container_json_read(host, folder, "state.json", STATE_BYTES_MAX, &runc);

	if (r == 0)
		return take_runc(runc, group, ret_bundle);
	if (r == -ENOMEM)
		return r;
	r = container_json_read(host, folder, "status", STATE_BYTES_MAX, &crun);
	return r == 0 ? take_crun(crun, group, ret_bundle) : r == -ENOMEM ? r : -ENOENT;
}

static int try_namespaces(const struct host *host, const char *root, const char *id,
			  const char *group, char **ret_bundle)
{
	char **namespaces = NULL;
	size_t count = 0;
	int r = bundle_list(host, root, NAMESPACES_MAX, &namespaces, &count);

	if (r < 0)
		return r == -ENOMEM ? r : -ENOENT;
	r = -ENOENT;
	for (size_t i = 0; i < count && r == -ENOENT; i++) {
		_cleanup_free_ char *path = NULL;

		if (asprintf(&path, "%s/%s", root, namespaces[i]) < 0) {
			path = NULL;
			r = -ENOMEM;
		} else {
			r = try_root(host, path, id, group, ret_bundle);
		}
	}
	bundle_list_free(namespaces, count);
	return r;
}

int runtime_state_find(const struct host *host, const char *id, const char *group,
		       char **ret_bundle)
{
	int r = -ENOENT;

	if (!*id || *id == '.' || strchr(id, '/') || strlen(id) > NAME_MAX)
		return -ENOENT;
	for (const char *const *root = roots_with_namespaces; *root && r == -ENOENT; root++)
		r = try_namespaces(host, *root, id, group, ret_bundle);
	for (const char *const *root = roots; *root && r == -ENOENT; root++)
		r = try_root(host, *root, id, group, ret_bundle);
	return r;
}
