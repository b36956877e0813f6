/* SPDX-License-Identifier: Apache-2.0 */
/* lifeboat recover: lets one recoverer act on one Abnormal, after showing what it would do. */
#include <ctype.h>

#include "cli/cli.h"
#include "cli/terminal.h"

struct recover {
	const char *recoverer, *namespace, *abnormal;
	enum output output;
	bool dry_run, yes;
};

static int call(const struct recover *recover, bool dry_run, cJSON **ret_answer)
{
	_cleanup_buffer_ struct buffer path = BUFFER(URL_BYTES_MAX);
	struct problem problem = {0};
	int r = url_append(&path, &problem,
			   "/api/v1/recoverers/{}/recover?namespace={}&abnormal={}",
			   recover->recoverer, recover->namespace, recover->abnormal);

	if (r == 0)
		r = buffer_append_text(&path, dry_run ? "&dryRun=true" : "");
	if (r == 0)
		r = client_call("POST", path.data, NULL, NULL, ret_answer, &problem);
	return r < 0 ? report_plugin_error(r, recover->recoverer, &problem) : EXIT_OK;
}

/*
 * Tells the last action of this recoverer; ASKED_ONLY: what it would do was the question. Returns the
 * exit status: an error if it did not do what was asked.
 */
static int tell(const struct recover *recover, bool asked_only, const cJSON *answer)
{
	const cJSON *action, *last = NULL;
	struct terminal terminal = terminal_of(stdout);

	if (recover->output != OUTPUT_TABLE)
		return output_value(stdout, recover->output, answer);
	cJSON_ArrayForEach (action, json_at(answer, "status.actions")) {
		if (streq_ptr(json_string(action, "recoverer"), recover->recoverer))
			last = action;
	}
	if (!last)
		return report_text(EXIT_ERROR, "%s does nothing about this Abnormal",
				   recover->recoverer);
	const char *outcome = json_string(last, "outcome"), *target = json_string(last, "target");
	const char *message = json_string(last, "message"),
		   *verification = json_string(last, "verification");
	bool good = streq_ptr(outcome, "Done") && streq_ptr(verification, "Verified");
	bool planned = streq_ptr(outcome, "DryRun");
	bool held = planned && !asked_only; /* the configuration's doing */
	terminal_text(&terminal,
		      good	? COLOUR_GOOD
		      : planned ? COLOUR_BUSY
				: COLOUR_BAD,
		      planned	? "Would act"
		      : outcome ? outcome
				: "Unknown");
	printf(" on ");
	terminal_text(&terminal, COLOUR_NONE, target ? target : "?");
	if (verification && *verification)
		printf(streq(verification, "Verified")
			       ? "; verified: the fault is gone"
			       : "; not verified: the fault is still there");
	printf("\n");
	if (message && *message)
		terminal_wrap(&terminal, COLOUR_NONE, 0, message);
	if (held)
		return report_text(EXIT_ERROR,
				   "nothing was done: dryRun is set in the configuration, for "
				   "the agent (dryRun) or for recoverers.%s",
				   recover->recoverer);
	return good || planned ? EXIT_OK : EXIT_ERROR;
}

static bool confirmed(void)
{
	char answer[16] = "";

	printf("Do it? [y/N] ");
	fflush(stdout);
	return fgets(answer, sizeof(answer), stdin) && tolower((unsigned char)answer[0]) == 'y';
}

static int recover_execute(const struct recover *recover)
{
	_cleanup_json_ cJSON *plan = NULL, *answer = NULL;
	int status;

	if (recover->dry_run || !recover->yes) {
		status = call(recover, true, &plan);
		if (status == EXIT_OK)
			status = tell(recover, true, plan);
		if (status != EXIT_OK || recover->dry_run)
			return status;
		if (!confirmed())
			return report_text(EXIT_ERROR, "nothing was done");
	}
	status = call(recover, false, &answer);
	return status == EXIT_OK ? tell(recover, false, answer) : status;
}

static int recover_run(int argc, char **argv)
{
	enum { ABNORMAL = OPTION_FIRST_OWN, DRY_RUN };
	static const struct option longs[] = {{"abnormal", required_argument, NULL, ABNORMAL},
					      {"dry-run", no_argument, NULL, DRY_RUN},
					      {"yes", no_argument, NULL, 'y'},
					      {"namespace", required_argument, NULL, 'n'},
					      {"output", required_argument, NULL, 'o'},
					      GLOBAL_OPTIONS};
	struct options options = OPTIONS("yn:o:", longs);
	struct recover recover = {.namespace = "default"};
	int c;

	while ((c = options_next(&options)) >= 0) {
		if (c == ABNORMAL)
			recover.abnormal = optarg;
		else if (c == DRY_RUN)
			recover.dry_run = true;
		else if (c == 'y')
			recover.yes = true;
		else if (c == 'n')
			recover.namespace = optarg;
		else if (output_parse("recover", optarg, 1u << OUTPUT_JSON | 1u << OUTPUT_YAML,
				      &recover.output) < 0)
			return EXIT_USAGE;
	}
	if (c == OPTION_EXIT)
		return options.exit_status;
	if (optind + 1 != argc)
		return usage_error("recover",
				   "name one recoverer: `lifeboat get recoverers` lists them");
	if (!recover.abnormal)
		return usage_error("recover", "name the Abnormal with --abnormal");
	if (!recover.dry_run && !recover.yes && !isatty(STDIN_FILENO))
		return usage_error("recover", "there is nobody to ask: --yes acts without asking, "
					      "--dry-run shows what would be done");
	recover.recoverer = argv[optind];
	return recover_execute(&recover);
}

COMMAND(recover) = {
	.name = "recover",
	.arguments = "RECOVERER --abnormal NAME [--dry-run | --yes]",
	.summary = "Let one recoverer act on an Abnormal",
	.help = "      --abnormal NAME        this Abnormal\n"
		"  -n, --namespace NAMESPACE  where that is (default)\n"
		"      --dry-run              show what would be done, and do nothing\n"
		"  -y, --yes                  do not ask\n"
		"  -o, --output FORMAT        json or yaml: the whole Abnormal after it\n\n"
		"Plan, limits, journal and verification are those of the chain; only the choice is "
		"yours. Exit status 0\n"
		"says that the fault is gone (with --dry-run: that there is something it would "
		"do).\n",
	.group = GROUP_RUN,
	.run = recover_run,
};
