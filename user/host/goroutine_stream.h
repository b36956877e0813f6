/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds a goroutine dump in what a process writes, one stream a file descriptor. Owns the bytes it
 * keeps, which are those from a dump's beginning on; all others are let go at once.
 */
#pragma once

#include <linux/types.h>

#include "base/buffer.h"
#include "../../bpf/write_watch.h"

#define GOROUTINE_STREAMS_MAX 16

struct goroutine_stream {
	int fd;
	bool ignored; /* known to carry somebody else's output */
	bool begun, ended; /* a dump's beginning and its END marker were seen */
	bool marked; /* the BEGIN marker was seen */
	bool truncated; /* bytes were over the cap, or could not be read */
	bool repeated; /* the buffer being read is the rest of the one before, written again */
	struct buffer text;
	/* The last buffer, and where in TEXT its first byte is, or would be. */
	uint64_t address, total;
	int64_t start;
	uint64_t next; /* offset in it that the next piece has, if none is lost */
};

struct goroutine_streams {
	struct goroutine_stream items[GOROUTINE_STREAMS_MAX];
	size_t count;
	size_t bytes_max; /* of each */
};

void goroutine_streams_clear(struct goroutine_streams *streams);

/* The stream of FD, made when absent; NULL when there are too many. */
struct goroutine_stream *goroutine_stream_of(struct goroutine_streams *streams, int fd);

/*
 * Takes one piece of a write. Returns 1 if it belongs to a dump, 0 if it does not, or -ENOMEM.
 */
int goroutine_stream_add(struct goroutine_stream *stream, const struct write_record *record);

/*
 * The stream that holds the dump most likely to be the process's own: one in markers before one
 * without, standard error before others. NULL if there is none.
 */
struct goroutine_stream *goroutine_streams_best(struct goroutine_streams *streams);
