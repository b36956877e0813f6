/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was seen, in a few lines of text: what all events have. What is a detector's own is told by
 * its sighting_X.c; whatever else there is, is in `lifeboat get abnormal NAME -o yaml`.
 */
#include <errno.h>

#include "cli/sighting.h"
#include "cli/story.h"
#include "host/container.h"

#define FRAMES_SHOWN 5
#define DETAILS_SHOWN 12
#define VALUE_SHOWN 200
#define ENTRY_SHOWN 300

const char *story_text_or(const cJSON *json, const char *name, const char *fallback)
{
	const char *text = json_string(json, name);

	return text && *text ? text : fallback;
}

int story_append_process(struct buffer *text, const cJSON *process)
{
	double pid = json_number(process, "pid", 0), tgid = json_number(process, "tgid", 0);

	int r = buffer_printf(text, "%s (", story_text_or(process, "comm", "a process"));
	if (r == 0)
		r = tgid > 0 && tgid != pid
			    ? buffer_printf(text, "thread %.0f of process %.0f", pid, tgid)
			    : buffer_printf(text, "pid %.0f", pid);
	if (r == 0 && cJSON_HasObjectItem(process, "uid"))
		r = buffer_printf(text, ", uid %.0f", json_number(process, "uid", 0));
	return r == 0 ? buffer_append_text(text, ")") : r;
}

int story_append_container(struct buffer *text, const cJSON *container)
{
	const char *name = json_string(container, "name"), *pod = json_string(container, "pod");
	const char *namespace = json_string(container, "namespace");
	const char *id = story_text_or(container, "id", "?");

	/* Plain `ctr` takes the name for the id. */
	if (streq_ptr(name, id))
		name = NULL;
	int r = buffer_printf(text, "%s%s%.*s", name ? name : "", name ? " " : "",
			      container_id_width(id), id);
	if (r == 0 && pod)
		r = buffer_printf(text, " of pod %s%s%s", namespace ? namespace : "",
				  namespace ? "/" : "", pod);
	return r;
}

/* "\nKEY: VALUE", cut at a character's end. */
static int append_short(struct buffer *text, const char *key, const char *value)
{
	size_t length = strlen(value), shown = MIN(length, (size_t)VALUE_SHOWN);

	while (shown < length && shown && ((unsigned char)value[shown] & 0xc0) == 0x80)
		shown--;
	return buffer_printf(text, "\n%s: %.*s%s", key, (int)shown, value,
			     shown < length ? "…" : "");
}

static int append_processes(struct buffer *text, const cJSON *event)
{
	const cJSON *process = json_at(event, "process"), *parent = json_at(process, "parent");

	if (!process)
		return 0;
	int r = buffer_append_text(text, "\nprocess ");
	if (r == 0)
		r = story_append_process(text, process);
	if (r == 0 && json_string(process, "exe"))
		r = buffer_printf(text, ", %s", json_string(process, "exe"));
	if (r == 0 && parent && json_string(parent, "comm")) {
		r = buffer_append_text(text, ", child of ");
		if (r == 0)
			r = story_append_process(text, parent);
	}
	return r;
}

static int append_container(struct buffer *text, const cJSON *event)
{
	const cJSON *container = json_at(event, "container");
	const char *path = json_string(container, "cgroupPath");

	if (!json_string(container, "id"))
		return path ? buffer_printf(text, "\ncgroup %s", path) : 0;
	int r = buffer_append_text(text, json_bool(container, "sandbox", false) ? "\nsandbox "
										: "\ncontainer ");
	if (r == 0)
		r = story_append_container(text, container);
	if (r == 0 && json_string(container, "runtime"))
		r = buffer_printf(text, " (%s)", json_string(container, "runtime"));
	if (r == 0 && json_string(container, "image"))
		r = buffer_printf(text, "\nimage %s", json_string(container, "image"));
	return r;
}

/*
 * Details that nobody here has words for: "key: value", those with parts as JSON. Better than
 * nothing, for a detector that has just been written.
 */
static int append_plain(struct buffer *text, const cJSON *details)
{
	const cJSON *item;
	int shown = 0, more = 0, r = 0;

	cJSON_ArrayForEach (item, details) {
		_cleanup_free_ char *value = NULL;

		if (shown == DETAILS_SHOWN) {
			more++;
			continue;
		}
		if (!cJSON_IsString(item)) {
			value = json_print(item);
			if (!value)
				return -ENOMEM;
		}
		shown++;
		r = append_short(text, item->string ? item->string : "?",
				 value ? value : item->valuestring);
		if (r < 0)
			return r;
	}
	return more ? buffer_printf(text, "\n%d more", more) : 0;
}

static int append_details(struct buffer *text, const char *detector, const cJSON *event)
{
	const cJSON *details = json_at(event, "details");

	FOREACH_REGISTERED (sightings, struct sighting, sighting) {
		if (streq(sighting->detector, detector))
			return sighting->append(text, details);
	}
	return append_plain(text, details);
}

/* Every sleeper's stack begins with these: they tell nothing. */
static bool is_scheduler(const char *frame)
{
	static const char *const names[] = {"__schedule", "schedule", "schedule_preempt_disabled",
					    "schedule_timeout", "io_schedule"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *rest = startswith(frame, names[i]);

		if (rest && (*rest == '+' || *rest == '\0'))
			return true;
	}
	return false;
}

static int append_stack(struct buffer *text, const cJSON *event)
{
	int shown = 0, more = 0, r = 0;
	const cJSON *item;

	cJSON_ArrayForEach (item, json_at(event, "stack.kernel")) {
		const char *frame = cJSON_GetStringValue(item);

		if (!frame || (shown == 0 && is_scheduler(frame)))
			continue;
		if (shown == FRAMES_SHOWN)
			more++;
		else if (r == 0)
			r = buffer_printf(text, "%s%.*s", shown++ ? " ← " : "\nkernel stack: ",
					  (int)strcspn(frame, "+"), frame);
	}
	if (r == 0 && more)
		r = buffer_printf(text, " ← %d more", more);
	return r;
}

static int append_kernel_event(struct buffer *text, const cJSON *event)
{
	const char *detector = story_text_or(event, "detector", "?");
	double lost = json_number(event, "lost", 0);

	int r = buffer_printf(text, "%s, by the detector %s",
			      story_text_or(event, "type", "kernel event"), detector);
	if (r == 0)
		r = append_processes(text, event);
	if (r == 0)
		r = append_container(text, event);
	if (r == 0)
		r = append_details(text, detector, event);
	if (r == 0)
		r = append_stack(text, event);
	if (r == 0 && lost > 0)
		r = buffer_printf(
			text, "\n%.0f further events of this detector were lost before this one",
			lost);
	return r;
}

int story_append_sighting(struct buffer *text, const cJSON *abnormal)
{
	const cJSON *spec = json_at(abnormal, "spec"), *event = json_at(spec, "kernelEvent");
	const cJSON *log = json_at(spec, "log"), *alert = json_at(spec, "prometheusAlert");
	const cJSON *kubernetes_event = json_at(spec, "kubernetesEvent");
	const char *source = story_text_or(spec, "source", "unknown source");

	if (event) {
		_cleanup_json_ cJSON *plain = story_plain(event);

		return plain ? append_kernel_event(text, plain) : -ENOMEM;
	}
	if (log)
		return buffer_printf(text, "in the log %s\n%.*s",
				     story_text_or(log, "filePath", "?"), ENTRY_SHOWN,
				     story_text_or(log, "logEntry", ""));
	if (alert)
		return buffer_printf(text, "Prometheus alert %s",
				     story_text_or(json_at(alert, "labels"), "alertname", "?"));
	if (kubernetes_event)
		return buffer_printf(text, "Kubernetes event %s\n%.*s",
				     story_text_or(kubernetes_event, "reason", "?"), ENTRY_SHOWN,
				     story_text_or(kubernetes_event, "message", ""));
	if (streq(source, "Custom"))
		return buffer_append_text(text,
					  "made by hand or by another program (source Custom)");
	return buffer_printf(text, "by the source %s", source);
}
