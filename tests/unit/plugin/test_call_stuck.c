/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that not even SIGKILL ends: a script that writes to a frozen filesystem of its own. The
 * agent goes on, counts them, and knows when they are gone. Needs root, mkfs.ext4, a loop device
 * and fsfreeze.
 */
#include "call_fixture.h"
#include "../skip.h"

/* Runs COMMAND with the fixture's folder as $1. Returns its exit status. */
static int run(const struct fixture *fixture, const char *command)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", command, "sh", fixture->directory, NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	run(fixture, "fsfreeze -u $1/mount 2>/dev/null; kill -- -$(cat $1/thaw); "
		     "for i in 1 2 3 4 5 6 7 8 9 10; do umount $1/mount 2>/dev/null && break; "
		     "sleep 0.2; done; true");
	return fixture_teardown(state);
}

static int setup(void **state)
{
	int r = fixture_setup(state);

	/*
	 * A test program that is killed must not leave a frozen filesystem for ever: this thaws it
	 * in a minute.
	 */
	if (run(*state, "cd $1 && mkdir mount && truncate -s 16M image && mkfs.ext4 -q -F image "
			"2>/dev/null && "
			"mount -o loop image mount 2>/dev/null && fsfreeze -f mount && "
			"{ setsid sh -c 'sleep 60; fsfreeze -u mount; umount mount' >/dev/null "
			"2>&1 & echo $! >thaw; }") != 0) {
		run(*state, "umount $1/mount 2>/dev/null");
		run(*state, "touch $1/unfit");
	}
	return r;
}

static void calls_that_cannot_be_killed_are_counted_and_forgotten_when_they_end(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_abnormal_ struct abnormal *abnormal = custom_abnormal();
	const struct call_counts *counts = call_pool_counts(fixture->pool);
	struct call_result result;
	char text[512];

	if (access(test_path(fixture, "unfit"), F_OK) == 0) {
		skip_because("needs root, mkfs.ext4, a loop device and fsfreeze");
	}
	snprintf(text, sizeof(text),
		 "#!/bin/sh\n# lifeboat: timeout=200ms\necho writing >&2\necho x >%s/mount/file\n",
		 fixture->directory);
	script(fixture, PLUGIN_DIAGNOSER, text);
	for (unsigned i = 1; i <= 4; i++) {
		uint64_t start = test_now();

		call_with(fixture, fixture->entry, STEP_DIAGNOSE, abnormal, NULL, &result);
		assert_error_has(result, "time limit of 200ms");
		assert_error_has(result,
				 "1 of its processes cannot be killed: stuck in the kernel");
		assert_true(test_now() - start < 3 * NS_PER_S);
		assert_int_equal(counts->abandoned, i);
		assert_int_equal(counts->running, 0);
		call_result_clear(&result);
	}
	call_with(fixture, fixture->entry, STEP_DIAGNOSE, abnormal, NULL, &result);
	assert_error_has(result, "not called: 4 earlier calls of it are stuck");
	call_result_clear(&result);

	assert_int_equal(run(fixture, "fsfreeze -u $1/mount"), 0);
	WAIT_FOR(fixture, "the stuck calls to end", counts->abandoned == 0);
	call_with(fixture, fixture->entry, STEP_DIAGNOSE, abnormal, NULL, &result);
	assert_int_equal(result.verdict, CALL_RECOGNISED);
	call_result_clear(&result);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			calls_that_cannot_be_killed_are_counted_and_forgotten_when_they_end, setup,
			teardown),
	};

	SUPERVISOR_OR_RETURN(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
