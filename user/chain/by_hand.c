/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plug-ins that a person runs. A collector or diagnoser works on a copy that nobody keeps; a
 * recoverer works on a stored Abnormal that has ended, with the limits, journal and verification of
 * the chain: the action joins its journal, and its phase stays what it was.
 */
#include "chain/handling.h"

void errand_begin(struct pipeline *pipeline, struct errand *errand,
		  void (*forget)(struct errand *errand))
{
	errand->pipeline = pipeline;
	errand->forget = forget;
	LIST_INSERT_HEAD(&pipeline->errands, errand, entry);
}

void errand_end(struct errand *errand)
{
	if (errand->pipeline)
		LIST_REMOVE(errand, entry);
}

/* --- Collectors and diagnosers --- */

struct trial {
	struct errand errand;
	struct plugin_entry *entry;
	struct abnormal *abnormal;
	pipeline_answered callback;
	void *userdata;
};

static void trial_free(struct trial *trial)
{
	errand_end(&trial->errand);
	plugin_entry_unref(trial->entry);
	abnormal_free(trial->abnormal);
	free(trial);
}
DEFINE_CLEANUP(struct trial, trial_free);

/* Whoever asked holds something for the answer, and must hear that there will be none. */
static void trial_forget(struct errand *errand)
{
	struct trial *trial = (struct trial *)((char *)errand - offsetof(struct trial, errand));

	trial->callback(trial->userdata, -ECANCELED, NULL, "the agent is ending");
	trial_free(trial);
}

static int trial_record(struct trial *trial, struct call_result *result)
{
	struct abnormal *abnormal = trial->abnormal;

	if (result->answer && answer_merge(abnormal, result->answer) < 0)
		return -ENOMEM;
	if (trial->entry->kind == PLUGIN_DIAGNOSER && result->verdict == CALL_RECOGNISED)
		return diagnosis_record(abnormal, trial->entry);
	if (trial->entry->kind == PLUGIN_DIAGNOSER) {
		abnormal->status.identifiable = false;
		/* Why not, in place of what an earlier diagnosis said. */
		return string_set(&abnormal->status.message, result->explanation);
	}
	struct information *information =
		list_append(&abnormal->status.information, &information_schema);
	if (!information || string_set(&information->collector, trial->entry->name) < 0)
		return -ENOMEM;
	return information_record(information, result);
}

static void trial_done(void *userdata, struct call_result *result)
{
	_cleanup_(trial_freep) struct trial *trial = userdata;
	const char *explanation = result->error;

	trial->errand.call = NULL;
	int r = trial_record(trial, result);
	if (r == 0 && result->verdict == CALL_ERROR)
		r = -EIO;
	else if (r == 0 && result->verdict == CALL_NOT_MINE)
		explanation = result->explanation ? result->explanation
						  : "the plug-in says that this Abnormal is not "
						    "for it";
	trial->callback(trial->userdata, r, trial->abnormal, explanation);
}

static int trial_start(struct pipeline *pipeline, struct plugin_entry *entry,
		       const struct abnormal *abnormal, pipeline_answered callback, void *userdata)
{
	enum plugin_step step = entry->kind == PLUGIN_COLLECTOR ? STEP_COLLECT : STEP_DIAGNOSE;
	_cleanup_(trial_freep) struct trial *trial = calloc(1, sizeof(*trial));

	if (!trial)
		return -ENOMEM;
	errand_begin(pipeline, &trial->errand, trial_forget);
	trial->entry = plugin_entry_ref(entry);
	trial->callback = callback;
	trial->userdata = userdata;
	trial->abnormal = abnormal_copy(abnormal);
	if (!trial->abnormal)
		return -ENOMEM;
	int r = call_start(pipeline->options.pool, entry, step, trial->abnormal, NULL, trial_done,
			   trial, &trial->errand.call);
	if (r == 0)
		TAKE_PTR(trial);
	return r;
}

/* --- Recoverers --- */

static void by_hand_free(struct by_hand *by_hand)
{
	plugin_entry_unref(by_hand->entry);
	free(by_hand);
}
DEFINE_CLEANUP(struct by_hand, by_hand_free);

int by_hand_finish(struct handling *handling, int result, const char *explanation)
{
	_cleanup_(by_hand_freep) struct by_hand *by_hand = TAKE_PTR(handling->by_hand);
	struct pipeline *pipeline = handling->pipeline;

	by_hand->callback(by_hand->userdata, result, handling->abnormal, explanation);
	abnormal_pack(handling->abnormal);
	if (pipeline)
		pipeline_schedule(pipeline);
	handling_chain_free(handling);
	return 0;
}

static int by_hand_start(struct handling *handling, struct by_hand **by_hand)
{
	if (!handling->ended || handling->by_hand ||
	    pipeline_subject_busy(handling->pipeline, handling->subject))
		return -EBUSY;
	int r = abnormal_unpack(handling->abnormal);
	if (r < 0)
		return r;
	handling->by_hand = TAKE_PTR(*by_hand);
	handling_go(handling, recoverer_run_by_hand);
	return 0;
}

/* The store is asked for one that ended too long ago to be at hand. */
struct retrieval {
	struct errand errand;
	struct by_hand *by_hand;
};

static void retrieval_free(struct retrieval *retrieval)
{
	errand_end(&retrieval->errand);
	if (retrieval->by_hand)
		by_hand_free(retrieval->by_hand);
	free(retrieval);
}
DEFINE_CLEANUP(struct retrieval, retrieval_free);

static int retrieved_start(struct retrieval *retrieval, const char *text, size_t length)
{
	struct pipeline *pipeline = retrieval->errand.pipeline;
	_cleanup_abnormal_ struct abnormal *abnormal = NULL;
	struct handling *handling;
	int r = abnormal_parse_handled(text, length, &abnormal, NULL);

	if (r < 0)
		return r;
	/* It may have come to hand while the store was asked. */
	handling = pipeline_lookup(pipeline, abnormal->metadata.namespace, abnormal->metadata.name);
	if (!handling) {
		if (!phase_is_final((enum abnormal_phase)abnormal->status.phase))
			return -EBUSY;
		r = handling_new(pipeline, abnormal, &handling);
		if (r < 0)
			return r;
		TAKE_PTR(abnormal);
		pipeline_add_ended(pipeline, handling, INT64_MIN / 2, INT64_MIN / 2);
		/* Nothing is under way for what was not at hand. */
		r = recoverer_give_up_unfinished(handling);
		if (r < 0)
			return r;
	}
	return by_hand_start(handling, &retrieval->by_hand);
}

static void retrieved(void *userdata, int result, const char *text, size_t length)
{
	_cleanup_(retrieval_freep) struct retrieval *retrieval = userdata;
	struct by_hand *by_hand = retrieval->by_hand;

	if (!retrieval->errand.pipeline)
		result = -ECANCELED;
	if (result == 0)
		result = retrieved_start(retrieval, text, length);
	if (result < 0)
		by_hand->callback(
			by_hand->userdata, result, NULL,
			result == -ENOENT ? "there is no such Abnormal"
			: result == -EBUSY
				? "its subject is being worked on; try again when that has ended"
				: strerror(-result));
}

static int retrieve(struct pipeline *pipeline, const struct metadata *metadata,
		    struct by_hand **by_hand)
{
	_cleanup_(retrieval_freep) struct retrieval *retrieval = calloc(1, sizeof(*retrieval));

	if (!retrieval)
		return -ENOMEM;
	errand_begin(pipeline, &retrieval->errand, NULL);
	int r = store_get(pipeline->options.store, metadata->namespace, metadata->name, retrieved,
			  retrieval);
	if (r < 0)
		return r;
	retrieval->by_hand = TAKE_PTR(*by_hand);
	TAKE_PTR(retrieval);
	return 0;
}

static int recover_by_hand(struct pipeline *pipeline, struct plugin_entry *entry,
			   const struct abnormal *abnormal, bool dry_run,
			   pipeline_answered callback, void *userdata)
{
	_cleanup_(by_hand_freep) struct by_hand *by_hand = calloc(1, sizeof(*by_hand));
	const struct metadata *metadata = &abnormal->metadata;
	struct handling *handling;

	if (!by_hand)
		return -ENOMEM;
	by_hand->entry = plugin_entry_ref(entry);
	by_hand->dry_run = dry_run;
	by_hand->callback = callback;
	by_hand->userdata = userdata;
	if (!metadata->name || !metadata->namespace)
		return -EINVAL;
	handling = pipeline_lookup(pipeline, metadata->namespace, metadata->name);
	return handling ? by_hand_start(handling, &by_hand)
			: retrieve(pipeline, metadata, &by_hand);
}

int pipeline_run_plugin(struct pipeline *pipeline, enum plugin_kind kind, const char *name,
			const struct abnormal *abnormal, bool dry_run, pipeline_answered callback,
			void *userdata)
{
	struct plugin_entry *entry = registry_find(pipeline->options.registry, kind, name);

	if (!pipeline->resumed)
		return -EAGAIN;
	if (!entry)
		return -ENOENT;
	if (entry->refusal)
		return -EACCES;
	if (kind == PLUGIN_RECOVERER)
		return recover_by_hand(pipeline, entry, abnormal, dry_run, callback, userdata);
	return trial_start(pipeline, entry, abnormal, callback, userdata);
}
