/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the program of a process that has ended runs again, where it ran: in its control group, its
 * pod, or a container beside its own.
 */
#pragma once

#include "plugin/plugin.h"
#include "host/container.h"

/* The process that ended; all strings are of the Abnormal, or NULL. */
struct predecessor {
	const char *comm; /* of the process */
	const char *exe; /* path */
	const char *path; /* its control group */
	uint64_t ended_ticks; /* clock ticks since boot */
	struct container container;
	bool in_container;
};

/* The instant of spec.kernelEvent on the boot clock, or now if it does not tell. */
uint64_t event_boot_ns(const struct plugin_call *call);

/*
 * The process of spec.kernelEvent, with the container's control group or else PATH (may be NULL).
 */
void predecessor_read(const struct plugin_call *call, const char *path,
		      struct predecessor *ret_predecessor);

/* Its successor: the same program, started after its end, in the same place. 0 if there is none. */
int64_t successor_find(const struct plugin_call *call, const struct predecessor *predecessor);
