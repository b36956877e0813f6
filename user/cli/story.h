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

/* "api 0123456789ab of pod shop/api-7f", as far as it is known. Returns 0 or -ENOMEM. */
int story_append_container(struct buffer *text, const cJSON *container);

/* A member's text, or FALLBACK where it is missing or empty. */
const char *story_text_or(const cJSON *json, const char *name, const char *fallback);

/*
 * A copy of JSON whose strings and names are of one line and without control characters; the
 * caller's. NULL when out of memory.
 */
cJSON *story_plain(const cJSON *json);
