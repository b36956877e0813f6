/* SPDX-License-Identifier: Apache-2.0 */
/* lifeboat version: of this program, and of the agent that answers. */
#include "cli/cli.h"
#include "version.h"

static int version_run(int argc, char **argv)
{
	static const struct option longs[] = {{"output", required_argument, NULL, 'o'},
					      GLOBAL_OPTIONS};
	struct options options = OPTIONS("o:", longs);
	enum output output = OUTPUT_TABLE;
	_cleanup_json_ cJSON *status = NULL;
	struct problem problem = {0};
	int c;

	while ((c = options_next(&options)) >= 0)
		if (c == 'o' && output_parse("version", optarg,
					     1u << OUTPUT_TABLE | 1u << OUTPUT_JSON, &output) < 0)
			return EXIT_USAGE;
	if (c == OPTION_EXIT)
		return options.exit_status;
	/* The agent's is a courtesy: without an agent the question is answered all the same. */
	int r = client_call("GET", "/api/v1/status", NULL, NULL, &status, &problem);
	if (r < 0)
		status = NULL;
	bool unknown = r < 0 && r != -ECONNREFUSED && r != -EACCES;
	const char *agent = status ? json_string(status, "version") : NULL;
	if (output == OUTPUT_JSON) {
		_cleanup_json_ cJSON *json = cJSON_CreateObject();

		if (!json || json_set_string(json, "version", LIFEBOAT_VERSION) < 0 ||
		    json_set_string(json, "agentVersion", agent) < 0)
			return report_text(EXIT_ERROR, "out of memory");
		int shown = output_value(stdout, output, json);
		return shown == EXIT_OK && unknown ? report_error(r, &problem) : shown;
	}
	printf("lifeboat %s\n", LIFEBOAT_VERSION);
	if (agent)
		printf("agent    %s (pid %.0f, on %s)\n", agent,
		       json_number(json_at(status, "process"), "pid", 0), client_socket());
	return unknown ? report_error(r, &problem) : EXIT_OK;
}

COMMAND(version) = {
	.name = "version",
	.arguments = "[-o json]",
	.summary = "Print the version of this program and of the agent",
	.help = "",
	.group = GROUP_OTHER,
	.run = version_run,
};
