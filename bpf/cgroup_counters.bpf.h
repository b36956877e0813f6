/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The counters of control groups, as programs use them. The map is not of one detector: whoever has
 * something to count finds or makes the group's entry here, and adds with __sync_fetch_and_add.
 */
#pragma once

#include "common.bpf.h"

#include "cgroup_counters.h"

/* The group that was not counted for longest gives way. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CGROUP_COUNTERS_MAX);
	__type(key, struct cgroup_counters_key);
	__type(value, struct cgroup_counters);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cgroup_counters SEC(".maps");

static const struct cgroup_counters no_cgroup_counters;

static __always_inline struct cgroup_counters_key cgroup_counters_key_of(struct cgroup *cgroup)
{
	return (struct cgroup_counters_key){
		.cgroup_id = BPF_CORE_READ(cgroup, kn, id),
		.hierarchy = BPF_CORE_READ(cgroup, root, hierarchy_id),
	};
}

/* The entry of CGROUP, whose key is KEY; NULL if there is no room. */
static __always_inline struct cgroup_counters *cgroup_counters_obtain(
	struct cgroup *cgroup, const struct cgroup_counters_key *key)
{
	struct cgroup_counters *counters = bpf_map_lookup_elem(&cgroup_counters, key);
	struct kernfs_node *node, *parent;

	if (counters)
		return counters;
	/* Another CPU may have been faster: its entry counts. */
	bpf_map_update_elem(&cgroup_counters, key, &no_cgroup_counters, BPF_NOEXIST);
	counters = bpf_map_lookup_elem(&cgroup_counters, key);
	if (!counters)
		return NULL;
	node = BPF_CORE_READ(cgroup, kn);
	parent = kernfs_parent(node);
	bpf_probe_read_kernel_str(counters->name, sizeof(counters->name),
				  BPF_CORE_READ(node, name));
	bpf_probe_read_kernel_str(counters->parent_name, sizeof(counters->parent_name),
				  BPF_CORE_READ(parent, name));
	return counters;
}

/* The entry of CGROUP, or NULL. */
static __always_inline struct cgroup_counters *cgroup_counters_of(struct cgroup *cgroup)
{
	struct cgroup_counters_key key = cgroup_counters_key_of(cgroup);

	return cgroup_counters_obtain(cgroup, &key);
}
