/* SPDX-License-Identifier: Apache-2.0 */
/* The picture of `lifeboat top`. */
#include "cli/top_model.h"

#include <errno.h>

#include "cli/rows.h"

#define LIVE_SHOWN_MAX 64

int top_model_start(struct top_model *model)
{
	*model = (struct top_model){.live = cJSON_CreateArray(), .recent = cJSON_CreateArray()};
	return model->live && model->recent ? 0 : -ENOMEM;
}

void top_model_clear(struct top_model *model)
{
	cJSON_Delete(model->live);
	cJSON_Delete(model->recent);
	cJSON_Delete(model->status);
	cJSON_Delete(model->detectors);
	cJSON_Delete(model->pressure);
	*model = (struct top_model){0};
}

static bool same_object(const cJSON *a, const cJSON *b)
{
	const cJSON *left = json_at(a, "metadata"), *right = json_at(b, "metadata");

	return streq_ptr(json_string(left, "name"), json_string(right, "name")) &&
	       streq_ptr(json_string(left, "namespace"), json_string(right, "namespace"));
}

static void drop(cJSON *list, const cJSON *object)
{
	cJSON *item = list->child;

	while (item && !same_object(item, object))
		item = item->next;
	if (item)
		cJSON_Delete(cJSON_DetachItemViaPointer(list, item));
}

/* The latest time among its conditions, as text: RFC 3339 in UTC sorts as it is. */
static const char *last_change(const cJSON *object)
{
	const cJSON *condition;
	const char *latest = "";

	cJSON_ArrayForEach (condition, json_at(object, "status.conditions")) {
		const char *time = json_string(condition, "lastTransitionTime");

		if (time && strcmp(time, latest) > 0)
			latest = time;
	}
	return latest;
}

/*
 * OBJECT into its place. Into a fresh list, as cJSON_InsertItemInArray of some releases (1.7.15
 * with the fix of CVE-2023-50471) refuses every place but the first.
 */
static int recent_add(struct top_model *model, cJSON *object)
{
	_cleanup_json_ cJSON *before = model->recent, *rest = object;

	model->recent = cJSON_CreateArray();
	if (!model->recent)
		return -ENOMEM;
	while (cJSON_GetArraySize(model->recent) < TOP_RECENT_MAX && (rest || before->child)) {
		bool next_is_new = rest && (!before->child || strcmp(last_change(before->child),
								     last_change(rest)) <= 0);
		cJSON *next = next_is_new ? TAKE_PTR(rest)
					  : cJSON_DetachItemViaPointer(before, before->child);

		cJSON_AddItemToArray(model->recent, next); /* fails only for NULL */
	}
	return 0;
}

int top_model_change(struct top_model *model, const char *type, cJSON *object)
{
	const char *phase = json_string(json_at(object, "status"), "phase");

	drop(model->live, object);
	drop(model->recent, object);
	if (streq(type, "DELETED")) {
		cJSON_Delete(object);
		return 0;
	}
	if (phase && (streq(phase, "Succeeded") || streq(phase, "Failed")))
		return recent_add(model, object);
	return cJSON_AddItemToArray(model->live, object) ? 0 : -ENOMEM;
}

static void print_status(const struct top_model *model, const struct terminal *terminal,
			 int64_t now)
{
	const cJSON *process = json_at(model->status, "process"),
		    *pipeline = json_at(model->status, "pipeline");
	const cJSON *store = json_at(model->status, "store");
	const char *node = json_string(model->status, "nodeName"),
		   *version = json_string(model->status, "version");
	const char *medium = json_string(store, "medium"), *reason = json_string(store, "reason");
	char age[TIME_TEXT_SIZE], bytes[BYTES_TEXT_SIZE];

	terminal_text(terminal, COLOUR_BOLD, node ? node : "?");
	fprintf(terminal->out, "   lifeboat %s, up %s, %s resident, %.1f s of CPU%s\n",
		version ? version : "?", age_format(json_string(process, "startTime"), now, age),
		bytes_format(json_number(process, "residentBytes", 0), bytes),
		json_number(process, "cpuSeconds", 0),
		json_bool(model->status, "dryRun", false) ? ", dry run" : "");
	fprintf(terminal->out,
		"%.0f live, %.0f waiting; since the start %.0f succeeded, %.0f failed, %.0f "
		"repairs\n",
		json_number(pipeline, "live", 0), json_number(pipeline, "waiting", 0),
		json_number(pipeline, "succeeded", 0), json_number(pipeline, "failed", 0),
		json_number(pipeline, "actionsDone", 0));
	if (medium && !streq(medium, "disk")) {
		terminal_text(terminal, COLOUR_BAD, "store in ");
		terminal_text(terminal, COLOUR_BAD, medium);
		fputs(reason && *reason ? ": " : "", terminal->out);
		terminal_text(terminal, COLOUR_BAD, reason ? reason : "");
		fputc('\n', terminal->out);
	}
}

static void print_pressure(const struct top_model *model, const struct terminal *terminal)
{
	static const char *const kinds[] = {"cpu", "memory", "io"};

	fputs("pressure", terminal->out);
	if (!model->pressure) {
		terminal_text(terminal, COLOUR_DIM, "   not known");
		fputc('\n', terminal->out);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const cJSON *kind = json_at(model->pressure, kinds[i]);
		double some = json_number(json_at(kind, "some"), "avg10", 0);
		char text[64];

		if (kind)
			snprintf(text, sizeof(text), "%s %.1f %%", kinds[i], some);
		else
			snprintf(text, sizeof(text), "%s not known", kinds[i]);
		fputs("   ", terminal->out);
		terminal_text(terminal,
			      some >= 50   ? COLOUR_BAD
			      : some >= 10 ? COLOUR_BUSY
					   : COLOUR_NONE,
			      text);
		/* All tasks of a node never wait for its processors at once. */
		if (i > 0 && json_at(kind, "full"))
			fprintf(terminal->out, " (all tasks %.1f %%)",
				json_number(json_at(kind, "full"), "avg10", 0));
	}
	fputs("   of 10 s\n", terminal->out);
}

static int print_rows(const struct terminal *terminal, const char *title, enum resource resource,
		      const cJSON *items, bool wide, int64_t now)
{
	_cleanup_rows_ struct rows rows = {
		.resource = resource, .wide = wide, .now_realtime_ns = now};
	int count = 0, r = 0;
	const cJSON *item;

	fputc('\n', terminal->out);
	terminal_text(terminal, COLOUR_BOLD, title);
	fputc('\n', terminal->out);
	if (!items || !items->child) {
		terminal_text(terminal, COLOUR_DIM, "none");
		fputc('\n', terminal->out);
		return 0;
	}
	rows_start(&rows);
	cJSON_ArrayForEach (item, items) {
		if (r == 0 && count++ < LIVE_SHOWN_MAX)
			r = rows_add(&rows, item, false);
	}
	if (r < 0)
		return r;
	rows_print(&rows, terminal);
	if (count > LIVE_SHOWN_MAX)
		fprintf(terminal->out, "… and %d more\n", count - LIVE_SHOWN_MAX);
	return 0;
}

int top_model_print(const struct top_model *model, const struct terminal *terminal,
		    int64_t now_realtime_ns)
{
	print_status(model, terminal, now_realtime_ns);
	print_pressure(model, terminal);
	int r = print_rows(terminal, "Live", RESOURCE_ABNORMAL, model->live, false,
			   now_realtime_ns);
	if (r == 0)
		r = print_rows(terminal, "Ended last", RESOURCE_ABNORMAL, model->recent, false,
			       now_realtime_ns);
	if (r == 0)
		r = print_rows(terminal, "Detectors", RESOURCE_DETECTOR, model->detectors, true,
			       now_realtime_ns);
	return r;
}
