/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What memory_stall.bpf.c and the agent share: who reclaims memory, and for how long. To be included
 * after events.h.
 */
#pragma once

#include "cgroup_counters.h"

/* Threads that have been in reclaim, and their groups: the agent takes out those that are gone. */
#define RECLAIMING_TASKS_MAX 4096
#define RECLAIMING_GROUPS_MAX 256

/* A thread; its pid is the key. Times are CLOCK_BOOTTIME. */
struct reclaiming_task {
	__u64 start_boot_ns; /* task_struct.start_boottime: another one is another thread */
	__u64 since_ns; /* when the reclaim that is going on began; 0: none is */
	__u64 reclaims, total_ns; /* those that have ended */
	struct cgroup_counters_key group; /* that the thread is in */
	__u32 tgid;
	__u32 pad;
	char comm[EVENT_COMM_SIZE];
};

_Static_assert(sizeof(struct reclaiming_task) == 72, "both sides share reclaiming_task");
