/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For a target of the records that a detector's BPF iterator writes: a detector that runs with a node of the
 * target's own, and the records of a look.
 */
#pragma once

#include "detect_source.h"
#include "fuzz_root.h"

static struct detect fuzz_detect;
static struct slot fuzz_slot;

static void fuzz_on_finding(void *userdata, struct finding *finding)
{
	fuzz_check_finding(finding);
}

static void fuzz_detect_end(void)
{
	container_registry_free(fuzz_detect.containers);
}

/* After fuzz_root_begin. SETTINGS and STATE are the detector's, and stay the target's. */
static inline void fuzz_detect_begin(const char *detector, void *settings, void *state)
{
	log_set_level(LOG_LEVEL_ERROR);
	claim(container_registry_new(fuzz_host, &fuzz_detect.containers) == 0, "there is memory");
	fuzz_detect.options = (struct detect_options){
		.host = fuzz_host, .clock = &fuzz_clock, .on_finding = fuzz_on_finding};
	fuzz_slot.run = (struct detector_run){.detector = fuzz_detector(detector),
					      .settings = settings,
					      .state = state,
					      .host = fuzz_host,
					      .clock = &fuzz_clock,
					      .containers = fuzz_detect.containers,
					      .detect = &fuzz_detect};
	atexit(fuzz_detect_end);
}

/* Hands SIZE bytes of records to TAKE as iterator_read does. Returns 0, or what TAKE says is wrong. */
static inline int fuzz_take(ssize_t (*take)(void *userdata, const char *data, size_t length),
			    void *userdata, const void *records, size_t size)
{
	/* Of its own size, so that a read beyond its end is seen. */
	_cleanup_free_ char *copy = malloc(size);
	ssize_t taken = 0;

	claim(copy, "there is memory");
	memcpy(copy, records, size);
	for (size_t at = 0; at < size; at += (size_t)taken) {
		taken = take(userdata, copy + at, size - at);
		claim(taken <= (ssize_t)(size - at), "no more is taken than there is");
		if (taken <= 0)
			return (int)taken;
	}
	return 0;
}
