/* SPDX-License-Identifier: Apache-2.0 */
/* Columns as tables of small functions from an object to its cell. */
#include "cli/rows.h"

#include <errno.h>

#include "core/abnormal.h"

#define SUBJECT_WIDTH 44
#define NAME_WIDTH 32

struct cell_text {
	char text[256];
	enum colour colour;
};

struct column {
	const char *header;
	bool wide;
	const char *member; /* shown as it is, when CELL is NULL */
	void (*cell)(const struct rows *rows, const cJSON *object, struct cell_text *cell);
};

const char *age_format(const char *time, int64_t now_realtime_ns, char text[TIME_TEXT_SIZE])
{
	int64_t then;

	if (!time || time_parse(time, &then) < 0) {
		text[0] = '\0';
		return text;
	}
	return duration_format(time_between(then, now_realtime_ns), text);
}

static void cell_set(struct cell_text *cell, const char *text)
{
	snprintf(cell->text, sizeof(cell->text), "%s", text ? text : "");
}

static void cell_set_value(struct cell_text *cell, const cJSON *value)
{
	if (cJSON_IsString(value))
		cell_set(cell, value->valuestring);
	else if (cJSON_IsNumber(value))
		snprintf(cell->text, sizeof(cell->text), "%.0f", value->valuedouble);
	else if (cJSON_IsBool(value))
		cell_set(cell, cJSON_IsTrue(value) ? "true" : "false");
}

static void cell_set_short(struct cell_text *cell, const char *text, unsigned width)
{
	_cleanup_free_ char *shortened = text ? text_shorten(text, width) : NULL;

	cell_set(cell, shortened);
}

static void phase_cell(const struct rows *rows, const cJSON *object, struct cell_text *cell)
{
	const char *phase = json_string(json_at(object, "status"), "phase");

	cell_set(cell, phase && *phase ? phase : "Created");
	cell->colour = phase_colour(cell->text);
}

static void subject_cell(const struct rows *rows, const cJSON *object, struct cell_text *cell)
{
	/* Not json_at: the annotation's name has dots. */
	const char *subject =
		json_string(json_at(object, "metadata.annotations"), ANNOTATION_SUBJECT);

	if (rows->wide)
		cell_set(cell, subject);
	else
		cell_set_short(cell, subject, SUBJECT_WIDTH);
}

static void count_cell(const struct rows *rows, const cJSON *object, struct cell_text *cell)
{
	snprintf(cell->text, sizeof(cell->text), "%.0f",
		 json_number(json_at(object, "status.occurrences"), "count", 1));
}

static void age_cell(const struct rows *rows, const cJSON *object, struct cell_text *cell)
{
	const char *time = json_string(json_at(object, "metadata"), "creationTimestamp");
	char text[TIME_TEXT_SIZE];

	cell_set(cell, age_format(time, rows->now_realtime_ns, text));
}

static void summary_cell(const struct rows *rows, const cJSON *object, struct cell_text *cell)
{
	cell_set(cell, json_string(object, "summary"));
}

static void detector_status_cell(const struct rows *rows, const cJSON *object,
				 struct cell_text *cell)
{
	const char *status = json_string(object, "status");

	cell_set(cell, status);
	if (status)
		cell->colour = streq(status, "active")	      ? COLOUR_GOOD
			       : streq(status, "unsupported") ? COLOUR_BAD
			       : streq(status, "degraded")    ? COLOUR_BUSY
							      : COLOUR_DIM;
}

static void plugin_status_cell(const struct rows *rows, const cJSON *object, struct cell_text *cell)
{
	if (json_string(object, "refusal")) {
		cell_set(cell, "refused");
		cell->colour = COLOUR_BAD;
	} else {
		bool enabled = json_bool(object, "enabled", false);

		bool dry_run = enabled && json_bool(object, "dryRun", false);

		cell_set(cell, dry_run ? "dry run" : enabled ? "on" : "off");
		cell->colour = dry_run ? COLOUR_BUSY : enabled ? COLOUR_GOOD : COLOUR_DIM;
	}
}

/* What it is, or why it is not in its chain. */
static void plugin_about_cell(const struct rows *rows, const cJSON *object, struct cell_text *cell)
{
	const char *refusal = json_string(object, "refusal");

	cell_set(cell, refusal ? refusal : json_string(object, "summary"));
	if (!*cell->text)
		cell_set(cell, json_string(object, "path"));
}

static const struct column abnormal_columns[] = {
	{"PHASE", false, NULL, phase_cell},
	{"REASON", false, "status.reason", NULL},
	{"COUNT", false, NULL, count_cell},
	{"AGE", false, NULL, age_cell},
	{"SOURCE", true, "spec.source", NULL},
	{"DETECTOR", true, "spec.kernelEvent.detector", NULL},
	{"NODE", true, "spec.nodeName", NULL},
	{"DIAGNOSER", true, "status.diagnoser.name", NULL},
	{"RECOVERER", true, "status.recoverer.name", NULL},
	/* Of any length, so last: what is longer than the screen disturbs no other column. */
	{"SUBJECT", false, NULL, subject_cell},
	{0},
};
static const struct column detector_columns[] = {
	{"STATUS", false, NULL, detector_status_cell},
	{"HOOK", false, "hook", NULL},
	{"EVENTS", true, "events", NULL},
	{"LOST", true, "lost", NULL},
	{"LOOKS", true, "looks", NULL},
	{"REASON", false, "reason", NULL},
	{"SUMMARY", true, NULL, summary_cell},
	{0},
};
static const struct column plugin_columns[] = {
	{"STATUS", false, NULL, plugin_status_cell},
	{"TRANSPORT", false, "transport", NULL},
	{"ORDER", false, "order", NULL},
	{"PATH", true, "path", NULL},
	{"ABOUT", false, NULL, plugin_about_cell},
	{0},
};
static const struct column recoverer_columns[] = {
	{"STATUS", false, NULL, plugin_status_cell},
	{"TRANSPORT", false, "transport", NULL},
	{"ORDER", false, "order", NULL},
	{"DISTURBS", false, "disturbs", NULL},
	{"PATH", true, "path", NULL},
	{"ABOUT", false, NULL, plugin_about_cell},
	{0},
};
static const struct column source_columns[] = {
	{"SOURCE", false, "source", NULL},
	{"SUMMARY", false, NULL, summary_cell},
	{0},
};

static const struct column *const columns_of[RESOURCE_COUNT] = {
	[RESOURCE_ABNORMAL] = abnormal_columns,	  [RESOURCE_DETECTOR] = detector_columns,
	[RESOURCE_COLLECTOR] = plugin_columns,	  [RESOURCE_DIAGNOSER] = plugin_columns,
	[RESOURCE_RECOVERER] = recoverer_columns, [RESOURCE_SOURCE] = source_columns,
};

void rows_start(struct rows *rows)
{
	size_t count = 0;

	if (rows->namespaces)
		rows->table.headers[count++] = "NAMESPACE";
	rows->table.headers[count++] = "NAME";
	for (const struct column *column = columns_of[rows->resource]; column->header; column++)
		if (!column->wide || rows->wide)
			rows->table.headers[count++] = column->header;
	rows->table.column_count = count;
}

void rows_clear(struct rows *rows)
{
	table_clear(&rows->table);
}

int rows_add(struct rows *rows, const cJSON *object, bool deleted)
{
	int r = 0;

	if (rows->namespaces)
		r = table_add(&rows->table, COLOUR_NONE,
			      json_string(json_at(object, "metadata"), "namespace"));
	if (r == 0)
		r = table_add(&rows->table, COLOUR_NONE, object_name(object));
	for (const struct column *column = columns_of[rows->resource]; column->header && r == 0;
	     column++) {
		struct cell_text cell = {0};

		if (column->wide && !rows->wide)
			continue;
		if (column->cell)
			column->cell(rows, object, &cell);
		else
			cell_set_value(&cell, json_at(object, column->member));
		if (deleted && streq(column->header, "PHASE"))
			cell_set(&cell, "(deleted)");
		r = table_add(&rows->table, cell.colour, cell.text);
	}
	return r;
}

void rows_print(struct rows *rows, const struct terminal *terminal)
{
	table_print(&rows->table, terminal, !rows->headers_printed);
	rows->headers_printed = true;
}
