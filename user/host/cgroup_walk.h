/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every group of one hierarchy, one after another, and as few at a time as the caller likes: a node
 * has thousands, and the agent's loop has other work between them.
 */
#pragma once

#include "host/cgroup.h"

struct cgroup_walk;

struct cgroup_walk_group {
	int fd; /* of its folder; the walk's */
	const char *path; /* in the hierarchy, "/" for its root; the walk's */
	uint64_t id; /* inode number of the folder, which is the kernel's id of the group (v2) */
};

/*
 * Of the hierarchy that has CONTROLLER (see cgroup_open). Returns 0, -EOPNOTSUPP if none has, or a
 * negative errno. HOST must outlive it.
 */
int cgroup_walk_new(const struct host *host, const char *controller, struct cgroup_walk **ret_walk);
void cgroup_walk_free(struct cgroup_walk *walk);
DEFINE_CLEANUP(struct cgroup_walk, cgroup_walk_free);

enum cgroup_version cgroup_walk_version(const struct cgroup_walk *walk);

/*
 * The next group, a parent before what is below it; valid until the next call. One that is removed
 * meanwhile is left out, and so is what is deeper than 32 levels. Returns 0, -ENODATA at the end (and
 * begins anew), or a negative errno.
 */
int cgroup_walk_next(struct cgroup_walk *walk, struct cgroup_walk_group *ret_group);

/* What is below the group that was given last is left out. */
void cgroup_walk_skip(struct cgroup_walk *walk);
