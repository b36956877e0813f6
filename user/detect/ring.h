/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the one ring that all detectors in the kernel write to. Every record is checked before
 * anybody reads it.
 *
 * A record stays in the ring until nobody needs it any more: who makes something of it that has to
 * become durable keeps it until then. What is kept when the agent is killed is read again by the next
 * one. So that this cannot fill the ring, no more than half of it is kept: beyond that the oldest is
 * let go.
 */
#pragma once

#include <systemd/sd-event.h>

#include "detect/detector.h"

struct ring;

struct ring_options {
	sd_event *event; /* NULL: nothing is read by itself */
	const struct host *host;
	int events_fd, lost_fd; /* the maps; borrowed */
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

/*
 * A record is named by where in the ring it ends, counted in bytes since the ring was made; 0 is
 * none. The record that on_record is being called for:
 */
uint64_t ring_current(const struct ring *ring);
/* Keeps RECORD, and with it all that come after it, once more. Only what is still there is kept. */
void ring_keep(struct ring *ring, uint64_t record);
/* Takes one ring_keep of RECORD back. */
void ring_release(struct ring *ring, uint64_t record);
/* "RING:RECORD", RING being the same for as long as that ring lives, and no other's. Returns TEXT. */
#define RING_RECORD_TEXT_SIZE 64
const char *ring_record_text(const struct ring *ring, uint64_t record,
			     char text[RING_RECORD_TEXT_SIZE]);

/* Records of TYPE that found no room, over all CPUs. */
uint64_t ring_lost(const struct ring *ring, uint16_t type);

/* Records of a type nobody reads, or not even a header. */
uint64_t ring_malformed(const struct ring *ring);

/* Reads what is there, a portion at most, as the event loop does. For tests and the end. */
void ring_read(struct ring *ring);
/* Checks and hands over one record, as the ring does. For tests too. */
void ring_take(struct ring *ring, const void *record, size_t length);
