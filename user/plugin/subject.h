/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an Abnormal is about on this node, as built-in plug-ins need it: its process, those that
 * wait with it, its control group; and how they name it to a person.
 */
#pragma once

#include "plugin/plugin.h"
#include "host/process.h"

/* A thread, by (pid, start time). */
struct subject_thread {
	int64_t pid, tgid;
	uint64_t start_time; /* 0: not known */
	const char *comm; /* of the Abnormal; never NULL */
	bool killable; /* a waiter that SIGKILL would end */
};

/*
 * The process of spec.kernelEvent, or the one that spec.context names ({pid, startTime}). Returns
 * true if there is one.
 */
bool subject_process(const struct abnormal *abnormal, struct subject_thread *ret_process);

/*
 * Reads the subject's process, provided it is still the same one. Returns 0, -ENODATA if the
 * Abnormal names none, or -ESRCH if it has ended.
 */
int subject_process_read(const struct plugin_call *call, struct process *ret_process);

/* At most 32 come in one finding (docs/detectors.md). */
#define SUBJECT_WAITERS_MAX 64
/* Those of details.waiters, into WAITERS of SUBJECT_WAITERS_MAX. Returns their number. */
size_t subject_waiters(const struct plugin_call *call, struct subject_thread *waiters);

/* True if the waiter is still the same thread and in uninterruptible sleep. */
bool subject_waits(const struct plugin_call *call, int64_t pid, uint64_t start_time);

/*
 * Which of COUNT threads (at most SUBJECT_WAITERS_MAX) hang right now: uninterruptibly asleep at two
 * looks, and not run in between. Whoever is merely busy with a disk is in that state at many looks,
 * but runs between them. Takes 200 ms.
 */
void subject_find_hung(const struct plugin_call *call, const struct subject_thread *threads,
		       size_t count, bool *ret_hung);

/*
 * The group whose limit was hit, the container's or the process's, whichever is known first; or
 * NULL.
 */
char *subject_cgroup(const struct plugin_call *call);

/*
 * "container web of pod shop/cart-1", "the sandbox of pod shop/cart-1", "container 3f4e8c1b2a7d
 * (containerd)", "pod shop/cart-1", "control group /demo". PATH is the group meant, which need not be
 * the container's; NULL: the container itself.
 */
#define SUBJECT_TEXT_SIZE 512
const char *subject_container_text(const struct abnormal *abnormal, const char *path,
				   char text[SUBJECT_TEXT_SIZE]);

/* True if process PID is this program, or what it runs under: a shell, a shim, init. */
bool subject_is_above_this(const struct host *host, int64_t pid);

/*
 * A recoverer's words on what it did or found, a clause without a full stop: kept as
 * status.context[NAME].message, and handed to the chain as status.message, which puts them into the
 * journal and leaves the diagnosis in place. Returns 0 or -ENOMEM.
 */
int subject_report(struct plugin_call *call, const char *format, ...) _printf_(2, 3);
