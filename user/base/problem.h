/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with something that came from outside, told for a person: which field, by its path
 * (spec.log.filePath), and what is wrong with it and what would be right.
 */
#pragma once

#include <stdarg.h>

#include "base/macro.h"

struct problem {
	char field[192]; /* path of the field; empty when the whole is meant */
	char text[448];
};

/*
 * Fills PROBLEM (which may be NULL) and returns CODE, so that a caller can `return
 * problem_set(...)`.
 */
int problem_set(struct problem *problem, int code, const char *field, const char *format, ...)
	_printf_(4, 5);

/* Puts PREFIX and a dot before the field's path. */
void problem_prefix(struct problem *problem, const char *prefix);

/* "spec.log.filePath: is required", or the text alone if no field is named. Returns LINE. */
const char *problem_line(const struct problem *problem, char *line, size_t size);
