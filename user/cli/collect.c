/* SPDX-License-Identifier: Apache-2.0 */
/* lifeboat collect: runs one collector by hand. */
#include "cli/by_hand.h"

static int collect_run(int argc, char **argv)
{
	struct by_hand by_hand = {.output = OUTPUT_TABLE};
	_cleanup_json_ cJSON *answer = NULL, *sent = NULL;
	const cJSON *item, *last = NULL;
	const char *reason;

	int status = by_hand_parse(argc, argv, true, &by_hand);
	sent = by_hand.abnormal;
	if (status < 0)
		status =
			by_hand_call(&by_hand, "/api/v1/informationcollectors/{}/collect", &answer);
	if (status != EXIT_OK || !answer)
		return status;
	if (by_hand.output != OUTPUT_TABLE)
		return output_value(stdout, by_hand.output, answer);
	cJSON_ArrayForEach (item, json_at(answer, "status.information")) {
		if (streq_ptr(json_string(item, "collector"), by_hand.plugin))
			last = item;
	}
	if (!streq_ptr(json_string(last, "state"), "Collected")) {
		reason = json_string(last, "reason");
		return report_text(EXIT_ERROR, "%s gave nothing: %s", by_hand.plugin,
				   reason ? reason : "it did not say why");
	}
	/* Not json_at: a script's name may have dots. */
	const cJSON *found =
		cJSON_GetObjectItemCaseSensitive(json_at(answer, "status.context"), by_hand.plugin);
	return output_value(stdout, OUTPUT_YAML, found ? found : last);
}

COMMAND(collect) = {
	.name = "collect",
	.arguments = "COLLECTOR [--abnormal NAME | -f FILE]",
	.summary = "Run one collector by hand, and print what it found",
	.help = "      --abnormal NAME        about this Abnormal\n"
		"  -n, --namespace NAMESPACE  where that is (default)\n"
		"  -f, --filename FILE        about the Abnormal in this file; - is standard "
		"input\n"
		"  -o, --output FORMAT        json or yaml: the whole Abnormal, with what was "
		"found in status.context\n\n"
		"  lifeboat collect host\n",
	.group = GROUP_RUN,
	.run = collect_run,
};
