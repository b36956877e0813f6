// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Tables for a person whose agent does not answer: pinned iterators over tasks, of which `cat` prints
 *
 *   hung_tasks    who sleeps uninterruptibly, for how long, where, with its kernel stack
 *   zombies       who has ended and is not reaped, and who should do it
 *   shims         container shims and what is directly below them
 *   cgroups       control groups with processes: memory, OOM kills, crashes, reclaim, processes, forks
 *                 refused, throttling
 *
 * They run when somebody reads them, and depend on nothing in user space. The kernel calls a program
 * again for the same task when its text did not fit into the buffer, and drops what it had written.
 *
 * bpf_seq_printf() of 5.10 knows no %c and takes no pointer into a map for %s: such text is written by
 * bpf_seq_write().
 */
#include "blocked_tasks.bpf.h"
#include "cgroup_counters.bpf.h"
#include "shim_stall.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define TASK_UNINTERRUPTIBLE 0x2
#define TASK_WAKEKILL 0x100
#define TASK_NOLOAD 0x400
#define TASK_STOPPED 0x4
#define TASK_TRACED 0x8
#define PF_KTHREAD 0x00200000
#define EXIT_ZOMBIE 0x20
#define TRIAGE_STACK_DEPTH 24
#define TRIAGE_CGROUP_LEVELS 8
#define TRIAGE_WAITS_MAX 1024
#define TRIAGE_CGROUPS_MAX 8192
#define EXIT_SIGNAL 0x7f /* of task_struct.exit_code */

/* Names of shims, as shim_stall has them; set by the agent. */
struct shim_name triage_shims[SHIM_NAMES_MAX];

/* A wait that a reading of the table saw first. */
struct triage_wait {
	__u64 start_boot_ns, switches, since_boot_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, TRIAGE_WAITS_MAX);
	__type(key, __u32); /* thread id */
	__type(value, struct triage_wait);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} triage_waits SEC(".maps");

struct triage_scratch {
	struct triage_wait wait;
	__u64 stack[TRIAGE_STACK_DEPTH];
	char names[TRIAGE_CGROUP_LEVELS]
		  [EVENT_CGROUP_NAME_SIZE]; /* leaf first, each after its '/' */
	__u32 lengths[TRIAGE_CGROUP_LEVELS];
	char text[8];
	__u64 cgroup_id, reading;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct triage_scratch);
} triage_scratch SEC(".maps");

static __always_inline struct triage_scratch *scratch_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&triage_scratch, &zero);
}

/* As /proc/PID/stat has it. */
static __always_inline char state_letter(long state)
{
	if (state & TASK_UNINTERRUPTIBLE)
		return 'D';
	if (state & TASK_STOPPED)
		return 'T';
	if (state & TASK_TRACED)
		return 't';
	return state ? 'S' : 'R';
}

/* The state in seven columns. */
static __always_inline void state_print(struct seq_file *seq, struct triage_scratch *scratch,
					char letter, bool killable)
{
	char *text = scratch->text;

	text[0] = letter;
	text[1] = killable ? '/' : ' ';
	text[2] = killable ? 'k' : ' ';
	text[3] = killable ? 'i' : ' ';
	text[4] = killable ? 'l' : ' ';
	text[5] = killable ? 'l' : ' ';
	text[6] = ' ';
	bpf_seq_write(seq, text, 7);
}

/*
 * Ends the line with the path of the cgroup of the memory controller, where there is one, as containers
 * have; else of the v2 one. Returns 0 if it, and so all before it, fitted.
 */
static __always_inline long cgroup_print(struct seq_file *seq, struct triage_scratch *scratch,
					 struct task_struct *task)
{
	struct cgroup_subsys_state *css = task_css(task, memory_cgrp_id);
	struct cgroup *cgroup =
		css ? BPF_CORE_READ(css, cgroup) : BPF_CORE_READ(task, cgroups, dfl_cgrp);
	struct kernfs_node *node = BPF_CORE_READ(cgroup, kn);

#pragma unroll
	for (int i = 0; i < TRIAGE_CGROUP_LEVELS; i++) {
		struct kernfs_node *parent = node ? kernfs_parent(node) : NULL;
		long length;

		scratch->lengths[i] = 0;
		if (!parent)
			continue;
		scratch->names[i][0] = '/';
		length =
			bpf_probe_read_kernel_str(scratch->names[i] + 1, EVENT_CGROUP_NAME_SIZE - 1,
						  BPF_CORE_READ(node, name));
		/* With the slash, and without the NUL. */
		scratch->lengths[i] = length > 0 ? length : 0;
		node = parent;
	}
	if (!scratch->lengths[0]) {
		scratch->names[0][0] = '/';
		scratch->lengths[0] = 1;
	}
#pragma unroll
	for (int i = TRIAGE_CGROUP_LEVELS - 1; i >= 0; i--) {
		__u32 length = scratch->lengths[i] & (EVENT_CGROUP_NAME_SIZE - 1);

		if (length)
			bpf_seq_write(seq, scratch->names[i], length);
	}
	return BPF_SEQ_PRINTF(seq, "\n");
}

/* --- Hung tasks --- */

/*
 * Since when TASK has been in this wait, as the agent's looks or a reading of this table saw it first;
 * now, if nobody did.
 */
static __always_inline __u64 wait_since(struct triage_scratch *scratch, struct task_struct *task,
					__u32 pid, bool *ret_detected)
{
	__u64 switches = BPF_CORE_READ(task, nvcsw) + BPF_CORE_READ(task, nivcsw);
	__u64 start = BPF_CORE_READ(task, start_boottime), now = bpf_ktime_get_boot_ns();
	struct blocked_wait *detected = bpf_map_lookup_elem(&blocked_tasks, &pid);
	struct triage_wait *wait = bpf_map_lookup_elem(&triage_waits, &pid);

	*ret_detected =
		detected && detected->start_boot_ns == start && detected->switches == switches;
	if (*ret_detected)
		return detected->since_boot_ns;
	if (wait && wait->start_boot_ns == start && wait->switches == switches)
		return wait->since_boot_ns;
	scratch->wait.start_boot_ns = start;
	scratch->wait.switches = switches;
	scratch->wait.since_boot_ns = now;
	bpf_map_update_elem(&triage_waits, &pid, &scratch->wait, BPF_ANY);
	return now;
}

static __always_inline void stack_print(struct seq_file *seq, struct triage_scratch *scratch,
					struct task_struct *task)
{
	long bytes = bpf_get_task_stack(task, scratch->stack, sizeof(scratch->stack), 0);
	__u32 depth = bytes > 0 ? bytes / sizeof(scratch->stack[0]) : 0;

	for (__u32 i = 0; i < TRIAGE_STACK_DEPTH; i++) {
		if (i >= depth)
			break;
		BPF_SEQ_PRINTF(seq, "        %pB\n", scratch->stack[i]);
	}
}

SEC("iter/task")
int hung_tasks(struct bpf_iter__task *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *task = ctx->task;
	struct triage_scratch *scratch = scratch_get();
	bool detected;
	__u64 since, tenths;
	__u32 pid;
	long state;

	if (ctx->meta->seq_num == 0)
		BPF_SEQ_PRINTF(seq, "TID      PID      COMMAND             SECONDS  STATE  CGROUP, "
				    "AND BELOW IT WHERE IT SLEEPS\n");
	if (!task || !scratch)
		return 0;
	state = task_state(task);
	if (BPF_CORE_READ(task, exit_state) || state & TASK_NOLOAD)
		return 0;
	pid = BPF_CORE_READ(task, pid);
	/* What waits for a FUSE server sleeps interruptibly: only the agent's looks know it. */
	if (!(state & TASK_UNINTERRUPTIBLE) && !bpf_map_lookup_elem(&blocked_tasks, &pid))
		return 0;
	since = wait_since(scratch, task, pid, &detected);
	if (!(state & TASK_UNINTERRUPTIBLE) && !detected)
		return 0;
	tenths = (bpf_ktime_get_boot_ns() - since) / 100000000;
	BPF_SEQ_PRINTF(seq, "%-8d %-8d %-16s %8llu.%llu  ", pid, BPF_CORE_READ(task, tgid),
		       task->comm, tenths / 10, tenths % 10);
	state_print(seq, scratch, state_letter(state), state & TASK_WAKEKILL);
	cgroup_print(seq, scratch, task);
	stack_print(seq, scratch, task);
	return 0;
}

/* --- Zombies --- */

SEC("iter/task")
int zombies(struct bpf_iter__task *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *task = ctx->task, *parent;
	struct triage_scratch *scratch = scratch_get();
	int code, pid;

	if (ctx->meta->seq_num == 0)
		BPF_SEQ_PRINTF(
			seq, "PID      COMMAND          STATUS  SIGNAL  PARENT   COMMAND          "
			     "STATE  CGROUP OF THE PARENT\n");
	if (!task || !scratch)
		return 0;
	pid = BPF_CORE_READ(task, pid);
	/* A first thread that ended before the others is no zombie yet. */
	if (BPF_CORE_READ(task, exit_state) != EXIT_ZOMBIE || pid != BPF_CORE_READ(task, tgid) ||
	    BPF_CORE_READ(task, signal, nr_threads) > 1)
		return 0;
	parent = BPF_CORE_READ(task, real_parent, group_leader);
	code = BPF_CORE_READ(task, exit_code);
	BPF_SEQ_PRINTF(seq, "%-8d %-16s %-7d %-7d %-8d %-16s ", pid, task->comm, code >> 8 & 0xff,
		       code & EXIT_SIGNAL, BPF_CORE_READ(parent, tgid), parent->comm);
	state_print(seq, scratch, state_letter(task_state(parent)), false);
	cgroup_print(seq, scratch, parent);
	return 0;
}

/* --- Shims --- */

static __always_inline bool is_shim(struct task_struct *leader)
{
	__u64 comm[2] = {};

	bpf_probe_read_kernel(comm, sizeof(comm), &leader->comm);
#pragma unroll
	for (int i = 0; i < SHIM_NAMES_MAX; i++)
		if ((comm[0] & triage_shims[i].mask[0]) == triage_shims[i].value[0] &&
		    (comm[1] & triage_shims[i].mask[1]) == triage_shims[i].value[1])
			return true;
	return false;
}

SEC("iter/task")
int shims(struct bpf_iter__task *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *task = ctx->task, *parent;
	struct triage_scratch *scratch = scratch_get();
	bool shim, child;
	int pid;

	if (ctx->meta->seq_num == 0)
		BPF_SEQ_PRINTF(seq, "SHIM     PID      COMMAND          STATE  CGROUP\n");
	if (!task || !scratch)
		return 0;
	pid = BPF_CORE_READ(task, pid);
	if (pid != BPF_CORE_READ(task, tgid) || BPF_CORE_READ(task, flags) & PF_KTHREAD)
		return 0;
	parent = BPF_CORE_READ(task, real_parent, group_leader);
	shim = !BPF_CORE_READ(task, exit_state) && is_shim(task);
	child = !shim && is_shim(parent);
	if (!shim && !child)
		return 0;
	BPF_SEQ_PRINTF(seq, "%-8d %-8d %-16s ", shim ? pid : BPF_CORE_READ(parent, tgid), pid,
		       task->comm);
	state_print(seq, scratch,
		    BPF_CORE_READ(task, exit_state) ? 'Z' : state_letter(task_state(task)), false);
	cgroup_print(seq, scratch, task);
	return 0;
}

/* --- Control groups --- */

/* pids.events: events_limit until 6.10, when the local events came (kernel commit 3f26a885b5dc). */
struct pids_cgroup___limit {
	atomic64_t events_limit;
} FLAVOUR;
struct pids_cgroup___events {
	atomic64_t events[2]; /* the first: PIDCG_MAX */
} FLAVOUR;

/* Cgroups of the memory controller that a reading has shown: the reading's number. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, TRIAGE_CGROUPS_MAX);
	__type(key, __u64); /* kernfs node id */
	__type(value, __u64);
} triage_shown SEC(".maps");

/* Set by the agent. */
const volatile __u64 triage_page_bytes = 4096;

static __always_inline void number_print(struct seq_file *seq, __u64 value, __u64 unlimited)
{
	if (value >= unlimited)
		BPF_SEQ_PRINTF(seq, "       - ");
	else
		BPF_SEQ_PRINTF(seq, "%8llu ", value);
}

static __always_inline void memory_print(struct seq_file *seq, struct cgroup_subsys_state *css)
{
	struct mem_cgroup *memcg = (void *)css - bpf_core_field_offset(struct mem_cgroup, css);
	__u64 pages_of_mib = (1 << 20) / triage_page_bytes, kills = 0;

	number_print(seq, BPF_CORE_READ(memcg, memory.usage.counter) / pages_of_mib, ~0ULL);
	number_print(seq, BPF_CORE_READ(memcg, memory.max) / pages_of_mib, 1ULL << 40);
	bpf_probe_read_kernel(&kills, sizeof(kills),
			      (void *)memcg +
				      bpf_core_field_offset(struct mem_cgroup, memory_events) +
				      bpf_core_enum_value(enum memcg_memory_event, MEMCG_OOM_KILL) *
					      sizeof(atomic_long_t));
	number_print(seq, kills, ~0ULL);
}

static __always_inline void pids_print(struct seq_file *seq, struct cgroup_subsys_state *css)
{
	struct pids_cgroup *pids = (void *)css - bpf_core_field_offset(struct pids_cgroup, css);
	struct pids_cgroup___events *events = (void *)pids;
	struct pids_cgroup___limit *limit = (void *)pids;
	__u64 refused;

	if (!css) {
		BPF_SEQ_PRINTF(seq, "       -        -        - ");
		return;
	}
	if (bpf_core_field_exists(events->events))
		refused = BPF_CORE_READ(events, events[0].counter);
	else
		refused = BPF_CORE_READ(limit, events_limit.counter);
	number_print(seq, BPF_CORE_READ(pids, counter.counter), ~0ULL);
	/* PID_MAX_LIMIT, 4 Mi, and one more is "max". */
	number_print(seq, BPF_CORE_READ(pids, limit.counter), (4 << 20) + 1);
	number_print(seq, refused, ~0ULL);
}

/* What the detectors' programs counted of the group, seconds in reclaim and crashes. */
static __always_inline void counters_print(struct seq_file *seq, struct cgroup_subsys_state *css)
{
	struct cgroup_counters_key key = cgroup_counters_key_of(BPF_CORE_READ(css, cgroup));
	struct cgroup_counters *counters = bpf_map_lookup_elem(&cgroup_counters, &key);

	number_print(seq, counters ? counters->reclaim_ns / 1000000000 : 0, ~0ULL);
	number_print(seq, counters ? counters->crashes : 0, ~0ULL);
}

/* Periods in which the quota ran out, of how many, and seconds so, over all CPUs. */
static __always_inline void throttling_print(struct seq_file *seq, struct cgroup_subsys_state *css)
{
	struct task_group *group = (void *)css - bpf_core_field_offset(struct task_group, css);

	if (!css || !bpf_core_field_exists(group->cfs_bandwidth)) {
		BPF_SEQ_PRINTF(seq, "       -        -        - ");
		return;
	}
	number_print(seq, BPF_CORE_READ(group, cfs_bandwidth.nr_throttled), ~0ULL);
	number_print(seq, BPF_CORE_READ(group, cfs_bandwidth.nr_periods), ~0ULL);
	number_print(seq, BPF_CORE_READ(group, cfs_bandwidth.throttled_time) / 1000000000, ~0ULL);
}

/* One line for each cgroup of the memory controller, with what its first process is in of the others. */
SEC("iter/task")
int cgroups(struct bpf_iter__task *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *task = ctx->task;
	struct triage_scratch *scratch = scratch_get();
	struct cgroup_subsys_state *memory;
	__u64 *shown;

	if (ctx->meta->seq_num == 0)
		BPF_SEQ_PRINTF(seq,
			       " MEM-MIB    LIMIT OOMKILLS  RECLAIM  CRASHES     PIDS    LIMIT  "
			       "REFUSED THROTTLE  PERIODS  SECONDS CGROUP\n");
	if (!task || !scratch)
		return 0;
	memory = task_css(task, memory_cgrp_id);
	if (!memory || BPF_CORE_READ(task, exit_state))
		return 0;
	scratch->cgroup_id = BPF_CORE_READ(memory, cgroup, kn, id);
	scratch->reading = ctx->meta->session_id;
	shown = bpf_map_lookup_elem(&triage_shown, &scratch->cgroup_id);
	if (shown && *shown == scratch->reading)
		return 0;
	memory_print(seq, memory);
	counters_print(seq, memory);
	pids_print(seq, task_css(task, pids_cgrp_id));
	throttling_print(seq, task_css(task, cpu_cgrp_id));
	/* If it did not fit, the kernel calls again. */
	if (!cgroup_print(seq, scratch, task))
		bpf_map_update_elem(&triage_shown, &scratch->cgroup_id, &scratch->reading, BPF_ANY);
	return 0;
}
