/* SPDX-License-Identifier: Apache-2.0 */
/* One agent a socket; one that is still dying keeps the next waiting, not out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

#include "api/listen.h"
#include "base/cleanup.h"

/* A process that has the lock of FOLDER/s for that long. */
static pid_t hold(const char *folder, unsigned milliseconds)
{
	char path[96], byte;
	int report[2];

	snprintf(path, sizeof(path), "%s/s.lock", folder);
	assert_int_equal(pipe2(report, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

		if (flock(fd, LOCK_EX) < 0 || write(report[1], "r", 1) != 1)
			_exit(1);
		usleep(milliseconds * 1000);
		_exit(0);
	}
	assert_int_equal(read(report[0], &byte, 1), 1);
	close(report[0]);
	close(report[1]);
	return pid;
}

static int reserve_while_held(unsigned milliseconds)
{
	char folder[] = "/tmp/lifeboat-listen-XXXXXX", path[96];
	struct problem problem = {0};
	_cleanup_close_ int lock = -1;

	assert_non_null(mkdtemp(folder));
	pid_t holder = hold(folder, milliseconds);
	snprintf(path, sizeof(path), "%s/s", folder);
	int r = listen_reserve(path, &lock, &problem);
	kill(holder, SIGKILL);
	assert_int_equal(waitpid(holder, NULL, 0), holder);
	snprintf(path, sizeof(path), "%s/s.lock", folder);
	unlink(path);
	rmdir(folder);
	return r;
}

static void an_agent_that_is_dying_is_waited_for(void **state)
{
	assert_int_equal(reserve_while_held(300), 0);
}

static void an_agent_that_lives_keeps_the_second_out(void **state)
{
	assert_true(reserve_while_held(60000) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_agent_that_is_dying_is_waited_for),
		cmocka_unit_test(an_agent_that_lives_keeps_the_second_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
