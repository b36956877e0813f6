/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of a stored list that becomes lines for who watches. What is no list is refused or cut
 * somewhere, and never read beyond its end; a list becomes one line for each item, which holds it.
 */
#include "../fuzz.h"

#include "api/lines.h"

static void check_lines(const cJSON *list, const char *text)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, list) {
		const char *end = strchr(text, '\n');
		_cleanup_json_ cJSON *line = NULL;

		claim(end && json_parse(text, (size_t)(end - text), &line, NULL) == 0,
		      "a line is JSON");
		claim(streq_ptr(json_string(line, "type"), "ADDED") &&
			      json_equal(json_at(line, "object"), item),
		      "it holds the item");
		text = end + 1;
	}
	claim(*text == '\0', "there is a line for each item alone");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_buffer_ struct buffer lines = BUFFER(16 * MIB);
	_cleanup_free_ char *text = malloc(size);
	_cleanup_json_ cJSON *list = NULL;

	if (!text || !memcpy(text, data, size))
		return 0;
	int r = lines_from_list(text, size, &lines);
	/* The store writes compact JSON, in which no line ends. */
	if (json_parse(text, size, &list, NULL) < 0 || !cJSON_IsArray(list) ||
	    memchr(text, '\n', size) || memchr(text, '\r', size))
		return 0;
	claim(r == 0, "a list becomes lines");
	check_lines(list, buffer_text(&lines));
	return 0;
}
