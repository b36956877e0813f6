/* SPDX-License-Identifier: Apache-2.0 */
/* What `lifeboat top` shows, apart from how it gets it. */
#pragma once

#include "base/json.h"
#include "cli/terminal.h"

#define TOP_RECENT_MAX 8

struct top_model {
	cJSON *live; /* Abnormals that have not ended, oldest first */
	cJSON *recent; /* those that ended last, latest first; at most TOP_RECENT_MAX */
	cJSON *status, *detectors, *pressure; /* as the API and /proc/pressure tell; may be NULL */
};

int top_model_start(struct top_model *model);
void top_model_clear(struct top_model *model);

/*
 * Takes in one line of a watch, TYPE "ADDED", "MODIFIED" or "DELETED". OBJECT is taken. Returns 0
 * or -ENOMEM.
 */
int top_model_change(struct top_model *model, const char *type, cJSON *object);

/* Prints one picture. Returns 0 or -ENOMEM. */
int top_model_print(const struct top_model *model, const struct terminal *terminal,
		    int64_t now_realtime_ns);
