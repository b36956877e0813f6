/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The wire format between the detectors in the kernel and the agent: included by both sides, and
 * asserted on both. Every record, in the ring and from an iterator, starts with struct event_header.
 *
 * A change of any layout here, or of a map that is kept for the next agent, raises EVENTS_VERSION. The
 * agent refuses records of another version; of those that a former agent left it reads the header
 * alone, which therefore stays as it is, and tells how many there were.
 */
#pragma once

#define EVENTS_VERSION 2

#define EVENT_COMM_SIZE 16
#define EVENT_STACK_DEPTH 64
#define EVENT_SCHEDULER_DEPTH 8
/* A cgroup's path, leaf first: names of at most this many levels, each cut at this many bytes. */
#define EVENT_CGROUP_LEVELS 12
#define EVENT_CGROUP_NAME_SIZE 128

enum event_type {
	EVENT_NONE,
	EVENT_OOM_KILL, /* struct oom_event, ring */
	EVENT_BLOCKED_TASK, /* struct blocked_task_event, iterator */
	EVENT_FROZEN_FILESYSTEM, /* struct frozen_filesystem_event, iterator */
	EVENT_PROCESS_CRASH, /* struct process_crash_event, ring */
	EVENT_SHIM, /* struct shim_event of shim_stall.h, iterator */
	EVENT_SHIM_TASK, /* struct shim_task_event of shim_stall.h, iterator */
	EVENT_KERNEL_LINE, /* struct kernel_line_event of kernel_log.h, ring */
	EVENT_RECLAIM, /* no record: whose programs count reclaims, of memory_stall.bpf.c */
	EVENT_TYPE_COUNT = 32, /* room in the per-CPU loss counters */
};

struct event_header {
	__u16 type; /* enum event_type */
	__u16 version; /* EVENTS_VERSION */
	__u32 size; /* of the whole record */
	__u32 cpu;
	__u32 pad;
	__u64 boot_ns; /* CLOCK_BOOTTIME */
};

_Static_assert(sizeof(struct event_header) == 24, "event_header is the wire format");

/* A task, with what is needed to name it and to tell it from a later one with the same pid. */
struct event_task {
	__u32 pid, tgid; /* in the initial pid namespace */
	__u64 start_boot_ns; /* task_struct.start_boottime of the thread */
	__u32 uid;
	__u32 parent_tgid;
	char comm[EVENT_COMM_SIZE];
	char parent_comm[EVENT_COMM_SIZE];
};

struct event_cgroup {
	__u64 id; /* kernfs node id: the inode number of its folder */
	__u32 levels; /* used in names; the root has none */
	__u32 truncated; /* levels or bytes were cut */
	char names[EVENT_CGROUP_LEVELS][EVENT_CGROUP_NAME_SIZE]; /* leaf first */
};

_Static_assert(sizeof(struct event_task) == 56, "event_task is the wire format");
_Static_assert(sizeof(struct event_cgroup) == 16 + EVENT_CGROUP_LEVELS * EVENT_CGROUP_NAME_SIZE,
	       "event_cgroup is the wire format");

#define OOM_STACK_DEPTH 32
#define OOM_MESSAGE_SIZE 32

/* The memory counters of one cgroup, in pages. */
struct oom_level {
	__u64 cgroup_id;
	__u64 usage, maximum;
	__u64 swap_usage, swap_maximum; /* v1: of memory and swap together; v2: of swap alone */
	__u32 oom_group; /* all of its tasks die together (v2 memory.oom.group) */
	__u32 pad;
};

/* One process marked to die for memory. */
struct oom_event {
	struct event_header header;
	struct event_task victim;
	struct event_task trigger; /* whose allocation there was no memory for */
	__s64 rss_file, rss_anon, rss_swap, rss_shmem; /* pages */
	__u64 total_vm; /* pages */
	__s32 oom_score_adj;
	__u32 hierarchy; /* of the memory controller; 0: v2 */
	__u32 stack_depth; /* used in stack */
	__u32 level_count; /* used in levels */
	__u64 stack[OOM_STACK_DEPTH]; /* kernel's, innermost first */
	char message[OOM_MESSAGE_SIZE]; /* of the kernel's log line, where the hook is given it */
	struct oom_level
		levels[EVENT_CGROUP_LEVELS]; /* the victim's memory cgroup and those above it */
	struct event_cgroup cgroup; /* the victim's, of the memory controller */
};

_Static_assert(sizeof(struct oom_level) == 48, "oom_level is the wire format");
_Static_assert(sizeof(struct oom_event) == 24 + 2 * 56 + 56 + 8 * OOM_STACK_DEPTH +
						   OOM_MESSAGE_SIZE + 48 * EVENT_CGROUP_LEVELS +
						   sizeof(struct event_cgroup),
	       "oom_event is the wire format");

/* A super block. */
struct event_filesystem {
	__u32 known; /* the rest is filled */
	__u32 major, minor; /* s_dev, as in mountinfo */
	__u32 device_major, device_minor; /* of s_bdev; 0:0 where it has none */
	__u32 freeze_level; /* SB_UNFROZEN 0 … SB_FREEZE_COMPLETE 4 */
	char id[32];
	char type[16];
};

_Static_assert(sizeof(struct event_filesystem) == 72, "event_filesystem is the wire format");

enum blocked_flags {
	BLOCKED_KERNEL_THREAD = 1 << 0,
	BLOCKED_IO_WAIT = 1 << 1, /* task_struct.in_iowait */
	BLOCKED_DETAILED = 1 << 2, /* the record has its second half */
};

/* As the low two bits of task_struct.blocker (include/linux/hung_task.h, 6.16). */
enum blocked_lock_kind { LOCK_MUTEX, LOCK_SEMAPHORE, LOCK_RWSEM_READ, LOCK_RWSEM_WRITE };

/*
 * A task whose wait is older than the threshold. The second half is sent in the first looks of a
 * wait alone: it does not change, and is dear to find.
 */
struct blocked_task_event {
	struct event_header header;
	struct event_task task;
	__u64 since_boot_ns; /* the first look that found it in this wait */
	__u32 state; /* task_struct.__state */
	__u32 flags; /* enum blocked_flags */
	__u64 lock; /* address; 0 where the kernel does not tell */
	__u32 lock_kind; /* enum blocked_lock_kind */
	__u32 owner_pid,
		owner_tgid; /* 0: unknown. The owner may have exited: to be checked by start time */
	__u32 owner_state;
	__u64 owner_start_boot_ns;
	char owner_comm[EVENT_COMM_SIZE];

	__s32 syscall; /* -1: none, or unknown */
	__s32 fd; /* the descriptor that the system call works on; -1: none */
	struct event_filesystem file_filesystem; /* of that descriptor */
	struct event_filesystem stack_filesystem; /* innermost that the kernel stack refers to */
	struct event_filesystem
		frozen_filesystem; /* innermost frozen one that the kernel stack refers to */
	__u32 file_device_major, file_device_minor; /* where the descriptor is a block device */
	__u32 stack_device_major,
		stack_device_minor; /* of the innermost bio or buffer on the kernel stack */
	__u32 scheduler_depth;
	__u32 stack_depth;
	/* Return addresses into mutex_lock, io_schedule and the like, which the kernel leaves out of a stack. */
	__u64 scheduler_stack[EVENT_SCHEDULER_DEPTH];
	__u64 stack[EVENT_STACK_DEPTH]; /* what called them; innermost first */
	struct event_cgroup cgroup;
};

#define BLOCKED_TASK_FIRST_HALF 144

_Static_assert(__builtin_offsetof(struct blocked_task_event, syscall) == BLOCKED_TASK_FIRST_HALF,
	       "the first half of blocked_task_event is the wire format");

struct frozen_filesystem_event {
	struct event_header header;
	struct event_filesystem filesystem;
};

#define CRASH_STACK_DEPTH 16
#define CRASH_FILE_SIZE 48

/* As struct bpf_stack_build_id of the kernel. */
struct crash_build_id {
	__s32 status; /* 1: a build ID and an offset in that file; otherwise neither is known */
	__u8 build_id[20];
	__u64 offset;
};

/* What is put aside when a fatal signal is delivered. */
struct crash_signal {
	__u64 boot_ns; /* when */
	__u64 start_boot_ns; /* of the process */
	__u32 pid; /* thread */
	__u32 own_pid; /* of the process, in its own pid namespace */
	__s32 signal;
	__s32 code; /* si_code; at most 0: sent by a process */
	__u64 address; /* si_addr, or of the system call (SIGSYS); 0 when sent by a process */
	__s32 sender_pid, sender_uid; /* as the receiver sees it; when sent by a process */
	__s32 syscall; /* SIGSYS */
	__u32 architecture; /* SIGSYS: AUDIT_ARCH_… */
	__u64 instruction, stack_pointer;
	__u64 code_start, code_end; /* where the program itself is mapped */
	__u64 exe_inode;
	__u32 stack_depth, build_id_depth; /* used in the next two */
	__u64 stack[CRASH_STACK_DEPTH]; /* user space's, innermost first */
	struct crash_build_id build_ids[CRASH_STACK_DEPTH];
	char exe[CRASH_FILE_SIZE]; /* file name of the program, without folders */
};

/* The file that a frame's address is mapped from. */
struct crash_file {
	__u64 offset;
	char name[CRASH_FILE_SIZE]; /* without folders; "": not known */
};

/* A process that a signal has ended. header.boot_ns is the instant of the signal. */
struct process_crash_event {
	struct event_header header;
	struct event_task process; /* the thread that the signal was for */
	char process_comm[EVENT_COMM_SIZE]; /* of the process's first thread */
	__s32 exit_code; /* the signal, and 0x80 if a core was written */
	__u32 pad;
	struct crash_signal signal;
	struct crash_file files[CRASH_STACK_DEPTH]; /* of signal.stack */
	struct event_cgroup cgroup;
};

_Static_assert(sizeof(struct crash_build_id) == 32, "crash_build_id is the kernel's");
_Static_assert(sizeof(struct crash_signal) ==
		       104 + 8 * CRASH_STACK_DEPTH + 32 * CRASH_STACK_DEPTH + CRASH_FILE_SIZE,
	       "crash_signal is the wire format");
_Static_assert(sizeof(struct process_crash_event) ==
		       24 + 56 + EVENT_COMM_SIZE + 8 + sizeof(struct crash_signal) +
			       (8 + CRASH_FILE_SIZE) * CRASH_STACK_DEPTH +
			       sizeof(struct event_cgroup),
	       "process_crash_event is the wire format");
