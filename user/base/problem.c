/* SPDX-License-Identifier: Apache-2.0 */
/* Errors about input, naming the field. */
#include "base/problem.h"

#include <stdio.h>

#include "base/utf8.h"

/* Values are quoted in messages, and cut: no control sequences, no halves of characters. */
static void clean(char *text)
{
	size_t left = strlen(text);

	while (left) {
		size_t length = utf8_length(text, left);

		if (length <= 1 && (!length || (unsigned char)*text < ' ' || *text == 0x7f))
			*text = '?';
		length = MAX(length, (size_t)1);
		text += length;
		left -= length;
	}
}

int problem_set(struct problem *problem, int code, const char *field, const char *format, ...)
{
	va_list arguments;

	if (!problem)
		return code;
	snprintf(problem->field, sizeof(problem->field), "%s", field ? field : "");
	clean(problem->field);
	va_start(arguments, format);
	vsnprintf(problem->text, sizeof(problem->text), format, arguments);
	va_end(arguments);
	clean(problem->text);
	return code;
}

void problem_prefix(struct problem *problem, const char *prefix)
{
	char path[sizeof(problem->field)];

	if (!problem)
		return;
	const char *separator = !problem->field[0] || problem->field[0] == '[' ? "" : ".";
	/* A path too long for the field loses its end, which a person can still place. */
	int length = snprintf(path, sizeof(path), "%s%s%s", prefix, separator, problem->field);
	if (length >= (int)sizeof(path))
		memcpy(path + utf8_cut(path, sizeof(path) - 4), "...", 4);
	clean(path);
	memcpy(problem->field, path, strlen(path) + 1);
}

const char *problem_line(const struct problem *problem, char *line, size_t size)
{
	if (problem->field[0])
		snprintf(line, size, "%s: %s", problem->field, problem->text);
	else
		snprintf(line, size, "%s", problem->text);
	return line;
}
