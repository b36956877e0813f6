/* SPDX-License-Identifier: Apache-2.0 */
/* The story: head, cause, events in the order of time, evidence, what to do next. */
#include "cli/story.h"

#include <errno.h>

#include "cli/cli.h"
#include "cli/rows.h"
#include "core/abnormal.h"

#define ENTRIES_MAX 256
#define ENTRY_BYTES_MAX ((size_t)16 * KIB)
#define HEAD_COLUMN 10
#define WORD_COLUMN 12
#define TEXT_COLUMN 24

struct entry {
	int64_t time;
	size_t order; /* among those of one time */
	const char *word;
	enum colour colour;
	char *text; /* several lines are fine */
};

struct story {
	const struct terminal *terminal;
	const cJSON *abnormal, *spec, *status, *history;
	const char *name, *namespace, *phase, *reason;
	int64_t start, now;
	struct entry entries[ENTRIES_MAX];
	size_t count;
};

static void story_clear(struct story *story)
{
	for (size_t i = 0; i < story->count; i++)
		free(story->entries[i].text);
}

static int64_t time_of(const cJSON *object, const char *member)
{
	const char *text = json_string(object, member);
	int64_t time;

	return text && time_parse(text, &time) == 0 ? time : TIME_ABSENT;
}

static const cJSON *condition_of(const struct story *story, const char *type)
{
	const cJSON *condition;

	cJSON_ArrayForEach(condition, json_at(story->status, "conditions"))
	{
		if (streq_ptr(json_string(condition, "type"), type))
			return condition;
	}
	return NULL;
}

static bool condition_is(const cJSON *condition, const char *status)
{
	return condition && streq_ptr(json_string(condition, "status"), status);
}

static bool is_final(const struct story *story)
{
	return streq(story->phase, "Succeeded") || streq(story->phase, "Failed");
}

/* Takes what TEXT holds. An entry without a time comes where the ones before it are. */
static int entry_add(struct story *story, int64_t time, const char *word, enum colour colour, struct buffer *text)
{
	if (story->count == ENTRIES_MAX)
		return 0;
	if (time == TIME_ABSENT)
		time = story->count ? story->entries[story->count - 1].time : story->start;
	char *taken = buffer_take(text);
	if (!taken)
		return -ENOMEM;
	story->entries[story->count] =
		(struct entry){.time = time, .order = story->count, .word = word, .colour = colour, .text = taken};
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

/* --- What happened --- */

static int add_sighting(struct story *story)
{
	_cleanup_buffer_ struct buffer text = BUFFER(ENTRY_BYTES_MAX);

	int r = story_append_sighting(&text, story->abnormal);
	return r == 0 || r == -ENOBUFS ? entry_add(story, story->start, "seen", COLOUR_ACCENT, &text) : r;
}

static int add_repeats(struct story *story)
{
	const cJSON *occurrences = json_at(story->status, "occurrences");
	_cleanup_buffer_ struct buffer text = BUFFER(ENTRY_BYTES_MAX);
	double count = json_number(occurrences, "count", 1);

	if (count < 2)
		return 0;
	int r = buffer_printf(&text, "%.0f times in all", count);
	return r == 0 ? entry_add(story, time_of(occurrences, "lastTime"), "seen again", COLOUR_ACCENT, &text) : r;
}

static int append_information(struct buffer *collected, struct buffer *failed, const cJSON *information)
{
	const char *state = json_string(information, "state"), *reason = json_string(information, "reason");
	const char *collector = json_string(information, "collector"), *duration = json_string(information, "duration");

	if (streq_ptr(state, "Collected"))
		return buffer_printf(collected, "%s%s%s%s%s", collected->length ? ", " : "", collector ? collector : "?",
				     duration ? " (" : "", duration ? duration : "", duration ? ")" : "");
	return buffer_printf(failed, "\n%s %s: %s", collector ? collector : "?",
			     streq_ptr(state, "Skipped") ? "was skipped" : "failed", reason ? reason : "no reason given");
}

static int add_information(struct story *story)
{
	const cJSON *condition = condition_of(story, "InformationCollected"), *information;
	_cleanup_buffer_ struct buffer collected = BUFFER(ENTRY_BYTES_MAX), failed = BUFFER(ENTRY_BYTES_MAX);
	int64_t time = time_of(condition, "lastTransitionTime");
	int r = 0;

	cJSON_ArrayForEach(information, json_at(story->status, "information"))
	{
		if (r == 0)
			r = append_information(&collected, &failed, information);
		if (time == TIME_ABSENT)
			time = time_of(information, "startTime");
	}
	if (r < 0 && r != -ENOBUFS)
		return r;
	if (!collected.length && !failed.length && !condition)
		return 0;
	if (!collected.length)
		r = buffer_append_text(&collected, "nothing");
	r = buffer_append_text(&collected, buffer_text(&failed));
	if (r == 0 || r == -ENOBUFS)
		r = entry_add(story, time, "collected", COLOUR_ACCENT, &collected);
	return r;
}

static int add_conclusion(struct story *story)
{
	const cJSON *condition = condition_of(story, "Identified");
	const char *diagnoser = json_string(json_at(story->status, "diagnoser"), "name");
	const char *message = json_string(condition, "message");
	_cleanup_buffer_ struct buffer text = BUFFER(ENTRY_BYTES_MAX);
	int r;

	if (!condition)
		return 0;
	bool known = condition_is(condition, "True");
	if (known)
		r = buffer_printf(&text, "%s%s%s", *story->reason ? story->reason : "recognised",
				  diagnoser ? ", by the diagnoser " : "", diagnoser ? diagnoser : "");
	else
		r = buffer_append_text(&text, "no diagnoser recognised it");
	if (r == 0 && message && *message && !streq_ptr(message, json_string(story->status, "message")))
		r = buffer_printf(&text, "\n%s", message);
	if (r == 0 || r == -ENOBUFS)
		r = entry_add(story, time_of(condition, "lastTransitionTime"), "concluded",
			      known ? COLOUR_ACCENT : COLOUR_BAD, &text);
	return r;
}

static const struct {
	const char *outcome, *word;
	enum colour colour;
} outcomes[] = {
	{"Done", "done", COLOUR_GOOD},	     {"Failed", "tried", COLOUR_BAD},	{"DryRun", "dry run", COLOUR_BUSY},
	{"Refused", "not done", COLOUR_BUSY}, {"Unknown", "unclear", COLOUR_BAD},
};

static int add_action(struct story *story, const cJSON *action)
{
	const char *outcome = json_string(action, "outcome"), *verification = json_string(action, "verification");
	const char *recoverer = json_string(action, "recoverer"), *target = json_string(action, "target");
	const char *message = json_string(action, "message"), *word = "doing";
	int64_t begin = time_of(action, "intentTime"), end = time_of(action, "finishTime");
	_cleanup_buffer_ struct buffer text = BUFFER(ENTRY_BYTES_MAX);
	enum colour colour = COLOUR_BUSY;
	char time[TIME_TEXT_SIZE];

	for (size_t i = 0; outcome && i < ARRAY_SIZE(outcomes); i++)
		if (streq(outcomes[i].outcome, outcome)) {
			word = outcomes[i].word;
			colour = outcomes[i].colour;
		}
	int r = buffer_printf(&text, "%s%s%s", recoverer ? recoverer : "?", target ? ": " : "", target ? target : "");
	if (r == 0 && streq_ptr(outcome, "Failed"))
		r = buffer_append_text(&text, "; it failed");
	if (r == 0 && message && *message)
		r = buffer_printf(&text, "\n%s", message);
	if (r == 0 && begin != TIME_ABSENT && end != TIME_ABSENT && end >= begin)
		r = buffer_printf(&text, "\ntook %s", duration_format((uint64_t)(end - begin), time));
	if (r == 0 && verification && *verification)
		r = buffer_append_text(&text, streq(verification, "Verified") ? "; verified: the fault is gone"
									      : "; not verified: the fault is still there");
	return r == 0 || r == -ENOBUFS ? entry_add(story, begin, word, colour, &text) : r;
}

static int add_actions(struct story *story)
{
	const cJSON *action;
	int r = 0;

	cJSON_ArrayForEach(action, json_at(story->status, "actions"))
	{
		r = r == 0 ? add_action(story, action) : r;
	}
	return r;
}

/* The last step into the final phase, from the history or else from the conditions. */
static int64_t end_time(const struct story *story)
{
	const cJSON *item;
	int64_t latest = TIME_ABSENT;

	cJSON_ArrayForEach(item, story->history)
	{
		if (streq_ptr(json_string(item, "to"), story->phase) && !streq_ptr(json_string(item, "from"), story->phase))
			latest = time_of(item, "time");
	}
	if (latest != TIME_ABSENT)
		return latest;
	cJSON_ArrayForEach(item, json_at(story->status, "conditions"))
	{
		int64_t time = time_of(item, "lastTransitionTime");

		latest = MAX(latest, time);
	}
	return latest;
}

static int add_end(struct story *story)
{
	const cJSON *recovered = condition_of(story, "Recovered");
	const char *reason = json_string(recovered, "reason"), *message = json_string(recovered, "message");
	_cleanup_buffer_ struct buffer text = BUFFER(ENTRY_BYTES_MAX);
	bool good = streq(story->phase, "Succeeded");
	int64_t time = end_time(story);
	char after[TIME_TEXT_SIZE];

	if (!is_final(story))
		return 0;
	int r = buffer_append_text(&text, reason && *reason ? reason : *story->reason ? story->reason : story->phase);
	if (r == 0 && message && *message)
		r = buffer_printf(&text, ": %s", message);
	if (r == 0 && time > story->start)
		r = buffer_printf(&text, "\n%s after it was first seen",
				  duration_format((uint64_t)(time - story->start), after));
	return r == 0 || r == -ENOBUFS
		       ? entry_add(story, time, good ? "succeeded" : "failed", phase_colour(story->phase), &text)
		       : r;
}

/* --- Printing --- */

static void print_head(const struct story *story, const char *title, enum colour colour, const char *text)
{
	const struct terminal *terminal = story->terminal;

	terminal_text(terminal, COLOUR_DIM, title);
	fprintf(terminal->out, "%*s", (int)(HEAD_COLUMN - strlen(title)), "");
	terminal_wrap(terminal, colour, HEAD_COLUMN, text);
}

static void print_title(const struct story *story, const char *title)
{
	fputc('\n', story->terminal->out);
	terminal_text(story->terminal, COLOUR_BOLD, title);
	fputc('\n', story->terminal->out);
}

static void print_heads(const struct story *story)
{
	const char *subject = json_string(json_at(story->abnormal, "metadata.annotations"), ANNOTATION_SUBJECT);
	const cJSON *occurrences = json_at(story->status, "occurrences");
	const char *last = json_string(occurrences, "lastTime"), *node = json_string(story->spec, "nodeName");
	double count = json_number(occurrences, "count", 1);
	char line[512], first_age[TIME_TEXT_SIZE], last_age[TIME_TEXT_SIZE];

	snprintf(line, sizeof(line), "%s/%s", story->namespace, story->name);
	print_head(story, "Abnormal", COLOUR_BOLD, line);
	snprintf(line, sizeof(line), "%s%s%s", *story->phase ? story->phase : "Created", *story->reason ? ": " : "",
		 story->reason);
	print_head(story, "Phase", phase_colour(story->phase), line);
	if (subject)
		print_head(story, "Subject", COLOUR_NONE, subject);
	duration_format(story->now > story->start ? (uint64_t)(story->now - story->start) : 0, first_age);
	age_format(last, story->now, last_age);
	if (count > 1)
		snprintf(line, sizeof(line), "%.0f times, first %s and last %s ago%s%s", count, first_age, last_age,
			 node ? ", on " : "", node ? node : "");
	else
		snprintf(line, sizeof(line), "once, %s ago%s%s", first_age, node ? ", on " : "", node ? node : "");
	print_head(story, "Seen", COLOUR_NONE, line);
}

static void print_cause(const struct story *story)
{
	const char *message = json_string(story->status, "message");

	print_title(story, "Cause");
	fputs("  ", story->terminal->out);
	if (message && *message)
		terminal_wrap(story->terminal, COLOUR_NONE, 2, message);
	else
		terminal_wrap(story->terminal, COLOUR_DIM, 2,
			      is_final(story) ? "Not known: no diagnoser recognised this fault."
					      : "Not known yet: it is being looked into.");
}

/* "17:45:01Z" for the first, "+1.2s" for the others. */
static void entry_time(const struct story *story, const struct entry *entry, bool first, char text[TIME_TEXT_SIZE + 1])
{
	char whole[TIME_TEXT_SIZE];
	int64_t since = entry->time - story->start;

	if (first || since < 0) {
		time_format(entry->time - entry->time % (int64_t)NS_PER_S, whole);
		snprintf(text, TIME_TEXT_SIZE + 1, "%s", strchr(whole, 'T') + 1);
	} else if (since < (int64_t)NS_PER_S || since >= 60 * (int64_t)NS_PER_S) {
		duration_format((uint64_t)since, whole);
		snprintf(text, TIME_TEXT_SIZE + 1, "+%s", whole);
	} else {
		snprintf(text, TIME_TEXT_SIZE + 1, "+%.1fs", (double)since / 1e9);
	}
}

static void print_entries(struct story *story)
{
	const struct terminal *terminal = story->terminal;
	char text[TIME_TEXT_SIZE + 1];

	qsort(story->entries, story->count, sizeof(*story->entries), compare_entries);
	print_title(story, "Story");
	for (size_t i = 0; i < story->count; i++) {
		const struct entry *entry = &story->entries[i];

		entry_time(story, entry, i == 0, text);
		fprintf(terminal->out, "%s%*s%s  ", terminal_paint(terminal, COLOUR_DIM), WORD_COLUMN - 2, text,
			terminal_paint(terminal, COLOUR_NONE));
		terminal_text(terminal, entry->colour, entry->word);
		fprintf(terminal->out, "%*s", (int)(TEXT_COLUMN - WORD_COLUMN - strlen(entry->word)), "");
		terminal_wrap(terminal, COLOUR_NONE, TEXT_COLUMN, entry->text);
	}
}

static void print_evidence(const struct story *story)
{
	const struct terminal *terminal = story->terminal;
	const cJSON *information, *artifact;
	bool titled = false;
	char bytes[BYTES_TEXT_SIZE];

	cJSON_ArrayForEach(information, json_at(story->status, "information"))
	{
		cJSON_ArrayForEach(artifact, json_at(information, "artifacts"))
		{
			const char *path = json_string(artifact, "path");

			if (!titled)
				print_title(story, "Evidence");
			titled = true;
			fprintf(terminal->out, "  %8s  ", bytes_format(json_number(artifact, "bytes", 0), bytes));
			terminal_text(terminal, COLOUR_NONE, path ? path : "?");
			fputc('\n', terminal->out);
		}
	}
}

static bool acted(const struct story *story)
{
	const cJSON *action;

	cJSON_ArrayForEach(action, json_at(story->status, "actions"))
	{
		const char *outcome = json_string(action, "outcome");

		if (outcome && (streq(outcome, "Done") || streq(outcome, "Failed") || streq(outcome, "Unknown")))
			return true;
	}
	return false;
}

static void print_advice(const struct story *story, const char *text)
{
	fputs("  ", story->terminal->out);
	terminal_wrap(story->terminal, COLOUR_NONE, 2, text);
}

static void print_command(const struct story *story, const char *format, const char *comment)
{
	const struct terminal *terminal = story->terminal;
	char name[300], line[512];

	snprintf(name, sizeof(name), "%s%s%s", story->name, streq(story->namespace, "default") ? "" : " -n ",
		 streq(story->namespace, "default") ? "" : story->namespace);
	snprintf(line, sizeof(line), "%s%s", format, name);
	fputs("    ", terminal->out);
	terminal_text(terminal, COLOUR_ACCENT, line);
	fprintf(terminal->out, "  ");
	terminal_text(terminal, COLOUR_DIM, comment);
	fputc('\n', terminal->out);
}

static void print_next(const struct story *story)
{
	const cJSON *identified = condition_of(story, "Identified");

	print_title(story, "Next");
	if (!is_final(story)) {
		print_advice(story, "It is being handled. To follow it:");
		print_command(story, "lifeboat get abnormals -w ", "");
		return;
	}
	if (streq(story->phase, "Succeeded")) {
		print_advice(story, streq(story->reason, "RecoverySkipped")
					    ? "Nothing was repaired, as spec.skipRecovery asks: the cause above is for you."
					    : "Nothing has to be done now: the fault is over.");
	} else if (!condition_is(identified, "True")) {
		print_advice(story, "A person has to look: nothing here knows this fault. What was collected is above and in:");
		print_command(story, "lifeboat get -o yaml abnormal ", "# all of it");
		print_command(story, "lifeboat collect host --abnormal ", "# or another collector");
		return;
	} else if (acted(story)) {
		print_advice(story, "A person has to act: the repair above was tried and did not help. After it:");
		print_command(story, "lifeboat delete abnormal ", "# so that it is seen anew");
	} else {
		print_advice(story, "A person has to act: nothing was repaired. `lifeboat get recoverers` shows which "
				    "repairs are off; to see what one would do, name it:");
		print_command(story, "lifeboat recover RECOVERER --dry-run --abnormal ", "");
	}
	print_command(story, "lifeboat get -o yaml abnormal ", "# everything that is known");
}

int story_print(const struct terminal *terminal, const cJSON *abnormal, const cJSON *history, int64_t now_realtime_ns)
{
	_cleanup_(story_clear) struct story story = {
		.terminal = terminal,
		.abnormal = abnormal,
		.spec = json_at(abnormal, "spec"),
		.status = json_at(abnormal, "status"),
		.history = history,
		.now = now_realtime_ns,
		.name = object_name(abnormal),
	};
	const char *namespace = json_string(json_at(abnormal, "metadata"), "namespace");
	const char *phase = json_string(story.status, "phase"), *reason = json_string(story.status, "reason");

	story.namespace = namespace ? namespace : "default";
	story.phase = phase ? phase : "";
	story.reason = reason ? reason : "";
	story.start = time_of(json_at(story.status, "occurrences"), "firstTime");
	if (story.start == TIME_ABSENT)
		story.start = time_of(json_at(story.spec, "kernelEvent"), "time");
	if (story.start == TIME_ABSENT)
		story.start = time_of(json_at(abnormal, "metadata"), "creationTimestamp");
	if (story.start == TIME_ABSENT)
		story.start = now_realtime_ns;

	int (*const steps[])(struct story *) = {add_sighting,	add_information, add_conclusion,
						add_actions,	add_end,	 add_repeats};
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		int r = steps[i](&story);
		if (r < 0)
			return r;
	}
	print_heads(&story);
	print_cause(&story);
	print_entries(&story);
	print_evidence(&story);
	print_next(&story);
	return 0;
}
