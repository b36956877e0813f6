/* SPDX-License-Identifier: Apache-2.0 */
/* The worker process of a built-in plug-in: one step, from the request to the exit status. */
#pragma once

#include "plugin/call_wire.h"
#include "plugin/plugin.h"

/*
 * Runs the request's step of its built-in on the Abnormal that TEXT holds, and writes the answer to
 * standard output if it changed anything. Returns the exit status: 0 recognised, 2 not mine, 1
 * error (told on standard error).
 */
int plugin_run(const struct call_request *request, const char *text, size_t length);

/* The built-in of that kind and name, or NULL. */
const struct plugin *plugin_builtin(enum plugin_kind kind, const char *name);

/* The step's function of PLUGIN, or NULL if it has none. */
typedef int (*plugin_function)(struct plugin_call *call);
plugin_function plugin_step_function(const struct plugin *plugin, enum plugin_step step);

/* True once plugin_fail told a reason in this process. */
bool plugin_failure_told(void);
