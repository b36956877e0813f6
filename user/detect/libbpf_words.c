/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libbpf explains a failure on its log and returns a bare errno. The first line it warns with is
 * the most telling one (later ones say what could not be done because of it), and of a verifier's
 * log the last before its statistics.
 */
#include "detect/libbpf_words.h"

#include <fcntl.h>

#include "detect/detector.h"

/* libbpf's log callback has no userdata, so these belong to the process, as the callback does. */
static char first_warning[256], verdict[256];

static void keep(char kept[256], const char *line, size_t length)
{
	while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == ' '))
		length--;
	snprintf(kept, 256, "%.*s", (int)MIN(length, 255u), line);
}

/* The last line of a verifier's log, before "processed N insns …". */
static void keep_verdict(const char *log)
{
	const char *end = strstr(log, "\nprocessed ");

	if (!end)
		return;
	const char *start = end;

	while (start > log && start[-1] != '\n')
		start--;
	keep(verdict, start, (size_t)(end - start));
}

static int on_message(enum libbpf_print_level level, const char *format, va_list arguments)
{
	_cleanup_free_ char *text = NULL;

	if (level == LIBBPF_DEBUG)
		return 0;
	if (vasprintf(&text, format, arguments) < 0) {
		text = NULL;
		return 0;
	}
	const char *line = startswith(text, "libbpf: ");

	line = line ? line : text;
	log_debug("libbpf: %s", line);
	if (level == LIBBPF_WARN) {
		if (strstr(line, "BEGIN PROG LOAD LOG"))
			keep_verdict(line);
		else if (!first_warning[0])
			keep(first_warning, line, strlen(line));
	}
	return 0;
}

void libbpf_words_take(void)
{
	libbpf_set_print(on_message);
}

int detector_fail(char *reason, size_t reason_size, int code, const char *what_format, ...)
{
	char what[256];
	va_list arguments;

	va_start(arguments, what_format);
	vsnprintf(what, sizeof(what), what_format, arguments);
	va_end(arguments);
	snprintf(reason, reason_size, "%s: %s%s%s%s%s%s", what, strerror(-code),
		 first_warning[0] ? " (libbpf: " : "", first_warning,
		 verdict[0] ? "; verifier: " : "", verdict, first_warning[0] ? ")" : "");
	first_warning[0] = verdict[0] = '\0';
	return code;
}
