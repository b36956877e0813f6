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

/* ", 5s HOW" if both times are known. */
static int append_interval(struct buffer *text, const cJSON *first, const cJSON *second,
			   const char *how)
{
	const char *from = json_string(first, "time"), *to = json_string(second, "time");
	int64_t from_ns, to_ns;
	char apart[TIME_TEXT_SIZE];

	if (!from || !to || time_parse(from, &from_ns) < 0 || time_parse(to, &to_ns) < 0 ||
	    to_ns <= from_ns)
		return 0;
	return buffer_printf(text, ", %s %s", duration_format((uint64_t)(to_ns - from_ns), apart),
			     how);
}

static bool is_same_wait(const cJSON *one, const cJSON *other)
{
	return one && other && streq_ptr(json_string(one, "state"), json_string(other, "state")) &&
	       cJSON_Compare(json_at(one, "frames"), json_at(other, "frames"), true);
}

/*
 * The diagnosis rests on two of them: that nothing has moved between is what they prove, so what is
 * the same in both is told once.
 */
static int append_shim_deadlock(struct buffer *text, const cJSON *context)
{
	const cJSON *dumps = json_at(context, "dumps");
	const cJSON *first = cJSON_GetArrayItem(dumps, 0), *second = cJSON_GetArrayItem(dumps, 1);
	_cleanup_buffer_ struct buffer one = BUFFER(8 * KIB), other = BUFFER(8 * KIB);
	bool same = second && is_same_wait(json_at(first, "main"), json_at(second, "main"));
	/* Of one wait the later dump tells how long it has been. */
	int r = first ? append_goroutine(&one, json_at(same ? second : first, "main")) : 0;

	if (r == 0 && second)
		r = append_goroutine(&other, json_at(second, "main"));
	if (r < 0 || !first)
		return r;
	r = buffer_append_text(text, same ? "\nin both dumps" : "\nfirst dump");
	if (r == 0 && same)
		r = append_interval(text, first, second, "apart");
	if (r == 0)
		r = buffer_printf(text, ": main goroutine in %s", buffer_text(&one));
	if (r < 0 || same || !second)
		return r;
	r = buffer_append_text(text, "\nsecond dump");
	if (r == 0)
		r = append_interval(text, first, second, "later");
	return r == 0 ? buffer_printf(text, ": main goroutine in %s", buffer_text(&other)) : r;
}

EVIDENCE(shim_deadlock) = {.plugin = "shim-deadlock", .append = append_shim_deadlock};
