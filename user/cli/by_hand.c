/* SPDX-License-Identifier: Apache-2.0 */
/* Running one plug-in on one Abnormal. */
#include "cli/by_hand.h"

#include "cli/documents.h"
#include "core/abnormal.h"

static cJSON *invent(void)
{
	_cleanup_json_ cJSON *abnormal = cJSON_CreateObject();
	cJSON *metadata = abnormal ? cJSON_AddObjectToObject(abnormal, "metadata") : NULL;
	cJSON *spec = abnormal ? cJSON_AddObjectToObject(abnormal, "spec") : NULL;
	cJSON *context = spec ? cJSON_AddObjectToObject(spec, "context") : NULL;

	if (!metadata || !context ||
	    json_set_string(abnormal, "apiVersion", ABNORMAL_API_VERSION) < 0 ||
	    json_set_string(abnormal, "kind", ABNORMAL_KIND) < 0 ||
	    json_set_string(metadata, "name", "by-hand") < 0 ||
	    json_set_string(metadata, "namespace", "default") < 0 ||
	    json_set_string(spec, "source", "Custom") < 0 ||
	    json_set_string(context, "requestedBy", "lifeboat collect") < 0)
		return NULL;
	return TAKE_PTR(abnormal);
}

static int load(const char *file, const char *namespace, const char *name, cJSON **ret_abnormal)
{
	_cleanup_json_ cJSON *documents = NULL;
	struct problem problem = {0};
	int r;

	if (name) {
		r = abnormal_fetch(namespace, name, ret_abnormal, &problem);
		return r < 0 ? report_error(r, &problem) : -1;
	}
	r = documents_read(file, &documents, &problem);
	if (r == 0)
		r = document_check(file, documents->child, 1, &problem);
	if (r < 0)
		return report_error(r, &problem);
	if (documents->child->next)
		return report_text(EXIT_ERROR, "%s holds %d Abnormals, but one is run at a time",
				   file, cJSON_GetArraySize(documents));
	*ret_abnormal = cJSON_DetachItemViaPointer(documents, documents->child);
	return -1;
}

int by_hand_parse(int argc, char **argv, bool may_invent, struct by_hand *ret)
{
	enum { ABNORMAL = OPTION_FIRST_OWN };
	static const struct option longs[] = {{"abnormal", required_argument, NULL, ABNORMAL},
					      {"filename", required_argument, NULL, 'f'},
					      {"namespace", required_argument, NULL, 'n'},
					      {"output", required_argument, NULL, 'o'},
					      GLOBAL_OPTIONS};
	struct options options = OPTIONS("f:n:o:", longs);
	const char *file = NULL, *name = NULL, *where = "default";
	int c;

	while ((c = options_next(&options)) >= 0) {
		if (c == ABNORMAL)
			name = optarg;
		else if (c == 'f')
			file = optarg;
		else if (c == 'n')
			where = optarg;
		else if (output_parse(argv[0], optarg, 1u << OUTPUT_JSON | 1u << OUTPUT_YAML,
				      &ret->output) < 0)
			return EXIT_USAGE;
	}
	if (c == OPTION_EXIT)
		return options.exit_status;
	if (optind + 1 != argc)
		return usage_error(argv[0], "name one: `lifeboat get %s` lists them",
				   may_invent ? "collectors" : "diagnosers");
	if (file && name)
		return usage_error(argv[0], "either --abnormal or -f");
	if (!file && !name && !may_invent)
		return usage_error(argv[0],
				   "name the Abnormal with --abnormal, or give one with -f");
	ret->plugin = argv[optind];
	if (file || name)
		return load(file, where, name, &ret->abnormal);
	ret->abnormal = invent();
	return ret->abnormal ? -1 : report_text(EXIT_ERROR, "out of memory");
}

int by_hand_call(const struct by_hand *by_hand, const char *path_format, cJSON **ret_answer)
{
	_cleanup_buffer_ struct buffer path = BUFFER(URL_BYTES_MAX);
	struct problem problem = {0};
	int r = url_append(&path, &problem, path_format, by_hand->plugin);

	if (r == 0)
		r = client_call("POST", path.data, by_hand->abnormal, NULL, ret_answer, &problem);
	return r < 0 ? report_plugin_error(r, by_hand->plugin, &problem) : EXIT_OK;
}
