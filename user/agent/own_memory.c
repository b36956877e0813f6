/* SPDX-License-Identifier: Apache-2.0 */
/*
 * free() gives memory back from the end of the heap alone: what a storm of Abnormals leaves free
 * between those that are kept at hand stays resident, and locked. Once the pipeline is empty, all of
 * it is given back.
 */
#include "agent/own_memory.h"

#include <malloc.h>
#include <sys/mman.h>

#include "base/log.h"

#define TRIM_BYTES (128 * (int)KIB)
#define LOOK_US (5 * NS_PER_S / NS_PER_US)

/*
 * What the agent has once touched stays in memory: on a node whose disk hangs, a page that has to be
 * read back in would hang the agent too.
 */
static void pages_lock(void)
{
#ifndef __SANITIZE_ADDRESS__ /* whose shadow memory is too large for it */
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
		log_debug("Keeping the own pages in memory failed: %s", strerror(errno));
#endif
}

void own_memory_keep(void)
{
	/*
	 * One thread: one arena, and freed memory goes back, as the agent idles most of its life.
	 */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_TRIM_THRESHOLD, TRIM_BYTES);
	pages_lock();
}

void own_memory_give_back(void)
{
#ifdef __GLIBC__
	/* The kernel takes back no page that is locked. */
	munlockall();
	malloc_trim(TRIM_BYTES);
	pages_lock();
#endif
}

static int on_look(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct own_memory *memory = userdata;

	memory->armed = false;
	if (pipeline_counts(memory->pipeline)->live)
		own_memory_used(memory);
	else
		own_memory_give_back();
	return 0;
}

int own_memory_begin(struct own_memory *memory, sd_event *event, const struct pipeline *pipeline)
{
	memory->pipeline = pipeline;
	int r = sd_event_add_time_relative(event, &memory->timer, CLOCK_MONOTONIC, 0,
					   NS_PER_S / NS_PER_US, on_look, memory);
	if (r >= 0)
		r = sd_event_source_set_enabled(memory->timer, SD_EVENT_OFF);
	return MIN(r, 0);
}

void own_memory_end(struct own_memory *memory)
{
	memory->timer = sd_event_source_disable_unref(memory->timer);
}

void own_memory_used(struct own_memory *memory)
{
	if (memory->armed || !memory->timer)
		return;
	memory->armed = sd_event_source_set_time_relative(memory->timer, LOOK_US) >= 0 &&
			sd_event_source_set_enabled(memory->timer, SD_EVENT_ONESHOT) >= 0;
}
