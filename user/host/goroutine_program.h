/* SPDX-License-Identifier: Apache-2.0 */
/* What has to be known of a process before it is sent the signal that makes a goroutine dump. */
#pragma once

#include "host/host.h"

struct program {
	bool go; /* made by Go's linker */
	bool wide; /* of 64 bits */
};

/* Returns 0 (also for what is no ELF file), -ESRCH or a negative errno. */
int program_read(const struct host *host, int64_t pid, struct program *ret_program);

/*
 * Whether signal NUMBER is caught, and the pid of a debugger, or 0. Returns 0, -ESRCH or a negative
 * errno.
 */
int process_signal_state(const struct host *host, int64_t pid, int number, bool *ret_caught,
			 int64_t *ret_tracer);

/* True if FD of the process is a pipe that nobody can read from any more. */
bool process_output_is_closed(const struct host *host, int64_t pid, int fd);
