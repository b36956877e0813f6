/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel hands over whole records, but read(2) may cut one: the rest is kept for the next. */
#include "detect/iterator.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

int iterator_read(const struct bpf_link *link, char *buffer, size_t size,
		  ssize_t (*take)(void *userdata, const char *data, size_t length), void *userdata)
{
	_cleanup_close_ int fd = bpf_iter_create(bpf_link__fd(link));
	size_t filled = 0;

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t length = read(fd, buffer + filled, size - filled), taken;
		size_t at = 0;

		/* EAGAIN: a million tasks went by without a record, and the next read goes on. */
		if (length < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (length < 0)
			return -errno;
		if (length == 0)
			return filled ? -EBADMSG : 0;
		filled += (size_t)length;
		while ((taken = take(userdata, buffer + at, filled - at)) > 0)
			at += (size_t)taken;
		if (taken < 0)
			return (int)taken;
		memmove(buffer, buffer + at, filled - at);
		filled -= at;
	}
}
