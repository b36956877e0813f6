/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store's two halves say to each other: frames on a stream socket. Both are the same
 * binary on the same machine, so numbers travel in the machine's own byte order. Private to store/.
 *
 * The agent's frames are answered in order. A record is answered by a FRAME_COMMITTED whose
 * sequence is its own or a later one (one answer for all that went into one transaction), a
 * question by any number of FRAME_PART and one FRAME_END. FRAME_FAILED answers everything: the
 * worker cannot go on.
 */
#pragma once

#include "base/buffer.h"

/* The greatest payload. An Abnormal that does not fit is refused by store_write. */
#define FRAME_BYTES_MAX (4 * MIB)
/* Long answers are cut into frames of about this size. */
#define FRAME_PART_BYTES (128 * KIB)

enum frame_type {
	/* From the agent. */
	FRAME_OPEN = 1, /* struct open_request */
	FRAME_RECORD, /* struct record */
	FRAME_GET, /* namespace, name */
	FRAME_LIST, /* namespace or NULL */
	FRAME_HISTORY, /* namespace, name */
	FRAME_DUMP, /* give the whole database */
	FRAME_MERGE, /* 1 if the disk's state is wanted back; carries the descriptor of a dump */
	/* From the worker. */
	FRAME_PROGRESS, /* a long work goes on */
	FRAME_LIVE, /* the document of a live Abnormal */
	FRAME_RECENT, /* the document of one that ended and was heard of a short time ago */
	FRAME_ACTED, /* recoverer, subject, time of the intent */
	FRAME_POSITION, /* source, position */
	FRAME_OPENED, /* warning or NULL, then as FRAME_COMMITTED */
	FRAME_COMMITTED, /* abnormals, bytes: all records up to this sequence are durable */
	FRAME_REJECTED, /* errno: this record alone was refused; a FRAME_COMMITTED follows */
	FRAME_PART, /* a piece of an answer */
	FRAME_END, /* errno */
	FRAME_REMOVED, /* uid of an Abnormal that retention removed */
	FRAME_DUMPED, /* the FRAME_DUMP's sequence; carries the dump's descriptor */
	FRAME_MERGED, /* as FRAME_COMMITTED */
	FRAME_FAILED, /* errno, text for a person */
	FRAME_TYPE_END,
};

/* A record that was sent before, perhaps to a worker that made it durable without telling. */
#define FRAME_FLAG_AGAIN 1

struct frame_header {
	uint32_t size; /* of the payload */
	uint16_t type;
	uint16_t flags;
	uint64_t sequence;
};

/* Writing: put functions remember the first error, which frame_finish returns. */
struct frame_writer {
	struct buffer *buffer;
	size_t start;
	int error;
};

struct frame_writer frame_start(struct buffer *buffer, enum frame_type type, uint64_t sequence);
void frame_put_number(struct frame_writer *writer, uint64_t number);
void frame_put_text(struct frame_writer *writer, const char *text); /* may be NULL */
void frame_put_bytes(struct frame_writer *writer, const char *text, size_t length);
/* Returns 0, -EFBIG over FRAME_BYTES_MAX, -ENOBUFS or -ENOMEM; the buffer is then as it was. */
int frame_finish(struct frame_writer *writer);

/* Reading: texts are borrowed and followed by a NUL; frame_check tells whether all was well. */
struct frame {
	struct frame_header header;
	const char *payload;
	size_t offset;
	bool broken;
};

uint64_t frame_number(struct frame *frame);
const char *frame_text(struct frame *frame, size_t *ret_length); /* ret_length may be NULL */
/* 0, or -EBADMSG if the payload was shorter or longer than what was read. */
int frame_check(const struct frame *frame);

/* One end of the socket: what has come in and what has yet to go out. */
struct channel {
	int fd;
	struct buffer in, out;
	size_t taken; /* bytes of `in` that were read as frames */
	int received_fd; /* the last descriptor that came, or -1; take it with TAKE_FD */
};

void channel_init(struct channel *channel, int fd); /* takes FD */
void channel_close(struct channel *channel);

/*
 * Receives what is there, up to 64 KiB, without waiting. Frames got before become invalid.
 * Returns the number of bytes, 0 at the end, -EAGAIN when there is nothing, or another errno.
 */
ssize_t channel_receive(struct channel *channel);
/* Returns 1 and the next whole frame, 0 if there is none, or -EBADMSG. */
int channel_next(struct channel *channel, struct frame *ret_frame);
/* Sends what has yet to go out. Returns 0 (all sent), -EAGAIN or another errno. */
int channel_flush(struct channel *channel);
/*
 * Sends an empty frame of TYPE, or one of a single number, together with the descriptor FD (not
 * taken). Nothing else may wait to go out. Returns 0 or a negative errno.
 */
int channel_send_fd(struct channel *channel, enum frame_type type, uint64_t number, int fd);

struct open_request {
	uint64_t run; /* random, of this agent's run: with a record's sequence it names the record
			 for ever */
	uint64_t retention_age_ns, retention_count, retention_interval_ns;
	uint64_t history_ns, lock_wait_ns;
	bool load; /* the state found is wanted */
	bool standby; /* in memory in place of a disk: deletions are remembered for the merge */
};

/* One durable transaction. Texts are borrowed. */
struct record {
	uint64_t run, sequence;
	bool again;
	int64_t time; /* realtime, when it was queued */
	bool put;
	const char *namespace, *name, *uid, *fingerprint, *phase;
	bool final, actions;
	int64_t created, ended, heard;
	const char *document;
	size_t document_length;
	const char *transition;
	const char *delete_namespace, *delete_name;
	const char *position_source, *position;
};

void open_request_put(struct frame_writer *writer, const struct open_request *request);
int open_request_get(struct frame *frame, struct open_request *ret_request);
void record_put(struct frame_writer *writer, const struct record *record);
int record_get(struct frame *frame, uint64_t run, struct record *ret_record);
