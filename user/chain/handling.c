/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every stage stands on: durable writes that continue when the store has answered, waits, and
 * calls of plug-ins, none of which outlives its handling in a way that can hurt.
 */
#include "chain/handling.h"

#include <inttypes.h>

#include "base/utf8.h"

/* After this a failed step or write is tried again. */
#define RETRY_NS NS_PER_S
/* Sightings of one fault are written at most this often. */
#define BATCH_NS NS_PER_S
#define TIMER_ACCURACY_USEC 1000
/*
 * Room that a plug-in's answer must leave in an Abnormal for what the pipeline itself adds: lists of
 * artifacts, reasons, the journal. Of that, lists must leave the last half for the rest.
 */
#define ABNORMAL_RESERVE (512 * KIB)
/* Errors of plug-ins kept in one list of status.context. */
#define ERRORS_MAXIMUM 64
#define ERROR_BYTES_MAX 1024

int handling_new(struct pipeline *pipeline, struct abnormal *abnormal,
		 struct handling **ret_handling)
{
	struct handling *handling = calloc(1, sizeof(*handling));

	if (!handling)
		return -ENOMEM;
	handling->subject = strdup(abnormal_subject(abnormal));
	if (!handling->subject) {
		free(handling);
		return -ENOMEM;
	}
	handling->references = 1;
	handling->pipeline = pipeline;
	handling->abnormal = abnormal;
	handling->cleared = json_at(abnormal->status.context, CONTEXT_CLEARED) != NULL;
	abnormal_fingerprint(abnormal, handling->fingerprint);
	*ret_handling = handling;
	return 0;
}

struct handling *handling_ref(struct handling *handling)
{
	handling->references++;
	return handling;
}

static void waiters_answer(const struct handling *handling, struct waiter *waiters, int result)
{
	const struct metadata *metadata = &handling->abnormal->metadata;

	while (waiters) {
		_cleanup_free_ struct waiter *waiter = waiters;

		waiters = waiter->next;
		waiter->callback(waiter->userdata, result, waiter->how, metadata->namespace,
				 metadata->name);
	}
}

void handling_chain_free(struct handling *handling)
{
	plugin_entries_free(TAKE_PTR(handling->chain), handling->chain_count);
	handling->chain_count = handling->chain_index = 0;
	strings_clear(&handling->missing);
	strings_clear(&handling->declined);
	if (handling->recoverer)
		plugin_entry_unref(TAKE_PTR(handling->recoverer));
	free(TAKE_PTR(handling->last_error));
	free(TAKE_PTR(handling->not_yet));
}

void handling_stop(struct handling *handling)
{
	if (handling->call)
		call_cancel(TAKE_PTR(handling->call));
	information_manager_stop(handling);
	handling_chain_free(handling);
	handling->timer = sd_event_source_disable_unref(handling->timer);
	handling->batch = sd_event_source_disable_unref(handling->batch);
	waiters_answer(handling, TAKE_PTR(handling->waiters), -ECANCELED);
	if (handling->by_hand)
		by_hand_finish(handling, -ECANCELED,
			       "the Abnormal was removed, or the agent is ending");
}

void handling_unref(struct handling *handling)
{
	if (--handling->references)
		return;
	handling_stop(handling);
	abnormal_free(handling->abnormal);
	free(handling->subject);
	free(handling);
}

const char *handling_name(const struct handling *handling)
{
	static char name[320];
	const struct metadata *metadata = &handling->abnormal->metadata;

	snprintf(name, sizeof(name), "%s/%s", metadata->namespace, metadata->name);
	return name;
}

/* --- Steps --- */

static void step_failed(struct handling *handling, int error)
{
	uint32_t suppressed;

	if (handling->by_hand) {
		by_hand_finish(handling, error, strerror(-error));
		return;
	}
	if (log_limit_pass(&handling->pipeline->trouble_limit, 10, 60 * NS_PER_S, &suppressed))
		log_error("Handling %s failed: %s; it is tried again in a second (%u such messages "
			  "were left out)",
			  handling_name(handling), strerror(-error), suppressed);
	handling_wait(handling, RETRY_NS, pipeline_proceed);
}

void handling_go(struct handling *handling, handling_step step)
{
	_cleanup_(handling_unrefp) struct handling *held = handling_ref(handling);

	if (handling->removed)
		return;
	int r = step(handling);
	if (r < 0 && !handling->removed)
		step_failed(handling, r);
}

static int timer_fired(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct handling *handling = userdata;

	handling_step next = handling->next;

	handling->wake_when_cleared = false;
	handling->timer = sd_event_source_disable_unref(handling->timer);
	handling->next = NULL;
	handling_go(handling, next);
	return 0;
}

static void timer_arm(struct handling *handling, sd_event_source **timer, uint64_t delay_ns,
		      sd_event_time_handler_t fired)
{
	struct pipeline *pipeline = handling->pipeline;
	uint64_t delay_usec = (delay_ns + NS_PER_US - 1) / NS_PER_US;

	*timer = sd_event_source_disable_unref(*timer);
	if (sd_event_add_time_relative(pipeline->options.event, timer, CLOCK_MONOTONIC, delay_usec,
				       TIMER_ACCURACY_USEC, fired, handling) >= 0)
		return;
	/* This timer is there already, so setting it takes no memory. */
	*timer = NULL;
	handling->stalled = true;
	sd_event_source_set_time_relative(pipeline->retry, RETRY_NS / NS_PER_US);
	sd_event_source_set_enabled(pipeline->retry, SD_EVENT_ONESHOT);
}

int handling_wait(struct handling *handling, uint64_t delay_ns, handling_step next)
{
	handling->next = next;
	timer_arm(handling, &handling->timer, delay_ns, timer_fired);
	return 0;
}

void handling_wake(struct handling *handling)
{
	handling->stalled = false;
	if (handling->unwritten && !handling->batch)
		handling_write_soon(handling);
	if (handling->next && !handling->timer)
		timer_fired(NULL, 0, handling);
}

/* --- Durable writes --- */

struct write {
	struct handling *handling; /* referenced */
	const char *transition;
	handling_step next; /* NULL: nothing waits for this write */
	struct waiter *waiters;
};

static int commit_try(struct handling *handling);

static void write_succeeded(struct write *write)
{
	struct handling *handling = write->handling;
	struct pipeline *pipeline = handling->pipeline;

	waiters_answer(handling, TAKE_PTR(write->waiters), 0);
	if (handling->removed)
		return;
	if (write->transition)
		pipeline->counts.transitions++;
	pipeline_publish(pipeline, handling->announced ? "MODIFIED" : "ADDED", handling->abnormal);
	handling->announced = true;
	if (write->next)
		handling_go(handling, write->next);
}

/*
 * The store keeps troubles of the disk from its callers; what comes here passes, so it is tried
 * again.
 */
static void write_failed(struct write *write, int error)
{
	struct handling *handling = write->handling;

	if (handling->removed || error == -ECANCELED) {
		waiters_answer(handling, TAKE_PTR(write->waiters), error);
		return;
	}
	for (struct waiter *waiter; (waiter = write->waiters);) {
		write->waiters = waiter->next;
		waiter->next = handling->waiters;
		handling->waiters = waiter;
	}
	if (write->next)
		handling_wait(handling, RETRY_NS, commit_try);
	else
		handling_write_soon(handling);
}

static void write_done(void *userdata, int result)
{
	_cleanup_free_ struct write *write = userdata;
	_cleanup_(handling_unrefp) struct handling *handling = write->handling;

	if (result == 0)
		write_succeeded(write);
	else
		write_failed(write, result);
}

static int handling_write(struct handling *handling, const char *transition, handling_step next)
{
	struct store_record record = {.abnormal = handling->abnormal, .transition = transition};
	struct write *write = malloc(sizeof(*write));

	if (!write)
		return -ENOMEM;
	*write = (struct write){handling_ref(handling), transition, next,
				TAKE_PTR(handling->waiters)};
	int r = store_write(handling->pipeline->options.store, &record, write_done, write);
	if (r < 0) {
		handling->waiters = write->waiters;
		handling_unref(handling);
		free(write);
		return r;
	}
	handling->unwritten = false;
	handling->written_ns = clock_monotonic(handling->pipeline->options.clock);
	handling->batch = sd_event_source_disable_unref(handling->batch);
	return 0;
}

static int commit_try(struct handling *handling)
{
	int r = handling_write(handling, handling->transition, handling->after);
	uint32_t suppressed;

	if (r == 0)
		return 0;
	if (log_limit_pass(&handling->pipeline->trouble_limit, 10, 60 * NS_PER_S, &suppressed))
		log_warning("Writing %s to the store failed: %s; nothing is done for it until that "
			    "has succeeded, the next try is in a second (%u such messages were "
			    "left out)",
			    handling_name(handling), strerror(-r), suppressed);
	return handling_wait(handling, RETRY_NS, commit_try);
}

int handling_commit(struct handling *handling, const char *transition, handling_step next)
{
	handling->transition = transition;
	handling->after = next;
	return commit_try(handling);
}

int handling_take(struct handling *handling, enum transition transition, const char *reason,
		  const char *message)
{
	int r = abnormal_transition(handling->abnormal, transition, reason, message,
				    clock_realtime(handling->pipeline->options.clock));

	if (r < 0)
		return r;
	return handling_commit(handling, transition_names[transition], pipeline_proceed);
}

int handling_add_message(struct handling *handling, const char *line)
{
	char **message = &handling->abnormal->status.message;
	char *both;

	if (!*message)
		return string_set(message, line);
	if (asprintf(&both, "%s\n%s", *message, line) < 0)
		return -ENOMEM;
	free(*message);
	*message = both;
	return 0;
}

int handling_take_cleared(struct handling *handling)
{
	static const char over[] =
		"Result: the fault went away by itself: its detector no longer sees it.";
	char **reason = &handling->abnormal->status.reason;

	if (handling_add_message(handling, over) < 0 ||
	    (!*reason && string_set(reason, "FaultCleared") < 0))
		return -ENOMEM;
	return handling_take(handling, TRANSITION_CLEARED, NULL, over + strlen("Result: "));
}

static int batch_fired(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct handling *handling = userdata;

	handling->batch = sd_event_source_disable_unref(handling->batch);
	if (handling->unwritten && handling_write(handling, NULL, NULL) < 0) {
		handling->written_ns = clock_monotonic(handling->pipeline->options.clock);
		handling_write_soon(handling);
	}
	return 0;
}

int handling_write_soon(struct handling *handling)
{
	uint64_t now_ns = clock_monotonic(handling->pipeline->options.clock);
	uint64_t due_ns = handling->written_ns ? handling->written_ns + BATCH_NS : now_ns;

	handling->unwritten = true;
	if (!handling->batch)
		timer_arm(handling, &handling->batch, due_ns > now_ns ? due_ns - now_ns : 0,
			  batch_fired);
	return 0;
}

/* --- Plug-ins --- */

static void call_answered(void *userdata, struct call_result *result)
{
	struct handling *handling = userdata;
	_cleanup_(handling_unrefp) struct handling *held = handling_ref(handling);

	handling->call = NULL;
	int r = handling->answer(handling, result);
	if (r < 0 && !handling->removed)
		step_failed(handling, r);
}

int handling_call(struct handling *handling, struct plugin_entry *entry, enum plugin_step step,
		  handling_answer answer)
{
	handling->answer = answer;
	int r = call_start(handling->pipeline->options.pool, entry, step, handling->abnormal, NULL,
			   call_answered, handling, &handling->call);
	if (r == 0)
		return 0;
	if (r == -ENOMEM)
		return r;
	/* A plug-in that can't even be started has failed, like one that ends in an error. */
	struct call_result result = {.verdict = CALL_ERROR, .error = strdup(strerror(-r))};
	r = answer(handling, &result);
	call_result_clear(&result);
	return r;
}

int handling_merge(struct handling *handling, const struct abnormal *answer)
{
	_cleanup_abnormal_ struct abnormal *merged = NULL;
	_cleanup_free_ char *text = NULL;

	if (!answer)
		return 0;
	merged = abnormal_copy(handling->abnormal);
	if (!merged)
		return -ENOMEM;
	int r = answer_merge(merged, answer);
	if (r == 0)
		r = abnormal_print(merged, &text);
	if (r < 0)
		return r;
	if (strlen(text) > ABNORMAL_HANDLED_BYTES_MAX - ABNORMAL_RESERVE)
		return -EFBIG;
	abnormal_free(handling->abnormal);
	handling->abnormal = TAKE_PTR(merged);
	return 0;
}

bool handling_has_room(const struct handling *handling)
{
	_cleanup_free_ char *text = NULL;

	/* Without memory to tell, a limit that is far away is not what matters. */
	return abnormal_print(handling->abnormal, &text) < 0 ||
	       strlen(text) <= ABNORMAL_HANDLED_BYTES_MAX - ABNORMAL_RESERVE / 2;
}

int handling_note_declined(struct handling *handling, const char *name, const char *explanation)
{
	_cleanup_free_ char *line = NULL;

	if (!explanation)
		return 0;
	if (asprintf(&line, "%s: %s", name, explanation) < 0) {
		line = NULL; /* asprintf leaves it undefined */
		return -ENOMEM;
	}
	return strings_append(&handling->declined, line);
}

int handling_note_error(struct handling *handling, const char *list, const char *named,
			const char *name, const char *error)
{
	cJSON *context = abnormal_context(handling->abnormal);
	cJSON *errors = context ? cJSON_GetObjectItemCaseSensitive(context, list) : NULL;
	_cleanup_json_ cJSON *entry = cJSON_CreateObject();
	char text[ERROR_BYTES_MAX];

	log_warning("%s %s failed on %s: %s; the next one is asked", named, name,
		    handling_name(handling), error);
	if (!context || !entry)
		return -ENOMEM;
	if (!cJSON_IsArray(errors)) {
		errors = cJSON_CreateArray();
		if (!errors || json_set(context, list, errors) < 0)
			return -ENOMEM;
	}
	if (cJSON_GetArraySize(errors) >= ERRORS_MAXIMUM)
		return 0;
	utf8_copy(text, sizeof(text), error);
	if (json_set_string(entry, named, name) < 0 || json_set_string(entry, "error", text) < 0)
		return -ENOMEM;
	return cJSON_AddItemToArray(errors, TAKE_PTR(entry)) ? 0 : -ENOMEM;
}
