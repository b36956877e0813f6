/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lifeboat apply: Abnormals that a person or a program wrote, into the same pipeline as all others.
 */
#include <errno.h>

#include "cli/cli.h"
#include "cli/documents.h"

struct apply {
	const char *file, *namespace;
	bool dry_run;
};

static int default_namespace(cJSON *document, const char *namespace)
{
	cJSON *metadata = cJSON_GetObjectItemCaseSensitive(document, "metadata");

	if (!namespace || (metadata && json_string(metadata, "namespace")))
		return 0;
	if (!metadata)
		metadata = cJSON_AddObjectToObject(document, "metadata");
	return metadata ? json_set_string(metadata, "namespace", namespace) : -ENOMEM;
}

static void tell(const cJSON *answer)
{
	const char *result = json_string(answer, "result"), *name = json_string(answer, "name");

	if (streq_ptr(result, "folded"))
		result = "folded: the same fault is known already";
	else if (streq_ptr(result, "cooldown"))
		result = "counted: the same fault ended a moment ago";
	printf("abnormal.lifeboat.dev/%s %s\n", name ? name : "?", result ? result : "applied");
}

static int apply_one(const struct apply *apply, cJSON *document, int number)
{
	_cleanup_json_ cJSON *answer = NULL;
	struct problem problem = {0}, whole = {0};
	char line[sizeof(problem.field) + sizeof(problem.text) + 4];

	if (apply->dry_run) {
		printf("abnormal.lifeboat.dev/%s is valid (dry run)\n", object_name(document));
		return EXIT_OK;
	}
	int r = client_call("POST", "/api/v1/abnormals", document, NULL, &answer, &problem);
	if (r == 0) {
		tell(answer);
		return EXIT_OK;
	}
	if (r != -EREMOTEIO)
		return report_error(r, &problem);
	problem_set(&whole, r, NULL, "%s: document %d: %s",
		    streq(apply->file, "-") ? "standard input" : apply->file, number,
		    problem_line(&problem, line, sizeof(line)));
	return report_error(r, &whole);
}

/*
 * All are checked before the first is sent, so that a mistake in the last leaves nothing half done.
 */
static int apply_file(const struct apply *apply)
{
	_cleanup_json_ cJSON *documents = NULL;
	struct problem problem = {0};
	int number = 0, status = EXIT_OK;
	cJSON *document;

	int r = documents_read(apply->file, &documents, &problem);
	if (r < 0)
		return report_error(r == -ECONNREFUSED ? -EIO : r, &problem);
	cJSON_ArrayForEach (document, documents) {
		r = document_check(apply->file, document, ++number, &problem);
		if (r == 0)
			r = default_namespace(document, apply->namespace);
		if (r < 0)
			status = report_error(r, &problem);
	}
	number = 0;
	cJSON_ArrayForEach (document, documents) {
		if (status == EXIT_OK)
			status = apply_one(apply, document, ++number);
	}
	return status;
}

static int apply_run(int argc, char **argv)
{
	enum { DRY_RUN = OPTION_FIRST_OWN };
	static const struct option longs[] = {{"filename", required_argument, NULL, 'f'},
					      {"namespace", required_argument, NULL, 'n'},
					      {"dry-run", no_argument, NULL, DRY_RUN},
					      GLOBAL_OPTIONS};
	struct options options = OPTIONS("f:n:", longs);
	struct apply apply = {0};
	const char *files[64];
	size_t count = 0;
	int c, status = EXIT_OK;

	while ((c = options_next(&options)) >= 0) {
		if (c == 'f' && count < ARRAY_SIZE(files))
			files[count++] = optarg;
		else if (c == 'f')
			return usage_error("apply", "at most %zu files at once", ARRAY_SIZE(files));
		else if (c == 'n')
			apply.namespace = optarg;
		else
			apply.dry_run = true;
	}
	if (c == OPTION_EXIT)
		return options.exit_status;
	if (optind < argc)
		return usage_error("apply", "files are named with -f: -f %s", argv[optind]);
	if (count == 0)
		return usage_error("apply", "name a file with -f, or - for standard input");
	for (size_t i = 0; i < count; i++) {
		apply.file = files[i];
		int r = apply_file(&apply);
		if (r != EXIT_OK)
			status = r;
	}
	return status;
}

COMMAND(apply) = {
	.name = "apply",
	.arguments = "-f FILE|- [--dry-run] [-n NAMESPACE]",
	.summary = "Hand Abnormals to the agent from a file (YAML or JSON)",
	.help = "  -f, --filename FILE        YAML or JSON, one or several documents; - is "
		"standard input\n"
		"      --dry-run              check them here, and send nothing\n"
		"  -n, --namespace NAMESPACE  for those that name none\n\n"
		"  lifeboat apply -f - <<'END'\n"
		"  apiVersion: lifeboat.dev/v1alpha1\n"
		"  kind: Abnormal\n"
		"  metadata: {name: database-is-slow}\n"
		"  spec:\n"
		"    source: Custom\n"
		"    context: {seenBy: \"a person\"}\n"
		"  END\n",
	.group = GROUP_ABNORMALS,
	.run = apply_run,
};
