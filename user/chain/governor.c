/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of what was done, and the limits judged by it. */
#include "chain/governor.h"

#include <inttypes.h>

#include "base/cleanup.h"

#define HOUR_NS ((int64_t)(3600 * NS_PER_S))

struct deed {
	int64_t boot_ns;
	bool harmless;
	char *recoverer, *subject;
};

struct governor {
	struct deed *deeds; /* in the order of noting */
	size_t count;
};

int governor_new(struct governor **ret_governor)
{
	struct governor *governor = calloc(1, sizeof(*governor));

	if (!governor)
		return -ENOMEM;
	governor->deeds = calloc(GOVERNOR_MAXIMUM, sizeof(*governor->deeds));
	if (!governor->deeds) {
		free(governor);
		return -ENOMEM;
	}
	*ret_governor = governor;
	return 0;
}

static void deed_remove(struct governor *governor, size_t index)
{
	free(governor->deeds[index].recoverer);
	free(governor->deeds[index].subject);
	governor->count--;
	memmove(&governor->deeds[index], &governor->deeds[index + 1],
		(governor->count - index) * sizeof(*governor->deeds));
}

void governor_free(struct governor *governor)
{
	while (governor->count)
		deed_remove(governor, governor->count - 1);
	free(governor->deeds);
	free(governor);
}

int governor_note(struct governor *governor, const char *recoverer, const char *subject,
		  bool harmless, int64_t boot_ns)
{
	_cleanup_free_ char *recoverer_copy = strdup(recoverer);
	_cleanup_free_ char *subject_copy = strdup(subject);

	if (!recoverer_copy || !subject_copy)
		return -ENOMEM;
	if (governor->count == GOVERNOR_MAXIMUM)
		deed_remove(governor, 0);
	governor->deeds[governor->count++] = (struct deed){
		.boot_ns = boot_ns,
		.harmless = harmless,
		.recoverer = TAKE_PTR(recoverer_copy),
		.subject = TAKE_PTR(subject_copy),
	};
	return 0;
}

void governor_forget(struct governor *governor, const char *recoverer, const char *subject)
{
	for (size_t i = governor->count; i-- > 0;)
		if (streq(governor->deeds[i].recoverer, recoverer) &&
		    streq(governor->deeds[i].subject, subject)) {
			deed_remove(governor, i);
			return;
		}
}

/*
 * How many deeds of RECOVERER (NULL: any that disturbs something) and SUBJECT (NULL: any) lie less
 * than PERIOD_NS back, and the first of them.
 */
static uint64_t deeds_within(const struct governor *governor, const char *recoverer,
			     const char *subject, int64_t period_ns, int64_t now_ns,
			     int64_t *ret_first_ns)
{
	uint64_t count = 0;

	for (size_t i = 0; i < governor->count; i++) {
		const struct deed *deed = &governor->deeds[i];

		if (now_ns - deed->boot_ns >= period_ns ||
		    (recoverer ? !streq(deed->recoverer, recoverer) : deed->harmless) ||
		    (subject && !streq(deed->subject, subject)))
			continue;
		if (count++ == 0 || deed->boot_ns < *ret_first_ns)
			*ret_first_ns = deed->boot_ns;
	}
	return count;
}

static int64_t period_of(uint64_t ns)
{
	return (int64_t)MIN(ns, (uint64_t)INT64_MAX / 2);
}

int governor_check(const struct governor *governor, const struct plugin_entry *entry,
		   const char *subject, uint64_t actions_per_hour, int64_t now_boot_ns,
		   char *reason, size_t reason_size)
{
	char ago[TIME_TEXT_SIZE], wait[TIME_TEXT_SIZE], period[TIME_TEXT_SIZE];
	int64_t first_ns = 0, cooldown_ns = period_of(entry->cooldown_ns),
		rate_ns = period_of(entry->rate_period_ns);

	if (deeds_within(governor, entry->name, subject, cooldown_ns, now_boot_ns, &first_ns)) {
		snprintf(reason, reason_size,
			 "%s acted on this subject %s ago and its cooldown of %s is not over: wait "
			 "another %s, or lower recoverers.%s.cooldown",
			 entry->name, duration_format((uint64_t)(now_boot_ns - first_ns), ago),
			 duration_format(entry->cooldown_ns, period),
			 duration_format((uint64_t)(first_ns + cooldown_ns - now_boot_ns), wait),
			 entry->name);
		return -EAGAIN;
	}
	if (entry->rate_count && deeds_within(governor, entry->name, NULL, rate_ns, now_boot_ns,
					      &first_ns) >= entry->rate_count) {
		snprintf(reason, reason_size,
			 "%s may act %" PRIu64 " times in %s and has: the next is free in %s",
			 entry->name, entry->rate_count,
			 duration_format(entry->rate_period_ns, period),
			 duration_format((uint64_t)(first_ns + rate_ns - now_boot_ns), wait));
		return -EAGAIN;
	}
	if (actions_per_hour && entry->disturbs != DISTURBS_NONE &&
	    deeds_within(governor, NULL, NULL, HOUR_NS, now_boot_ns, &first_ns) >=
		    actions_per_hour) {
		snprintf(reason, reason_size,
			 "all recoverers of this node together may act %" PRIu64
			 " times in an hour and have: the next is free in %s; look at what keeps "
			 "failing before raising pipeline.actionsPerHour",
			 actions_per_hour,
			 duration_format((uint64_t)(first_ns + HOUR_NS - now_boot_ns), wait));
		return -EAGAIN;
	}
	return 0;
}
