/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a runtime has let go of what a shim served that was killed: of its socket, its bundles, its
 * list of tasks; and what still lives. PLAN is what kill-shim left in status.context before.
 *
 * Checks return 0, or PLUGIN_NOT_MINE or a negative errno when they have said what is still there.
 * ret_how continues a sentence on what was seen (", its bundle is removed"; "" if nothing was).
 */
#pragma once

#include "plugin/subject_shim.h"

/* SHIM is as shim_json() told of it. */
int aftermath_check_socket(const struct plugin_call *call, const cJSON *shim, const char **ret_how);
int aftermath_check_bundles(const struct plugin_call *call, const cJSON *plan,
			    const char **ret_how);
/* What containerd itself lists, where it can be asked (`ctr`); where not, the bundles have to tell. */
int aftermath_check_runtime(const struct plugin_call *call, const cJSON *plan,
			    const char **ret_how);

/* False if nobody takes connections on ADDRESS, containerd's socket; NULL: it is not known, and true. */
bool aftermath_runtime_listens(const struct plugin_call *call, const char *address);

/* What is alive in these control groups; no zombies. */
size_t aftermath_count_survivors(const struct host *host, const cJSON *groups);

/* True if TEXT is one of LIST. */
bool aftermath_list_has(const cJSON *list, const char *text);
