/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What kernel_log.bpf.c and the agent share: a line of the kernel's log, and what lines are sought
 * by. To be included after events.h.
 */
#pragma once

#define KERNEL_LINE_SIZE 512
#define KERNEL_LINE_STACK_DEPTH 20

/*
 * A needle is this many bytes in a row of what a rule looks for; the end and the start of a line
 * count as a newline. Each rule has two (or the same twice, if it is short): lines that have both
 * are sent. A bit for the hash of each is set in a filter of 1 << NEEDLE_HASH_BITS bits, and each
 * is a key of the map `needles`.
 */
#define NEEDLE_BYTES 6
#define NEEDLE_MASK ((1ULL << (8 * NEEDLE_BYTES)) - 1)
#define NEEDLE_HASH_BITS 15
#define NEEDLE_WORDS ((1 << NEEDLE_HASH_BITS) / 64)
#define NEEDLE_RULES_MAX 128
#define NEEDLES_MAX (2 * NEEDLE_RULES_MAX)

/* The rules that have a needle as their first, or their second: a bit for each. */
struct needle_rules {
	__u64 first[NEEDLE_RULES_MAX / 64], second[NEEDLE_RULES_MAX / 64];
};

static inline __u32 needle_hash(__u64 needle)
{
	return (__u32)((needle * 0x9e3779b97f4a7c15ULL) >> (64 - NEEDLE_HASH_BITS));
}

/* Functions of the kernel, and the parts that compilers cut off them. */
#define PROGRAM_CODE_COUNT 4
struct kernel_code {
	__u64 start, end;
};

/* More lines than this in a second are only counted: they share the ring with all that happens. */
#define KERNEL_LINES_A_SECOND 1000

enum kernel_line_flags {
	KERNEL_LINE_CUT = 1 << 0, /* the line was longer */
	KERNEL_LINE_KERNEL = 1 << 1, /* the kernel itself wrote it */
	KERNEL_LINE_PROGRAM = 1 << 2, /* a program wrote it to /dev/kmsg; neither: not known */
};

/* Text that was logged at once, mostly one line; without the newline at its end. */
struct kernel_line_event {
	struct event_header header; /* its size tells how much of text is there */
	__u32 length; /* of text */
	__u32 flags;
	char text[KERNEL_LINE_SIZE];
};

_Static_assert(sizeof(struct kernel_line_event) == 24 + 8 + KERNEL_LINE_SIZE,
	       "kernel_line_event is the wire format");
