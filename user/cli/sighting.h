/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the details of one detector's events are told to a person: one file in cli/, registered by
 * SIGHTING(). A detector without one has its details shown as they are.
 */
#pragma once

#include "base/macro.h"
#include "cli/story.h"

struct sighting {
	const char *detector;
	/*
	 * Appends DETAILS (of spec.kernelEvent; NULL where there are none) to TEXT, each line after
	 * a newline. Anybody may have written them: whatever is missing or of another type is left
	 * out. Control characters are made plain on their way to the terminal. Returns 0, -ENOBUFS or
	 * -ENOMEM.
	 */
	int (*append)(struct buffer *text, const cJSON *details);
};

#define SIGHTING(symbol) REGISTER(sightings, struct sighting, sighting_##symbol)
DECLARE_REGISTRY(sightings, struct sighting);
