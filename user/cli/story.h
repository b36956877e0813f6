/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An Abnormal's story for a tired person: what it is, why, what happened in which order, and what
 * to do next, so that the first screen is enough.
 */
#pragma once

#include "base/clock.h"
#include "base/json.h"
#include "cli/terminal.h"

/*
 * HISTORY is a list of {time, from, to, transition}, RECOVERERS what the agent has of them; both may
 * be NULL. Returns 0 or -ENOMEM.
 */
int story_print(const struct terminal *terminal, const cJSON *abnormal, const cJSON *history,
		const cJSON *recoverers, int64_t now_realtime_ns);

/*
 * Appends what was seen, in lines, to TEXT: the event, its process and container, its details, its
 * stack.
 */
int story_append_sighting(struct buffer *text, const cJSON *abnormal);

/* "dd (pid 812, uid 0)". Returns 0 or -ENOMEM. */
int story_append_process(struct buffer *text, const cJSON *process);
