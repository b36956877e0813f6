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

/* True if the node has nothing at FOLDER (a bundle that was removed), or what PROCESS works in. */
static bool is_same_folder(const struct host *host, int64_t pid, const char *folder)
{
	_cleanup_free_ char *path = NULL;
	struct statx there, its;
	char link[64];

	if (asprintf(&path, "%s%s", host->root, folder) < 0) {
		path = NULL;
		return false;
	}
	snprintf(link, sizeof(link), "%" PRId64 "/cwd", pid);
	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_INO, &there) < 0)
		return errno == ENOENT || errno == ENOTDIR;
	return statx(host->proc, link, AT_STATX_DONT_SYNC, STATX_INO, &its) == 0 &&
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
	       is_same_folder(host, process->pid, folder);
}

bool shim_id_is_taken(const struct host *host, const char *id)
{
	_cleanup_container_names_ struct container_names names = {0};

	return container_names_find(host, id, false, &names) != -ENOENT;
}
