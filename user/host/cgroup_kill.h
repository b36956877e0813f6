/* SPDX-License-Identifier: Apache-2.0 */
/* Ending all that is in one control group, and nothing else. */
#pragma once

#include "base/clock.h"
#include "host/cgroup.h"

struct cgroup_killed {
	size_t found; /* processes in it at the beginning */
	size_t left; /* that are in it at the end */
	int64_t example; /* one of those */
};

/*
 * Kills what is in the group whose folder is open as GROUP_FD, and below it, forks included: by
 * cgroup.kill (Linux 5.14, v2), else by rounds of SIGKILL, each process by a pidfd that was checked
 * against its start time and while it was in the group. Waits until the group is empty, at most
 * WITHIN_NS; what does not end within is no error. Returns 0 or a negative errno; ret_killed is
 * written in any case.
 */
int cgroup_kill(const struct host *host, const struct clock *clock, int group_fd,
		uint64_t within_ns, struct cgroup_killed *ret_killed);
