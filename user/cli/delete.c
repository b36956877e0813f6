/* SPDX-License-Identifier: Apache-2.0 */
/* lifeboat delete: removes Abnormals, ended or not. */
#include <errno.h>

#include "cli/cli.h"

struct delete
{
	const char *namespace; /* NULL: default for names, all for --all and -l */
	struct selector *selector;
	bool all, ignore_missing;
};

static int delete_one(const struct delete *delete, const char *namespace, const char *name)
{
	_cleanup_buffer_ struct buffer path = BUFFER(URL_BYTES_MAX);
	struct problem problem = {0};
	int r = url_append(&path, &problem, "/api/v1/namespaces/{}/abnormals/{}", namespace, name);

	if (r == 0)
		r = client_call("DELETE", path.data, NULL, NULL, NULL, &problem);
	if (r == -ENOENT && delete->ignore_missing)
		return EXIT_OK;
	if (r < 0)
		return report_error(r, &problem);
	printf("abnormal.lifeboat.dev/%s deleted\n", name);
	return EXIT_OK;
}

static int delete_matching(const struct delete *delete)
{
	_cleanup_json_ cJSON *list = NULL;
	struct problem problem = {0};
	int status = EXIT_OK;
	bool found = false;
	const cJSON *item;

	int r = client_call("GET", "/api/v1/abnormals", NULL, NULL, &list, &problem);
	if (r < 0)
		return report_error(r, &problem);
	cJSON_ArrayForEach (item, json_at(list, "items")) {
		const char *namespace = json_string(json_at(item, "metadata"), "namespace");

		if (!namespace || (delete->namespace && !streq(namespace, delete->namespace)) ||
		    !selector_matches(delete->selector, json_at(item, "metadata.labels")))
			continue;
		r = delete_one(delete, namespace, object_name(item));
		if (r != EXIT_OK)
			status = r;
		found = true;
	}
	if (!found)
		fprintf(stderr, "No abnormals found.\n");
	return status;
}

static int delete_execute(const struct delete *delete, char **names, int count)
{
	int status = EXIT_OK;

	if (delete->all || delete->selector) {
		if (count)
			return usage_error("delete", "either names, or --all or -l");
		return delete_matching(delete);
	}
	if (!count)
		return usage_error("delete", "say which: `lifeboat get abnormals` lists them");
	for (int i = 0; i < count; i++) {
		int r = delete_one(delete, delete->namespace ? delete->namespace : "default",
				   names[i]);
		if (r != EXIT_OK)
			status = r;
	}
	return status;
}

static int delete_run(int argc, char **argv)
{
	enum { ALL = OPTION_FIRST_OWN, IGNORE_NOT_FOUND };
	static const struct option longs[] = {
		{"namespace", required_argument, NULL, 'n'},
		{"selector", required_argument, NULL, 'l'},
		{"all", no_argument, NULL, ALL},
		{"ignore-not-found", no_argument, NULL, IGNORE_NOT_FOUND},
		GLOBAL_OPTIONS};
	struct options options = OPTIONS("n:l:", longs);
	_cleanup_(selector_freep) struct selector *selector = NULL;
	struct delete delete = {0};
	enum resource resource;
	const char *name;
	int c, status;

	while ((c = options_next(&options)) >= 0) {
		if (c == 'n')
			delete.namespace = optarg;
		else if (c == ALL)
			delete.all = true;
		else if (c == IGNORE_NOT_FOUND)
			delete.ignore_missing = true;
		else if ((status = selector_option("delete", optarg, &selector)) != EXIT_OK)
			return status;
	}
	if (c == OPTION_EXIT)
		return options.exit_status;
	delete.selector = selector;
	if (optind == argc)
		return usage_error("delete", "say what: abnormal NAME");
	if (resource_parse("delete", argv[optind], &resource, &name) < 0)
		return EXIT_USAGE;
	if (resource != RESOURCE_ABNORMAL)
		return usage_error(
			"delete",
			"only abnormals can be deleted; %s are configured in lifeboat.yaml and its "
			"folders",
			resource_words[resource].plural);
	if (name)
		argv[optind] = (char *)name;
	else
		optind++;
	return delete_execute(&delete, argv + optind, argc - optind);
}

COMMAND(delete) = {
	.name = "delete",
	.arguments = "abnormal NAME... | --all | -l SELECTOR",
	.summary = "Remove Abnormals; what is being handled is ended first",
	.help = "  -n, --namespace NAMESPACE  where they are (default; with --all and -l every "
		"one)\n"
		"  -l, --selector SELECTOR    those with these labels\n"
		"      --all                  all of them\n"
		"      --ignore-not-found     it is fine if one is not there\n",
	.group = GROUP_ABNORMALS,
	.run = delete_run,
};
