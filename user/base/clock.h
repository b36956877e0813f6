/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time. A clock is passed in wherever time decides something, so that tests can turn it. On the
 * wire a time is RFC 3339 in UTC with as many decimals as it needs; inside it is nanoseconds of
 * CLOCK_REALTIME since 1970 (`_realtime_ns`), of CLOCK_BOOTTIME (`_boot_ns`, the clock of kernel
 * events), or of CLOCK_MONOTONIC (`_ns`, for deadlines).
 */
#pragma once

#include "base/macro.h"

struct clock {
	uint64_t (*monotonic_ns)(void *userdata);
	uint64_t (*boot_ns)(void *userdata);
	int64_t (*realtime_ns)(void *userdata);
	void *userdata;
};

/* The system's clocks. */
const struct clock *clock_system(void);

static inline uint64_t clock_monotonic(const struct clock *clock)
{
	return clock->monotonic_ns(clock->userdata);
}

static inline uint64_t clock_boot(const struct clock *clock)
{
	return clock->boot_ns(clock->userdata);
}

static inline int64_t clock_realtime(const struct clock *clock)
{
	return clock->realtime_ns(clock->userdata);
}

/* Blocks for that long: for worker processes and the agent's start, never on its loop. */
void clock_sleep(uint64_t ns);

/*
 * The wall-clock time of an instant that the kernel gave in CLOCK_BOOTTIME: now, where the instant is yet
 * to come; 1970, where the wall clock was not set and it would be before that.
 */
int64_t clock_realtime_of_boot(const struct clock *clock, uint64_t boot_ns);

/* An instant that is not known. */
#define TIME_ABSENT INT64_MIN

/* ns from one instant to a later one; 0 if it is not later, or one of them is not known. */
static inline uint64_t time_between(int64_t from_realtime_ns, int64_t to_realtime_ns)
{
	if (from_realtime_ns == TIME_ABSENT || to_realtime_ns <= from_realtime_ns)
		return 0;
	/* Centuries may lie between them, which are more than an int64_t holds. */
	return (uint64_t)to_realtime_ns - (uint64_t)from_realtime_ns;
}

#define TIME_TEXT_SIZE 40
/* "2026-11-23T17:45:01.123456789Z"; no fraction when it is zero. Returns TEXT. */
const char *time_format(int64_t realtime_ns, char text[TIME_TEXT_SIZE]);
/* Any RFC 3339 time, with an offset or Z, with up to nine decimals. Returns 0 or -EINVAL. */
int time_parse(const char *text, int64_t *ret_realtime_ns);

/*
 * "500ms", "90s", "1.5h", "2h", "7d" and sums of these as "1m30s"; a bare number is refused. 0 or
 * -EINVAL/-ERANGE.
 */
int duration_parse(const char *text, uint64_t *ret_ns);
/*
 * The two greatest units, as kubectl prints ages: "850ms", "12s", "3m5s", "2h10m", "4d3h". Returns
 * TEXT.
 */
const char *duration_format(uint64_t ns, char text[TIME_TEXT_SIZE]);
/* The same of seconds that anybody may have written: what is no duration is none. */
const char *duration_format_seconds(double seconds, char text[TIME_TEXT_SIZE]);
/*
 * Without loss, as Go prints durations: "1m30s", "12.345s", "850ms"; duration_parse gives NS again.
 * Returns TEXT.
 */
const char *duration_format_exact(uint64_t ns, char text[TIME_TEXT_SIZE]);
