/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Super blocks and block devices: telling them, and telling whether a number is a pointer to one,
 * or to something that belongs to one. Each is proven by a second pointer that leads back.
 */
#pragma once

#include "common.bpf.h"
#include "task_registers.bpf.h"

#define FREEZE_LEVELS 3 /* SB_FREEZE_LEVELS - 1 percpu_rw_semaphores a super block */
#define BDEVFS_MAGIC 0x62646576

/* int up to 6.1, short by 6.12: read by its size. */
struct sb_writers___frozen {
	int frozen;
} FLAVOUR;
/* A bio names its disk up to 5.11, its block device since: kernel commit 309dca309fc3. */
struct bio___disk {
	struct gendisk *bi_disk;
} FLAVOUR;
struct bio___device {
	struct block_device *bi_bdev;
} FLAVOUR;
/* request_queue.disk came with 5.15: kernel commit d152c682f03c. */
struct request_queue___disk {
	struct gendisk *disk;
} FLAVOUR;

static __always_inline bool is_super_block(struct super_block *sb)
{
	struct dentry *root = NULL;

	if (!is_heap_pointer((__u64)sb))
		return false;
	root = BPF_CORE_READ(sb, s_root);
	/* Lists lead back, too, but a root is also its own parent. */
	return root && BPF_CORE_READ(root, d_sb) == sb && BPF_CORE_READ(root, d_parent) == root;
}

static __always_inline __u32 freeze_level(struct super_block *sb)
{
	if (bpf_core_field_size(sb->s_writers.frozen) == 2)
		return (__u16)BPF_CORE_READ(sb, s_writers.frozen);
	struct sb_writers___frozen *writers =
		(void *)sb + bpf_core_field_offset(struct super_block, s_writers);
	return BPF_CORE_READ(writers, frozen);
}

static __always_inline void filesystem_fill(struct event_filesystem *event, struct super_block *sb)
{
	__u32 device = BPF_CORE_READ(sb, s_dev), disk = BPF_CORE_READ(sb, s_bdev, bd_dev);

	event->known = 1;
	event->major = device >> 20;
	event->minor = device & 0xfffff;
	event->device_major = disk >> 20;
	event->device_minor = disk & 0xfffff;
	event->freeze_level = freeze_level(sb);
	BPF_CORE_READ_STR_INTO(&event->id, sb, s_id);
	bpf_probe_read_kernel_str(event->type, sizeof(event->type),
				  BPF_CORE_READ(sb, s_type, name));
}

static __always_inline bool is_disk(struct gendisk *disk)
{
	struct request_queue *queue;

	if (!is_heap_pointer((__u64)disk))
		return false;
	queue = BPF_CORE_READ(disk, queue);
	if (!is_heap_pointer((__u64)queue))
		return false;
	struct request_queue___disk *with_disk = (void *)queue;
	return !bpf_core_field_exists(with_disk->disk) || BPF_CORE_READ(with_disk, disk) == disk;
}

/* The device number of a block_device, or 0 if it is none. */
static __always_inline __u32 device_number(struct block_device *device)
{
	if (!is_heap_pointer((__u64)device) || !is_disk(BPF_CORE_READ(device, bd_disk)))
		return 0;
	return BPF_CORE_READ(device, bd_dev);
}

static __always_inline __u32 bio_device(__u64 word)
{
	struct bio___disk *old = (void *)word;

	if (bpf_core_field_exists(old->bi_disk)) {
		struct gendisk *disk = BPF_CORE_READ(old, bi_disk);

		if (!is_disk(disk))
			return 0;
		return (__u32)BPF_CORE_READ(disk, major) << 20 |
		       (__u32)BPF_CORE_READ(disk, first_minor);
	}
	return device_number(BPF_CORE_READ((struct bio___device *)word, bi_bdev));
}

/*
 * The next four judge a number found on a stack, or in a list. They are global functions, which the
 * verifier goes through once, and not at each of the calls in loops.
 */

/*
 * The super block that WORD is, or that the structure at WORD belongs to; 0 if it is no such
 * pointer.
 */
__noinline __u64 word_super_block(__u64 word)
{
	struct super_block *sb = (void *)word;
	struct vfsmount *mount = (void *)word;

	if (is_super_block(sb))
		return word;
	sb = BPF_CORE_READ((struct inode *)word, i_sb);
	if (is_super_block(sb))
		return (__u64)sb;
	sb = BPF_CORE_READ((struct dentry *)word, d_sb);
	if (is_super_block(sb))
		return (__u64)sb;
	sb = BPF_CORE_READ(mount, mnt_sb);
	if (is_super_block(sb) && BPF_CORE_READ(mount, mnt_root, d_sb) == sb)
		return (__u64)sb;
	return 0;
}

/*
 * The number of the block device whose inode, buffer or bio is at WORD; 0 if it is none of these.
 */
__noinline __u64 word_device(__u64 word)
{
	struct super_block *sb = BPF_CORE_READ((struct inode *)word, i_sb);
	__u32 device;

	if (is_super_block(sb) && BPF_CORE_READ(sb, s_magic) == BDEVFS_MAGIC)
		return BPF_CORE_READ((struct inode *)word, i_rdev);
	device = device_number(BPF_CORE_READ((struct buffer_head *)word, b_bdev));
	if (!device)
		device = bio_device(word);
	return device;
}

/* The super block one of whose freeze semaphores WORD points to, or 0. */
__noinline __u64 word_freeze_lock(__u64 word)
{
	__u64 first = bpf_core_field_offset(struct super_block, s_writers) +
		      bpf_core_field_offset(struct sb_writers, rw_sem);

#pragma unroll
	for (int level = 0; level < FREEZE_LEVELS; level++) {
		__u64 sb = word - first - level * bpf_core_type_size(struct percpu_rw_semaphore);

		if (is_super_block((void *)sb))
			return sb;
	}
	return 0;
}

/* How far the super block at WORD is frozen; 0 if it is not, or is none. */
__noinline __u64 word_freeze_level(__u64 word)
{
	return is_super_block((void *)word) ? freeze_level((void *)word) : 0;
}

/* A pseudo file system, to which all block devices' inodes belong: the device is what counts. */
static __always_inline bool is_pseudo(__u64 sb)
{
	return BPF_CORE_READ((struct super_block *)sb, s_magic) == BDEVFS_MAGIC;
}
