/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent has asked of the store and was not answered yet, in order: the worker, or the next
 * one after it died, is sent each until its answer comes. Private to store/.
 */
#pragma once

#include "store/store.h"
#include "store/store_protocol.h"

#define QUEUE_RECORDS_MAX 65536
#define QUEUE_BYTES_MAX (64 * MIB)
#define QUEUE_QUESTIONS_MAX 1024
#define QUEUE_ANSWER_BYTES_MAX (64 * MIB)

struct queue_item {
	struct queue_item *next;
	uint64_t sequence, queued_ns;
	enum frame_type type;
	bool sent;
	int result;
	struct buffer frame;
	struct buffer text; /* the answer so far */
	store_written written;
	store_answer answer;
	void *userdata;
};

struct store_queue {
	struct queue_item *head, *tail;
	struct queue_item
		*unsent; /* the first that the present worker was not sent; NULL: all were */
	uint64_t sequence, bytes;
	uint64_t records, questions;
};

/* Queues a record or a question. Errors as of store_write and store_get. */
int queue_add_record(struct store_queue *queue, const struct store_record *record,
		     store_written callback, void *userdata);
int queue_add_question(struct store_queue *queue, enum frame_type type, const char *namespace,
		       const char *name, store_answer callback, void *userdata);

/* The next frame to send, until LIMIT bytes wait in OUT. Returns true if anything was appended. */
bool queue_send(struct store_queue *queue, struct buffer *out, size_t limit);
/* True while the worker owes an answer. */
bool queue_is_waiting(const struct store_queue *queue);
/* A new worker has to be sent everything that was not answered. */
void queue_resend(struct store_queue *queue);

/*
 * The worker's answers; they call back. -EPROTO: it answers what it was not asked. The counts of
 * written and refused records are added to COUNTS.
 */
int queue_committed(struct store_queue *queue, uint64_t sequence, struct store_counts *counts);
int queue_rejected(struct store_queue *queue, uint64_t sequence, int error);
int queue_part(struct store_queue *queue, uint64_t sequence, const char *text, size_t length);
int queue_end(struct store_queue *queue, uint64_t sequence, int error);

/* Questions queued before QUEUED_NS are answered with -ETIMEDOUT. */
void queue_expire(struct store_queue *queue, uint64_t queued_ns);
/* All that is left is answered with -ECANCELED and freed. */
void queue_cancel(struct store_queue *queue);
