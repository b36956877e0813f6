/* SPDX-License-Identifier: Apache-2.0 */
/* lifeboat diagnose: asks one diagnoser about one Abnormal. */
#include "cli/by_hand.h"
#include "cli/terminal.h"

static int diagnose_run(int argc, char **argv)
{
	struct by_hand by_hand = {.output = OUTPUT_TABLE};
	_cleanup_json_ cJSON *answer = NULL, *sent = NULL;
	struct terminal terminal = terminal_of(stdout);

	int status = by_hand_parse(argc, argv, false, &by_hand);
	sent = by_hand.abnormal;
	if (status < 0)
		status = by_hand_call(&by_hand, "/api/v1/diagnosers/{}/diagnose", &answer);
	if (status != EXIT_OK || !answer)
		return status;
	if (by_hand.output != OUTPUT_TABLE)
		return output_value(stdout, by_hand.output, answer);
	const cJSON *result = json_at(answer, "status");
	const char *reason = json_string(result, "reason"),
		   *message = json_string(result, "message");
	if (!json_bool(result, "identifiable", false)) {
		printf("%s does not recognise this fault%s\n", by_hand.plugin,
		       message && *message ? ":" : ".");
		if (message && *message)
			terminal_wrap(&terminal, COLOUR_NONE, 0, message);
		return EXIT_OK;
	}
	terminal_text(&terminal, COLOUR_BOLD, reason ? reason : "recognised");
	printf("\n");
	if (message)
		terminal_wrap(&terminal, COLOUR_NONE, 0, message);
	return EXIT_OK;
}

COMMAND(diagnose) = {
	.name = "diagnose",
	.arguments = "DIAGNOSER --abnormal NAME | -f FILE",
	.summary = "Ask one diagnoser about an Abnormal",
	.help = "      --abnormal NAME        this Abnormal\n"
		"  -n, --namespace NAMESPACE  where that is (default)\n"
		"  -f, --filename FILE        the Abnormal in this file; - is standard input\n"
		"  -o, --output FORMAT        json or yaml: the whole answer\n\n"
		"Nothing is kept: the stored Abnormal stays as it is.\n",
	.group = GROUP_RUN,
	.run = diagnose_run,
};
