/* SPDX-License-Identifier: Apache-2.0 */
/* Messages for people: log lines, problems with their field, suggestions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/problem.h"
#include "base/suggestion.h"

/* What log_write puts on standard error; the caller's to free. */
static char *captured(enum log_level level, const char *text)
{
	int ends[2], saved = dup(STDERR_FILENO);
	char *line = NULL;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	dup2(ends[1], STDERR_FILENO);
	log_write(level, "%s", text);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[1]);
	assert_int_equal(file_read_fd(ends[0], 64 * KIB, &line, NULL), 0);
	close(ends[0]);
	return line;
}

static void a_message_is_one_line_with_time_and_level(void **state)
{
	_cleanup_free_ char *line = captured(LOG_LEVEL_WARNING, "a\nb\x1b[31m\tc");

	/* 17:45:01.123Z warning a b [31m c */
	assert_string_equal(line + strlen("17:45:01.123"), "Z warning a b [31m c\n");
}

static void messages_above_the_level_are_dropped(void **state)
{
	_cleanup_free_ char *quiet = captured(LOG_LEVEL_DEBUG, "x"), *loud = NULL;

	assert_string_equal(quiet, "");
	log_set_level(LOG_LEVEL_DEBUG);
	loud = captured(LOG_LEVEL_DEBUG, "x");
	log_set_level(LOG_LEVEL_INFO);
	assert_non_null(strstr(loud, " debug "));
}

static void logging_keeps_errno(void **state)
{
	errno = ENOTTY;
	free(captured(LOG_LEVEL_ERROR, "x"));
	errno = ENOTTY;
	log_set_level(LOG_LEVEL_ERROR);
	log_info("dropped");
	log_set_level(LOG_LEVEL_INFO);
	assert_int_equal(errno, ENOTTY);
}

static void a_reader_that_is_stuck_holds_nobody_up_and_is_told_what_it_missed(void **state)
{
	int ends[2], saved = dup(STDERR_FILENO);
	_cleanup_free_ char *text = NULL;
	struct timespec before, after;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(fcntl(ends[1], F_SETPIPE_SZ, 8192), 8192);
	dup2(ends[1], STDERR_FILENO);
	clock_gettime(CLOCK_MONOTONIC, &before);
	for (int i = 0; i < 1000; i++)
		log_info("%0500d", i);
	clock_gettime(CLOCK_MONOTONIC, &after);
	char drained[8192];
	assert_true(read(ends[0], drained, sizeof(drained)) > 0);
	log_info("read again");
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[1]);
	assert_int_equal(file_read_fd(ends[0], 64 * KIB, &text, NULL), 0);
	close(ends[0]);
	assert_true(after.tv_sec - before.tv_sec < 3);
	assert_non_null(strstr(text, " messages were lost here"));
	assert_non_null(strstr(text, "read again"));
}

static void levels_are_known_by_name(void **state)
{
	enum log_level level;

	assert_int_equal(log_level_parse("debug", &level), 0);
	assert_int_equal(level, LOG_LEVEL_DEBUG);
	assert_int_equal(log_level_parse("loud", &level), -EINVAL);
}

static void a_limit_lets_a_burst_through_and_counts_the_rest(void **state)
{
	struct log_limit limit = {0};
	uint32_t suppressed = 9;

	assert_true(log_limit_pass(&limit, 2, 3600 * NS_PER_S, &suppressed));
	assert_int_equal(suppressed, 0);
	assert_true(log_limit_pass(&limit, 2, 3600 * NS_PER_S, &suppressed));
	assert_false(log_limit_pass(&limit, 2, 3600 * NS_PER_S, &suppressed));
	assert_false(log_limit_pass(&limit, 2, 3600 * NS_PER_S, &suppressed));
	/* The next window. */
	assert_true(log_limit_pass(&limit, 2, 0, &suppressed));
	assert_int_equal(suppressed, 2);
}

static void a_problem_is_told_with_the_path_of_its_field(void **state)
{
	struct problem problem = {0};
	char line[128];

	assert_int_equal(problem_set(&problem, -EINVAL, "name", "is %s", "required"), -EINVAL);
	problem_prefix(&problem, "[1]");
	problem_prefix(&problem, "list");
	problem_prefix(&problem, "spec");
	assert_string_equal(problem_line(&problem, line, sizeof(line)),
			    "spec.list[1].name: is required");
	problem_set(&problem, -EINVAL, NULL, "nothing there");
	assert_string_equal(problem_line(&problem, line, sizeof(line)), "nothing there");
	problem_prefix(&problem, "spec");
	assert_string_equal(problem_line(&problem, line, sizeof(line)), "spec: nothing there");
	assert_int_equal(problem_set(NULL, -EFBIG, "a", "b"), -EFBIG);
	problem_prefix(NULL, "a");
}

static void a_problem_too_long_to_tell_is_cut_and_safe_to_print(void **state)
{
	struct problem problem = {0};

	problem_set(&problem, -EINVAL, "end", "%s", "a\x1b[0m\xff\n\xc3\xa9");
	assert_string_equal(problem.text, "a?[0m??\xc3\xa9");
	for (int i = 0; i < 100; i++)
		problem_prefix(&problem, "deep");
	assert_int_equal(strlen(problem.field), sizeof(problem.field) - 1);
	assert_string_equal(problem.field + sizeof(problem.field) - 4, "...");
	problem_set(&problem, -EINVAL, NULL, "%1000d", 1);
	assert_int_equal(strlen(problem.text), sizeof(problem.text) - 1);
}

static const char *nearest(const char *text)
{
	static const char *const words[] = {"enabled", "threshold", "cooldown", "rate", "n"};
	struct suggestion suggestion = {.text = text};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		suggestion_offer(&suggestion, words[i]);
	return suggestion.best;
}

static void the_nearest_word_is_suggested_if_it_is_near(void **state)
{
	assert_string_equal(nearest("enable"), "enabled");
	assert_string_equal(nearest("treshhold"), "threshold");
	assert_string_equal(nearest("coolDown"), "cooldown");
	assert_string_equal(nearest("raet"), "rate");
	assert_string_equal(nearest("N"), "n");
	assert_null(nearest("x"));
	assert_null(nearest("date of birth"));
	assert_null(nearest(""));
	assert_null(nearest("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			    "aaaaaaaaaa"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_is_one_line_with_time_and_level),
		cmocka_unit_test(messages_above_the_level_are_dropped),
		cmocka_unit_test(logging_keeps_errno),
		cmocka_unit_test(a_reader_that_is_stuck_holds_nobody_up_and_is_told_what_it_missed),
		cmocka_unit_test(levels_are_known_by_name),
		cmocka_unit_test(a_limit_lets_a_burst_through_and_counts_the_rest),
		cmocka_unit_test(a_problem_is_told_with_the_path_of_its_field),
		cmocka_unit_test(a_problem_too_long_to_tell_is_cut_and_safe_to_print),
		cmocka_unit_test(the_nearest_word_is_suggested_if_it_is_near),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
