/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What depends on the architecture in looking at a task that is not running: its system call, its
 * kernel stack, and which numbers there can be pointers.
 */
#pragma once

#include "common.bpf.h"

/* The registers that TASK entered the kernel with, or NULL. Not for kernel threads. */
static __always_inline struct pt_regs *user_registers(struct task_struct *task)
{
	/* 5.15: kernel commit dd6e10fbd9fb. */
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
		return (struct pt_regs *)bpf_task_pt_regs(task);
#if defined(__TARGET_ARCH_x86)
	/* As task_pt_regs() does: at the end of the stack, of 16 KiB on x86-64 since 3.15. */
	void *stack = BPF_CORE_READ(task, stack);
	struct pt_regs *registers = stack + 16384 - bpf_core_type_size(struct pt_regs);
	unsigned long segment = 0;

	bpf_probe_read_kernel(&segment, sizeof(__u16), &registers->cs);
	if (stack && (segment & 3) == 3)
		return registers;
#endif
	return NULL;
}

#if defined(__TARGET_ARCH_x86)

static __always_inline long syscall_number(struct pt_regs *registers)
{
	return (long)BPF_CORE_READ(registers, orig_ax);
}

static __always_inline long syscall_argument(struct pt_regs *registers)
{
	return (long)BPF_CORE_READ(registers, di);
}

static __always_inline __u64 stack_pointer(struct task_struct *task)
{
	return BPF_CORE_READ(task, thread.sp);
}

/*
 * Neither text nor modules nor per-CPU data of this kernel, which are above. With five-level page
 * tables the kernel's half begins here; with four it begins higher, and what lies between is not
 * readable.
 */
static __always_inline bool is_heap_pointer(__u64 word)
{
	return word >= 0xff00000000000000 && word < 0xffffffff80000000 && !(word & 7);
}

/* System calls that sleep as a matter of course, and reach no file system. */
static __always_inline bool sleeps_by_nature(long number)
{
	switch (number) {
	case 7:
	case 23:
	case 270:
	case 271: /* poll, select, pselect6, ppoll */
	case 232:
	case 281:
	case 441: /* epoll_wait, epoll_pwait, epoll_pwait2 */
	case 202:
	case 219:
	case 449:
	case 455: /* futex, restart_syscall, futex_waitv, futex_wait */
	case 34:
	case 35:
	case 230:
	case 128:
	case 130: /* pause, nanosleep, clock_nanosleep, rt_sigtimedwait, rt_sigsuspend */
	case 61:
	case 247: /* wait4, waitid */
	case 43:
	case 288:
	case 45:
	case 47:
	case 299: /* accept, accept4, recvfrom, recvmsg, recvmmsg */
	case 65:
	case 70:
	case 220:
	case 208:
	case 333: /* semop, msgrcv, semtimedop, io_getevents, io_pgetevents */
		return true;
	}
	return false;
}

/* System calls whose first argument is the file that they work on. */
static __always_inline bool works_on_descriptor(long number)
{
	switch (number) {
	case 0:
	case 1:
	case 5:
	case 8:
	case 16:
	case 17:
	case 18:
	case 19:
	case 20:
	case 40:
	case 72:
	case 73:
	case 74:
	case 75:
	case 77:
	case 78:
	case 91:
	case 93:
	case 187:
	case 190:
	case 193:
	case 196:
	case 217:
	case 221:
	case 275:
	case 277:
	case 278:
	case 285:
	case 295:
	case 296:
	case 306:
	case 326:
	case 327:
	case 328:
		return true;
	}
	return false;
}

#elif defined(__TARGET_ARCH_arm64)

static __always_inline long syscall_number(struct pt_regs *registers)
{
	return BPF_CORE_READ(registers, syscallno);
}

static __always_inline long syscall_argument(struct pt_regs *registers)
{
	return (long)BPF_CORE_READ(registers, orig_x0);
}

static __always_inline __u64 stack_pointer(struct task_struct *task)
{
	return BPF_CORE_READ(task, thread.cpu_context.sp);
}

/* The kernel's half, of 52-bit addresses at most. */
static __always_inline bool is_heap_pointer(__u64 word)
{
	return word >= 0xfff0000000000000 && !(word & 7);
}

static __always_inline bool sleeps_by_nature(long number)
{
	switch (number) {
	case 72:
	case 73:
	case 22:
	case 441:
	case 98:
	case 128:
	case 449:
	case 455:
	case 101:
	case 115:
	case 133:
	case 137:
	case 260:
	case 95:
	case 202:
	case 242:
	case 207:
	case 212:
	case 243:
	case 192:
	case 193:
	case 188:
	case 4:
	case 292:
		return true;
	}
	return false;
}

static __always_inline bool works_on_descriptor(long number)
{
	switch (number) {
	case 5:
	case 8:
	case 11:
	case 14:
	case 16:
	case 25:
	case 29:
	case 32:
	case 44:
	case 46:
	case 47:
	case 50:
	case 52:
	case 55:
	case 61:
	case 62:
	case 63:
	case 64:
	case 65:
	case 66:
	case 67:
	case 68:
	case 69:
	case 70:
	case 71:
	case 75:
	case 76:
	case 77:
	case 80:
	case 82:
	case 83:
	case 84:
	case 213:
	case 267:
	case 285:
	case 286:
	case 287:
		return true;
	}
	return false;
}

#endif
