/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The wire format between the detectors in the kernel and the agent: included by both sides, and
 * asserted on both. Every record, in the ring and from an iterator, starts with struct event_header.
 *
 * A change of any layout here raises EVENTS_VERSION; the agent refuses records of another version.
 */
#pragma once

#define EVENTS_VERSION 1

#define EVENT_COMM_SIZE 16
#define EVENT_STACK_DEPTH 64
/* A cgroup's path, leaf first: names of at most this many levels, each cut at this many bytes. */
#define EVENT_CGROUP_LEVELS 12
#define EVENT_CGROUP_NAME_SIZE 128

enum event_type {
	EVENT_NONE,
	EVENT_OOM_KILL,	   /* struct oom_event, ring */
	EVENT_BLOCKED_TASK, /* struct blocked_task_event, iterator */
	EVENT_FROZEN_FILESYSTEM, /* struct frozen_filesystem_event, iterator */
	EVENT_TYPE_COUNT = 32, /* room in the per-CPU loss counters */
};

struct event_header {
	__u16 type;    /* enum event_type */
	__u16 version; /* EVENTS_VERSION */
	__u32 size;    /* of the whole record */
	__u32 cpu;
	__u32 pad;
	__u64 boot_ns; /* CLOCK_BOOTTIME */
};

_Static_assert(sizeof(struct event_header) == 24, "event_header is the wire format");

/* A task, with what is needed to name it and to tell it from a later one with the same pid. */
struct event_task {
	__u32 pid, tgid;	 /* in the initial pid namespace */
	__u64 start_boot_ns;	 /* task_struct.start_boottime of the thread */
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
