// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Who is killed for memory, told in the instant it is decided: the victim still has its memory and
 * its cgroup. Three hooks, of which the agent loads one:
 *
 *   mark_victim         the tracepoint; of use where its argument is the task (not before kernel
 *                       commit 72ba14deb40a, 6.9, which stable kernels took over: it was the pid
 * alone)
 *   __oom_kill_process  the function around it, which is also given the text of the log line
 *
 * All run in the task whose allocation there was no memory for, under oom_lock. Nothing is judged
 * here: the counters of the victim's memory cgroups and the stack go to the agent as they are.
 */
#include "cgroup_counters.bpf.h"
#include "generation.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The victim's mm, which signal_struct.oom_mm keeps when the victim itself has let go of it. */
static __always_inline struct mm_struct *victim_mm(struct task_struct *victim)
{
	struct mm_struct *mm = BPF_CORE_READ(victim, mm);

	return mm ? mm : BPF_CORE_READ(victim, signal, oom_mm);
}

static __always_inline void fill_memory(struct oom_event *event, struct task_struct *victim)
{
	struct mm_struct *mm = victim_mm(victim);

	event->rss_file = mm_rss_pages(mm, RSS_FILE);
	event->rss_anon = mm_rss_pages(mm, RSS_ANON);
	event->rss_swap = mm_rss_pages(mm, RSS_SWAP);
	event->rss_shmem = mm_rss_pages(mm, RSS_SHMEM);
	event->total_vm = BPF_CORE_READ(mm, total_vm);
	event->oom_score_adj = BPF_CORE_READ(victim, signal, oom_score_adj);
}

static __always_inline void fill_level(struct oom_level *level, struct cgroup_subsys_state *css)
{
	struct mem_cgroup *memcg = (void *)css - bpf_core_field_offset(struct mem_cgroup, css);

	level->cgroup_id = BPF_CORE_READ(css, cgroup, kn, id);
	level->usage = BPF_CORE_READ(memcg, memory.usage.counter);
	level->maximum = BPF_CORE_READ(memcg, memory.max);
	level->swap_usage = BPF_CORE_READ(memcg, memsw.usage.counter);
	level->swap_maximum = BPF_CORE_READ(memcg, memsw.max);
	level->oom_group = BPF_CORE_READ(memcg, oom_group);
	level->pad = 0;
}

static __always_inline void fill_cgroups(struct oom_event *event, struct cgroup_subsys_state *css)
{
	struct cgroup *cgroup = BPF_CORE_READ(css, cgroup);

	event->hierarchy = BPF_CORE_READ(cgroup, root, hierarchy_id);
	cgroup_fill(&event->cgroup, cgroup);
	event->level_count = 0;
#pragma unroll
	for (int i = 0; i < EVENT_CGROUP_LEVELS; i++) {
		/* No break: clang would not unroll the loop. */
		if (css) {
			fill_level(&event->levels[i], css);
			event->level_count = i + 1;
			css = BPF_CORE_READ(css, parent);
		}
	}
}

static __always_inline void count(struct task_struct *victim)
{
	struct cgroup_subsys_state *css = task_css(victim, memory_cgrp_id);
	struct cgroup_counters *counters;

	if (!css)
		return;
	counters = cgroup_counters_of(BPF_CORE_READ(css, cgroup));
	if (!counters)
		return;
	__sync_fetch_and_add(&counters->oom_kills, 1);
	counters->last_oom_kill_ns = bpf_ktime_get_boot_ns();
}

static __always_inline int tell(void *ctx, struct task_struct *victim, const char *message)
{
	struct oom_event *event;
	long bytes;

	if (!is_current(EVENT_OOM_KILL))
		return 0;
	count(victim);
	event = event_reserve(EVENT_OOM_KILL, struct oom_event);
	if (!event)
		return 0;
	task_fill(&event->victim, victim);
	task_fill(&event->trigger, (struct task_struct *)bpf_get_current_task());
	fill_memory(event, victim);
	fill_cgroups(event, task_css(victim, memory_cgrp_id));
	bytes = bpf_get_stack(ctx, event->stack, sizeof(event->stack), 0);
	event->stack_depth = bytes > 0 ? bytes / sizeof(event->stack[0]) : 0;
	event->message[0] = '\0';
	if (message)
		bpf_probe_read_kernel_str(event->message, sizeof(event->message), message);
	event_submit(event);
	return 0;
}

SEC("?tp_btf/mark_victim")
int BPF_PROG(oom_mark_victim, struct task_struct *victim)
{
	return tell(ctx, victim, NULL);
}

SEC("?fentry/__oom_kill_process")
int BPF_PROG(oom_kill_fentry, struct task_struct *victim, const char *message)
{
	return tell(ctx, victim, message);
}

SEC("?kprobe/__oom_kill_process")
int BPF_KPROBE(oom_kill_kprobe, struct task_struct *victim, const char *message)
{
	return tell(ctx, victim, message);
}
