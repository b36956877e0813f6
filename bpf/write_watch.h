/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What write_watch.bpf.c and user/host/goroutine_capture.c share. */
#pragma once

#define WRITE_WATCH_RING_BYTES (4 * 1024 * 1024)
#define WRITE_WATCH_FILES_MAX 64

/* A record has one of two sizes, as the ring is asked for constant ones. */
#define WRITE_WATCH_SMALL 448
#define WRITE_WATCH_LARGE 16384

enum write_watch_flags {
	WRITE_UNREADABLE = 1 << 0, /* the bytes were not in memory; length of them are missing */
};

/* A piece of what one write(), writev() or pwrite() was given. */
struct write_record {
	__u64 address; /* of the buffer (one element of writev()) in the process */
	__u64 total; /* its bytes */
	__u64 offset; /* of this piece in it */
	__u32 length; /* of this piece */
	__s32 fd;
	__u32 flags; /* enum write_watch_flags */
	__u32 pad;
	__u8 data[]; /* WRITE_WATCH_SMALL or WRITE_WATCH_LARGE bytes, of which length are filled */
};

_Static_assert(sizeof(struct write_record) == 40, "write_record is the wire format");

struct write_watch_control {
	__u32 tgid; /* of the process, in the initial pid namespace */
	__u32 pad;
	__u64 bytes_max; /* the program copies no more than that */
	/* Counted by the program. */
	__u64 bytes;
	__u64 lost; /* records that the ring had no room for */
	__u64 cut; /* buffers of which a part was over bytes_max, or over what one call may copy */
};
