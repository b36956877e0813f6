/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Getting a Go program's goroutine dump: SIGUSR1 to the process, provided that it catches it, and
 * its write() calls watched with eBPF until the dump is whole, wherever it is written to (a log, a
 * closed pipe, /dev/null). For worker processes: it waits.
 *
 * What it costs: a program at sys_enter makes every system call of the machine take the slow path
 * while it is attached, about 0.1 µs each (6.18). It is attached until the dump is whole, which is some 10 ms for a
 * shim that answers, and `within_ns` for a program that does not. Only that one process's writes are
 * copied, from the one on in which a dump may begin, and of these only the dump is kept.
 * Loading it takes some 25 ms, half of which is the verifier's, which looks at 16,000 instructions
 * (5.10 to 7.2).
 *
 * What it may do to the process: SIGUSR1 is one that Go's runtime always catches and by itself
 * ignores; a program may have been written to do anything on it.
 */
#pragma once

#include "base/clock.h"
#include "base/problem.h"
#include "host/process.h"

/* Where the writes are seen, best first. */
enum goroutine_hook {
	GOROUTINE_HOOK_BEST, /* the first that this kernel offers */
	GOROUTINE_HOOK_TP_BTF,
	GOROUTINE_HOOK_RAW_TP,
};
/* Ended by NULL: "", "tp_btf/sys_enter", "raw_tp/sys_enter". */
extern const char *const goroutine_hook_names[];

struct goroutine_capture_options {
	enum goroutine_hook hook; /* this one alone */
	uint64_t within_ns; /* from signal to whole dump */
	size_t bytes_max; /* more is cut, and said so */
};

struct goroutine_capture {
	char *text; /* the bytes written, in their order; not NUL-free, nor UTF-8 */
	size_t length;
	bool truncated; /* bytes_max was reached, or bytes could not be read */
	uint64_t lost; /* records that the ring had no room for */
	enum goroutine_hook hook; /* the one that saw it */
	int64_t time; /* realtime, ns, when the signal was sent */
};
void goroutine_capture_clear(struct goroutine_capture *capture);

/*
 * Returns 0; -ESRCH if (PID, START_TIME) is gone; -EOPNOTSUPP if the process must not be sent the
 * signal (it would die of it, is no Go program, is stopped or being debugged) or this kernel cannot watch;
 * -ETIMEDOUT if it wrote no dump; or another negative errno. PROBLEM says what happened in any case of error.
 */
int goroutine_capture_take(const struct host *host, const struct clock *clock, int64_t pid,
			   uint64_t start_time, const struct goroutine_capture_options *options,
			   struct goroutine_capture *ret_capture, struct problem *problem);

/* Whether the program of PID was made by Go's linker, from its ELF notes. 1, 0 or a negative errno. */
int process_is_go(const struct host *host, int64_t pid);
