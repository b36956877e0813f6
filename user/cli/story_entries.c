/* SPDX-License-Identifier: Apache-2.0 */
/* One function a kind of event: seen, collected, concluded, done, ended, seen again. */
#include "cli/story_entries.h"

#include <errno.h>

#include "cli/evidence.h"

#define ENTRY_BYTES_MAX ((size_t)16 * KIB)

void story_clear(struct story *story)
{
	for (size_t i = 0; i < story->count; i++)
		free(story->entries[i].text);
}

int64_t story_time_of(const cJSON *object, const char *member)
{
	const char *text = json_string(object, member);
	int64_t time;

	return text && time_parse(text, &time) == 0 ? time : TIME_ABSENT;
}

const cJSON *story_condition(const struct story *story, const char *type)
{
	const cJSON *condition;

	cJSON_ArrayForEach (condition, json_at(story->status, "conditions")) {
		if (streq_ptr(json_string(condition, "type"), type))
			return condition;
	}
	return NULL;
}

bool story_condition_is(const cJSON *condition, const char *status)
{
	return condition && streq_ptr(json_string(condition, "status"), status);
}

bool story_is_final(const struct story *story)
{
	return streq(story->phase, "Succeeded") || streq(story->phase, "Failed");
}

/* Takes what TEXT holds. An entry without a time comes where the ones before it are. */
static int entry_add(struct story *story, int64_t time, const char *word, enum colour colour,
		     struct buffer *text)
{
	if (story->count == ENTRIES_MAX)
		return 0;
	if (time == TIME_ABSENT)
		time = story->count ? story->entries[story->count - 1].time : story->start;
	char *taken = buffer_take(text);
	if (!taken)
		return -ENOMEM;
	story->entries[story->count] = (struct entry){
		.time = time, .order = story->count, .word = word, .colour = colour, .text = taken};
	story->count++;
	return 0;
}

static int compare_entries(const void *a, const void *b)
{
	const struct entry *left = a, *right = b;

	if (left->time != right->time)
		return left->time < right->time ? -1 : 1;
	return left->order < right->order ? -1 : 1;
}

static int add_sighting(struct story *story)
{
	_cleanup_buffer_ struct buffer text = BUFFER(ENTRY_BYTES_MAX);

	int r = story_append_sighting(&text, story->abnormal);
	return r == 0 || r == -ENOBUFS
		       ? entry_add(story, story->start, "seen", COLOUR_ACCENT, &text)
		       : r;
}

static int add_repeats(struct story *story)
{
	const cJSON *occurrences = json_at(story->status, "occurrences");
	_cleanup_buffer_ struct buffer text = BUFFER(ENTRY_BYTES_MAX);
	double count = json_number(occurrences, "count", 1);

	if (count < 2)
		return 0;
	int r = buffer_printf(&text, "%.0f times in all", count);
	return r == 0 ? entry_add(story, story_time_of(occurrences, "lastTime"), "seen again",
				  COLOUR_ACCENT, &text)
		      : r;
}

/* "kernel-log (28ms)", after a comma if it is not the first. */
static int append_duration(struct buffer *text, const char *collector, const char *duration)
{
	char shown[TIME_TEXT_SIZE];
	uint64_t ns;

	int r = buffer_printf(text, "%s%s", text->length ? ", " : "", collector);
	if (r == 0 && duration && duration_parse(duration, &ns) == 0)
		r = buffer_printf(text, " (%s)", duration_format(ns, shown));
	return r;
}

static int append_information(struct buffer *collected, struct buffer *failed,
			      const cJSON *information)
{
	const char *state = json_string(information, "state"),
		   *reason = json_string(information, "reason");
	const char *collector = json_string(information, "collector"),
		   *duration = json_string(information, "duration");

	if (streq_ptr(state, "Collected"))
		return append_duration(collected, collector ? collector : "?", duration);
	/* A collector that has nothing to do with this fault is no news. */
	if (streq_ptr(state, "Skipped"))
		return 0;
	return buffer_printf(failed, "\n%s failed: %s", collector ? collector : "?",
			     reason ? reason : "no reason given");
}

static int add_information(struct story *story)
{
	const cJSON *condition = story_condition(story, "InformationCollected"), *information;
	_cleanup_buffer_ struct buffer collected = BUFFER(ENTRY_BYTES_MAX),
				       failed = BUFFER(ENTRY_BYTES_MAX);
	int64_t time = story_time_of(condition, "lastTransitionTime");
	int r = 0;

	cJSON_ArrayForEach (information, json_at(story->status, "information")) {
		if (r == 0)
			r = append_information(&collected, &failed, information);
		if (time == TIME_ABSENT)
			time = story_time_of(information, "startTime");
	}
	if (r < 0 && r != -ENOBUFS)
		return r;
	if (!collected.length && !failed.length && !condition)
		return 0;
	if (!collected.length)
		r = buffer_append_text(&collected, "nothing");
	r = buffer_append_text(&collected, buffer_text(&failed));
	cJSON_ArrayForEach (information, json_at(story->status, "information")) {
		const char *collector = json_string(information, "collector");

		if (r == 0 && collector &&
		    streq_ptr(json_string(information, "state"), "Collected"))
			r = evidence_append(&collected, story->status, collector);
	}
	if (r == 0 || r == -ENOBUFS)
		r = entry_add(story, time, "collected", COLOUR_ACCENT, &collected);
	return r;
}

/* What the cause says already is not said again. */
static bool told_as_cause(const struct story *story, const char *message)
{
	const char *cause = json_string(story->status, "message");

	return !*message || (cause && strstr(cause, message));
}

static int add_conclusion(struct story *story)
{
	const cJSON *condition = story_condition(story, "Identified");
	const char *diagnoser = json_string(json_at(story->status, "diagnoser"), "name");
	const char *message = json_string(condition, "message"),
		   *reason = json_string(condition, "reason");
	_cleanup_buffer_ struct buffer text = BUFFER(ENTRY_BYTES_MAX);
	int r;

	if (!condition)
		return 0;
	bool known = story_condition_is(condition, "True");
	/* status.reason is of the end; what was concluded may have been something else. */
	if (!reason || !*reason)
		reason = *story->reason ? story->reason : "recognised";
	if (known)
		r = buffer_printf(&text, "%s%s%s", reason, diagnoser ? ", by the diagnoser " : "",
				  diagnoser ? diagnoser : "");
	else
		r = buffer_append_text(&text, "no diagnoser recognised it");
	if (r == 0 && message && !told_as_cause(story, message))
		r = buffer_printf(&text, "\n%s", message);
	if (r == 0 && known && diagnoser)
		r = evidence_append(&text, story->status, diagnoser);
	if (r == 0 || r == -ENOBUFS)
		r = entry_add(story, story_time_of(condition, "lastTransitionTime"), "concluded",
			      known ? COLOUR_ACCENT : COLOUR_BAD, &text);
	return r;
}

static const struct {
	const char *outcome, *word;
	enum colour colour;
} outcomes[] = {
	{"Done", "done", COLOUR_GOOD},	    {"Failed", "tried", COLOUR_BAD},
	{"DryRun", "dry run", COLOUR_BUSY}, {"Refused", "not done", COLOUR_BUSY},
	{"Unknown", "unclear", COLOUR_BAD},
};

static int add_action(struct story *story, const cJSON *action)
{
	const char *outcome = json_string(action, "outcome"),
		   *verification = json_string(action, "verification");
	const char *recoverer = json_string(action, "recoverer"),
		   *target = json_string(action, "target");
	const char *message = json_string(action, "message"), *word = "doing";
	int64_t begin = story_time_of(action, "intentTime"),
		end = story_time_of(action, "finishTime");
	_cleanup_buffer_ struct buffer text = BUFFER(ENTRY_BYTES_MAX);
	enum colour colour = COLOUR_BUSY;
	char time[TIME_TEXT_SIZE];

	for (size_t i = 0; outcome && i < ARRAY_SIZE(outcomes); i++)
		if (streq(outcomes[i].outcome, outcome)) {
			word = outcomes[i].word;
			colour = outcomes[i].colour;
		}
	int r = buffer_printf(&text, "%s%s%s", recoverer ? recoverer : "?", target ? ": " : "",
			      target ? target : "");
	if (r == 0 && streq_ptr(outcome, "Failed"))
		r = buffer_append_text(&text, "; it failed");
	if (r == 0 && message && !told_as_cause(story, message))
		r = buffer_printf(&text, "\n%s", message);
	if (r == 0 && recoverer)
		r = evidence_append(&text, story->status, recoverer);
	if (r == 0 && verification && *verification)
		r = buffer_append_text(&text, streq(verification, "Verified")
						      ? "\nverified: the fault is gone"
						      : "\nnot verified: the fault is still there");
	if (r == 0 && begin != TIME_ABSENT && end != TIME_ABSENT &&
	    end - begin >= (int64_t)NS_PER_MS)
		r = buffer_printf(&text, "%s%s",
				  verification && *verification ? ", after " : "\ntook ",
				  duration_format((uint64_t)(end - begin), time));
	return r == 0 || r == -ENOBUFS ? entry_add(story, begin, word, colour, &text) : r;
}

static int add_actions(struct story *story)
{
	const cJSON *action;
	int r = 0;

	cJSON_ArrayForEach (action, json_at(story->status, "actions")) {
		r = r == 0 ? add_action(story, action) : r;
	}
	return r;
}

/* The last step into the final phase, from the history or else from the conditions. */
static int64_t end_time(const struct story *story)
{
	const cJSON *item;
	int64_t latest = TIME_ABSENT;

	cJSON_ArrayForEach (item, story->history) {
		if (streq_ptr(json_string(item, "to"), story->phase) &&
		    !streq_ptr(json_string(item, "from"), story->phase))
			latest = story_time_of(item, "time");
	}
	if (latest != TIME_ABSENT)
		return latest;
	cJSON_ArrayForEach (item, json_at(story->status, "conditions")) {
		int64_t time = story_time_of(item, "lastTransitionTime");

		latest = MAX(latest, time);
	}
	return latest;
}

static int add_cleared(struct story *story)
{
	_cleanup_buffer_ struct buffer text = BUFFER(ENTRY_BYTES_MAX);

	if (story->cleared == TIME_ABSENT)
		return 0;
	int r = buffer_append_text(&text, "the detector no longer sees the fault");
	return r == 0 ? entry_add(story, story->cleared, "cleared", COLOUR_GOOD, &text) : r;
}

static int add_end(struct story *story)
{
	const cJSON *recovered = story_condition(story, "Recovered");
	const char *reason = json_string(recovered, "reason"),
		   *message = json_string(recovered, "message");
	_cleanup_buffer_ struct buffer text = BUFFER(ENTRY_BYTES_MAX);
	bool good = streq(story->phase, "Succeeded");
	int64_t time = story->end;
	char after[TIME_TEXT_SIZE];
	int r = 0;

	if (!story_is_final(story))
		return 0;
	if (!reason || !*reason)
		reason = story->reason;
	if (*reason)
		r = buffer_append_text(&text, reason);
	if (r == 0 && time_between(story->start, time) > 0)
		r = buffer_printf(&text, "%s%s after it was first seen", *reason ? ", " : "",
				  duration_format(time_between(story->start, time), after));
	if (r == 0 && message && !told_as_cause(story, message))
		r = buffer_printf(&text, "%s%s", text.length ? "\n" : "", message);
	return r == 0 || r == -ENOBUFS ? entry_add(story, time, good ? "succeeded" : "failed",
						   phase_colour(story->phase), &text)
				       : r;
}

int story_build(struct story *story)
{
	int (*const steps[])(struct story *) = {add_sighting, add_information, add_conclusion,
						add_actions,  add_end,	       add_cleared,
						add_repeats};
	int64_t last = story_time_of(json_at(story->status, "occurrences"), "lastTime");

	story->end = story_is_final(story) ? end_time(story) : TIME_ABSENT;
	story->cleared = story_time_of(json_at(story->status, "context.cleared"), "time");
	story->seen_since = story->end != TIME_ABSENT && last > story->end && last > story->cleared;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		int r = steps[i](story);
		if (r < 0)
			return r;
	}
	qsort(story->entries, story->count, sizeof(*story->entries), compare_entries);
	return 0;
}
