/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of everything that a subreaper has below itself. As orphans come to the subreaper, it has
 * ended all of them once waitpid(2) knows of no child.
 */
#pragma once

#include "host/host.h"

/* Makes this process the subreaper of all it starts. Returns 0 or a negative errno. */
int descendants_adopt(void);

/*
 * Sends SIGKILL to all descendants and reaps them, over and over for at most WITHIN_NS, as they may
 * be forking. ret_reaped gets how many ended, ret_left how many are still there: stuck in the
 * kernel.
 */
void descendants_end(const struct host *host, uint64_t within_ns, unsigned *ret_reaped,
		     unsigned *ret_left);
