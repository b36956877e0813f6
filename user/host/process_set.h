/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of processes with all that is below them, to be stopped and ended together: each is named
 * by (pid, start time), signalled through a pidfd that was checked against it, and whatever is
 * forked while the set is being stopped joins it.
 */
#pragma once

#include "base/clock.h"
#include "host/process.h"

#define PROCESS_SET_MAX 4096

struct process_set_member {
	int64_t pid;
	uint64_t start_time;
	bool root; /* put there by the caller, not found below another */
	bool stopped_before; /* by somebody else: not ours to resume */
};

/* 128 KiB: to be allocated, not laid on the stack. All zero is the empty set. */
struct process_set {
	struct process_set_member items[PROCESS_SET_MAX];
	size_t count;
};

/* Adds one, unless it is there. Returns 0, or -E2BIG if the set is full. */
int process_set_add(struct process_set *set, int64_t pid, uint64_t start_time, bool root);

/*
 * Adds whatever is now below the members; where one is the init of a pid namespace, all of that
 * namespace, as the kernel kills them with it. Returns how many are new, or a negative errno.
 */
int process_set_add_descendants(const struct host *host, struct process_set *set);

/*
 * Stops (SIGSTOP) the members and all that they fork until then, so that the set grows no more.
 * Gives up after WITHIN_NS, which is no error: what will not stop can still be killed. Returns 0 or
 * a negative errno.
 */
int process_set_stop(const struct host *host, const struct clock *clock, uint64_t within_ns,
		     struct process_set *set);

/* Resumes (SIGCONT) the members that process_set_stop stopped. */
void process_set_resume(const struct host *host, const struct process_set *set);

/*
 * Kills (SIGKILL) all members. One that cannot be killed (its pid is in ret_failed) does not keep
 * the others, but then the rest is resumed. Returns 0 or the first error; ret_killed is written in
 * any case.
 */
int process_set_kill(const struct host *host, const struct process_set *set, size_t *ret_killed,
		     int64_t *ret_failed);
