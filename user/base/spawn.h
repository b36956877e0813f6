/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a program without waiting for it. posix_spawn(3) and vfork(2) return when the child has
 * executed, and so wait for the disk that the program is on, which may be what hangs.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Descriptors handed to a child at most: it finds them as 3, 4 … */
#define SPAWN_FDS_MAX 2

/*
 * Executes PROGRAM (a path; /proc/self/exe is this program) with ARGUMENTS and FDS (COUNT of them).
 * The child has nothing else that is open here but standard error; its standard input and output
 * are /dev/null and it blocks no signal. A program that cannot be executed shows as exit status
 * 127. The caller reaps *ret_pid, whose *ret_pidfd is CLOEXEC. Returns 0 or a negative errno.
 */
int spawn(const char *program, char *const arguments[], const int fds[], int count, pid_t *ret_pid,
	  int *ret_pidfd);

/*
 * For workers, which may wait: executes PROGRAM and reads its standard output, at most MAXIMUM bytes.
 * Killed and reaped when WITHIN_NS are over. Returns 0 with the text (the caller's to free) and the
 * status of waitpid(2); -ETIMEDOUT; -EFBIG; or another negative errno.
 */
int spawn_read(const char *program, char *const arguments[], uint64_t within_ns, size_t maximum,
	       char **ret_text, int *ret_status);

/* In a forked child that executes nothing: closes all but 0, 1 and 2. */
void spawn_close_inherited(void);
