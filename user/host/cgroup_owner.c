/* SPDX-License-Identifier: Apache-2.0 */
/* Whose a control group is. A group inside a container's is the business of what runs in there. */
#include "host/cgroup_owner.h"

#define PIDS_LOOKED_AT 4

void cgroup_owner_clear(struct cgroup_owner *owner)
{
	shim_clear(&owner->shim);
	free(owner->container);
	*owner = (struct cgroup_owner){0};
}

/* True if NAME, a part of a path of LENGTH bytes, is ID, "PREFIX-ID.scope" or "PREFIX:ID". */
static bool names_container(const char *name, size_t length, const char *id)
{
	size_t id_length = strlen(id);
	static const char scope[] = ".scope";

	if (length > sizeof(scope) - 1 &&
	    memcmp(name + length - (sizeof(scope) - 1), scope, sizeof(scope) - 1) == 0)
		length -= sizeof(scope) - 1;
	if (length < id_length || memcmp(name + length - id_length, id, id_length) != 0)
		return false;
	return length == id_length || strchr("-:", name[length - id_length - 1]);
}

/* True if PATH is the group of container ID itself; crun puts the processes into one below it. */
static bool is_own_group(const char *path, const char *id)
{
	size_t length = strlen(path);

	if (endswith(path, "/container"))
		length -= strlen("/container");
	size_t begin = length;

	while (begin > 0 && path[begin - 1] != '/')
		begin--;
	return *id && names_container(path + begin, length - begin, id);
}

static int find_container(struct container_registry *containers, const char *path,
			  struct cgroup_owner *owner)
{
	const struct container_names *names = NULL;
	struct container container;
	const char *id = NULL;

	container_from_cgroup(path, &container);
	if (is_own_group(path, container.id))
		id = container.id;
	else if (containers)
		names = container_registry_of_cgroup(containers, path);
	if (names && names->id && streq_ptr(names->cgroup, path))
		id = names->id;
	if (!id)
		return 0;
	owner->container = strdup(id);
	return owner->container ? 0 : -ENOMEM;
}

int cgroup_owner_find(const struct host *host, struct container_registry *containers,
		      const char *path, const int64_t *pids, size_t count,
		      struct cgroup_owner *ret_owner)
{
	_cleanup_cgroup_owner_ struct cgroup_owner owner = {0};
	int r = -ESRCH;

	for (size_t i = 0; i < MIN(count, (size_t)PIDS_LOOKED_AT) && r < 0; i++)
		r = shim_of_process(host, pids[i], &owner.shim);
	if (r == 0 && owner.shim.bundle && containers)
		container_registry_learn(containers, owner.shim.bundle);
	r = find_container(containers, path, &owner);
	if (r < 0)
		return r;
	if (!owner.shim.process.pid)
		owner.why_not = "it belongs to no container of a runtime that could be asked";
	else if (!owner.container)
		owner.why_not = "it is not a container's own group, which is all that a runtime "
				"could tell of";
	else if (owner.shim.kind != SHIM_CONTAINERD_V1 && owner.shim.kind != SHIM_CONTAINERD_V2)
		owner.why_not = "its runtime (CRI-O, Podman) keeps in its own database alone what "
				"it paused";
	*ret_owner = owner;
	owner = (struct cgroup_owner){0};
	return 0;
}
