/* SPDX-License-Identifier: Apache-2.0 */
/* The story of detector shim_stall: which shim, whom it serves, and what it no longer does. */
#include "base/clock.h"
#include "cli/sighting.h"
#include "host/container.h"

#define CONTAINERS_SHOWN 6
#define INITS_SHOWN 3
#define CHILDREN_SHOWN 3

static const char *seconds_text(const cJSON *json, const char *member, char text[TIME_TEXT_SIZE])
{
	return duration_format_seconds(json_number(json, member, 0), text);
}

static int append_shim(struct buffer *text, const cJSON *shim)
{
	const char *namespace = json_string(shim, "namespace"), *id = json_string(shim, "id");
	const char *program = story_text_or(shim, "program", story_text_or(shim, "comm", "?"));
	int r = 0;

	if (!shim)
		return 0;
	r = buffer_printf(text, "\nshim %s", program);
	if (r == 0 && id)
		r = buffer_printf(text, ", started for %.*s", container_id_width(id), id);
	if (r == 0 && namespace)
		r = buffer_printf(text, " in the runtime's namespace %s", namespace);
	return r;
}

static int append_container_state(struct buffer *text, const cJSON *container)
{
	const cJSON *init = json_at(container, "init");
	const char *state = json_string(init, "state");
	double processes = json_number(container, "processes", -1);
	int r;

	if (!init)
		r = buffer_append_text(text, ", its init is gone");
	else if (state && *state == 'Z')
		r = buffer_append_text(text, ", its init is a zombie");
	else
		r = 0;
	if (r == 0 && processes >= 0)
		r = buffer_printf(text, ", %.0f process%s", processes, processes == 1 ? "" : "es");
	return r;
}

static int append_containers(struct buffer *text, const cJSON *details)
{
	const cJSON *containers = json_at(details, "containers"), *container;
	double count = json_number(details, "containerCount", cJSON_GetArraySize(containers));
	const char *id = json_string(containers ? containers->child : NULL, "id");
	int shown = 0, r = 0;

	/* Named already: in the event, and as what the shim was started for. */
	if (count == 1 && id && streq_ptr(id, json_string(json_at(details, "shim"), "id"))) {
		r = buffer_append_text(text, "\nserves that container alone");
		return r == 0 ? append_container_state(text, containers->child) : r;
	}
	cJSON_ArrayForEach (container, containers) {
		if (r < 0 || shown == CONTAINERS_SHOWN)
			break;
		shown++;
		r = buffer_append_text(text, json_bool(container, "sandbox", false)
						     ? "\nserves sandbox "
						     : "\nserves container ");
		if (r == 0)
			r = story_append_container(text, container);
		if (r == 0)
			r = append_container_state(text, container);
	}
	if (r == 0 && count > shown)
		r = buffer_printf(text, "\nserves %.0f %scontainer%s", count - shown,
				  shown ? "more " : "", count - shown == 1 ? "" : "s");
	return r;
}

static int append_stopped(struct buffer *text, const cJSON *details)
{
	const cJSON *stopped = json_at(details, "stopped"), *tracer = json_at(stopped, "tracer");
	char time[TIME_TEXT_SIZE];

	if (!stopped)
		return buffer_append_text(text, "\nit is stopped");
	int r = buffer_printf(text, "\nit has been stopped for %s",
			      seconds_text(stopped, "seconds", time));
	if (r == 0 && tracer) {
		r = buffer_append_text(text, "; attached to it is ");
		if (r == 0)
			r = story_append_process(text, tracer);
	}
	return r;
}

static int append_unresponsive(struct buffer *text, const cJSON *details)
{
	const cJSON *request = json_at(details, "request");
	const char *container = json_string(request, "container");
	char time[TIME_TEXT_SIZE];

	if (!request)
		return buffer_append_text(text, "\nit answers no request");
	int r = buffer_printf(text, "\nits socket was asked (%s",
			      story_text_or(request, "method", "a request"));
	if (r == 0 && container)
		r = buffer_printf(text, " of %.*s", container_id_width(container), container);
	if (r == 0)
		r = buffer_printf(text, "): %s after %s",
				  story_text_or(request, "outcome", "no answer"),
				  seconds_text(request, "seconds", time));
	return r;
}

static int append_held(struct buffer *text, const cJSON *init)
{
	const char *container = json_string(init, "container"), *by = json_string(init, "heldBy");
	const cJSON *holder = cJSON_GetArrayItem(json_at(init, "holders"), 0);
	char time[TIME_TEXT_SIZE];

	int r = buffer_append_text(text, "\ninit ");
	if (r == 0)
		r = story_append_process(text, init);
	if (r == 0 && container)
		r = buffer_printf(text, " of %.*s", container_id_width(container), container);
	if (r == 0)
		r = buffer_printf(
			text, " has been dying for %s, %.0f tasks left in its pid namespace",
			seconds_text(init, "seconds", time), json_number(init, "remaining", 0));
	if (r == 0 && streq_ptr(by, "shim"))
		r = buffer_append_text(text, "; they wait for the shim to reap them");
	else if (r == 0 && streq_ptr(by, "task") && holder) {
		r = buffer_append_text(text, "; held by ");
		if (r == 0)
			r = story_append_process(text, holder);
		if (r == 0)
			r = buffer_printf(text, " in state %s",
					  story_text_or(holder, "state", "?"));
	}
	return r;
}

static int append_inits_held(struct buffer *text, const cJSON *details)
{
	const cJSON *inits = json_at(details, "initHeld"), *init;
	int count = cJSON_GetArraySize(inits), shown = 0, r = 0;

	if (!count)
		return buffer_append_text(text,
					  "\nthe init of a container is dying and cannot end");
	cJSON_ArrayForEach (init, inits) {
		if (r < 0 || shown++ == INITS_SHOWN)
			break;
		r = append_held(text, init);
	}
	if (r == 0 && count > INITS_SHOWN)
		r = buffer_printf(text, "\n%d more inits are held", count - INITS_SHOWN);
	return r;
}

/* "212 dead children are not reaped, the longest for 40s: sh (pid 9), … and 210 more". */
static int append_unreaped(struct buffer *text, const cJSON *details)
{
	const cJSON *unreaped = json_at(details, "unreaped");
	const cJSON *children = json_at(unreaped, "children"), *child;
	double count = json_number(unreaped, "count", cJSON_GetArraySize(children));
	char time[TIME_TEXT_SIZE];
	int shown = 0;

	if (!(count >= 1))
		return buffer_append_text(text, "\nit does not reap its dead children");
	int r = buffer_printf(text, "\n%.0f dead child%s not reaped", count,
			      count == 1 ? " is" : "ren are");
	if (r == 0 && cJSON_GetArraySize(children))
		r = buffer_printf(text, ", the longest for %s",
				  seconds_text(cJSON_GetArrayItem(children, 0), "seconds", time));
	cJSON_ArrayForEach (child, children) {
		if (r < 0 || shown == CHILDREN_SHOWN)
			break;
		r = buffer_append_text(text, shown++ ? ", " : ": ");
		if (r == 0)
			r = story_append_process(text, child);
	}
	if (r == 0 && shown && count > shown)
		r = buffer_printf(text, " and %.0f more", count - shown);
	return r;
}

static const struct {
	const char *finding;
	int (*append)(struct buffer *text, const cJSON *details);
} findings[] = {
	{"stopped", append_stopped},
	{"unresponsive", append_unresponsive},
	{"init-held", append_inits_held},
	{"unreaped-child", append_unreaped},
};

static int append_shim_stall(struct buffer *text, const cJSON *details)
{
	char longest[TIME_TEXT_SIZE], threshold[TIME_TEXT_SIZE];
	const cJSON *finding;
	bool told = false;

	int r = append_shim(text, json_at(details, "shim"));
	cJSON_ArrayForEach (finding, json_at(details, "findings")) {
		for (size_t i = 0; r == 0 && i < ARRAY_SIZE(findings); i++)
			if (streq_ptr(cJSON_GetStringValue(finding), findings[i].finding)) {
				r = findings[i].append(text, details);
				told = true;
			}
	}
	/* Each finding has told for how long. */
	if (r == 0 && told && json_number(details, "thresholdSeconds", 0) > 0)
		r = buffer_printf(text, "\nthreshold %s",
				  seconds_text(details, "thresholdSeconds", threshold));
	else if (r == 0 && json_number(details, "longestSeconds", 0) > 0)
		r = buffer_printf(text, "\nstalled for %s (threshold %s)",
				  seconds_text(details, "longestSeconds", longest),
				  seconds_text(details, "thresholdSeconds", threshold));
	return r == 0 ? append_containers(text, details) : r;
}

SIGHTING(shim_stall) = {.detector = "shim_stall", .append = append_shim_stall};
