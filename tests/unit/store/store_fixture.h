/* SPDX-License-Identifier: Apache-2.0 */
/* What the store's tests have in common: an owner of a store with real workers and a folder of its own. */
#pragma once

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
	size_t live_count, recent_count, acted_count, recovered_count, removed_count;
	char acted[NAMES_MAX][80];
	int64_t acted_times[NAMES_MAX];
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

static inline void on_written(void *userdata, int result)
{
	struct fixture *f = userdata;

	f->written++;
	f->failed += result < 0;
	f->last_result = result;
}

static inline void on_answer(void *userdata, int result, const char *text, size_t length)
{
	struct fixture *f = userdata;

	free(f->answer);
	f->answer = text ? strndup(text, length) : NULL;
	f->answer_result = result;
	f->answered = true;
}

static inline size_t copy_names(char names[NAMES_MAX][64], const struct store_loaded *loaded)
{
	for (size_t i = 0; i < loaded->live_count && i < NAMES_MAX; i++)
		snprintf(names[i], sizeof(names[i]), "%s", loaded->live[i]->metadata.name);
	return loaded->live_count;
}

static inline void on_ready(void *userdata, struct store_loaded *loaded)
{
	struct fixture *f = userdata;

	f->ready++;
	f->live_count = copy_names(f->live, loaded);
	f->recent_count = loaded->recent_count;
	f->acted_count = loaded->acted_count;
	for (size_t i = 0; i < loaded->acted_count && i < NAMES_MAX; i++) {
		snprintf(f->acted[i], sizeof(f->acted[i]), "%s on %s", loaded->acted[i].recoverer,
			 loaded->acted[i].subject);
		f->acted_times[i] = loaded->acted[i].intent_time;
	}
	free(f->positions);
	f->positions = json_print(loaded->positions);
}

static inline void on_recovered(void *userdata, struct store_loaded *loaded)
{
	struct fixture *f = userdata;

	f->recovered++;
	f->recovered_count = copy_names(f->recovered_names, loaded);
}

static inline void on_medium(void *userdata, enum store_medium medium, const char *reason)
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

static inline void on_removed(void *userdata, const char *uid)
{
	struct fixture *f = userdata;

	if (f->removed_count < NAMES_MAX)
		snprintf(f->removed[f->removed_count], sizeof(f->removed[0]), "%s", uid);
	f->removed_count++;
}

static inline void on_refused(void *userdata, const char *reason)
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

static inline void start(struct fixture *f)
{
	struct store_handlers handlers = all_handlers;

	handlers.userdata = f;
	f->ready = f->recovered = f->medium_calls = f->refused = 0;
	f->live_count = f->recent_count = f->acted_count = f->removed_count = f->written =
		f->failed = 0;
	f->reason[0] = '\0';
	assert_int_equal(store_start(&f->options, &handlers, &f->store), 0);
}

static inline void start_ready(struct fixture *f)
{
	start(f);
	wait_for(f, f->ready);
}

static inline void stop(struct fixture *f)
{
	store_stop(f->store, 5 * NS_PER_S);
	f->store = NULL;
}

static inline void restart(struct fixture *f)
{
	stop(f);
	start_ready(f);
}

static inline struct abnormal *make(const char *name, enum abnormal_phase phase)
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

static inline void write_of(struct fixture *f, const struct abnormal *abnormal,
			    const char *transition)
{
	struct store_record record = {.abnormal = abnormal, .transition = transition};

	assert_int_equal(store_write(f->store, &record, on_written, f), 0);
}

static inline void write_one(struct fixture *f, const char *name, enum abnormal_phase phase,
			     const char *transition)
{
	_cleanup_abnormal_ struct abnormal *abnormal = make(name, phase);

	write_of(f, abnormal, transition);
}

/* Writes and waits for the acknowledgement. */
static inline void put(struct fixture *f, const char *name, enum abnormal_phase phase,
		       const char *transition)
{
	size_t before = f->written;

	write_one(f, name, phase, transition);
	wait_for(f, f->written > before);
	assert_int_equal(f->last_result, 0);
}

static inline int ask_get(struct fixture *f, const char *name)
{
	f->answered = false;
	assert_int_equal(store_get(f->store, "default", name, on_answer, f), 0);
	wait_for(f, f->answered);
	return f->answer_result;
}

static inline const char *ask_history(struct fixture *f, const char *name)
{
	f->answered = false;
	assert_int_equal(store_history(f->store, "default", name, on_answer, f), 0);
	wait_for(f, f->answered);
	return f->answer_result == 0 ? f->answer : NULL;
}

static inline cJSON *ask_list(struct fixture *f, const char *namespace)
{
	cJSON *list = NULL;

	f->answered = false;
	assert_int_equal(store_list(f->store, namespace, on_answer, f), 0);
	wait_for(f, f->answered);
	assert_int_equal(f->answer_result, 0);
	assert_int_equal(json_parse(f->answer, strlen(f->answer), &list, NULL), 0);
	return list;
}

static inline void keep(struct fixture *f, const char *name, enum abnormal_phase phase)
{
	f->kept[f->kept_count++] = make(name, phase);
}

static inline char *path_of(const struct fixture *f, const char *name)
{
	static char path[160];

	snprintf(path, sizeof(path), "%s/%s", f->directory, name);
	return path;
}

/* --- Making and removing what a test needs ---------------------------------------------------- */

static inline int setup(void **state)
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

static inline int remove_entry(const char *path, const struct stat *status, int type,
			       struct FTW *walk)
{
	return remove(path);
}

static inline int teardown(void **state)
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

/* What each program of tests begins with: a worker, or mounts that go with its last process, however it ends. */
static inline bool store_tests_begin(int argc, char **argv, int *ret_status)
{
	if (argc > 1 && streq(argv[1], "store-worker")) {
		*ret_status = store_worker_main(argc - 1, argv + 1);
		return false;
	}
	has_mounts = unshare(CLONE_NEWNS) == 0 &&
		     mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
	return true;
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
