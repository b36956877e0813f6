/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a supervisor's process from the agent. */
#include "plugin/supervisor.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/spawn.h"

int supervisor_start(const char *program, int generation_fd, int *ret_socket, int *ret_pidfd)
{
	char *const arguments[] = {(char *)program, (char *)"plugin-supervisor", (char *)"--fd",
				   (char *)"3", NULL};
	int ends[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	_cleanup_close_ int ours = ends[0], theirs = ends[1];
	if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	const int fds[] = {theirs, generation_fd};
	int r = spawn(program, arguments, fds, generation_fd < 0 ? 1 : 2, &pid, ret_pidfd);
	if (r < 0)
		return r;
	*ret_socket = TAKE_FD(ours);
	return 0;
}
