/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a program without waiting for it. */
#include "base/spawn.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/macro.h"

#define FIRST_FD 3
#define EXIT_NOT_EXECUTED 127 /* as shells say it */

/* On kernels before 5.9 this fails, and CLOEXEC has to do. */
static void close_from(unsigned first)
{
	close_range(first, ~0U, 0);
}

void spawn_close_inherited(void)
{
	close_from(FIRST_FD);
}

/* After fork: only what is async-signal-safe. */
_noreturn_ static void child_execute(const char *program, char *const arguments[], const int fds[],
				     int count)
{
	int moved[SPAWN_FDS_MAX];
	sigset_t none;

	/* Out of the way of 3, 4 …, as one of them may be where another has to go. */
	for (int i = 0; i < count; i++) {
		moved[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, FIRST_FD + SPAWN_FDS_MAX);
		if (moved[i] < 0)
			_exit(EXIT_NOT_EXECUTED);
	}
	for (int i = 0; i < count; i++)
		if (dup2(moved[i], FIRST_FD + i) < 0)
			_exit(EXIT_NOT_EXECUTED);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
		_exit(EXIT_NOT_EXECUTED);
	if (fcntl(STDERR_FILENO, F_GETFD) < 0)
		dup2(null, STDERR_FILENO);
	/* Before the exec, which may take as long as the disk hangs. */
	close_from((unsigned)(FIRST_FD + count));
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(program, arguments);
	_exit(EXIT_NOT_EXECUTED);
}

int spawn(const char *program, char *const arguments[], const int fds[], int count, pid_t *ret_pid,
	  int *ret_pidfd)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0)
		child_execute(program, arguments, fds, count);
	/* Not reaped yet, so the pid is still its. By number: glibc has the name since 2.36. */
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0) {
		int r = -errno;

		/* It may be in an exec that hangs: not waited for, and a zombie from its end on. */
		kill(pid, SIGKILL);
		waitpid(pid, NULL, WNOHANG);
		return r;
	}
	*ret_pid = pid;
	*ret_pidfd = pidfd;
	return 0;
}
