/* SPDX-License-Identifier: Apache-2.0 */
/* The store with real workers and real SQLite: what is kept, found, and left out in time. */
#include "store_fixture.h"

#include "core/fingerprint.h"

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

static struct action *add_action(struct abnormal *abnormal, const char *recoverer, int outcome,
				 int64_t time)
{
	struct action *action = list_append(&abnormal->status.actions, &action_schema);

	assert_non_null(action);
	assert_int_equal(string_set(&action->recoverer, recoverer), 0);
	action->outcome = outcome;
	action->intent_time = time;
	return action;
}

static void write_many_that_ended(struct fixture *f, unsigned count)
{
	char name[32];

	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "a-%u", i);
		write_one(f, name, PHASE_FAILED, "NotIdentified");
	}
}

static void of_many_that_ended_the_last_are_handed_over_whole_and_the_others_with_their_actions(
	void **state)
{
	struct fixture *f = *state;
	_cleanup_abnormal_ struct abnormal *acted = make("acted", PHASE_FAILED);
	_cleanup_abnormal_ struct abnormal *by_hand = make("by-hand", PHASE_FAILED);
	int64_t now = acted->metadata.creation_timestamp, hour = 3600 * (int64_t)NS_PER_S;

	add_action(acted, "first", ACTION_FAILED, now - 2 * (int64_t)NS_PER_S);
	add_action(acted, "refused", ACTION_REFUSED, now);
	add_action(acted, "tried", ACTION_DRY_RUN, now);
	add_action(acted, "begun", ACTION_PENDING, now - 1);
	acted->metadata.annotations = cJSON_CreateObject();
	assert_int_equal(json_set_string(acted->metadata.annotations, ANNOTATION_SUBJECT, "shim/1"),
			 0);
	/* As old as the other, but something was begun with it since. */
	add_action(by_hand, "by-hand", ACTION_DONE, now + hour);
	start_ready(f);
	write_of(f, by_hand, "NotRecovered");
	write_of(f, acted, "NotRecovered");
	write_many_that_ended(f, STORE_RECENT_MAXIMUM + 10);
	restart(f);
	assert_int_equal(store_counts(f->store)->abnormals, STORE_RECENT_MAXIMUM + 12);
	assert_int_equal(f->recent_count, STORE_RECENT_MAXIMUM);
	assert_int_equal(f->acted_count, 2);
	assert_string_equal(f->acted[0], "begun on shim/1");
	assert_string_equal(f->acted[1], "first on shim/1");
	assert_true(f->acted_times[0] == now - 1);
}

static void without_a_subject_an_action_was_done_to_the_abnormal_of_that_name(void **state)
{
	struct fixture *f = *state;
	_cleanup_abnormal_ struct abnormal *acted = make("acted", PHASE_SUCCEEDED);

	add_action(acted, "fix-it", ACTION_DONE, acted->metadata.creation_timestamp);
	start_ready(f);
	write_of(f, acted, "Recovered");
	write_many_that_ended(f, STORE_RECENT_MAXIMUM);
	restart(f);
	assert_int_equal(f->acted_count, 1);
	assert_string_equal(f->acted[0], "fix-it on acted");
}

/* As one that ended two days ago and whose fault came back a moment ago. */
static void what_ended_long_ago_and_was_heard_of_since_is_handed_over(void **state)
{
	struct fixture *f = *state;
	_cleanup_abnormal_ struct abnormal *old = make("old", PHASE_FAILED);
	_cleanup_abnormal_ struct abnormal *forgotten = make("forgotten", PHASE_FAILED);
	int64_t now = old->metadata.creation_timestamp, day = 24 * 3600 * (int64_t)NS_PER_S;

	f->options.history_ns = (uint64_t)day;
	old->metadata.creation_timestamp = forgotten->metadata.creation_timestamp = now - 2 * day;
	assert_int_equal(occurrences_add(old, 1, now - 2 * day, NULL), 0);
	assert_int_equal(occurrences_add(old, 1, now, NULL), 0);
	start_ready(f);
	write_of(f, old, "NotIdentified");
	write_of(f, forgotten, "NotIdentified");
	restart(f);
	assert_int_equal(f->recent_count, 1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(what_is_written_is_found_after_a_restart),
		STORE_TEST(the_history_tells_each_transition_in_order),
		STORE_TEST(lists_are_by_namespace_and_creation_time),
		STORE_TEST(deleting_removes_the_object_and_its_history),
		STORE_TEST(a_document_of_a_mebibyte_is_kept),
		STORE_TEST(a_document_over_the_limit_is_refused_and_the_rest_goes_on),
		STORE_TEST(the_queue_has_a_limit),
		STORE_TEST(the_action_journal_can_be_queried),
		STORE_TEST(retention_by_count_removes_the_oldest_that_ended),
		STORE_TEST(retention_by_age_removes_those_that_ended_long_ago),
		STORE_TEST(another_object_of_the_same_name_starts_a_new_history),
		STORE_TEST(
			of_many_that_ended_the_last_are_handed_over_whole_and_the_others_with_their_actions),
		STORE_TEST(without_a_subject_an_action_was_done_to_the_abnormal_of_that_name),
		STORE_TEST(what_ended_long_ago_and_was_heard_of_since_is_handed_over),
	};
	int status;

	return store_tests_begin(argc, argv, &status)
		       ? cmocka_run_group_tests_name("store", tests, NULL, NULL)
		       : status;
}
