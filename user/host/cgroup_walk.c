/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk over a hierarchy of control groups that can stop after each of them: the folders on the way
 * down are kept open, which does not keep a group from being removed.
 */
#include "host/cgroup_walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#define DEPTH_MAX 32

struct level {
	DIR *folder;
	size_t path_length;
};

struct cgroup_walk {
	const struct host *host;
	char *controller;
	enum cgroup_version version;
	char path[PATH_MAX];
	struct level levels[DEPTH_MAX]; /* folders on the way down to the group given last */
	size_t depth;
	int given_fd; /* the group given last, until it is known whether to go down */
	bool under_way;
};

int cgroup_walk_new(const struct host *host, const char *controller, struct cgroup_walk **ret_walk)
{
	_cleanup_(cgroup_walk_freep) struct cgroup_walk *walk = calloc(1, sizeof(*walk));

	if (!walk)
		return -ENOMEM;
	walk->given_fd = -1;
	walk->host = host;
	walk->controller = strdup(controller);
	_cleanup_close_ int fd = cgroup_open(host, controller, "/", &walk->version);

	if (!walk->controller)
		return -ENOMEM;
	if (fd < 0)
		return fd;
	*ret_walk = TAKE_PTR(walk);
	return 0;
}

static void rise(struct cgroup_walk *walk)
{
	closedir(walk->levels[--walk->depth].folder);
}

void cgroup_walk_free(struct cgroup_walk *walk)
{
	if (!walk)
		return;
	while (walk->depth)
		rise(walk);
	if (walk->given_fd >= 0)
		close(walk->given_fd);
	free(walk->controller);
	free(walk);
}

enum cgroup_version cgroup_walk_version(const struct cgroup_walk *walk)
{
	return walk->version;
}

static int give(struct cgroup_walk *walk, int fd, struct cgroup_walk_group *ret_group)
{
	struct stat status;

	walk->given_fd = fd;
	if (fstat(fd, &status) < 0)
		return -errno;
	*ret_group = (struct cgroup_walk_group){
		.fd = fd,
		.path = walk->path[0] ? walk->path : "/",
		.id = status.st_ino,
	};
	return 0;
}

/* Goes down into the group given last. */
static void descend(struct cgroup_walk *walk)
{
	_cleanup_close_ int fd = TAKE_FD(walk->given_fd);
	DIR *folder = walk->depth < DEPTH_MAX ? fdopendir(fd) : NULL;

	if (!folder)
		return;
	TAKE_FD(fd);
	walk->levels[walk->depth++] =
		(struct level){.folder = folder, .path_length = strlen(walk->path)};
}

/* Opens the next folder in LEVEL. Returns -ENODATA when there is none. */
static int open_next(struct cgroup_walk *walk, const struct level *level)
{
	size_t length = level->path_length;

	for (const struct dirent *entry; (entry = readdir(level->folder));) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.' ||
		    length + 1 + strlen(entry->d_name) >= sizeof(walk->path))
			continue;
		int fd = openat(dirfd(level->folder), entry->d_name,
				O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
			return -errno;
		if (fd < 0)
			continue; /* removed */
		snprintf(walk->path + length, sizeof(walk->path) - length, "/%s", entry->d_name);
		return fd;
	}
	return -ENODATA;
}

int cgroup_walk_next(struct cgroup_walk *walk, struct cgroup_walk_group *ret_group)
{
	if (!walk->under_way) {
		walk->path[0] = '\0';
		int fd = cgroup_open(walk->host, walk->controller, "/", &walk->version);

		walk->under_way = fd >= 0;
		return fd < 0 ? fd : give(walk, fd, ret_group);
	}
	if (walk->given_fd >= 0)
		descend(walk);
	while (walk->depth) {
		int fd = open_next(walk, &walk->levels[walk->depth - 1]);

		if (fd >= 0)
			return give(walk, fd, ret_group);
		if (fd != -ENODATA)
			return fd;
		rise(walk);
	}
	walk->under_way = false;
	return -ENODATA;
}

void cgroup_walk_skip(struct cgroup_walk *walk)
{
	if (walk->given_fd >= 0)
		close(TAKE_FD(walk->given_fd));
}
