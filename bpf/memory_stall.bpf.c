// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * How long tasks reclaim memory because a limit of their control group, or of one above it, is
 * reached: the time from one tracepoint to the other, added up for the thread and for its group. A
 * reclaim that does not end has its beginning in the map, where the agent finds it.
 *
 * The tracepoints' arguments are not the same on all kernels (7.2 changed them), and none is read.
 * At a limit this runs thousands of times a second: no record is sent, the agent looks at the maps.
 */
#include "cgroup_counters.bpf.h"
#include "generation.bpf.h"

#include "memory_stall.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Made in advance: a reclaim is no place to ask for memory, and raw_tp must not before Linux 6.1. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, RECLAIMING_TASKS_MAX);
	__type(key, __u32);
	__type(value, struct reclaiming_task);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} reclaim_tasks SEC(".maps");

/*
 * The paths of their groups: the agent would have to ask /proc/PID/cgroup, for a lock that a task
 * which is stuck in reclaim may hold (mkdir in a cgroup file system).
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, RECLAIMING_GROUPS_MAX);
	__type(key, struct cgroup_counters_key);
	__type(value, struct event_cgroup);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} reclaim_groups SEC(".maps");

static const struct event_cgroup no_group;

/* Threads and groups that found no room there. */
__u64 stalls_lost;

static __always_inline struct cgroup *memory_cgroup(struct task_struct *task)
{
	struct cgroup_subsys_state *css = task_css(task, memory_cgrp_id);

	return BPF_CORE_READ(css, cgroup);
}

static __always_inline void note_group(struct cgroup *cgroup, const struct cgroup_counters_key *key)
{
	struct event_cgroup *group = bpf_map_lookup_elem(&reclaim_groups, key);

	if (group)
		return;
	bpf_map_update_elem(&reclaim_groups, key, &no_group, BPF_NOEXIST);
	group = bpf_map_lookup_elem(&reclaim_groups, key);
	if (group)
		cgroup_fill(group, cgroup);
	else
		__sync_fetch_and_add(&stalls_lost, 1);
}

static __always_inline int begin(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u64 identity = bpf_get_current_pid_tgid(), now = bpf_ktime_get_boot_ns();
	__u64 start = BPF_CORE_READ(task, start_boottime);
	__u32 pid = identity;
	struct reclaiming_task *known = bpf_map_lookup_elem(&reclaim_tasks, &pid);
	struct reclaiming_task fresh = {};
	struct cgroup *cgroup;

	if (!is_current(EVENT_RECLAIM))
		return 0;
	if (known && known->start_boot_ns == start) {
		known->since_ns = now;
		return 0;
	}
	fresh.start_boot_ns = start;
	fresh.since_ns = now;
	cgroup = memory_cgroup(task);
	fresh.group = cgroup_counters_key_of(cgroup);
	fresh.tgid = identity >> 32;
	bpf_get_current_comm(fresh.comm, sizeof(fresh.comm));
	if (bpf_map_update_elem(&reclaim_tasks, &pid, &fresh, BPF_ANY) < 0)
		__sync_fetch_and_add(&stalls_lost, 1);
	note_group(cgroup, &fresh.group);
	return 0;
}

static __always_inline int end(void)
{
	__u32 pid = bpf_get_current_pid_tgid();
	struct reclaiming_task *known = bpf_map_lookup_elem(&reclaim_tasks, &pid);
	__u64 now = bpf_ktime_get_boot_ns(), ns;
	struct cgroup_counters_key group;
	struct cgroup_counters *counters;
	struct cgroup *cgroup;

	if (!known || !known->since_ns || !is_current(EVENT_RECLAIM))
		return 0;
	ns = now - known->since_ns;
	/* In this order: a look in between misses this one reclaim, and never has it twice. */
	known->since_ns = 0;
	known->total_ns += ns;
	known->reclaims++;
	cgroup = memory_cgroup((void *)bpf_get_current_task());
	group = cgroup_counters_key_of(cgroup);
	/* Moved since its first reclaim. */
	if (known->group.cgroup_id != group.cgroup_id) {
		known->group = group;
		note_group(cgroup, &group);
	}
	counters = cgroup_counters_obtain(cgroup, &group);
	if (!counters)
		return 0;
	__sync_fetch_and_add(&counters->reclaims, 1);
	__sync_fetch_and_add(&counters->reclaim_ns, ns);
	counters->last_reclaim_ns = now;
	return 0;
}

SEC("?tp_btf/mm_vmscan_memcg_reclaim_begin")
int BPF_PROG(memory_stall_begin_btf)
{
	return begin();
}

SEC("?tp_btf/mm_vmscan_memcg_reclaim_end")
int BPF_PROG(memory_stall_end_btf)
{
	return end();
}

SEC("?raw_tp/mm_vmscan_memcg_reclaim_begin")
int memory_stall_begin_raw(void *ctx)
{
	return begin();
}

SEC("?raw_tp/mm_vmscan_memcg_reclaim_end")
int memory_stall_end_raw(void *ctx)
{
	return end();
}
