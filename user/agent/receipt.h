/* SPDX-License-Identifier: Apache-2.0 */
/* What a finding was made of stays in the ring until what was made of the finding is durable. */
#pragma once

#include "sources/source.h"

/*
 * Hands FINDING to the sources, and settles it with *DETECT when all that they made of it is durable.
 * *DETECT may be NULL by then: without detectors the agent is ending, and the next one reads the record
 * again, and knows it. Returns what sources_finding returned.
 */
int receipt_submit(struct pipeline *pipeline, struct detect **detect, struct finding *finding);
