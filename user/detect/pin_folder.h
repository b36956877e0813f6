/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder of pins in a BPF file system: taking it for one agent, going through it, and removing it.
 * What is pinned in it, and why, is pins.h.
 */
#pragma once

#include <stddef.h>

#include "../../bpf/events_types.h"
#include "../../bpf/shared.h"
#include "base/macro.h"

#define PIN_PATH_MAX 4096
#define PIN_AGENT "agent" /* the map with struct agent_record */
/* Names of the maps that all detectors share, ended by NULL. */
extern const char *const pin_shared_names[];

/* Prints a path. Returns PATH. */
const char *pin_path(char path[PIN_PATH_MAX], const char *format, ...) _printf_(2, 3);

/*
 * Makes FOLDER and takes it: returns it open, and locked for as long as it is, -EBUSY (another agent has
 * it), -EXDEV (not in a BPF file system), -EISDIR (that file system itself) or another negative errno.
 */
int pin_folder_take(const char *folder);
/* The pid of the agent that took it last; 0 if that is not known. */
int pin_folder_holder(const char *folder);
/*
 * Fills RECORD, with zeroes where the map is shorter. Returns the map's descriptor, which is the
 * caller's to close, or a negative errno; -EPROTO if it is no agent's.
 */
int pin_folder_read_record(const char *folder, struct agent_record *record);

/* Calls VISIT with each name in FOLDER (none if it is not there). Returns the sum of what it returned. */
int pin_folder_visit(const char *folder, int (*visit)(void *userdata, const char *name),
		     void *userdata);

/*
 * Removes everything pinned in FOLDER and the folder itself. Returns how many pins there were, -EBUSY
 * (an agent has it; *RET_PID says which, 0 if that is not known), -EPROTO (what is in it is no agent's),
 * -EXDEV (not in a BPF file system) or another negative errno.
 */
int pin_folder_remove(const char *folder, int *ret_pid);
