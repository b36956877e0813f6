/* SPDX-License-Identifier: Apache-2.0 */
/* One hot folder: told of its changes, and read into entries. */
#pragma once

#include "plugin/registry.h"

#define SCRIPTS_MAX 256 /* of one folder */

struct script_folder;

/* Called, from the loop, a moment after something in the folder changed. */
typedef void (*script_folder_changed)(void *userdata);

/*
 * EVENT NULL: not watched. A folder that is missing is watched once it appears. Returns 0 or a
 * negative errno.
 */
int script_folder_new(sd_event *event, enum plugin_kind kind, const char *path,
		      script_folder_changed changed, void *userdata,
		      struct script_folder **ret_folder);
void script_folder_free(struct script_folder *folder);
DEFINE_CLEANUP(struct script_folder, script_folder_free);

/*
 * Reads the folder as it is now into entries in order of file names; refused ones too. A folder
 * that others can write refuses all in it. Says once in the log what was added, removed or refused
 * since the last time. Returns 0 or a negative errno.
 */
int script_folder_read(struct script_folder *folder, const cJSON *settings,
		       struct plugin_entry ***ret_entries, size_t *ret_count);
