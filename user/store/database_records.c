/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store's database holds: writing records, answering questions and retention. All
 * statements are in one table below; the hand-over of a standby database is in database_handover.c.
 */
#include "store/database.h"

#include "base/clock.h"

/* Deletions that a standby database remembers; older ones are forgotten. */
#define DELETED_MAX "65536"
#define NOT_KNOWN " AND (namespace, name) NOT IN (SELECT namespace, name FROM temp.known)"
#define RECENT                                   \
	" WHERE final AND heard >= ?1" NOT_KNOWN \
	" ORDER BY heard DESC LIMIT " STRINGIFY(STORE_RECENT_MAXIMUM)

static const char *const statement_sql[STATEMENT_END] = {
	[STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
	[STATEMENT_COMMIT] = "COMMIT",
	[STATEMENT_ROLLBACK] = "ROLLBACK",
	[STATEMENT_SAVEPOINT] = "SAVEPOINT record",
	[STATEMENT_RELEASE] = "RELEASE record",
	[STATEMENT_ROLLBACK_TO] = "ROLLBACK TO record",
	[STATEMENT_PAGE_SIZE] = "PRAGMA page_size",
	[STATEMENT_PAGE_COUNT] = "PRAGMA page_count",
	[STATEMENT_FREE_COUNT] = "PRAGMA freelist_count",
	[STATEMENT_COUNT_ABNORMALS] = "SELECT count(*) FROM abnormals",
	[STATEMENT_COUNT_FINAL] = "SELECT count(*) FROM abnormals WHERE final",
	[STATEMENT_FIND] = "SELECT id, uid, phase, uid = ?3 FROM abnormals"
			   " WHERE namespace = ?1 AND name = ?2",
	/* The end is told once: repeats folded into an ended Abnormal do not move it. */
	[STATEMENT_PUT] =
		"INSERT INTO abnormals (namespace, name, uid, fingerprint, phase, final, created, "
		"ended,"
		" heard, document) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, iif(?6, ?8, NULL), ?9, ?10)"
		" ON CONFLICT (namespace, name) DO UPDATE SET fingerprint = excluded.fingerprint,"
		" phase = excluded.phase, final = excluded.final, created = excluded.created,"
		" ended = iif(excluded.final, coalesce(ended, excluded.ended), NULL),"
		" heard = excluded.heard, document = excluded.document RETURNING id",
	[STATEMENT_TRANSITION] =
		"INSERT OR IGNORE INTO transitions"
		" (abnormal, time, from_phase, to_phase, transition, run, record) VALUES (?1, ?2,"
		" coalesce((SELECT to_phase FROM transitions WHERE abnormal = ?1 ORDER BY id DESC "
		"LIMIT 1), ?3),"
		" ?4, ?5, ?6, ?7)",
	[STATEMENT_FORGET_ACTIONS] = "DELETE FROM actions WHERE abnormal = ?1",
	[STATEMENT_ACTIONS] =
		"INSERT INTO actions SELECT ?1, key, value ->> 'recoverer', value ->> 'target',"
		" value ->> 'intentTime', value ->> 'finishTime', value ->> 'outcome',"
		" value ->> 'verification', ?2 ->> " SUBJECT_PATH
		" FROM json_each(?2, '$.status.actions')",
	[STATEMENT_DELETE_ROW] = "DELETE FROM abnormals WHERE id = ?1",
	[STATEMENT_REMEMBER_DELETED] =
		"INSERT OR IGNORE INTO deleted (namespace, name) VALUES (?1, ?2)",
	[STATEMENT_FORGET_DELETED] = "DELETE FROM deleted WHERE namespace = ?1 AND name = ?2",
	[STATEMENT_TRIM_DELETED] =
		"DELETE FROM deleted WHERE id <= (SELECT id FROM deleted ORDER BY id DESC"
		" LIMIT 1 OFFSET " DELETED_MAX ")",
	[STATEMENT_POSITION] = "INSERT INTO positions VALUES (?1, ?2)"
			       " ON CONFLICT (source) DO UPDATE SET position = excluded.position",
	[STATEMENT_GET] = "SELECT document FROM abnormals WHERE namespace = ?1 AND name = ?2",
	[STATEMENT_LIST] = "SELECT document FROM abnormals WHERE ?1 IS NULL OR namespace = ?1"
			   " ORDER BY namespace, created, name",
	[STATEMENT_HISTORY] =
		"SELECT time, json_quote(coalesce(from_phase, '')), json_quote(to_phase),"
		" json_quote(transition) FROM transitions WHERE abnormal = ?1 ORDER BY id",
	[STATEMENT_LIVE] =
		"SELECT document FROM abnormals WHERE NOT final" NOT_KNOWN " ORDER BY created",
	[STATEMENT_RECENT] = "SELECT document FROM abnormals" RECENT,
	/* What was only looked at or refused has not begun. */
	[STATEMENT_ACTED] =
		"SELECT recoverer, coalesce(subject, name), intent_time FROM actions"
		" JOIN abnormals ON id = abnormal WHERE final AND heard >= ?1" NOT_KNOWN
		" AND id NOT IN (SELECT id FROM abnormals" RECENT ") AND recoverer IS NOT NULL"
		" AND coalesce(outcome, '') NOT IN ('Refused', 'DryRun')"
		" ORDER BY intent_time DESC LIMIT " STRINGIFY(STORE_ACTED_MAXIMUM),
	[STATEMENT_POSITIONS] = "SELECT source, position FROM positions",
	[STATEMENT_RETAIN_AGE] = "DELETE FROM abnormals WHERE final AND ended < ?1 RETURNING uid",
	[STATEMENT_RETAIN_COUNT] =
		"DELETE FROM abnormals WHERE id IN (SELECT id FROM abnormals WHERE final"
		" ORDER BY ended DESC, id DESC LIMIT -1 OFFSET ?1) RETURNING uid",
	[STATEMENT_VACUUM] = "PRAGMA incremental_vacuum(1024)",
};

int database_prepare(struct database *database, enum database_statement which,
		     sqlite3_stmt **ret_statement)
{
	sqlite3_stmt **statement = &database->statements[which];

	if (*statement) {
		sqlite3_reset(*statement);
		sqlite3_clear_bindings(*statement);
	} else {
		int code = sqlite3_prepare_v3(database->sqlite, statement_sql[which], -1,
					      SQLITE_PREPARE_PERSISTENT, statement, NULL);
		if (code != SQLITE_OK)
			return database_error(database, code);
	}
	*ret_statement = *statement;
	return 0;
}

static int run_plain(struct database *database, enum database_statement which)
{
	sqlite3_stmt *statement = NULL;
	int r = database_prepare(database, which, &statement);

	return r < 0 ? r : database_run(database, statement);
}

/* Borrowed texts: they outlive the statement's run. */
static void bind_text(sqlite3_stmt *statement, int index, const char *text)
{
	sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
}

/* Calls ROW for each row's first column (and second, if there is one). */
static int each_row(struct database *database, sqlite3_stmt *statement, database_row row,
		    void *userdata)
{
	int code, r = 0;

	while (r == 0 && (code = sqlite3_step(statement)) == SQLITE_ROW) {
		const char *text = (const char *)sqlite3_column_text(statement, 0);
		const char *second = sqlite3_column_count(statement) > 1
					     ? (const char *)sqlite3_column_text(statement, 1)
					     : NULL;

		r = text ? row(userdata, text, (size_t)sqlite3_column_bytes(statement, 0), second)
			 : -ENOMEM;
	}
	if (r == 0)
		r = database_error(database, code);
	sqlite3_reset(statement);
	return r;
}

int database_number(struct database *database, enum database_statement which, uint64_t *ret_number)
{
	sqlite3_stmt *statement = NULL;
	int r = database_prepare(database, which, &statement);

	if (r < 0)
		return r;
	int code = sqlite3_step(statement);
	r = database_error(database, code);
	if (code == SQLITE_ROW)
		*ret_number = (uint64_t)sqlite3_column_int64(statement, 0);
	sqlite3_reset(statement);
	return r;
}

static int database_measure_bytes(struct database *database)
{
	uint64_t page_size = 0, pages = 0, free_pages = 0;
	int r = database_number(database, STATEMENT_PAGE_SIZE, &page_size);

	if (r == 0)
		r = database_number(database, STATEMENT_PAGE_COUNT, &pages);
	if (r == 0)
		r = database_number(database, STATEMENT_FREE_COUNT, &free_pages);
	if (r == 0)
		database->bytes = (pages - free_pages) * page_size;
	return r;
}

int database_measure(struct database *database)
{
	int r = database_number(database, STATEMENT_COUNT_ABNORMALS, &database->abnormals);

	return r < 0 ? r : database_measure_bytes(database);
}

int database_begin(struct database *database)
{
	return run_plain(database, STATEMENT_BEGIN);
}

int database_commit(struct database *database)
{
	int r = run_plain(database, STATEMENT_COMMIT);

	return r < 0 ? r : database_measure_bytes(database);
}

struct found {
	int64_t id; /* 0: there is none */
	char uid[256], phase[64];
	bool same; /* as UID asked for */
};

static int database_find(struct database *database, const char *namespace, const char *name,
			 const char *uid, struct found *ret_found)
{
	sqlite3_stmt *statement = NULL;
	int r = database_prepare(database, STATEMENT_FIND, &statement);

	if (r < 0)
		return r;
	bind_text(statement, 1, namespace);
	bind_text(statement, 2, name);
	bind_text(statement, 3, uid);
	int code = sqlite3_step(statement);
	r = database_error(database, code);
	*ret_found = (struct found){0};
	if (code == SQLITE_ROW) {
		ret_found->id = sqlite3_column_int64(statement, 0);
		snprintf(ret_found->uid, sizeof(ret_found->uid), "%s",
			 (const char *)sqlite3_column_text(statement, 1));
		snprintf(ret_found->phase, sizeof(ret_found->phase), "%s",
			 (const char *)sqlite3_column_text(statement, 2));
		ret_found->same = sqlite3_column_int(statement, 3);
	}
	sqlite3_reset(statement);
	return r;
}

static int delete_row(struct database *database, int64_t id)
{
	sqlite3_stmt *statement = NULL;
	int r = database_prepare(database, STATEMENT_DELETE_ROW, &statement);

	if (r < 0)
		return r;
	sqlite3_bind_int64(statement, 1, id);
	r = database_run(database, statement);
	if (r == 0)
		database->abnormals--;
	return r;
}

static int put_row(struct database *database, const struct record *record, int64_t *ret_id)
{
	sqlite3_stmt *statement = NULL;
	int r = database_prepare(database, STATEMENT_PUT, &statement);

	if (r < 0)
		return r;
	bind_text(statement, 1, record->namespace);
	bind_text(statement, 2, record->name);
	bind_text(statement, 3, record->uid);
	bind_text(statement, 4, record->fingerprint);
	bind_text(statement, 5, record->phase);
	sqlite3_bind_int(statement, 6, record->final);
	sqlite3_bind_int64(statement, 7, record->created);
	sqlite3_bind_int64(statement, 8, record->ended);
	sqlite3_bind_int64(statement, 9, record->heard);
	sqlite3_bind_text(statement, 10, record->document, (int)record->document_length,
			  SQLITE_STATIC);
	int code = sqlite3_step(statement);
	if (code == SQLITE_ROW) {
		*ret_id = sqlite3_column_int64(statement, 0);
		code = sqlite3_step(statement);
	}
	r = database_error(database, code);
	sqlite3_reset(statement);
	return r;
}

static int put_transition(struct database *database, const struct record *record, int64_t id,
			  const struct found *before)
{
	sqlite3_stmt *statement = NULL;
	int r = database_prepare(database, STATEMENT_TRANSITION, &statement);

	if (r < 0)
		return r;
	sqlite3_bind_int64(statement, 1, id);
	sqlite3_bind_int64(statement, 2, record->time);
	if (before->id)
		bind_text(statement, 3, before->phase);
	bind_text(statement, 4, record->phase);
	bind_text(statement, 5, record->transition);
	sqlite3_bind_int64(statement, 6, (int64_t)record->run);
	sqlite3_bind_int64(statement, 7, (int64_t)record->sequence);
	return database_run(database, statement);
}

static int put_actions(struct database *database, const struct record *record, int64_t id)
{
	sqlite3_stmt *statement = NULL;
	int r = database_prepare(database, STATEMENT_FORGET_ACTIONS, &statement);

	if (r == 0) {
		sqlite3_bind_int64(statement, 1, id);
		r = database_run(database, statement);
	}
	if (r == 0 && record->actions) {
		r = database_prepare(database, STATEMENT_ACTIONS, &statement);
		if (r < 0)
			return r;
		sqlite3_bind_int64(statement, 1, id);
		sqlite3_bind_text(statement, 2, record->document, (int)record->document_length,
				  SQLITE_STATIC);
		r = database_run(database, statement);
	}
	return r;
}

static int run_named(struct database *database, enum database_statement which,
		     const char *namespace, const char *name)
{
	sqlite3_stmt *statement = NULL;
	int r = database_prepare(database, which, &statement);

	if (r < 0)
		return r;
	bind_text(statement, 1, namespace);
	bind_text(statement, 2, name);
	return database_run(database, statement);
}

static int apply_put(struct database *database, const struct record *record, database_row removed,
		     void *userdata)
{
	struct found before;
	int64_t id = 0;

	if (!record->namespace || !record->name || !record->uid || !record->fingerprint ||
	    !record->phase || !record->document)
		return -EINVAL;
	if (!database->directory && database->bytes > DATABASE_MEMORY_BYTES_MAX)
		return -ENOBUFS;
	int r = database_find(database, record->namespace, record->name, record->uid, &before);
	if (r == 0 && before.id && !before.same) {
		r = delete_row(database, before.id);
		if (r == 0)
			r = removed(userdata, before.uid, strlen(before.uid), NULL);
		before.id = 0;
	}
	if (r == 0)
		r = put_row(database, record, &id);
	if (r == 0 && !before.id)
		database->abnormals++;
	if (r == 0 && record->transition)
		r = put_transition(database, record, id, &before);
	if (r == 0)
		r = put_actions(database, record, id);
	if (r == 0 && database->standby)
		r = run_named(database, STATEMENT_FORGET_DELETED, record->namespace, record->name);
	return r;
}

static int apply_delete(struct database *database, const struct record *record)
{
	struct found before;

	if (!record->delete_name)
		return -EINVAL;
	int r = database_find(database, record->delete_namespace, record->delete_name, NULL,
			      &before);
	if (r == 0 && before.id)
		r = delete_row(database, before.id);
	/*
	 * The disk may have what the standby database does not; its answer comes too late to be
	 * asked.
	 */
	else if (r == 0 && database->standby)
		r = run_named(database, STATEMENT_REMEMBER_DELETED, record->delete_namespace,
			      record->delete_name);
	else if (r == 0 && !record->again)
		r = -ENOENT;
	return r;
}

static int apply_parts(struct database *database, const struct record *record, database_row removed,
		       void *userdata)
{
	int r = 0;

	if (record->put)
		r = apply_put(database, record, removed, userdata);
	if (r == 0 && record->delete_namespace)
		r = apply_delete(database, record);
	if (r == 0 && record->position_source)
		r = run_named(database, STATEMENT_POSITION, record->position_source,
			      record->position ? record->position : "");
	return r;
}

int database_apply(struct database *database, const struct record *record, database_row removed,
		   void *userdata)
{
	uint64_t abnormals = database->abnormals;
	int r = run_plain(database, STATEMENT_SAVEPOINT);

	if (r < 0)
		return r;
	r = apply_parts(database, record, removed, userdata);
	if (r == 0)
		return run_plain(database, STATEMENT_RELEASE);
	database->abnormals = abnormals;
	/* On a failure of the medium SQLite may have ended the whole transaction already. */
	if (database_is_refusal(r)) {
		int undo = run_plain(database, STATEMENT_ROLLBACK_TO);

		if (undo == 0)
			undo = run_plain(database, STATEMENT_RELEASE);
		r = undo < 0 ? undo : r;
	}
	return r;
}

int database_get(struct database *database, const char *namespace, const char *name,
		 database_row row, void *userdata)
{
	struct found found;
	sqlite3_stmt *statement = NULL;
	int r = database_find(database, namespace, name, NULL, &found);

	if (r == 0 && !found.id)
		r = -ENOENT;
	if (r == 0)
		r = database_prepare(database, STATEMENT_GET, &statement);
	if (r < 0)
		return r;
	bind_text(statement, 1, namespace);
	bind_text(statement, 2, name);
	return each_row(database, statement, row, userdata);
}

struct list_rows {
	database_row row;
	void *userdata;
	bool more;
};

static int list_row(void *userdata, const char *text, size_t length, const char *second)
{
	struct list_rows *list = userdata;
	int r = list->row(list->userdata, list->more ? "," : "[", 1, NULL);

	list->more = true;
	return r < 0 ? r : list->row(list->userdata, text, length, NULL);
}

static int list_end(struct list_rows *list)
{
	return list->row(list->userdata, list->more ? "]" : "[]", list->more ? 1 : 2, NULL);
}

int database_list(struct database *database, const char *namespace, database_row row,
		  void *userdata)
{
	struct list_rows list = {.row = row, .userdata = userdata};
	sqlite3_stmt *statement = NULL;
	int r = database_prepare(database, STATEMENT_LIST, &statement);

	if (r < 0)
		return r;
	bind_text(statement, 1, namespace);
	r = each_row(database, statement, list_row, &list);
	return r < 0 ? r : list_end(&list);
}

static int history_row(struct list_rows *list, sqlite3_stmt *statement)
{
	char time[TIME_TEXT_SIZE], text[512];
	int length = snprintf(text, sizeof(text),
			      "{\"time\":\"%s\",\"from\":%s,\"to\":%s,\"transition\":%s}",
			      time_format(sqlite3_column_int64(statement, 0), time),
			      (const char *)sqlite3_column_text(statement, 1),
			      (const char *)sqlite3_column_text(statement, 2),
			      (const char *)sqlite3_column_text(statement, 3));

	return length < (int)sizeof(text) ? list_row(list, text, (size_t)length, NULL) : -EINVAL;
}

int database_history(struct database *database, const char *namespace, const char *name,
		     database_row row, void *userdata)
{
	struct list_rows list = {.row = row, .userdata = userdata};
	sqlite3_stmt *statement = NULL;
	struct found found;
	int code = SQLITE_OK, r = database_find(database, namespace, name, NULL, &found);

	if (r == 0 && !found.id)
		r = -ENOENT;
	if (r == 0)
		r = database_prepare(database, STATEMENT_HISTORY, &statement);
	if (r < 0)
		return r;
	sqlite3_bind_int64(statement, 1, found.id);
	while (r == 0 && (code = sqlite3_step(statement)) == SQLITE_ROW)
		r = history_row(&list, statement);
	if (r == 0)
		r = database_error(database, code);
	sqlite3_reset(statement);
	return r < 0 ? r : list_end(&list);
}

static int rows_of(struct database *database, enum database_statement which, const int64_t *number,
		   database_row row, void *userdata)
{
	sqlite3_stmt *statement = NULL;
	int r = database_prepare(database, which, &statement);

	if (r < 0)
		return r;
	if (number)
		sqlite3_bind_int64(statement, 1, *number);
	return each_row(database, statement, row, userdata);
}

int database_live(struct database *database, database_row row, void *userdata)
{
	return rows_of(database, STATEMENT_LIVE, NULL, row, userdata);
}

int database_recent(struct database *database, int64_t since_realtime_ns, database_row row,
		    void *userdata)
{
	return rows_of(database, STATEMENT_RECENT, &since_realtime_ns, row, userdata);
}

int database_acted(struct database *database, int64_t since_realtime_ns, database_acted_row row,
		   void *userdata)
{
	sqlite3_stmt *statement = NULL;
	int code = SQLITE_OK, r = database_prepare(database, STATEMENT_ACTED, &statement);

	if (r < 0)
		return r;
	sqlite3_bind_int64(statement, 1, since_realtime_ns);
	while (r == 0 && (code = sqlite3_step(statement)) == SQLITE_ROW) {
		struct store_action action = {
			.recoverer = (const char *)sqlite3_column_text(statement, 0),
			.subject = (const char *)sqlite3_column_text(statement, 1),
		};
		const char *time = (const char *)sqlite3_column_text(statement, 2);

		if (!action.recoverer || !action.subject)
			r = -ENOMEM;
		/* Without a time it counts as just begun. */
		else if (!time || time_parse(time, &action.intent_time) < 0)
			action.intent_time = TIME_ABSENT;
		if (r == 0)
			r = row(userdata, &action);
	}
	if (r == 0)
		r = database_error(database, code);
	sqlite3_reset(statement);
	return r;
}

int database_positions(struct database *database, database_row row, void *userdata)
{
	return rows_of(database, STATEMENT_POSITIONS, NULL, row, userdata);
}

int database_retain(struct database *database, int64_t now_realtime_ns, uint64_t age_ns,
		    uint64_t count, database_row removed, void *userdata)
{
	uint64_t final = 0;
	int r = database_number(database, STATEMENT_COUNT_FINAL, &final);

	if (r == 0 && !database->directory && database->bytes > DATABASE_MEMORY_BYTES)
		count = count ? MIN(count, final * 3 / 4) : final * 3 / 4 + 1;
	if (r == 0)
		r = database_begin(database);
	if (r == 0 && age_ns) {
		int64_t oldest =
			age_ns < (uint64_t)now_realtime_ns ? now_realtime_ns - (int64_t)age_ns : 0;

		r = rows_of(database, STATEMENT_RETAIN_AGE, &oldest, removed, userdata);
	}
	if (r == 0 && count) {
		int64_t most = count < INT64_MAX ? (int64_t)count : INT64_MAX;

		r = rows_of(database, STATEMENT_RETAIN_COUNT, &most, removed, userdata);
	}
	if (r == 0 && database->standby)
		r = run_plain(database, STATEMENT_TRIM_DELETED);
	if (r == 0)
		r = database_commit(database);
	if (r == 0)
		r = run_plain(database, STATEMENT_VACUUM);
	return r < 0 ? r : database_measure(database);
}
