/* SPDX-License-Identifier: Apache-2.0 */
/* The story of detector kernel_log: what the kernel said, and how often. */
#include "cli/sighting.h"

static int append_line(struct buffer *text, const cJSON *details)
{
	const char *line = json_string(details, "line"), *writer = json_string(details, "writer");
	double lines = json_number(details, "lines", 1);

	if (!line)
		return 0;
	int r = buffer_printf(text, "\n%s logged: %s",
			      writer && strcmp(writer, "program") == 0 ? "a program" : "the kernel",
			      line);
	if (r == 0 && lines > 1)
		r = buffer_printf(text, "\nthe last of %.0f such lines", lines);
	if (r == 0 && json_string(details, "rule"))
		r = buffer_printf(text, "\nfound by rule %s", json_string(details, "rule"));
	return r;
}

SIGHTING(kernel_log) = {.detector = "kernel_log", .append = append_line};
