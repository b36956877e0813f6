/* SPDX-License-Identifier: Apache-2.0 */
#include "chain/journal.h"

#include "base/utf8.h"

/* Of what a recoverer says at once: a whole journal must fit into an Abnormal. */
#define WORDS_BYTES_MAX ((size_t)2048)

static int64_t now_realtime(const struct handling *handling)
{
	return clock_realtime(handling->pipeline->options.clock);
}

struct action *journal_last(const struct handling *handling)
{
	const struct list *actions = &handling->abnormal->status.actions;

	return actions->count ? (struct action *)actions->items + actions->count - 1 : NULL;
}

const char *journal_target(const struct handling *handling)
{
	const cJSON *plan = cJSON_GetObjectItemCaseSensitive(handling->abnormal->status.context,
							     handling->recoverer->name);
	const char *target = json_string(plan, "target");

	return target ? target : handling->subject;
}

int journal_append(struct handling *handling, enum action_outcome outcome, const char *words)
{
	struct action *action = list_append(&handling->abnormal->status.actions, &action_schema);

	if (!action)
		return -ENOMEM;
	action->outcome = (int)outcome;
	action->intent_time = now_realtime(handling);
	if (outcome != ACTION_PENDING)
		action->finish_time = action->intent_time;
	if (string_set(&action->recoverer, handling->recoverer->name) < 0 ||
	    string_set(&action->target, journal_target(handling)) < 0 ||
	    journal_say(action, words) < 0) {
		journal_take_back(handling);
		return -ENOMEM;
	}
	return 0;
}

void journal_take_back(struct handling *handling)
{
	schema_clear(&action_schema, journal_last(handling));
	handling->abnormal->status.actions.count--;
}

int journal_finish(struct handling *handling, enum action_outcome outcome, const char *words)
{
	struct action *action = journal_last(handling);

	action->outcome = (int)outcome;
	action->finish_time = now_realtime(handling);
	if (outcome == ACTION_DONE && !plugin_entry_only_confirms(handling->recoverer))
		handling->pipeline->counts.actions_done++;
	else if (outcome == ACTION_FAILED)
		handling->pipeline->counts.actions_failed++;
	return journal_say(action, words);
}

int journal_say(struct action *action, const char *words)
{
	char *both, text[WORDS_BYTES_MAX];

	if (!words || !*words || streq_ptr(action->message, words))
		return 0;
	utf8_copy(text, sizeof(text), words);
	if (!action->message)
		return string_set(&action->message, text);
	if (asprintf(&both, "%s; %s", action->message, text) < 0)
		return -ENOMEM;
	free(action->message);
	action->message = both;
	return 0;
}
