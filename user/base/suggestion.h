/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "Did you mean …": of some known words, the one nearest to what somebody wrote.
 *
 *     struct suggestion suggestion = {.text = word};
 *     for (…) suggestion_offer(&suggestion, known[i]);
 *     if (suggestion.best) …
 */
#pragma once

#include "base/macro.h"

struct suggestion {
	const char *text; /* what was written */
	const char *best; /* the nearest offered, or NULL while none is near; belongs to who offered
			     it */
	size_t distance;
};

/* Takes CANDIDATE if it is near TEXT and nearer than the best so far. */
void suggestion_offer(struct suggestion *suggestion, const char *candidate);
