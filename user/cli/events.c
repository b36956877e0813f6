/* SPDX-License-Identifier: Apache-2.0 */
/* lifeboat events: what the detectors saw, one line an event. */
#include <errno.h>

#include "cli/cli.h"
#include "cli/rows.h"
#include "cli/story.h"
#include "core/abnormal.h"

#define DETECTOR_WIDTH 10
#define TYPE_WIDTH 17
#define TIME_OF_DAY 11 /* where it begins in a time of RFC 3339 */

/* Returns the exit status. */
static int event_show(const struct terminal *terminal, enum output output, const cJSON *event,
		      const char *subject, bool cleared, bool dated)
{
	const char *time = json_string(event, "time"), *detector = json_string(event, "detector");
	const char *type = json_string(event, "type");
	const cJSON *process = json_at(event, "process");
	_cleanup_buffer_ struct buffer text = BUFFER(4 * KIB);

	if (output == OUTPUT_JSON)
		return output_line(terminal->out, event);
	int r = process ? buffer_append_text(&text, "  ") : 0;
	if (process && r == 0)
		r = story_append_process(&text, process);
	if (r == -ENOMEM) /* a cut line is a line */
		return report_text(EXIT_ERROR, "out of memory");
	fputs(terminal_paint(terminal, COLOUR_DIM), terminal->out);
	if (!time || strlen(time) <= TIME_OF_DAY)
		fputs("--:--:--", terminal->out);
	else if (dated)
		fprintf(terminal->out, "%.10s %.12sZ", time, time + TIME_OF_DAY);
	else
		fprintf(terminal->out, "%.12sZ", time + TIME_OF_DAY);
	fprintf(terminal->out, "%s  ", terminal_paint(terminal, COLOUR_NONE));
	fprintf(terminal->out, "%-*s  ", DETECTOR_WIDTH, detector ? detector : "?");
	fputs(terminal_paint(terminal, cleared ? COLOUR_GOOD : COLOUR_BAD), terminal->out);
	fprintf(terminal->out, "%-*s", TYPE_WIDTH, type ? type : "?");
	fputs(terminal_paint(terminal, COLOUR_NONE), terminal->out);
	fputs("  ", terminal->out);
	terminal_text(terminal, COLOUR_NONE, subject ? subject : "");
	terminal_text(terminal, COLOUR_DIM, buffer_text(&text));
	fputc('\n', terminal->out);
	return EXIT_OK;
}

/* An event as it comes: whether it clears another is part of its JSON. */
static int finding_show(const struct terminal *terminal, enum output output, const cJSON *finding)
{
	if (output == OUTPUT_JSON)
		return output_line(terminal->out, finding);
	return event_show(terminal, output, json_at(finding, "event"),
			  json_string(finding, "subject"), json_bool(finding, "cleared", false),
			  false);
}

static int follow(const struct terminal *terminal, enum output output)
{
	_cleanup_lines_ struct client_lines lines = {0};
	struct problem problem = {0};
	int r = client_lines_open("/api/v1/events", &lines, &problem);

	if (r < 0)
		return report_error(r, &problem);
	for (;;) {
		_cleanup_json_ cJSON *finding = NULL;

		r = client_lines_next(&lines, -1, &finding, &problem);
		if (r < 0)
			return report_error(r, &problem);
		r = output_flush(finding_show(terminal, output, finding));
		if (r != EXIT_OK)
			return r;
	}
}

static int compare_by_time(const void *a, const void *b)
{
	const cJSON *const *left = a, *const *right = b;
	const char *first = json_string(json_at(*left, "spec.kernelEvent"), "time");
	const char *second = json_string(json_at(*right, "spec.kernelEvent"), "time");

	return strcmp(first ? first : "", second ? second : "");
}

/* Without -f: the first event of every Abnormal that is kept. */
static int kept(const struct terminal *terminal, enum output output)
{
	_cleanup_json_ cJSON *list = NULL;
	struct problem problem = {0};
	size_t count = 0;
	const cJSON *item;

	int r = client_call("GET", "/api/v1/abnormals", NULL, NULL, &list, &problem);
	if (r < 0)
		return report_error(r, &problem);
	const cJSON *items = json_at(list, "items");
	_cleanup_free_ const cJSON **sorted =
		calloc((size_t)cJSON_GetArraySize(items) + 1, sizeof(*sorted));
	if (!sorted)
		return report_text(EXIT_ERROR, "out of memory");
	cJSON_ArrayForEach (item, items) {
		if (json_at(item, "spec.kernelEvent"))
			sorted[count++] = item;
	}
	if (!count)
		fprintf(stderr,
			"No events are kept; `lifeboat events -f` shows them as they come.\n");
	qsort(sorted, count, sizeof(*sorted), compare_by_time);
	for (size_t i = 0; i < count; i++) {
		const cJSON *annotations = json_at(sorted[i], "metadata.annotations");

		r = event_show(terminal, output, json_at(sorted[i], "spec.kernelEvent"),
			       json_string(annotations, ANNOTATION_SUBJECT), false, true);
		if (r != EXIT_OK)
			return r;
	}
	return EXIT_OK;
}

static int events_run(int argc, char **argv)
{
	static const struct option longs[] = {{"follow", no_argument, NULL, 'f'},
					      {"output", required_argument, NULL, 'o'},
					      GLOBAL_OPTIONS};
	struct options options = OPTIONS("fo:", longs);
	struct terminal terminal = terminal_of(stdout);
	enum output output = OUTPUT_TABLE;
	bool following = false;
	int c;

	while ((c = options_next(&options)) >= 0) {
		if (c == 'f')
			following = true;
		else if (output_parse("events", optarg, 1u << OUTPUT_TABLE | 1u << OUTPUT_JSON,
				      &output) < 0)
			return EXIT_USAGE;
	}
	if (c == OPTION_EXIT)
		return options.exit_status;
	if (optind < argc)
		return usage_error("events", "takes no argument \"%s\"", argv[optind]);
	return following ? follow(&terminal, output) : kept(&terminal, output);
}

COMMAND(events) = {
	.name = "events",
	.arguments = "[-f] [-o json]",
	.summary = "Show what the detectors saw, and with -f what they see",
	.help = "  -f, --follow         kernel events as they come\n"
		"  -o, --output FORMAT  table, or json: one object a line\n\n"
		"Without -f the events that began the Abnormals which are kept.\n",
	.group = GROUP_LOOK,
	.run = events_run,
};
