/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who looks after the processes in a control group: whoever started a container stays its parent, be
 * it a shim, conmon, `runc run` or a builder, and when that is gone, init has them all.
 */
#pragma once

#include "host/process.h"

/*
 * PIDS are all processes in the group, of which the first LOOK_AT are looked at. Finds the parent
 * outside of the group that is not the node's init, or a shim that is in the group itself (Kata's).
 * Returns 0, -ESRCH if there is none (each of them is init's child, or another's in the group),
 * -ENODATA if none of them lives, -EXDEV if one is of a pid namespace that cannot be seen from here,
 * or another negative errno.
 */
int cgroup_supervisor_find(const struct host *host, const int64_t *pids, size_t count,
			   size_t look_at, struct process *ret_supervisor);
