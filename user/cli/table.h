/* SPDX-License-Identifier: Apache-2.0 */
/* Rows in aligned columns, as kubectl prints them. */
#pragma once

#include "cli/terminal.h"

#define TABLE_COLUMNS_MAX 16

struct table {
	size_t column_count, cell_count;
	const char *headers[TABLE_COLUMNS_MAX];
	unsigned widths[TABLE_COLUMNS_MAX];
	struct cell {
		char *text;
		enum colour colour;
	} * cells; /* row by row */
};

void table_clear(struct table *table);
#define _cleanup_table_ _cleanup_(table_clear)

/*
 * Adds the next cell, from left to right, row by row. NULL or "" shows as <none>. Returns 0 or
 * -ENOMEM.
 */
int table_add(struct table *table, enum colour colour, const char *text);

/*
 * Prints the rows and drops them, the headers first if HEADERS. Widths only ever grow, so that what
 * a watch prints later stays aligned with what it printed before.
 */
void table_print(struct table *table, const struct terminal *terminal, bool headers);
