/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The detectors together: chooses hooks, owns the one ring and the loss counters, runs the looks,
 * and hands every finding to one callback. A detector that cannot start never disturbs another.
 */
#pragma once

#include <systemd/sd-event.h>

#include "detect/detector.h"

struct detect;

enum detector_status {
	DETECTOR_ACTIVE,
	DETECTOR_DEGRADED,
	DETECTOR_UNSUPPORTED,
	DETECTOR_DISABLED
};
extern const char
	*const detector_status_names[]; /* "active", "degraded", "unsupported", "disabled" */

struct detect_options {
	sd_event *event;
	const struct host *host;
	const struct clock *clock;
	const char *bpffs; /* folder for pins; NULL: nothing is pinned */
	size_t ring_bytes; /* a power of two of pages; 0: 512 KiB */
	/*
	 * {NAME: {enabled, hook, …}}: the configuration's `detectors`, checked by
	 * detect_check_settings; or NULL.
	 */
	const cJSON *settings;
	void (*on_finding)(void *userdata, struct finding *finding);
	void *userdata;
};

/*
 * Checks settings against the registered detectors: unknown detectors, unknown settings, wrong
 * values and unknown hooks are named in PROBLEM. Returns 0 or -EINVAL.
 */
int detect_check_settings(const cJSON *settings, struct problem *problem);

/*
 * Starts every enabled detector. Detectors that fail are reported by detect_status, not here. Returns 0,
 * or with PROBLEM filled -EBUSY (another agent has the folder of pins) or -ENOMEM.
 */
int detect_start(const struct detect_options *options, struct detect **ret_detect,
		 struct problem *problem);
/*
 * A finding whose receipt was taken has become durable, or never will: what it was made of is needed no
 * more. RECEIPT 0 is none.
 */
void detect_settle(struct detect *detect, uint64_t receipt);
/*
 * A finding that was held back is handed over first: what on_finding uses must still be there. What is
 * pinned stays attached, and is taken over by the next agent.
 */
void detect_free(struct detect *detect);
DEFINE_CLEANUP(struct detect, detect_free);

/*
 * Stops and starts the detectors whose settings differ. SETTINGS must have been checked. 0 or
 * -ENOMEM.
 */
int detect_reconfigure(struct detect *detect, const cJSON *settings);

/*
 * A list of {name, summary, status, hook, reason, settings, hooks: [{name, available, reason}],
 * events, lost, looks, lookNanoseconds}, or NULL. DETECT may be NULL: then what this host offers is
 * told without starting anything (status is what it would be).
 */
cJSON *detect_status(struct detect *detect, const struct host *host);

/* Records of the ring that were refused since the start, as they were not what their header said. */
uint64_t detect_malformed(const struct detect *detect);
