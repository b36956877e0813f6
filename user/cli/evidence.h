/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How what a plug-in left in status.context is told to a person, below the line of the story that
 * names the plug-in: one file in cli/, registered by EVIDENCE(). Most plug-ins need none: their
 * message and their files tell enough.
 */
#pragma once

#include "base/macro.h"
#include "cli/story.h"

struct evidence {
	const char *plugin; /* collector, diagnoser or recoverer; so is the key in status.context */
	/* As append of struct sighting. */
	int (*append)(struct buffer *text, const cJSON *context);
};

#define EVIDENCE(symbol) REGISTER(evidence, struct evidence, evidence_##symbol)
DECLARE_REGISTRY(evidence, struct evidence);

/* What PLUGIN left in STATUS, if it left anything that is told. Returns 0, -ENOBUFS or -ENOMEM. */
int evidence_append(struct buffer *text, const cJSON *status, const char *plugin);
