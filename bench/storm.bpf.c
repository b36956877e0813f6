// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Events of a detector in numbers that no fault would make: each run offers BATCH lines of the kernel's log
 * to the agent's ring, as kernel_log.bpf.c does with one, but without its limit of lines a second.
 */
#include "common.bpf.h"

#include "kernel_log.h"

#include "storm.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* As struct kernel_line_event, with no more text than there is. */
struct storm_event {
	struct event_header header;
	__u32 length, flags;
	char text[STORM_LINE_SIZE];
};

_Static_assert(__builtin_offsetof(struct storm_event, text) ==
		       __builtin_offsetof(struct kernel_line_event, text),
	       "a storm_event is a kernel_line_event");

/* Set before loading: the line, without its device's letter at the end. */
const volatile char line[STORM_LINE_SIZE];

SEC("raw_tp")
int storm(void *ctx)
{
	for (__u32 i = 0; i < STORM_BATCH; i++) {
		struct storm_event *event = event_reserve(EVENT_KERNEL_LINE, struct storm_event);

		if (!event)
			continue;
		for (__u32 j = 0; j < STORM_LINE_SIZE; j++)
			event->text[j] = line[j];
		event->text[STORM_LINE_SIZE - 1] = 'a' + i % STORM_DEVICES;
		event->length = STORM_LINE_SIZE;
		event->flags = KERNEL_LINE_KERNEL;
		/* One wakeup a batch, whatever the agent has read by then. */
		bpf_ringbuf_submit(event, i == STORM_BATCH - 1 ? BPF_RB_FORCE_WAKEUP : 0);
	}
	return 0;
}
