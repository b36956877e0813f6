/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a program without waiting for it. */
#include "base/spawn.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/buffer.h"
#include "base/clock.h"

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
				     int count, int output)
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
	if (output < 0)
		output = null;
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0)
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

static int start(const char *program, char *const arguments[], const int fds[], int count,
		 int output, pid_t *ret_pid, int *ret_pidfd)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0)
		child_execute(program, arguments, fds, count, output);
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

int spawn(const char *program, char *const arguments[], const int fds[], int count, pid_t *ret_pid,
	  int *ret_pidfd)
{
	return start(program, arguments, fds, count, -1, ret_pid, ret_pidfd);
}

/* Reads FD until its end. Returns 0, -ETIMEDOUT, -EFBIG or another negative errno. */
static int read_until(int fd, uint64_t deadline_ns, struct buffer *text)
{
	for (;;) {
		uint64_t now_ns = clock_monotonic(clock_system());
		struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

		if (now_ns >= deadline_ns)
			return -ETIMEDOUT;
		int ready = poll(&poll_fd, 1, (int)((deadline_ns - now_ns) / NS_PER_MS) + 1);
		if (ready < 0 && errno != EINTR)
			return -errno;
		if (ready <= 0)
			continue;
		ssize_t got = buffer_read(text, fd);
		if (got <= 0)
			return text->cut ? -EFBIG : (int)got;
	}
}

/* Its output may end before it does, as it may close it. */
static int reap(pid_t pid, int pidfd, uint64_t deadline_ns, int *ret_status)
{
	uint64_t now_ns = clock_monotonic(clock_system());
	struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};
	uint64_t left_ns = now_ns < deadline_ns ? deadline_ns - now_ns : 0;

	int ready = poll(&poll_fd, 1, (int)(left_ns / NS_PER_MS));
	if (ready <= 0)
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	if (waitpid(pid, ret_status, 0) < 0)
		return -errno;
	return ready > 0 ? 0 : -ETIMEDOUT;
}

int spawn_read(const char *program, char *const arguments[], uint64_t within_ns, size_t maximum,
	       char **ret_text, int *ret_status)
{
	uint64_t deadline_ns = clock_monotonic(clock_system()) + within_ns;
	_cleanup_buffer_ struct buffer text = BUFFER(maximum);
	_cleanup_close_ int pidfd = -1;
	int ends[2], status;
	pid_t pid = 0;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	_cleanup_close_ int reading = ends[0];
	int r = start(program, arguments, NULL, 0, ends[1], &pid, &pidfd);
	close(ends[1]);
	if (r < 0)
		return r;
	r = read_until(reading, deadline_ns, &text);
	if (r < 0)
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	int ended = reap(pid, pidfd, deadline_ns, &status);
	if (r == 0)
		r = ended;
	if (r < 0)
		return r;
	char *whole = buffer_take(&text);
	if (!whole)
		return -ENOMEM;
	*ret_text = whole;
	*ret_status = status;
	return 0;
}
