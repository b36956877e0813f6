/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stays in the kernel when the agent is gone: a folder in a BPF file system with
 *
 *   events, lost, generations, agent    what all detectors share (bpf/shared.bpf.c)
 *   NAME                                 maps of detectors, and iterators to `cat`
 *   links/DETECTOR/PROGRAM@GENERATION    what is attached
 *
 * The next agent takes the maps over if their format is its own, and replaces everything otherwise;
 * the former one's programs stay attached until its own are (bpf/generation.bpf.h). One agent has the
 * folder at a time: it holds a lock on it, which the kernel drops with the process.
 *
 * Without a folder, or without a BPF file system, all of this works on maps that nothing outlives.
 */
#pragma once

#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define PINS_LINKS "links" /* the folder of what is attached */

struct pins;

struct pins_options {
	const char *folder; /* or NULL */
	size_t ring_bytes; /* 0: as bpf/common.bpf.h says */
};

/*
 * Makes or takes over the shared maps. Returns 0, -EBUSY (another agent has the folder), or a
 * negative errno, with REASON filled. That nothing can be pinned is no error: pins_folder() is NULL
 * then, and REASON says why.
 */
int pins_open(const struct pins_options *options, struct pins **ret_pins, char *reason,
	      size_t reason_size);
/* Everything pinned stays. */
void pins_close(struct pins *pins);
DEFINE_CLEANUP(struct pins, pins_close);

/* NULL: nothing is pinned. */
const char *pins_folder(const struct pins *pins);
/* Descriptors of the shared maps; borrowed. */
int pins_events_fd(const struct pins *pins);
int pins_lost_fd(const struct pins *pins);
int pins_generations_fd(const struct pins *pins);

/* Of the losses that the map `lost` has counted of TYPE, how many have been told. */
uint64_t pins_lost_told(const struct pins *pins, uint16_t type);
void pins_set_lost_told(struct pins *pins, uint16_t type, uint64_t count);

/*
 * Puts OBJECT's shared maps in place and its other maps that are to be pinned on their paths, where
 * what a former agent left is used again if it is alike and removed if not. To be called between open
 * and load. Returns 0 or a negative errno.
 */
int pins_share(struct pins *pins, struct bpf_object *object);

/*
 * A new generation of the programs of DETECTOR, whose records are of TYPES (ended by EVENT_NONE):
 * OBJECT is to have it. To be called between open and load. Returns 0 or a negative errno.
 */
int pins_new_generation(struct pins *pins, const char *detector, const uint16_t *types,
			struct bpf_object *object, uint64_t *ret_generation);
/* Pins LINK; that a kernel cannot pin links of its kind is no error. Returns 0 or a negative errno. */
int pins_link(struct pins *pins, const char *detector, const char *program, uint64_t generation,
	      struct bpf_link *link);
/* All of GENERATION is attached: from here on it speaks, and those before it are detached. */
int pins_begin_generation(struct pins *pins, const char *detector, const uint16_t *types,
			  uint64_t generation);
/* Detaches whatever is pinned of DETECTOR but of generation EXCEPT (0: of every one). */
void pins_unlink(struct pins *pins, const char *detector, uint64_t except);

/* Pins the map or iterator behind FD as NAME, in place of whatever has that name. */
int pins_put(struct pins *pins, const char *name, int fd);

/*
 * Ends the taking over: detaches the programs of detectors for which KNOWN is false, and says in the
 * log what a former agent of another version left that could not be read.
 */
void pins_settle(struct pins *pins, bool (*known)(void *userdata, const char *detector),
		 void *userdata);

/* How many records of a former agent of this version wait in the ring; for the log. */
uint64_t pins_waiting(const struct pins *pins);
