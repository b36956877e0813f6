/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call of one plug-in: a supervisor process (supervisor.h) runs the built-in or script below
 * itself, holds it to its limits, kills everything it leaves behind, and sends the answer back. The
 * answer is checked here; what comes out is either a valid status to merge or an error of that
 * plug-in.
 */
#pragma once

#include <systemd/sd-event.h>

#include "plugin/registry.h"

enum call_verdict {
	CALL_RECOGNISED, /* exit 0 */
	CALL_NOT_MINE, /* exit 2 */
	CALL_ERROR, /* everything else, the reason in `error` */
};

struct call_result {
	enum call_verdict verdict;
	/* for a person: "exit status 3: cannot open /dev/foo"; NULL unless CALL_ERROR */
	char *error;
	/* for a person: why CALL_NOT_MINE, its last line on standard error; or NULL */
	char *explanation;
	/*
	 * The answer when there was one: only its
	 * status.{message,reason,output,context,identifiable,recoverable} count.
	 */
	struct abnormal *answer;
	uint64_t start_realtime_ns, duration_ns;
	/* of struct artifact: files found in the artifact directory after a collector */
	struct list artifacts;
	/*
	 * for a person, about what was cut: "2 files over the limit of 64 MiB were removed"; or
	 * NULL
	 */
	char *note;
};
void call_result_clear(struct call_result *result);

typedef void (*call_done)(void *userdata, struct call_result *result); /* members may be taken */

struct call_pool;

struct call_pool_options {
	sd_event *event;
	const struct clock *clock;
	unsigned parallel; /* calls at once; more wait in order; 0: 4 */
	/* executed as `PROGRAM plugin-supervisor --fd N`; NULL: /proc/self/exe */
	const char *worker_program;
	const char *host_root; /* passed on to host_open in the worker; NULL: "/" */
	/* the file by which agents know of each other's recoveries (generation.h); NULL: none */
	const char *generation_path;
	/* LIFEBOAT_SOCKET of scripts; NULL: as in the agent's own environment */
	const char *api_socket;
};

int call_pool_new(const struct call_pool_options *options, struct call_pool **ret_pool);
/*
 * Ends every running call (its processes are killed) without calling back. Waits for the end of the
 * supervisors, at most a second: for the end of the agent.
 */
void call_pool_free(struct call_pool *pool);
DEFINE_CLEANUP(struct call_pool, call_pool_free);

/*
 * False while a recover step that a former agent began may still be at work: it was killed with that
 * agent, but this takes a moment, and longer for what is stuck in the kernel.
 */
bool call_pool_is_alone(const struct call_pool *pool);

struct call;

/*
 * Starts (or queues) a call. ABNORMAL is not kept. ARTIFACT_DIRECTORY may be NULL; it is made when
 * missing. CALLBACK comes exactly once, from the loop, never from within this function, unless
 * call_cancel was called. Returns 0 or a negative errno.
 */
int call_start(struct call_pool *pool, struct plugin_entry *entry, enum plugin_step step,
	       const struct abnormal *abnormal, const char *artifact_directory, call_done callback,
	       void *userdata, struct call **ret_call);
/* Kills what runs; the callback does not come. */
void call_cancel(struct call *call);

struct call_counts {
	uint64_t started, recognised, not_mine, errors, timeouts;
	uint64_t running, waiting;
	uint64_t abandoned; /* killed, but stuck in the kernel and not gone yet */
};
const struct call_counts *call_pool_counts(const struct call_pool *pool);

/*
 * Merges the allowed members of ANSWER's status into ABNORMAL: texts that ANSWER has, both
 * booleans, and context member by member (what ANSWER lacks stays). Pure. Returns 0, -EFBIG if
 * ABNORMAL would grow over ABNORMAL_HANDLED_BYTES_MAX, or -ENOMEM; on error ABNORMAL is unchanged.
 */
int answer_merge(struct abnormal *abnormal, const struct abnormal *answer);
/*
 * Checks that ANSWER changes nothing but what a plug-in may change. PROBLEM names the field.
 * Returns 0, -EINVAL or -ENOMEM.
 */
int answer_check(const struct abnormal *sent, const struct abnormal *answer,
		 struct problem *problem);
