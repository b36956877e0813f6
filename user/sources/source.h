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
	 * NULL for others. FINDING stays the caller's. Returns 1 if CALLBACK comes when that is durable, 0
	 * if there is nothing to wait for, or a negative errno.
	 */
	int (*finding)(struct pipeline *pipeline, const struct finding *finding,
		       pipeline_submitted callback, void *userdata);
};

#define SOURCE(symbol) REGISTER(sources, struct source, symbol)
DECLARE_REGISTRY(sources, struct source);

/* A list of {name, summary, source} of the registered sources, or NULL. */
cJSON *sources_list(void);

/*
 * Hands FINDING to every source that takes findings. Returns the first negative errno, or 0;
 * *RET_PENDING is in each case how many times CALLBACK is going to come.
 */
int sources_finding(struct pipeline *pipeline, const struct finding *finding,
		    pipeline_submitted callback, void *userdata, unsigned *ret_pending);

/* kernel_events.c: the Abnormal that a finding makes, without submitting it. Pure. */
int kernel_events_abnormal(const struct finding *finding, struct abnormal **ret_abnormal,
			   struct problem *problem);
