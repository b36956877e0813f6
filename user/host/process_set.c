/* SPDX-License-Identifier: Apache-2.0 */
/* Gathering processes, stopping them, and ending them, each by (pid, start time). */
#include "host/process_set.h"

#include <signal.h>
#include <sys/pidfd.h>

#define ROUND_NS (10 * NS_PER_MS)

static bool is_known(const struct process_set *set, int64_t pid, uint64_t start_time)
{
	for (size_t i = 0; i < set->count; i++)
		if (set->items[i].pid == pid && set->items[i].start_time == start_time)
			return true;
	return false;
}

int process_set_add(struct process_set *set, int64_t pid, uint64_t start_time, bool root)
{
	if (is_known(set, pid, start_time))
		return 0;
	if (set->count == PROCESS_SET_MAX)
		return -E2BIG;
	set->items[set->count++] =
		(struct process_set_member){.pid = pid, .start_time = start_time, .root = root};
	return 0;
}

/* True if pid is still the process of before, so that whoever names it as parent means it. */
static bool is_same(const struct host *host, const struct process_set_member *member)
{
	struct process process;

	return process_read_same(host, member->pid, member->start_time, &process) == 0;
}

/*
 * Adds the processes of the pid namespace whose init MEMBER is: the kernel kills them with it,
 * also those that were put there from outside and are not below it.
 */
static int add_namespace(const struct host *host, struct process_set *set,
			 const struct process *member, const struct process *all, size_t count)
{
	uint64_t namespace, other;
	int r = process_pid_namespace(host, member->pid, &namespace);

	if (r < 0)
		return r == -ESRCH ? 0 : r;
	for (size_t i = 0; i < count && r == 0; i++)
		if (process_pid_namespace(host, all[i].pid, &other) == 0 && other == namespace)
			r = process_set_add(set, all[i].pid, all[i].start_time, false);
	return r;
}

/*
 * Adds whatever is now below the set. Returns how many are new, or a negative errno. A member
 * is looked at again after the list was made: a list takes time, and a pid that was reused while it
 * was made has children that are none of ours.
 */
int process_set_add_descendants(const struct host *host, struct process_set *set)
{
	_cleanup_free_ struct process *all = NULL;
	size_t before = set->count, count;
	int r = process_list(host, &all, &count);

	for (size_t m = 0; m < set->count && r == 0; m++) {
		for (size_t i = 0; i < count && r == 0; i++) {
			const struct process *process = &all[i];
			struct process_set_member member = set->items[m];

			if (process->pid == member.pid &&
			    process->start_time == member.start_time && process->namespace_init)
				r = add_namespace(host, set, process, all, count);
			else if (process->ppid == member.pid &&
				 process->start_time >= member.start_time &&
				 !is_known(set, process->pid, process->start_time) &&
				 is_same(host, &member))
				r = process_set_add(set, process->pid, process->start_time, false);
		}
	}
	return r < 0 ? r : (int)(set->count - before);
}

/* 0, or -ESRCH when it has ended; other errors are the caller's to tell. */
static int signal_member(const struct host *host, const struct process_set_member *member,
			 int signal)
{
	_cleanup_close_ int fd = process_open(host, member->pid, member->start_time);

	if (fd < 0)
		return fd;
	return pidfd_send_signal(fd, signal, NULL, 0) < 0 ? -errno : 0;
}

/* True if the process can fork no more: stopped, asleep beyond signals, or ended. */
static bool is_still(const struct host *host, const struct process_set_member *member)
{
	struct process process;

	return process_read_same(host, member->pid, member->start_time, &process) < 0 ||
	       strchr("TtDZXx", process.state);
}

static void note_stopped(const struct host *host, struct process_set_member *member)
{
	struct process process;

	member->stopped_before =
		process_read_same(host, member->pid, member->start_time, &process) == 0 &&
		strchr("Tt", process.state);
}

/* Stops the set and all that they fork until then. */
int process_set_stop(const struct host *host, const struct clock *clock, uint64_t within_ns,
		     struct process_set *set)
{
	uint64_t end = clock_monotonic(clock) + within_ns;
	size_t stopped = 0;

	do {
		bool still = true;

		for (; stopped < set->count; stopped++) {
			note_stopped(host, &set->items[stopped]);
			int r = signal_member(host, &set->items[stopped], SIGSTOP);

			if (r < 0 && r != -ESRCH)
				return r;
		}
		for (size_t i = 0; i < set->count; i++)
			still &= is_still(host, &set->items[i]);
		int added = process_set_add_descendants(host, set);
		if (added < 0)
			return added;
		if (still && added == 0)
			return 0;
		if (added == 0)
			clock_sleep(ROUND_NS);
	} while (clock_monotonic(clock) < end);
	/* One that will not stop yet is killed all the same, and verification looks again. */
	return 0;
}

void process_set_resume(const struct host *host, const struct process_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		if (!set->items[i].stopped_before)
			signal_member(host, &set->items[i], SIGCONT);
}

/* All set, whatever becomes of one: the rest must not stay stopped. Returns the first error. */
int process_set_kill(const struct host *host, const struct process_set *set, size_t *ret_killed,
		     int64_t *ret_failed)
{
	int result = 0;

	*ret_killed = 0;
	for (size_t i = 0; i < set->count; i++) {
		int r = signal_member(host, &set->items[i], SIGKILL);

		*ret_killed += r == 0;
		if (r < 0 && r != -ESRCH && result == 0) {
			result = r;
			*ret_failed = set->items[i].pid;
		}
	}
	if (result < 0)
		process_set_resume(host, set);
	return result;
}
