/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The freezer of one control group, v1 (freezer.state) and v2 (cgroup.freeze). GROUP_FD is the
 * group's folder in the hierarchy that has it.
 */
#pragma once

#include "host/cgroup.h"

struct cgroup_freezer {
	bool asked; /* somebody froze this very group; a group above it does not count */
	bool complete; /* all that is in it has come to rest (v1 FROZEN; else FREEZING) */
	bool populated; /* something is in it or below; v1 does not tell, and it is true */
};

/* Returns 0 (a root group is never frozen), -ENODEV if the group is removed, or a negative errno. */
int cgroup_freezer_read(int group_fd, enum cgroup_version version,
			struct cgroup_freezer *ret_freezer);

/*
 * Whether what is in it runs: neither it nor a group above it is frozen. Returns 0, 1 or a negative
 * errno.
 */
int cgroup_freezer_runs(int group_fd, enum cgroup_version version);

/* Lets the group go on, unless one above it is frozen too. Returns 0 or a negative errno. */
int cgroup_freezer_thaw(int group_fd, enum cgroup_version version);

/* "FROZEN", "FREEZING" (v1); "frozen", "freezing" (v2): as its files call it. */
const char *cgroup_freezer_state(const struct cgroup_freezer *freezer, enum cgroup_version version);
