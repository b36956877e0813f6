/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What happened to each control group, added up by all detectors that see something happen to one; what
 * the kernel counts itself is not here (the table `cgroups` of triage.bpf.c has it). For a person:
 * `bpftool map dump pinned /sys/fs/bpf/lifeboat/cgroup_counters`.
 */
#pragma once

#define CGROUP_COUNTERS_MAX 1024
#define CGROUP_COUNTERS_NAME_SIZE 96 /* "cri-containerd-", 64 digits, ".scope" */

/* Ids of groups repeat: each hierarchy of v1 has its own. */
struct cgroup_counters_key {
	__u64 cgroup_id; /* kernfs node id: the inode number of its folder */
	__u32 hierarchy; /* 0: v2 */
	__u32 pad;
};

/* All times are CLOCK_BOOTTIME; 0: never. */
struct cgroup_counters {
	char name[CGROUP_COUNTERS_NAME_SIZE]; /* of its folder; "" for the root */
	char parent_name[CGROUP_COUNTERS_NAME_SIZE];
	__u64 oom_kills, last_oom_kill_ns; /* of its own processes */
	__u64 crashes, last_crash_ns;
	/* What its own tasks did for a limit of it or above. */
	__u64 reclaims, reclaim_ns, last_reclaim_ns;
};

_Static_assert(sizeof(struct cgroup_counters_key) == 16, "both sides share cgroup_counters_key");
_Static_assert(sizeof(struct cgroup_counters) == 2 * CGROUP_COUNTERS_NAME_SIZE + 7 * 8,
	       "both sides share cgroup_counters");
