/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The durable store, as the agent sees it: requests go to a process of their own (store_worker.h),
 * which owns the SQLite database, and answers come back as callbacks on the event loop. So a disk
 * that hangs — perhaps the very one that a fault is about — blocks the worker, never the agent.
 *
 * Durability: when the callback of store_write has been called with 0 on medium STORE_DISK, the
 * record survives kill -9 and power loss. Records become durable in the order they were written,
 * several in one transaction when many are waiting.
 *
 * Trouble: when the database cannot be opened, written or answered within the deadline, the store
 * goes on in memory: a fresh worker with an in-memory database gets the live Abnormals that the
 * store's owner hands it (on_medium), and every write not yet acknowledged. The disk is tried again
 * every 30 s; once it is back, what memory holds is merged into it. on_medium tells of each change,
 * with the reason for a person. A worker that dies is started anew and gets what it had not
 * acknowledged; after three deaths within a minute the store goes on in memory too.
 *
 * No handler or callback is called from within store_start, store_write or a question, and none may
 * call store_stop.
 */
#pragma once

#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "core/abnormal.h"

struct store;

enum store_medium { STORE_OPENING, STORE_DISK, STORE_MEMORY };
extern const char *const store_medium_names[]; /* "opening", "disk", "memory" */

/*
 * One durable transaction. Members may be NULL/0 where not needed; nothing is kept after the call.
 */
struct store_record {
	const struct abnormal *abnormal; /* put whole (by namespace and name) */
	const char *transition; /* name of the transition taken, for the history; or NULL */
	/* Deletes instead of puts. */
	const char *delete_namespace, *delete_name;
	/* A source's position, opaque to the store. */
	const char *position_source, *position;
};

struct store_counts {
	uint64_t abnormals, writes, write_errors, pending, commits, bytes;
};

/* Of those that have ended, so many are handed over whole: 11 KiB of memory each, two MiB. */
#define STORE_RECENT_MAXIMUM 192
/* Of what was done to the others, so much. */
#define STORE_ACTED_MAXIMUM 4096

/* What a recoverer has begun (neither refused nor a dry run). */
struct store_action {
	const char *recoverer, *subject; /* abnormal_subject */
	int64_t intent_time; /* ns since 1970, or TIME_ABSENT */
};

/* The state found at start. */
struct store_loaded {
	struct abnormal **live; /* not final; the callee takes each it wants with TAKE_PTR */
	size_t live_count;
	/*
	 * Final ones that were heard of (an end, a sighting, an action) within the options'
	 * history_ns, the latest first (for cooldown); at most STORE_RECENT_MAXIMUM.
	 */
	struct abnormal **recent;
	size_t recent_count;
	/* What was done to the others, the latest first; at most STORE_ACTED_MAXIMUM. */
	struct store_action *acted;
	size_t acted_count;
	cJSON *positions; /* {source: position} */
};

/* Each may be NULL. */
struct store_handlers {
	/* Once, when the state is loaded (from disk, or empty in memory). */
	void (*on_ready)(void *userdata, struct store_loaded *loaded);
	/*
	 * The medium changed, or there is something to tell of it; REASON is for a person. Not
	 * called when the store starts on a sound disk: on_ready says that. STORE_DISK with a
	 * REASON that is not "": a damaged database was set aside. On STORE_MEMORY, also when it
	 * comes again (the worker in memory died), the owner calls store_write for every live
	 * Abnormal it holds.
	 */
	void (*on_medium)(void *userdata, enum store_medium medium, const char *reason);
	/*
	 * The store had started in memory, and the disk now answers: this is what it held that
	 * memory does not know. Comes after on_medium(STORE_DISK); on_ready came before, with
	 * nothing.
	 */
	void (*on_recovered)(void *userdata, struct store_loaded *loaded);
	/* Retention removed the Abnormal of UID, or another of the same name took its place. */
	void (*on_removed)(void *userdata, const char *uid);
	/*
	 * At start: another agent uses the directory. The store does nothing more and is to be
	 * freed, later. Without this handler it goes on in memory.
	 */
	void (*on_refused)(void *userdata, const char *reason);
	void *userdata;
};

struct store_options {
	sd_event *event;
	const char *directory; /* made when missing, mode 0700; NULL: memory only, by choice */
	uint64_t retention_age_ns; /* final Abnormals older than this are removed; 0: none */
	uint64_t retention_count; /* and the oldest over this many; 0: none */
	uint64_t history_ns;
	uint64_t deadline_ns; /* of an answer, before the disk counts as hung; 0: 10 s */
	uint64_t retry_ns; /* between two tries of a disk that failed; 0: 30 s */
	uint64_t retention_interval_ns; /* from one removal to the next; 0: 1 min */
	const char *worker_program; /* of `PROGRAM store-worker`; NULL: /proc/self/exe */
};

/* Starts the worker. on_ready follows on the loop. Returns 0 or a negative errno. */
int store_start(const struct store_options *options, const struct store_handlers *handlers,
		struct store **ret_store);

/*
 * Lets the worker commit what it has, for at most TIMEOUT_NS (blocking: for the end of the agent
 * only), and frees the store. For what is in memory the disk is tried until then. Callbacks that were
 * still waiting get -ECANCELED; handlers are not called any more. Returns how many Abnormals could not be
 * saved, and are lost.
 */
uint64_t store_stop(struct store *store, uint64_t timeout_ns);

enum store_medium store_medium(const struct store *store, const char **ret_reason);
const struct store_counts *store_counts(const struct store *store);

/*
 * RESULT is 0, or a negative errno that concerns this record alone: -ENOENT (there was nothing to
 * delete), -EINVAL, -ENOBUFS (in memory: over 256 MiB), -ECANCELED (store_stop). Errors of the disk
 * never reach here, as the store then goes on in memory.
 */
typedef void (*store_written)(void *userdata, int result);

/*
 * Queues one record. CALLBACK may be NULL. Returns 0, -ENOBUFS (too many waiting: 65536, or 64
 * MiB), -EFBIG (the Abnormal has over 4 MiB), -EINVAL (it has no name, or the record nothing) or
 * -ENOMEM.
 */
int store_write(struct store *store, const struct store_record *record, store_written callback,
		void *userdata);

/*
 * Reading. TEXT is JSON, valid during the callback: for store_get the Abnormal, for store_list a
 * list of them by namespace and creation time, for store_history a list of {time, from, to,
 * transition}; NULL with a negative errno (-ENOENT: there is none; -ETIMEDOUT: after twice the
 * deadline; -EFBIG: over 64 MiB; -ECANCELED). They see every record queued before them. In memory
 * they see what was written since the disk failed. Returns 0, -ENOBUFS (1024 are waiting) or
 * -ENOMEM.
 */
typedef void (*store_answer)(void *userdata, int result, const char *text, size_t length);
int store_get(struct store *store, const char *namespace, const char *name, store_answer callback,
	      void *userdata);
/* NAMESPACE NULL: all of them. */
int store_list(struct store *store, const char *namespace, store_answer callback, void *userdata);
int store_history(struct store *store, const char *namespace, const char *name,
		  store_answer callback, void *userdata);
