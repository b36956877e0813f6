/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups, v1, v2 and hybrid behind one face: a group is its path in the hierarchy of a
 * controller ("/kubepods/…"), and this finds the folder and the right file names.
 */
#pragma once

#include "base/json.h"
#include "host/host.h"

enum cgroup_version { CGROUP_NONE, CGROUP_V1, CGROUP_V2 };

/*
 * Opens the folder of PATH for CONTROLLER ("memory", "pids", "cpu", "io", "freezer", or "" for the unified
 * hierarchy) by way of mountinfo. Returns a directory descriptor, -ENOENT if the group is gone,
 * -EOPNOTSUPP if no hierarchy has that controller, or a negative errno.
 */
int cgroup_open(const struct host *host, const char *controller, const char *path,
		enum cgroup_version *ret_version);

struct cgroup_memory {
	enum cgroup_version version;
	uint64_t usage_bytes, limit_bytes; /* limit UINT64_MAX: none */
	uint64_t oom_kills, fail_count; /* fail_count: v1 memory.failcnt, v2 memory.events max */
};

/* Returns 0, -ENOENT if the group is gone, or a negative errno. */
int cgroup_memory_read(const struct host *host, const char *path, struct cgroup_memory *ret_memory);

/* Process ids in the group itself and below. The caller frees. Returns 0, -ENOENT or a negative errno. */
int cgroup_processes(const struct host *host, const char *controller, const char *path,
		     int64_t **ret_pids, size_t *ret_count);

/* The same of the group whose folder is open as GROUP_FD, whatever is at its path by now. */
int cgroup_processes_of(int group_fd, int64_t **ret_pids, size_t *ret_count);

/*
 * Removes the group PATH and those below it, in every hierarchy, as far as nothing is in them: the
 * kernel refuses the others. Returns 0 or a negative errno; ret_removed and ret_left are how many
 * were removed and how many are still there.
 */
int cgroup_remove(const struct host *host, const char *path, size_t *ret_removed, size_t *ret_left);

/* All counters of the group, every controller: {memory: {…}, pids: {…}, cpu: …, pressure: …}, or NULL. */
cJSON *cgroup_counters(const struct host *host, const char *path);
