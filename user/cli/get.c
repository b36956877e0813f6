/* SPDX-License-Identifier: Apache-2.0 */
/* lifeboat get: lists of everything, once or as it changes. */
#include <errno.h>

#include "cli/cli.h"
#include "cli/rows.h"

struct get {
	enum resource resource;
	enum output output;
	const char *namespace; /* NULL: all */
	bool watch, all_namespaces;
	struct selector *selector;
	char **names; /* none: all */
	size_t name_count;
};

static bool wanted(const struct get *get, const cJSON *object)
{
	const char *namespace = json_string(json_at(object, "metadata"), "namespace");
	bool named = get->name_count == 0;

	for (size_t i = 0; i < get->name_count; i++)
		named = named || streq(get->names[i], object_name(object));
	if (!named || (get->namespace && namespace && !streq(namespace, get->namespace)))
		return false;
	return selector_matches(get->selector, json_at(object, "metadata.labels"));
}

/* In place. Names that are not there are told. Returns the exit status. */
static int filter(const struct get *get, cJSON *items)
{
	int status = EXIT_OK;
	cJSON *item = items->child;

	while (item) {
		cJSON *next = item->next;

		if (!wanted(get, item))
			cJSON_Delete(cJSON_DetachItemViaPointer(items, item));
		item = next;
	}
	for (size_t i = 0; i < get->name_count; i++) {
		bool found = false;

		cJSON_ArrayForEach (item, items) {
			found = found || streq(get->names[i], object_name(item));
		}
		if (!found)
			status = report_text(EXIT_ERROR,
					     "there is no %s %s%s%s: `lifeboat get %s` lists them",
					     resource_words[get->resource].singular, get->names[i],
					     get->namespace ? " in the namespace " : "",
					     get->namespace ? get->namespace : "",
					     resource_words[get->resource].plural);
	}
	return status;
}

static bool other_namespaces(const cJSON *items)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, items) {
		const char *namespace = json_string(json_at(item, "metadata"), "namespace");

		if (namespace && !streq(namespace, "default"))
			return true;
	}
	return false;
}

static int table_show(const struct get *get, const cJSON *items)
{
	struct terminal terminal = terminal_of(stdout);
	_cleanup_rows_ struct rows rows = {
		.resource = get->resource,
		.wide = get->output == OUTPUT_WIDE,
		.namespaces = get->resource == RESOURCE_ABNORMAL &&
			      (get->all_namespaces || get->output == OUTPUT_WIDE ||
			       other_namespaces(items)),
		.now_realtime_ns = clock_realtime(clock_system()),
	};
	const cJSON *item;

	if (cJSON_GetArraySize(items) == 0) {
		fprintf(stderr, "No %s found%s%s.\n", resource_words[get->resource].plural,
			get->namespace ? " in namespace " : "",
			get->namespace ? get->namespace : "");
		return EXIT_OK;
	}
	rows_start(&rows);
	cJSON_ArrayForEach (item, items) {
		if (rows_add(&rows, item, false) < 0)
			return report_text(EXIT_ERROR, "out of memory");
	}
	rows_print(&rows, &terminal);
	return EXIT_OK;
}

static int list_show(const struct get *get, cJSON *list)
{
	cJSON *items = cJSON_GetObjectItemCaseSensitive(list, "items");
	const cJSON *item;

	if (!cJSON_IsArray(items))
		return report_text(EXIT_ERROR, "the agent's answer has no items");
	int status = filter(get, items), r = EXIT_OK;
	switch (get->output) {
	case OUTPUT_JSON:
	case OUTPUT_YAML:
		/* One by name is that object; everything else is a List. */
		if (get->name_count == 1 && cJSON_GetArraySize(items) == 1)
			r = output_value(stdout, get->output, items->child);
		else if (get->name_count != 1 || items->child)
			r = output_value(stdout, get->output, list);
		break;
	case OUTPUT_NAME:
		cJSON_ArrayForEach (item, items) {
			resource_print_name(stdout, get->resource, item);
		}
		break;
	default:
		if (status == EXIT_OK || items->child)
			r = table_show(get, items);
	}
	return r != EXIT_OK ? r : status;
}

/* One change of a watch. Returns EXIT_OK, or an exit status to end with. */
static int change_show(const struct get *get, struct rows *rows, const struct terminal *terminal,
		       const cJSON *change)
{
	const char *type = json_string(change, "type");
	const cJSON *object = json_at(change, "object");

	if (!type || !object || !wanted(get, object))
		return EXIT_OK;
	switch (get->output) {
	case OUTPUT_JSON:
		return output_line(stdout, object);
	case OUTPUT_YAML:
		printf("---\n");
		return output_value(stdout, OUTPUT_YAML, object);
	case OUTPUT_NAME:
		resource_print_name(stdout, get->resource, object);
		return EXIT_OK;
	default:
		rows->now_realtime_ns = clock_realtime(clock_system());
		if (rows_add(rows, object, streq(type, "DELETED")) < 0)
			return report_text(EXIT_ERROR, "out of memory");
		rows_print(rows, terminal);
		return EXIT_OK;
	}
}

static int watch_run(const struct get *get, const char *path)
{
	struct terminal terminal = terminal_of(stdout);
	_cleanup_rows_ struct rows rows = {.resource = get->resource,
					   .wide = get->output == OUTPUT_WIDE,
					   .namespaces = get->all_namespaces ||
							 get->output == OUTPUT_WIDE};
	_cleanup_lines_ struct client_lines lines = {0};
	struct problem problem = {0};
	int r = client_lines_open(path, &lines, &problem);

	if (r < 0)
		return report_error(r, &problem);
	rows_start(&rows);
	/* A watch cannot know what is to come: room for what is usual. */
	rows.table.widths[rows.namespaces] = 30;
	rows.table.widths[rows.namespaces + 1] = strlen("InformationCollecting");
	rows.table.widths[rows.namespaces + 2] = strlen("ContainerOutOfMemory");
	rows.table.widths[rows.namespaces + 4] = strlen("100ms");
	for (;;) {
		_cleanup_json_ cJSON *change = NULL;

		r = client_lines_next(&lines, -1, &change, &problem);
		if (r < 0)
			return report_error(r, &problem);
		r = output_flush(change_show(get, &rows, &terminal, change));
		if (r != EXIT_OK)
			return r;
	}
}

static int get_execute(const struct get *get)
{
	_cleanup_buffer_ struct buffer path = BUFFER(URL_BYTES_MAX);
	_cleanup_json_ cJSON *list = NULL;
	struct problem problem = {0};
	char separator = '?';
	int r = buffer_append_text(&path, resource_words[get->resource].path);

	if (r == 0 && get->resource == RESOURCE_ABNORMAL && get->namespace) {
		r = url_append(&path, &problem, "?namespace={}", get->namespace);
		separator = '&';
	}
	if (r == 0 && get->watch)
		r = buffer_printf(&path, "%cwatch=true", separator);
	if (r < 0)
		return report_error(r, &problem);
	if (get->watch)
		return watch_run(get, path.data);
	r = client_call("GET", path.data, NULL, NULL, &list, &problem);
	return r < 0 ? report_error(r, &problem) : list_show(get, list);
}

static int get_parse(int argc, char **argv, struct get *get)
{
	static const struct option longs[] = {{"output", required_argument, NULL, 'o'},
					      {"watch", no_argument, NULL, 'w'},
					      {"namespace", required_argument, NULL, 'n'},
					      {"all-namespaces", no_argument, NULL, 'A'},
					      {"selector", required_argument, NULL, 'l'},
					      GLOBAL_OPTIONS};
	struct options options = OPTIONS("o:wn:Al:", longs);
	const char *name;
	int c, r;

	while ((c = options_next(&options)) >= 0) {
		switch (c) {
		case 'o':
			if (output_parse("get", optarg, 0x1f, &get->output) < 0)
				return EXIT_USAGE;
			break;
		case 'w':
			get->watch = true;
			break;
		case 'n':
			get->namespace = optarg;
			break;
		case 'A':
			get->all_namespaces = true;
			break;
		default:
			r = selector_option("get", optarg, &get->selector);
			if (r != EXIT_OK)
				return r;
		}
	}
	if (c == OPTION_EXIT)
		return options.exit_status;
	if (optind == argc)
		return usage_error("get", "say what: abnormals, detectors, collectors, diagnosers, "
					  "recoverers or sources");
	if (resource_parse("get", argv[optind], &get->resource, &name) < 0)
		return EXIT_USAGE;
	if (name) /* abnormal/NAME */
		argv[optind] = (char *)name;
	get->names = argv + optind + !name;
	get->name_count = (size_t)(argc - optind - !name);
	if (get->all_namespaces)
		get->namespace = NULL;
	if (get->resource != RESOURCE_ABNORMAL && (get->watch || get->selector))
		return usage_error("get", "only abnormals can be watched and have labels");
	return -1;
}

static int get_run(int argc, char **argv)
{
	struct get get = {.output = OUTPUT_TABLE};

	int status = get_parse(argc, argv, &get);
	if (status < 0)
		status = get_execute(&get);
	selector_free(get.selector);
	return status;
}

COMMAND(get) = {
	.name = "get",
	.arguments = "abnormals|detectors|collectors|diagnosers|recoverers|sources [NAME...]",
	.summary = "List Abnormals, or what the agent is made of",
	.help = "  -o, --output FORMAT        table, wide, json, yaml or name\n"
		"  -w, --watch                go on and print what changes (abnormals)\n"
		"  -n, --namespace NAMESPACE  only this namespace (all are shown otherwise)\n"
		"  -A, --all-namespaces       all namespaces, in a column\n"
		"  -l, --selector SELECTOR    only these labels: a=b,c!=d,e in (x,y),f notin "
		"(z),g,!h\n\n"
		"Short names: abn and ab for abnormals. `-o json` gives a List, or the object when "
		"one\n"
		"name is given; with -w one object a line.\n\n"
		"  lifeboat get abnormals\n"
		"  lifeboat get abn -w\n"
		"  lifeboat get recoverers -o wide\n",
	.group = GROUP_ABNORMALS,
	.run = get_run,
};
