/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing whole small files. */
#include "base/file.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/clock.h"

#define LOCK_AGAIN_NS (20 * NS_PER_MS)

int file_read_fd(int fd, size_t maximum, char **ret_text, size_t *ret_length)
{
	_cleanup_buffer_ struct buffer content = BUFFER(maximum);
	ssize_t length;

	do {
		length = buffer_read(&content, fd);
		if (length == -EINTR)
			continue;
		if (length < 0)
			return (int)length;
	} while (length != 0 && content.cut == 0);
	if (content.cut)
		return -EFBIG;
	size_t total = content.length;
	char *text = buffer_take(&content);
	if (!text)
		return -ENOMEM;
	*ret_text = text;
	if (ret_length)
		*ret_length = total;
	return 0;
}

int file_read(int dir_fd, const char *path, size_t maximum, char **ret_text, size_t *ret_length)
{
	/* O_NONBLOCK: a FIFO that lies where a file is expected must not hold the agent up. */
	_cleanup_close_ int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	return file_read_fd(fd, maximum, ret_text, ret_length);
}

int file_read_regular(const char *path, size_t maximum, char **ret_text, size_t *ret_length)
{
	_cleanup_close_ int found = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat status;
	char opened[32];

	if (found < 0 || fstat(found, &status) < 0)
		return -errno;
	if (S_ISLNK(status.st_mode))
		return -ELOOP;
	if (!S_ISREG(status.st_mode))
		return S_ISDIR(status.st_mode) ? -EISDIR : -ENXIO;
	snprintf(opened, sizeof(opened), "/proc/self/fd/%d", found);
	return file_read(AT_FDCWD, opened, maximum, ret_text, ret_length);
}

int file_read_u64(int dir_fd, const char *path, uint64_t *ret_value)
{
	_cleanup_free_ char *text = NULL;
	char *end;
	int r = file_read(dir_fd, path, 4096, &text, NULL);

	if (r < 0)
		return r;
	text[strcspn(text, "\n")] = '\0';
	if (streq(text, "max")) {
		*ret_value = UINT64_MAX;
		return 0;
	}
	/* strtoull would take "-1" and blanks. */
	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);
	if (errno || *end)
		return -EINVAL;
	*ret_value = value;
	return 0;
}

int file_read_keyed_u64(int dir_fd, const char *path, const char *key, uint64_t *ret_value)
{
	_cleanup_free_ char *text = NULL;
	int r = file_read(dir_fd, path, MIB, &text, NULL);

	if (r < 0)
		return r;
	char *rest = text;

	for (const char *line; (line = strsep(&rest, "\n"));) {
		const char *value = startswith(line, key);

		if (!value || (*value != ' ' && *value != '\t'))
			continue;
		value += strspn(value, " \t");
		if (*value < '0' || *value > '9')
			return -EINVAL;
		errno = 0;
		unsigned long long number = strtoull(value, NULL, 10);

		if (errno)
			return -errno;
		*ret_value = number;
		return 0;
	}
	return -ENODATA;
}

int file_write_fd(int fd, const void *data, size_t length)
{
	const char *next = data;

	while (length) {
		ssize_t written = write(fd, next, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? -errno : -EIO;
		next += written;
		length -= (size_t)written;
	}
	return 0;
}

/* The rename itself is on disk only when the folder is. */
static int sync_parent(const char *path)
{
	char parent[PATH_MAX];

	snprintf(parent, sizeof(parent), "%s", path);
	char *slash = strrchr(parent, '/');
	if (slash)
		slash[slash == parent] = '\0';
	_cleanup_close_ int fd = open(slash ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

int file_write_atomic(const char *path, const void *data, size_t length, mode_t mode)
{
	char temporary[PATH_MAX];
	_cleanup_close_ int fd = -1;

	if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = file_write_fd(fd, data, length);
	if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0 || rename(temporary, path) < 0))
		r = -errno;
	if (r < 0) {
		unlink(temporary);
		return r;
	}
	return sync_parent(path);
}

int file_lock(int fd, uint64_t within_ns)
{
	uint64_t end_ns = clock_monotonic(clock_system()) + within_ns;

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if ((errno != EWOULDBLOCK && errno != EINTR) ||
		    clock_monotonic(clock_system()) >= end_ns)
			return -errno;
		clock_sleep(LOCK_AGAIN_NS);
	}
	return 0;
}

int directory_make(const char *path, mode_t mode)
{
	char partial[PATH_MAX];
	struct stat status;

	if (!*path)
		return -ENOENT;
	if (snprintf(partial, sizeof(partial), "%s", path) >= (int)sizeof(partial))
		return -ENAMETOOLONG;
	for (char *slash = partial + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		if (mkdir(partial, mode) < 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	if (mkdir(partial, mode) == 0)
		return 0;
	if (errno != EEXIST || stat(partial, &status) < 0)
		return -errno;
	return S_ISDIR(status.st_mode) ? 0 : -ENOTDIR;
}
