/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Killing a control group. A pid that is read from it is nobody's until a pidfd is open: so the pidfds
 * are opened first, and only who is in the group after that is sent the signal.
 */
#include "host/cgroup_kill.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/pidfd.h>

#include "base/file.h"
#include "host/process.h"

#define ROUND_NS (20 * NS_PER_MS)
#define HELD_MAX 256 /* pidfds open at once */

struct held {
	int64_t pid;
	uint64_t start_time;
	int fd;
};

static bool is_listed(const int64_t *pids, size_t count, int64_t pid)
{
	for (size_t i = 0; i < count; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

/* Opens those of PIDS that are alive. -EXDEV: the numbers are not those of our pid namespace. */
static int hold(const struct host *host, const int64_t *pids, size_t count, struct held *held,
		size_t *ret_count)
{
	size_t held_count = 0;
	int r = 0;

	for (size_t i = 0; i < count && held_count < HELD_MAX && r == 0; i++) {
		struct process process;

		if (pids[i] <= 1)
			r = -EXDEV;
		if (r < 0 || process_read(host, pids[i], &process) < 0)
			continue;
		int fd = process_open(host, process.pid, process.start_time);

		if (fd >= 0)
			held[held_count++] = (struct held){process.pid, process.start_time, fd};
		else if (fd != -ESRCH)
			r = fd;
	}
	*ret_count = held_count;
	return r;
}

/* Signals whoever of HELD is still the same process and is in the group. */
static int signal_members(const struct host *host, int group_fd, const struct held *held,
			  size_t held_count)
{
	_cleanup_free_ int64_t *pids = NULL;
	size_t count;
	int r = cgroup_processes_of(group_fd, &pids, &count);

	for (size_t i = 0; i < held_count && r == 0; i++) {
		struct process process;

		if (!is_listed(pids, count, held[i].pid) ||
		    process_read_same(host, held[i].pid, held[i].start_time, &process) < 0)
			continue;
		if (pidfd_send_signal(held[i].fd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
			r = -errno;
	}
	return r;
}

static int kill_round(const struct host *host, int group_fd, const int64_t *pids, size_t count)
{
	_cleanup_free_ struct held *held = calloc(HELD_MAX, sizeof(*held));
	size_t held_count = 0;

	if (!held)
		return -ENOMEM;
	int r = hold(host, pids, count, held, &held_count);

	if (r == 0)
		r = signal_members(host, group_fd, held, held_count);
	for (size_t i = 0; i < held_count; i++)
		close(held[i].fd);
	return r;
}

/* Returns 1, 0 if this kernel cannot, or a negative errno. */
static int kill_whole(int group_fd)
{
	_cleanup_close_ int fd = openat(group_fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : file_write_fd(fd, "1", 1);

	/* -EOPNOTSUPP: a threaded group, whose processes are its domain's. */
	return r == 0 ? 1 : r == -ENOENT || r == -EOPNOTSUPP ? 0 : r;
}

int cgroup_kill(const struct host *host, const struct clock *clock, int group_fd,
		uint64_t within_ns, struct cgroup_killed *ret_killed)
{
	uint64_t end_ns = clock_monotonic(clock) + within_ns;
	struct cgroup_killed killed = {0};
	int whole = -1, r;

	for (bool late = false;; late = clock_monotonic(clock) >= end_ns) {
		_cleanup_free_ int64_t *pids = NULL;
		size_t count;

		r = cgroup_processes_of(group_fd, &pids, &count);
		if (r == -ENOENT)
			r = count = 0; /* removed: nothing is in it */
		if (r < 0)
			break;
		if (whole < 0)
			killed.found = count;
		killed.left = count;
		killed.example = count ? pids[0] : 0;
		if (count == 0 || late)
			break;
		if (whole < 0)
			whole = r = kill_whole(group_fd);
		if (whole == 0)
			r = kill_round(host, group_fd, pids, count);
		if (r < 0)
			break;
		clock_sleep(ROUND_NS);
	}
	*ret_killed = killed;
	return MIN(r, 0);
}
