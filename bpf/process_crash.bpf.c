// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Processes that a fatal signal ends, in two steps. When the signal is delivered (signal_deliver, in
 * the thread concerned) its registers, its stack and the signal's particulars are still there: they
 * are put aside. When that thread exits (sched_process_exit) it is certain that the process died of
 * it and whether a core was written: then the record is sent.
 *
 * Both hooks see much that is no crash: signals that a program handles are left behind by one
 * comparison, an exit by one more look into the table of those that are dying.
 *
 * A program that crashes faster than a person can read has a few records a second of its own; what
 * is beyond is counted here, and told by the agent.
 */
#include "cgroup_counters.bpf.h"
#include "generation.bpf.h"
#include "task_registers.bpf.h"

#include "process_crash.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SIGILL 4
#define SIGTRAP 5
#define SIGABRT 6
#define SIGBUS 7
#define SIGFPE 8
#define SIGSEGV 11
#define SIGSYS 31 /* the same on x86 and arm64 */
#define CRASH_SIGNALS                                                                           \
	(1ULL << SIGILL | 1ULL << SIGTRAP | 1ULL << SIGABRT | 1ULL << SIGBUS | 1ULL << SIGFPE | \
	 1ULL << SIGSEGV | 1ULL << SIGSYS)

#define SIGNAL_UNKILLABLE 0x40 /* the first process of a pid namespace, to its own */
#define EXIT_SIGNAL 0x7f /* of task_struct.exit_code */
#define DYING_MAX 2048
#define NS_PER_S 1000000000ULL

/* Processes between a fatal signal and their end, which a core dump can draw out. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DYING_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32); /* process id */
	__type(value, struct crash_signal);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} dying_processes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CRASH_PROGRAMS_MAX);
	__type(key, struct crash_program);
	__type(value, struct crash_rate);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} crash_programs SEC(".maps");

/* Of crash_rate.folded, what findings have told: kept by the agent for the one after it. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CRASH_PROGRAMS_MAX);
	__type(key, struct crash_program);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} crash_told SEC(".maps");

static struct crash_signal no_signal;
static struct crash_rate no_rate;

/* Set by the agent before loading. */
const volatile __u64 page_bytes = 4096;

/* --- The signal --- */

static __always_inline struct pt_regs *own_registers(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
		return (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	return user_registers((void *)bpf_get_current_task());
}

/* The process's id as itself sees it: the sender's is told in the same namespace. */
static __always_inline __u32 own_pid(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, signal, pids[PIDTYPE_TGID]);
	__u32 level = BPF_CORE_READ(pid, level);
	struct upid *number = (void *)pid + bpf_core_field_offset(struct pid, numbers) +
			      level * bpf_core_type_size(struct upid);

	return BPF_CORE_READ(number, nr);
}

static __always_inline void exe_fill(struct crash_signal *crash, struct task_struct *task)
{
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	struct file *file = BPF_CORE_READ(mm, exe_file);

	crash->exe_inode = BPF_CORE_READ(file, f_inode, i_ino);
	crash->code_start = BPF_CORE_READ(mm, start_code);
	crash->code_end = BPF_CORE_READ(mm, end_code);
	crash->exe[0] = '\0';
	if (file)
		bpf_probe_read_kernel_str(crash->exe, sizeof(crash->exe),
					  BPF_CORE_READ(file, f_path.dentry, d_name.name));
}

/*
 * The kernel's locks of the signal are held here, and interrupts are off: of the helpers that take
 * the process's memory map lock only one call can succeed (its release waits for an interrupt), so
 * that the frames' build IDs are asked for all at once, and their files' names later.
 */
static __always_inline void stack_fill(void *ctx, struct crash_signal *crash)
{
	long bytes = bpf_get_stack(ctx, crash->stack, sizeof(crash->stack), BPF_F_USER_STACK);

	crash->stack_depth = bytes > 0 ? bytes / sizeof(crash->stack[0]) : 0;
	bytes = bpf_get_stack(ctx, crash->build_ids, sizeof(crash->build_ids),
			      BPF_F_USER_STACK | BPF_F_USER_BUILD_ID);
	crash->build_id_depth = bytes > 0 ? bytes / sizeof(crash->build_ids[0]) : 0;
}

static __always_inline void cause_fill(struct crash_signal *crash, struct kernel_siginfo *info)
{
	crash->code = BPF_CORE_READ(info, si_code);
	/* From another process, or itself: the union holds who. */
	if (crash->code <= 0) {
		crash->sender_pid = BPF_CORE_READ(info, _sifields._kill._pid);
		crash->sender_uid = BPF_CORE_READ(info, _sifields._kill._uid);
	} else if (crash->signal == SIGSYS) {
		crash->address = (__u64)BPF_CORE_READ(info, _sifields._sigsys._call_addr);
		crash->syscall = BPF_CORE_READ(info, _sifields._sigsys._syscall);
		crash->architecture = BPF_CORE_READ(info, _sifields._sigsys._arch);
	} else {
		crash->address = (__u64)BPF_CORE_READ(info, _sifields._sigfault._addr);
	}
}

static __always_inline int deliver(void *ctx, int number, struct kernel_siginfo *info,
				   struct k_sigaction *action)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u64 identity = bpf_get_current_pid_tgid();
	__u32 tgid = identity >> 32;
	struct crash_signal *crash;
	struct pt_regs *registers;
	__u64 now;

	/* SIG_DFL is 0: whoever handles or ignores the signal lives. */
	if (BPF_CORE_READ(action, sa.sa_handler) ||
	    BPF_CORE_READ(task, signal, flags) & SIGNAL_UNKILLABLE ||
	    !is_current(EVENT_PROCESS_CRASH))
		return 0;
	/*
	 * An entry that is there already is of another thread that was faster; or, if it is old, it
	 * is of a dead process, or of a thread that died alone because another one called execve(2).
	 */
	now = bpf_ktime_get_boot_ns();
	crash = bpf_map_lookup_elem(&dying_processes, &tgid);
	if (crash && crash->start_boot_ns == BPF_CORE_READ(task, group_leader, start_boottime) &&
	    now - crash->boot_ns < NS_PER_S)
		return 0;
	if (bpf_map_update_elem(&dying_processes, &tgid, &no_signal, BPF_ANY)) {
		event_count_lost(EVENT_PROCESS_CRASH);
		return 0;
	}
	crash = bpf_map_lookup_elem(&dying_processes, &tgid);
	if (!crash)
		return 0;
	crash->boot_ns = now;
	crash->start_boot_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	crash->pid = identity;
	crash->own_pid = own_pid(task);
	crash->signal = number;
	cause_fill(crash, info);
	registers = own_registers();
	if (registers) {
		crash->instruction = PT_REGS_IP_CORE(registers);
		crash->stack_pointer = PT_REGS_SP_CORE(registers);
	}
	exe_fill(crash, task);
	stack_fill(ctx, crash);
	return 0;
}

/* --- The end --- */

/*
 * Returns false if the crash of PROGRAM was counted and is not to be sent. To be asked before there is a
 * record: what is reserved and discarded takes room of the ring until the reader has passed it.
 */
static __always_inline bool take_share(const struct crash_program *program)
{
	__u64 now = bpf_ktime_get_boot_ns();
	struct crash_rate *rate;

	rate = bpf_map_lookup_elem(&crash_programs, program);
	if (!rate) {
		bpf_map_update_elem(&crash_programs, program, &no_rate, BPF_NOEXIST);
		rate = bpf_map_lookup_elem(&crash_programs, program);
	}
	if (!rate)
		return true;
	if (now - rate->second_boot_ns >= NS_PER_S) {
		rate->second_boot_ns = now;
		rate->sent = 0;
	}
	if (rate->sent >= CRASH_RECORDS_PER_SECOND) {
		__sync_fetch_and_add(&rate->folded, 1);
		return false;
	}
	__sync_fetch_and_add(&rate->sent, 1);
	return true;
}

/* Of the memory controller where there is one, as containers have; else the v2 one. */
static __always_inline struct cgroup *crash_cgroup(struct task_struct *task)
{
	struct cgroup_subsys_state *css = task_css(task, memory_cgrp_id);

	return css ? BPF_CORE_READ(css, cgroup) : BPF_CORE_READ(task, cgroups, dfl_cgrp);
}

static __always_inline void count(struct cgroup *cgroup)
{
	struct cgroup_counters *counters = cgroup_counters_of(cgroup);

	if (!counters)
		return;
	__sync_fetch_and_add(&counters->crashes, 1);
	counters->last_crash_ns = bpf_ktime_get_boot_ns();
}

static __always_inline struct process_crash_event *event_of_exit(struct task_struct *task,
								 int exit_code)
{
	__u64 identity = bpf_get_current_pid_tgid();
	__u32 tgid = identity >> 32, pid = identity;
	struct crash_signal *crash = bpf_map_lookup_elem(&dying_processes, &tgid);
	struct process_crash_event *event;
	struct crash_program program = {};
	struct cgroup *cgroup;

	if (!crash || crash->pid != pid || !is_current(EVENT_PROCESS_CRASH))
		return NULL;
	cgroup = crash_cgroup(task);
	count(cgroup);
	program.cgroup_id = BPF_CORE_READ(cgroup, kn, id);
	program.exe_inode = crash->exe_inode;
	BPF_CORE_READ_INTO(&program.comm, task, group_leader, comm);
	event = take_share(&program)
			? event_reserve(EVENT_PROCESS_CRASH, struct process_crash_event)
			: NULL;
	if (!event) {
		bpf_map_delete_elem(&dying_processes, &tgid);
		return NULL;
	}
	bpf_probe_read_kernel(&event->signal, sizeof(event->signal), crash);
	bpf_map_delete_elem(&dying_processes, &tgid);
	event->header.boot_ns = event->signal.boot_ns;
	event->exit_code = exit_code;
	event->pad = 0;
	task_fill(&event->process, task);
	__builtin_memcpy(event->process_comm, program.comm, sizeof(event->process_comm));
	cgroup_fill(&event->cgroup, cgroup);
	for (int i = 0; i < CRASH_STACK_DEPTH; i++)
		event->files[i].name[0] = '\0';
	return event;
}

static __always_inline bool is_crash(int exit_code)
{
	return CRASH_SIGNALS >> (exit_code & EXIT_SIGNAL & 63) & 1 &&
	       (exit_code & EXIT_SIGNAL) < 64;
}

/*
 * The thread whose fatal signal was put aside ends of something else: another one's exit, a SIGKILL
 * that was faster. Kept, such entries would take the room of those to come.
 */
static __always_inline void forget_signal(void)
{
	__u64 identity = bpf_get_current_pid_tgid();
	__u32 tgid = identity >> 32;
	struct crash_signal *crash = bpf_map_lookup_elem(&dying_processes, &tgid);

	if (crash && crash->pid == (__u32)identity)
		bpf_map_delete_elem(&dying_processes, &tgid);
}

static __always_inline int send_exit(struct task_struct *task, int exit_code)
{
	struct process_crash_event *event;

	if (!is_crash(exit_code)) {
		forget_signal();
		return 0;
	}
	event = event_of_exit(task, exit_code);
	if (event)
		event_submit(event);
	return 0;
}

/* --- Names of files, where the process still has its memory at its end --- */

static long file_fill(struct task_struct *task, struct vm_area_struct *area, void *found)
{
	struct crash_file *file = found;
	struct file *mapped = BPF_CORE_READ(area, vm_file);

	if (!mapped)
		return 0;
	bpf_probe_read_kernel_str(file->name, sizeof(file->name),
				  BPF_CORE_READ(mapped, f_path.dentry, d_name.name));
	file->offset = BPF_CORE_READ(area, vm_pgoff) * page_bytes - BPF_CORE_READ(area, vm_start);
	return 0;
}

static __always_inline void files_fill(struct process_crash_event *event, struct task_struct *task)
{
	for (__u32 i = 0; i < CRASH_STACK_DEPTH; i++) {
		struct crash_file file = {};

		if (i >= event->signal.stack_depth)
			break;
		if (bpf_find_vma(task, event->signal.stack[i], file_fill, &file, 0) ||
		    !file.name[0])
			continue;
		event->files[i].offset = file.offset + event->signal.stack[i];
		__builtin_memcpy(event->files[i].name, file.name, sizeof(file.name));
	}
}

/* --- Hooks --- */

SEC("?tp_btf/signal_deliver")
int BPF_PROG(crash_signal_btf, int number, struct kernel_siginfo *info, struct k_sigaction *action)
{
	if (number < 0 || number > 63 || !(CRASH_SIGNALS >> number & 1))
		return 0;
	return deliver(ctx, number, info, action);
}

SEC("?raw_tp/signal_deliver")
int BPF_PROG(crash_signal_raw, int number, struct kernel_siginfo *info, struct k_sigaction *action)
{
	if (number < 0 || number > 63 || !(CRASH_SIGNALS >> number & 1))
		return 0;
	return deliver(ctx, number, info, action);
}

/*
 * Late kernels (6.18) call this hook before exit_mm(), earlier ones (6.12) after it. The agent loads
 * this program where BPF functions can be called back and bpf_find_vma is there (5.17); where the
 * memory is gone it names nothing.
 */
SEC("?tp_btf/sched_process_exit")
int BPF_PROG(crash_exit_named, struct task_struct *task)
{
	int exit_code = task->exit_code;
	struct process_crash_event *event;

	if (!is_crash(exit_code)) {
		forget_signal();
		return 0;
	}
	event = event_of_exit(task, exit_code);
	if (!event)
		return 0;
	if (task->mm)
		files_fill(event, task);
	event_submit(event);
	return 0;
}

SEC("?tp_btf/sched_process_exit")
int BPF_PROG(crash_exit_btf, struct task_struct *task)
{
	int exit_code = task->exit_code;

	return send_exit(task, exit_code);
}

SEC("?raw_tp/sched_process_exit")
int BPF_PROG(crash_exit_raw, struct task_struct *task)
{
	int exit_code = BPF_CORE_READ(task, exit_code);

	return send_exit(task, exit_code);
}
