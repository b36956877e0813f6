/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which runtime answers for a control group: the shim above the processes in it, and the container
 * whose own group it is. Only the runtime knows what it did on purpose (a container that it paused
 * is frozen as any other group is).
 */
#pragma once

#include "host/container_names.h"
#include "host/shim.h"

struct cgroup_owner {
	struct shim shim; /* process.pid 0: none of the processes runs under one */
	char *container; /* the container whose own group this is; NULL: none, or not known */
	const char *why_not; /* nobody can be asked, and why: for a person; static; or NULL */
};
void cgroup_owner_clear(struct cgroup_owner *owner);
#define _cleanup_cgroup_owner_ _cleanup_(cgroup_owner_clear)

/*
 * PIDS are processes in the group PATH, of which the first few are looked at. CONTAINERS may be
 * NULL; it learns of the bundle. Returns 0 or -ENOMEM.
 */
int cgroup_owner_find(const struct host *host, struct container_registry *containers,
		      const char *path, const int64_t *pids, size_t count,
		      struct cgroup_owner *ret_owner);
