/* SPDX-License-Identifier: Apache-2.0 */
/* The story of detector memory_stall: whose limit, what it costs, and who is in reclaim. */
#include "base/clock.h"
#include "cli/sighting.h"

#define TASKS_SHOWN 4

static const char *seconds_text(const cJSON *json, const char *member, char text[TIME_TEXT_SIZE])
{
	return duration_format_seconds(json_number(json, member, 0), text);
}

static int append_limit(struct buffer *text, const cJSON *details)
{
	const cJSON *cgroup = json_at(details, "cgroup");
	char usage[BYTES_TEXT_SIZE], limit[BYTES_TEXT_SIZE];

	if (!cgroup)
		return 0;
	if (!cJSON_HasObjectItem(details, "limitBytes"))
		return buffer_printf(text, "\ncontrol group %s",
				     story_text_or(cgroup, "path", "?"));
	return buffer_printf(text, "\n%s of control group %s: %s, in use %s",
			     story_text_or(details, "limit", "limit"),
			     story_text_or(cgroup, "path", "?"),
			     bytes_format(json_number(details, "limitBytes", 0), limit),
			     bytes_format(json_number(details, "usageBytes", 0), usage));
}

static int append_stall(struct buffer *text, const cJSON *details)
{
	const cJSON *refaults = json_at(details, "refaults"),
		    *pressure = json_at(details, "pressure");
	char threshold[TIME_TEXT_SIZE], spent[TIME_TEXT_SIZE], files[BYTES_TEXT_SIZE];
	int r = 0;

	if (cJSON_HasObjectItem(details, "reclaims"))
		r = buffer_printf(text, "\n%.0f reclaims within %s took its tasks %s",
				  json_number(details, "reclaims", 0),
				  seconds_text(details, "thresholdSeconds", threshold),
				  seconds_text(details, "reclaimSeconds", spent));
	if (r == 0 && cJSON_HasObjectItem(details, "reclaimPercent"))
		r = buffer_printf(text, ", the worst of them %.0f %% of the time",
				  json_number(details, "reclaimPercent", 0));
	if (r == 0 && pressure)
		r = buffer_printf(text, "\nall of its tasks waited for memory %.0f %% of the time",
				  json_number(pressure, "fullPercent", 0));
	if (r == 0 && refaults)
		r = buffer_printf(text, "\n%.0f %% of what was evicted came back (%s of files)",
				  json_number(refaults, "returnedPercent", 0),
				  bytes_format(json_number(refaults, "fileBytes", 0), files));
	return r;
}

static int append_tasks(struct buffer *text, const cJSON *tasks)
{
	char spent[TIME_TEXT_SIZE];
	const cJSON *task;
	int shown = 0, r = 0;

	cJSON_ArrayForEach (task, tasks) {
		if (r < 0 || shown == TASKS_SHOWN)
			break;
		r = buffer_printf(text, "%s %s (pid %.0f) %s",
				  shown++ ? "," : "\nin reclaim:", story_text_or(task, "comm", "?"),
				  json_number(task, "pid", 0),
				  seconds_text(task, "reclaimSeconds", spent));
		if (r == 0 && cJSON_HasObjectItem(task, "inReclaimSeconds"))
			r = buffer_printf(text, ", now for %s",
					  seconds_text(task, "inReclaimSeconds", spent));
	}
	return r;
}

static int append_memory_stall(struct buffer *text, const cJSON *details)
{
	int r = append_limit(text, details);

	if (r == 0)
		r = append_stall(text, details);
	return r == 0 ? append_tasks(text, json_at(details, "tasks")) : r;
}

SIGHTING(memory_stall) = {.detector = "memory_stall", .append = append_memory_stall};
