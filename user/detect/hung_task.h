/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the hung-task detector, for one another alone:
 *   hung_task.c           settings, ladder, looks by the BPF iterator
 *   hung_task_proc.c      looks by /proc, where there is no iterator
 *   hung_task_symbols.c   names of kernel addresses, kept while somebody waits
 *   hung_task_devices.c   which disks complete requests
 *   hung_task_classify.c  what a stack waits for, and how long that is normal
 *   hung_task_judge.c     who is stuck, on which filesystem, disk, lock or server
 *   hung_task_group.c     who waits for the same thing, and when that is told
 *   hung_task_report.c    a group as a finding
 */
#pragma once

#include "detect/detector.h"
#include "host/blockdev.h"

#define HUNG_NAMES_MAX (EVENT_SCHEDULER_DEPTH + EVENT_STACK_DEPTH)

/* --- Names of kernel addresses --- */

struct symbols;

struct symbols *symbols_new(void);
void symbols_free(struct symbols *symbols);
DEFINE_CLEANUP(struct symbols, symbols_free);

/* Notes that ADDRESS is to be named by the next symbols_fill. */
void symbols_want(struct symbols *symbols, uint64_t address);
/*
 * Names all that is wanted, in one reading of kallsyms; at most once a second, and otherwise not
 * before that is over. Returns true if nothing is left unnamed.
 */
bool symbols_fill(struct symbols *symbols, const struct host *host, uint64_t now_ns);
/* "schedule+0x5a", or NULL if it was not named yet; valid until symbols_flush. */
const char *symbols_name(const struct symbols *symbols, uint64_t address);
/* Forgets all names that are older than ten minutes: a module may have moved. */
void symbols_flush(struct symbols *symbols, uint64_t now_ns);

/* --- Progress of disks --- */

struct device_progress {
	struct blockdev device;
	uint64_t quiet_since_ns; /* boot time of the first sample with the same count of completed
				    requests */
};

struct devices {
	struct device_progress *items;
	size_t count;
};

/* Takes a sample of every disk. On failure the last one stands. Returns 0 or a negative errno. */
int devices_sample(struct devices *devices, const struct host *host, uint64_t now_ns);
void devices_clear(struct devices *devices);
const struct device_progress *devices_find(const struct devices *devices, unsigned major,
					   unsigned minor);
/*
 * The boot time since which no disk at all has completed anything; UINT64_MAX if there are no
 * disks.
 */
uint64_t devices_all_quiet_since(const struct devices *devices);
/*
 * The one disk that has requests in flight and completed none since SINCE_NS, or is suspended; NULL
 * if not just one.
 */
const struct device_progress *devices_stalled(const struct devices *devices, uint64_t since_ns);

/* --- What a stack waits for --- */

enum wait_kind {
	WAIT_NORMAL, /* never a fault: vfork, a timed sleep, a frozen task */
	WAIT_FREEZE, /* a percpu_rw_semaphore, as of a frozen file system */
	WAIT_IO_SINGLE, /* one request's end */
	WAIT_IO_DIRECT, /* the end of one call's requests, which may be many */
	WAIT_IO_BULK, /* an amount of I/O that grows with the load: a sync, a journal commit */
	WAIT_LOCK,
	WAIT_NFS,
	WAIT_FUSE,
	WAIT_UNKNOWN,
};

struct wait_class {
	enum wait_kind kind;
	const char *function; /* the innermost that tells, of NAMES; "" if there is none */
	const char *caller; /* for locks: who wanted it */
	bool percpu_other; /* WAIT_FREEZE: a percpu_rw_semaphore of something else than a file
			      system */
};

/* NAMES as symbols_name gives them, innermost first. */
void wait_classify(const char *const *names, size_t depth, bool io_wait, bool fuse_or_nfs,
		   struct wait_class *ret_class);

/*
 * True if NAME ("submit_bio_wait+0x5a") is of a function in which the kernel wakes a waiter for
 * nothing.
 */
bool wait_is_ticking(const char *name);
/* For kallsyms_ranges; ended by NULL. */
extern const char *const ticking_functions[];

/* "submit_bio_wait" of "submit_bio_wait.constprop.0+0x5a [dm_mod]". Returns TEXT. */
const char *function_name(const char *name, char *text, size_t size);

struct wait_facts {
	enum wait_kind kind;
	uint64_t age_ns, threshold_ns, period_ns;
	bool device_known; /* which disk it waits for; otherwise the next is about all disks
			      together */
	uint64_t device_quiet_ns; /* for how long that completed nothing; 0: it completes */
	bool device_suspended,
		device_stacked; /* stacked: a loop device, whose file lies on another disk */
	bool guessed; /* WAIT_FREEZE from the function's name alone */
};

/* Whether such a wait is a fault, judged by itself. Locks: their owner not stuck, or not known. */
bool wait_is_stuck(const struct wait_facts *facts);

/* --- Groups --- */

struct group;

struct waiter {
	struct waiter *next; /* of the same bucket */
	struct blocked_task_event event; /* the first half is kept up to date */
	uint64_t look;
	bool named;
	size_t depth;
	const char *names[HUNG_NAMES_MAX]; /* of the symbols, or WCHAN */
	char wchan[64];
	struct wait_class class;
	struct group *group; /* NULL: not a fault so far */
	bool via_lock;
};

struct group {
	struct group *next;
	char *subject; /* for good, whoever comes and goes */
	bool kernel_threads;
	const char *kind; /* details.kind */
	struct event_filesystem filesystem; /* .known */
	bool device_known;
	unsigned device_major, device_minor;
	uint64_t lock; /* address */
	const char *lock_kind;
	size_t waiters, waiters_told;
	uint64_t opened_ns, told_ns;
	bool told;
	cJSON *process; /* the longest waiter when it was last told */
};

struct groups;

struct groups_options {
	const struct host *host;
	uint64_t threshold_ns, period_ns;
	bool iterator; /* there is a kernel side that tells of frozen file systems and locks */
	/* WAITERS are the group's, longest first. CLEARED: there are none any more. */
	void (*report)(void *userdata, struct group *group, struct waiter *const *waiters,
		       size_t count, bool cleared, uint64_t now_ns);
	void *userdata;
};

struct groups *groups_new(const struct groups_options *options);
void groups_free(struct groups *groups);
DEFINE_CLEANUP(struct groups, groups_free);

/* One look: begin, then what was seen, then end. WCHAN: where there is no stack. */
void groups_begin(struct groups *groups);
void groups_see_task(struct groups *groups, const struct blocked_task_event *event,
		     const char *wchan);
void groups_see_frozen(struct groups *groups, const struct event_filesystem *filesystem);
/*
 * FROZEN_KNOWN: all frozen file systems were seen in this look. SAMPLE: disks are worth a look, as
 * somebody waits.
 */
void groups_end(struct groups *groups, uint64_t now_ns, bool frozen_known, bool sample);
/* The look failed half-way: nobody is taken to have moved on. */
void groups_abandon(struct groups *groups);

size_t groups_waiters(const struct groups *groups);
const struct event_filesystem *groups_frozen(const struct groups *groups, size_t *ret_count);
const struct devices *groups_devices(const struct groups *groups);
uint64_t groups_period_ns(const struct groups *groups); /* from one look to the next */

/* --- Findings --- */

/* spec.kernelEvent for GROUP. NULL when out of memory. */
cJSON *group_event(const struct detector_run *run, const struct groups *groups,
		   const struct group *group, struct waiter *const *waiters, size_t count,
		   bool cleared, uint64_t threshold_ns, uint64_t now_ns);

/* --- Looks by /proc --- */

struct proc_look;

struct proc_look *proc_look_new(const struct host *host, bool kernel_threads, uint64_t tick_ns);
void proc_look_free(struct proc_look *look);
DEFINE_CLEANUP(struct proc_look, proc_look_free);
/*
 * Hands every task that is in one wait for longer than THRESHOLD_NS to GROUPS. Returns how many
 * wait at all, or a negative errno.
 */
ssize_t proc_look_run(struct proc_look *look, struct groups *groups, uint64_t threshold_ns,
		      uint64_t now_ns);
