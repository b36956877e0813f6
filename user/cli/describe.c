/* SPDX-License-Identifier: Apache-2.0 */
/* lifeboat describe: the story of an Abnormal, or all that is known of another thing. */
#include <errno.h>

#include "cli/cli.h"
#include "cli/story.h"

static int describe_abnormal(const char *namespace, const char *name)
{
	_cleanup_buffer_ struct buffer path = BUFFER(URL_BYTES_MAX);
	_cleanup_json_ cJSON *abnormal = NULL, *history = NULL, *recoverers = NULL;
	struct terminal terminal = terminal_of(stdout);
	struct problem problem = {0};

	int r = abnormal_fetch(namespace, name, &abnormal, &problem);
	if (r < 0)
		return report_error(r, &problem);
	r = url_append(&path, &problem, "/api/v1/namespaces/{}/abnormals/{}/history", namespace,
		       name);
	/* Without its history the story is still told, from the conditions. */
	if (r == 0)
		r = client_call("GET", path.data, NULL, NULL, &history, &problem);
	/* And without them it cannot tell which repairs are off. */
	if (r == 0)
		r = client_call("GET", resource_words[RESOURCE_RECOVERER].path, NULL, NULL,
				&recoverers, &problem);
	if (story_print(&terminal, abnormal, json_at(history, "items"),
			json_at(recoverers, "items"), clock_realtime(clock_system())) < 0)
		return report_text(EXIT_ERROR, "out of memory");
	return r < 0 ? report_error(r, &problem) : EXIT_OK;
}

static int describe_other(enum resource resource, char **names, size_t count)
{
	_cleanup_json_ cJSON *list = NULL;
	struct problem problem = {0};
	size_t shown = 0;
	const cJSON *item;

	int r = client_call("GET", resource_words[resource].path, NULL, NULL, &list, &problem);
	if (r < 0)
		return report_error(r, &problem);
	cJSON_ArrayForEach (item, json_at(list, "items")) {
		bool wanted = count == 0;

		for (size_t i = 0; i < count; i++)
			wanted = wanted || streq(names[i], object_name(item));
		if (!wanted)
			continue;
		if (shown++)
			printf("---\n");
		r = output_value(stdout, OUTPUT_YAML, item);
		if (r != EXIT_OK)
			return r;
	}
	if (shown < count)
		return report_text(EXIT_ERROR,
				   "not all of these are there: `lifeboat get %s` lists them",
				   resource_words[resource].plural);
	return EXIT_OK;
}

static int describe_run(int argc, char **argv)
{
	static const struct option longs[] = {{"namespace", required_argument, NULL, 'n'},
					      GLOBAL_OPTIONS};
	struct options options = OPTIONS("n:", longs);
	const char *where = "default", *name;
	enum resource resource;
	int c, status = EXIT_OK;

	while ((c = options_next(&options)) >= 0)
		where = optarg;
	if (c == OPTION_EXIT)
		return options.exit_status;
	if (optind == argc)
		return usage_error("describe", "say what: abnormal NAME");
	if (resource_parse("describe", argv[optind], &resource, &name) < 0)
		return EXIT_USAGE;
	if (name)
		argv[optind] = (char *)name;
	else
		optind++;
	if (resource != RESOURCE_ABNORMAL)
		return describe_other(resource, argv + optind, (size_t)(argc - optind));
	if (optind == argc)
		return usage_error("describe", "say which: `lifeboat get abnormals` lists them");
	for (int i = optind; i < argc && status == EXIT_OK; i++) {
		if (i > optind)
			printf("\n");
		status = describe_abnormal(where, argv[i]);
	}
	return status;
}

COMMAND(describe) = {
	.name = "describe",
	.arguments = "abnormal NAME... [-n NAMESPACE]",
	.summary = "Tell an Abnormal's story: cause, evidence, what was done, what to do next",
	.help = "  -n, --namespace NAMESPACE  where it is (default)\n\n"
		"Detectors, collectors, diagnosers, recoverers and sources are described with all "
		"that is\n"
		"known of them: `lifeboat describe detector oom`.\n",
	.group = GROUP_ABNORMALS,
	.run = describe_run,
};
