/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of what `lifeboat describe` shows of an Abnormal: the first line of the input says how wide
 * the terminal is, by its length; then come, with lines of three dashes between them, the Abnormal, its
 * history and the recoverers, as JSON of any shape. A story is told of anything, and whatever somebody has
 * called a process, no control character gets to the terminal.
 */
#include "../fuzz.h"

#include "base/utf8.h"
#include "cli/story.h"

/* 2026-11-23T17:46:01Z */
#define NOW INT64_C(1795455961000000000)

static cJSON *part_json(struct fuzz_input *input)
{
	size_t length;
	_cleanup_free_ char *text = fuzz_part(input, &length);
	cJSON *json = NULL;

	return json_parse(text, length, &json, NULL) == 0 ? json : NULL;
}

static void claim_shown(const char *text, size_t length)
{
	for (size_t at = 0; at < length;) {
		size_t step = utf8_length(text + at, length - at);
		unsigned char c = (unsigned char)text[at];

		claim(step > 0, "a story is UTF-8");
		claim(step > 1 || c == '\n' || (c >= ' ' && c != 0x7f),
		      "no control character gets to the terminal");
		at += step;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
	size_t width = newline ? (size_t)(newline - data) : 0, length = 0;
	char *text = NULL;

	if (!newline)
		return 0;
	input.data += width + 1;
	input.size -= width + 1;
	_cleanup_json_ cJSON *abnormal = part_json(&input), *history = part_json(&input),
			     *recoverers = part_json(&input);
	const struct terminal terminal = {.out = open_memstream(&text, &length),
					  .width = (unsigned)MAX(width, (size_t)20)};

	claim(terminal.out, "there is memory");
	if (abnormal)
		claim(story_print(&terminal, abnormal, history, recoverers, NOW) == 0,
		      "a story can be told");
	fclose(terminal.out);
	claim(!abnormal || length > 0, "it says something");
	claim_shown(text, length);
	free(text);
	return 0;
}
