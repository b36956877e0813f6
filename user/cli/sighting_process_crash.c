/* SPDX-License-Identifier: Apache-2.0 */
/* The story of detector process_crash: which signal, from whom or where, whether there is a core. */
#include "base/clock.h"
#include "cli/sighting.h"

static int append_signal(struct buffer *text, const cJSON *details)
{
	const cJSON *sender = json_at(details, "sender");
	const char *code = json_string(details, "code"), *address = json_string(details, "address");
	int r = buffer_printf(text, "\n%s was ended by %s", story_text_or(details, "program", "it"),
			      story_text_or(details, "signal", "a signal"));

	if (r == 0 && code)
		r = buffer_printf(text, " (%s)", code);
	if (r == 0 && sender)
		r = json_bool(sender, "self", false)
			    ? buffer_append_text(text, ", which it sent to itself")
			    : buffer_printf(text, ", which process %.0f sent",
					    json_number(sender, "pid", 0));
	if (r == 0 && cJSON_HasObjectItem(details, "syscall"))
		r = buffer_printf(text, " for system call %.0f",
				  json_number(details, "syscall", 0));
	else if (r == 0 && address)
		r = buffer_printf(text, " at address %s", address);
	return r;
}

static int append_loop(struct buffer *text, const cJSON *details)
{
	double seconds = json_number(details, "windowSeconds", 0);
	char window[TIME_TEXT_SIZE];

	if (!cJSON_HasObjectItem(details, "crashes"))
		return 0;
	return buffer_printf(text, "\nthe last of %.0f crashes within %s, %.1f a minute",
			     json_number(details, "crashes", 0),
			     duration_format_seconds(seconds, window),
			     json_number(details, "ratePerMinute", 0));
}

static int append_crash(struct buffer *text, const cJSON *details)
{
	const cJSON *core = json_at(details, "core");
	int r = json_string(details, "signal") ? append_signal(text, details) : 0;

	if (r == 0 && core)
		r = json_bool(core, "dumped", false)
			    ? buffer_printf(text, "\na core was dumped (kernel.core_pattern: %s)",
					    story_text_or(core, "pattern", "unknown"))
			    : buffer_append_text(text, "\nno core was dumped");
	return r == 0 ? append_loop(text, details) : r;
}

SIGHTING(process_crash) = {.detector = "process_crash", .append = append_crash};
