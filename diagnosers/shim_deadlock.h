/* SPDX-License-Identifier: Apache-2.0 */
/* What the diagnoser shim-deadlock has found out of a shim, and how it tells it. */
#pragma once

#include "plugin/subject_shim.h"

#define SHIM_DEADLOCK_DUMPS 2

struct shim_deadlock_dump {
	cJSON *summary;
	int64_t time;
};

struct shim_findings {
	struct shim shim;
	char *container, name[SHIM_TEXT_SIZE];
	struct shim_look look;
	cJSON *containers;
	size_t container_count;
	struct process *zombies; /* at the first look */
	size_t zombie_count;
	uint64_t first_look_ns;
	struct shim_deadlock_dump dumps[SHIM_DEADLOCK_DUMPS];
	size_t dump_count;
	struct problem no_dump; /* why there is none, or no second */
	struct shim_reply reply;
	size_t reaped; /* of the zombies, since the first look */
};

/* Each identifies the fault and leaves status.context, or says why it is none. As diagnose() returns. */
int shim_tell_stopped(struct plugin_call *call, const struct shim_findings *findings);
int shim_tell_deadlock(struct plugin_call *call, const struct shim_findings *findings);
int shim_tell_stalled(struct plugin_call *call, const struct shim_findings *findings);
int shim_tell_well(const struct shim_findings *findings);
