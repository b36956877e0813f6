/* SPDX-License-Identifier: Apache-2.0 */
/* Children get what they are handed and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/spawn.h"

static int ended(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_child_has_what_it_is_handed_and_nothing_else(void **state)
{
	char command[128];
	char *const arguments[] = {(char *)"sh", (char *)"-c", command, NULL};
	_cleanup_free_ char *text = NULL;
	int ends[2], kept = fcntl(STDIN_FILENO, F_DUPFD, 50), pidfd; /* not CLOEXEC */
	pid_t pid;

	assert_true(kept >= 0);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	snprintf(command, sizeof(command), "test -e /proc/$$/fd/%d && echo leak >&3; echo end >&4",
		 kept);
	/* The order of the numbers must not matter. */
	int other = fcntl(ends[1], F_DUPFD_CLOEXEC, 40);
	const int fds[] = {other, ends[1]};
	assert_int_equal(spawn("/bin/sh", arguments, fds, 2, &pid, &pidfd), 0);
	close(ends[1]);
	close(other);
	assert_int_equal(file_read_fd(ends[0], 4096, &text, NULL), 0);
	assert_string_equal(text, "end\n");
	assert_int_equal(ended(pid), 0);
	close(pidfd);
	close(ends[0]);
	close(kept);
}

static void a_child_blocks_no_signal(void **state)
{
	char *const arguments[] = {(char *)"sh", (char *)"-c", (char *)"kill -TERM $$; exit 3",
				   NULL};
	sigset_t all, before;
	int pidfd, status;
	pid_t pid;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	assert_int_equal(spawn("/bin/sh", arguments, NULL, 0, &pid, &pidfd), 0);
	sigprocmask(SIG_SETMASK, &before, NULL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	close(pidfd);
}

static void what_cannot_be_executed_shows_as_127(void **state)
{
	char *const arguments[] = {(char *)"nothing", NULL};
	int pidfd;
	pid_t pid;

	assert_int_equal(spawn("/nonexistent", arguments, NULL, 0, &pid, &pidfd), 0);
	assert_int_equal(ended(pid), 127);
	close(pidfd);
}

static void what_a_program_prints_is_read_to_its_end(void **state)
{
	char *const arguments[] = {(char *)"sh", (char *)"-c", (char *)"echo one; echo two; exit 3",
				   NULL};
	_cleanup_free_ char *text = NULL;
	int status;

	assert_int_equal(spawn_read("/bin/sh", arguments, 10 * NS_PER_S, 4096, &text, &status), 0);
	assert_string_equal(text, "one\ntwo\n");
	assert_int_equal(WEXITSTATUS(status), 3);
}

static void a_program_that_prints_without_end_is_killed(void **state)
{
	char *const arguments[] = {(char *)"sh", (char *)"-c", (char *)"while :; do echo x; done",
				   NULL};
	_cleanup_free_ char *text = NULL;
	int status;

	assert_int_equal(
		spawn_read("/bin/sh", arguments, 200 * NS_PER_MS, 16 * MIB, &text, &status),
		-ETIMEDOUT);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void a_program_that_closes_its_output_and_stays_is_killed(void **state)
{
	char *const arguments[] = {(char *)"sh", (char *)"-c", (char *)"exec sleep 60 >&-", NULL};
	_cleanup_free_ char *text = NULL;
	int status;

	assert_int_equal(spawn_read("/bin/sh", arguments, 200 * NS_PER_MS, 4096, &text, &status),
			 -ETIMEDOUT);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void more_than_is_wanted_is_an_error(void **state)
{
	char *const arguments[] = {(char *)"sh", (char *)"-c", (char *)"echo 0123456789", NULL};
	_cleanup_free_ char *text = NULL;
	int status;

	assert_int_equal(spawn_read("/bin/sh", arguments, 10 * NS_PER_S, 4, &text, &status),
			 -EFBIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_child_has_what_it_is_handed_and_nothing_else),
		cmocka_unit_test(a_child_blocks_no_signal),
		cmocka_unit_test(what_cannot_be_executed_shows_as_127),
		cmocka_unit_test(what_a_program_prints_is_read_to_its_end),
		cmocka_unit_test(a_program_that_prints_without_end_is_killed),
		cmocka_unit_test(a_program_that_closes_its_output_and_stays_is_killed),
		cmocka_unit_test(more_than_is_wanted_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
