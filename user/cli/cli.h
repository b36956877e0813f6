/* SPDX-License-Identifier: Apache-2.0 */
/* What the subcommands share: flags, errors, the words for kinds of things. */
#pragma once

#include <getopt.h>

#include "base/json.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/selector.h"

/* --- Flags --- */

/*
 * The flags of one command, by getopt_long, with those that every command has: --socket and --help.
 *
 *     static const struct option longs[] = {{"output", required_argument, NULL, 'o'},
 *                                           GLOBAL_OPTIONS};
 *     struct options options = OPTIONS("o:", longs);
 *     while ((c = options_next(&options)) >= 0)
 *             switch (c) …
 *     if (c == OPTION_EXIT)
 *             return options.exit_status;
 *     // argv[optind] and on are the arguments
 */
struct options {
	int argc;
	char **argv;
	const char *shorts;
	const struct option *longs;
	bool started;
	int exit_status;
};

#define OPTIONS(letters, table)                                                   \
	{                                                                         \
		.argc = argc, .argv = argv, .shorts = (letters), .longs = (table) \
	}

enum { OPTION_END = -1, OPTION_EXIT = -2, OPTION_SOCKET = 1000, OPTION_FIRST_OWN };

#define GLOBAL_OPTIONS                                                                        \
	{"socket", required_argument, NULL, OPTION_SOCKET}, {"help", no_argument, NULL, 'h'}, \
	{                                                                                     \
		NULL, 0, NULL, 0                                                              \
	}

int options_next(struct options *options);

/*
 * From now on the agent is asked at PATH. Returns an exit status, after having said what is wrong:
 * a socket that was left out would be that of another agent.
 */
int socket_choose(const char *path);

/* Prints what is wrong with the command line of COMMAND, and where help is. Returns EXIT_USAGE. */
int usage_error(const char *command, const char *format, ...) _printf_(2, 3);

/* Prints "lifeboat: " and PROBLEM, and returns the exit status for ERROR. */
int report_error(int error, const struct problem *problem);
/* The same, of what one plug-in did: its name comes first. */
int report_plugin_error(int error, const char *plugin, const struct problem *problem);
int report_text(int exit_status, const char *format, ...) _printf_(2, 3);

/* `lifeboat help`, and `lifeboat COMMAND --help`. */
const struct command *command_find(const char *name);
void help_print(FILE *out);
void command_help_print(FILE *out, const struct command *command);

/* --- How results are shown --- */

enum output { OUTPUT_TABLE, OUTPUT_WIDE, OUTPUT_JSON, OUTPUT_YAML, OUTPUT_NAME };

/*
 * Parses the argument of -o; ALLOWED is a mask of 1 << enum output. On error it has been reported.
 */
int output_parse(const char *command, const char *text, unsigned allowed, enum output *ret_output);

/* JSON or YAML of VALUE. Returns the exit status. */
int output_value(FILE *out, enum output output, const cJSON *value);

/* VALUE as JSON on a line of its own. Returns the exit status. */
int output_line(FILE *out, const cJSON *value);

/*
 * Writes out what was printed: at the end, and whenever a command that goes on shows something. Returns
 * STATUS; or, where that is EXIT_OK and what was printed could not be written, EXIT_ERROR, which has been
 * reported.
 */
int output_flush(int status);

/* --- Kinds of things --- */

enum resource {
	RESOURCE_ABNORMAL,
	RESOURCE_DETECTOR,
	RESOURCE_COLLECTOR,
	RESOURCE_DIAGNOSER,
	RESOURCE_RECOVERER,
	RESOURCE_SOURCE,
	RESOURCE_COUNT
};

struct resource_words {
	const char *plural, *singular;
	const char *shorts[2];
	const char *path; /* of its list */
};
extern const struct resource_words resource_words[RESOURCE_COUNT];

/*
 * Parses "abnormals", "abnormal", "abn", or "abnormal/NAME" (ret_name; NULL otherwise). On error it
 * has been reported.
 */
int resource_parse(const char *command, const char *text, enum resource *ret_resource,
		   const char **ret_name);

/*
 * The selector of COMMAND's flag -l replaces *SELECTOR. Returns EXIT_OK, or another exit status after
 * having said what is wrong.
 */
int selector_option(const char *command, const char *text, struct selector **selector);

/* "abnormal.lifeboat.dev/NAME". */
void resource_print_name(FILE *out, enum resource resource, const cJSON *object);
const char *object_name(const cJSON *object); /* metadata.name, or name; never NULL */

/* One Abnormal from the agent. */
int abnormal_fetch(const char *namespace, const char *name, cJSON **ret_abnormal,
		   struct problem *problem);
