/* SPDX-License-Identifier: Apache-2.0 */
/* The store on disks that fail: full, read-only, damaged, of another version, in use. */
#include "store_fixture.h"

#include "store/database.h"

static void mount_small(struct fixture *f)
{
	if (!has_mounts) {
		skip_because("a mount namespace and a tmpfs of its own need CAP_SYS_ADMIN");
	}
	assert_int_equal(mount("lifeboat-test", f->directory, "tmpfs", 0, "size=3m"), 0);
	f->mounted = true;
}

static void fill_disk(const struct fixture *f)
{
	_cleanup_close_ int fd = open(path_of(f, "filler"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	char block[4096] = {1};

	assert_true(fd >= 0);
	while (write(fd, block, sizeof(block)) > 0)
		;
	assert_int_equal(errno, ENOSPC);
}

static void write_big(struct fixture *f, const char *name)
{
	_cleanup_abnormal_ struct abnormal *abnormal = make(name, PHASE_FAILED);
	char filler[60000];

	memset(filler, 'y', sizeof(filler) - 1);
	filler[sizeof(filler) - 1] = '\0';
	assert_int_equal(string_set(&abnormal->status.output, filler), 0);
	write_of(f, abnormal, "NotIdentified");
}

static uint64_t file_bytes(const struct fixture *f, const char *name)
{
	struct stat status;

	return stat(path_of(f, name), &status) == 0 ? (uint64_t)status.st_size : 0;
}

static void the_log_has_its_room_from_the_start_and_stays_within_it(void **state)
{
	struct fixture *f = *state;
	struct statvfs space;
	char name[32];

	assert_int_equal(statvfs(f->directory, &space), 0);
	if ((uint64_t)space.f_bavail * space.f_frsize < 512 * MIB)
		skip_because("needs 512 MiB free below the folder of temporary files");
	start_ready(f);
	wait_for(f, file_bytes(f, "lifeboat.db-wal") == 4 * MIB);
	for (size_t i = 0; i < 150; i++) {
		snprintf(name, sizeof(name), "big-%zu", i);
		write_big(f, name);
		wait_for(f, f->written == i + 1);
	}
	assert_in_range(file_bytes(f, "lifeboat.db-wal"), 4 * MIB, 5 * MIB);
	assert_in_range(file_bytes(f, "lifeboat.db"), 4 * MIB, 20 * MIB);
	kill(f->store->primary->pid, SIGKILL);
	assert_int_equal(ask_get(f, "big-149"), 0);
	assert_int_equal(f->failed, 0);
}

static void a_full_disk_sends_the_store_to_memory_until_space_is_freed(void **state)
{
	struct fixture *f = *state;
	char name[32];

	mount_small(f);
	keep(f, "kept", PHASE_DIAGNOSING);
	start_ready(f);
	put(f, "kept", PHASE_DIAGNOSING, "Collected");
	put(f, "before", PHASE_FAILED, "NotIdentified");
	fill_disk(f);
	for (int i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "big-%d", i);
		write_big(f, name);
	}
	wait_for(f, f->medium == STORE_MEMORY);
	assert_non_null(strstr(f->reason, f->directory));
	assert_non_null(strstr(f->reason, "disk is full; free space there"));
	wait_for(f, f->written == 7);
	/* The disk is tried in between, and stays full. */
	struct store_link *none = f->store->candidate;
	wait_for(f, f->store->candidate != none);
	wait_for(f, !f->store->candidate);
	assert_int_equal(f->medium, STORE_MEMORY);
	assert_int_equal(unlink(path_of(f, "filler")), 0);
	wait_for(f, f->medium == STORE_DISK);
	assert_string_equal(f->reason, "");
	assert_int_equal(f->failed, 0);
	restart(f);
	assert_int_equal(f->live_count, 1);
	assert_int_equal(f->recent_count, 6);
	assert_int_equal(ask_get(f, "big-4"), 0);
	assert_int_equal(ask_get(f, "before"), 0);
}

/* Ends the loop, as the agent's has ended when it stops its store: it takes no more sources. */
static void loop_end(struct fixture *f)
{
	assert_int_equal(sd_event_exit(f->event, 0), 0);
	assert_int_equal(sd_event_loop(f->event), 0);
}

static void loop_renew(struct fixture *f)
{
	sd_event_unref(f->event);
	assert_true(sd_event_new(&f->event) >= 0);
	f->options.event = f->event;
}

static void stopping_in_memory_gives_the_disk_a_last_chance(void **state)
{
	struct fixture *f = *state;

	f->options.deadline_ns = 300 * NS_PER_MS;
	f->options.retry_ns = 3600 * NS_PER_S;
	start_ready(f);
	kill(f->store->primary->pid, SIGSTOP);
	write_one(f, "a", PHASE_DIAGNOSING, "Collected");
	wait_for(f, f->written == 1);
	assert_int_equal(f->medium, STORE_MEMORY);
	/* Until the killed worker is gone the disk counts as hanging. */
	wait_for(f, !f->store->given_up);
	write_one(f, "b", PHASE_DIAGNOSING, "Collected");
	loop_end(f);
	stop(f);
	loop_renew(f);
	start_ready(f);
	assert_int_equal(store_medium(f->store, NULL), STORE_DISK);
	assert_int_equal(f->live_count, 2);
}

static void a_read_only_disk_is_told_as_such(void **state)
{
	struct fixture *f = *state;

	mount_small(f);
	start_ready(f);
	put(f, "a", PHASE_DIAGNOSING, "Collected");
	stop(f);
	assert_int_equal(mount(NULL, f->directory, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	start_ready(f);
	assert_int_equal(f->medium, STORE_MEMORY);
	assert_non_null(strstr(f->reason, "read-only"));
	assert_int_equal(mount(NULL, f->directory, NULL, MS_REMOUNT, NULL), 0);
	wait_for(f, f->recovered);
	assert_int_equal(f->recovered_count, 1);
	assert_string_equal(f->recovered_names[0], "a");
}

static size_t count_entries(const struct fixture *f, const char *prefix)
{
	size_t count = 0;
	struct dirent **entries;
	int n = scandir(f->directory, &entries, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		count += startswith(entries[i]->d_name, prefix) &&
			 !endswith(entries[i]->d_name, "-wal");
		free(entries[i]);
	}
	free(entries);
	return count;
}

static void a_damaged_database_is_set_aside_and_told(void **state)
{
	struct fixture *f = *state;
	char garbage[8192];

	memset(garbage, 'g', sizeof(garbage));
	for (size_t i = 1; i <= 5; i++) {
		assert_int_equal(file_write_atomic(path_of(f, "lifeboat.db"), garbage,
						   sizeof(garbage), 0600),
				 0);
		start_ready(f);
		assert_int_equal(store_medium(f->store, NULL), STORE_DISK);
		wait_for(f, f->medium_calls == 1);
		assert_int_equal(f->medium, STORE_DISK);
		assert_non_null(strstr(f->reason, "damaged"));
		assert_non_null(strstr(f->reason, "lifeboat.db.corrupt-"));
		assert_int_equal(count_entries(f, "lifeboat.db.corrupt-"), MIN(i, (size_t)3));
		put(f, "a", PHASE_CREATED, NULL);
		stop(f);
	}
}

static void a_database_damaged_inside_is_found_out(void **state)
{
	struct fixture *f = *state;
	char garbage[4096], name[16];

	start_ready(f);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "big-%d", i);
		write_big(f, name);
	}
	wait_for(f, f->written == 20);
	stop(f);
	_cleanup_close_ int fd = open(path_of(f, "lifeboat.db"), O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	memset(garbage, 0x5a, sizeof(garbage));
	for (off_t page = 1; page < 12; page++)
		assert_int_equal(pwrite(fd, garbage, sizeof(garbage), page * 4096),
				 sizeof(garbage));
	start_ready(f);
	wait_for(f, f->medium_calls == 1);
	assert_int_equal(f->medium, STORE_DISK);
	assert_non_null(strstr(f->reason, "damaged"));
}

static void database_run_sql(const struct fixture *f, const char *sql)
{
	sqlite3 *sqlite;
	char *error = NULL;

	assert_int_equal(sqlite3_open(path_of(f, "lifeboat.db"), &sqlite), SQLITE_OK);
	sqlite3_exec(sqlite, sql, NULL, NULL, &error);
	if (error)
		fail_msg("%s", error);
	sqlite3_close(sqlite);
}

/* The tables of version 1 as they were, with one that is live and one that was acted on. */
static const char version_1_sql[] =
	"CREATE TABLE abnormals (id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL,"
	" uid TEXT NOT NULL, fingerprint TEXT NOT NULL, phase TEXT NOT NULL, final INTEGER NOT NULL,"
	" created INTEGER NOT NULL, ended INTEGER, document TEXT NOT NULL, UNIQUE (namespace, name));"
	"CREATE INDEX abnormals_live ON abnormals (created) WHERE NOT final;"
	"CREATE INDEX abnormals_ended ON abnormals (ended) WHERE final;"
	"CREATE TABLE transitions (id INTEGER PRIMARY KEY,"
	" abnormal INTEGER NOT NULL REFERENCES abnormals (id) ON DELETE CASCADE, time INTEGER NOT NULL,"
	" from_phase TEXT, to_phase TEXT NOT NULL, transition TEXT NOT NULL, run INTEGER NOT NULL,"
	" record INTEGER NOT NULL, UNIQUE (run, record));"
	"CREATE INDEX transitions_abnormal ON transitions (abnormal, id);"
	"CREATE TABLE actions (abnormal INTEGER NOT NULL REFERENCES abnormals (id) ON DELETE CASCADE,"
	" position INTEGER NOT NULL, recoverer TEXT, target TEXT, intent_time TEXT, finish_time TEXT,"
	" outcome TEXT, verification TEXT, PRIMARY KEY (abnormal, position)) WITHOUT ROWID;"
	"CREATE TABLE positions (source TEXT PRIMARY KEY, position TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE deleted (id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL,"
	" UNIQUE (namespace, name));"
	"PRAGMA user_version = 1;"
	"INSERT INTO abnormals VALUES (1, 'default', 'live', 'uid-1', 'f1', 'Diagnosing', 0,"
	" unixepoch() * 1000000000, NULL, json_object('apiVersion', 'lifeboat.dev/v1alpha1', 'kind', 'Abnormal',"
	" 'metadata', json_object('name', 'live', 'namespace', 'default', 'uid', 'uid-1'),"
	" 'spec', json_object('source', 'Custom'), 'status', json_object('phase', 'Diagnosing')));"
	"INSERT INTO abnormals VALUES (2, 'default', 'acted', 'uid-2', 'f2', 'Failed', 1,"
	" unixepoch() * 1000000000 - 60000000000, unixepoch() * 1000000000 - 60000000000,"
	" json_object('apiVersion', 'lifeboat.dev/v1alpha1', 'kind', 'Abnormal',"
	" 'metadata', json_object('name', 'acted', 'namespace', 'default', 'uid', 'uid-2',"
	"  'annotations', json_object('lifeboat.dev/subject', 'shim/1')),"
	" 'spec', json_object('source', 'Custom'), 'status', json_object('phase', 'Failed')));"
	"INSERT INTO actions VALUES (2, 0, 'fix-it', NULL, '2026-11-27T10:00:00Z', NULL, 'Done', NULL);";

static void a_database_of_version_1_is_brought_up_to_date(void **state)
{
	struct fixture *f = *state;
	char name[32];

	database_run_sql(f, version_1_sql);
	start_ready(f);
	assert_int_equal(store_medium(f->store, NULL), STORE_DISK);
	assert_int_equal(f->live_count, 1);
	assert_int_equal(f->recent_count, 1);
	assert_int_equal(f->acted_count, 0);
	for (unsigned i = 0; i < STORE_RECENT_MAXIMUM; i++) {
		snprintf(name, sizeof(name), "later-%u", i);
		write_one(f, name, PHASE_FAILED, "NotIdentified");
	}
	restart(f);
	assert_int_equal(f->recent_count, STORE_RECENT_MAXIMUM);
	assert_int_equal(f->acted_count, 1);
	assert_string_equal(f->acted[0], "fix-it on shim/1");
	put(f, "live", PHASE_FAILED, "NotIdentified");
}

static void a_database_of_a_newer_version_is_left_alone(void **state)
{
	struct fixture *f = *state;
	char sql[64];

	start_ready(f);
	put(f, "a", PHASE_DIAGNOSING, "Collected");
	stop(f);
	database_run_sql(f, "PRAGMA user_version=99");
	start_ready(f);
	assert_int_equal(f->live_count, 0);
	assert_int_equal(f->medium, STORE_MEMORY);
	assert_non_null(strstr(f->reason, "newer lifeboat"));
	assert_non_null(strstr(f->reason, "99"));
	stop(f);
	snprintf(sql, sizeof(sql), "PRAGMA user_version=%d", DATABASE_VERSION);
	database_run_sql(f, sql);
	start_ready(f);
	assert_int_equal(f->live_count, 1);
}

static void a_second_agent_on_the_same_directory_is_refused(void **state)
{
	struct fixture *f = *state;
	int report[2];
	char pid_text[32], byte;

	assert_int_equal(pipe2(report, O_CLOEXEC), 0);
	pid_t agent = fork();
	if (agent == 0) {
		assert_true(sd_event_new(&f->event) >= 0);
		f->options.event = f->event;
		start_ready(f);
		assert_int_equal(write(report[1], "r", 1), 1);
		for (;;)
			sd_event_run(f->event, UINT64_MAX);
	}
	assert_int_equal(read(report[0], &byte, 1), 1);
	f->options.deadline_ns = NS_PER_S;
	start(f);
	wait_for(f, f->refused);
	snprintf(pid_text, sizeof(pid_text), "(pid %d)", agent);
	assert_non_null(strstr(f->reason, "another agent uses"));
	assert_non_null(strstr(f->reason, f->directory));
	assert_non_null(strstr(f->reason, pid_text));
	assert_int_equal(f->ready, 0);
	stop(f);
	kill(agent, SIGKILL);
	waitpid(agent, NULL, 0);
	close(report[0]);
	close(report[1]);
	/* Its worker ends with it. */
	f->options.deadline_ns = 10 * NS_PER_S;
	start_ready(f);
	assert_int_equal(store_medium(f->store, NULL), STORE_DISK);
}

/* A worker that is stuck keeps the lock; its agent died, and somebody else has its pid by now. */
static void an_orphaned_worker_keeps_nobody_out_whoever_has_its_agents_pid(void **state)
{
	struct fixture *f = *state;
	int report[2];
	char byte;

	start_ready(f);
	stop(f);
	assert_int_equal(pipe2(report, O_CLOEXEC), 0);
	pid_t holder = fork();
	if (holder == 0) {
		char line[64];
		int fd = open(path_of(f, "lock"), O_RDWR | O_CLOEXEC);
		int length = snprintf(line, sizeof(line), "%d 1\n", getpid());

		if (flock(fd, LOCK_EX) < 0 || ftruncate(fd, 0) < 0 ||
		    pwrite(fd, line, (size_t)length, 0) != length || write(report[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(report[0], &byte, 1), 1);
	f->options.deadline_ns = NS_PER_S;
	start_ready(f);
	assert_int_equal(f->refused, 0);
	assert_int_equal(store_medium(f->store, NULL), STORE_MEMORY);
	kill(holder, SIGKILL);
	waitpid(holder, NULL, 0);
	close(report[0]);
	close(report[1]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(the_log_has_its_room_from_the_start_and_stays_within_it),
		STORE_TEST(a_full_disk_sends_the_store_to_memory_until_space_is_freed),
		STORE_TEST(stopping_in_memory_gives_the_disk_a_last_chance),
		STORE_TEST(a_read_only_disk_is_told_as_such),
		STORE_TEST(a_damaged_database_is_set_aside_and_told),
		STORE_TEST(a_database_damaged_inside_is_found_out),
		STORE_TEST(a_database_of_version_1_is_brought_up_to_date),
		STORE_TEST(a_database_of_a_newer_version_is_left_alone),
		STORE_TEST(a_second_agent_on_the_same_directory_is_refused),
		STORE_TEST(an_orphaned_worker_keeps_nobody_out_whoever_has_its_agents_pid),
	};
	int status;

	return store_tests_begin(argc, argv, &status)
		       ? cmocka_run_group_tests_name("store_disk", tests, NULL, NULL)
		       : status;
}
