/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening the store's database: alone, sound, of a known version and writable; and the helpers that
 * every statement on it shares. What is written and read is in database_records.c.
 */
#include "store/database.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/file.h"

/* SQLite calls back after about this many of its instructions: some milliseconds of work. */
#define PROGRESS_INSTRUCTIONS 100000
/* Of the write-ahead log, and a little more than what it has when it is emptied. */
#define LOG_BYTES (4 * MIB)
#define LOG_PAGES 1000
#define LOG_ROOM_FREE_BYTES (64 * LOG_BYTES)
#define NAME_CORRUPT DATABASE_FILE ".corrupt-"

/*
 * What an Abnormal's row holds besides its document is there to be searched; `heard` is when it was
 * last heard of (abnormal_latest_time). A transition is named for ever by the agent's run and the
 * record's number, so that one sent twice is kept once.
 */
static const char schema_sql[] =
	"CREATE TABLE abnormals ("
	" id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL,"
	" fingerprint TEXT NOT NULL, phase TEXT NOT NULL, final INTEGER NOT NULL,"
	" created INTEGER NOT NULL, ended INTEGER, heard INTEGER NOT NULL, document TEXT NOT NULL,"
	" UNIQUE (namespace, name));"
	"CREATE INDEX abnormals_live ON abnormals (created) WHERE NOT final;"
	"CREATE INDEX abnormals_ended ON abnormals (ended) WHERE final;"
	"CREATE INDEX abnormals_heard ON abnormals (heard) WHERE final;"
	"CREATE TABLE transitions ("
	" id INTEGER PRIMARY KEY,"
	" abnormal INTEGER NOT NULL REFERENCES abnormals (id) ON DELETE CASCADE,"
	" time INTEGER NOT NULL, from_phase TEXT, to_phase TEXT NOT NULL, transition TEXT NOT NULL,"
	" run INTEGER NOT NULL, record INTEGER NOT NULL, UNIQUE (run, record));"
	"CREATE INDEX transitions_abnormal ON transitions (abnormal, id);"
	"CREATE TABLE actions ("
	" abnormal INTEGER NOT NULL REFERENCES abnormals (id) ON DELETE CASCADE,"
	" position INTEGER NOT NULL, recoverer TEXT, target TEXT, intent_time TEXT, finish_time "
	"TEXT,"
	" outcome TEXT, verification TEXT, subject TEXT, PRIMARY KEY (abnormal, position)) "
	"WITHOUT ROWID;"
	"CREATE TABLE positions (source TEXT PRIMARY KEY, position TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE deleted (id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL,"
	" UNIQUE (namespace, name));";

/* Version 1 did not know when an Abnormal was last heard of, nor an action's subject. */
static const char upgrade_from_1_sql[] =
	"ALTER TABLE abnormals ADD COLUMN heard INTEGER NOT NULL DEFAULT 0;"
	"UPDATE abnormals SET heard = coalesce(ended, created);"
	"CREATE INDEX abnormals_heard ON abnormals (heard) WHERE final;"
	"ALTER TABLE actions ADD COLUMN subject TEXT;"
	"UPDATE actions SET subject = (SELECT document ->> " SUBJECT_PATH
	" FROM abnormals WHERE id = abnormal);";

/* A standby database remembers what it deleted, for the merge into the disk's. */
static const char standby_sql[] =
	"CREATE TRIGGER remember_deleted AFTER DELETE ON abnormals BEGIN"
	" INSERT OR IGNORE INTO deleted (namespace, name) VALUES (old.namespace, old.name); END;";

/*
 * EXCLUSIVE: no shared memory beside the WAL, so that no page fault waits for the disk, and a
 * second writer that got past the lock is kept out. The cache is small: rows are written and seldom
 * read.
 */
static const char disk_settings_sql[] =
	"PRAGMA locking_mode=EXCLUSIVE; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;"
	"PRAGMA synchronous=FULL; PRAGMA journal_size_limit=4194304;";
static const char common_settings_sql[] =
	"PRAGMA foreign_keys=ON; PRAGMA cache_size=-256; PRAGMA mmap_size=0; PRAGMA "
	"temp_store=MEMORY;"
	"PRAGMA trusted_schema=OFF;"
	/* What the agent knows already when the state is loaded: empty but after a merge. */
	"CREATE TEMP TABLE known (namespace TEXT, name TEXT, PRIMARY KEY (namespace, name)) "
	"WITHOUT ROWID;";

int database_error(struct database *database, int code)
{
	int cause = database->sqlite ? sqlite3_system_errno(database->sqlite) : 0;

	switch (code & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_CANTOPEN:
	case SQLITE_IOERR:
		return cause ? -cause : -EIO;
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return -EACCES;
	default:
		return -EINVAL;
	}
}

int database_explain(struct database *database, int error, struct problem *problem)
{
	const char *detail = database->sqlite ? sqlite3_errmsg(database->sqlite) : "";
	struct statvfs filesystem;

	switch (error) {
	case -ENOSPC:
	case -EDQUOT:
		return problem_set(
			problem, error, "", "cannot write %s: %s; free space there", database->path,
			error == -ENOSPC ? "the disk is full" : "the disk quota is used up");
	case -EROFS:
		if (statvfs(database->directory ? database->directory : "/", &filesystem) < 0 ||
		    filesystem.f_flag & ST_RDONLY)
			return problem_set(
				problem, error, "",
				"cannot write %s: its filesystem is read-only; look in the kernel "
				"log for errors of its device, or mount it writable",
				database->path);
		return problem_set(
			problem, error, "",
			"cannot write %s: the file is read-only or was replaced; restore its "
			"permissions",
			database->path);
	case -EACCES:
	case -EPERM:
		return problem_set(
			problem, error, "",
			"cannot write %s: permission denied; the agent's user must own it and its "
			"directory",
			database->path);
	case -EBUSY:
		return problem_set(problem, error, "",
				   "cannot lock %s: another program has it open; close that",
				   database->path);
	case -EUCLEAN:
		return problem_set(problem, error, "", "%s is damaged (%s)", database->path,
				   detail);
	default:
		return problem_set(
			problem, error, "",
			"cannot use %s: %s (%s); look in the kernel log for errors of its device",
			database->path, strerror(-error), detail);
	}
}

int database_execute(struct database *database, const char *sql)
{
	return database_error(database, sqlite3_exec(database->sqlite, sql, NULL, NULL, NULL));
}

int database_run(struct database *database, sqlite3_stmt *statement)
{
	int code;

	while ((code = sqlite3_step(statement)) == SQLITE_ROW)
		;
	int r = database_error(database, code);
	sqlite3_reset(statement);
	return r;
}

/* The first column of the first row of SQL, as text to free; NULL when there is none. */
static int database_text(struct database *database, const char *sql, char **ret_text)
{
	sqlite3_stmt *statement = NULL;
	char *text = NULL;
	int code = sqlite3_prepare_v2(database->sqlite, sql, -1, &statement, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	int r = database_error(database, code);
	if (code == SQLITE_ROW && sqlite3_column_text(statement, 0)) {
		text = strdup((const char *)sqlite3_column_text(statement, 0));
		r = text ? 0 : -ENOMEM;
	}
	sqlite3_finalize(statement);
	if (r == 0)
		*ret_text = text;
	return r;
}

/* Says in DIR/lock who holds it: the worker and its agent. */
static int lock_sign(int fd)
{
	char line[64];
	int length = snprintf(line, sizeof(line), "%d %d\n", getpid(), getppid());

	if (ftruncate(fd, 0) < 0 || pwrite(fd, line, (size_t)length, 0) != length)
		return errno ? -errno : -EIO;
	return 0;
}

/* -1 if PID cannot be looked at, as in another PID namespace. */
static int parent_of(int pid)
{
	_cleanup_free_ char *text = NULL;
	char path[64];
	int parent;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (file_read(AT_FDCWD, path, 4096, &text, NULL) < 0)
		return -1;
	/* comm, in brackets, may hold anything. */
	const char *bracket = strrchr(text, ')');

	return bracket && sscanf(bracket, ") %*c %d", &parent) == 1 ? parent : -1;
}

static int lock_refuse(int dir_fd, const char *directory, struct problem *problem)
{
	_cleanup_free_ char *text = NULL;
	int worker = 0, agent = 0;

	if (file_read(dir_fd, "lock", 64, &text, NULL) < 0 ||
	    sscanf(text, "%d %d", &worker, &agent) != 2)
		return problem_set(problem, -EAGAIN, "", "another process holds %s/lock",
				   directory);
	/* The holder is alive, so its pid is its own; its agent's may be somebody else's by now. */
	int parent = parent_of(worker);
	if (agent == getppid() || (parent >= 0 && parent != agent))
		return problem_set(
			problem, -EAGAIN, "",
			"the store's former process %d is stuck in the kernel and still holds "
			"%s/lock; look at the disk under it",
			worker, directory);
	return problem_set(
		problem, -EADDRINUSE, "",
		"another agent uses %s (pid %d); stop it, or give this one a state directory of "
		"its own",
		directory, agent);
}

/* Waits a little: the worker of an agent that just died may still be committing. */
static int database_lock(struct database *database, int dir_fd, uint64_t wait_ns,
			 struct problem *problem)
{
	_cleanup_close_ int fd =
		openat(dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return database_explain(database, -errno, problem);
	int r = file_lock(fd, wait_ns);
	if (r < 0)
		return r == -EWOULDBLOCK ? lock_refuse(dir_fd, database->directory, problem)
					 : database_explain(database, r, problem);
	r = lock_sign(fd);
	/*
	 * The name of the holder is for messages alone: a full disk must be told by the database.
	 */
	if (r < 0 && r != -ENOSPC && r != -EDQUOT)
		return database_explain(database, r, problem);
	database->lock_fd = TAKE_FD(fd);
	return 0;
}

static int on_progress(void *userdata)
{
	struct database *database = userdata;

	database->progress(database->progress_userdata);
	return 0;
}

static int on_logged(void *userdata, sqlite3 *sqlite, const char *name, int pages)
{
	struct database *database = userdata;

	database->log_pages = pages;
	return SQLITE_OK;
}

static int database_connect(struct database *database)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
	int code = sqlite3_open_v2(database->path, &database->sqlite, flags, NULL);

	if (code != SQLITE_OK)
		return database_error(database, code);
	sqlite3_extended_result_codes(database->sqlite, 1);
	sqlite3_busy_timeout(database->sqlite, 1000);
	sqlite3_wal_hook(database->sqlite, on_logged, database);
	if (database->progress)
		sqlite3_progress_handler(database->sqlite, PROGRESS_INSTRUCTIONS, on_progress,
					 database);
	return database_execute(database, common_settings_sql);
}

static int database_disconnect(struct database *database)
{
	for (size_t i = 0; i < STATEMENT_END; i++) {
		sqlite3_finalize(database->statements[i]);
		database->statements[i] = NULL;
	}
	int code = sqlite3_close_v2(database->sqlite);
	database->sqlite = NULL;
	return database_error(database, code);
}

/* Makes or checks the tables and proves that a write reaches the disk. */
static int database_prepare_schema(struct database *database, struct problem *problem)
{
	_cleanup_free_ char *version_text = NULL;
	char sql[64];
	int r = database_text(database, "PRAGMA user_version", &version_text);

	if (r < 0)
		return database_explain(database, r, problem);
	long version = version_text ? strtol(version_text, NULL, 10) : 0;
	if (version > DATABASE_VERSION)
		return problem_set(
			problem, -EPROTONOSUPPORT, "",
			"%s was written by a newer lifeboat (schema version %ld, this one knows up "
			"to %d); upgrade lifeboat, or move the file away",
			database->path, version, DATABASE_VERSION);
	r = database_execute(database, "BEGIN IMMEDIATE");
	if (r == 0 && version == 0)
		r = database_execute(database, schema_sql);
	if (r == 0 && version == 1)
		r = database_execute(database, upgrade_from_1_sql);
	if (r == 0 && version == 0 && database->standby)
		r = database_execute(database, standby_sql);
	/* Written also when it is the same: this is the proof that the disk takes a write. */
	snprintf(sql, sizeof(sql), "PRAGMA user_version=%d", DATABASE_VERSION);
	if (r == 0)
		r = database_execute(database, sql);
	if (r == 0)
		r = database_execute(database, "COMMIT");
	return r < 0 ? database_explain(database, r, problem) : 0;
}

/* 0, -EUCLEAN with what is wrong in PROBLEM, or another errno. */
static int database_examine(struct database *database, struct problem *problem)
{
	_cleanup_free_ char *verdict = NULL;
	int r = database_connect(database);

	if (r == 0)
		r = database_execute(database, disk_settings_sql);
	if (r == 0)
		r = database_text(database, "PRAGMA quick_check(1)", &verdict);
	if (r == 0 && !streq_ptr(verdict, "ok"))
		return problem_set(problem, -EUCLEAN, "", "%s is damaged (%s)", database->path,
				   verdict ? verdict : "it cannot be checked");
	return r < 0 ? database_explain(database, r, problem)
		     : database_prepare_schema(database, problem);
}

/* Removes the oldest of the damaged databases kept, so that not more than KEPT remain. */
static void corrupt_prune(int dir_fd, size_t kept)
{
	struct dirent **entries = NULL;
	int count = scandirat(dir_fd, ".", &entries, NULL, alphasort);
	size_t found = 0;

	/* The names end in a time, so that the last in the alphabet is the newest. */
	for (int i = count - 1; i >= 0; i--) {
		if (startswith(entries[i]->d_name, NAME_CORRUPT) &&
		    !endswith(entries[i]->d_name, "-wal") && ++found > kept) {
			char wal[NAME_MAX + 8];

			snprintf(wal, sizeof(wal), "%s-wal", entries[i]->d_name);
			unlinkat(dir_fd, entries[i]->d_name, 0);
			unlinkat(dir_fd, wal, 0);
		}
		free(entries[i]);
	}
	free(entries);
}

/* Renames the damaged database and its log, so that a person can look at them. */
static int database_set_aside(struct database *database, int dir_fd, const struct problem *damage)
{
	char time[TIME_TEXT_SIZE], name[80], wal[96];

	snprintf(name, sizeof(name), NAME_CORRUPT "%s",
		 time_format(clock_realtime(clock_system()), time));
	snprintf(wal, sizeof(wal), "%s-wal", name);
	corrupt_prune(dir_fd, DATABASE_CORRUPT_KEPT - 1);
	if (renameat(dir_fd, DATABASE_FILE, dir_fd, name) < 0)
		return -errno;
	if (renameat(dir_fd, DATABASE_FILE "-wal", dir_fd, wal) < 0 && errno != ENOENT)
		return -errno;
	problem_set(
		&database->warning, 0, "",
		"%s; it was set aside as %s, and a new database was started: what it held is not "
		"handled any more",
		damage->text, name);
	return 0;
}

static int database_open_disk(struct database *database, uint64_t lock_wait_ns,
			      struct problem *problem)
{
	_cleanup_close_ int dir_fd = -1;
	int r = directory_make(database->directory, 0700);

	if (r == 0) {
		dir_fd = open(database->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = dir_fd < 0 ? -errno : 0;
	}
	if (r < 0)
		return database_explain(database, r, problem);
	r = database_lock(database, dir_fd, lock_wait_ns, problem);
	if (r < 0)
		return r;
	r = database_examine(database, problem);
	if (r != -EUCLEAN)
		return r;
	database_disconnect(database);
	r = database_set_aside(database, dir_fd, problem);
	if (r < 0)
		return problem_set(problem, r, "",
				   "%s is damaged and cannot be set aside: %s; move it away",
				   database->path, strerror(-r));
	return database_examine(database, problem);
}

/* Appends zeros, which end the log's frames as its end does, until the file has LOG_BYTES. */
static void log_extend(int fd, uint64_t length)
{
	static const char zeros[64 * KIB];

	while (length < LOG_BYTES) {
		ssize_t written =
			pwrite(fd, zeros, MIN(sizeof(zeros), LOG_BYTES - length), (off_t)length);

		if (written <= 0)
			return;
		length += (uint64_t)written;
	}
	fdatasync(fd);
}

void database_make_room(struct database *database)
{
	char path[PATH_MAX + 8];
	struct statvfs space;
	struct stat status;

	if (!database->directory)
		return;
	snprintf(path, sizeof(path), "%s-wal", database->path);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0 && fstatvfs(fd, &space) == 0 &&
	    (uint64_t)space.f_bavail * space.f_frsize >= LOG_ROOM_FREE_BYTES &&
	    fstat(fd, &status) == 0)
		log_extend(fd, (uint64_t)status.st_size);
}

void database_checkpoint(struct database *database)
{
	if (database->log_pages < LOG_PAGES)
		return;
	/* What fails here fails again, and is told, when a commit finds no room. */
	sqlite3_wal_checkpoint_v2(database->sqlite, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	database->log_pages = 0;
}

static int database_open_memory(struct database *database, struct problem *problem)
{
	int r = database_connect(database);

	return r < 0 ? database_explain(database, r, problem)
		     : database_prepare_schema(database, problem);
}

int database_open(const struct database_options *options, struct database **ret_database,
		  struct problem *problem)
{
	_cleanup_(database_freep) struct database *database = calloc(1, sizeof(*database));
	int r;

	if (!database)
		return problem_set(problem, -ENOMEM, "", "out of memory");
	*database = (struct database){.lock_fd = -1,
				      .directory = options->directory,
				      .standby = options->standby,
				      .progress = options->progress,
				      .progress_userdata = options->userdata};
	if (options->directory &&
	    snprintf(database->path, sizeof(database->path), "%s/" DATABASE_FILE,
		     options->directory) >= (int)sizeof(database->path))
		return problem_set(problem, -ENAMETOOLONG, "",
				   "the state directory's path is too long");
	if (options->directory) {
		r = database_open_disk(database, options->lock_wait_ns, problem);
	} else {
		snprintf(database->path, sizeof(database->path), ":memory:");
		r = database_open_memory(database, problem);
	}
	if (r < 0)
		return r;
	r = database_measure(database);
	if (r < 0)
		return database_explain(database, r, problem);
	*ret_database = TAKE_PTR(database);
	return 0;
}

void database_free(struct database *database)
{
	if (!database)
		return;
	database_disconnect(database);
	closep(&database->lock_fd);
	free(database);
}
