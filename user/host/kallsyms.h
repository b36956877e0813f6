/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of kernel addresses, from /proc/kallsyms. The whole table takes ten megabytes, so it is
 * read as a stream at every use and only what was asked is kept. A reading takes some 50 ms of CPU
 * time: ask for many at once.
 */
#pragma once

#include "host/host.h"

/*
 * "schedule+0x5a" or "request_wait_answer+0x1bb [fuse]" for each of ADDRESSES; "0xffff…" where no
 * symbol covers it. ret_names[i] are the caller's to free. Returns 0, -EPERM where the kernel hides
 * addresses (kptr_restrict), or a negative errno.
 */
int kallsyms_resolve(const struct host *host, const uint64_t *addresses, size_t count,
		     char **ret_names);

struct kernel_range {
	uint64_t start, end; /* end: start of the next symbol. Both 0: there is no such function */
};

/*
 * The ranges of COUNT functions. Returns 0, -EPERM where the kernel hides addresses, or a negative
 * errno.
 */
int kallsyms_ranges(const struct host *host, const char *const *names, size_t count,
		    struct kernel_range *ret_ranges);

/*
 * Start and end (start of the next symbol) of a function. 0, -ENOENT, -EPERM or a negative errno.
 */
int kallsyms_range(const struct host *host, const char *name, uint64_t *ret_start,
		   uint64_t *ret_end);
