/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text for people: width, wrapping and calm colours, and only where somebody looks. What is shown
 * may come from anywhere (a process chooses its own name), so control characters never reach the
 * terminal.
 */
#pragma once

#include <stdio.h>

#include "base/macro.h"

enum colour {
	COLOUR_NONE,
	COLOUR_BOLD,
	COLOUR_DIM,
	COLOUR_GOOD,
	COLOUR_BAD,
	COLOUR_BUSY,
	COLOUR_ACCENT
};

struct terminal {
	FILE *out;
	bool colour;
	unsigned width;
};

/*
 * Colour if OUT is a terminal and neither NO_COLOR nor TERM=dumb says otherwise; the width of the
 * terminal, else of COLUMNS, else 96.
 */
struct terminal terminal_of(FILE *out);

/* The escape sequence that starts COLOUR, "" without colour; COLOUR_NONE ends it. */
const char *terminal_paint(const struct terminal *terminal, enum colour colour);

/* Prints TEXT with control characters and broken UTF-8 replaced by "?". */
void terminal_text(const struct terminal *terminal, enum colour colour, const char *text);

/*
 * Prints TEXT in lines of the terminal's width, each after INDENT columns (the first starts where
 * the cursor is, at column INDENT). Words are not broken; a newline in TEXT is one. Ends with a
 * newline.
 */
void terminal_wrap(const struct terminal *terminal, enum colour colour, unsigned indent,
		   const char *text);

/* Columns that TEXT takes. */
unsigned text_width(const char *text);

/*
 * At most WIDTH columns of TEXT, its middle replaced by "…": both ends of a path tell most. Caller
 * frees; NULL: ENOMEM.
 */
char *text_shorten(const char *text, unsigned width);

/* "12 KiB", "512 MiB", "1.5 GiB". Returns TEXT. */
#define BYTES_TEXT_SIZE 32
const char *bytes_format(double bytes, char text[BYTES_TEXT_SIZE]);

/* Good, bad or busy, for an Abnormal's phase. */
enum colour phase_colour(const char *phase);
