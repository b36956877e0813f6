/* SPDX-License-Identifier: Apache-2.0 */
/* Killing and reaping whatever a plug-in started. */
#include "plugin/descendants.h"

#include <errno.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "host/process.h"

int descendants_adopt(void)
{
	return prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 ? -errno : 0;
}

/* One round of SIGKILL. Returns how many are below, zombies included. */
static unsigned descendants_kill(const struct host *host)
{
	_cleanup_free_ struct process *tree = NULL;
	size_t count;

	if (process_tree(host, getpid(), &tree, &count) < 0)
		return 0;
	/*
	 * The first is this process. By pidfd, as a grandchild's pid may go to somebody else any
	 * time.
	 */
	for (size_t i = 1; i < count; i++) {
		_cleanup_close_ int fd = process_open(host, tree[i].pid, tree[i].start_time);

		if (fd >= 0)
			pidfd_send_signal(fd, SIGKILL, NULL, 0);
	}
	return (unsigned)count - 1;
}

void descendants_end(const struct host *host, uint64_t within_ns, unsigned *ret_reaped,
		     unsigned *ret_left)
{
	uint64_t end = clock_monotonic(clock_system()) + within_ns;
	uint64_t pause_ns = NS_PER_MS;

	*ret_reaped = 0;
	*ret_left = 0;
	for (;;) {
		pid_t pid;

		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			(*ret_reaped)++;
		if (pid < 0 && errno == ECHILD) {
			*ret_left = 0;
			return;
		}
		/* waitpid knows of at least one, even if /proc could not be read. */
		*ret_left = MAX(descendants_kill(host), 1u);
		if (clock_monotonic(clock_system()) >= end)
			return;
		clock_sleep(pause_ns);
		pause_ns = MIN(pause_ns * 2, 50 * NS_PER_MS);
	}
}
