/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the store's records go: to the disk's worker, or to one in memory while the disk fails, and
 * back. Private to store/.
 *
 *     opening ──► disk ◄──────────────────────────────┐
 *        │         │ failed, hung, dies again and again │ opened, and merged the dump
 *        └────────►└──► memory ── every retry_ns ──► a candidate
 */
#pragma once

#include "store/store_link.h"
#include "store/store_loaded.h"
#include "store/store_queue.h"

/* Deaths of a worker within a minute that are answered by starting it again. */
#define MEDIUM_DEATHS 3

struct store {
	sd_event *event;
	char *directory, *worker_program;
	struct store_handlers handlers;
	struct open_request request; /* what every worker is told */
	uint64_t deadline_ns, retry_ns;

	enum store_medium medium;
	char reason[640];
	bool ready; /* on_ready was called */
	bool loaded; /* the disk's state has reached the owner */
	bool refused; /* another agent has the directory: for ever idle */
	bool stopping; /* handlers are not called any more */

	struct store_link *primary; /* gets the queue; NULL while none can be started */
	struct store_link *candidate; /* a disk worker that may become the primary one */
	struct store_link *given_up; /* killed, and not known to be gone */
	bool paused; /* the primary was told to dump: nothing more is sent to it */
	bool dumping; /* … and has not done so */
	uint64_t dump_number;
	uint64_t deaths_ns[MEDIUM_DEATHS];

	struct store_queue queue;
	struct loading loading;
	struct store_counts counts;
	sd_event_source *tick, *retry;
	uint64_t tick_due_ns;
};

/* Starts the first worker. Returns 0 or a negative errno. */
int medium_start(struct store *store);
/* Sends what the queue has, as far as the worker takes it. */
void medium_feed(struct store *store);
/* Starts a candidate if the disk is to be tried and can be. */
void medium_try_disk(struct store *store);

/*
 * A worker said that its database is open; sent the dump (borrowed); took a dump in; cannot go on.
 */
void medium_opened(struct store *store, struct store_link *link);
void medium_dumped(struct store *store, struct store_link *link, uint64_t number, int dump_fd);
int medium_merged(struct store *store, struct store_link *link);
void medium_failed(struct store *store, struct store_link *link, int error, const char *text);
/* A worker's process is gone. Frees LINK. */
void medium_died(struct store *store, struct store_link *link);

/*
 * In store_answers.c: reads and handles what a worker said, and its end. For the loop's handlers
 * and store_stop.
 */
void answers_service(struct store *store, struct store_link *link);
void answers_service_exit(struct store *store, struct store_link *link);
