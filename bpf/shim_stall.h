/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What shim_stall.bpf.c and the agent share: the records of a look, and the control block. To be
 * included after events.h.
 */
#pragma once

#define SHIM_NAMES_MAX 8
/* Records of a look; what is over is counted as lost. */
#define SHIM_RECORDS_MAX 1024
#define SHIM_TASK_RECORDS_MAX 16384

/* A comm of 16 bytes matches if it is VALUE where MASK is set. */
struct shim_name {
	__u64 value[2], mask[2];
};

struct shim_stall_control {
	struct shim_name names[SHIM_NAMES_MAX]; /* unused ones: value 1, mask 0 */
	__u32 everything; /* write SHIM_TASK_LISTED of each process, and nothing else */
	__u32 pad;

	/* Kept by the iterator; the agent sets them to 0 before each look. */
	__u64 tasks; /* seen */
	__u32 shims, shim_tasks; /* records */
	__u32 left_out; /* records over the limits */
	__u32 left_out_from; /* the first process without one; they come by pid. 0: none */
	__u32 last_pid;
	__u32 pad2;
};

/* A process whose comm is a shim's. */
struct shim_event {
	struct event_header header;
	struct event_task task;
	__u32 state; /* task_struct.__state of its first thread */
	__u32 traced; /* task_struct.ptrace of its first thread is not 0 */
	__u32 tracer_tgid;
	__u32 pad;
	char tracer_comm[EVENT_COMM_SIZE];
};

_Static_assert(sizeof(struct shim_event) == 24 + 56 + 16 + EVENT_COMM_SIZE,
	       "shim_event is the wire format");

enum shim_task_flags {
	SHIM_TASK_ZOMBIE = 1 << 0, /* ended, and to be reaped by its parent */
	SHIM_TASK_DYING_INIT =
		1 << 1, /* init of a pid namespace, killed or exiting, not yet ended */
	SHIM_TASK_HOLDER = 1 << 2, /* another one in the namespace of a dying init */
	SHIM_TASK_LISTED = 1 << 3, /* any process: shim_pid is its parent, whoever that is */
};

/* A process whose parent is a shim, or that is left in the pid namespace of a dying init. */
struct shim_task_event {
	struct event_header header;
	__u64 shim_start_boot_ns;
	__u64 start_boot_ns;
	__u32 shim_pid; /* its parent, if that is a shim; or 0 */
	__u32 pid;
	__u32 state; /* task_struct.__state of its first thread, or of one that lives on */
	__u32 flags; /* enum shim_task_flags */
	__u32 pid_namespace; /* inode number; 0: the initial one, or not read */
	__u32 remaining; /* pids in it besides the init's own, of a dying init */
	char comm[EVENT_COMM_SIZE];
};

_Static_assert(sizeof(struct shim_task_event) == 24 + 40 + EVENT_COMM_SIZE,
	       "shim_task_event is the wire format");
