/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one ring that all detectors in the kernel write to, and the counters of what found no room in
 * it. Every record is checked before anybody reads it.
 */
#pragma once

#include <systemd/sd-event.h>

#include "detect/detector.h"

#define RING_BYTES_DEFAULT (256 * KIB)

struct ring;

struct ring_options {
	sd_event *event;
	size_t bytes; /* 0: RING_BYTES_DEFAULT */
	/* The least bytes of a record of TYPE; 0 if nobody reads that type. */
	size_t (*size_of)(void *userdata, uint16_t type);
	void (*on_record)(void *userdata, const struct event_header *header);
	void *userdata;
};

/* Returns 0, or a negative errno with REASON filled. */
int ring_new(const struct ring_options *options, struct ring **ret_ring, char *reason,
	     size_t reason_size);
void ring_free(struct ring *ring);
DEFINE_CLEANUP(struct ring, ring_free);

int ring_events_fd(const struct ring *ring);
int ring_lost_fd(const struct ring *ring);

/* Records of TYPE that found no room, over all CPUs. */
uint64_t ring_lost(const struct ring *ring, uint16_t type);

/* Records of a type nobody reads, or not even a header. */
uint64_t ring_malformed(const struct ring *ring);

/* Checks and hands over one record, as the ring does. For tests too. */
void ring_take(struct ring *ring, const void *record, size_t length);
