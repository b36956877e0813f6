// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What one process writes, from the first write on that may begin a goroutine dump, by file
 * descriptor. Seen on entry of the system call, so that it does not matter what comes of it.
 *
 * While it is attached every system call of the machine takes the slower path through the kernel's
 * tracing of system calls (measured on 6.18: 0.1 µs each): it is for moments.
 */
#include "vmlinux.h"

#include "write_watch.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

/* As far into a buffer a dump is looked for: what a logger puts before it is shorter. */
#define LOOK_BYTES 320
#define VECTORS_MAX 16
/* Pieces that one call may copy: 4 MiB of large ones. */
#define PIECES_MAX 256

#if defined(__TARGET_ARCH_x86)
#define NR_WRITE 1
#define NR_PWRITE64 18
#define NR_WRITEV 20
#elif defined(__TARGET_ARCH_arm64)
#define NR_WRITE 64
#define NR_PWRITE64 68
#define NR_WRITEV 66
#else
#error "the numbers of write, writev and pwrite64 are not known here"
#endif

struct write_watch_control control;

/* Descriptors on which a dump may have begun. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WRITE_WATCH_FILES_MAX);
	__type(key, __s32);
	__type(value, __u32);
} dump_files SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, WRITE_WATCH_RING_BYTES);
} writes SEC(".maps");

/*
 * True if "oroutine" is in the first bytes of a buffer: of "goroutine 1 [" and of "goroutine stack dump".
 * A global function: the verifier looks at its loop once, and not in each iteration of the caller's.
 */
__noinline int begins_dump(__u64 address, __u64 length)
{
	const __u64 word = 0x6f726f7574696e65; /* "oroutine", first letter first */
	__u64 window = 0;
	char bytes[LOOK_BYTES] = {};

	if (length > sizeof(bytes))
		length = sizeof(bytes);
	if (length < 8 || bpf_probe_read_user(bytes, length, (void *)address))
		return 0;
	for (__u64 i = 0; i < sizeof(bytes); i++) {
		if (i >= length)
			break;
		window = window << 8 | (__u8)bytes[i];
		if (window == word)
			return 1;
	}
	return 0;
}

/* One record with room for SIZE bytes. */
static __always_inline void record_send(__u64 address, __u64 total, __u64 offset, __u64 length,
					__s32 fd, const __u32 size)
{
	struct write_record *record =
		bpf_ringbuf_reserve(&writes, sizeof(struct write_record) + size, 0);

	if (!record) {
		__sync_fetch_and_add(&control.lost, 1);
		return;
	}
	record->address = address;
	record->total = total;
	record->offset = offset;
	record->length = length;
	record->fd = fd;
	record->pad = 0;
	__sync_fetch_and_add(&control.bytes, length);
	record->flags = bpf_probe_read_user(record->data, length, (void *)(address + offset))
				? WRITE_UNREADABLE
				: 0;
	bpf_ringbuf_submit(record, 0);
}

/* One piece of a buffer; returns its length. A global function, as begins_dump() is. */
__noinline int piece_send(__u64 address, __u64 total, __u64 offset, int fd)
{
	__u64 length = total - offset;

	if (length > WRITE_WATCH_LARGE)
		length = WRITE_WATCH_LARGE;
	if (length <= WRITE_WATCH_SMALL)
		record_send(address, total, offset, length, fd, WRITE_WATCH_SMALL);
	else
		record_send(address, total, offset, length, fd, WRITE_WATCH_LARGE);
	return length;
}

__noinline int buffer_send(__u64 address, __u64 total, int fd)
{
	__u64 offset = 0;

	for (int i = 0; i < PIECES_MAX; i++) {
		if (offset >= total)
			return 0;
		if (control.bytes >= control.bytes_max)
			break;
		offset += (__u32)piece_send(address, total, offset, fd);
	}
	if (offset < total)
		__sync_fetch_and_add(&control.cut, 1);
	return 0;
}

static __always_inline void on_buffer(__u64 address, __u64 total, int fd)
{
	const __u32 yes = 1;

	if (!bpf_map_lookup_elem(&dump_files, &fd)) {
		if (!begins_dump(address, total))
			return;
		if (bpf_map_update_elem(&dump_files, &fd, &yes, BPF_ANY)) {
			__sync_fetch_and_add(&control.lost, 1);
			return;
		}
	}
	buffer_send(address, total, fd);
}

static __always_inline void on_write(struct pt_regs *registers, long number)
{
	__u64 address, count;
	int fd;

	if (bpf_get_current_pid_tgid() >> 32 != control.tgid)
		return;
	if (number != NR_WRITE && number != NR_PWRITE64 && number != NR_WRITEV)
		return;
	fd = (int)PT_REGS_PARM1_CORE_SYSCALL(registers);
	address = PT_REGS_PARM2_CORE_SYSCALL(registers);
	count = PT_REGS_PARM3_CORE_SYSCALL(registers);
	if (number != NR_WRITEV) {
		on_buffer(address, count, fd);
		return;
	}
	for (__u32 i = 0; i < VECTORS_MAX; i++) {
		struct iovec vector;

		if (i >= count || bpf_probe_read_user(&vector, sizeof(vector),
						      (void *)(address + i * sizeof(vector))))
			return;
		on_buffer((__u64)vector.iov_base, vector.iov_len, fd);
	}
	if (count > VECTORS_MAX)
		__sync_fetch_and_add(&control.cut, 1);
}

SEC("?tp_btf/sys_enter")
int BPF_PROG(write_watch_btf, struct pt_regs *registers, long number)
{
	on_write(registers, number);
	return 0;
}

SEC("?raw_tp/sys_enter")
int BPF_PROG(write_watch_raw, struct pt_regs *registers, long number)
{
	on_write(registers, number);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
