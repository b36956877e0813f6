/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recoverer chain: which recoverer is tried next, and how recovery ends. One attempt, from plan
 * to verification, is recovery_attempt.c.
 *
 * What was tried is read from status.actions, never from memory: a recoverer with an action there
 * is not tried again, and an action without an outcome is one that a restart cut off. Its effect is
 * looked for first, and only an idempotent one is then run again.
 */
#include "chain/recovery.h"

#include "base/buffer.h"
#include "chain/journal.h"

#define TEXT_MAXIMUM (16 * KIB)

/* --- Ends --- */

static const char *outcome_words(const struct action *action)
{
	switch ((enum action_outcome)action->outcome) {
	case ACTION_DONE:
		return action->verification == VERIFICATION_VERIFIED ? "done and verified"
								     : "done, not verified";
	case ACTION_FAILED:
		return "failed";
	case ACTION_DRY_RUN:
		return "not done, as this is a dry run";
	case ACTION_REFUSED:
		return "not done";
	case ACTION_PENDING:
	case ACTION_UNKNOWN:
		break;
	}
	return "the outcome is unknown";
}

static void tell_action(const struct action *action, struct buffer *text)
{
	buffer_printf(text, "%s on %s: %s", action->recoverer,
		      action->target ? action->target : "it", outcome_words(action));
	buffer_printf(text, action->message ? " (%s)" : "%s",
		      action->message ? action->message : "");
}

static const char *reason_not_recovered(const struct handling *handling)
{
	const struct action *last = journal_last(handling);

	if (!last)
		return json_at(handling->abnormal->status.context, CONTEXT_RECOVERY_ERRORS)
			       ? "RecoveryFailed"
			       : "NoRecoverer";
	switch ((enum action_outcome)last->outcome) {
	case ACTION_DONE:
		return "NotVerified";
	case ACTION_FAILED:
		return "RecoveryFailed";
	case ACTION_DRY_RUN:
		return "DryRun";
	case ACTION_REFUSED:
		return "Refused";
	case ACTION_PENDING:
	case ACTION_UNKNOWN:
		break;
	}
	return "OutcomeUnknown";
}

/* How it went is the last line of status.message. */
static int add_result(struct handling *handling, const struct buffer *text)
{
	_cleanup_free_ char *line = NULL;

	if (asprintf(&line, "Result: %s", buffer_text(text)) < 0)
		return -ENOMEM;
	return handling_add_message(handling, line);
}

/* The buffers' caps only shorten these texts, so their errors are nothing to act on. */
static int end_not_recovered(struct handling *handling)
{
	_cleanup_buffer_ struct buffer text = BUFFER(TEXT_MAXIMUM);
	const struct list *actions = &handling->abnormal->status.actions;
	const struct action *items = actions->items;

	for (size_t i = 0; i < actions->count; i++) {
		buffer_append_text(&text, i ? "; " : "");
		tell_action(&items[i], &text);
	}
	if (!actions->count && json_at(handling->abnormal->status.context, CONTEXT_RECOVERY_ERRORS))
		buffer_append_text(&text, "the recoverers that were asked failed "
					  "(status.context." CONTEXT_RECOVERY_ERRORS ")");
	else if (!actions->count)
		buffer_append_text(&text,
				   "no recoverer that is enabled on this node takes this fault");
	for (size_t i = 0; i < handling->declined.count; i++)
		buffer_printf(&text, "; %s", handling->declined.items[i]);
	buffer_append_text(&text, ". It is left to a person.");
	if (add_result(handling, &text) < 0)
		return -ENOMEM;
	return handling_take(handling, TRANSITION_NOT_RECOVERED, reason_not_recovered(handling),
			     buffer_text(&text));
}

static int end_dry_run(struct handling *handling)
{
	_cleanup_buffer_ struct buffer text = BUFFER(TEXT_MAXIMUM);
	const struct action *action = journal_last(handling);

	buffer_printf(&text, "dry run; %s would have acted on %s, and nothing was done.",
		      action->recoverer, action->target);
	if (add_result(handling, &text) < 0)
		return -ENOMEM;
	return handling_take(handling, TRANSITION_NOT_RECOVERED, "DryRun", buffer_text(&text));
}

static int end_recovered(struct handling *handling)
{
	_cleanup_buffer_ struct buffer text = BUFFER(TEXT_MAXIMUM);
	const struct action *action = journal_last(handling);
	struct abnormal_status *status = &handling->abnormal->status;

	if (!status->recoverer)
		status->recoverer = schema_new(&object_reference_schema);
	if (!status->recoverer || string_set(&status->recoverer->name, action->recoverer) < 0)
		return -ENOMEM;
	status->recoverable = true;
	buffer_printf(&text, "%s (%s, verified).",
		      action->message ? action->message : "the fault is gone", action->recoverer);
	if (add_result(handling, &text) < 0)
		return -ENOMEM;
	return handling_take(handling, TRANSITION_RECOVERED, "Verified", buffer_text(&text));
}

/* --- The chain --- */

static bool was_tried(const struct handling *handling, const char *recoverer)
{
	const struct list *actions = &handling->abnormal->status.actions;
	const struct action *items = actions->items;

	for (size_t i = 0; i < actions->count; i++)
		if (streq_ptr(items[i].recoverer, recoverer))
			return true;
	return false;
}

static int try_next(struct handling *handling)
{
	if (handling->cleared)
		return handling_take_cleared(handling);
	while (handling->chain_index < handling->chain_count) {
		struct plugin_entry *entry = handling->chain[handling->chain_index++];

		if (!was_tried(handling, entry->name))
			return recovery_attempt(handling, entry);
	}
	return end_not_recovered(handling);
}

int recoverer_chain_go_on(struct handling *handling, enum attempt_end end)
{
	switch (end) {
	case ATTEMPT_VERIFIED:
		return end_recovered(handling);
	case ATTEMPT_DRY_RUN:
		return end_dry_run(handling);
	case ATTEMPT_NOT_MINE:
		return try_next(handling);
	case ATTEMPT_REFUSED:
	case ATTEMPT_FAILED:
	case ATTEMPT_NOT_VERIFIED:
		break;
	}
	return handling_commit(handling, NULL, try_next);
}

int recoverer_chain_run(struct handling *handling)
{
	const struct action *last = journal_last(handling);
	int r;

	handling_chain_free(handling);
	cJSON_DeleteItemFromObjectCaseSensitive(handling->abnormal->status.context,
						CONTEXT_RECOVERY_ERRORS);
	r = registry_chain(handling->pipeline->options.registry, PLUGIN_RECOVERER,
			   handling->abnormal, &handling->chain, &handling->chain_count,
			   &handling->missing);
	for (size_t i = 0; i < handling->missing.count && r == 0; i++)
		r = handling_note_error(
			handling, CONTEXT_RECOVERY_ERRORS, "recoverer", handling->missing.items[i],
			"is assigned, but no such recoverer is known and enabled on this node");
	if (r < 0)
		return r;
	if (last && last->outcome == ACTION_PENDING)
		return recovery_take_up(handling);
	if (last && last->outcome == ACTION_DONE && last->verification == VERIFICATION_NONE)
		return recovery_verify_again(handling);
	return try_next(handling);
}
