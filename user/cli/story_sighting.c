/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was seen, in a few lines of text. The detectors' details that a person asks for first are
 * told in words; whatever else there is, is in `lifeboat get abnormal NAME -o yaml`.
 */
#include <inttypes.h>

#include "cli/story.h"

#define FRAMES_SHOWN 5
#define ENTRY_SHOWN 300

static const char *text_or(const cJSON *json, const char *name, const char *fallback)
{
	const char *text = json_string(json, name);

	return text && *text ? text : fallback;
}

int story_append_process(struct buffer *text, const cJSON *process)
{
	double pid = json_number(process, "pid", 0), tgid = json_number(process, "tgid", 0);

	int r = buffer_printf(text, "%s (", text_or(process, "comm", "a process"));
	if (r == 0)
		r = tgid > 0 && tgid != pid
			    ? buffer_printf(text, "thread %.0f of process %.0f", pid, tgid)
			    : buffer_printf(text, "pid %.0f", pid);
	if (r == 0 && cJSON_HasObjectItem(process, "uid"))
		r = buffer_printf(text, ", uid %.0f", json_number(process, "uid", 0));
	return r == 0 ? buffer_append_text(text, ")") : r;
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
	const char *name = json_string(container, "name"), *pod = json_string(container, "pod");
	const char *id = text_or(container, "id", NULL),
		   *path = json_string(container, "cgroupPath");
	int r = 0;

	if (!container || (!id && !path))
		return 0;
	if (id) {
		r = buffer_printf(text, "\ncontainer %s%s%.12s", name ? name : "", name ? " " : "",
				  id);
		if (r == 0 && pod)
			r = buffer_printf(text, " of pod %s%s%s",
					  text_or(container, "namespace", ""),
					  json_string(container, "namespace") ? "/" : "", pod);
		if (r == 0 && json_string(container, "runtime"))
			r = buffer_printf(text, " (%s)", json_string(container, "runtime"));
	} else {
		r = buffer_printf(text, "\ncgroup %s", path);
	}
	return r;
}

static int append_bytes(struct buffer *text, const char *before, const cJSON *object,
			const char *member, const char *after)
{
	char bytes[BYTES_TEXT_SIZE];
	double value = json_number(object, member, -1);

	return value < 0 ? 0
			 : buffer_printf(text, "%s%s%s", before, bytes_format(value, bytes), after);
}

static int append_oom(struct buffer *text, const cJSON *details)
{
	const cJSON *group = json_at(details, "limitCgroup"), *victim = json_at(details, "victim");
	const cJSON *node = json_at(details, "node"), *trigger = json_at(details, "trigger");
	int r = 0;

	if (victim) {
		r = buffer_append_text(text, "\nthe victim held");
		if (r == 0)
			r = append_bytes(text, " ", victim, "anonBytes", " anonymous");
		if (r == 0)
			r = append_bytes(text, ", ", victim, "fileBytes", " file");
		if (r == 0)
			r = append_bytes(text, ", ", victim, "shmemBytes", " shared memory");
	}
	if (r == 0 && group) {
		r = buffer_printf(text, "\nlimit of cgroup %s", text_or(group, "path", "/"));
		if (r == 0)
			r = append_bytes(text, ": ", group, "limitBytes", "");
		if (r == 0)
			r = append_bytes(text, ", in use ", group, "usageBytes", "");
	} else if (r == 0 && node) {
		r = append_bytes(text, "\nthe node has ", node, "totalBytes", "");
		if (r == 0)
			r = append_bytes(text, ", of them free ", node, "freeBytes", "");
	}
	if (r == 0 && trigger && json_string(trigger, "comm")) {
		r = buffer_append_text(text, "\ntriggered by ");
		if (r == 0)
			r = story_append_process(text, trigger);
	}
	return r;
}

static int append_waiting_for(struct buffer *text, const cJSON *details)
{
	const cJSON *filesystem = json_at(details, "filesystem"),
		    *device = json_at(details, "device");
	const cJSON *lock = json_at(details, "lock"), *owner = json_at(lock, "owner");
	int r = 0;

	if (filesystem)
		r = buffer_printf(text, "\nfilesystem %s on %s%s", text_or(filesystem, "type", "?"),
				  text_or(filesystem, "id", "?"),
				  json_number(filesystem, "freezeLevel", 0) > 0 ? ", frozen" : "");
	if (r == 0 && device)
		r = buffer_printf(text, "\ndevice %s, %.0f requests in flight%s",
				  text_or(device, "name", "?"), json_number(device, "inFlight", 0),
				  json_bool(device, "suspended", false) ? ", suspended" : "");
	if (r == 0 && lock) {
		r = buffer_printf(text, "\nlock: %s", text_or(lock, "kind", "?"));
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
			      duration_format((uint64_t)(longest * 1e9), time));
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
	const cJSON *details = json_at(event, "details");
	const char *detector = text_or(event, "detector", "?");
	double lost = json_number(event, "lost", 0);

	int r = buffer_printf(text, "%s, by the detector %s",
			      text_or(event, "type", "kernel event"), detector);
	if (r == 0)
		r = append_processes(text, event);
	if (r == 0)
		r = append_container(text, event);
	if (r == 0 && streq(detector, "oom"))
		r = append_oom(text, details);
	else if (r == 0 && streq(detector, "hung_task"))
		r = append_hung_task(text, details);
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
	const char *source = text_or(spec, "source", "unknown source");

	if (event)
		return append_kernel_event(text, event);
	if (log)
		return buffer_printf(text, "in the log %s\n%.*s", text_or(log, "filePath", "?"),
				     ENTRY_SHOWN, text_or(log, "logEntry", ""));
	if (alert)
		return buffer_printf(text, "Prometheus alert %s",
				     text_or(json_at(alert, "labels"), "alertname", "?"));
	if (kubernetes_event)
		return buffer_printf(text, "Kubernetes event %s\n%.*s",
				     text_or(kubernetes_event, "reason", "?"), ENTRY_SHOWN,
				     text_or(kubernetes_event, "message", ""));
	if (streq(source, "Custom"))
		return buffer_append_text(text,
					  "made by hand or by another program (source Custom)");
	return buffer_printf(text, "by the source %s", source);
}
