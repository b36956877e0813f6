/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goroutines: what the collector brought (where the main one is, and where most of the others are), and
 * the dumps that the diagnosis of a deadlock rests on.
 */
#include "cli/evidence.h"
#include "host/goroutine_dump.h"

#define GROUPS_SHOWN 3
#define FRAMES_SHOWN 3

/* "chan send for 3 min: shim.Reap ← shim.handleSignals". */
static int append_goroutine(struct buffer *text, const cJSON *goroutine)
{
	double minutes = json_number(goroutine, "waitMinutes", 0);
	const cJSON *frame;
	int shown = 0;

	int r = buffer_append_text(text, story_text_or(goroutine, "state", "state unknown"));
	if (r == 0 && minutes >= 1)
		r = buffer_printf(text, " for %.0f min", minutes);
	cJSON_ArrayForEach (frame, json_at(goroutine, "frames")) {
		const char *function = json_string(frame, "function");

		if (!function)
			function = cJSON_GetStringValue(frame);
		if (r == 0 && function && shown < FRAMES_SHOWN)
			r = buffer_printf(text, "%s%s", shown++ ? " ← " : ": ",
					  goroutine_function_name(function));
	}
	return r;
}

static int append_goroutines(struct buffer *text, const cJSON *context)
{
	const cJSON *summary = json_at(context, "summary"), *main = json_at(summary, "main"),
		    *group;
	double count = json_number(summary, "goroutines", -1);
	int shown = 0, r = 0;

	if (count >= 0)
		r = buffer_printf(text, "\n%.0f goroutine%s in %s", count, count == 1 ? "" : "s",
				  story_text_or(context, "artifact", "the dump"));
	if (r == 0 && count >= 0 &&
	    (json_bool(context, "truncated", false) || json_number(context, "lost", 0) > 0))
		r = buffer_append_text(text, ", not all of it");
	if (r == 0 && main) {
		r = buffer_append_text(text, "\nmain goroutine: ");
		if (r == 0)
			r = append_goroutine(text, main);
	}
	cJSON_ArrayForEach (group, json_at(summary, "groups")) {
		if (r < 0 || shown++ == GROUPS_SHOWN)
			break;
		r = buffer_printf(text, "\n%.0f in ", json_number(group, "count", 1));
		if (r == 0)
			r = append_goroutine(text, group);
	}
	return r;
}

EVIDENCE(goroutines) = {.plugin = "goroutines", .append = append_goroutines};

/* The diagnosis rests on two of them: that nothing has moved between is what they prove. */
static int append_shim_deadlock(struct buffer *text, const cJSON *context)
{
	const cJSON *dump;
	int r = 0;

	cJSON_ArrayForEach (dump, json_at(context, "dumps")) {
		const char *time = json_string(dump, "time");

		if (r == 0)
			r = buffer_printf(text, "\ndump of %s, %.0f goroutines: ",
					  time ? time : "unknown time",
					  json_number(dump, "goroutines", 0));
		if (r == 0)
			r = append_goroutine(text, json_at(dump, "main"));
	}
	return r;
}

EVIDENCE(shim_deadlock) = {.plugin = "shim-deadlock", .append = append_shim_deadlock};
