/* SPDX-License-Identifier: Apache-2.0 */
/* Flags and what is wrong with them. */
#include <errno.h>
#include <stdarg.h>

#include "base/suggestion.h"
#include "cli/cli.h"

int usage_error(const char *command, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "lifeboat %s: ", command);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\nSee `lifeboat %s --help`.\n", command);
	return EXIT_USAGE;
}

int report_text(int exit_status, const char *format, ...)
{
	va_list arguments;

	fflush(stdout);
	fputs("lifeboat: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return exit_status;
}

int report_error(int error, const struct problem *problem)
{
	char line[sizeof(problem->field) + sizeof(problem->text) + 4];

	return report_text(error == -ECONNREFUSED ? EXIT_NO_AGENT : EXIT_ERROR, "%s",
			   problem->text[0] ? problem_line(problem, line, sizeof(line))
					    : strerror(-error));
}

int report_plugin_error(int error, const char *plugin, const struct problem *problem)
{
	struct problem named = {0};
	char line[sizeof(problem->field) + sizeof(problem->text) + 4];

	/* What the agent itself says has the name in it already. */
	if (error == -ECONNREFUSED || !problem->text[0] || strstr(problem->text, plugin))
		return report_error(error, problem);
	problem_set(&named, error, NULL, "%s: %s", plugin,
		    problem_line(problem, line, sizeof(line)));
	return report_error(error, &named);
}

int socket_choose(const char *path)
{
	if (setenv(SOCKET_VARIABLE, path, 1) == 0)
		return EXIT_OK;
	return report_text(EXIT_ERROR, "--socket: %s", strerror(errno));
}

int selector_option(const char *command, const char *text, struct selector **selector)
{
	struct problem problem = {0};
	struct selector *parsed = NULL;
	int r = selector_parse(text, &parsed, &problem);

	if (r == -ENOMEM)
		return report_error(r, &problem);
	if (r < 0)
		return usage_error(command, "the selector \"%s\" %s", text, problem.text);
	if (*selector)
		selector_free(*selector);
	*selector = parsed;
	return EXIT_OK;
}

static int unknown_flag(struct options *options)
{
	const char *command = options->argv[0];
	const char *word = options->argv[optind - 1];

	/* A letter; the word may be the next one already. */
	if (optopt && optopt < OPTION_SOCKET) {
		options->exit_status = usage_error(command, "there is no flag -%c", optopt);
		return OPTION_EXIT;
	}
	_cleanup_free_ char *name = strndup(word + 2, strcspn(word + 2, "="));
	struct suggestion suggestion = {.text = name ? name : ""};
	for (const struct option *option = options->longs; option->name; option++)
		suggestion_offer(&suggestion, option->name);
	options->exit_status =
		suggestion.best ? usage_error(command, "there is no flag --%s: did you mean --%s?",
					      suggestion.text, suggestion.best)
				: usage_error(command, "there is no flag --%s", suggestion.text);
	return OPTION_EXIT;
}

int options_next(struct options *options)
{
	char shorts[64];

	if (!options->started) {
		optind = 0; /* glibc: scan from the start, whoever scanned before */
		options->started = true;
	}
	opterr = 0;
	snprintf(shorts, sizeof(shorts), ":h%s", options->shorts);
	for (;;) {
		int c = getopt_long(options->argc, options->argv, shorts, options->longs, NULL);

		switch (c) {
		case OPTION_SOCKET:
			options->exit_status = socket_choose(optarg);
			if (options->exit_status != EXIT_OK)
				return OPTION_EXIT;
			continue;
		case 'h':
			command_help_print(stdout, command_find(options->argv[0]));
			options->exit_status = EXIT_OK;
			return OPTION_EXIT;
		case ':':
			options->exit_status = usage_error(options->argv[0], "%s needs a value",
							   options->argv[optind - 1]);
			return OPTION_EXIT;
		case '?':
			return unknown_flag(options);
		default:
			return c;
		}
	}
}

int output_parse(const char *command, const char *text, unsigned allowed, enum output *ret_output)
{
	static const char *const names[] = {"table", "wide", "json", "yaml", "name"};
	char list[64] = "";

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!(allowed & 1u << i))
			continue;
		if (streq(text, names[i])) {
			*ret_output = (enum output)i;
			return 0;
		}
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s",
			 *list ? ", " : "", names[i]);
	}
	usage_error(command, "-o takes %s, not \"%s\"", list, text);
	return -EINVAL;
}
