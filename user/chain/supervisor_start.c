/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a supervisor's process from the agent. */
#include "chain/supervisor.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/macro.h"

#define SUPERVISOR_FD 3
#define EXIT_NOT_EXECUTED 127 /* as shells say it */

/* After fork: only what is async-signal-safe. */
_noreturn_ static void supervisor_execute(const char *program, int socket)
{
	char *const arguments[] = {(char *)program, (char *)"plugin-supervisor", (char *)"--fd",
				   (char *)"3", NULL};

	if (socket == SUPERVISOR_FD ? fcntl(socket, F_SETFD, 0) < 0
				    : dup2(socket, SUPERVISOR_FD) < 0)
		_exit(EXIT_NOT_EXECUTED);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
		_exit(EXIT_NOT_EXECUTED);
	if (fcntl(STDERR_FILENO, F_GETFD) < 0)
		dup2(null, STDERR_FILENO);
	/* Even what lacks CLOEXEC; on kernels before 5.9 this fails, and CLOEXEC has to do. */
	close_range(SUPERVISOR_FD + 1, ~0U, 0);
	execv(program, arguments);
	_exit(EXIT_NOT_EXECUTED);
}

int supervisor_start(const char *program, int *ret_socket, int *ret_pidfd)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	_cleanup_close_ int ours = ends[0], theirs = ends[1];
	if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	/* Not posix_spawn: that waits for the exec, and so for the disk that PROGRAM is on. */
	pid_t pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		supervisor_execute(program, theirs);
	int pidfd = pidfd_open(pid, 0);
	if (pidfd < 0) {
		int r = -errno;

		/* Not reaped yet, so the pid is still its. */
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return r;
	}
	*ret_socket = TAKE_FD(ours);
	*ret_pidfd = pidfd;
	return 0;
}
