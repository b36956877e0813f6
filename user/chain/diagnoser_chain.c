/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The diagnoser chain: asks one diagnoser after the other until one recognises the fault. One that
 * fails is noted and the next is asked. When nobody recognises it, the troubleshooting collectors
 * run and the Abnormal ends Failed, with all that a person needs to go on.
 */
#include "chain/handling.h"

#include <inttypes.h>

#include "base/buffer.h"

#define MESSAGE_MAXIMUM (8 * KIB)

static int ask_next(struct handling *handling);

int diagnosis_record(struct abnormal *abnormal, const struct plugin_entry *entry)
{
	struct object_reference *diagnoser = abnormal->status.diagnoser;

	if (!diagnoser)
		diagnoser = schema_new(&object_reference_schema);
	if (!diagnoser)
		return -ENOMEM;
	abnormal->status.diagnoser = diagnoser;
	abnormal->status.identifiable = true;
	return string_set(&diagnoser->name, entry->name);
}

static int identified(struct handling *handling, const struct plugin_entry *entry)
{
	struct abnormal *abnormal = handling->abnormal;
	int r = diagnosis_record(abnormal, entry);

	if (r < 0)
		return r;
	log_info("%s: diagnoser %s says %s", handling_name(handling), entry->name,
		 abnormal->status.reason ? abnormal->status.reason : "that it is known");
	handling_chain_free(handling);
	return handling_take(handling, TRANSITION_IDENTIFIED, handling->abnormal->status.reason,
			     handling->abnormal->status.message);
}

static int diagnoser_failed(struct handling *handling, const struct plugin_entry *entry,
			    const char *error)
{
	int r = handling_note_error(handling, CONTEXT_DIAGNOSIS_ERRORS, "diagnoser", entry->name,
				    error ? error : "it gave no reason");

	return r < 0 ? r : ask_next(handling);
}

static int diagnoser_answered(struct handling *handling, struct call_result *result)
{
	const struct plugin_entry *entry = handling->chain[handling->chain_index++];
	int r;

	switch (result->verdict) {
	case CALL_RECOGNISED:
		r = handling_merge(handling, result->answer);
		if (r == -EFBIG)
			return diagnoser_failed(handling, entry,
						"its answer would make the Abnormal too large");
		return r < 0 ? r : identified(handling, entry);
	case CALL_NOT_MINE:
		r = handling_note_declined(handling, entry->name, result->explanation);
		return r < 0 ? r : ask_next(handling);
	case CALL_ERROR:
		break;
	}
	return diagnoser_failed(handling, entry, result->error);
}

/* --- Nobody recognised it --- */

static void tell_asked(const struct handling *handling, struct buffer *text)
{
	for (size_t i = 0; i < handling->chain_count; i++)
		buffer_printf(text, "%s%s", i ? ", " : " Asked: ", handling->chain[i]->name);
	buffer_append_text(text, handling->chain_count
					 ? "."
					 : " No diagnoser is enabled for this kind of fault.");
}

static void tell_declined(const struct handling *handling, struct buffer *text)
{
	for (size_t i = 0; i < handling->declined.count; i++)
		buffer_printf(text, "%s; ", handling->declined.items[i]);
}

static void tell_collected(const struct handling *handling, struct buffer *text)
{
	const struct abnormal *abnormal = handling->abnormal;
	const struct information *items = abnormal->status.information.items;
	size_t told = 0;

	for (size_t i = 0; i < abnormal->status.information.count; i++) {
		if (items[i].state != INFORMATION_COLLECTED)
			continue;
		buffer_printf(text, "%s%s", told++ ? ", " : "collected by ", items[i].collector);
	}
	buffer_append_text(text, told ? "." : "nothing could be collected.");
}

/* The buffer's cap only shortens this text, so its errors are nothing to act on. */
static int not_identified(struct handling *handling)
{
	_cleanup_buffer_ struct buffer text = BUFFER(MESSAGE_MAXIMUM);
	struct abnormal *abnormal = handling->abnormal;

	if (handling->cleared)
		return handling_take_cleared(handling);
	buffer_printf(&text, "No diagnoser recognised this fault (%s of \"%s\").",
		      abnormal_source_names[abnormal->spec.source], handling->subject);
	tell_asked(handling, &text);
	buffer_append_text(&text, "\nEvidence: ");
	tell_declined(handling, &text);
	tell_collected(handling, &text);
	buffer_append_text(&text,
			   "\nAdvice: this needs a person. Read what was collected; once you know "
			   "the cause, a script in the diagnosers folder lets lifeboat recognise "
			   "it the next time.");
	if (string_set(&abnormal->status.message, buffer_text(&text)) < 0 ||
	    string_set(&abnormal->status.reason, "NotIdentified") < 0)
		return -ENOMEM;
	abnormal->status.identifiable = false;
	return handling_take(handling, TRANSITION_NOT_IDENTIFIED, NULL, NULL);
}

/* --- The chain --- */

static int ask_next(struct handling *handling)
{
	if (handling->chain_index == handling->chain_count)
		return information_manager_troubleshoot(handling, not_identified);
	return handling_call(handling, handling->chain[handling->chain_index], STEP_DIAGNOSE,
			     diagnoser_answered);
}

int diagnoser_chain_run(struct handling *handling)
{
	int r;

	handling_chain_free(handling);
	cJSON_DeleteItemFromObjectCaseSensitive(handling->abnormal->status.context,
						CONTEXT_DIAGNOSIS_ERRORS);
	r = registry_chain(handling->pipeline->options.registry, PLUGIN_DIAGNOSER,
			   handling->abnormal, &handling->chain, &handling->chain_count,
			   &handling->missing);
	for (size_t i = 0; i < handling->missing.count && r == 0; i++)
		r = handling_note_error(
			handling, CONTEXT_DIAGNOSIS_ERRORS, "diagnoser", handling->missing.items[i],
			"is assigned, but no such diagnoser is known and enabled on this node");
	return r < 0 ? r : ask_next(handling);
}
