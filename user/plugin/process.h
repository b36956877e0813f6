/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process of the plug-in itself: made small, harmless and alone, then the built-in or the
 * script.
 */
#pragma once

#include "plugin/call_wire.h"

struct plugin_process {
	const struct call_request *request;
	const char *abnormal_text;
	size_t abnormal_length;
	int input, output, error; /* become 0, 1 and 2; everything else is closed */
	pid_t supervisor; /* whose death ends this process too */
};

/* Called in the forked child; ends the process with the plug-in's exit status. */
_noreturn_ void plugin_process_run(const struct plugin_process *process);
