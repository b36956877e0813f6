/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A BPF ring as it lies in memory (kernel/bpf/ringbuf.c): reading its records without letting go of
 * them. libbpf's reader gives every record's room back as soon as it was handed over; here that is the
 * caller's to say.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../bpf/events_types.h"

struct ring_view {
	size_t bytes, page_bytes;
	unsigned long *consumer; /* a page of its own; written to only if WRITABLE */
	const unsigned long *producer;
	const uint8_t *data; /* twice in a row, so that no record is cut */
};

/* Maps the ring behind FD. Returns 0 or a negative errno. */
int ring_view_open(int fd, bool writable, struct ring_view *ret_view);
void ring_view_close(struct ring_view *view);

uint64_t ring_view_consumed(const struct ring_view *view);
/* Gives the room of what lies before POSITION back. */
void ring_view_consume(struct ring_view *view, uint64_t position);

/*
 * The record at *POSITION, which then is where the next one begins; discarded ones are passed over.
 * False if there is none, or none yet.
 */
bool ring_view_next(const struct ring_view *view, uint64_t *position, const void **ret_record,
		    size_t *ret_length);

/* Unread records, by type. */
struct ring_left {
	uint64_t records;
	uint64_t by_type[EVENT_TYPE_COUNT]; /* EVENT_NONE: of no type that this version knows */
};
int ring_left_count(int fd, struct ring_left *ret_left);
/* "3 oom_kill, 1 process_crash". Returns TEXT. */
const char *ring_left_text(const struct ring_left *left, char *text, size_t size);
