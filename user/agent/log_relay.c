/* SPDX-License-Identifier: Apache-2.0 */
/* The process that writes the log to a file. */
#include "agent/log_relay.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/macro.h"
#include "base/spawn.h"

#define PIPE_BYTES (1 * MIB)
#define STOP_WITHIN_MS 1000

/* It ends with the last that has the pipe: the agent, or a child of the agent that outlives it. */
_noreturn_ static void relay_run(int from)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	static char text[64 * KIB];
	ssize_t length;

	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	prctl(PR_SET_NAME, "lifeboat-log");
	if (dup2(from, STDIN_FILENO) < 0)
		_exit(EXIT_FAILURE);
	spawn_close_inherited();
	while ((length = read(STDIN_FILENO, text, sizeof(text))) != 0)
		if (length > 0)
			/* On a full disk what does not fit is lost, and what comes later is tried. */
			file_write_fd(STDERR_FILENO, text, (size_t)length);
		else if (errno != EINTR)
			break;
	_exit(EXIT_SUCCESS);
}

int log_relay_start(struct log_relay *relay)
{
	struct stat status;
	int ends[2];

	if (fstat(STDERR_FILENO, &status) < 0 || !S_ISREG(status.st_mode))
		return 0;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	_cleanup_close_ int from = ends[0], to = ends[1];
	_cleanup_close_ int file = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	fcntl(to, F_SETPIPE_SZ, (int)PIPE_BYTES); /* what fails leaves 64 KiB */
	relay->pid = file < 0 ? -1 : fork();
	if (relay->pid < 0)
		return -errno;
	if (relay->pid == 0)
		relay_run(from);
	if (dup2(to, STDERR_FILENO) < 0)
		return -errno;
	relay->file = TAKE_FD(file);
	return 0;
}

void log_relay_stop(struct log_relay *relay)
{
	if (relay->file < 0)
		return;
	_cleanup_close_ int pidfd = pidfd_open(relay->pid, 0);
	struct pollfd polled = {.fd = pidfd, .events = POLLIN};

	dup2(relay->file, STDERR_FILENO);
	closep(&relay->file);
	relay->file = -1;
	poll(&polled, 1, STOP_WITHIN_MS);
	waitpid(relay->pid, NULL, WNOHANG);
}
