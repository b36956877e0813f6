/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the recoveries of a former agent are over. Each agent locks one byte, chosen at random,
 * of a file that all agents of a socket share; the supervisors of its recover steps inherit that
 * lock. The kernel drops it with the last of them, so whoever sees no lock but its own knows that
 * nothing can be done any more on behalf of an agent that is gone.
 */
#pragma once

#include <stdbool.h>

/* Opens PATH, made when missing, and locks a byte. Returns 0 or a negative errno. */
int generation_begin(const char *path, int *ret_fd);
/* False while a supervisor of another agent lives. */
bool generation_is_alone(int fd);
