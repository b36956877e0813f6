/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of kernel_log without its kernel half. The first byte chooses:
 *   k   records of /dev/kmsg, a line each
 *   p   a pattern of the operator's, and behind the first newline lines to match it with
 * A line that a pattern matches has both of the needles by which the kernel finds it, and what it is about
 * can be printed; a record that is read is no longer than it was.
 */
#include "../detect_source.h"

#include "detect/kernel_log.h"

static const struct kernel_log_settings all_rules = {.builtin = true};

static bool has_needle(const char *text, size_t length, uint64_t needle)
{
	uint64_t window = '\n';

	for (size_t i = 0; i <= length; i++) {
		window = (window << 8 | (i < length ? (unsigned char)text[i] : '\n')) & NEEDLE_MASK;
		if (window == needle)
			return true;
	}
	return false;
}

static void check_line(const char *pattern, const uint64_t needles[2], const char *text,
		       size_t length)
{
	char device[KERNEL_DEVICE_SIZE];

	if (!kernel_pattern_match(pattern, text, length, device))
		return;
	claim_plain(device);
	claim(strlen(device) < sizeof(device), "a name has its limit");
	claim(has_needle(text, length, needles[0]) && has_needle(text, length, needles[1]),
	      "a line that matches has both needles");
}

static void fuzz_pattern(const char *text, size_t size)
{
	const char *newline = memchr(text, '\n', size), *end = text + size;
	_cleanup_free_ char *pattern = strndup(text, newline ? (size_t)(newline - text) : size);
	uint64_t needles[2];

	claim(pattern, "there is memory");
	if (strlen(pattern) > KERNEL_PATTERN_MAX || kernel_pattern_needles(pattern, needles) < 0)
		return;
	while (newline) {
		const char *line = newline + 1;

		newline = line < end ? memchr(line, '\n', (size_t)(end - line)) : NULL;
		check_line(pattern, needles, line, (size_t)((newline ? newline : end) - line));
	}
}

static void fuzz_kmsg(const char *text, size_t size)
{
	for (const char *end = text + size; text < end;) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t length = newline ? (size_t)(newline - text) + 1 : (size_t)(end - text);
		/* Of its own size, so that a read beyond its end is seen. */
		_cleanup_free_ char *record = malloc(length + 1);
		struct kernel_line line;
		struct kernel_match match;
		uint64_t time_us;

		claim(record, "there is memory");
		memcpy(record, text, length);
		record[length] = '\0';
		text += length;
		if (kmsg_parse(record, length, &line, &time_us, NULL) < 0)
			continue;
		claim(line.length <= MIN(length, (size_t)KERNEL_LINE_SIZE) && line.text >= record &&
			      line.text + line.length <= record + length,
		      "a line is a part of its record");
		claim(line.level >= 0 && line.level <= 7, "it has a level");
		if (kernel_rules_match(&all_rules, &line, &match))
			claim_plain(match.device);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size && data[0] == 'k')
		fuzz_kmsg((const char *)data + 1, size - 1);
	else if (size && data[0] == 'p')
		fuzz_pattern((const char *)data + 1, size - 1);
	return 0;
}
