/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan of recoverer kill-shim: whom its action ends, one a line where they are several. Of one
 * alone the action's target tells it.
 */
#include "cli/evidence.h"

#define CONTAINERS_SHOWN 8

static int append_kill_shim(struct buffer *text, const cJSON *context)
{
	const cJSON *containers = json_at(context, "containers"), *container;
	double count = json_number(context, "containerCount", cJSON_GetArraySize(containers));
	int shown = 0, r = 0;

	if (count <= 1)
		return 0;
	cJSON_ArrayForEach (container, containers) {
		double processes = json_number(container, "processes", -1);

		if (r < 0 || shown++ == CONTAINERS_SHOWN)
			break;
		r = buffer_append_text(text, json_bool(container, "sandbox", false)
						     ? "\naffected: sandbox "
						     : "\naffected: container ");
		if (r == 0)
			r = story_append_container(text, container);
		if (r == 0 && processes >= 0)
			r = buffer_printf(text, ", %.0f running process%s", processes,
					  processes == 1 ? "" : "es");
	}
	if (r == 0 && shown && count > CONTAINERS_SHOWN)
		r = buffer_printf(text, "\nand %.0f more", count - CONTAINERS_SHOWN);
	return r;
}

EVIDENCE(kill_shim) = {.plugin = "kill-shim", .append = append_kill_shim};
