/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the low-level runtimes (runc, crun) write down of a container that they started, for themselves:
 * a small folder of their own below /run, which outlives shim and bundle when nobody tells them to
 * delete the container.
 */
#pragma once

#include "host/host.h"

/*
 * The state of container ID whose control group is GROUP: ret_bundle is the bundle that it was started
 * from, the caller's to free, NULL where that is not told. Reads below /run alone. Returns 0, -ENOENT
 * if no runtime has one, or another negative errno.
 */
int runtime_state_find(const struct host *host, const char *id, const char *group,
		       char **ret_bundle);
