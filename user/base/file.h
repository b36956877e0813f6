/* SPDX-License-Identifier: Apache-2.0 */
/* Whole small files, read and written with a cap and without surprises. */
#pragma once

#include <sys/types.h>

#include "base/macro.h"

/*
 * Reads PATH (relative to DIR_FD, or AT_FDCWD) whole, up to MAXIMUM bytes; works for files of /proc
 * and /sys, whose size is 0. ret_text is NUL-terminated and the caller's to free.
 * Returns 0, -EFBIG if there is more than MAXIMUM, or a negative errno.
 */
int file_read(int dir_fd, const char *path, size_t maximum, char **ret_text, size_t *ret_length);

/*
 * The same where somebody else may have chosen what lies there: -ELOOP for a symbolic link, -ENXIO for a
 * device, a FIFO or a socket, which are not opened (that alone starts a watchdog, or rewinds a tape).
 */
int file_read_regular(const char *path, size_t maximum, char **ret_text, size_t *ret_length);

/* The same for an open descriptor, from its current offset. */
int file_read_fd(int fd, size_t maximum, char **ret_text, size_t *ret_length);

/*
 * One number alone in a small file of /proc or /sys ("max" gives UINT64_MAX). 0 or a negative
 * errno.
 */
int file_read_u64(int dir_fd, const char *path, uint64_t *ret_value);

/*
 * The number after KEY and blanks at the start of a line ("oom_kill 3" of memory.events, "MemTotal:
 * 12 kB" of meminfo). Returns 0, -ENODATA if no line starts so, or a negative errno.
 */
int file_read_keyed_u64(int dir_fd, const char *path, const char *key, uint64_t *ret_value);

/*
 * Writes all of DATA to FD, resuming after EINTR and short writes. Returns 0 or a negative errno.
 */
int file_write_fd(int fd, const void *data, size_t length);

/*
 * Replaces PATH by way of a temporary file beside it, synced, with MODE. Returns 0 or a negative
 * errno.
 */
int file_write_atomic(const char *path, const void *data, size_t length, mode_t mode);

/*
 * Locks FD (flock(2), exclusive), waiting up to WITHIN_NS: a child that was forked a moment before its
 * parent was killed holds what its parent had locked until it has executed. Returns 0, -EWOULDBLOCK
 * if somebody else has it still, or another negative errno.
 */
int file_lock(int fd, uint64_t within_ns);

/* Creates PATH and its parents with MODE where they are missing. Returns 0 or a negative errno. */
int directory_make(const char *path, mode_t mode);
