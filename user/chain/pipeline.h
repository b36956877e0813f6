/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pipeline: every Abnormal of this node, from its first sighting to its end. It owns the live
 * ones, asks the state machine (core/phase.h) what may come next, makes every step durable before
 * acting on it, and runs information manager, diagnoser chain and recoverer chain.
 *
 * One subject's Abnormals never proceed in parallel; those of different subjects do, bounded.
 */
#pragma once

#include "plugin/call.h"
#include "store/store.h"

struct pipeline;

struct pipeline_settings {
	bool dry_run; /* nothing is done by any recoverer */
	uint64_t cooldown_ns; /* after an end, before the same fault opens a new Abnormal */
	unsigned parallel; /* Abnormals handled at once; more wait as Created */
	unsigned live_maximum; /* live ones; a sighting over it is refused and counted */
	uint64_t actions_per_hour; /* of all recoverers on this node together */
};

struct pipeline_options {
	sd_event *event;
	const struct clock *clock;
	struct store *store;
	struct registry *registry;
	struct call_pool *pool;
	const char *node_name;
	const char *
		artifact_root; /* folder; one folder an Abnormal below it, by uid; NULL: none are kept */
	struct pipeline_settings settings;
};

int pipeline_new(const struct pipeline_options *options, struct pipeline **ret_pipeline);
/*
 * Ends the plug-ins that run. Every callback that is still owed comes, here or from store_stop, with
 * -ECANCELED unless what it waited for became durable after all.
 */
void pipeline_free(struct pipeline *pipeline);
DEFINE_CLEANUP(struct pipeline, pipeline_free);
void pipeline_reconfigure(struct pipeline *pipeline, const struct pipeline_settings *settings);
/* The settings in effect; borrowed. */
const struct pipeline_settings *pipeline_settings(const struct pipeline *pipeline);

/*
 * Takes up what the store held and goes on with each where it was. Before this nothing is handled. May be
 * called again with what the store recovered from the disk later (store_handlers.on_recovered).
 */
void pipeline_resume(struct pipeline *pipeline, struct store_loaded *loaded);
/* The store went over to memory: every live Abnormal is written to it again. */
void pipeline_rewrite(struct pipeline *pipeline);

enum submit_result {
	SUBMIT_CREATED,
	SUBMIT_FOLDED, /* into the live Abnormal of the same fault */
	SUBMIT_COOLDOWN, /* the same fault ended a moment ago: counted in that Abnormal's occurrences */
};
/*
 * RESULT 0 or a negative errno (-EEXIST: another spec under that name; -EDQUOT: too many live).
 * NAME is the Abnormal's own or that of the one it was folded into; NULL with an error. Applying
 * the same name and spec again changes nothing and answers SUBMIT_FOLDED.
 */
typedef void (*pipeline_submitted)(void *userdata, int result, enum submit_result how,
				   const char *namespace, const char *name);

/*
 * Takes ABNORMAL (always) into the pipeline: defaults are filled in (name, namespace "default", uid,
 * nodeName, times), the fingerprint decides between a new one and a repeat. CALLBACK (may be NULL)
 * comes when it is durable, never from within this call. A status that it brings is dropped. Returns 0 or
 * a negative errno, then without a callback: -EXDEV (spec.nodeName is another node's), -EDQUOT,
 * -EAGAIN (before pipeline_resume), -ENOMEM …
 */
int pipeline_submit(struct pipeline *pipeline, struct abnormal *abnormal,
		    pipeline_submitted callback, void *userdata);

/*
 * Its detector no longer sees the fault of FINGERPRINT. Evidence and diagnosis under way are finished,
 * then it ends Succeeded instead of being recovered; an action under way counts as verified. One that
 * ended Failed keeps its phase and gets status.context.cleared {time}.
 */
void pipeline_cleared(struct pipeline *pipeline, const char *fingerprint, int64_t realtime_ns);

/* Removes it, live or ended; a running plug-in is ended first. RESULT of the callback: 0, -ENOENT … */
int pipeline_delete(struct pipeline *pipeline, const char *namespace, const char *name,
		    store_written callback, void *userdata);

/* "ADDED", "MODIFIED", "DELETED": called after each became durable. */
typedef void (*pipeline_watcher)(void *userdata, const char *type, const struct abnormal *abnormal);
struct pipeline_watch;
int pipeline_watch(struct pipeline *pipeline, pipeline_watcher watcher, void *userdata,
		   struct pipeline_watch **ret_watch);
void pipeline_unwatch(struct pipeline_watch *watch);

/*
 * Runs one plug-in by hand on ABNORMAL (not kept), outside its chain: collector or diagnoser. A recoverer
 * goes through the same plan, limits, journal and verification as in the chain, also when it is not
 * enabled, and needs a stored Abnormal that has ended, of which only namespace and name are read here: the
 * action joins its journal and its message, and its phase stays.
 *
 * CALLBACK gets RESULT, the changed Abnormal (NULL if there is none) and an explanation (or NULL): 0, also for a
 * collector or diagnoser that says it is not for it (identifiable is false then), and for a dry run; -EIO:
 * the plug-in failed; for a recoverer also -EOPNOTSUPP: not for it; -EPERM: held back by a limit;
 * -ETIME: done but not verified; -ENOENT, -EBUSY, -ECANCELED.
 * Returns 0, or without a callback -ENOENT: no such plug-in; -EACCES: a script that is refused; -EBUSY: the
 * Abnormal or its subject is being handled; -EINVAL: no name; -EAGAIN: before pipeline_resume.
 */
typedef void (*pipeline_answered)(void *userdata, int result, const struct abnormal *abnormal,
				  const char *explanation);
int pipeline_run_plugin(struct pipeline *pipeline, enum plugin_kind kind, const char *name,
			const struct abnormal *abnormal, bool dry_run, pipeline_answered callback,
			void *userdata);

struct pipeline_counts {
	uint64_t live, waiting, created, folded, in_cooldown, refused;
	uint64_t succeeded, failed;
	uint64_t actions_done, actions_failed, actions_refused, actions_dry_run;
	uint64_t transitions;
};
const struct pipeline_counts *pipeline_counts(const struct pipeline *pipeline);
