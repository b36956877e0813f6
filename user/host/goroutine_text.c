/* SPDX-License-Identifier: Apache-2.0 */
/* Goroutine dumps as text: where one begins, its headers, and what loggers make of its lines. */
#include "host/goroutine_text.h"

#include <stdlib.h>

#define WORD "goroutine "

/* The number at TEXT, of at most 18 digits; returns what follows it, or NULL. */
static char *number_read(char *text, const char *end, uint64_t *ret_number)
{
	uint64_t number = 0;
	char *digit = text;

	for (; digit < end && digit < text + 18 && *digit >= '0' && *digit <= '9'; digit++)
		number = number * 10 + (uint64_t)(*digit - '0');
	if (digit == text)
		return NULL;
	*ret_number = number;
	return digit;
}

/* The bracket after "1" or "1 gp=0xc0000061c0 m=0 mp=0x56b2e0"; NULL if something else follows. */
static char *bracket_find(char *text, const char *end)
{
	for (; text < end && *text == ' '; text++) {
		char *word = text + 1;

		if (word < end && *word == '[')
			return word;
		if (end - word < 2 || (*word != 'g' && *word != 'm'))
			return NULL;
		for (text = word; text < end && *text != ' '; text++)
			if (*text == '[' || *text == '"')
				return NULL;
		text--;
	}
	return NULL;
}

/* A header's beginning, up to the bracket. */
static char *header_start(char *text, const char *end, uint64_t *ret_id)
{
	char *after = number_read(text + strlen(WORD), end, ret_id);

	return after ? bracket_find(after, end) : NULL;
}

bool goroutine_header_read(char *line, size_t length, struct goroutine_header *ret_header)
{
	char *end = line + length;

	if (length < strlen(WORD "1 [x]:") || end[-1] != ':' || end[-2] != ']')
		return false;
	for (char *at = line; (at = memmem(at, (size_t)(end - at), WORD, strlen(WORD)));
	     at += strlen(WORD)) {
		uint64_t id;
		char *bracket = header_start(at, end, &id);

		if (!bracket || bracket + 3 >= end)
			continue;
		*ret_header = (struct goroutine_header){
			.id = id,
			.state = bracket + 1,
			.state_length = (size_t)(end - bracket - 3),
		};
		return true;
	}
	return false;
}

/* A header is followed by the end of its line, as it is or escaped. */
static bool header_ends(const char *bracket, const char *end)
{
	for (const char *at = bracket; end - at >= 3 && at < bracket + 512 && *at != '\n'; at++)
		if (at[0] == ']' && at[1] == ':' &&
		    (at[2] == '\n' || at[2] == '\r' || at[2] == '\\'))
			return true;
	return false;
}

const char *goroutine_text_begin(const char *text, size_t length)
{
	const char *end = text + length;
	const char *marker = memmem(text, length, GOROUTINES_BEGIN, strlen(GOROUTINES_BEGIN));

	if (marker)
		return marker;
	for (const char *at = text; (at = memmem(at, (size_t)(end - at), WORD, strlen(WORD)));
	     at += strlen(WORD)) {
		uint64_t id;
		/* Nothing is written through it. */
		const char *bracket = header_start((char *)at, end, &id);

		if (bracket && header_ends(bracket, end))
			return at;
	}
	return NULL;
}

/* --- Escaped lines --- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* COUNT hexadecimal digits; returns false if there are fewer. */
static bool hex_read(const char *text, const char *end, size_t count, uint32_t *ret_value)
{
	uint32_t value = 0;

	if ((size_t)(end - text) < count)
		return false;
	for (size_t i = 0; i < count; i++) {
		int digit = hex_digit(text[i]);

		if (digit < 0)
			return false;
		value = value << 4 | (uint32_t)digit;
	}
	*ret_value = value;
	return true;
}

static char *utf8_put(char *out, uint32_t code)
{
	if (code < 0x80) {
		*out++ = (char)code;
	} else if (code < 0x800) {
		*out++ = (char)(0xc0 | code >> 6);
		*out++ = (char)(0x80 | (code & 0x3f));
	} else {
		*out++ = (char)(0xe0 | code >> 12);
		*out++ = (char)(0x80 | (code >> 6 & 0x3f));
		*out++ = (char)(0x80 | (code & 0x3f));
	}
	return out;
}

/*
 * One escape sequence after its backslash, of JSON or of Go's strconv.Quote; what is none is kept as it
 * is. No sequence gives more bytes than it has.
 */
static const char *escape_read(const char *text, const char *end, char **out)
{
	static const char names[] = "ntr", values[] = "\n\t\r";
	const char *name = memchr(names, *text, strlen(names));
	uint32_t code;

	if (name) {
		*(*out)++ = values[name - names];
		return text + 1;
	}
	if (*text == 'u' && hex_read(text + 1, end, 4, &code)) {
		*out = utf8_put(*out, code);
		return text + 5;
	}
	if (*text == 'x' && hex_read(text + 1, end, 2, &code)) {
		*(*out)++ = (char)code;
		return text + 3;
	}
	if (*text != '"' && *text != '\\' && *text != '/')
		*(*out)++ = '\\';
	*(*out)++ = *text;
	return text + 1;
}

/* A header with an escaped newline, in this line. */
static bool line_is_escaped(const char *line, size_t length)
{
	return memmem(line, length, "]:\\n", 4) && memmem(line, length, WORD, strlen(WORD));
}

int goroutine_text_unescape(const char *text, size_t length, char **ret_text, size_t *ret_length,
			    bool *ret_escaped)
{
	char *copy = malloc(length + 1), *out = copy;
	const char *end = text + length;
	bool escaped = false;

	if (!copy)
		return -ENOMEM;
	for (const char *line = text; line < end;) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		const char *line_end = newline ? newline + 1 : end;

		if (!line_is_escaped(line, (size_t)(line_end - line))) {
			memcpy(out, line, (size_t)(line_end - line));
			out += line_end - line;
			line = line_end;
			continue;
		}
		escaped = true;
		while (line < line_end) {
			const char *backslash = memchr(line, '\\', (size_t)(line_end - line));
			const char *plain_end = backslash ? backslash : line_end;

			memcpy(out, line, (size_t)(plain_end - line));
			out += plain_end - line;
			line = plain_end;
			if (line_end - line == 1)
				*out++ = *line++;
			else if (line < line_end)
				line = escape_read(line + 1, line_end, &out);
		}
	}
	*out = '\0';
	*ret_text = copy;
	*ret_length = (size_t)(out - copy);
	*ret_escaped = escaped;
	return 0;
}
