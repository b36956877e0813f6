/* SPDX-License-Identifier: Apache-2.0 */
/* Mount tables: which mount a device is, and what kind. */
#pragma once

#include "host/host.h"

struct mount {
	int64_t id; /* mnt_id of /proc/PID/fdinfo/FD */
	unsigned major, minor;
	char *root, *mount_point, *fs_type, *source;
	char *options; /* of the mount, then of the filesystem: "rw,relatime,rw,memory" */
};

struct mounts {
	struct mount *items;
	size_t count;
	size_t cut; /* mounts over the cap */
};

/*
 * /proc/PID/mountinfo (PID 0: our own); at most 65536 mounts. Reading it does not touch the
 * filesystems themselves. Returns 0 or a negative errno.
 */
int mounts_read(const struct host *host, int64_t pid, struct mounts **ret_mounts);
void mounts_free(struct mounts *mounts);
DEFINE_CLEANUP(struct mounts, mounts_free);
#define _cleanup_mounts_ _cleanup_(mounts_freep)

/* The first mount of that device whose root is "/", else the first of it, or NULL. */
const struct mount *mounts_find_device(const struct mounts *mounts, unsigned major, unsigned minor);

/*
 * The mount table in which the device is seen: our own namespace's, init's, or that of one of PIDS, in
 * this order. ret_pid is 0, 1 or the pid whose /proc/PID/root leads to its mount points. Returns 0 or
 * -ENOENT.
 */
int mounts_locate(const struct host *host, unsigned major, unsigned minor, const int64_t *pids,
		  size_t count, int64_t *ret_pid, struct mounts **ret_mounts);
