/* SPDX-License-Identifier: Apache-2.0 */
/* Which shims' word is taken. */
#include "host/shim_trust.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "host/container_names.h"

static bool read_mount_namespace(const struct host *host, int64_t pid, char *name, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "%" PRId64 "/ns/mnt", pid);
	ssize_t length = readlinkat(host->proc, path, name, size - 1);
	name[MAX(length, 0)] = '\0';
	return length > 0;
}

static int stat_of_node(const struct host *host, const char *folder, struct statx *ret_status)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s%s", host->root, folder) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	return statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_INO, ret_status) < 0 ? -errno : 0;
}

bool shim_works_in(const struct host *host, int64_t pid, const char *folder)
{
	struct statx there, its;
	char link[64];

	snprintf(link, sizeof(link), "%" PRId64 "/cwd", pid);
	return stat_of_node(host, folder, &there) == 0 &&
	       statx(host->proc, link, AT_STATX_DONT_SYNC, STATX_INO, &its) == 0 &&
	       its.stx_ino == there.stx_ino && its.stx_dev_major == there.stx_dev_major &&
	       its.stx_dev_minor == there.stx_dev_minor;
}

bool shim_is_of_node(const struct host *host, const struct process *process, const char *folder)
{
	char its[64], the_nodes[64];
	struct container container;

	if (process->uid != 0 && process->uid != (int64_t)geteuid())
		return false;
	if (!read_mount_namespace(host, process->pid, its, sizeof(its)) ||
	    !read_mount_namespace(host, 1, the_nodes, sizeof(the_nodes)) || streq(its, the_nodes))
		return true;
	/* A runtime's unit may have mounts of its own (PrivateMounts=, snap); so has any container. */
	_cleanup_free_ char *group = process_cgroup(host, process->pid);
	return group && !container_from_cgroup(group, &container) &&
	       (host_lacks(host, folder) || shim_works_in(host, process->pid, folder));
}

bool shim_id_is_taken(const struct host *host, const char *id)
{
	_cleanup_container_names_ struct container_names names = {0};

	return container_names_find(host, id, false, &names) != -ENOENT;
}
