/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's SQLite database. Only the worker process calls this: everything here may block on the
 * disk. Private to store/.
 *
 * Errors: -EINVAL, -ENOENT and (in memory) -ENOBUFS concern one record or question; every other
 * negative errno means that the medium is unusable, and database_explain tells it for a person.
 */
#pragma once

#include <limits.h>
#include <sqlite3.h>

#include "base/cleanup.h"
#include "base/problem.h"
#include "core/abnormal.h"
#include "store/store.h"
#include "store/store_protocol.h"

#define DATABASE_FILE "lifeboat.db"
#define DATABASE_VERSION 2
/* In a document, as SQL: what its actions were done to, if that is not the Abnormal itself. */
#define SUBJECT_PATH "'$.metadata.annotations.\"" ANNOTATION_SUBJECT "\"'"
/* Damaged databases that are kept aside. */
#define DATABASE_CORRUPT_KEPT 3
/*
 * In memory: over the first, ended Abnormals are dropped early; over the second, records are
 * refused.
 */
#define DATABASE_MEMORY_BYTES (64 * MIB)
#define DATABASE_MEMORY_BYTES_MAX (256 * MIB)

enum database_statement {
	STATEMENT_BEGIN,
	STATEMENT_COMMIT,
	STATEMENT_ROLLBACK,
	STATEMENT_SAVEPOINT,
	STATEMENT_RELEASE,
	STATEMENT_ROLLBACK_TO,
	STATEMENT_PAGE_SIZE,
	STATEMENT_PAGE_COUNT,
	STATEMENT_FREE_COUNT,
	STATEMENT_COUNT_ABNORMALS,
	STATEMENT_COUNT_FINAL,
	STATEMENT_FIND,
	STATEMENT_PUT,
	STATEMENT_TRANSITION,
	STATEMENT_FORGET_ACTIONS,
	STATEMENT_ACTIONS,
	STATEMENT_DELETE_ROW,
	STATEMENT_REMEMBER_DELETED,
	STATEMENT_FORGET_DELETED,
	STATEMENT_TRIM_DELETED,
	STATEMENT_POSITION,
	STATEMENT_GET,
	STATEMENT_LIST,
	STATEMENT_HISTORY,
	STATEMENT_LIVE,
	STATEMENT_RECENT,
	STATEMENT_ACTED,
	STATEMENT_POSITIONS,
	STATEMENT_RETAIN_AGE,
	STATEMENT_RETAIN_COUNT,
	STATEMENT_VACUUM,
	STATEMENT_END,
};

struct database {
	sqlite3 *sqlite;
	int lock_fd;
	const char *directory; /* NULL: in memory; borrowed */
	bool standby;
	char path[PATH_MAX]; /* of the database, for messages */
	sqlite3_stmt *statements[STATEMENT_END];
	uint64_t abnormals, bytes;
	int log_pages; /* in the write-ahead log, after the last commit */
	struct problem warning; /* text is empty unless a damaged database was set aside */
	void (*progress)(void *userdata);
	void *progress_userdata;
};

struct database_options {
	const char *directory;
	bool standby;
	uint64_t lock_wait_ns;
	void (*progress)(void *userdata); /* called now and then in long work, or NULL */
	void *userdata;
};

/*
 * Opens the database, alone (no other process may have it), sound (a damaged one is set aside) and
 * writable (proven by a write). On error PROBLEM tells what to do.
 */
int database_open(const struct database_options *options, struct database **ret_database,
		  struct problem *problem);
void database_free(struct database *database);
DEFINE_CLEANUP(struct database, database_free);

/* Tells why the last call failed with ERROR; returns ERROR. */
int database_explain(struct database *database, int error, struct problem *problem);

int database_begin(struct database *database);
/* Makes durable what was written since database_begin. */
int database_commit(struct database *database);
/*
 * Writes zeros where the write-ahead log will be, if the disk has much room. A commit that makes a
 * file longer waits for the filesystem's journal, and with it for what others write: 0.3 s were
 * seen (docs/performance.md).
 */
void database_make_room(struct database *database);
/* Empties a full write-ahead log into the database. Commits do not do that by themselves. */
void database_checkpoint(struct database *database);

/*
 * For one row: text and length; a second text for positions. Returns 0 or a negative errno, which
 * ends it.
 */
typedef int (*database_row)(void *userdata, const char *text, size_t length, const char *second);
/* For one action that was begun; the texts are borrowed. Returns as database_row. */
typedef int (*database_acted_row)(void *userdata, const struct store_action *action);

/*
 * Applies one record whole or not at all, inside database_begin. REMOVED gets the uid of an
 * Abnormal that another of the same name replaced.
 */
int database_apply(struct database *database, const struct record *record, database_row removed,
		   void *userdata);

static inline bool database_is_refusal(int error)
{
	return error == -EINVAL || error == -ENOENT || error == -ENOBUFS;
}

/* Questions. Of a list and a history the rows' texts together are one JSON list. */
int database_get(struct database *database, const char *namespace, const char *name,
		 database_row row, void *userdata);
int database_list(struct database *database, const char *namespace, database_row row,
		  void *userdata);
int database_history(struct database *database, const char *namespace, const char *name,
		     database_row row, void *userdata);

/*
 * The state found: live ones; of the ended that were heard of at or after SINCE the last
 * STORE_RECENT_MAXIMUM, the latest first; what was done to the others of these, the latest first,
 * at most STORE_ACTED_MAXIMUM; positions.
 */
int database_live(struct database *database, database_row row, void *userdata);
int database_recent(struct database *database, int64_t since_realtime_ns, database_row row,
		    void *userdata);
int database_acted(struct database *database, int64_t since_realtime_ns, database_acted_row row,
		   void *userdata);
int database_positions(struct database *database, database_row row, void *userdata);

/* Removes what is over AGE or COUNT (0: no such limit), in a transaction of its own. */
int database_retain(struct database *database, int64_t now_realtime_ns, uint64_t age_ns,
		    uint64_t count, database_row removed, void *userdata);

/* A copy of the whole database in an anonymous file. */
int database_dump(struct database *database, int *ret_fd);
/* Takes in the dump of a standby database, in one transaction: what it holds is newer. */
int database_merge(struct database *database, int dump_fd);

/* For the parts of database*.c. */
int database_error(struct database *database, int code);
int database_prepare(struct database *database, enum database_statement which,
		     sqlite3_stmt **ret_statement);
int database_run(struct database *database, sqlite3_stmt *statement);
int database_execute(struct database *database, const char *sql);
int database_number(struct database *database, enum database_statement which, uint64_t *ret_number);
int database_measure(struct database *database);
