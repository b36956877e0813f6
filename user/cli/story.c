/* SPDX-License-Identifier: Apache-2.0 */
/* The story on the screen: head, cause, events in the order of time, files, what to do next. */
#include "cli/cli.h"
#include "cli/rows.h"
#include "cli/story_entries.h"

#define HEAD_COLUMN 10
#define WORD_COLUMN 12
#define TEXT_COLUMN 24
#define LABEL_COLUMN 12
#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

static void print_head(const struct story *story, const char *title, enum colour colour,
		       const char *text)
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
	const char *subject =
		json_string(json_at(story->abnormal, "metadata.annotations"), ANNOTATION_SUBJECT);
	const cJSON *occurrences = json_at(story->status, "occurrences");
	const char *last = json_string(occurrences, "lastTime"),
		   *node = json_string(story->spec, "nodeName");
	double count = json_number(occurrences, "count", 1);
	char line[512], first_age[TIME_TEXT_SIZE], last_age[TIME_TEXT_SIZE];

	snprintf(line, sizeof(line), "%s/%s", story->namespace, story->name);
	print_head(story, "Abnormal", COLOUR_BOLD, line);
	snprintf(line, sizeof(line), "%s%s%s", *story->phase ? story->phase : "Created",
		 *story->reason ? ": " : "", story->reason);
	print_head(story, "Phase", phase_colour(story->phase), line);
	if (subject)
		print_head(story, "Subject", COLOUR_NONE, subject);
	duration_format(time_between(story->start, story->now), first_age);
	age_format(last, story->now, last_age);
	if (count > 1)
		snprintf(line, sizeof(line), "%.0f times, first %s and last %s ago%s%s", count,
			 first_age, last_age, node ? ", on " : "", node ? node : "");
	else
		snprintf(line, sizeof(line), "once, %s ago%s%s", first_age, node ? ", on " : "",
			 node ? node : "");
	print_head(story, "Seen", COLOUR_NONE, line);
}

/* "Evidence: …", "Advice: …" get a margin of their own, for the eye to jump to. */
static void print_cause_line(const struct terminal *terminal, char *text)
{
	size_t label = strspn(text, LETTERS);

	fputs("  ", terminal->out);
	if (label < 3 || label > LABEL_COLUMN - 4 || !startswith(text + label, ": ")) {
		terminal_wrap(terminal, COLOUR_NONE, 2, text);
		return;
	}
	text[label] = '\0';
	terminal_text(terminal, COLOUR_ACCENT, text);
	fprintf(terminal->out, "%*s", (int)(LABEL_COLUMN - 2 - label), "");
	terminal_wrap(terminal, COLOUR_NONE, LABEL_COLUMN, text + label + 2);
}

static int print_cause(const struct story *story)
{
	const char *message = json_string(story->status, "message");
	_cleanup_free_ char *lines = strdup(message ? message : "");

	if (!lines)
		return -ENOMEM;
	print_title(story, "Cause");
	if (!*lines) {
		fputs("  ", story->terminal->out);
		terminal_wrap(story->terminal, COLOUR_DIM, 2,
			      story_is_final(story)
				      ? "Not known: no diagnoser recognised this fault."
				      : "Not known yet: it is being looked into.");
		return 0;
	}
	/* What a repair would do is no news once its result is told. */
	bool repaired = streq(story->phase, "Succeeded") && strstr(lines, "\nResult: ");
	char *rest = lines;
	for (char *line; (line = strsep(&rest, "\n"));)
		if ((*line || rest) && (!repaired || !startswith(line, "Repair: ")))
			print_cause_line(story->terminal, line);
	return 0;
}

/* "17:45:01Z" for the first, "+1.2s" for the others. */
static void entry_time(const struct story *story, const struct entry *entry, bool first,
		       char text[TIME_TEXT_SIZE + 1])
{
	char whole[TIME_TEXT_SIZE];
	uint64_t since = time_between(story->start, entry->time);

	if (first || entry->time < story->start) {
		time_format(entry->time - entry->time % (int64_t)NS_PER_S, whole);
		snprintf(text, TIME_TEXT_SIZE + 1, "%s", strchr(whole, 'T') + 1);
	} else if (since < NS_PER_S || since >= 60 * NS_PER_S) {
		duration_format(since, whole);
		snprintf(text, TIME_TEXT_SIZE + 1, "+%s", whole);
	} else {
		snprintf(text, TIME_TEXT_SIZE + 1, "+%.1fs", (double)since / 1e9);
	}
}

static void print_entries(struct story *story)
{
	const struct terminal *terminal = story->terminal;
	char text[TIME_TEXT_SIZE + 1];

	print_title(story, "Story");
	for (size_t i = 0; i < story->count; i++) {
		const struct entry *entry = &story->entries[i];

		entry_time(story, entry, i == 0, text);
		fprintf(terminal->out, "%s%*s%s  ", terminal_paint(terminal, COLOUR_DIM),
			WORD_COLUMN - 2, text, terminal_paint(terminal, COLOUR_NONE));
		terminal_text(terminal, entry->colour, entry->word);
		fprintf(terminal->out, "%*s",
			(int)(TEXT_COLUMN - WORD_COLUMN - strlen(entry->word)), "");
		terminal_wrap(terminal, COLOUR_NONE, TEXT_COLUMN, entry->text);
	}
}

struct files {
	const char *folder; /* the first file's path, of which LENGTH bytes are the folder of all */
	size_t length, count;
};

static struct files files_measure(const struct story *story)
{
	const cJSON *information, *artifact;
	struct files files = {0};

	cJSON_ArrayForEach (information, json_at(story->status, "information")) {
		cJSON_ArrayForEach (artifact, json_at(information, "artifacts")) {
			const char *path = json_string(artifact, "path");
			size_t same = 0;

			if (!path)
				path = "";
			if (!files.count++) {
				files.folder = path;
				files.length = strlen(path);
			}
			while (same < files.length && path[same] == files.folder[same])
				same++;
			while (same && files.folder[same - 1] != '/')
				same--;
			files.length = same;
		}
	}
	return files;
}

/* The long way to them is the same for all, and told once. */
static int print_files(const struct story *story)
{
	const struct files files = files_measure(story);
	const struct terminal *terminal = story->terminal;
	const cJSON *information, *artifact;
	char bytes[BYTES_TEXT_SIZE];

	if (!files.count)
		return 0;
	print_title(story, "Files");
	if (files.length) {
		_cleanup_free_ char *folder = strndup(files.folder, files.length);

		if (!folder)
			return -ENOMEM;
		fputs("  ", terminal->out);
		terminal_text(terminal, COLOUR_NONE, folder);
		fputc('\n', terminal->out);
	}
	cJSON_ArrayForEach (information, json_at(story->status, "information")) {
		cJSON_ArrayForEach (artifact, json_at(information, "artifacts")) {
			const char *path = json_string(artifact, "path");

			fprintf(terminal->out, "  %8s  ",
				bytes_format(json_number(artifact, "bytes", 0), bytes));
			terminal_text(terminal, COLOUR_NONE, path ? path + files.length : "?");
			fputc('\n', terminal->out);
		}
	}
	return 0;
}

/* The last action that really was one, or NULL. */
static const cJSON *last_act(const struct story *story)
{
	const cJSON *action, *last = NULL;

	cJSON_ArrayForEach (action, json_at(story->status, "actions")) {
		const char *outcome = json_string(action, "outcome");

		if (outcome && (streq(outcome, "Done") || streq(outcome, "Failed") ||
				streq(outcome, "Unknown")))
			last = action;
	}
	return last;
}

/* The recoverer of the last action that ended with OUTCOME, or NULL. */
static const char *recoverer_that(const struct story *story, const char *outcome)
{
	const char *recoverer = NULL;
	const cJSON *action;

	cJSON_ArrayForEach (action, json_at(story->status, "actions"))
		if (streq_ptr(json_string(action, "outcome"), outcome))
			recoverer = json_string(action, "recoverer");
	return recoverer;
}

#define OFF_SHOWN 3

/* An empty list stands for all. */
static bool lists(const cJSON *names, const char *name)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, names)
		if (streq_ptr(cJSON_GetStringValue(item), name))
			return true;
	return cJSON_GetArraySize(names) == 0;
}

/*
 * "thaw-filesystem, restart-unit": what takes such faults, but is off. Returns how many of them are in
 * FIRST. As in the chain, detectors count for kernel events alone.
 */
static int append_recoverers_off(const struct story *story, struct buffer *text,
				 const char *first[static OFF_SHOWN], size_t *ret_count)
{
	const char *source = json_string(story->spec, "source");
	const char *detector = json_string(json_at(story->spec, "kernelEvent"), "detector");
	const cJSON *item;
	size_t count = 0;
	int r = 0;

	cJSON_ArrayForEach (item, story->recoverers) {
		if (json_bool(item, "enabled", true) || json_string(item, "refusal") ||
		    !lists(json_at(item, "sources"), source) ||
		    (detector && !lists(json_at(item, "detectors"), detector)))
			continue;
		r = buffer_printf(text, "%s%s", count ? ", " : "", object_name(item));
		if (r < 0)
			break;
		if (count < OFF_SHOWN)
			first[count] = object_name(item);
		count++;
	}
	*ret_count = MIN(count, (size_t)OFF_SHOWN);
	return r;
}

static void print_advice(const struct story *story, const char *text)
{
	fputs("  ", story->terminal->out);
	terminal_wrap(story->terminal, COLOUR_NONE, 2, text);
}

static void print_command_alone(const struct story *story, const char *line)
{
	fputs("    ", story->terminal->out);
	terminal_text(story->terminal, COLOUR_ACCENT, line);
	fputc('\n', story->terminal->out);
}

static void print_command(const struct story *story, const char *format, const char *comment)
{
	const struct terminal *terminal = story->terminal;
	char name[300], line[512];

	snprintf(name, sizeof(name), "%s%s%s", story->name,
		 streq(story->namespace, "default") ? "" : " -n ",
		 streq(story->namespace, "default") ? "" : story->namespace);
	snprintf(line, sizeof(line), "%s%s", format, name);
	fputs("    ", terminal->out);
	terminal_text(terminal, COLOUR_ACCENT, line);
	if (comment) {
		fputs("  ", terminal->out);
		terminal_text(terminal, COLOUR_DIM, comment);
	}
	fputc('\n', terminal->out);
}

static void print_recover(const struct story *story, const char *recoverer, const char *flags,
			  const char *comment)
{
	char command[300];

	snprintf(command, sizeof(command), "lifeboat recover %s%s --abnormal ", recoverer, flags);
	print_command(story, command, comment);
}

/* Identified, but not repaired. */
static int print_next_step(const struct story *story)
{
	_cleanup_buffer_ struct buffer text = BUFFER(4 * KIB), off = BUFFER(2 * KIB);
	const char *planned = recoverer_that(story, "DryRun"),
		   *refused = recoverer_that(story, "Refused");
	const cJSON *act = last_act(story);
	int r = 0;

	if (act && streq_ptr(json_string(act, "verification"), "Verified")) {
		r = buffer_printf(&text, "Nothing has to be done now: %s has repaired it since.",
				  json_string(act, "recoverer"));
		print_advice(story, buffer_text(&text));
	} else if (act) {
		print_advice(story, "A person has to act: what was tried above has not ended the "
				    "fault. Once that is settled:");
		print_command(story, "lifeboat delete abnormal ", "# so that it is seen anew");
	} else if (planned) {
		print_advice(story, "A person has to act: nothing was done, as this was a dry run. "
				    "Once dryRun is off in the configuration:");
		print_recover(story, planned, "", "# asks before it acts");
	} else if (refused) {
		print_advice(story, "A person has to act: the repair was held back, for the reason "
				    "above. Once that is settled:");
		print_recover(story, refused, "", "# asks before it acts");
	} else {
		const char *first[OFF_SHOWN];
		size_t count;

		r = append_recoverers_off(story, &off, first, &count);
		if (r != -ENOMEM)
			r = buffer_printf(&text, "A person has to act: nothing was repaired.%s%s%s",
					  count ? " Repairs for such faults that are off here: "
						: "",
					  buffer_text(&off),
					  count == 1  ? ". What it would do:"
					  : count > 1 ? ". What each would do:"
						      : "");
		print_advice(story, buffer_text(&text));
		for (size_t i = 0; i < count; i++)
			print_recover(story, first[i], " --dry-run", NULL);
	}
	return r == -ENOMEM ? r : 0; /* a cut line is a line */
}

static int print_next(const struct story *story)
{
	const cJSON *identified = story_condition(story, "Identified");
	int r = 0;

	print_title(story, "Next");
	if (!story_is_final(story)) {
		print_advice(story, "It is being handled. To follow it:");
		print_command(story, "lifeboat get abnormals -w ", NULL);
		return 0;
	}
	if (story->seen_since) {
		print_advice(story,
			     "A person has to look: it was seen again after this had ended. Until "
			     "pipeline.cooldown is over that is only counted here; then the next "
			     "sighting opens an Abnormal of its own. What was seen:");
		print_command_alone(story, "lifeboat events");
	} else if (story->cleared != TIME_ABSENT && streq(story->phase, "Failed")) {
		print_advice(story, "Nothing has to be done now: the fault has gone away since.");
	} else if (streq(story->phase, "Succeeded")) {
		print_advice(story, streq(story->reason, "RecoverySkipped")
					    ? "Nothing was repaired, as spec.skipRecovery asks: "
					      "the cause above is for you."
					    : "Nothing has to be done now: the fault is over.");
	} else if (!story_condition_is(identified, "True")) {
		print_advice(story, "A person has to look: nothing here knows this fault. What was "
				    "collected is above and in:");
		print_command(story, "lifeboat get -o yaml abnormal ", "# all of it");
		print_command(story, "lifeboat collect host --abnormal ", "# or another collector");
		return 0;
	} else {
		r = print_next_step(story);
	}
	print_command(story, "lifeboat get -o yaml abnormal ", "# everything that is known");
	return r;
}

int story_print(const struct terminal *terminal, const cJSON *abnormal, const cJSON *history,
		const cJSON *recoverers, int64_t now_realtime_ns)
{
	_cleanup_(story_clear) struct story story = {
		.terminal = terminal,
		.abnormal = abnormal,
		.spec = json_at(abnormal, "spec"),
		.status = json_at(abnormal, "status"),
		.history = history,
		.recoverers = recoverers,
		.now = now_realtime_ns,
		.name = object_name(abnormal),
	};
	const char *namespace = json_string(json_at(abnormal, "metadata"), "namespace");
	const char *phase = json_string(story.status, "phase"),
		   *reason = json_string(story.status, "reason");

	story.namespace = namespace ? namespace : "default";
	story.phase = phase ? phase : "";
	story.reason = reason ? reason : "";
	story.start = story_time_of(json_at(story.status, "occurrences"), "firstTime");
	if (story.start == TIME_ABSENT)
		story.start = story_time_of(json_at(story.spec, "kernelEvent"), "time");
	if (story.start == TIME_ABSENT)
		story.start = story_time_of(json_at(abnormal, "metadata"), "creationTimestamp");
	if (story.start == TIME_ABSENT)
		story.start = now_realtime_ns;

	int r = story_build(&story);
	if (r < 0)
		return r;
	print_heads(&story);
	r = print_cause(&story);
	if (r < 0)
		return r;
	print_entries(&story);
	r = print_files(&story);
	return r < 0 ? r : print_next(&story);
}
