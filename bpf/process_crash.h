/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What process_crash.bpf.c and the agent share besides records: the map in which crashes of one
 * program are counted that are more than its share of the ring.
 */
#pragma once

/* Records of one program in its cgroup in a second; more are counted in crash_programs. */
#define CRASH_RECORDS_PER_SECOND 4
#define CRASH_PROGRAMS_MAX 1024

/* A program in its place: the key of crash_programs. */
struct crash_program {
	__u64 cgroup_id;
	__u64 exe_inode;
	char comm[EVENT_COMM_SIZE]; /* of the process: of its first thread */
};

struct crash_rate {
	__u64 second_boot_ns; /* when the running second began */
	__u64 folded; /* crashes without a record of their own, since the entry was made */
	__u32 sent; /* records of the running second */
	__u32 pad;
};
