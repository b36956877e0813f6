/* SPDX-License-Identifier: Apache-2.0 */
/* The agent: puts the parts together, runs the loop, and takes them apart again. */
#pragma once

#include "base/macro.h"

/* What the command line says; it goes before the configuration. */
struct agent_options {
	const char *config; /* NULL: the default file, which may be missing */
	const char *state_directory; /* NULL, as all below: as configured */
	const char *socket, *bpffs, *node_name;
	const char *log_level;
	bool dry_run; /* false: as configured */
};

#define AGENT_CONFIG_DEFAULT "/etc/lifeboat/lifeboat.yaml"

/*
 * Runs the agent until SIGTERM or SIGINT. What went wrong has been logged. Returns the exit status.
 */
int agent_run(const struct agent_options *options);

/*
 * Removes from the kernel what agents with these options left there: programs, maps, iterators. Not
 * while one of them runs. Prints what it did, or logs why not. Returns the exit status.
 */
int agent_detach(const struct agent_options *options);
