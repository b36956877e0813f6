/* SPDX-License-Identifier: Apache-2.0 */
/* Alignment by what characters take on the screen, not by their bytes. */
#include "cli/table.h"

#include <errno.h>
#include <stdlib.h>

#define GAP 3

static void rows_drop(struct table *table)
{
	for (size_t i = 0; i < table->cell_count; i++)
		free(table->cells[i].text);
	free(table->cells);
	table->cells = NULL;
	table->cell_count = 0;
}

void table_clear(struct table *table)
{
	rows_drop(table);
	*table = (struct table){0};
}

int table_add(struct table *table, enum colour colour, const char *text)
{
	struct cell *cells = realloc(table->cells, (table->cell_count + 1) * sizeof(*cells));
	size_t column = table->cell_count % table->column_count;

	if (!cells)
		return -ENOMEM;
	table->cells = cells;
	char *copy = strdup(text && *text ? text : "<none>");
	if (!copy)
		return -ENOMEM;
	cells[table->cell_count++] = (struct cell){.text = copy, .colour = colour};
	table->widths[column] = MAX(table->widths[column], text_width(copy));
	return 0;
}

static void cell_print(const struct table *table, const struct terminal *terminal, size_t column,
		       enum colour colour, const char *text)
{
	terminal_text(terminal, colour, text);
	if (column + 1 < table->column_count)
		fprintf(terminal->out, "%*s", (int)(table->widths[column] - text_width(text) + GAP),
			"");
	else
		fputc('\n', terminal->out);
}

void table_print(struct table *table, const struct terminal *terminal, bool headers)
{
	for (size_t i = 0; i < table->column_count; i++)
		table->widths[i] = MAX(table->widths[i], text_width(table->headers[i]));
	for (size_t i = 0; headers && i < table->column_count; i++)
		cell_print(table, terminal, i, COLOUR_NONE, table->headers[i]);
	for (size_t i = 0; i < table->cell_count; i++)
		cell_print(table, terminal, i % table->column_count, table->cells[i].colour,
			   table->cells[i].text);
	rows_drop(table);
}
