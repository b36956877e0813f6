/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Standard error as a file: a write to it waits as long as the disk under it hangs, and poll(2)
 * cannot tell. So a process of its own does the writing, and the agent has a pipe to it.
 */
#pragma once

#include <sys/types.h>

struct log_relay {
	int file; /* standard error as it was, or -1: no relay */
	pid_t pid;
};

/* Does nothing unless standard error is a regular file. Returns 0 or a negative errno. */
int log_relay_start(struct log_relay *relay);
/* Gives the last lines a moment to be written, and standard error back. */
void log_relay_stop(struct log_relay *relay);
