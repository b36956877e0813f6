/* SPDX-License-Identifier: Apache-2.0 */
/* Owner and mode of scripts and of the folders on the way to them. */
#include "plugin/script_trust.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/cleanup.h"

/*
 * The group bits count as others' too: whoever is in the group is not root, and with a POSIX ACL
 * they are its mask, so that a named user's right to write shows there (acl(5)).
 */
static int status_trust(const char *path, const struct stat *status, bool sticky_is_fine,
			struct problem *problem)
{
	if (status->st_uid != 0 && status->st_uid != geteuid())
		return problem_set(problem, -EPERM, "",
				   "%s belongs to user %u, who could change it: chown root %s",
				   path, status->st_uid, path);
	if (!(status->st_mode & (S_IWGRP | S_IWOTH)))
		return 0;
	/* In a sticky folder (/tmp) nobody renames or removes what is not theirs. */
	if (sticky_is_fine && S_ISDIR(status->st_mode) && (status->st_mode & S_ISVTX))
		return 0;
	return problem_set(problem, -EPERM, "", "%s is writable by %s (mode %04o): chmod go-w %s",
			   path, status->st_mode & S_IWOTH ? "everyone" : "its group",
			   status->st_mode & 07777, path);
}

/* The folder that holds PATH strictly, those above with sticky ones allowed. */
static int parents_trust(const char *path, struct problem *problem)
{
	char parent[PATH_MAX];
	struct stat status;
	bool direct = true;

	if (path[0] != '/')
		return problem_set(problem, -EINVAL, "", "%s is not an absolute path", path);
	if (snprintf(parent, sizeof(parent), "%s", path) >= (int)sizeof(parent))
		return problem_set(problem, -ENAMETOOLONG, "", "%s is too long a path", path);
	for (char *slash; (slash = strrchr(parent, '/')); direct = false) {
		bool root = slash == parent;

		slash[root] = '\0'; /* keeps the slash of "/" */
		if (stat(parent, &status) < 0)
			return problem_set(problem, -errno, "", "cannot look at %s: %s", parent,
					   strerror(errno));
		int r = status_trust(parent, &status, !direct, problem);
		if (r < 0)
			return r;
		if (root)
			return 0;
	}
	return 0;
}

/* Opens PATH and finds out where it really is, checking everything on the way. */
static int open_trusted(const char *path, int *ret_fd, char ret_resolved[PATH_MAX],
			struct stat *ret_status, struct problem *problem)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);
	char link[64];
	struct stat status, there;

	if (fd < 0)
		return problem_set(problem, -errno, "", "cannot open %s: %s", path,
				   strerror(errno));
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t length = readlink(link, ret_resolved, PATH_MAX - 1);
	if (length < 0)
		return problem_set(problem, -errno, "", "cannot resolve %s: %s", path,
				   strerror(errno));
	ret_resolved[length] = '\0';
	int r = parents_trust(path, problem);
	if (r == 0)
		r = parents_trust(ret_resolved, problem);
	if (r < 0)
		return r;
	if (fstat(fd, &status) < 0 || stat(ret_resolved, &there) < 0)
		return problem_set(problem, -errno, "", "cannot look at %s: %s", path,
				   strerror(errno));
	if (status.st_dev != there.st_dev || status.st_ino != there.st_ino)
		return problem_set(problem, -EAGAIN, "", "%s was replaced while it was looked at",
				   path);
	*ret_fd = TAKE_FD(fd);
	*ret_status = status;
	return 0;
}

int script_trust(const char *path, int *ret_fd, char ret_resolved[PATH_MAX],
		 struct problem *problem)
{
	_cleanup_close_ int fd = -1;
	char resolved[PATH_MAX];
	struct stat status;
	int r = open_trusted(path, &fd, resolved, &status, problem);

	if (r < 0)
		return r;
	if (!S_ISREG(status.st_mode))
		return problem_set(problem, -EPERM, "", "%s is not a regular file", resolved);
	r = status_trust(resolved, &status, false, problem);
	if (r < 0)
		return r;
	if (!(status.st_mode & S_IXUSR))
		return problem_set(problem, -EACCES, "", "%s is not executable: chmod +x %s",
				   resolved, resolved);
	if (ret_resolved)
		memcpy(ret_resolved, resolved, strlen(resolved) + 1);
	if (ret_fd)
		*ret_fd = TAKE_FD(fd);
	return 0;
}

int script_folder_trust(const char *path, struct problem *problem)
{
	_cleanup_close_ int fd = -1;
	char resolved[PATH_MAX];
	struct stat status;
	int r = open_trusted(path, &fd, resolved, &status, problem);

	if (r < 0)
		return r;
	if (!S_ISDIR(status.st_mode))
		return problem_set(problem, -ENOTDIR, "", "%s is not a folder", resolved);
	return status_trust(resolved, &status, false, problem);
}
