/* SPDX-License-Identifier: Apache-2.0 */
/* The events of a story, gathered from an Abnormal's status and brought into the order of time. */
#pragma once

#include "cli/story.h"
#include "core/abnormal.h"

#define ENTRIES_MAX 256

struct entry {
	int64_t time;
	size_t order; /* among those of one time */
	const char *word;
	enum colour colour;
	char *text; /* several lines are fine */
};

struct story {
	const struct terminal *terminal;
	const cJSON *abnormal, *spec, *status, *history, *recoverers;
	const char *name, *namespace, *phase, *reason;
	int64_t start, now;
	int64_t end; /* TIME_ABSENT until it is final */
	int64_t cleared; /* when the detector stopped seeing the fault, or TIME_ABSENT */
	bool seen_since; /* seen again after the end, and not cleared since */
	struct entry entries[ENTRIES_MAX];
	size_t count;
};

/* Gathers and sorts. Returns 0 or -ENOMEM. */
int story_build(struct story *story);
void story_clear(struct story *story);

/* The time in a member, or TIME_ABSENT. */
int64_t story_time_of(const cJSON *object, const char *member);
const cJSON *story_condition(const struct story *story, const char *type);
bool story_condition_is(const cJSON *condition, const char *status);
bool story_is_final(const struct story *story);
