/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One detector in its place: its settings, which rung of its ladder it stands on and why, its looks
 * and its counters. Only detect.c, slot.c and status.c know this.
 */
#pragma once

#include "detect/detect.h"
#include "detect/pins.h"
#include "detect/ring.h"
#include "detect/settings.h"

#define REASON_SIZE 768

/* What is known of one hook on this kernel. */
struct hook_state {
	bool probed, available;
	char reason[REASON_SIZE];
};

struct slot {
	struct detector_run run; /* first: a run is its slot */
	cJSON *configured; /* the configuration's object, or NULL */
	struct detector_settings settings;
	enum detector_status status;
	char reason[2 * REASON_SIZE];
	struct hook_state *hooks; /* one for each of detector->hooks */
	sd_event_source *look_timer;
	bool started;
	uint64_t generation; /* of the programs that were loaded last; 0: none */
	uint64_t events, looks, look_ns;
	uint64_t own_lost_told; /* of run.lost */
};

/* What hooks need of the node, looked up once. */
struct ground {
	const struct host *host;
	struct btf *btf; /* of some MiB: read when it is asked for; NULL: not now, or none */
	char btf_reason[REASON_SIZE];
	int capabilities; /* 0, or -EPERM */
	char capabilities_reason[REASON_SIZE];
};

struct detect {
	struct detect_options options;
	struct pins *pins; /* NULL: as the ring */
	struct container_registry *containers;
	sd_event_source *containers_timer;
	bool containers_too_many; /* told already */
	struct ring *ring;
	char ring_reason[REASON_SIZE]; /* why there is none */
	struct slot *slots;
	size_t slot_count;
	struct slot *by_type[EVENT_TYPE_COUNT];
};

/* Reads this process's rights, and later the node's BTF. GROUND is then to be cleared. */
void ground_read(struct ground *ground, const struct host *host);
/* Lets go of the BTF, which is read again when it is needed again. */
void ground_clear(struct ground *ground);
#define _cleanup_ground_ _cleanup_(ground_clear)

/* Fills STATE, once. DETECT may be NULL. */
void hook_probe(const struct hook *hook, const struct detect *detect, struct ground *ground,
		const struct host *host, struct hook_state *state);
size_t hook_count(const struct detector *detector);

/* "NAME, NAME: why; NAME: why" of the hooks that were tried and cannot be used. */
void hooks_explain(const struct detector *detector, const struct hook_state *states, char *text,
		   size_t size);

/* Reads CONFIGURED and starts the detector as far as it can be. Never fails but for -ENOMEM. */
int slot_start(struct slot *slot, const cJSON *configured, struct ground *ground);
void slot_stop(struct slot *slot);

/* Records of the slot's types that found no room in the ring, and what the detector itself counted. */
uint64_t slot_lost(const struct slot *slot);
