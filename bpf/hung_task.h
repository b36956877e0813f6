/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What hung_task.bpf.c and the agent share besides records: the control block and the map of waits.
 */
#pragma once

#define BLOCKED_TASKS_MAX 8192

struct address_range {
	__u64 start, end; /* end excluded; both 0: not in this kernel */
};

/* Functions in which the kernel wakes a waiter from time to time for no reason but khungtaskd. */
#define TICKING_FUNCTIONS_MAX 4

enum filesystem_walk { WALK_OFF, WALK_WANTED, WALK_COMPLETE, WALK_BROKEN };

struct hung_task_control {
	/* Set by the agent before each look. */
	__u64 look; /* number of this look, from 1 */
	__u64 threshold_ns;
	__u64 tick_ns; /* such a waiter is woken this often; 0: never */
	struct address_range ticking[TICKING_FUNCTIONS_MAX];
	struct address_range fuse_wait; /* request_wait_answer */
	struct address_range freeze_wait; /* percpu_rwsem_wait */
	struct address_range scheduler; /* __sched_text_start to __sched_text_end */
	__u32 kernel_threads; /* whether they are looked at */
	__u32 walk; /* enum filesystem_walk */

	/* Kept by the iterator; the agent sets the counters to 0 before each look. */
	__u64 tasks; /* seen */
	__u64 blocked; /* of them uninterruptible, or waiting for a FUSE server */
	__u64 waiting; /* of them in the same wait as at the look before */
	__u64 freeze_waiting; /* of them in freeze_wait */
	__u64 records;
	__u64 filesystems; /* walked over */
	__u64 walk_first, walk_cursor;
	__u32 last_pid;
	__u32 pad;
};

/* A wait, by thread id: the map blocked_tasks. */
struct blocked_wait {
	__u64 start_boot_ns; /* of the thread: another one is another wait */
	__u64 since_boot_ns; /* the first look that saw it */
	__u64 look; /* the last look that saw it */
	__u64 switches; /* context switches at the first look */
	__u64 io_accounting; /* sum of the task's I/O counters, which no waiter moves */
	__u64 stack_hash;
	__u32 state;
	__u32 looks_detailed; /* looks that sent the whole record */
	__u32 freeze_wait; /* it sleeps in control.freeze_wait */
	__u32 pad;
	char comm[EVENT_COMM_SIZE];
};
