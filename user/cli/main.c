/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's entry: finds the subcommand and lets it run. Agent, workers and command line are
 * one binary.
 */
#include <locale.h>

#include "base/suggestion.h"
#include "cli/cli.h"
#include "version.h"

static const char *const group_titles[] = {
	[GROUP_ABNORMALS] = "Working with Abnormals",
	[GROUP_LOOK] = "Looking",
	[GROUP_RUN] = "Running",
	[GROUP_OTHER] = "Other",
};

const struct command *command_find(const char *name)
{
	FOREACH_REGISTERED (commands, struct command, command) {
		if (streq(command->name, name))
			return command;
	}
	return NULL;
}

/* In the order of the list: by group, then by name. */
static int compare_commands(const struct command *left, const struct command *right)
{
	if (left->group != right->group)
		return left->group < right->group ? -1 : 1;
	return strcmp(left->name, right->name);
}

/* The one that is listed after LAST (NULL: the first), or NULL. */
static const struct command *command_after(const struct command *last)
{
	const struct command *next = NULL;

	FOREACH_REGISTERED (commands, struct command, command) {
		if (!command->hidden && (!last || compare_commands(command, last) > 0) &&
		    (!next || compare_commands(command, next) < 0))
			next = command;
	}
	return next;
}

void help_print(FILE *out)
{
	const struct command *last = NULL, *command;

	fputs("lifeboat finds, diagnoses and repairs faults of this Linux node.\n\n"
	      "Usage: lifeboat COMMAND [ARGUMENTS] [--socket PATH]\n",
	      out);
	for (; (command = command_after(last)); last = command) {
		if (!last || last->group != command->group)
			fprintf(out, "\n%s:\n", group_titles[command->group]);
		fprintf(out, "  %-12s %s\n", command->name, command->summary);
	}
	fputs("\nEvery command takes --socket PATH (or LIFEBOAT_SOCKET) to name the agent's "
	      "socket, and\n"
	      "--help. `lifeboat COMMAND --help` tells more; lifeboat(8) tells all.\n",
	      out);
}

void command_help_print(FILE *out, const struct command *command)
{
	if (!command) {
		help_print(out);
		return;
	}
	fprintf(out, "Usage: lifeboat %s%s%s\n\n%s.\n", command->name,
		*command->arguments ? " " : "", command->arguments, command->summary);
	if (command->help && *command->help)
		fprintf(out, "\n%s%s", command->help, endswith(command->help, "\n") ? "" : "\n");
	fprintf(out,
		"\n      --socket PATH    the agent's socket (LIFEBOAT_SOCKET; %s)\n  -h, --help   "
		"        this text\n",
		DEFAULT_SOCKET);
}

static int unknown_command(const char *name)
{
	struct suggestion suggestion = {.text = name};

	FOREACH_REGISTERED (commands, struct command, command) {
		if (!command->hidden)
			suggestion_offer(&suggestion, command->name);
	}
	if (suggestion.best)
		fprintf(stderr, "lifeboat: there is no command \"%s\": did you mean \"%s\"?\n",
			name, suggestion.best);
	else
		fprintf(stderr, "lifeboat: there is no command \"%s\"\n", name);
	fputs("See `lifeboat help`.\n", stderr);
	return EXIT_USAGE;
}

/*
 * Flags before the command. Returns the index of the command's name, argc if there is none, or a
 * negative number after having answered (ret_status).
 */
static int flags_before_command(int argc, char **argv, int *ret_status)
{
	int i;

	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		const char *value = startswith(argv[i], "--socket=");

		if (streq(argv[i], "--socket") && i + 1 < argc)
			value = argv[++i];
		if (value) {
			*ret_status = socket_choose(value);
			if (*ret_status != EXIT_OK)
				return -1;
		} else if (streq(argv[i], "-h") || streq(argv[i], "--help")) {
			help_print(stdout);
			*ret_status = EXIT_OK;
			return -1;
		} else if (streq(argv[i], "--version")) {
			printf("lifeboat %s\n", LIFEBOAT_VERSION);
			*ret_status = EXIT_OK;
			return -1;
		} else {
			fprintf(stderr,
				streq(argv[i], "--socket")
					? "lifeboat: %s needs a value\nSee `lifeboat help`.\n"
					: "lifeboat: there is no flag %s before a command\nSee "
					  "`lifeboat help`.\n",
				argv[i]);
			*ret_status = EXIT_USAGE;
			return -1;
		}
	}
	return i;
}

static int command_line_run(int argc, char **argv)
{
	int status = EXIT_OK;
	int first = flags_before_command(argc, argv, &status);
	if (first < 0)
		return status;
	if (first == argc) {
		help_print(stdout);
		return EXIT_OK;
	}
	const struct command *command = command_find(argv[first]);
	if (!command)
		return unknown_command(argv[first]);
	return command->run(argc - first, argv + first);
}

/* Weak, so that the unit tests of this room can have a main of their own. */
__attribute__((weak)) int main(int argc, char **argv)
{
	setlocale(LC_CTYPE, "");
	return output_flush(command_line_run(argc, argv));
}

static int help_run(int argc, char **argv)
{
	if (argc < 2 || argv[1][0] == '-') {
		help_print(stdout);
		return EXIT_OK;
	}
	const struct command *command = command_find(argv[1]);
	if (!command)
		return unknown_command(argv[1]);
	command_help_print(stdout, command);
	return EXIT_OK;
}

COMMAND(help) = {
	.name = "help",
	.arguments = "[COMMAND]",
	.summary = "Tell about a command, or list them all",
	.help = "",
	.group = GROUP_OTHER,
	.run = help_run,
};
