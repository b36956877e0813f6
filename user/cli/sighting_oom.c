/* SPDX-License-Identifier: Apache-2.0 */
/* The story of detector oom: what the victim held, which limit was reached, who asked for more. */
#include "cli/sighting.h"

static int append_bytes(struct buffer *text, const char *before, const cJSON *object,
			const char *member, const char *after)
{
	char bytes[BYTES_TEXT_SIZE];
	double value = json_number(object, member, -1);

	return value < 0 ? 0
			 : buffer_printf(text, "%s%s%s", before, bytes_format(value, bytes), after);
}

static int append_oom(struct buffer *text, const cJSON *details)
{
	const cJSON *group = json_at(details, "limitCgroup"), *victim = json_at(details, "victim");
	const cJSON *node = json_at(details, "node"), *trigger = json_at(details, "trigger");
	int r = 0;

	if (victim) {
		r = buffer_append_text(text, "\nthe victim held");
		if (r == 0)
			r = append_bytes(text, " ", victim, "anonBytes", " anonymous");
		if (r == 0)
			r = append_bytes(text, ", ", victim, "fileBytes", " file");
		if (r == 0)
			r = append_bytes(text, ", ", victim, "shmemBytes", " shared memory");
	}
	if (r == 0 && group) {
		r = buffer_printf(text, "\nlimit of cgroup %s", story_text_or(group, "path", "/"));
		if (r == 0)
			r = append_bytes(text, ": ", group, "limitBytes", "");
		if (r == 0)
			r = append_bytes(text, ", in use ", group, "usageBytes", "");
	} else if (r == 0 && node) {
		r = append_bytes(text, "\nthe node has ", node, "totalBytes", "");
		if (r == 0)
			r = append_bytes(text, ", of them free ", node, "freeBytes", "");
	}
	if (r == 0 && trigger && json_string(trigger, "comm")) {
		r = buffer_append_text(text, "\ntriggered by ");
		if (r == 0)
			r = story_append_process(text, trigger);
	}
	return r;
}

SIGHTING(oom) = {.detector = "oom", .append = append_oom};
