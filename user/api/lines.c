/* SPDX-License-Identifier: Apache-2.0 */
/* Splits a JSON list at its top level. */
#include "api/lines.h"

#include <errno.h>

static bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* Where the value that starts at POSITION ends: at a comma or bracket of the level above. */
static size_t value_end(const char *text, size_t length, size_t position)
{
	bool quoted = false;
	unsigned depth = 0;

	for (; position < length; position++) {
		char c = text[position];

		if (quoted) {
			if (c == '\\')
				position++;
			else if (c == '"')
				quoted = false;
		} else if (c == '"') {
			quoted = true;
		} else if (c == '{' || c == '[') {
			depth++;
		} else if (depth == 0 && (c == ',' || c == ']')) {
			break;
		} else if (c == '}' || c == ']') {
			depth--;
		}
	}
	return MIN(position, length);
}

static int line_append(struct buffer *lines, const char *value, size_t length)
{
	while (length && is_space(value[length - 1]))
		length--;
	if (!length)
		return -EBADMSG;
	int r = buffer_append_text(lines, "{\"type\":\"ADDED\",\"object\":");
	if (r == 0)
		r = buffer_append(lines, value, length);
	return r == 0 ? buffer_append_text(lines, "}\n") : r;
}

int lines_from_list(const char *text, size_t length, struct buffer *lines)
{
	size_t position = 0;

	while (position < length && is_space(text[position]))
		position++;
	if (position == length || text[position++] != '[')
		return -EBADMSG;
	while (position < length && is_space(text[position]))
		position++;
	if (position < length && text[position] == ']')
		return 0;
	while (position < length) {
		size_t end = value_end(text, length, position);

		if (end == length)
			return -EBADMSG;
		int r = line_append(lines, text + position, end - position);
		if (r < 0 || text[end] == ']')
			return r;
		position = end + 1;
		while (position < length && is_space(text[position]))
			position++;
	}
	return -EBADMSG;
}
