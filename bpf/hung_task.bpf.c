/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Finds tasks that have been in one and the same wait for longer than the threshold:
 * uninterruptible sleeps, killable ones too, and sleeps in a request to a FUSE server. It runs only
 * when the agent reads the iterator; between looks nothing is hooked. What the wait is about is
 * told as far as the kernel's own structures tell it; what that means is the agent's to say.
 *
 * The kernel calls an iterator's program again for the same task when its record did not fit into
 * the buffer, and drops what it had written: so a wait is updated once a look, and what is written
 * does not depend on how often it is called.
 */
#include "blocked_tasks.bpf.h"
#include "filesystem.bpf.h"
#include "task_registers.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define TASK_INTERRUPTIBLE 0x1
#define TASK_UNINTERRUPTIBLE 0x2
#define TASK_NOLOAD 0x400
#define PF_FROZEN 0x00010000 /* up to 5.19: a frozen task is TASK_UNINTERRUPTIBLE there */
#define PF_KTHREAD 0x00200000

#define STACK_WORDS 96 /* of the sleeping task's stack, which are looked at for pointers */
#define WALK_STEPS 48 /* super blocks a task */
#define WALK_TOTAL_MAX 65536
#define DETAILED_LOOKS 3
#define MODE_FORMAT 0170000
#define MODE_BLOCK_DEVICE 0060000

struct hung_task_control control;

struct scratch {
	struct blocked_task_event event;
	struct frozen_filesystem_event frozen;
	struct blocked_wait fresh;
	__u64 words[STACK_WORDS];
	/*
	 * What stack_scan found. Not on the stack: the verifier would follow each of its values
	 * through the loop.
	 */
	__u64 in_scheduler, filesystem, frozen_filesystem, device;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} blocked_scratch SEC(".maps");

/* --- Kernel structures that differ --- */

/* task_struct.blocker is there since 6.16, with CONFIG_DETECT_HUNG_TASK_BLOCKER alone. */
struct task_struct___blocker {
	unsigned long blocker;
} FLAVOUR;
struct semaphore___last_holder {
	unsigned long last_holder;
} FLAVOUR;
/* task_struct.ioac is there with CONFIG_TASK_IO_ACCOUNTING alone. */
struct task_struct___ioac {
	struct task_io_accounting ioac;
} FLAVOUR;
struct fs_struct___root {
	struct path root;
} FLAVOUR;

/* --- What a task works on --- */

/*
 * What the sleeping task's frames hold pointers to. Every candidate is proven by a second pointer
 * that leads back (a super block's root, a disk's queue), so that a number that merely looks like
 * an address is not taken for one.
 */
static __always_inline void stack_scan(struct scratch *scratch, struct task_struct *task)
{
	struct blocked_task_event *event = &scratch->event;
	__u64 from = stack_pointer(task);

	/* Near the end of the stack there are fewer words: then half of them, or none. */
	if (bpf_probe_read_kernel(scratch->words, sizeof(scratch->words), (void *)from)) {
		__builtin_memset(scratch->words, 0, sizeof(scratch->words));
		bpf_probe_read_kernel(scratch->words, sizeof(scratch->words) / 2, (void *)from);
	}
	event->scheduler_depth = 0;
	scratch->in_scheduler = 1;
	scratch->filesystem = scratch->frozen_filesystem = scratch->device = 0;
	for (int i = 0; i < STACK_WORDS; i++) {
		__u64 word = scratch->words[i], sb;

		/*
		 * stack_trace_save_tsk() begins below the scheduler's functions, among which all
		 * lock and wait functions are (__sched): their return addresses lie before its
		 * first one.
		 */
		if (word == event->stack[0])
			scratch->in_scheduler = 0;
		if (scratch->in_scheduler && word >= control.scheduler.start &&
		    word < control.scheduler.end) {
			__u32 depth = event->scheduler_depth;

			if (depth < EVENT_SCHEDULER_DEPTH) {
				event->scheduler_stack[depth] = word;
				event->scheduler_depth = depth + 1;
			}
			continue;
		}
		if (!is_heap_pointer(word))
			continue;
		sb = word_super_block(word);
		if (!scratch->device)
			scratch->device = word_device(word);
		if (!scratch->filesystem && sb && !is_pseudo(sb))
			scratch->filesystem = sb;
		if (!scratch->frozen_filesystem) {
			if (!sb)
				sb = word_freeze_lock(word);
			if (word_freeze_level(sb))
				scratch->frozen_filesystem = sb;
		}
	}
	event->stack_device_major = scratch->device >> 20;
	event->stack_device_minor = scratch->device & 0xfffff;
	if (scratch->filesystem)
		filesystem_fill(&event->stack_filesystem, (void *)scratch->filesystem);
	if (scratch->frozen_filesystem)
		filesystem_fill(&event->frozen_filesystem, (void *)scratch->frozen_filesystem);
}

static __always_inline void file_fill(struct blocked_task_event *event, struct task_struct *task,
				      __u32 descriptor)
{
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **files, *file = NULL;
	struct super_block *sb;
	struct inode *inode;

	if (!table || descriptor >= BPF_CORE_READ(table, max_fds))
		return;
	files = BPF_CORE_READ(table, fd);
	if (bpf_probe_read_kernel(&file, sizeof(file), &files[descriptor]) || !file)
		return;
	event->fd = descriptor;
	inode = BPF_CORE_READ(file, f_inode);
	if ((BPF_CORE_READ(inode, i_mode) & MODE_FORMAT) == MODE_BLOCK_DEVICE) {
		__u32 device = BPF_CORE_READ(inode, i_rdev);

		event->file_device_major = device >> 20;
		event->file_device_minor = device & 0xfffff;
		return;
	}
	sb = BPF_CORE_READ(inode, i_sb);
	if (is_super_block(sb))
		filesystem_fill(&event->file_filesystem, sb);
}

/*
 * One after another from the agent's own root, a few at every task, all of them over a look: the
 * list is circular. It is not locked here: a link that does not lead back ends the walk, and the
 * next look starts anew.
 */
static __always_inline void walk_filesystems(struct seq_file *seq, struct scratch *scratch)
{
	__u64 cursor = control.walk_cursor, steps = control.filesystems, offset;

	if (control.walk != WALK_WANTED || !bpf_core_field_exists(struct super_block, s_list))
		return;
	offset = bpf_core_field_offset(struct super_block, s_list);
	if (!cursor) {
		struct task_struct *agent = (void *)bpf_get_current_task();
		struct fs_struct___root *fs = (void *)BPF_CORE_READ(agent, fs);

		cursor = (__u64)BPF_CORE_READ(fs, root.mnt, mnt_sb) + offset;
		control.walk_first = cursor;
	}
	for (int i = 0; i < WALK_STEPS; i++) {
		struct super_block *sb = (void *)(cursor - offset);
		struct list_head *link = (void *)cursor, *next;

		if (word_freeze_level((__u64)sb)) {
			event_fill_header(&scratch->frozen.header, EVENT_FROZEN_FILESYSTEM,
					  sizeof(scratch->frozen));
			filesystem_fill(&scratch->frozen.filesystem, sb);
			/* Without room all that this call wrote is dropped, and it is called again. */
			if (bpf_seq_write(seq, &scratch->frozen, sizeof(scratch->frozen)))
				return;
		}
		next = BPF_CORE_READ(link, next);
		if (++steps > WALK_TOTAL_MAX || BPF_CORE_READ(next, prev) != link) {
			control.walk = WALK_BROKEN;
			return;
		}
		cursor = (__u64)next;
		if (cursor == control.walk_first) {
			control.walk = WALK_COMPLETE;
			break;
		}
	}
	control.walk_cursor = cursor;
	control.filesystems = steps;
}

/* --- Waits --- */

static __always_inline bool stack_has(const struct blocked_task_event *event,
				      const struct address_range *range)
{
	if (!range->start)
		return false;
#pragma unroll
	for (int i = 0; i < 8; i++)
		if (event->stack[i] >= range->start && event->stack[i] < range->end)
			return true;
	return false;
}

/* The innermost frames, by which two sleeps are told apart. */
static __always_inline __u64 stack_hash(const struct blocked_task_event *event)
{
	__u64 hash = 0xcbf29ce484222325;

#pragma unroll
	for (int i = 0; i < 16; i++)
		hash = (hash ^ event->stack[i]) * 0x100000001b3;
	return hash;
}

static __always_inline void stack_fill(struct blocked_task_event *event, struct task_struct *task)
{
	long length;

	__builtin_memset(event->stack, 0, 16 * sizeof(event->stack[0]));
	length = bpf_get_task_stack(task, event->stack, sizeof(event->stack), 0);
	event->stack_depth = length > 0 ? length / sizeof(event->stack[0]) : 0;
}

static __always_inline __u64 io_accounting(struct task_struct *task)
{
	struct task_struct___ioac *accounted = (void *)task;

	if (!bpf_core_field_exists(accounted->ioac))
		return 0;
	return BPF_CORE_READ(accounted, ioac.rchar) + BPF_CORE_READ(accounted, ioac.wchar) +
	       BPF_CORE_READ(accounted, ioac.syscr) + BPF_CORE_READ(accounted, ioac.syscw) +
	       BPF_CORE_READ(accounted, ioac.read_bytes) +
	       BPF_CORE_READ(accounted, ioac.write_bytes);
}

/*
 * A waiter in direct I/O is woken every half hung_task_timeout, sees that nothing has come, and
 * sleeps on (blk_io_schedule, submit_bio_wait). Nothing else may have moved.
 */
static __always_inline bool only_ticked(const struct blocked_wait *wait,
					struct blocked_task_event *event, struct task_struct *task,
					__u64 switches, __u64 now)
{
	if (!control.tick_ns ||
	    switches - wait->switches > (now - wait->since_boot_ns) / control.tick_ns + 1 ||
	    io_accounting(task) != wait->io_accounting)
		return false;
	stack_fill(event, task);
	if (stack_hash(event) != wait->stack_hash)
		return false;
#pragma unroll
	for (int i = 0; i < TICKING_FUNCTIONS_MAX; i++)
		if (stack_has(event, &control.ticking[i]))
			return true;
	return false;
}

static __always_inline void lock_fill(struct blocked_task_event *event, struct task_struct *task)
{
	struct task_struct___blocker *with_blocker = (void *)task;
	struct task_struct *owner = NULL;
	__u64 blocker, address;

	if (!bpf_core_field_exists(with_blocker->blocker))
		return;
	blocker = BPF_CORE_READ(with_blocker, blocker);
	if (!blocker)
		return;
	address = blocker & ~3ULL;
	event->lock = address;
	event->lock_kind = blocker & 3;
	if (event->lock_kind == LOCK_MUTEX) {
		owner = (void *)(BPF_CORE_READ((struct mutex *)address, owner.counter) & ~7ULL);
	} else if (event->lock_kind == LOCK_SEMAPHORE) {
		struct semaphore___last_holder *semaphore = (void *)address;

		if (bpf_core_field_exists(semaphore->last_holder))
			owner = (void *)BPF_CORE_READ(semaphore, last_holder);
	} else {
		owner = (void *)(BPF_CORE_READ((struct rw_semaphore *)address, owner.counter) &
				 ~7ULL);
	}
	if (!is_heap_pointer((__u64)owner))
		return;
	event->owner_pid = BPF_CORE_READ(owner, pid);
	event->owner_tgid = BPF_CORE_READ(owner, tgid);
	event->owner_start_boot_ns = BPF_CORE_READ(owner, start_boottime);
	event->owner_state = task_state(owner);
	bpf_probe_read_kernel(event->owner_comm, sizeof(event->owner_comm), &owner->comm);
}

static __always_inline void detail_fill(struct scratch *scratch, struct task_struct *task)
{
	struct blocked_task_event *event = &scratch->event;
	struct pt_regs *registers = NULL;
	struct cgroup_subsys_state *css;

	event->syscall = -1;
	event->fd = -1;
	event->file_filesystem.known = 0;
	event->stack_filesystem.known = 0;
	event->frozen_filesystem.known = 0;
	event->file_device_major = event->file_device_minor = 0;
	event->stack_device_major = event->stack_device_minor = 0;
	if (!(event->flags & BLOCKED_KERNEL_THREAD))
		registers = user_registers(task);
	if (registers) {
		event->syscall = syscall_number(registers);
		if (works_on_descriptor(event->syscall))
			file_fill(event, task, syscall_argument(registers));
	}
	stack_fill(event, task);
	stack_scan(scratch, task);
	css = task_css(task, memory_cgrp_id);
	cgroup_fill(&event->cgroup,
		    css ? BPF_CORE_READ(css, cgroup) : BPF_CORE_READ(task, cgroups, dfl_cgrp));
}

/* True if TASK sleeps, interruptibly, for the answer of a FUSE server; its stack is filled then. */
static __always_inline bool waits_for_fuse(struct blocked_task_event *event,
					   struct task_struct *task)
{
	struct pt_regs *registers;

	if (!control.fuse_wait.start)
		return false;
	registers = user_registers(task);
	if (!registers || sleeps_by_nature(syscall_number(registers)))
		return false;
	__builtin_memset(event->stack, 0, 8 * sizeof(event->stack[0]));
	bpf_get_task_stack(task, event->stack, 8 * sizeof(event->stack[0]), 0);
	return stack_has(event, &control.fuse_wait);
}

/* The wait that TASK is in, new or known; NULL if there is no room for it. */
static __always_inline struct blocked_wait *wait_update(struct scratch *scratch,
							struct task_struct *task, __u32 pid,
							long state, __u64 now)
{
	__u64 switches = BPF_CORE_READ(task, nvcsw) + BPF_CORE_READ(task, nivcsw);
	__u64 start = BPF_CORE_READ(task, start_boottime);
	struct blocked_wait *wait = bpf_map_lookup_elem(&blocked_tasks, &pid);
	struct blocked_wait *fresh = &scratch->fresh;

	if (wait && wait->start_boot_ns == start) {
		if (wait->look == control.look)
			return wait;
		if (wait->look == control.look - 1 &&
		    (wait->switches == switches ||
		     only_ticked(wait, &scratch->event, task, switches, now))) {
			wait->look = control.look;
			return wait;
		}
	}
	stack_fill(&scratch->event, task);
	fresh->start_boot_ns = start;
	fresh->since_boot_ns = now;
	fresh->look = control.look;
	fresh->switches = switches;
	fresh->io_accounting = io_accounting(task);
	fresh->stack_hash = stack_hash(&scratch->event);
	fresh->state = state;
	fresh->looks_detailed = 0;
	fresh->freeze_wait = stack_has(&scratch->event, &control.freeze_wait);
	bpf_probe_read_kernel(fresh->comm, sizeof(fresh->comm), &task->comm);
	if (bpf_map_update_elem(&blocked_tasks, &pid, fresh, BPF_ANY)) {
		event_count_lost(EVENT_BLOCKED_TASK);
		return NULL;
	}
	return bpf_map_lookup_elem(&blocked_tasks, &pid);
}

/* Returns false if the record did not fit, and the kernel will call again. */
static __always_inline bool task_visit(struct seq_file *seq, struct scratch *scratch,
				       struct task_struct *task)
{
	struct blocked_task_event *event = &scratch->event;
	__u32 pid = BPF_CORE_READ(task, pid), flags = BPF_CORE_READ(task, flags);
	bool again = pid == control.last_pid, kernel_thread = flags & PF_KTHREAD;
	long state = task_state(task);
	struct blocked_wait *wait;
	__u64 now;

	control.last_pid = pid;
	if (!again)
		control.tasks++;
	if (flags & PF_FROZEN || (kernel_thread && !control.kernel_threads) ||
	    BPF_CORE_READ(task, exit_state))
		return true;
	if (state & TASK_UNINTERRUPTIBLE) {
		if (state & TASK_NOLOAD)
			return true;
	} else if (!(state & TASK_INTERRUPTIBLE) || kernel_thread || !waits_for_fuse(event, task)) {
		return true;
	}
	if (!again)
		control.blocked++;
	now = bpf_ktime_get_boot_ns();
	wait = wait_update(scratch, task, pid, state, now);
	if (!wait || wait->since_boot_ns == now)
		return true;
	if (!again) {
		control.waiting++;
		control.freeze_waiting += wait->freeze_wait;
	}
	if (now - wait->since_boot_ns < control.threshold_ns)
		return true;

	event->since_boot_ns = wait->since_boot_ns;
	event->state = state;
	event->flags = (kernel_thread ? BLOCKED_KERNEL_THREAD : 0) |
		       (BPF_CORE_READ_BITFIELD_PROBED(task, in_iowait) ? BLOCKED_IO_WAIT : 0);
	event->lock = 0;
	event->lock_kind = 0;
	event->owner_pid = event->owner_tgid = event->owner_state = 0;
	event->owner_start_boot_ns = 0;
	__builtin_memset(event->owner_comm, 0, sizeof(event->owner_comm));
	task_fill(&event->task, task);
	lock_fill(event, task);
	if (wait->looks_detailed >= DETAILED_LOOKS) {
		event_fill_header(&event->header, EVENT_BLOCKED_TASK, BLOCKED_TASK_FIRST_HALF);
		if (bpf_seq_write(seq, event, BLOCKED_TASK_FIRST_HALF))
			return false;
	} else {
		event->flags |= BLOCKED_DETAILED;
		detail_fill(scratch, task);
		event_fill_header(&event->header, EVENT_BLOCKED_TASK, sizeof(*event));
		if (bpf_seq_write(seq, event, sizeof(*event)))
			return false;
		wait->looks_detailed++;
	}
	control.records++;
	return true;
}

SEC("iter/task")
int find_blocked(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct seq_file *seq = ctx->meta->seq;
	__u32 zero = 0;
	struct scratch *scratch = bpf_map_lookup_elem(&blocked_scratch, &zero);

	if (!scratch)
		return 0;
	/* No task: the end of the list, and the last call of this look. */
	if (task && !task_visit(seq, scratch, task))
		return 0;
	walk_filesystems(seq, scratch);
	return 0;
}
