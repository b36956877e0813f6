/* SPDX-License-Identifier: Apache-2.0 */
/* Making entries of the registry: from a built-in, or from a file in a script folder. */
#pragma once

#include "plugin/registry.h"

/*
 * SETTINGS: this plug-in's own part of the configuration, or NULL. Returns 0, -EINVAL or -ENOMEM.
 */
int plugin_entry_new_builtin(const struct plugin *plugin, const cJSON *settings,
			     struct plugin_entry **ret_entry, struct problem *problem);

/*
 * The script FILE_NAME in DIRECTORY. One that may not run gets a `refusal`. Returns 0, -ENOENT if
 * it is nothing that should become a plug-in (hidden, a backup, not executable, no file), or
 * -ENOMEM.
 */
int plugin_entry_new_script(enum plugin_kind kind, const char *directory, const char *file_name,
			    const cJSON *all_settings, struct plugin_entry **ret_entry);

/* True if the entry is for Abnormals like this. Pure. */
bool plugin_entry_matches(const struct plugin_entry *entry, const struct abnormal *abnormal);

/* As `lifeboat get` and the API show it, or NULL. */
cJSON *plugin_entry_json(const struct plugin_entry *entry);
