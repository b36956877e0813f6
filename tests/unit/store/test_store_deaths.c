/* SPDX-License-Identifier: Apache-2.0 */
/* The store when its workers or its agent die, are stopped, or wait for a disk that hangs. */
#include "store_fixture.h"

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
	assert_int_equal(store_counts(f->store)->abnormals, last + 1);
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

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		STORE_TEST(what_was_acknowledged_survives_kill_9_of_the_agent),
		STORE_TEST(a_killed_worker_loses_nothing_and_repeats_nothing),
		STORE_TEST(a_worker_that_dies_again_and_again_sends_the_store_to_memory),
		STORE_TEST(what_waits_at_the_end_is_cancelled),
		STORE_TEST(a_hung_worker_sends_the_store_to_memory_and_nothing_is_lost),
		STORE_TEST(a_disk_that_hangs_at_start_gives_its_abnormals_when_it_comes_back),
		STORE_TEST(a_try_of_the_disk_that_hangs_changes_nothing),
		STORE_TEST(a_worker_that_dies_on_the_way_back_to_disk_loses_nothing),
		STORE_TEST(a_worker_in_memory_that_dies_gets_the_live_ones_again),
	};
	int status;

	return store_tests_begin(argc, argv, &status)
		       ? cmocka_run_group_tests_name("store_deaths", tests, NULL, NULL)
		       : status;
}
