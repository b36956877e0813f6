/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goroutines: what the collector brought (where the main one is, and where most of the others are), and
 * the dumps that the diagnosis of a deadlock rests on.
 */
#include "base/clock.h"
#include "cli/evidence.h"
#include "host/goroutine_dump.h"

#define GROUPS_SHOWN 3
#define FRAMES_SHOWN 3

/* A wait says who waits only above the runtime's own frames. */
static bool is_of_runtime(const char *function)
{
	static const char *const packages[] = {"runtime.", "sync.", "internal/", "syscall."};

	for (size_t i = 0; i < ARRAY_SIZE(packages); i++)
		if (startswith(function, packages[i]))
			return true;
	return false;
}

/* "chan send for 3 min: shim.Reap ← shim.handleSignals". */
static int append_goroutine(struct buffer *text, const cJSON *goroutine)
{
	double minutes = json_number(goroutine, "waitMinutes", 0);
	const cJSON *frame;
	bool above = false;
	int shown = 0;

	int r = buffer_append_text(text, story_text_or(goroutine, "state", "state unknown"));
	if (r == 0 && minutes >= 1)
		r = buffer_printf(text, " for %.0f min", minutes);
	cJSON_ArrayForEach (frame, json_at(goroutine, "frames")) {
		const char *function = json_string(frame, "function");

		if (!function)
			function = cJSON_GetStringValue(frame);
		above |= function && !is_of_runtime(function);
		if (r == 0 && above && function && shown < FRAMES_SHOWN)
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
	const cJSON *dumps = json_at(context, "dumps"), *dump, *first = NULL;
	int64_t first_ns = 0, time_ns;
	int r = 0;

	cJSON_ArrayForEach (dump, dumps) {
		const char *time = json_string(dump, "time");
		char apart[TIME_TEXT_SIZE];
		bool known = time && time_parse(time, &time_ns) == 0;

		if (r == 0)
			r = buffer_printf(text, "\n%s dump", first ? "second" : "first");
		if (r == 0 && first && known && first_ns && time_ns > first_ns)
			r = buffer_printf(text, ", %s later",
					  duration_format((uint64_t)(time_ns - first_ns), apart));
		if (r == 0)
			r = buffer_append_text(text, ": main goroutine in ");
		if (r == 0)
			r = append_goroutine(text, json_at(dump, "main"));
		if (!first && known)
			first_ns = time_ns;
		first = dump;
	}
	return r;
}

EVIDENCE(shim_deadlock) = {.plugin = "shim-deadlock", .append = append_shim_deadlock};
