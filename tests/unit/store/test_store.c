/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store with real workers, real SQLite and real faults: killed and stopped processes, a full
 * filesystem, damaged and foreign databases.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "../skip.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/file.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/file.h"
#include "store/store_medium.h"
#include "store/store_worker.h"

#define NAMES_MAX 64

struct fixture {
	sd_event *event;
	char directory[64];
	struct store_options options;
	struct store *store;
	bool mounted;
	/* What the store told. */
	unsigned ready, recovered, medium_calls, refused;
	enum store_medium medium;
	char reason[640];
	size_t live_count, recent_count, recovered_count, removed_count;
	char live[NAMES_MAX][64], recovered_names[NAMES_MAX][64], removed[NAMES_MAX][64];
	char *positions;
	struct abnormal *kept[NAMES_MAX]; /* live ones that the owner writes again in memory */
	size_t kept_count;
	/* What callbacks brought. */
	size_t written, failed;
	int last_result;
	bool answered;
	int answer_result;
	char *answer;
};

static bool has_mounts;

/* --- The owner's part ------------------------------------------------------------------------- */

static void on_written(void *userdata, int result)
{
	struct fixture *f = userdata;

	f->written++;
	f->failed += result < 0;
	f->last_result = result;
}

static void on_answer(void *userdata, int result, const char *text, size_t length)
{
	struct fixture *f = userdata;

	free(f->answer);
	f->answer = text ? strndup(text, length) : NULL;
	f->answer_result = result;
	f->answered = true;
}

static size_t copy_names(char names[NAMES_MAX][64], const struct store_loaded *loaded)
{
	for (size_t i = 0; i < loaded->live_count && i < NAMES_MAX; i++)
		snprintf(names[i], sizeof(names[i]), "%s", loaded->live[i]->metadata.name);
	return loaded->live_count;
}

static void on_ready(void *userdata, struct store_loaded *loaded)
{
	struct fixture *f = userdata;

	f->ready++;
	f->live_count = copy_names(f->live, loaded);
	f->recent_count = loaded->recent_count;
	free(f->positions);
	f->positions = json_print(loaded->positions);
}

static void on_recovered(void *userdata, struct store_loaded *loaded)
{
	struct fixture *f = userdata;

	f->recovered++;
	f->recovered_count = copy_names(f->recovered_names, loaded);
}

static void on_medium(void *userdata, enum store_medium medium, const char *reason)
{
	struct fixture *f = userdata;

	f->medium_calls++;
	f->medium = medium;
	snprintf(f->reason, sizeof(f->reason), "%s", reason);
	for (size_t i = 0; medium == STORE_MEMORY && i < f->kept_count; i++) {
		struct store_record record = {.abnormal = f->kept[i]};

		assert_int_equal(store_write(f->store, &record, NULL, NULL), 0);
	}
}

static void on_removed(void *userdata, const char *uid)
{
	struct fixture *f = userdata;

	if (f->removed_count < NAMES_MAX)
		snprintf(f->removed[f->removed_count], sizeof(f->removed[0]), "%s", uid);
	f->removed_count++;
}

static void on_refused(void *userdata, const char *reason)
{
	struct fixture *f = userdata;

	f->refused++;
	snprintf(f->reason, sizeof(f->reason), "%s", reason);
}

static const struct store_handlers all_handlers = {.on_ready = on_ready,
						   .on_medium = on_medium,
						   .on_recovered = on_recovered,
						   .on_removed = on_removed,
						   .on_refused = on_refused};

/* Runs the loop until CONDITION holds; fails with what was seen after ten seconds. */
#define wait_for(f, condition)                                                                  \
	do {                                                                                    \
		uint64_t end_ns_ = clock_monotonic(clock_system()) + 10 * NS_PER_S;             \
		while (!(condition)) {                                                          \
			if (clock_monotonic(clock_system()) > end_ns_)                          \
				fail_msg("never came: %s; ready %u medium %s (%s) written %zu " \
					 "pending %" PRIu64,                                    \
					 #condition, (f)->ready,                                \
					 store_medium_names[store_medium((f)->store, NULL)],    \
					 (f)->reason, (f)->written,                             \
					 store_counts((f)->store)->pending);                    \
			assert_true(sd_event_run((f)->event, 20 * 1000) >= 0);                  \
		}                                                                               \
	} while (0)

static void start(struct fixture *f)
{
	struct store_handlers handlers = all_handlers;

	handlers.userdata = f;
	f->ready = f->recovered = f->medium_calls = f->refused = 0;
	f->live_count = f->recent_count = f->removed_count = f->written = f->failed = 0;
	f->reason[0] = '\0';
	assert_int_equal(store_start(&f->options, &handlers, &f->store), 0);
}

static void start_ready(struct fixture *f)
{
	start(f);
	wait_for(f, f->ready);
}

static void stop(struct fixture *f)
{
	store_stop(f->store, 5 * NS_PER_S);
	f->store = NULL;
}

static void restart(struct fixture *f)
{
	stop(f);
	start_ready(f);
}

static struct abnormal *make(const char *name, enum abnormal_phase phase)
{
	struct abnormal *abnormal = abnormal_new();
	char uid[80];

	snprintf(uid, sizeof(uid), "uid-%s", name);
	assert_int_equal(string_set(&abnormal->metadata.namespace, "default"), 0);
	assert_int_equal(string_set(&abnormal->metadata.name, name), 0);
	assert_int_equal(string_set(&abnormal->metadata.uid, uid), 0);
	abnormal->metadata.creation_timestamp = clock_realtime(clock_system());
	abnormal->spec.source = SOURCE_CUSTOM;
	abnormal->spec.context = cJSON_CreateObject();
	assert_int_equal(json_set_string(abnormal->spec.context, "about", name), 0);
	abnormal->status.phase = (int)phase;
	return abnormal;
}

static void write_of(struct fixture *f, const struct abnormal *abnormal, const char *transition)
{
	struct store_record record = {.abnormal = abnormal, .transition = transition};

	assert_int_equal(store_write(f->store, &record, on_written, f), 0);
}

static void write_one(struct fixture *f, const char *name, enum abnormal_phase phase,
		      const char *transition)
{
	_cleanup_abnormal_ struct abnormal *abnormal = make(name, phase);

	write_of(f, abnormal, transition);
}

/* Writes and waits for the acknowledgement. */
static void put(struct fixture *f, const char *name, enum abnormal_phase phase,
		const char *transition)
{
	size_t before = f->written;

	write_one(f, name, phase, transition);
	wait_for(f, f->written > before);
	assert_int_equal(f->last_result, 0);
}

static int ask_get(struct fixture *f, const char *name)
{
	f->answered = false;
	assert_int_equal(store_get(f->store, "default", name, on_answer, f), 0);
	wait_for(f, f->answered);
	return f->answer_result;
}

static const char *ask_history(struct fixture *f, const char *name)
{
	f->answered = false;
	assert_int_equal(store_history(f->store, "default", name, on_answer, f), 0);
	wait_for(f, f->answered);
	return f->answer_result == 0 ? f->answer : NULL;
}

static cJSON *ask_list(struct fixture *f, const char *namespace)
{
	cJSON *list = NULL;

	f->answered = false;
	assert_int_equal(store_list(f->store, namespace, on_answer, f), 0);
	wait_for(f, f->answered);
	assert_int_equal(f->answer_result, 0);
	assert_int_equal(json_parse(f->answer, strlen(f->answer), &list, NULL), 0);
	return list;
}

static void keep(struct fixture *f, const char *name, enum abnormal_phase phase)
{
	f->kept[f->kept_count++] = make(name, phase);
}

static char *path_of(const struct fixture *f, const char *name)
{
	static char path[160];

	snprintf(path, sizeof(path), "%s/%s", f->directory, name);
	return path;
}

/* --- Making and removing what a test needs ---------------------------------------------------- */

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_true(sd_event_new(&f->event) >= 0);
	snprintf(f->directory, sizeof(f->directory), "/tmp/lifeboat-store-test.XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	f->options = (struct store_options){.event = f->event,
					    .directory = f->directory,
					    .history_ns = 3600 * NS_PER_S,
					    .deadline_ns = 2 * NS_PER_S,
					    .retry_ns = 100 * NS_PER_MS};
	*state = f;
	return 0;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->store)
		store_stop(f->store, NS_PER_S);
	if (f->mounted)
		umount2(f->directory, MNT_DETACH);
	nftw(f->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	for (size_t i = 0; i < f->kept_count; i++)
		abnormal_free(f->kept[i]);
	sd_event_unref(f->event);
	free(f->positions);
	free(f->answer);
	free(f);
	return 0;
}

/* --- Keeping and finding ---------------------------------------------------------------------- */

static void what_is_written_is_found_after_a_restart(void **state)
{
	struct fixture *f = *state;
	struct store_record position = {.position_source = "kernel-log", .position = "cursor 17"};

	start_ready(f);
	assert_int_equal(store_medium(f->store, NULL), STORE_DISK);
	assert_int_equal(f->medium_calls, 0);
	assert_int_equal(f->live_count, 0);
	put(f, "live", PHASE_DIAGNOSING, "Collected");
	put(f, "over", PHASE_FAILED, "NotIdentified");
	assert_int_equal(store_write(f->store, &position, on_written, f), 0);
	wait_for(f, f->written == 3);
	restart(f);
	assert_int_equal(f->live_count, 1);
	assert_string_equal(f->live[0], "live");
	assert_int_equal(f->recent_count, 1);
	assert_string_equal(f->positions, "{\"kernel-log\":\"cursor 17\"}");
	assert_int_equal(ask_get(f, "live"), 0);
	assert_non_null(strstr(f->answer, "\"Diagnosing\""));
	assert_int_equal(ask_get(f, "nobody"), -ENOENT);
	assert_null(ask_history(f, "nobody"));
	assert_int_equal(f->answer_result, -ENOENT);
}

static void the_history_tells_each_transition_in_order(void **state)
{
	struct fixture *f = *state;
	_cleanup_json_ cJSON *history = NULL;
	static const char *const from[] = {"", "InformationCollecting", "Diagnosing", "Recovering"};
	static const char *const to[] = {"InformationCollecting", "Diagnosing", "Recovering",
					 "Succeeded"};

	start_ready(f);
	write_one(f, "a", PHASE_CREATED, NULL);
	write_one(f, "a", PHASE_INFORMATION_COLLECTING, "Start");
	write_one(f, "a", PHASE_DIAGNOSING, "Collected");
	write_one(f, "a", PHASE_DIAGNOSING, NULL);
	write_one(f, "a", PHASE_RECOVERING, "Identified");
	write_one(f, "a", PHASE_SUCCEEDED, "Recovered");
	assert_non_null(ask_history(f, "a"));
	/* A question sees every record queued before it. */
	assert_int_equal(f->written, 6);
	assert_int_equal(json_parse(f->answer, strlen(f->answer), &history, NULL), 0);
	assert_int_equal(cJSON_GetArraySize(history), 4);
	for (int i = 0; i < 4; i++) {
		const cJSON *step = cJSON_GetArrayItem(history, i);
		int64_t time;

		assert_string_equal(json_string(step, "from"), from[i]);
		assert_string_equal(json_string(step, "to"), to[i]);
		assert_int_equal(time_parse(json_string(step, "time"), &time), 0);
	}
}

static void lists_are_by_namespace_and_creation_time(void **state)
{
	struct fixture *f = *state;
	_cleanup_json_ cJSON *all = NULL, *some = NULL, *none = NULL;
	_cleanup_abnormal_ struct abnormal *other = make("z", PHASE_CREATED);
	static const char *const names[] = {"c", "a", "b"};

	start_ready(f);
	assert_int_equal(string_set(&other->metadata.namespace, "another"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		put(f, names[i], PHASE_CREATED, NULL);
	write_of(f, other, NULL);
	all = ask_list(f, NULL);
	assert_int_equal(cJSON_GetArraySize(all), 4);
	assert_string_equal(json_string(json_at(cJSON_GetArrayItem(all, 0), "metadata"), "name"),
			    "z");
	some = ask_list(f, "default");
	assert_int_equal(cJSON_GetArraySize(some), 3);
	for (int i = 0; i < 3; i++)
		assert_string_equal(
			json_string(json_at(cJSON_GetArrayItem(some, i), "metadata"), "name"),
			names[i]);
	none = ask_list(f, "empty");
	assert_int_equal(cJSON_GetArraySize(none), 0);
}

static void deleting_removes_the_object_and_its_history(void **state)
{
	struct fixture *f = *state;
	struct store_record deletion = {.delete_namespace = "default", .delete_name = "a"};

	start_ready(f);
	put(f, "a", PHASE_DIAGNOSING, "Collected");
	assert_int_equal(store_write(f->store, &deletion, on_written, f), 0);
	assert_int_equal(ask_get(f, "a"), -ENOENT);
	assert_int_equal(f->last_result, 0);
	assert_int_equal(store_write(f->store, &deletion, on_written, f), 0);
	wait_for(f, f->written == 3);
	assert_int_equal(f->last_result, -ENOENT);
	put(f, "a", PHASE_CREATED, NULL);
	assert_string_equal(ask_history(f, "a"), "[]");
	assert_int_equal(store_counts(f->store)->abnormals, 1);
	assert_int_equal(store_counts(f->store)->write_errors, 1);
}

static void a_document_of_a_mebibyte_is_kept(void **state)
{
	struct fixture *f = *state;
	_cleanup_abnormal_ struct abnormal *abnormal = make("big", PHASE_DIAGNOSING);
	_cleanup_json_ cJSON *list = NULL;
	char *filler = malloc(MIB + 1);

	memset(filler, 'x', MIB);
	filler[MIB] = '\0';
	assert_int_equal(string_set(&abnormal->status.output, filler), 0);
	start_ready(f);
	write_of(f, abnormal, "Collected");
	wait_for(f, f->written == 1);
	restart(f);
	assert_int_equal(f->live_count, 1);
	assert_int_equal(ask_get(f, "big"), 0);
	assert_true(strlen(f->answer) > MIB);
	assert_non_null(strstr(f->answer, filler));
	list = ask_list(f, NULL);
	assert_int_equal(cJSON_GetArraySize(list), 1);
	free(filler);
}

static void a_document_over_the_limit_is_refused_and_the_rest_goes_on(void **state)
{
	struct fixture *f = *state;
	_cleanup_abnormal_ struct abnormal *abnormal = make("huge", PHASE_DIAGNOSING);
	struct store_record record = {.abnormal = abnormal};
	char *filler = malloc(5 * MIB + 1);

	memset(filler, 'x', 5 * MIB);
	filler[5 * MIB] = '\0';
	assert_int_equal(string_set(&abnormal->status.output, filler), 0);
	free(filler);
	start_ready(f);
	assert_int_equal(store_write(f->store, &record, on_written, f), -EFBIG);
	put(f, "small", PHASE_CREATED, NULL);
}

static void the_queue_has_a_limit(void **state)
{
	struct fixture *f = *state;
	_cleanup_abnormal_ struct abnormal *abnormal = make("a", PHASE_CREATED);
	struct store_record record = {.position_source = "s", .position = "p"};

	start_ready(f);
	for (size_t i = 0; i < QUEUE_RECORDS_MAX; i++)
		assert_int_equal(store_write(f->store, &record, on_written, f), 0);
	assert_int_equal(store_write(f->store, &record, on_written, f), -ENOBUFS);
	wait_for(f, f->written == QUEUE_RECORDS_MAX);
	assert_int_equal(f->failed, 0);
	assert_int_equal(store_counts(f->store)->pending, 0);
	/* Many were made durable by each commit. */
	assert_true(store_counts(f->store)->commits < QUEUE_RECORDS_MAX / 8);
}

static void the_action_journal_can_be_queried(void **state)
{
	struct fixture *f = *state;
	_cleanup_abnormal_ struct abnormal *abnormal = make("a", PHASE_RECOVERING);
	struct action *action = list_append(&abnormal->status.actions, &action_schema);
	sqlite3_stmt *statement;
	sqlite3 *sqlite;

	assert_non_null(action);
	assert_int_equal(string_set(&action->recoverer, "thaw-filesystem"), 0);
	assert_int_equal(string_set(&action->target, "loop0"), 0);
	action->intent_time = clock_realtime(clock_system());
	action->outcome = ACTION_DONE;
	start_ready(f);
	write_of(f, abnormal, "Identified");
	write_of(f, abnormal, NULL);
	wait_for(f, f->written == 2);
	stop(f);
	assert_int_equal(sqlite3_open(path_of(f, "lifeboat.db"), &sqlite), SQLITE_OK);
	assert_int_equal(
		sqlite3_prepare_v2(sqlite,
				   "SELECT recoverer, target, intent_time, outcome FROM actions",
				   -1, &statement, NULL),
		SQLITE_OK);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(statement, 0), "thaw-filesystem");
	assert_string_equal((const char *)sqlite3_column_text(statement, 1), "loop0");
	assert_non_null(sqlite3_column_text(statement, 2));
	assert_non_null(sqlite3_column_text(statement, 3));
	assert_int_equal(sqlite3_step(statement), SQLITE_DONE);
	sqlite3_finalize(statement);
	sqlite3_close(sqlite);
}

/* --- Retention -------------------------------------------------------------------------------- */

static void retention_by_count_removes_the_oldest_that_ended(void **state)
{
	struct fixture *f = *state;
	char name[32];

	f->options.retention_count = 3;
	start_ready(f);
	put(f, "live", PHASE_DIAGNOSING, "Collected");
	for (int i = 0; i < 6; i++) {
		snprintf(name, sizeof(name), "over-%d", i);
		put(f, name, PHASE_FAILED, "NotIdentified");
	}
	restart(f);
	assert_int_equal(f->live_count, 1);
	assert_int_equal(f->recent_count, 3);
	assert_int_equal(f->removed_count, 3);
	for (size_t i = 0; i < 3; i++)
		assert_non_null(startswith(f->removed[i], "uid-over-"));
	assert_int_equal(ask_get(f, "over-2"), -ENOENT);
	assert_int_equal(ask_get(f, "over-3"), 0);
	assert_int_equal(ask_get(f, "live"), 0);
}

static void retention_by_age_removes_those_that_ended_long_ago(void **state)
{
	struct fixture *f = *state;
	_cleanup_abnormal_ struct abnormal *old = make("old", PHASE_SUCCEEDED);
	_cleanup_abnormal_ struct abnormal *live = make("live", PHASE_RECOVERING);
	int64_t long_ago = clock_realtime(clock_system()) - (int64_t)(7200 * NS_PER_S);

	assert_int_equal(abnormal_set_condition(old, CONDITION_RECOVERED, CONDITION_TRUE, "Thawed",
						"", long_ago),
			 0);
	assert_int_equal(abnormal_set_condition(live, CONDITION_IDENTIFIED, CONDITION_TRUE, "Found",
						"", long_ago),
			 0);
	f->options.retention_age_ns = 3600 * NS_PER_S;
	f->options.retention_interval_ns = 1;
	start_ready(f);
	write_of(f, live, "Identified");
	write_of(f, old, "Recovered");
	write_one(f, "young", PHASE_SUCCEEDED, "Recovered");
	wait_for(f, f->removed_count == 1);
	assert_string_equal(f->removed[0], "uid-old");
	assert_int_equal(ask_get(f, "old"), -ENOENT);
	assert_int_equal(ask_get(f, "young"), 0);
	assert_int_equal(ask_get(f, "live"), 0);
}

static void another_object_of_the_same_name_starts_a_new_history(void **state)
{
	struct fixture *f = *state;
	_cleanup_abnormal_ struct abnormal *second = make("a", PHASE_CREATED);

	assert_int_equal(string_set(&second->metadata.uid, "uid-second"), 0);
	start_ready(f);
	put(f, "a", PHASE_FAILED, "NotIdentified");
	write_of(f, second, NULL);
	assert_string_equal(ask_history(f, "a"), "[]");
	assert_int_equal(f->removed_count, 1);
	assert_string_equal(f->removed[0], "uid-a");
	assert_int_equal(store_counts(f->store)->abnormals, 1);
}

/* --- Deaths ----------------------------------------------------------------------------------- */

/*
 * The agent's part of the next test: writes until it is killed, telling after each acknowledgement.
 */
static void write_until_killed(struct fixture *f, int report_fd)
{
	uint32_t told = 0;
	char name[32];

	assert_true(sd_event_new(&f->event) >= 0);
	f->options.event = f->event;
	start_ready(f);
	for (unsigned i = 0;; i++) {
		snprintf(name, sizeof(name), "a-%06u", i);
		write_one(f, name, PHASE_DIAGNOSING, "Collected");
		if (i % 7 == 0)
			sd_event_run(f->event, 0);
		while (store_counts(f->store)->pending > 1000)
			sd_event_run(f->event, 1000);
		if (f->written > told) {
			told = (uint32_t)f->written;
			if (write(report_fd, &told, sizeof(told)) != sizeof(told))
				_exit(1);
		}
	}
}

static void what_was_acknowledged_survives_kill_9_of_the_agent(void **state)
{
	struct fixture *f = *state;
	_cleanup_json_ cJSON *list = NULL;
	uint32_t told = 0;
	int report[2];

	assert_int_equal(pipe2(report, O_CLOEXEC), 0);
	pid_t agent = fork();
	if (agent == 0) {
		close(report[0]);
		write_until_killed(f, report[1]);
	}
	close(report[1]);
	while (told < 300)
		assert_int_equal(read(report[0], &told, sizeof(told)), sizeof(told));
	kill(agent, SIGKILL);
	/* What was told before the kill counts as well. */
	while (read(report[0], &told, sizeof(told)) == sizeof(told))
		;
	close(report[0]);
	assert_int_equal(waitpid(agent, NULL, 0), agent);
	start_ready(f);
	assert_int_equal(store_medium(f->store, NULL), STORE_DISK);
	assert_true(f->live_count >= told);
	/* In order: what is there is the beginning of what was written, without a gap. */
	list = ask_list(f, NULL);
	assert_int_equal(cJSON_GetArraySize(list), f->live_count);
	unsigned i = 0;
	const cJSON *item;
	cJSON_ArrayForEach (item, list) {
		char name[32];

		snprintf(name, sizeof(name), "a-%06u", i++);
		assert_string_equal(json_string(json_at(item, "metadata"), "name"), name);
	}
}

static void a_killed_worker_loses_nothing_and_repeats_nothing(void **state)
{
	struct fixture *f = *state;
	_cleanup_json_ cJSON *history = NULL;
	char name[32];

	start_ready(f);
	for (unsigned i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "a-%u", i);
		write_one(f, name, PHASE_DIAGNOSING, "Collected");
		write_one(f, "same", i % 2 ? PHASE_DIAGNOSING : PHASE_INFORMATION_COLLECTING,
			  "Start");
		if (i == 700 || i == 1500) {
			/* Anywhere in its work: before, in or after a commit. */
			sd_event_run(f->event, 0);
			if (f->store->primary)
				kill(f->store->primary->pid, SIGKILL);
		}
	}
	wait_for(f, f->written == 4000);
	assert_int_equal(f->failed, 0);
	assert_int_equal(store_medium(f->store, NULL), STORE_DISK);
	assert_int_equal(f->medium_calls, 0);
	restart(f);
	assert_int_equal(f->live_count, 2001);
	assert_non_null(ask_history(f, "same"));
	assert_int_equal(json_parse(f->answer, strlen(f->answer), &history, NULL), 0);
	assert_int_equal(cJSON_GetArraySize(history), 2000);
}

static void a_worker_that_dies_again_and_again_sends_the_store_to_memory(void **state)
{
	struct fixture *f = *state;

	f->options.retry_ns = 3600 * NS_PER_S;
	start_ready(f);
	for (size_t i = 0; i < MEDIUM_DEATHS; i++) {
		wait_for(f, f->store->primary && f->store->primary->open);
		kill(f->store->primary->pid, SIGKILL);
		pid_t dead = f->store->primary->pid;
		wait_for(f, !f->store->primary || f->store->primary->pid != dead);
	}
	assert_int_equal(f->medium, STORE_MEMORY);
	assert_non_null(strstr(f->reason, "ended 3 times within a minute"));
	assert_non_null(strstr(f->reason, "signal 9"));
	put(f, "a", PHASE_CREATED, NULL);
}

/* --- A disk that hangs ------------------------------------------------------------------------ */

static void a_hung_worker_sends_the_store_to_memory_and_nothing_is_lost(void **state)
{
	struct fixture *f = *state;
	_cleanup_json_ cJSON *history = NULL;
	struct store_record deletion = {.delete_namespace = "default", .delete_name = "deleted"};

	f->options.deadline_ns = 300 * NS_PER_MS;
	f->options.retry_ns = 3600 * NS_PER_S;
	start_ready(f);
	put(f, "kept", PHASE_INFORMATION_COLLECTING, "Start");
	put(f, "deleted", PHASE_FAILED, "NotIdentified");
	put(f, "untouched", PHASE_FAILED, "NotIdentified");
	keep(f, "kept", PHASE_DIAGNOSING);
	kill(f->store->primary->pid, SIGSTOP);
	uint64_t start_ns = clock_monotonic(clock_system());
	write_one(f, "kept", PHASE_DIAGNOSING, "Collected");
	write_one(f, "queued", PHASE_FAILED, "NotIdentified");
	wait_for(f, f->medium == STORE_MEMORY);
	assert_true(clock_monotonic(clock_system()) - start_ns < 3 * NS_PER_S);
	assert_non_null(strstr(f->reason, "does not answer within 300ms"));
	wait_for(f, f->written == 5);
	/* In memory: questions are answered, and writing goes on. */
	assert_int_equal(ask_get(f, "kept"), 0);
	put(f, "in-memory", PHASE_FAILED, "NotIdentified");
	assert_int_equal(store_write(f->store, &deletion, on_written, f), 0);
	wait_for(f, f->written == 7);
	assert_int_equal(f->last_result, 0);
	/* And back. */
	sd_event_source_set_time_relative(f->store->retry, 0);
	sd_event_source_set_enabled(f->store->retry, SD_EVENT_ONESHOT);
	wait_for(f, f->medium == STORE_DISK);
	assert_string_equal(f->reason, "");
	assert_int_equal(f->recovered, 0);
	assert_int_equal(ask_get(f, "untouched"), 0);
	restart(f);
	assert_int_equal(store_medium(f->store, NULL), STORE_DISK);
	assert_int_equal(f->live_count, 1);
	assert_int_equal(f->recent_count, 3);
	assert_int_equal(ask_get(f, "deleted"), -ENOENT);
	assert_int_equal(ask_get(f, "queued"), 0);
	assert_int_equal(ask_get(f, "in-memory"), 0);
	assert_non_null(ask_history(f, "kept"));
	assert_int_equal(json_parse(f->answer, strlen(f->answer), &history, NULL), 0);
	assert_int_equal(cJSON_GetArraySize(history), 2);
	assert_string_equal(json_string(cJSON_GetArrayItem(history, 1), "from"),
			    "InformationCollecting");
	assert_string_equal(json_string(cJSON_GetArrayItem(history, 1), "to"), "Diagnosing");
}

static void a_disk_that_hangs_at_start_gives_its_abnormals_when_it_comes_back(void **state)
{
	struct fixture *f = *state;

	start_ready(f);
	put(f, "from-disk", PHASE_DIAGNOSING, "Collected");
	put(f, "in-both", PHASE_DIAGNOSING, "Collected");
	stop(f);
	f->options.deadline_ns = 300 * NS_PER_MS;
	f->options.retry_ns = 200 * NS_PER_MS;
	start(f);
	kill(f->store->primary->pid, SIGSTOP);
	wait_for(f, f->ready);
	assert_int_equal(f->live_count, 0);
	assert_int_equal(f->medium, STORE_MEMORY);
	write_one(f, "in-both", PHASE_RECOVERING, "Identified");
	write_one(f, "new", PHASE_CREATED, NULL);
	wait_for(f, f->recovered == 1);
	assert_int_equal(f->medium, STORE_DISK);
	assert_int_equal(f->recovered_count, 1);
	assert_string_equal(f->recovered_names[0], "from-disk");
	assert_int_equal(f->ready, 1);
	restart(f);
	assert_int_equal(f->live_count, 3);
	assert_int_equal(ask_get(f, "in-both"), 0);
	assert_non_null(strstr(f->answer, "\"Recovering\""));
}

static void a_try_of_the_disk_that_hangs_changes_nothing(void **state)
{
	struct fixture *f = *state;
	char name[32];

	f->options.deadline_ns = 300 * NS_PER_MS;
	f->options.retry_ns = 20 * NS_PER_MS;
	start_ready(f);
	kill(f->store->primary->pid, SIGSTOP);
	write_one(f, "a-0", PHASE_FAILED, "NotIdentified");
	wait_for(f, f->medium == STORE_MEMORY);
	wait_for(f, f->store->candidate);
	kill(f->store->candidate->pid, SIGSTOP);
	/* Before, while and after the try is given up. */
	for (unsigned i = 1; f->medium == STORE_MEMORY; i++) {
		snprintf(name, sizeof(name), "a-%u", i);
		put(f, name, PHASE_FAILED, "NotIdentified");
		f->live_count = i;
	}
	size_t last = f->live_count;
	restart(f);
	assert_int_equal(f->recent_count, last + 1);
}

/* In whatever step of the way back one of the two workers dies, it is gone through again. */
static void a_worker_that_dies_on_the_way_back_to_disk_loses_nothing(void **state)
{
	struct fixture *f = *state;
	char name[32];

	f->options.retry_ns = 10 * NS_PER_MS;
	start_ready(f);
	for (unsigned round = 0; round < 12; round++) {
		snprintf(name, sizeof(name), "a-%u", round);
		keep(f, name, PHASE_DIAGNOSING);
		wait_for(f, f->store->primary && f->store->primary->open);
		write_one(f, name, PHASE_DIAGNOSING, "Collected");
		if (round % 3 == 1 && f->store->candidate)
			kill(f->store->candidate->pid, SIGKILL);
		else
			kill(f->store->primary->pid, SIGKILL);
		for (unsigned turn = 0; turn < round; turn++)
			sd_event_run(f->event, 1000);
	}
	/* Too many deaths: with no worker in memory either, the queue waits for the next. */
	wait_for(f, f->medium == STORE_DISK && f->written == 12);
	restart(f);
	assert_int_equal(f->live_count, 12);
}

static void a_worker_in_memory_that_dies_gets_the_live_ones_again(void **state)
{
	struct fixture *f = *state;

	f->options.directory = NULL;
	keep(f, "kept", PHASE_DIAGNOSING);
	start_ready(f);
	assert_int_equal(store_medium(f->store, NULL), STORE_MEMORY);
	assert_int_equal(f->medium_calls, 0);
	put(f, "kept", PHASE_DIAGNOSING, "Collected");
	kill(f->store->primary->pid, SIGKILL);
	wait_for(f, f->medium_calls == 1);
	assert_int_equal(ask_get(f, "kept"), 0);
}

/* --- A disk that fails ------------------------------------------------------------------------ */

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

static void a_database_of_a_newer_version_is_left_alone(void **state)
{
	struct fixture *f = *state;
	sqlite3 *sqlite;

	start_ready(f);
	put(f, "a", PHASE_DIAGNOSING, "Collected");
	stop(f);
	assert_int_equal(sqlite3_open(path_of(f, "lifeboat.db"), &sqlite), SQLITE_OK);
	assert_int_equal(sqlite3_exec(sqlite, "PRAGMA user_version=99", NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(sqlite);
	start_ready(f);
	assert_int_equal(f->live_count, 0);
	assert_int_equal(f->medium, STORE_MEMORY);
	assert_non_null(strstr(f->reason, "newer lifeboat"));
	assert_non_null(strstr(f->reason, "99"));
	stop(f);
	assert_int_equal(sqlite3_open(path_of(f, "lifeboat.db"), &sqlite), SQLITE_OK);
	assert_int_equal(sqlite3_exec(sqlite, "PRAGMA user_version=1", NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(sqlite);
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

static void what_waits_at_the_end_is_cancelled(void **state)
{
	struct fixture *f = *state;

	start_ready(f);
	kill(f->store->primary->pid, SIGSTOP);
	pid_t worker = f->store->primary->pid;
	write_one(f, "a", PHASE_CREATED, NULL);
	assert_int_equal(store_get(f->store, "default", "a", on_answer, f), 0);
	store_stop(f->store, 50 * NS_PER_MS);
	f->store = NULL;
	assert_int_equal(f->written, 1);
	assert_int_equal(f->last_result, -ECANCELED);
	assert_int_equal(f->answer_result, -ECANCELED);
	/* The worker still had it in its socket: it commits after the agent is gone. */
	kill(worker, SIGCONT);
	assert_int_equal(waitpid(worker, NULL, 0), worker);
	start_ready(f);
	assert_int_equal(f->live_count, 1);
}

int main(int argc, char **argv)
{
	if (argc > 1 && streq(argv[1], "store-worker"))
		return store_worker_main(argc - 1, argv + 1);
	/*
	 * Mounts of a namespace of its own go with the last process of the test, however it ends.
	 */
	has_mounts = unshare(CLONE_NEWNS) == 0 &&
		     mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_is_written_is_found_after_a_restart),
		TEST(the_history_tells_each_transition_in_order),
		TEST(lists_are_by_namespace_and_creation_time),
		TEST(deleting_removes_the_object_and_its_history),
		TEST(a_document_of_a_mebibyte_is_kept),
		TEST(a_document_over_the_limit_is_refused_and_the_rest_goes_on),
		TEST(the_queue_has_a_limit),
		TEST(the_action_journal_can_be_queried),
		TEST(retention_by_count_removes_the_oldest_that_ended),
		TEST(retention_by_age_removes_those_that_ended_long_ago),
		TEST(another_object_of_the_same_name_starts_a_new_history),
		TEST(what_was_acknowledged_survives_kill_9_of_the_agent),
		TEST(a_killed_worker_loses_nothing_and_repeats_nothing),
		TEST(a_worker_that_dies_again_and_again_sends_the_store_to_memory),
		TEST(a_hung_worker_sends_the_store_to_memory_and_nothing_is_lost),
		TEST(a_disk_that_hangs_at_start_gives_its_abnormals_when_it_comes_back),
		TEST(a_try_of_the_disk_that_hangs_changes_nothing),
		TEST(a_worker_that_dies_on_the_way_back_to_disk_loses_nothing),
		TEST(a_worker_in_memory_that_dies_gets_the_live_ones_again),
		TEST(the_log_has_its_room_from_the_start_and_stays_within_it),
		TEST(a_full_disk_sends_the_store_to_memory_until_space_is_freed),
		TEST(stopping_in_memory_gives_the_disk_a_last_chance),
		TEST(a_read_only_disk_is_told_as_such),
		TEST(a_damaged_database_is_set_aside_and_told),
		TEST(a_database_damaged_inside_is_found_out),
		TEST(a_database_of_a_newer_version_is_left_alone),
		TEST(a_second_agent_on_the_same_directory_is_refused),
		TEST(an_orphaned_worker_keeps_nobody_out_whoever_has_its_agents_pid),
		TEST(what_waits_at_the_end_is_cancelled),
	};
	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
