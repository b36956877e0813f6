/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pipeline's table of Abnormals, and whose turn it is. An Abnormal on its way is a `handling`:
 *
 *   pipeline_submit ── repeat? ──► one more occurrence of the one there is      (submission.c)
 *        │ new
 *        ▼
 *    Created ──► InformationCollecting ──► Diagnosing ──► Recovering ──► Succeeded, Failed
 *    waits for   information_manager.c     diagnoser_     recoverer_     kept at hand for a
 *    its turn    collectors, all at once   chain.c        chain.c        while: `ended`
 *        │                 │                   │              │
 *        └────────── each arrow is one write to the store; what follows it begins in the
 *                    callback of that write, so the node is never ahead of the journal (handling.c)
 *
 * Every stage can begin from what the Abnormal itself says. That one property makes restart after
 * kill -9, retry after lack of memory, and the ordinary way the same code: pipeline_proceed.
 */
#include "chain/handling.h"

#include <inttypes.h>

/* Bytes of an Abnormal's message that the log shows. */
#define LOGGED_MESSAGE ((size_t)300)

static int scheduler_run(sd_event_source *source, void *userdata);
static int retry_fired(sd_event_source *source, uint64_t usec, void *userdata);

int pipeline_new(const struct pipeline_options *options, struct pipeline **ret_pipeline)
{
	_cleanup_(pipeline_freep) struct pipeline *pipeline = calloc(1, sizeof(*pipeline));

	if (!pipeline)
		return -ENOMEM;
	TAILQ_INIT(&pipeline->live);
	TAILQ_INIT(&pipeline->ended);
	pipeline->options = *options;
	pipeline->settings = options->settings;
	if (string_set(&pipeline->node_name, options->node_name) < 0 ||
	    string_set(&pipeline->artifact_root, options->artifact_root) < 0)
		return -ENOMEM;
	int r = governor_new(&pipeline->governor);
	if (r == 0)
		r = sd_event_add_defer(options->event, &pipeline->scheduler, scheduler_run,
				       pipeline);
	if (r >= 0)
		r = sd_event_source_set_enabled(pipeline->scheduler, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time_relative(options->event, &pipeline->retry, CLOCK_MONOTONIC, 0,
					       0, retry_fired, pipeline);
	if (r >= 0)
		r = sd_event_source_set_enabled(pipeline->retry, SD_EVENT_OFF);
	if (r < 0)
		return r;
	*ret_pipeline = TAKE_PTR(pipeline);
	return 0;
}

static void handlings_free(struct handlings *handlings)
{
	for (struct handling *handling; (handling = TAILQ_FIRST(handlings));) {
		TAILQ_REMOVE(handlings, handling, entry);
		handling->pipeline = NULL;
		handling->removed = true;
		handling_stop(handling);
		handling_unref(handling);
	}
}

void pipeline_free(struct pipeline *pipeline)
{
	for (struct errand *errand; (errand = LIST_FIRST(&pipeline->errands));) {
		LIST_REMOVE(errand, entry);
		errand->pipeline = NULL;
		if (errand->call) {
			call_cancel(TAKE_PTR(errand->call));
			errand->forget(errand);
		}
	}
	handlings_free(&pipeline->live);
	handlings_free(&pipeline->ended);
	for (struct pipeline_watch *watch; (watch = LIST_FIRST(&pipeline->watches));) {
		LIST_REMOVE(watch, entry);
		free(watch);
	}
	sd_event_source_disable_unref(pipeline->scheduler);
	sd_event_source_disable_unref(pipeline->retry);
	if (pipeline->governor)
		governor_free(pipeline->governor);
	free(pipeline->node_name);
	free(pipeline->artifact_root);
	free(pipeline);
}

void pipeline_reconfigure(struct pipeline *pipeline, const struct pipeline_settings *settings)
{
	pipeline->settings = *settings;
	pipeline_schedule(pipeline);
}

const struct pipeline_settings *pipeline_settings(const struct pipeline *pipeline)
{
	return &pipeline->settings;
}

const struct pipeline_counts *pipeline_counts(const struct pipeline *pipeline)
{
	return &pipeline->counts;
}

/* --- The table --- */

static void live_count_changed(struct pipeline *pipeline, int live, int active)
{
	pipeline->counts.live = (uint64_t)((int64_t)pipeline->counts.live + live);
	pipeline->active_count = (size_t)((ssize_t)pipeline->active_count + active);
	pipeline->counts.waiting = pipeline->counts.live - pipeline->active_count;
}

void pipeline_add_live(struct pipeline *pipeline, struct handling *handling)
{
	TAILQ_INSERT_TAIL(&pipeline->live, handling, entry);
	live_count_changed(pipeline, 1, 0);
}

static struct handling *lookup_in(struct handlings *handlings, const char *namespace,
				  const char *name)
{
	struct handling *handling;

	TAILQ_FOREACH (handling, handlings, entry)
		if (streq_ptr(handling->abnormal->metadata.name, name) &&
		    streq_ptr(handling->abnormal->metadata.namespace, namespace))
			return handling;
	return NULL;
}

struct handling *pipeline_lookup(struct pipeline *pipeline, const char *namespace, const char *name)
{
	struct handling *handling = lookup_in(&pipeline->live, namespace, name);

	return handling ? handling : lookup_in(&pipeline->ended, namespace, name);
}

struct handling *pipeline_lookup_fingerprint(struct pipeline *pipeline, const char *fingerprint)
{
	struct handling *handling;

	TAILQ_FOREACH (handling, &pipeline->live, entry)
		if (streq(handling->fingerprint, fingerprint))
			return handling;
	TAILQ_FOREACH_REVERSE (handling, &pipeline->ended, handlings, entry)
		if (streq(handling->fingerprint, fingerprint))
			return handling;
	return NULL;
}

static void ended_remove(struct pipeline *pipeline, struct handling *handling)
{
	TAILQ_REMOVE(&pipeline->ended, handling, entry);
	pipeline->ended_count--;
	handling->removed = true;
	handling_stop(handling);
	handling_unref(handling);
}

/* Who was heard of longest ago goes, of those with nothing left to write, and on which nobody works. */
static void ended_limit(struct pipeline *pipeline)
{
	struct handling *handling, *next;

	for (handling = TAILQ_FIRST(&pipeline->ended);
	     handling && pipeline->ended_count >= ENDED_MAXIMUM; handling = next) {
		next = TAILQ_NEXT(handling, entry);
		if (!handling->by_hand && !handling->unwritten)
			ended_remove(pipeline, handling);
	}
}

static void ended_insert(struct pipeline *pipeline, struct handling *handling,
			 int64_t heard_boot_ns)
{
	struct handling *before;

	handling->heard_boot_ns = heard_boot_ns;
	TAILQ_FOREACH_REVERSE (before, &pipeline->ended, handlings, entry)
		if (before->heard_boot_ns <= heard_boot_ns)
			break;
	if (before)
		TAILQ_INSERT_AFTER(&pipeline->ended, before, handling, entry);
	else
		TAILQ_INSERT_HEAD(&pipeline->ended, handling, entry);
}

void pipeline_add_ended(struct pipeline *pipeline, struct handling *handling, int64_t ended_boot_ns,
			int64_t heard_boot_ns)
{
	ended_limit(pipeline);
	abnormal_pack(handling->abnormal);
	handling->ended = handling->announced = true;
	handling->ended_boot_ns = ended_boot_ns;
	ended_insert(pipeline, handling, heard_boot_ns);
	pipeline->ended_count++;
}

void pipeline_heard_of(struct pipeline *pipeline, struct handling *handling)
{
	if (!handling->ended)
		return;
	TAILQ_REMOVE(&pipeline->ended, handling, entry);
	ended_insert(pipeline, handling, (int64_t)clock_boot(pipeline->options.clock));
}

void pipeline_take_off(struct pipeline *pipeline, struct handling *handling)
{
	if (handling->ended) {
		ended_remove(pipeline, handling);
		return;
	}
	TAILQ_REMOVE(&pipeline->live, handling, entry);
	live_count_changed(pipeline, -1, handling->active ? -1 : 0);
	handling->removed = true;
	handling_stop(handling);
	handling_unref(handling);
}

/* --- Whose turn it is --- */

bool pipeline_subject_busy(const struct pipeline *pipeline, const char *subject)
{
	const struct handling *handling;

	TAILQ_FOREACH (handling, &pipeline->live, entry)
		if (handling->active && streq(handling->subject, subject))
			return true;
	TAILQ_FOREACH (handling, &pipeline->ended, entry)
		if (handling->by_hand && streq(handling->subject, subject))
			return true;
	return false;
}

void pipeline_schedule(struct pipeline *pipeline)
{
	if (pipeline->resumed)
		sd_event_source_set_enabled(pipeline->scheduler, SD_EVENT_ONESHOT);
}

static int scheduler_run(sd_event_source *source, void *userdata)
{
	struct pipeline *pipeline = userdata;
	unsigned parallel = MAX(pipeline->settings.parallel, 1u);
	struct handling *handling, *next;

	for (handling = TAILQ_FIRST(&pipeline->live); handling && pipeline->active_count < parallel;
	     handling = next) {
		next = TAILQ_NEXT(handling, entry);
		if (handling->active || !handling->announced ||
		    pipeline_subject_busy(pipeline, handling->subject))
			continue;
		handling->active = true;
		live_count_changed(pipeline, 0, 1);
		handling_go(handling, pipeline_proceed);
	}
	return 0;
}

static struct handling *stalled_in(struct handlings *handlings)
{
	struct handling *handling;

	TAILQ_FOREACH (handling, handlings, entry)
		if (handling->stalled)
			return handling;
	return NULL;
}

/* For those that found no memory for a timer. One that stalls again arms this timer again. */
static int retry_fired(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct pipeline *pipeline = userdata;
	uint64_t left = pipeline->counts.live + pipeline->ended_count;

	while (left-- > 0) {
		struct handling *handling = stalled_in(&pipeline->live);

		if (!handling)
			handling = stalled_in(&pipeline->ended);
		if (!handling)
			break;
		handling_wake(handling);
	}
	return 0;
}

/* What nobody could repair is for a person: said in the log and counted for the metrics. */
static void announce(struct handling *handling)
{
	const struct abnormal_status *status = &handling->abnormal->status;
	const struct metadata *metadata = &handling->abnormal->metadata;
	const char *message = status->message ? status->message : "no diagnosis was asked for";
	bool in_default = streq(metadata->namespace, "default");

	if (status->phase == PHASE_FAILED)
		log_warning("%s needs a person (%s): %.*s — the whole story: lifeboat describe "
			    "abnormal %s%s%s",
			    handling_name(handling),
			    status->reason ? status->reason : "no reason given",
			    (int)MIN(strcspn(message, "\n"), LOGGED_MESSAGE), message,
			    metadata->name, in_default ? "" : " -n ",
			    in_default ? "" : metadata->namespace);
	else
		log_info("%s is over (%s)", handling_name(handling),
			 status->reason ? status->reason : "Succeeded");
}

static int handling_ended(struct handling *handling)
{
	struct pipeline *pipeline = handling->pipeline;

	if (handling->abnormal->status.phase == PHASE_SUCCEEDED)
		pipeline->counts.succeeded++;
	else
		pipeline->counts.failed++;
	announce(handling);
	information_manager_stop(handling);
	handling_chain_free(handling);
	handling->active = false;
	live_count_changed(pipeline, -1, -1);
	TAILQ_REMOVE(&pipeline->live, handling, entry);
	int64_t now_ns = (int64_t)clock_boot(pipeline->options.clock);
	pipeline_add_ended(pipeline, handling, now_ns, now_ns);
	pipeline_schedule(pipeline);
	return 0;
}

int pipeline_proceed(struct handling *handling)
{
	switch (handling_phase(handling)) {
	case PHASE_CREATED:
		return handling_take(handling, TRANSITION_START, NULL, NULL);
	case PHASE_INFORMATION_COLLECTING:
		return information_manager_run(handling);
	case PHASE_DIAGNOSING:
		return diagnoser_chain_run(handling);
	case PHASE_RECOVERING:
		return recoverer_chain_run(handling);
	case PHASE_SUCCEEDED:
	case PHASE_FAILED:
		return handling_ended(handling);
	case PHASE_UNKNOWN:
		break;
	}
	return -EPROTO;
}

/* --- After a start --- */

/* An instant of the wall clock on the boot clock, where one before the boot is negative. */
static int64_t boot_of_realtime(const struct pipeline *pipeline, int64_t realtime_ns)
{
	const struct clock *clock = pipeline->options.clock;
	int64_t age_ns = realtime_ns == TIME_ABSENT ? 0 : clock_realtime(clock) - realtime_ns;

	return (int64_t)clock_boot(clock) - MAX(age_ns, 0);
}

static int remember_action(struct pipeline *pipeline, const struct store_action *action)
{
	const struct plugin_entry *entry =
		registry_find(pipeline->options.registry, PLUGIN_RECOVERER, action->recoverer);

	if (entry && plugin_entry_only_confirms(entry))
		return 0;
	return governor_note(pipeline->governor, action->recoverer, action->subject,
			     entry && entry->disturbs == DISTURBS_NONE,
			     boot_of_realtime(pipeline, action->intent_time));
}

static int remember_actions(struct pipeline *pipeline, const struct abnormal *abnormal)
{
	const struct action *actions = abnormal->status.actions.items;
	int r = 0;

	for (size_t i = 0; r == 0 && i < abnormal->status.actions.count; i++) {
		const struct store_action action = {.recoverer = actions[i].recoverer,
						    .subject = abnormal_subject(abnormal),
						    .intent_time = actions[i].intent_time};

		if (action.recoverer && actions[i].outcome != ACTION_REFUSED &&
		    actions[i].outcome != ACTION_DRY_RUN)
			r = remember_action(pipeline, &action);
	}
	return r;
}

static int resume_live(struct pipeline *pipeline, struct abnormal **abnormal)
{
	struct handling *handling;
	int r = handling_new(pipeline, *abnormal, &handling);

	if (r < 0)
		return r;
	*abnormal = NULL;
	handling->announced = true;
	pipeline_add_live(pipeline, handling);
	return remember_actions(pipeline, handling->abnormal);
}

static int resume_ended(struct pipeline *pipeline, struct abnormal **abnormal)
{
	struct handling *handling;
	int r = remember_actions(pipeline, *abnormal);

	if (r == 0)
		r = handling_new(pipeline, *abnormal, &handling);
	if (r < 0)
		return r;
	*abnormal = NULL;
	pipeline_add_ended(pipeline, handling,
			   boot_of_realtime(pipeline, abnormal_changed_time(handling->abnormal)),
			   boot_of_realtime(pipeline, abnormal_latest_time(handling->abnormal)));
	return recoverer_give_up_unfinished(handling);
}

static void resume_failed(const struct abnormal *abnormal, int error)
{
	if (error < 0)
		log_error("Taking up %s/%s again failed: %s; it stays in the store, and the next "
			  "start of the agent tries again",
			  abnormal ? abnormal->metadata.namespace : "?",
			  abnormal ? abnormal->metadata.name : "?", strerror(-error));
}

/* Where its handling stood is not known, so going on could do something twice. */
static void unknown_tell(const struct abnormal *abnormal)
{
	log_warning("%s/%s is in phase Unknown and is not handled: how far its handling came "
		    "can't be told, so going on might repeat a repair; look at it with `lifeboat "
		    "describe abnormals %s -n %s`, then delete it",
		    abnormal->metadata.namespace, abnormal->metadata.name, abnormal->metadata.name,
		    abnormal->metadata.namespace);
}

void pipeline_resume(struct pipeline *pipeline, struct store_loaded *loaded)
{
	/* Those that were begun keep their turn before those that still waited. */
	for (int begun = 1; begun >= 0; begun--)
		for (size_t i = 0; i < loaded->live_count; i++) {
			struct abnormal **abnormal = &loaded->live[i];

			if (*abnormal && (*abnormal)->status.phase == PHASE_UNKNOWN && begun)
				unknown_tell(*abnormal);
			else if (*abnormal && (*abnormal)->status.phase != PHASE_UNKNOWN &&
				 ((*abnormal)->status.phase != PHASE_CREATED) == begun)
				resume_failed(*abnormal, resume_live(pipeline, abnormal));
		}
	/* Newest first there, newest last here. */
	for (size_t i = loaded->acted_count; i-- > 0;) {
		int r = remember_action(pipeline, &loaded->acted[i]);

		if (r < 0)
			log_error(
				"Remembering what %s did to %s failed: %s; its cooldown ends early",
				loaded->acted[i].recoverer, loaded->acted[i].subject, strerror(-r));
	}
	for (size_t i = loaded->recent_count; i-- > 0;)
		if (loaded->recent[i])
			resume_failed(loaded->recent[i],
				      resume_ended(pipeline, &loaded->recent[i]));
	if (!pipeline->resumed)
		pipeline->resumed_ns = clock_monotonic(pipeline->options.clock);
	if (pipeline->counts.live)
		log_info("Abnormals from before the start that are gone on with: %" PRIu64,
			 pipeline->counts.live);
	pipeline->resumed = true;
	pipeline_schedule(pipeline);
}

void pipeline_rewrite(struct pipeline *pipeline)
{
	struct handling *handling;

	TAILQ_FOREACH (handling, &pipeline->live, entry) {
		struct store_record record = {.abnormal = handling->abnormal};
		int r = store_write(pipeline->options.store, &record, NULL, NULL);

		if (r < 0)
			log_error("Writing %s to the store in memory failed: %s; it goes on and is "
				  "written with its next step",
				  handling_name(handling), strerror(-r));
	}
}

/* --- Cleared --- */

static int note_cleared(struct handling *handling, int64_t realtime_ns)
{
	_cleanup_json_ cJSON *cleared = cJSON_CreateObject();
	cJSON *context = abnormal_context(handling->abnormal);

	if (!cleared || !context || json_set_time(cleared, "time", realtime_ns) < 0 ||
	    json_set(context, CONTEXT_CLEARED, TAKE_PTR(cleared)) < 0)
		return -ENOMEM;
	return handling_write_soon(handling);
}

void pipeline_cleared(struct pipeline *pipeline, const char *fingerprint, int64_t realtime_ns)
{
	struct handling *handling = pipeline_lookup_fingerprint(pipeline, fingerprint);

	if (!handling || handling->cleared || handling_phase(handling) == PHASE_SUCCEEDED)
		return;
	handling->cleared = true;
	if (note_cleared(handling, realtime_ns) < 0)
		log_error("Noting that the fault of %s is over failed: out of memory; it is still "
			  "acted on",
			  handling_name(handling));
	if (handling->wake_when_cleared)
		handling_wait(handling, 0, handling->next);
}

/* --- Watches --- */

int pipeline_watch(struct pipeline *pipeline, pipeline_watcher watcher, void *userdata,
		   struct pipeline_watch **ret_watch)
{
	struct pipeline_watch *watch = malloc(sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	*watch = (struct pipeline_watch){
		.pipeline = pipeline, .watcher = watcher, .userdata = userdata};
	LIST_INSERT_HEAD(&pipeline->watches, watch, entry);
	*ret_watch = watch;
	return 0;
}

static void watches_sweep(struct pipeline *pipeline)
{
	struct pipeline_watch *watch = LIST_FIRST(&pipeline->watches), *next;

	for (; watch && pipeline->publishing == 0; watch = next) {
		next = LIST_NEXT(watch, entry);
		if (!watch->watcher) {
			LIST_REMOVE(watch, entry);
			free(watch);
		}
	}
}

void pipeline_unwatch(struct pipeline_watch *watch)
{
	watch->watcher = NULL;
	watches_sweep(watch->pipeline);
}

void pipeline_publish(struct pipeline *pipeline, const char *type, const struct abnormal *abnormal)
{
	struct pipeline_watch *watch;

	pipeline->publishing++;
	LIST_FOREACH (watch, &pipeline->watches, entry)
		if (watch->watcher)
			watch->watcher(watch->userdata, type, abnormal);
	pipeline->publishing--;
	watches_sweep(pipeline);
}
