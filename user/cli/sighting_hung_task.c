/* SPDX-License-Identifier: Apache-2.0 */
/* The story of detector hung_task: how many wait, how long, and for what. */
#include <inttypes.h>

#include "base/clock.h"
#include "cli/sighting.h"

static int append_waiting_for(struct buffer *text, const cJSON *details)
{
	const cJSON *filesystem = json_at(details, "filesystem"),
		    *device = json_at(details, "device");
	const cJSON *lock = json_at(details, "lock"), *owner = json_at(lock, "owner");
	int r = 0;

	if (filesystem)
		r = buffer_printf(text, "\nfilesystem %s on %s%s",
				  story_text_or(filesystem, "type", "?"),
				  story_text_or(filesystem, "id", "?"),
				  json_number(filesystem, "freezeLevel", 0) > 0 ? ", frozen" : "");
	if (r == 0 && device)
		r = buffer_printf(text, "\ndevice %s, %.0f requests in flight%s",
				  story_text_or(device, "name", "?"),
				  json_number(device, "inFlight", 0),
				  json_bool(device, "suspended", false) ? ", suspended" : "");
	if (r == 0 && lock) {
		r = buffer_printf(text, "\nlock: %s", story_text_or(lock, "kind", "?"));
		if (r == 0 && owner) {
			r = buffer_append_text(text, ", held by ");
			if (r == 0)
				r = story_append_process(text, owner);
		}
	}
	return r;
}

static int append_hung_task(struct buffer *text, const cJSON *details)
{
	const cJSON *first = cJSON_GetArrayItem(json_at(details, "waiters"), 0);
	double tasks = json_number(details, "tasks", 1),
	       longest = json_number(details, "longestSeconds", 0);
	const cJSON *syscall = json_at(first, "syscall");
	char time[TIME_TEXT_SIZE];

	int r = buffer_printf(text, "\n%.0f task%s wait%s, the longest for %s", tasks,
			      tasks == 1 ? "" : "s", tasks == 1 ? "s" : "",
			      duration_format_seconds(longest, time));
	if (r == 0 && json_string(first, "function"))
		r = buffer_printf(text, ", in %s", json_string(first, "function"));
	if (r == 0 && cJSON_IsString(syscall))
		r = buffer_printf(text, " called from %s(2)", syscall->valuestring);
	if (r == 0 && first && cJSON_HasObjectItem(first, "killable"))
		r = buffer_append_text(text, json_bool(first, "killable", false)
						     ? "; a signal can end it"
						     : "; no signal can end it");
	return r == 0 ? append_waiting_for(text, details) : r;
}

SIGHTING(hung_task) = {.detector = "hung_task", .append = append_hung_task};
