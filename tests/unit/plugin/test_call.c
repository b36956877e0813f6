/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of scripts, with real processes that behave as badly as scripts do. */
#include "call_fixture.h"

#include "plugin/artifacts.h"
#include "../skip.h"

#define UNIT(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

static void an_answer_comes_back_checked(void **state)
{
	struct fixture *fixture = *state;
	struct call_result result;

	call_once(fixture,
		  script(fixture, PLUGIN_DIAGNOSER,
			 "#!/bin/sh\n"
			 "sed "
			 "'s/\"phase\":\"Diagnosing\"/&,\"reason\":\"Found\",\"identifiable\":true/"
			 "'\n"),
		  STEP_DIAGNOSE, &result);
	assert_null(result.error);
	assert_int_equal(result.verdict, CALL_RECOGNISED);
	assert_string_equal(result.answer->status.reason, "Found");
	assert_true(result.answer->status.identifiable);
	/* What it only handed on is not in the answer to merge. */
	assert_null(cJSON_GetObjectItem(result.answer->status.context, "before"));
	assert_true(result.duration_ns > 0);
	call_result_clear(&result);
}

static void no_output_is_recognised_without_a_change(void **state)
{
	struct fixture *fixture = *state;
	struct call_result result;

	call_once(fixture, script(fixture, PLUGIN_RECOVERER, "#!/bin/sh\ncat >/dev/null; echo\n"),
		  STEP_RECOVER, &result);
	assert_int_equal(result.verdict, CALL_RECOGNISED);
	assert_null(result.answer);
	assert_null(result.error);
	call_result_clear(&result);
}

static void exit_status_2_is_not_mine_whatever_was_printed(void **state)
{
	struct fixture *fixture = *state;
	struct call_result result;

	call_once(fixture, script(fixture, PLUGIN_DIAGNOSER, "#!/bin/sh\necho no idea\nexit 2\n"),
		  STEP_DIAGNOSE, &result);
	assert_int_equal(result.verdict, CALL_NOT_MINE);
	assert_null(result.answer);
	call_result_clear(&result);
}

static void another_exit_status_is_an_error_with_the_last_line(void **state)
{
	struct fixture *fixture = *state;
	struct call_result result;

	call_once(fixture,
		  script(fixture, PLUGIN_COLLECTOR,
			 "#!/bin/sh\necho first >&2\nprintf 'cannot open \\033[1m/dev/foo\\n\\n' "
			 ">&2\nexit 3\n"),
		  STEP_COLLECT, &result);
	assert_error_has(result, "exit status 3: cannot open  [1m/dev/foo");
	call_result_clear(&result);
}

static void garbage_is_an_error(void **state)
{
	struct fixture *fixture = *state;
	struct call_result result;

	call_once(fixture,
		  script(fixture, PLUGIN_DIAGNOSER, "#!/bin/sh\nhead -c 3000 /dev/urandom\n"),
		  STEP_DIAGNOSE, &result);
	assert_error_has(result, "answer is not an Abnormal: ");
	call_result_clear(&result);
	call_once(fixture,
		  script(fixture, PLUGIN_DIAGNOSER, "#!/bin/sh\necho '{\"kind\":\"Pod\"}'\n"),
		  STEP_DIAGNOSE, &result);
	assert_error_has(result, "answer is not an Abnormal: ");
	call_result_clear(&result);
}

static void a_changed_spec_is_an_error_that_names_the_field(void **state)
{
	struct fixture *fixture = *state;
	struct call_result result;

	call_once(fixture,
		  script(fixture, PLUGIN_DIAGNOSER, "#!/bin/sh\nsed s/\\\"n1\\\"/\\\"n2\\\"/\n"),
		  STEP_DIAGNOSE, &result);
	assert_error_has(result, "spec.nodeName");
	call_result_clear(&result);
}

static void a_script_that_hangs_dies_at_its_deadline_with_its_group(void **state)
{
	struct fixture *fixture = *state;
	struct call_result result;
	char text[512];
	uint64_t start = test_now();

	snprintf(text, sizeof(text),
		 "#!/bin/sh\n# lifeboat: timeout=700ms\n"
		 "trap '' TERM INT HUP\necho asleep >&2\nsleep 1000 &\necho $! >%1$s/sleeper\n"
		 "echo $$ >%1$s/shell\nwait\nsleep 1000\n",
		 fixture->directory);
	call_once(fixture, script(fixture, PLUGIN_DIAGNOSER, text), STEP_DIAGNOSE, &result);
	assert_error_has(result, "time limit of 700ms and was killed; it said last: asleep");
	assert_true(test_now() - start < 5 * NS_PER_S);
	assert_true(pid_in(fixture, "shell") > 0);
	assert_true(process_is_gone(pid_in(fixture, "shell")));
	assert_true(process_is_gone(pid_in(fixture, "sleeper")));
	assert_int_equal(call_pool_counts(fixture->pool)->timeouts, 1);
	assert_int_equal(call_pool_counts(fixture->pool)->abandoned, 0);
	call_result_clear(&result);
}

static void a_daemon_that_a_script_leaves_does_not_outlive_the_call(void **state)
{
	struct fixture *fixture = *state;
	struct call_result result;
	char text[512];

	/* Two sessions deep, and holding standard output open. */
	snprintf(text, sizeof(text),
		 "#!/bin/sh\nsetsid sh -c 'setsid sh -c \"echo \\$\\$ >%1$s/daemon; exec sleep "
		 "1000\" & sleep 1000' &\n"
		 "while [ ! -s %1$s/daemon ]; do sleep 0.02; done\nexit 0\n",
		 fixture->directory);
	call_once(fixture, script(fixture, PLUGIN_RECOVERER, text), STEP_RECOVER, &result);
	assert_null(result.error);
	assert_int_equal(result.verdict, CALL_RECOGNISED);
	assert_true(pid_in(fixture, "daemon") > 0);
	assert_true(process_is_gone(pid_in(fixture, "daemon")));
	call_result_clear(&result);
}

static void a_flood_on_standard_output_is_cut_off(void **state)
{
	struct fixture *fixture = *state;
	struct call_result result;

	call_once(fixture, script(fixture, PLUGIN_DIAGNOSER, "#!/bin/sh\nexec cat /dev/zero\n"),
		  STEP_DIAGNOSE, &result);
	assert_error_has(result, "answer is over the limit of 2048 KiB");
	call_result_clear(&result);
}

static void a_flood_on_standard_error_is_cut_off(void **state)
{
	struct fixture *fixture = *state;
	struct call_result result;

	call_once(fixture, script(fixture, PLUGIN_DIAGNOSER, "#!/bin/sh\nexec yes help >&2\n"),
		  STEP_DIAGNOSE, &result);
	assert_error_has(result, "standard error is over the limit of 16 MiB");
	call_result_clear(&result);
}

static void much_on_standard_error_keeps_its_end(void **state)
{
	struct fixture *fixture = *state;
	struct call_result result;

	call_once(fixture,
		  script(fixture, PLUGIN_DIAGNOSER,
			 "#!/bin/sh\nhead -c 3000000 /dev/zero >&2\necho >&2\necho the reason "
			 ">&2\nexit 1\n"),
		  STEP_DIAGNOSE, &result);
	assert_error_has(result, "exit status 1: the reason");
	call_result_clear(&result);
}

static void a_script_that_never_reads_a_large_abnormal_keeps_nobody_waiting(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_abnormal_ struct abnormal *abnormal = custom_abnormal();
	_cleanup_free_ char *large = malloc(900 * KIB + 1);
	struct call_result result;

	assert_non_null(large);
	memset(large, 'x', 900 * KIB);
	large[900 * KIB] = '\0';
	assert_int_equal(json_set_string(abnormal_context(abnormal), "large", large), 0);
	call_with(fixture, script(fixture, PLUGIN_DIAGNOSER, "#!/bin/sh\nexit 2\n"), STEP_DIAGNOSE,
		  abnormal, NULL, &result);
	assert_int_equal(result.verdict, CALL_NOT_MINE);
	call_result_clear(&result);
	call_with(fixture, script(fixture, PLUGIN_DIAGNOSER, "#!/bin/sh\nexec cat\n"),
		  STEP_DIAGNOSE, abnormal, NULL, &result);
	assert_null(result.error);
	assert_int_equal(result.verdict, CALL_RECOGNISED);
	assert_non_null(result.answer);
	call_result_clear(&result);
}

static void a_script_gets_a_clean_environment_and_its_step(void **state)
{
	struct fixture *fixture = *state;
	struct call_result result;
	_cleanup_free_ char *seen = NULL;
	char text[512];

	setenv("LIFEBOAT_TEST_SECRET", "x", 1);
	snprintf(text, sizeof(text),
		 "#!/bin/sh\n{ echo \"$0 $1 $(pwd)\"; env | sort; ls /proc/self/fd | tr '\\n' ' '; "
		 "ulimit -c; } >%s/seen\n",
		 fixture->directory);
	call_once(fixture, script(fixture, PLUGIN_RECOVERER, text), STEP_VERIFY, &result);
	unsetenv("LIFEBOAT_TEST_SECRET");
	assert_null(result.error);
	call_result_clear(&result);
	assert_int_equal(file_read(AT_FDCWD, test_path(fixture, "seen"), 64 * KIB, &seen, NULL), 0);
	assert_null(strstr(seen, "LIFEBOAT_TEST_SECRET"));
	assert_non_null(strstr(seen, "/subject.sh verify /\n"));
	assert_non_null(strstr(seen, "LIFEBOAT_STEP=verify\n"));
	assert_non_null(strstr(seen, "LIFEBOAT_PLUGIN=subject\n"));
	assert_non_null(strstr(seen, "LANG=C\n"));
	/* 3 is ls reading the folder: nothing of the agent's was handed on. */
	assert_non_null(strstr(seen, "\n0 1 2 3 0\n"));
}

static void a_script_over_its_memory_fails_alone(void **state)
{
	struct fixture *fixture = *state;
	struct call_result result;

	if (access("/usr/bin/python3", X_OK) < 0)
		skip_because("needs a program that allocates: /usr/bin/python3");
	call_once(fixture,
		  script(fixture, PLUGIN_DIAGNOSER,
			 "#!/usr/bin/python3\n# lifeboat: memory=64MiB\nprint(len(bytearray(256 * "
			 "1024 * 1024)))\n"),
		  STEP_DIAGNOSE, &result);
	assert_error_has(result, "exit status 1: MemoryError");
	call_result_clear(&result);
}

static void a_script_that_cannot_be_executed_says_why(void **state)
{
	struct fixture *fixture = *state;
	struct call_result result;

	call_once(fixture, script(fixture, PLUGIN_DIAGNOSER, "#!/no/such/interpreter\n"),
		  STEP_DIAGNOSE, &result);
	assert_error_has(result, "is the interpreter that its first line names installed?");
	call_result_clear(&result);
	call_once(fixture, script(fixture, PLUGIN_DIAGNOSER, "echo\n"), STEP_DIAGNOSE, &result);
	assert_error_has(result, "a script begins with a line like #!/bin/sh");
	call_result_clear(&result);
}

static void a_script_made_writable_for_all_after_it_was_found_is_not_run(void **state)
{
	struct fixture *fixture = *state;
	struct call_result result;
	char text[256];

	snprintf(text, sizeof(text), "#!/bin/sh\n>%s/ran\n", fixture->directory);
	script(fixture, PLUGIN_DIAGNOSER, text);
	assert_int_equal(chmod(test_path(fixture, "subject.sh"), 0777), 0);
	call_once(fixture, fixture->entry, STEP_DIAGNOSE, &result);
	assert_error_has(result, "refused: ");
	assert_error_has(result, "is writable by everyone (mode 0777)");
	assert_int_equal(access(test_path(fixture, "ran"), F_OK), -1);
	call_result_clear(&result);
}

static void a_script_that_is_gone_is_an_error(void **state)
{
	struct fixture *fixture = *state;
	struct call_result result;

	script(fixture, PLUGIN_DIAGNOSER, "#!/bin/sh\n");
	assert_int_equal(unlink(test_path(fixture, "subject.sh")), 0);
	call_once(fixture, fixture->entry, STEP_DIAGNOSE, &result);
	assert_error_has(result, "No such file or directory");
	call_result_clear(&result);
}

static void a_collectors_files_are_listed_and_links_are_not_followed(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_abnormal_ struct abnormal *abnormal = custom_abnormal();
	struct call_result result;
	char directory[128];

	snprintf(directory, sizeof(directory), "%s/artifacts/new/one", fixture->directory);
	call_with(
		fixture,
		script(fixture, PLUGIN_COLLECTOR,
		       "#!/bin/sh\ncd \"$LIFEBOAT_ARTIFACT_DIR\" && printf abc >b.txt && mkdir "
		       "sub && "
		       "printf abcd >sub/a.txt && : >empty.txt && ln -s /etc/shadow link && mkfifo "
		       "fifo\n"),
		STEP_COLLECT, abnormal, directory, &result);
	assert_null(result.error);
	const struct artifact *artifacts = result.artifacts.items;
	assert_int_equal(result.artifacts.count, 2);
	assert_string_equal(artifacts[0].name, "b.txt");
	assert_int_equal(artifacts[0].bytes, 3);
	assert_string_equal(artifacts[1].name, "sub/a.txt");
	assert_string_equal(artifacts[1].path + strlen(directory), "/sub/a.txt");
	assert_non_null(strstr(result.note, "2 artifacts were left out"));
	/* An empty file is no artifact, and no loss either. */
	char empty[256];
	snprintf(empty, sizeof(empty), "%s/empty.txt", directory);
	assert_int_equal(access(empty, F_OK), -1);
	call_result_clear(&result);
}

static void artifacts_over_their_limit_are_removed_and_counted(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_abnormal_ struct abnormal *abnormal = custom_abnormal();
	struct call_result result;

	/* Sparse: the disk does not notice. */
	call_with(fixture,
		  script(fixture, PLUGIN_COLLECTOR,
			 "#!/bin/sh\ncd \"$LIFEBOAT_ARTIFACT_DIR\" && truncate -s 40M one two\n"),
		  STEP_COLLECT, abnormal, fixture->directory, &result);
	assert_null(result.error);
	assert_int_equal(access(test_path(fixture, "one"), F_OK), 0);
	assert_int_equal(access(test_path(fixture, "two"), F_OK), -1);
	assert_non_null(strstr(result.note, "1 artifacts were left out"));
	call_result_clear(&result);
	call_with(fixture,
		  script(fixture, PLUGIN_COLLECTOR,
			 "#!/bin/sh\ncd \"$LIFEBOAT_ARTIFACT_DIR\" && exec head -c 80M /dev/zero "
			 ">three\n"),
		  STEP_COLLECT, abnormal, fixture->directory, &result);
	assert_error_has(result, "died of signal 25 (File size limit exceeded)");
	call_result_clear(&result);
}

static void a_collector_runs_without_a_folder_when_none_can_be_made(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_abnormal_ struct abnormal *abnormal = custom_abnormal();
	struct call_result result;

	call_with(fixture,
		  script(fixture, PLUGIN_COLLECTOR,
			 "#!/bin/sh\n[ -z \"$LIFEBOAT_ARTIFACT_DIR\" ] && exec cat\n"),
		  STEP_COLLECT, abnormal, "/proc/no/folder/here", &result);
	assert_null(result.error);
	assert_int_equal(result.verdict, CALL_RECOGNISED);
	assert_string_equal(result.note,
			    "its artifacts could not be kept: No such file or directory");
	call_result_clear(&result);
}

static void a_cancelled_call_is_silent_and_leaves_no_process(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_abnormal_ struct abnormal *abnormal = custom_abnormal();
	struct called called = {0};
	struct call *call = NULL;
	char text[256];

	snprintf(text, sizeof(text), "#!/bin/sh\necho $$ >%s/shell\nsleep 1000\n",
		 fixture->directory);
	assert_int_equal(call_start(fixture->pool, script(fixture, PLUGIN_DIAGNOSER, text),
				    STEP_DIAGNOSE, abnormal, NULL, on_called, &called, &call),
			 0);
	WAIT_FOR(fixture, "the script to run", pid_in(fixture, "shell") > 0);
	pid_t pid = pid_in(fixture, "shell");
	call_cancel(call);
	assert_int_equal(call_pool_counts(fixture->pool)->running, 0);
	WAIT_FOR(fixture, "the cancelled script to end", process_is_gone(pid));
	assert_int_equal(called.times, 0);
	assert_int_equal(call_pool_counts(fixture->pool)->abandoned, 0);
}

static void a_pool_freed_in_the_middle_of_a_call_leaves_no_process(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_abnormal_ struct abnormal *abnormal = custom_abnormal();
	struct called called = {0};
	char text[512];

	snprintf(text, sizeof(text),
		 "#!/bin/sh\nsetsid sh -c 'echo $$ >%1$s/daemon; exec sleep 1000' &\n"
		 "echo $$ >%1$s/shell\nsleep 1000\n",
		 fixture->directory);
	assert_int_equal(call_start(fixture->pool, script(fixture, PLUGIN_DIAGNOSER, text),
				    STEP_DIAGNOSE, abnormal, NULL, on_called, &called, NULL),
			 0);
	WAIT_FOR(fixture, "the script to run",
		 pid_in(fixture, "shell") > 0 && pid_in(fixture, "daemon") > 0);
	call_pool_free(TAKE_PTR(fixture->pool));
	assert_true(process_is_gone(pid_in(fixture, "shell")));
	assert_true(process_is_gone(pid_in(fixture, "daemon")));
	assert_int_equal(called.times, 0);
}

static void a_killed_supervisor_is_an_error_and_takes_the_script_with_it(void **state)
{
	struct fixture *fixture = *state;
	struct call_result result;
	char text[256];

	snprintf(text, sizeof(text),
		 "#!/bin/sh\necho $$ >%s/shell\nkill -9 $PPID\nexec sleep 1000\n",
		 fixture->directory);
	call_once(fixture, script(fixture, PLUGIN_DIAGNOSER, text), STEP_DIAGNOSE, &result);
	assert_error_has(result, "its supervisor died of signal 9 without an answer");
	WAIT_FOR(fixture, "the script to end", process_is_gone(pid_in(fixture, "shell")));
	call_result_clear(&result);
}

static void more_calls_than_may_run_wait_in_order(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_abnormal_ struct abnormal *abnormal = custom_abnormal();
	struct called called[12] = {0};
	struct call *waiting = NULL;
	unsigned done = 0;

	script(fixture, PLUGIN_DIAGNOSER, "#!/bin/sh\nsleep 0.05\nexit 2\n");
	for (size_t i = 0; i < ARRAY_SIZE(called); i++)
		assert_int_equal(call_start(fixture->pool, fixture->entry, STEP_DIAGNOSE, abnormal,
					    NULL, on_called, &called[i], &waiting),
				 0);
	assert_int_equal(call_pool_counts(fixture->pool)->waiting, 12);
	call_cancel(waiting);
	uint64_t end = test_now() + TEST_DEADLINE_NS;
	while (done < 11 && test_now() < end) {
		assert_true(sd_event_run(fixture->event, 20000) >= 0);
		assert_true(call_pool_counts(fixture->pool)->running <= 4);
		done = 0;
		for (size_t i = 0; i < 11; i++)
			done += called[i].times;
	}
	assert_int_equal(done, 11);
	assert_int_equal(called[11].times, 0);
	assert_int_equal(call_pool_counts(fixture->pool)->not_mine, 11);
	assert_int_equal(call_pool_counts(fixture->pool)->waiting, 0);
}

static void on_called_free_pool(void *userdata, struct call_result *result)
{
	struct fixture *fixture = userdata;

	call_pool_free(TAKE_PTR(fixture->pool));
}

static void a_callback_may_free_the_pool(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_abnormal_ struct abnormal *abnormal = custom_abnormal();

	script(fixture, PLUGIN_DIAGNOSER, "#!/bin/sh\nexit 2\n");
	for (int i = 0; i < 3; i++)
		assert_int_equal(call_start(fixture->pool, fixture->entry, STEP_DIAGNOSE, abnormal,
					    NULL, on_called_free_pool, fixture, NULL),
				 0);
	WAIT_FOR(fixture, "a callback", fixture->pool == NULL);
}

static void a_worker_program_that_is_missing_is_an_error_of_the_call(void **state)
{
	struct fixture *fixture = *state;
	struct call_result result;
	struct call_pool_options options = {.event = fixture->event,
					    .clock = clock_system(),
					    .worker_program = "/no/such/program"};

	call_pool_free(TAKE_PTR(fixture->pool));
	assert_int_equal(call_pool_new(&options, &fixture->pool), 0);
	call_once(fixture, script(fixture, PLUGIN_DIAGNOSER, "#!/bin/sh\n"), STEP_DIAGNOSE,
		  &result);
	assert_error_has(result, "its supervisor ended with status 127 without an answer");
	call_result_clear(&result);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		UNIT(an_answer_comes_back_checked),
		UNIT(no_output_is_recognised_without_a_change),
		UNIT(exit_status_2_is_not_mine_whatever_was_printed),
		UNIT(another_exit_status_is_an_error_with_the_last_line),
		UNIT(garbage_is_an_error),
		UNIT(a_changed_spec_is_an_error_that_names_the_field),
		UNIT(a_script_that_hangs_dies_at_its_deadline_with_its_group),
		UNIT(a_daemon_that_a_script_leaves_does_not_outlive_the_call),
		UNIT(a_flood_on_standard_output_is_cut_off),
		UNIT(a_flood_on_standard_error_is_cut_off),
		UNIT(much_on_standard_error_keeps_its_end),
		UNIT(a_script_that_never_reads_a_large_abnormal_keeps_nobody_waiting),
		UNIT(a_script_gets_a_clean_environment_and_its_step),
		UNIT(a_script_over_its_memory_fails_alone),
		UNIT(a_script_that_cannot_be_executed_says_why),
		UNIT(a_script_made_writable_for_all_after_it_was_found_is_not_run),
		UNIT(a_script_that_is_gone_is_an_error),
		UNIT(a_collectors_files_are_listed_and_links_are_not_followed),
		UNIT(artifacts_over_their_limit_are_removed_and_counted),
		UNIT(a_collector_runs_without_a_folder_when_none_can_be_made),
		UNIT(a_cancelled_call_is_silent_and_leaves_no_process),
		UNIT(a_pool_freed_in_the_middle_of_a_call_leaves_no_process),
		UNIT(a_killed_supervisor_is_an_error_and_takes_the_script_with_it),
		UNIT(more_calls_than_may_run_wait_in_order),
		UNIT(a_callback_may_free_the_pool),
		UNIT(a_worker_program_that_is_missing_is_an_error_of_the_call),
	};

	SUPERVISOR_OR_RETURN(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
