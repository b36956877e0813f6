/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For a target that includes a detector's own source, to get at the state and the reading of records
 * that its file keeps to itself: the detector is registered by the library's copy alone.
 */
#pragma once

#include "fuzz.h"

#include "detect/detector.h"
#include "detect/slot.h"

#undef DETECTOR
#define DETECTOR(symbol) _unused_ static const struct detector symbol

/* Findings are checked, and nobody else gets them. */
static inline void fuzz_check_finding(const struct finding *finding)
{
	claim(finding->detector && finding->type && finding->subject && *finding->subject,
	      "a finding says what it is and what it is about");
	claim_plain(finding->subject);
	claim_json(finding->event);
	claim(streq_ptr(json_string(finding->event, "detector"), finding->detector) &&
		      streq_ptr(json_string(finding->event, "type"), finding->type),
	      "its event says the same");
}

static uint64_t fuzz_now_ns;

static uint64_t fuzz_now(void *userdata)
{
	return fuzz_now_ns;
}

static int64_t fuzz_realtime(void *userdata)
{
	return INT64_C(1795000000000000000) + (int64_t)fuzz_now_ns;
}

/* Stands still until the target moves it. */
static const struct clock fuzz_clock = {
	.monotonic_ns = fuzz_now, .boot_ns = fuzz_now, .realtime_ns = fuzz_realtime};

static inline const struct detector *fuzz_detector(const char *name)
{
	const struct detector *found = NULL;

	FOREACH_REGISTERED (detectors, struct detector, detector)
		if (streq(detector->name, name))
			found = detector;
	claim(found, "the detector is registered");
	return found;
}

/*
 * Fills a record of SIZE bytes: what the input says (its length first, in two bytes), and a header. A byte tells
 * how many seconds it is old; 128: any time at all, in eight bytes more.
 */
static inline void fuzz_record(struct fuzz_input *input, void *record, size_t size, uint16_t type)
{
	struct event_header *header = record;
	uint8_t age = fuzz_byte(input);
	uint64_t boot_ns = fuzz_now_ns - (uint64_t)(int8_t)age * NS_PER_S;

	if (age == 128)
		fuzz_bytes(input, &boot_ns, sizeof(boot_ns));
	size_t length = (size_t)fuzz_byte(input) << 8;
	length |= fuzz_byte(input);
	memset(record, 0, size);
	fuzz_bytes(input, header + 1, MIN(length, size - sizeof(*header)));
	*header = (struct event_header){.type = type,
					.version = EVENTS_VERSION,
					.size = (uint32_t)size,
					.boot_ns = boot_ns};
}
