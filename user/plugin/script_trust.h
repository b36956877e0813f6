/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a script may be run with the agent's rights: only root and the agent's own user may be
 * able to change it, or what lies on the way to it.
 */
#pragma once

#include <limits.h>

#include "base/problem.h"

/*
 * Checks PATH: a regular, executable file, after following symbolic links; owner and mode of the
 * file, of its folder and of every folder above, on the path given and on the one that links lead
 * to. ret_fd (may be NULL) gets it opened O_PATH; ret_resolved (may be NULL) its path without
 * links, each component of which was checked. Returns 0, -EPERM (PROBLEM says what and how to put
 * it right), or a negative errno with PROBLEM set.
 */
int script_trust(const char *path, int *ret_fd, char ret_resolved[PATH_MAX],
		 struct problem *problem);

/* The same for the folder of scripts itself and those above. Returns 0, -ENOENT, -EPERM … */
int script_folder_trust(const char *path, struct problem *problem);
