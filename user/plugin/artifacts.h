/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that a collector left in its folder. May block: for the supervisor, never for the
 * agent's loop.
 */
#pragma once

#include "base/json.h"

#define ARTIFACTS_BYTES_MAX (64 * MIB) /* of one call, and of one file (RLIMIT_FSIZE) */
#define ARTIFACTS_COUNT_MAX 256
#define ARTIFACTS_DEPTH_MAX 4

/*
 * Lists the regular files in and below DIRECTORY as [{name, path, bytes}] by name; no link is
 * followed. What is over a limit or no regular file is removed and counted in ret_removed. Returns
 * 0 or a negative errno.
 */
int artifacts_list(const char *directory, cJSON **ret_artifacts, unsigned *ret_removed);
