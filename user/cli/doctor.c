/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lifeboat doctor: what this host offers, what the agent makes of it, and what to do about the
 * rest.
 */
#include <errno.h>

#include "cli/cli.h"
#include "cli/doctor_checks.h"
#include "cli/terminal.h"
#include "detect/detect.h"

#define NAME_COLUMN 18

struct doctor {
	struct check checks[CHECKS_MAX];
	size_t count;
	cJSON *detectors; /* a list */
	cJSON *status; /* of the agent, or NULL */
	struct check agent, store;
};

static void doctor_clear(struct doctor *doctor)
{
	cJSON_Delete(doctor->detectors);
	cJSON_Delete(doctor->status);
}

/* That none runs, or none for this user, is no fault of the host; what else keeps it from answering is. */
static void agent_not_heard(struct check *agent, int error, const struct problem *problem)
{
	const char *text = problem->text[0] ? problem->text : strerror(-error);
	const char *advice = strstr(text, ": start one");

	bool fault = error != -ECONNREFUSED && error != -EACCES;

	agent->state = fault ? CHECK_MISSING : CHECK_NOTE;
	snprintf(agent->found, sizeof(agent->found), "%.*s",
		 advice ? (int)(advice - text) : (int)sizeof(agent->found) - 1, text);
	snprintf(agent->next, sizeof(agent->next), "%s",
		 advice	 ? "start one with `lifeboat agent` or name its socket with --socket"
		 : fault ? "its log may tell why; try again"
			 : "");
}

/* The agent knows what its detectors do; without it, what they would do is judged here. */
static int look_at_detectors(struct doctor *doctor, const struct host *host)
{
	_cleanup_json_ cJSON *list = NULL;
	struct problem problem = {0};

	if (!doctor->status) {
		doctor->detectors = detect_status(NULL, host);
		return doctor->detectors ? 0 : -ENOMEM;
	}
	int r = client_call("GET", "/api/v1/detectors", NULL, NULL, &list, &problem);
	if (r < 0)
		agent_not_heard(&doctor->agent, r, &problem);
	else
		doctor->detectors = cJSON_DetachItemFromObjectCaseSensitive(list, "items");
	return 0;
}

static void look_at_agent(struct doctor *doctor)
{
	struct problem problem = {0};
	struct check *agent = &doctor->agent, *store = &doctor->store;

	snprintf(agent->name, sizeof(agent->name), "agent");
	snprintf(store->name, sizeof(store->name), "store");
	int r = client_call("GET", "/api/v1/status", NULL, NULL, &doctor->status, &problem);
	if (r < 0) {
		doctor->status = NULL;
		agent_not_heard(agent, r, &problem);
		return;
	}
	snprintf(agent->found, sizeof(agent->found), "%.64s on %.128s, pid %.0f%s",
		 json_string(doctor->status, "version"), client_socket(),
		 json_number(json_at(doctor->status, "process"), "pid", 0),
		 json_bool(doctor->status, "dryRun", false) ? "; dry run: it repairs nothing" : "");
	const cJSON *json = json_at(doctor->status, "store");
	const char *medium = json_string(json, "medium"), *reason = json_string(json, "reason");
	bool fine = streq_ptr(medium, "disk");
	store->state = fine || streq_ptr(medium, "opening") ? CHECK_FINE : CHECK_MISSING;
	snprintf(store->found, sizeof(store->found), "%s%s%.*s; %.0f Abnormal%s",
		 medium ? medium : "?", reason && *reason ? ": " : "", 160, reason ? reason : "",
		 json_number(json, "abnormals", 0),
		 json_number(json, "abnormals", 0) == 1 ? "" : "s");
	if (store->state == CHECK_MISSING)
		snprintf(store->next, sizeof(store->next),
			 "make the state folder writable, with room; the agent tries it again by "
			 "itself, and keeps everything in memory until then");
}

/* --- Output --- */

static void check_show(const struct terminal *terminal, const struct check *check)
{
	static const struct {
		const char *sign;
		enum colour colour;
	} signs[] = {[CHECK_FINE] = {"ok", COLOUR_GOOD},
		     [CHECK_NOTE] = {"note", COLOUR_BUSY},
		     [CHECK_MISSING] = {"missing", COLOUR_BAD}};

	fputs("  ", terminal->out);
	terminal_text(terminal, signs[check->state].colour, signs[check->state].sign);
	fprintf(terminal->out, "%*s%-*s", (int)(9 - strlen(signs[check->state].sign)), "",
		NAME_COLUMN - 2, check->name);
	terminal_wrap(terminal, COLOUR_NONE, 9 + NAME_COLUMN, check->found);
	if (check->next[0]) {
		fprintf(terminal->out, "%*s", 9 + NAME_COLUMN, "");
		fputs("→ ", terminal->out);
		terminal_wrap(terminal, COLOUR_ACCENT, 9 + NAME_COLUMN + 2, check->next);
	}
}

/* The ladder: which rungs there are, best first, and what keeps each from being used. */
static void hooks_show(const struct terminal *terminal, const cJSON *detector)
{
	const char *used = json_string(detector, "hook");
	const cJSON *hook;

	cJSON_ArrayForEach (hook, json_at(detector, "hooks")) {
		const char *name = json_string(hook, "name"), *reason = json_string(hook, "reason");
		bool available = json_bool(hook, "available", false);

		fprintf(terminal->out, "%*s", 9 + NAME_COLUMN, "");
		fprintf(terminal->out, "%s ", streq_ptr(name, used) ? "●" : available ? "○" : "×");
		terminal_text(terminal, available ? COLOUR_NONE : COLOUR_DIM, name ? name : "?");
		if (reason && *reason) {
			fputs("  ", terminal->out);
			terminal_wrap(terminal, COLOUR_DIM,
				      9 + NAME_COLUMN + 4 + text_width(name ? name : "?"), reason);
		} else {
			fputc('\n', terminal->out);
		}
	}
}

static size_t doctor_show(const struct doctor *doctor)
{
	struct terminal terminal = terminal_of(stdout);
	size_t missing = 0;
	const cJSON *detector;

	terminal_text(&terminal, COLOUR_BOLD, "This host");
	fputc('\n', stdout);
	for (size_t i = 0; i < doctor->count; i++) {
		check_show(&terminal, &doctor->checks[i]);
		missing += doctor->checks[i].state == CHECK_MISSING;
	}
	fputc('\n', stdout);
	terminal_text(&terminal, COLOUR_BOLD,
		      doctor->status ? "Detectors" : "Detectors, as an agent here would have them");
	fputc('\n', stdout);
	cJSON_ArrayForEach (detector, doctor->detectors) {
		struct check check;

		detector_check(detector, &check);
		missing += check.state == CHECK_MISSING;
		check_show(&terminal, &check);
		hooks_show(&terminal, detector);
	}
	fputc('\n', stdout);
	terminal_text(&terminal, COLOUR_BOLD, "Agent");
	fputc('\n', stdout);
	check_show(&terminal, &doctor->agent);
	missing += doctor->agent.state == CHECK_MISSING;
	if (doctor->status) {
		check_show(&terminal, &doctor->store);
		missing += doctor->store.state == CHECK_MISSING;
	}
	fputc('\n', stdout);
	if (missing)
		printf("%zu thing%s missing: follow the arrows.\n", missing,
		       missing == 1 ? " is" : "s are");
	else
		printf("Nothing that is needed is missing.\n");
	return missing;
}

static cJSON *check_json(const struct check *check)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (!json || json_set_string(json, "name", check->name) < 0 ||
	    json_set_string(json, "state", check_state_names[check->state]) < 0 ||
	    json_set_string(json, "found", check->found) < 0 ||
	    json_set_string(json, "next", check->next[0] ? check->next : NULL) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static int doctor_json(struct doctor *doctor, size_t *ret_missing)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	cJSON *checks = json ? cJSON_AddArrayToObject(json, "checks") : NULL;
	const cJSON *detector;
	size_t missing = 0;

	if (!checks)
		return -ENOMEM;
	for (size_t i = 0; i < doctor->count; i++) {
		missing += doctor->checks[i].state == CHECK_MISSING;
		if (!cJSON_AddItemToArray(checks, check_json(&doctor->checks[i])))
			return -ENOMEM;
	}
	missing += doctor->agent.state == CHECK_MISSING;
	if (doctor->status)
		missing += doctor->store.state == CHECK_MISSING;
	cJSON_ArrayForEach (detector, doctor->detectors) {
		missing += streq_ptr(json_string(detector, "status"), "unsupported");
	}
	if (json_set(json, "detectors", TAKE_PTR(doctor->detectors)) < 0 ||
	    json_set(json, "agent",
		     doctor->status ? TAKE_PTR(doctor->status) : cJSON_CreateNull()) < 0 ||
	    json_set_number(json, "missing", (double)missing) < 0)
		return -ENOMEM;
	*ret_missing = missing;
	return output_value(stdout, OUTPUT_JSON, json);
}

static int doctor_run(int argc, char **argv)
{
	static const struct option longs[] = {{"output", required_argument, NULL, 'o'},
					      GLOBAL_OPTIONS};
	struct options options = OPTIONS("o:", longs);
	_cleanup_(doctor_clear) struct doctor doctor = {0};
	_cleanup_host_ struct host *host = NULL;
	enum output output = OUTPUT_TABLE;
	size_t missing = 0;
	int c;

	while ((c = options_next(&options)) >= 0)
		if (output_parse("doctor", optarg, 1u << OUTPUT_TABLE | 1u << OUTPUT_JSON,
				 &output) < 0)
			return EXIT_USAGE;
	if (c == OPTION_EXIT)
		return options.exit_status;
	int r = host_open(NULL, &host);
	if (r < 0)
		return report_text(EXIT_ERROR, "cannot look at /proc and /sys: %s", strerror(-r));
	doctor.count = host_checks(host, doctor.checks);
	look_at_agent(&doctor);
	r = look_at_detectors(&doctor, host);
	if (r == 0 && output == OUTPUT_JSON)
		r = doctor_json(&doctor, &missing);
	else if (r == 0)
		missing = doctor_show(&doctor);
	if (r != 0)
		return report_text(EXIT_ERROR, "out of memory");
	return missing ? EXIT_ERROR : EXIT_OK;
}

COMMAND(doctor) = {
	.name = "doctor",
	.arguments = "[-o json]",
	.summary = "Tell what this host supports, what is active, what is missing and why",
	.help = "  -o, --output FORMAT  table or json\n\n"
		"Works without an agent, too. Of each detector's hooks, best first: ● is in use, ○ "
		"could be,\n"
		"× is not offered here. Exit status 1 if something that is needed is missing.\n",
	.group = GROUP_LOOK,
	.run = doctor_run,
};
