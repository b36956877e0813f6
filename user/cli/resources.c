/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of things that get and describe know, and how values are written. */
#include <errno.h>

#include "base/suggestion.h"
#include "base/yaml.h"
#include "cli/cli.h"

const struct resource_words resource_words[RESOURCE_COUNT] = {
	[RESOURCE_ABNORMAL] = {"abnormals", "abnormal", {"abn", "ab"}, "/api/v1/abnormals"},
	[RESOURCE_DETECTOR] = {"detectors", "detector", {"det"}, "/api/v1/detectors"},
	[RESOURCE_COLLECTOR] = {"collectors",
				"collector",
				{"col", "informationcollectors"},
				"/api/v1/collectors"},
	[RESOURCE_DIAGNOSER] = {"diagnosers", "diagnoser", {"diag"}, "/api/v1/diagnosers"},
	[RESOURCE_RECOVERER] = {"recoverers", "recoverer", {"rec"}, "/api/v1/recoverers"},
	[RESOURCE_SOURCE] = {"sources", "source", {"src", "abnormalsources"}, "/api/v1/sources"},
};

int resource_parse(const char *command, const char *text, enum resource *ret_resource,
		   const char **ret_name)
{
	const char *slash = strchr(text, '/');
	size_t length = slash ? (size_t)(slash - text) : strlen(text);
	char word[64]; /* longer ones are none of ours */
	struct suggestion suggestion = {.text = word};

	snprintf(word, sizeof(word), "%.*s", (int)MIN(length, sizeof(word) - 1), text);
	/* As `get -o name` prints it. */
	char *dot = strstr(word, ".lifeboat.dev");
	if (dot)
		*dot = '\0';
	for (size_t i = 0; i < RESOURCE_COUNT; i++) {
		const struct resource_words *words = &resource_words[i];

		if (strcasecmp(word, words->plural) == 0 ||
		    strcasecmp(word, words->singular) == 0 || streq_ptr(words->shorts[0], word) ||
		    streq_ptr(words->shorts[1], word)) {
			*ret_resource = (enum resource)i;
			*ret_name = slash && slash[1] ? slash + 1 : NULL;
			return 0;
		}
		suggestion_offer(&suggestion, words->plural);
		suggestion_offer(&suggestion, words->singular);
	}
	if (suggestion.best)
		usage_error(command, "there is no kind \"%s\": did you mean %s?", word,
			    suggestion.best);
	else
		usage_error(command,
			    "there is no kind \"%s\"; one of abnormals, detectors, collectors, "
			    "diagnosers, recoverers, sources is asked for at a time",
			    word);
	return -EINVAL;
}

const char *object_name(const cJSON *object)
{
	const char *name = json_string(json_at(object, "metadata"), "name");

	if (!name)
		name = json_string(object, "name");
	return name ? name : "";
}

void resource_print_name(FILE *out, enum resource resource, const cJSON *object)
{
	fprintf(out, "%s.lifeboat.dev/%s\n", resource_words[resource].singular,
		object_name(object));
}

int output_value(FILE *out, enum output output, const cJSON *value)
{
	_cleanup_free_ char *text =
		output == OUTPUT_YAML ? yaml_write(value) : json_print_pretty(value);

	if (!text)
		return report_text(EXIT_ERROR, "out of memory");
	fprintf(out, "%s%s", text, endswith(text, "\n") ? "" : "\n");
	return EXIT_OK;
}

int output_line(FILE *out, const cJSON *value)
{
	_cleanup_free_ char *text = json_print(value);

	if (!text)
		return report_text(EXIT_ERROR, "out of memory");
	fprintf(out, "%s\n", text);
	return EXIT_OK;
}

int output_flush(int status)
{
	int error = fflush(stdout) != 0 ? errno : ferror(stdout) ? EIO : 0;

	if (!error || status != EXIT_OK)
		return status;
	return report_text(EXIT_ERROR, "cannot write to standard output: %s", strerror(error));
}

int abnormal_fetch(const char *namespace, const char *name, cJSON **ret_abnormal,
		   struct problem *problem)
{
	_cleanup_buffer_ struct buffer path = BUFFER(URL_BYTES_MAX);
	int r = url_append(&path, problem, "/api/v1/namespaces/{}/abnormals/{}", namespace, name);

	return r < 0 ? r : client_call("GET", path.data, NULL, NULL, ret_abnormal, problem);
}
