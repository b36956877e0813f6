/* SPDX-License-Identifier: Apache-2.0 */
/* Locks of open file descriptions (fcntl(2), F_OFD_SETLK), which a fork shares and an exec keeps. */
#include "plugin/generation.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/macro.h"

int generation_begin(const char *path, int *ret_fd)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	uint64_t place;

	if (fd < 0)
		return -errno;
	if (getrandom(&place, sizeof(place), 0) != sizeof(place))
		return -EIO;
	struct flock lock = {.l_type = F_WRLCK,
			     .l_whence = SEEK_SET,
			     .l_start = (off_t)(place % (uint64_t)(INT64_MAX / 2)),
			     .l_len = 1};
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

bool generation_is_alone(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET}; /* to the end of the file */

	return fcntl(fd, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK;
}
