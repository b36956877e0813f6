/* SPDX-License-Identifier: Apache-2.0 */
/* The story of detector cgroup: which group, since when, and what its runtime says of it. */
#include "base/clock.h"
#include "cli/sighting.h"

#define FAMILIES_SHOWN 4

static const char *seconds_text(const cJSON *json, const char *member, char text[TIME_TEXT_SIZE])
{
	return duration_format_seconds(json_number(json, member, 0), text);
}

static int append_group(struct buffer *text, const cJSON *cgroup)
{
	return cgroup ? buffer_printf(text, "\ncontrol group %s (v%.0f)",
				      story_text_or(cgroup, "path", "?"),
				      json_number(cgroup, "version", 2))
		      : 0;
}

static int append_members(struct buffer *text, const cJSON *members)
{
	double processes = json_number(members, "processes", 0);
	const cJSON *family;
	int shown = 0,
	    r = buffer_printf(text, "\n%.0f process%s", processes, processes == 1 ? "" : "es");

	cJSON_ArrayForEach (family, json_at(members, "families")) {
		if (r < 0 || shown == FAMILIES_SHOWN)
			break;
		r = buffer_printf(text, "%s %s (%.0f)",
				  shown++ ? "," : " in it:", story_text_or(family, "comm", "?"),
				  json_number(family, "processes", 0));
	}
	return r;
}

static int append_runtime(struct buffer *text, const cJSON *runtime)
{
	const char *state = json_string(runtime, "state"),
		   *unknown = json_string(runtime, "unknown");

	if (state)
		return buffer_printf(text, "\nits runtime says it is %s: it did not pause it",
				     state);
	return unknown ? buffer_printf(text, "\nwhether it is on purpose is not known: %s", unknown)
		       : 0;
}

static int append_frozen(struct buffer *text, const cJSON *details)
{
	char duration[TIME_TEXT_SIZE];
	const char *state = json_string(details, "state");
	const cJSON *members = json_at(details, "members");
	int r = 0;

	if (state)
		r = buffer_printf(text, "\n%s for %s", state,
				  seconds_text(details, "seconds", duration));
	if (r == 0 && members)
		r = append_members(text, members);
	return r == 0 ? append_runtime(text, json_at(details, "runtime")) : r;
}

static int append_pids(struct buffer *text, const cJSON *details)
{
	const char *asked_in = json_string(details, "askedIn"),
		   *path = json_string(json_at(details, "cgroup"), "path");
	double refused = json_number(details, "refused", 0);
	int r = 0;

	if (cJSON_HasObjectItem(details, "refused"))
		r = buffer_printf(text, "\n%.0f fork%s refused, at %.0f of %.0f pids", refused,
				  refused == 1 ? "" : "s", json_number(details, "current", 0),
				  json_number(details, "limit", 0));
	if (r == 0 && asked_in && !streq_ptr(asked_in, path))
		r = buffer_printf(text, "\nasked for in %s", asked_in);
	if (r == 0 && json_at(details, "members"))
		r = append_members(text, json_at(details, "members"));
	return r;
}

static int append_throttled(struct buffer *text, const cJSON *details)
{
	char duration[TIME_TEXT_SIZE];
	int r = 0;

	if (cJSON_HasObjectItem(details, "throttled"))
		r = buffer_printf(text,
				  "\nthrottled in %.0f of %.0f periods within %s; its quota is %g "
				  "CPUs",
				  json_number(details, "throttled", 0),
				  json_number(details, "periods", 0),
				  seconds_text(details, "seconds", duration),
				  json_number(details, "quotaCPUs", 0));
	if (r == 0 && json_at(details, "members"))
		r = append_members(text, json_at(details, "members"));
	return r;
}

static int append_leftover(struct buffer *text, const cJSON *details)
{
	static const struct {
		const char *known_by, *words;
	} words[] = {
		{"bundle-seen", "its bundle was seen and is gone"},
		{"runtime-state", "the state of runc or crun names a bundle that is gone"},
		{"path", "concluded from the name of its control group: not certain"},
	};
	const char *known_by = json_string(details, "knownBy"),
		   *bundle = json_string(details, "bundle");
	char duration[TIME_TEXT_SIZE];
	int r = 0;

	if (!known_by)
		return 0;
	r = buffer_printf(text, "\nnobody has had its processes for %s",
			  seconds_text(details, "seconds", duration));
	for (size_t i = 0; i < ARRAY_SIZE(words) && r == 0; i++)
		if (streq(words[i].known_by, known_by))
			r = buffer_printf(text, "\n%s%s%s", words[i].words, bundle ? ": " : "",
					  bundle ? bundle : "");
	if (r == 0 && json_at(details, "members"))
		r = append_members(text, json_at(details, "members"));
	return r;
}

static int append_cgroup(struct buffer *text, const cJSON *details)
{
	int r = append_group(text, json_at(details, "cgroup"));

	if (r == 0 && streq_ptr(json_string(details, "fault"), "frozen"))
		r = append_frozen(text, details);
	else if (r == 0 && streq_ptr(json_string(details, "fault"), "pids"))
		r = append_pids(text, details);
	else if (r == 0 && streq_ptr(json_string(details, "fault"), "throttled"))
		r = append_throttled(text, details);
	else if (r == 0 && streq_ptr(json_string(details, "fault"), "leftover"))
		r = append_leftover(text, details);
	return r;
}

SIGHTING(cgroup) = {.detector = "cgroup", .append = append_cgroup};
