/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes by (pid, start time), which alone name a process across time: proc_pid_stat(5) field 22
 * in clock ticks since boot. None of these reads what needs the target's mmap lock (cmdline,
 * environ, maps, smaps; exe is fine), as that lock may be what a hung task holds.
 */
#pragma once

#include "base/json.h"
#include "host/host.h"

struct process {
	int64_t pid, tgid, ppid, uid;
	uint64_t start_time; /* clock ticks since boot */
	char state; /* R S D T t Z X I, as /proc tells */
	char comm[32]; /* may be printed: see plain_copy() */
	bool kernel_thread;
	int64_t threads;
	uint64_t rss_bytes;
	uint64_t
		switches; /* how often this thread was switched away from: unchanged while it hangs */
	bool namespace_init; /* pid 1 of a pid namespace below ours: its end ends all in there */
};

/* Returns 0, -ESRCH if there is none, or a negative errno. PID may be a thread's. */
int process_read(const struct host *host, int64_t pid, struct process *ret_process);

/* The same, and -ESRCH also if the start time is another: the pid has been reused. */
int process_read_same(const struct host *host, int64_t pid, uint64_t start_time,
		      struct process *ret_process);

/*
 * Opens a pidfd and then checks the start time, so that the descriptor is proven to be of that
 * process. Returns the descriptor, -ESRCH, -EXDEV if HOST's /proc shows another pid namespace than
 * ours (the number would name somebody else here), or a negative errno.
 */
int process_open(const struct host *host, int64_t pid, uint64_t start_time);

/* Every process (not thread) as PROCESSES, the caller's to free. Returns 0 or a negative errno. */
int process_list(const struct host *host, struct process **ret_processes, size_t *ret_count);

/* The process and all below it, parents first. Returns 0, -ESRCH or a negative errno. */
int process_tree(const struct host *host, int64_t pid, struct process **ret_processes,
		 size_t *ret_count);

/*
 * Which pid namespace a process is in, as a number that means nothing but itself. Returns 0, -ESRCH
 * or a negative errno.
 */
int process_pid_namespace(const struct host *host, int64_t pid, uint64_t *ret_namespace);

/* Target of /proc/PID/exe, or NULL. */
char *process_exe(const struct host *host, int64_t pid);

/* Path in the memory controller's hierarchy (v1) or the unified one (v2); NULL if unreadable. */
char *process_cgroup(const struct host *host, int64_t pid);

/* {pid, tgid, ppid, startTime, comm, state, uid, …} for `context`. NULL when out of memory. */
cJSON *process_json(const struct process *process);
