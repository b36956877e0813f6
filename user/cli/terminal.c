/* SPDX-License-Identifier: Apache-2.0 */
/* Widths, wrapping, colours. */
#include "cli/terminal.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define DEFAULT_WIDTH 96
#define WIDTH_MIN 40
#define WIDTH_MAX 120 /* longer lines are hard to read */

struct terminal terminal_of(FILE *out)
{
	struct terminal terminal = {.out = out, .width = DEFAULT_WIDTH};
	const char *columns = getenv("COLUMNS"), *type = getenv("TERM"),
		   *no_colour = getenv("NO_COLOR");
	struct winsize size = {0};
	int fd = fileno(out);
	bool tty = fd >= 0 && isatty(fd);

	terminal.colour = tty && !(no_colour && *no_colour) && !(type && streq(type, "dumb"));
	if (tty && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col)
		terminal.width = size.ws_col;
	else if (columns && *columns)
		terminal.width = (unsigned)strtoul(columns, NULL, 10);
	terminal.width = MIN(MAX(terminal.width, (unsigned)WIDTH_MIN), (unsigned)WIDTH_MAX);
	return terminal;
}

const char *terminal_paint(const struct terminal *terminal, enum colour colour)
{
	static const char *const sequences[] = {
		[COLOUR_NONE] = "\033[0m",    [COLOUR_BOLD] = "\033[1m", [COLOUR_DIM] = "\033[2m",
		[COLOUR_GOOD] = "\033[32m",   [COLOUR_BAD] = "\033[31m", [COLOUR_BUSY] = "\033[33m",
		[COLOUR_ACCENT] = "\033[36m",
	};

	return terminal->colour ? sequences[colour] : "";
}

enum colour phase_colour(const char *phase)
{
	if (!phase)
		return COLOUR_NONE;
	return streq(phase, "Succeeded") ? COLOUR_GOOD
	       : streq(phase, "Failed")	 ? COLOUR_BAD
					 : COLOUR_BUSY;
}

/*
 * The character at *TEXT, which is moved past it; -1 for a control character or a byte that is no
 * UTF-8. Our own, as the locale of a service or a container is often C.
 */
static int character_next(const char **text)
{
	const unsigned char *p = (const unsigned char *)*text;
	int length = *p < 0x80		   ? 1
		     : (*p & 0xe0) == 0xc0 ? 2
		     : (*p & 0xf0) == 0xe0 ? 3
		     : (*p & 0xf8) == 0xf0 ? 4
					   : 0;

	if (!length) {
		(*text)++;
		return -1;
	}
	int character = length == 1 ? *p : *p & (0xff >> (length + 1));
	for (int i = 1; i < length; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			(*text)++;
			return -1;
		}
		character = character << 6 | (p[i] & 0x3f);
	}
	*text += length;
	return character < 0x20 || (character >= 0x7f && character < 0xa0) ? -1 : character;
}

/* wcwidth() knows only what the locale knows; unknown printable characters take one column. */
static unsigned character_width(int character)
{
	int width = character < 0 ? 1 : wcwidth((wchar_t)character);

	return width < 0 ? 1 : (unsigned)width;
}

unsigned text_width(const char *text)
{
	unsigned width = 0;

	while (*text)
		width += character_width(character_next(&text));
	return width;
}

static void print_clean(FILE *out, const char *text, size_t length)
{
	const char *end = text + length;

	while (text < end) {
		const char *start = text;

		if (character_next(&text) < 0)
			fputc('?', out);
		else
			fwrite(start, 1, (size_t)(text - start), out);
	}
}

void terminal_text(const struct terminal *terminal, enum colour colour, const char *text)
{
	if (colour != COLOUR_NONE)
		fputs(terminal_paint(terminal, colour), terminal->out);
	print_clean(terminal->out, text, strlen(text));
	if (colour != COLOUR_NONE)
		fputs(terminal_paint(terminal, COLOUR_NONE), terminal->out);
}

void terminal_wrap(const struct terminal *terminal, enum colour colour, unsigned indent,
		   const char *text)
{
	unsigned column = indent;
	bool first = true;

	fputs(colour ? terminal_paint(terminal, colour) : "", terminal->out);
	while (*text) {
		size_t spaces = strspn(text, " \t\r");
		bool newline = text[spaces] == '\n';

		text += spaces + newline;
		size_t length = strcspn(text, " \t\r\n");
		unsigned width = 0;
		for (const char *p = text; p < text + length;)
			width += character_width(character_next(&p));
		if (newline || (!first && column + 1 + width > terminal->width)) {
			fprintf(terminal->out, "\n%*s", (int)indent, "");
			column = indent;
		} else if (!first && length) {
			fputc(' ', terminal->out);
			column++;
		}
		print_clean(terminal->out, text, length);
		column += width;
		text += length;
		first = newline && !length;
		if (!length && !newline)
			break;
	}
	fputs(colour ? terminal_paint(terminal, COLOUR_NONE) : "", terminal->out);
	fputc('\n', terminal->out);
}

char *text_shorten(const char *text, unsigned width)
{
	unsigned total = text_width(text);

	if (total <= width || width < 3)
		return strdup(text);
	/* The end of a path tells more than its start. */
	unsigned head = (width - 1) / 3, tail = width - 1 - head, skip = total - tail, column = 0;
	char *result = malloc(strlen(text) + sizeof("…"));
	size_t length = 0;
	bool cut = false;

	if (!result)
		return NULL;
	while (*text) {
		const char *start = text;
		unsigned wide = character_width(character_next(&text));

		if (column + wide <= head || column >= skip) {
			memcpy(result + length, start, (size_t)(text - start));
			length += (size_t)(text - start);
		} else if (!cut) {
			memcpy(result + length, "…", strlen("…"));
			length += strlen("…");
			cut = true;
		}
		column += wide;
	}
	result[length] = '\0';
	return result;
}

const char *bytes_format(double bytes, char text[BYTES_TEXT_SIZE])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	size_t unit = 0;

	while (bytes >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
		bytes /= 1024;
		unit++;
	}
	bool whole = bytes >= 100 || bytes == (double)(long)bytes;
	snprintf(text, BYTES_TEXT_SIZE, "%.*f %s", whole ? 0 : 1, bytes, units[unit]);
	return text;
}
