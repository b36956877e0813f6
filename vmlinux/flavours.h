/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Members that are not called the same on every kernel. A detector takes from vmlinux.h only what
 * all kernels since 5.10 have, and everything else from here, where each name has a flavour: CO-RE
 * strips "___" and what follows, so that struct kernfs_node___parent is relocated against the
 * running kernel's struct kernfs_node, and bpf_core_field_exists() tells which of the names it has.
 * So it does not matter which kernel a vmlinux.h was made from.
 *
 * To add one: the flavour with that one member, and beside it the inline reader that picks.
 */
#pragma once

#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define FLAVOUR __attribute__((preserve_access_index))

/* kernfs_node.parent became __parent, under RCU, in 6.15: kernel commit 633488947ef6. */
struct kernfs_node___parent {
	struct kernfs_node *parent;
} FLAVOUR;
struct kernfs_node___rcu_parent {
	struct kernfs_node *__parent;
} FLAVOUR;

static __always_inline struct kernfs_node *kernfs_parent(struct kernfs_node *node)
{
	struct kernfs_node___rcu_parent *rcu_parent = (void *)node;

	if (bpf_core_field_exists(rcu_parent->__parent))
		return BPF_CORE_READ(rcu_parent, __parent);
	return BPF_CORE_READ((struct kernfs_node___parent *)node, parent);
}

/* task_struct.state became __state in 5.14, and narrower: kernel commit 2f064a59a11f. */
struct task_struct___state {
	volatile long state;
} FLAVOUR;
struct task_struct___private_state {
	unsigned int __state;
} FLAVOUR;

static __always_inline long task_state(struct task_struct *task)
{
	struct task_struct___private_state *private_state = (void *)task;

	if (bpf_core_field_exists(private_state->__state))
		return BPF_CORE_READ(private_state, __state);
	return BPF_CORE_READ((struct task_struct___state *)task, state);
}

/*
 * While a process dumps core, core_state is not NULL: in mm_struct until 5.15, in signal_struct since
 * 5.16: kernel commit 0258b5fd7c71.
 */
struct signal_struct___core {
	struct core_state *core_state;
} FLAVOUR;
struct mm_struct___core {
	struct core_state *core_state;
} FLAVOUR;

static __always_inline bool task_dumps_core(struct task_struct *task)
{
	struct signal_struct___core *signal = (void *)BPF_CORE_READ(task, signal);
	struct mm_struct___core *mm = (void *)BPF_CORE_READ(task, mm);

	if (bpf_core_field_exists(signal->core_state))
		return BPF_CORE_READ(signal, core_state);
	return BPF_CORE_READ(mm, core_state);
}

/*
 * mm_struct.rss_stat was a struct of four atomic counters, and is four percpu_counters since 6.2:
 * kernel commit f1a7941243c1. Of a percpu_counter only the common part is read: what the CPUs have
 * not yet folded into it, at most a batch each, is missing.
 */
struct mm_rss_stat___atomic {
	atomic_long_t count[4];
} FLAVOUR;
struct mm_struct___atomic_rss {
	struct mm_rss_stat___atomic rss_stat;
} FLAVOUR;
struct mm_struct___percpu_rss {
	struct percpu_counter rss_stat[4];
} FLAVOUR;

/* MM_FILEPAGES, MM_ANONPAGES, MM_SWAPENTS, MM_SHMEMPAGES: 0 to 3 on every kernel since 4.5. */
enum rss_kind { RSS_FILE, RSS_ANON, RSS_SWAP, RSS_SHMEM };

/* In pages (or swap entries); a percpu_counter's common part can be below zero. KIND is a constant.
 */
#define mm_rss_pages(mm, kind)                                                            \
	({                                                                                \
		long rss_pages_;                                                          \
		if (bpf_core_type_exists(struct mm_rss_stat___atomic))                    \
			rss_pages_ = BPF_CORE_READ((struct mm_struct___atomic_rss *)(mm), \
						   rss_stat.count[kind].counter);         \
		else                                                                      \
			rss_pages_ = BPF_CORE_READ((struct mm_struct___percpu_rss *)(mm), \
						   rss_stat[kind].count);                 \
		rss_pages_;                                                               \
	})
