/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's own memory: kept from being paged out, and given back once much of it is free. */
#pragma once

#include <systemd/sd-event.h>

#include "chain/pipeline.h"

struct own_memory {
	const struct pipeline *pipeline; /* borrowed */
	sd_event_source *timer;
	bool armed;
};

/* For the whole process, before it allocates much. What fails is no harm, and is logged. */
void own_memory_keep(void);

/* Gives back what is free, which takes about a millisecond. */
void own_memory_give_back(void);

/* Zeroed, it may be ended at once; otherwise MEMORY stays where it is. Returns 0 or a negative errno. */
int own_memory_begin(struct own_memory *memory, sd_event *event, const struct pipeline *pipeline);
void own_memory_end(struct own_memory *memory);

/*
 * Memory was used for a while, as by the start or by an Abnormal: soon after the last of these has
 * ended, what is free is given back.
 */
void own_memory_used(struct own_memory *memory);
