/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What every detector's BPF side shares: the ring and the loss counters (one of each for all
 * detectors: the agent puts those of shared.bpf.c in place before loading), records that are built in
 * the ring,
 * and how a task and a cgroup are told.
 *
 * Everything here verifies on 5.10: loops are bounded and unrolled, only helpers of 5.10 are used.
 */
#pragma once

#include "vmlinux.h"

#include "events.h"
#include "flavours.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define EVENT_RING_BYTES (512 * 1024)

/* Records on their way to the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENT_RING_BYTES);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} events SEC(".maps");

/* Records that found no room, by enum event_type. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, EVENT_TYPE_COUNT);
	__type(key, __u32); /* enum event_type */
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} lost SEC(".maps");

static __always_inline void event_count_lost(__u32 type)
{
	__u64 *count = bpf_map_lookup_elem(&lost, &type);

	if (count)
		(*count)++;
}

static __always_inline void event_fill_header(struct event_header *header, __u16 type, __u32 size)
{
	header->type = type;
	header->version = EVENTS_VERSION;
	header->size = size;
	header->cpu = bpf_get_smp_processor_id();
	header->pad = 0;
	header->boot_ns = bpf_ktime_get_boot_ns();
}

/*
 * Room for one record of EVENT_STRUCT in the ring, its header filled and the rest as the ring left
 * it (every member must be written); NULL, and counted, if there is none. The record must be given
 * to event_submit(): one that was discarded would take its room until the reader has passed it, of which
 * the kernel does not tell the reader.
 */
#define event_reserve(type, event_struct)                                                     \
	({                                                                                    \
		event_struct *event_ = bpf_ringbuf_reserve(&events, sizeof(event_struct), 0); \
		if (event_)                                                                   \
			event_fill_header((struct event_header *)event_, type,                \
					  sizeof(event_struct));                              \
		else                                                                          \
			event_count_lost(type);                                               \
		event_;                                                                       \
	})

/*
 * Records stay in the ring until what they tell is durable, so that the kernel rarely finds a reader
 * that has read everything, which is when it wakes one by itself.
 */
static __always_inline void event_submit(void *event)
{
	bpf_ringbuf_submit(event, BPF_RB_FORCE_WAKEUP);
}

static __always_inline void task_fill(struct event_task *event, struct task_struct *task)
{
	struct task_struct *parent = BPF_CORE_READ(task, real_parent);

	event->pid = BPF_CORE_READ(task, pid);
	event->tgid = BPF_CORE_READ(task, tgid);
	event->uid = BPF_CORE_READ(task, cred, uid.val);
	event->start_boot_ns = BPF_CORE_READ(task, start_boottime);
	event->parent_tgid = BPF_CORE_READ(parent, tgid);
	bpf_probe_read_kernel(event->comm, sizeof(event->comm), &task->comm);
	bpf_probe_read_kernel(event->parent_comm, sizeof(event->parent_comm), &parent->comm);
}

/* The path of a cgroup's kernfs node, leaf first; the root has no name of its own and ends it. */
static __always_inline void cgroup_fill_node(struct event_cgroup *event, struct kernfs_node *node)
{
	event->id = BPF_CORE_READ(node, id);
	event->levels = 0;
	event->truncated = 0;
#pragma unroll
	for (int i = 0; i < EVENT_CGROUP_LEVELS; i++) {
		struct kernfs_node *parent = node ? kernfs_parent(node) : NULL;
		long length = 0;

		event->names[i][0] = '\0';
		if (!parent)
			continue;
		length = bpf_probe_read_kernel_str(event->names[i], EVENT_CGROUP_NAME_SIZE,
						   BPF_CORE_READ(node, name));
		/* Counts the NUL: a full buffer means that the name was cut (or just fitted). */
		if (length >= EVENT_CGROUP_NAME_SIZE)
			event->truncated = 1;
		event->levels = i + 1;
		node = parent;
	}
	if (node && kernfs_parent(node))
		event->truncated = 1;
}

static __always_inline void cgroup_fill(struct event_cgroup *event, struct cgroup *cgroup)
{
	cgroup_fill_node(event, BPF_CORE_READ(cgroup, kn));
}

/* The css of CONTROLLER (memory_cgrp_id, …) that TASK is in; NULL where the controller is off. */
#define task_css(task, controller)                                                           \
	({                                                                                   \
		struct cgroup_subsys_state *css_ = NULL;                                     \
		struct css_set *set_ = BPF_CORE_READ(task, cgroups);                         \
		if (bpf_core_enum_value_exists(enum cgroup_subsys_id, controller)) {         \
			int index_ = bpf_core_enum_value(enum cgroup_subsys_id, controller); \
			bpf_probe_read_kernel(&css_, sizeof(css_), &set_->subsys[index_]);   \
		}                                                                            \
		css_;                                                                        \
	})
