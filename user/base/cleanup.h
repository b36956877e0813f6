/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ownership by scope: a variable marked with one of these is released when it leaves scope, unless
 * TAKE_PTR or TAKE_FD handed it to somebody else first.
 */
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(function) __attribute__((cleanup(function)))

/* Evaluates to the pointer and leaves NULL behind: the caller now owns it. */
#define TAKE_PTR(pointer)                           \
	({                                          \
		__auto_type taken_ptr_ = (pointer); \
		(pointer) = NULL;                   \
		taken_ptr_;                         \
	})

/* Evaluates to the descriptor and leaves -1 behind. */
#define TAKE_FD(fd)                   \
	({                            \
		int taken_fd_ = (fd); \
		(fd) = -1;            \
		taken_fd_;            \
	})

/* Defines NAMEp, the cleanup function of a type whose destructor is NAME(type *). */
#define DEFINE_CLEANUP(type, name)                 \
	static inline void name##p(type **pointer) \
	{                                          \
		if (*pointer)                      \
			name(*pointer);            \
	}                                          \
	struct cleanup_semicolon_

static inline void freep(void *pointer)
{
	free(*(void **)pointer);
}

static inline void closep(const int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

static inline void fclosep(FILE **file)
{
	if (*file)
		fclose(*file);
}

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)
#define _cleanup_fclose_ _cleanup_(fclosep)
