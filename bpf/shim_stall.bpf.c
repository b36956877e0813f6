/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Shows the agent, when it reads the iterator, what there is to know of container shims: the shims
 * (by name), their children, living and dead, and the inits of pid namespaces that are dying, with
 * what holds them. Nothing is hooked and nothing is kept between looks: what has lasted too long
 * is the agent's to say.
 *
 * The kernel calls an iterator's program again for the same task when its records did not fit into
 * the buffer, and drops what it had written: so a task is counted once, whatever it wrote.
 */
#include "common.bpf.h"
#include "shim_stall.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define PF_KTHREAD 0x00200000
#define EXIT_ZOMBIE 0x20 /* EXIT_DEAD (0x10) is being reaped at this moment */
#define SIGNAL_GROUP_EXIT 0x00000004
#define PIDNS_ADDING (1U << 31) /* in pid_namespace.pid_allocated */

struct shim_stall_control control;

struct scratch {
	struct shim_event shim;
	struct shim_task_event task;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} shim_scratch SEC(".maps");

static __always_inline bool is_shim(struct task_struct *leader)
{
	__u64 comm[2] = {};

	bpf_probe_read_kernel(comm, sizeof(comm), &leader->comm);
#pragma unroll
	for (int i = 0; i < SHIM_NAMES_MAX; i++) {
		const struct shim_name *name = &control.names[i];

		if ((comm[0] & name->mask[0]) == name->value[0] &&
		    (comm[1] & name->mask[1]) == name->value[1])
			return true;
	}
	return false;
}

/* The pid namespace that TASK lives in, and its pid there; NULL: the initial one. */
static __always_inline struct pid_namespace *task_namespace(struct task_struct *task, int *ret_pid)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	__u32 level = pid ? BPF_CORE_READ(pid, level) : 0;
	struct upid *number;

	*ret_pid = 0;
	if (!level)
		return NULL;
	/* A trailing array of as many as there are levels (one, in some kernels' types). */
	number = (void *)pid + bpf_core_field_offset(struct pid, numbers) +
		 level * bpf_core_type_size(struct upid);
	*ret_pid = BPF_CORE_READ(number, nr);
	return BPF_CORE_READ(number, ns);
}

/*
 * Killed, or exiting by itself: SIGNAL_GROUP_EXIT is set as soon as a fatal signal is sent, and the
 * last of its threads to exit takes `live` to 0. A first thread that ended alone says nothing. What
 * dumps core is at work, for minutes if it is large.
 */
static __always_inline bool is_dying(struct task_struct *task)
{
	struct signal_struct *signal = BPF_CORE_READ(task, signal);

	return (BPF_CORE_READ(signal, flags) & SIGNAL_GROUP_EXIT ||
		BPF_CORE_READ(signal, live.counter) <= 0) &&
	       !task_dumps_core(task);
}

/* Only its first thread has: that one stays a zombie, which cannot be reaped, while others live. */
static __always_inline bool has_ended(struct task_struct *task)
{
	return BPF_CORE_READ(task, exit_state) && BPF_CORE_READ(task, signal, nr_threads) <= 1;
}

/*
 * What the process does: its first thread, or when that has ended, the next one, which may be the one
 * that waits in zap_pid_ns_processes().
 */
static __always_inline long process_state(struct task_struct *task)
{
	struct list_head *head, *next;

	if (!BPF_CORE_READ(task, exit_state) || has_ended(task))
		return task_state(task);
	head = (void *)BPF_CORE_READ(task, signal) +
	       bpf_core_field_offset(struct signal_struct, thread_head);
	next = BPF_CORE_READ(task, thread_node.next);
	if (next == head)
		next = BPF_CORE_READ(head, next);
	return task_state((void *)next - bpf_core_field_offset(struct task_struct, thread_node));
}

static __always_inline void leave_out(struct task_struct *task, __u32 type)
{
	if (!control.left_out_from)
		control.left_out_from = BPF_CORE_READ(task, pid);
	control.left_out++;
	event_count_lost(type);
}

/* Returns false if the record did not fit, and the kernel will call again. */
static __always_inline bool shim_write(struct seq_file *seq, struct shim_event *event,
				       struct task_struct *task, bool again)
{
	struct task_struct *tracer;

	if (!again && control.shims >= SHIM_RECORDS_MAX) {
		leave_out(task, EVENT_SHIM);
		return true;
	}
	event_fill_header(&event->header, EVENT_SHIM, sizeof(*event));
	task_fill(&event->task, task);
	event->state = task_state(task);
	event->traced = BPF_CORE_READ(task, ptrace) != 0;
	event->tracer_tgid = 0;
	event->pad = 0;
	__builtin_memset(event->tracer_comm, 0, sizeof(event->tracer_comm));
	if (event->traced) {
		/* task_struct.parent is the tracer, for as long as there is one. */
		tracer = BPF_CORE_READ(task, parent);
		event->tracer_tgid = BPF_CORE_READ(tracer, tgid);
		bpf_probe_read_kernel(event->tracer_comm, sizeof(event->tracer_comm),
				      &tracer->comm);
	}
	if (bpf_seq_write(seq, event, sizeof(*event)))
		return false;
	control.shims++;
	return true;
}

/* What TASK is, beside somebody's child: enum shim_task_flags. */
static __always_inline __u32 task_flags(struct shim_task_event *event, struct task_struct *task,
					struct task_struct *parent)
{
	struct task_struct *reaper;
	struct pid_namespace *ns;
	__u32 flags = 0;
	bool ended = has_ended(task);
	int pid;

	if (ended) {
		flags = SHIM_TASK_ZOMBIE;
		/* A tracer has to reap it first. */
		if (BPF_CORE_READ(task, ptrace) &&
		    BPF_CORE_READ(task, parent, group_leader) != parent)
			flags = 0;
	}
	event->pid_namespace = event->remaining = 0;
	ns = task_namespace(task, &pid);
	if (!ns)
		return flags;
	event->pid_namespace = BPF_CORE_READ(ns, ns.inum);
	if (pid == 1) {
		if (!ended && is_dying(task)) {
			__u32 pids = BPF_CORE_READ(ns, pid_allocated) & ~PIDNS_ADDING,
			      own = BPF_CORE_READ(task, signal, nr_threads);

			flags |= SHIM_TASK_DYING_INIT;
			event->remaining = pids > own ? pids - own : 0;
		}
		return flags;
	}
	reaper = BPF_CORE_READ(ns, child_reaper);
	if (reaper && is_dying(reaper))
		flags |= SHIM_TASK_HOLDER;
	return flags;
}

/* Fills in what every record has. If it does not fit, the kernel will call again. */
static __always_inline void task_send(struct seq_file *seq, struct shim_task_event *event,
				      struct task_struct *task)
{
	event_fill_header(&event->header, EVENT_SHIM_TASK, sizeof(*event));
	event->pid = BPF_CORE_READ(task, pid);
	event->start_boot_ns = BPF_CORE_READ(task, start_boottime);
	event->state = process_state(task);
	bpf_probe_read_kernel(event->comm, sizeof(event->comm), &task->comm);
	if (!bpf_seq_write(seq, event, sizeof(*event)))
		control.shim_tasks++;
}

static __always_inline void task_write(struct seq_file *seq, struct shim_task_event *event,
				       struct task_struct *task, bool again)
{
	/* Of its parent's threads any may have forked it; the process is their leader. */
	struct task_struct *parent = BPF_CORE_READ(task, real_parent, group_leader);
	bool child;

	if (BPF_CORE_READ(task, exit_state) & ~EXIT_ZOMBIE)
		return;
	child = is_shim(parent);
	event->flags = task_flags(event, task, parent);
	if (!child && !(event->flags & SHIM_TASK_HOLDER))
		return;
	if (!again && control.shim_tasks >= SHIM_TASK_RECORDS_MAX) {
		leave_out(task, EVENT_SHIM_TASK);
		return;
	}
	event->shim_pid = child ? BPF_CORE_READ(parent, tgid) : 0;
	event->shim_start_boot_ns = child ? BPF_CORE_READ(parent, start_boottime) : 0;
	task_send(seq, event, task);
}

/* Any process, for who wants to know the tree below a shim. */
static __always_inline void process_write(struct seq_file *seq, struct shim_task_event *event,
					  struct task_struct *task, bool again)
{
	if (!again && control.shim_tasks >= SHIM_TASK_RECORDS_MAX) {
		control.left_out++;
		return;
	}
	event->flags = SHIM_TASK_LISTED | (has_ended(task) ? SHIM_TASK_ZOMBIE : 0);
	event->pid_namespace = event->remaining = 0;
	event->shim_pid = BPF_CORE_READ(task, real_parent, tgid);
	event->shim_start_boot_ns = 0;
	task_send(seq, event, task);
}

SEC("iter/task")
int show_shims(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct seq_file *seq = ctx->meta->seq;
	struct scratch *scratch;
	__u32 zero = 0;
	bool again;
	pid_t pid;

	if (!task)
		return 0;
	pid = BPF_CORE_READ(task, pid);
	if (pid != BPF_CORE_READ(task, tgid) || BPF_CORE_READ(task, flags) & PF_KTHREAD)
		return 0;
	scratch = bpf_map_lookup_elem(&shim_scratch, &zero);
	if (!scratch)
		return 0;
	again = (__u32)pid == control.last_pid;
	control.last_pid = pid;
	if (!again)
		control.tasks++;
	if (control.everything) {
		process_write(seq, &scratch->task, task, again);
		return 0;
	}
	/* A zombie that was a shim is nobody's shim any more. */
	if (!BPF_CORE_READ(task, exit_state) && is_shim(task) &&
	    !shim_write(seq, &scratch->shim, task, again))
		return 0;
	task_write(seq, &scratch->task, task, again);
	return 0;
}
