/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the pipeline's files: one Abnormal on its way, and what every stage needs to move it
 * on: make a change durable, then take the next step; wait; call a plug-in. The stages (information
 * manager, diagnoser chain, recoverer chain) are functions over a handling, and pipeline.c has the
 * picture of how they follow one another.
 *
 * A step is a function that does one thing and says what comes next by one of handling_commit,
 * handling_take, handling_wait or handling_call. When a step fails (out of memory), the handling
 * goes on a second later from what its Abnormal says, exactly as after a restart of the agent.
 */
#pragma once

#include <sys/queue.h>

#include "base/log.h"
#include "chain/governor.h"
#include "chain/pipeline.h"
#include "core/fingerprint.h"
#include "core/phase.h"

/* Ended Abnormals that are kept at hand for cooldown, late clearing and recovery by hand. */
#define ENDED_MAXIMUM STORE_RECENT_MAXIMUM
/* status.context[CONTEXT_CLEARED]: {time} when the detector stopped seeing the fault. */
#define CONTEXT_CLEARED "cleared"
#define CONTEXT_DIAGNOSIS_ERRORS "diagnosisErrors"
#define CONTEXT_RECOVERY_ERRORS "recoveryErrors"

struct handling;
typedef int (*handling_step)(struct handling *handling);
typedef int (*handling_answer)(struct handling *handling, struct call_result *result);

/* Somebody who waits for a submitted Abnormal to be durable. */
struct waiter {
	struct waiter *next;
	enum submit_result how;
	pipeline_submitted callback;
	void *userdata;
};

/* One collector at work. */
struct collection {
	struct handling *handling;
	struct plugin_entry *entry;
	struct call *call;
	size_t index; /* in status.information */
};

/* A recoverer that a person started. */
struct by_hand {
	struct plugin_entry *entry;
	bool dry_run;
	int result; /* once the attempt is over */
	pipeline_answered callback;
	void *userdata;
};

struct handling {
	TAILQ_ENTRY(handling) entry;
	unsigned references; /* its list holds one, every write under way another */
	struct pipeline *pipeline;
	struct abnormal *abnormal;
	char fingerprint[FINGERPRINT_SIZE];
	char *subject;
	int64_t ended_boot_ns; /* when it ended, once it has */
	int64_t heard_boot_ns; /* and when its fault was heard of last since */
	bool ended;
	bool active; /* has its turn: one of `parallel`, the only one of its subject */
	bool removed; /* deleted or forgotten: nothing goes on from here */
	bool announced; /* watchers know it: what comes next is a change */
	bool cleared; /* the detector no longer sees the fault */

	/* Going on: at most one of these is under way. */
	struct call *call;
	handling_answer answer;
	sd_event_source *timer;
	handling_step next;
	bool stalled; /* there was no memory for a timer: the pipeline's `retry` looks after it */
	const char *transition; /* of the write under way that a step waits for … */
	handling_step after; /* … and that step */
	bool wake_when_cleared;

	/* Sightings that are counted but not yet written, and who waits for that. */
	bool unwritten;
	sd_event_source *batch;
	uint64_t written_ns;
	struct waiter *waiters;

	/* Collecting. */
	struct collection *collections;
	size_t collection_count, collections_running;
	handling_step collected;

	/* Diagnosing and recovering. */
	struct plugin_entry **chain;
	size_t chain_count, chain_index;
	struct strings missing; /* assigned, but not known or not enabled */
	struct strings declined; /* "NAME: why it is not its fault", of those that said why */
	struct plugin_entry *recoverer;
	uint64_t verify_until_ns;
	unsigned looks;
	char *last_error; /* of a look, for the message when time is over … */
	char *not_yet; /* … or why the fault was still there */
	struct by_hand *by_hand;
};

TAILQ_HEAD(handlings, handling);

struct pipeline_watch {
	LIST_ENTRY(pipeline_watch) entry;
	struct pipeline *pipeline;
	pipeline_watcher watcher; /* NULL once unwatched */
	void *userdata;
};

/* A reader of the store or a plug-in run by hand, that must be forgotten when the pipeline ends. */
struct errand {
	LIST_ENTRY(errand) entry;
	struct pipeline *pipeline; /* NULL once it is gone */
	struct call *call;
	void (*forget)(
		struct errand *errand); /* frees what it holds, its call is cancelled already */
};

struct pipeline {
	struct pipeline_options options;
	char *node_name, *artifact_root;
	struct pipeline_settings settings;
	bool resumed;
	uint64_t resumed_ns;
	struct handlings live, ended;
	size_t ended_count, active_count;
	struct governor *governor;
	LIST_HEAD(, pipeline_watch) watches;
	unsigned publishing; /* watches are being called: none may be freed */
	LIST_HEAD(, errand) errands;
	sd_event_source *scheduler;
	sd_event_source *retry; /* made at the start, for those that no timer could be made for */
	struct pipeline_counts counts;
	struct log_limit refused_limit, trouble_limit;
};

/* --- handling.c --- */

/* Takes ABNORMAL on success. Returns 0 or -ENOMEM. */
int handling_new(struct pipeline *pipeline, struct abnormal *abnormal,
		 struct handling **ret_handling);
struct handling *handling_ref(struct handling *handling);
void handling_unref(struct handling *handling);
DEFINE_CLEANUP(struct handling, handling_unref);
/*
 * Ends whatever is under way: calls, timers; answers who started something by hand with -ECANCELED.
 */
void handling_stop(struct handling *handling);

void handling_go(struct handling *handling, handling_step step);
/* Goes on with one that stalled for want of a timer. */
void handling_wake(struct handling *handling);
/*
 * Makes the Abnormal durable, with TRANSITION (or NULL) for the history, and then takes NEXT.
 * Returns 0.
 */
int handling_commit(struct handling *handling, const char *transition, handling_step next);
/* Takes the state machine's step, makes it durable, and goes on with the phase that it led to. */
int handling_take(struct handling *handling, enum transition transition, const char *reason,
		  const char *message);
/* The fault went away by itself: the end, Succeeded, with whatever is known by now. */
int handling_take_cleared(struct handling *handling);
/* A further line of status.message. Returns 0 or -ENOMEM. */
int handling_add_message(struct handling *handling, const char *line);
/* Takes NEXT after a while; without memory for a timer, when the pipeline's own fires. Returns 0. */
int handling_wait(struct handling *handling, uint64_t delay_ns, handling_step next);
int handling_call(struct handling *handling, struct plugin_entry *entry, enum plugin_step step,
		  handling_answer answer);
/* Writes soon, together with whatever else changes until then, at most once a second. Returns 0. */
int handling_write_soon(struct handling *handling);

/*
 * Merges a plug-in's answer as far as the Abnormal stays within what can be read again after a
 * restart. Returns 0, -EFBIG (ABNORMAL is unchanged) or -ENOMEM.
 */
int handling_merge(struct handling *handling, const struct abnormal *answer);
/* True while there is room for what the pipeline itself adds, in lists that plug-ins can make long. */
bool handling_has_room(const struct handling *handling);
/* Appends {NAMED: name, error} to the list status.context[LIST]. Returns 0 or -ENOMEM. */
int handling_note_error(struct handling *handling, const char *list, const char *named,
			const char *name, const char *error);
/* Keeps why plug-in NAME said that it is not for it (NULL: it did not say). Returns 0 or -ENOMEM. */
int handling_note_declined(struct handling *handling, const char *name, const char *explanation);
void handling_chain_free(struct handling *handling);
/* "namespace/name", valid until the next call. For messages. */
const char *handling_name(const struct handling *handling);
static inline enum abnormal_phase handling_phase(const struct handling *handling)
{
	return (enum abnormal_phase)handling->abnormal->status.phase;
}

/* --- the stages; each starts from what the Abnormal says --- */

int information_manager_run(struct handling *handling);
/* Ends the collectors that run, and forgets them. */
void information_manager_stop(struct handling *handling);
/* The collectors for what nobody recognised, then THEN. */
int information_manager_troubleshoot(struct handling *handling, handling_step then);
/* One collector's outcome, put into INFORMATION. Returns 0 or -ENOMEM. */
int information_record(struct information *information, struct call_result *result);
int diagnoser_chain_run(struct handling *handling);
/* Who recognised it: status.diagnoser, identifiable. Returns 0 or -ENOMEM. */
int diagnosis_record(struct abnormal *abnormal, const struct plugin_entry *entry);
int recoverer_chain_run(struct handling *handling);
/* handling->by_hand alone: plan, limits, journal, action, verification; then by_hand_finish. */
int recoverer_run_by_hand(struct handling *handling);
/*
 * An action of an ended Abnormal that a restart cut off: its outcome is unknown, and is written so.
 */
int recoverer_give_up_unfinished(struct handling *handling);

/* --- pipeline.c --- */

/* Goes on from the phase that the Abnormal is in. */
int pipeline_proceed(struct handling *handling);
void pipeline_schedule(struct pipeline *pipeline);
void pipeline_publish(struct pipeline *pipeline, const char *type, const struct abnormal *abnormal);
struct handling *pipeline_lookup(struct pipeline *pipeline, const char *namespace,
				 const char *name);
/* The live one of that fingerprint, else the last ended one, or NULL. */
struct handling *pipeline_lookup_fingerprint(struct pipeline *pipeline, const char *fingerprint);
void pipeline_add_live(struct pipeline *pipeline, struct handling *handling);
/* Out of the table; whatever is under way for it is ended. */
void pipeline_take_off(struct pipeline *pipeline, struct handling *handling);
/* An ended Abnormal joins those at hand, of which the one goes that was heard of longest ago. */
void pipeline_add_ended(struct pipeline *pipeline, struct handling *handling, int64_t ended_boot_ns,
			int64_t heard_boot_ns);
/* Its fault was seen once more: an ended one stays at hand for longer. */
void pipeline_heard_of(struct pipeline *pipeline, struct handling *handling);
bool pipeline_subject_busy(const struct pipeline *pipeline, const char *subject);

/* --- by_hand.c --- */

/*
 * Answers whoever started it: RESULT and EXPLANATION (may be NULL), with the Abnormal as it is now.
 */
int by_hand_finish(struct handling *handling, int result, const char *explanation);
void errand_begin(struct pipeline *pipeline, struct errand *errand,
		  void (*forget)(struct errand *errand));
/* Takes it off the pipeline's list, unless the pipeline is gone. */
void errand_end(struct errand *errand);
