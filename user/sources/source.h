/* SPDX-License-Identifier: Apache-2.0 */
/* What brings Abnormals in: one file a source, registered by SOURCE(). */
#pragma once

#include "chain/pipeline.h"
#include "detect/detect.h"

struct source {
	const char *name; /* "kernel-events" */
	const char *summary; /* one line for `lifeboat get sources` */
	enum abnormal_source kind;
	/*
	 * Takes what a detector saw, for a source that makes Abnormals of it (or clears one) in PIPELINE;
	 * NULL for others. FINDING stays the caller's. Returns 0 or a negative errno.
	 */
	int (*finding)(struct pipeline *pipeline, const struct finding *finding);
};

#define SOURCE(symbol) REGISTER(sources, struct source, symbol)
DECLARE_REGISTRY(sources, struct source);

/* A list of {name, summary, source} of the registered sources, or NULL. */
cJSON *sources_list(void);

/* Hands FINDING to every source that takes findings. Returns 0 or the first negative errno. */
int sources_finding(struct pipeline *pipeline, const struct finding *finding);

/* kernel_events.c: the Abnormal that a finding makes, without submitting it. Pure. */
int kernel_events_abnormal(const struct finding *finding, struct abnormal **ret_abnormal,
			   struct problem *problem);
