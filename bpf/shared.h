/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What one agent leaves to the next in the map `agent`. The first two members keep their place in
 * every version, as they tell whether the rest can be read.
 */
#pragma once

struct agent_record {
	__u32 version; /* EVENTS_VERSION of the programs and maps beside it */
	__u32 size; /* of this record */
	__u32 pid; /* of the agent that started last; it may be gone */
	__u32 pad;
	__u64 start_boot_ns; /* CLOCK_BOOTTIME when it started */
	__u64 lost_told[EVENT_TYPE_COUNT]; /* of map `lost`, what findings have told */
};

_Static_assert(__builtin_offsetof(struct agent_record, version) == 0 &&
		       __builtin_offsetof(struct agent_record, size) == 4,
	       "every version of the agent reads these two");
