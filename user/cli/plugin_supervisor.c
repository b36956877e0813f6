/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `lifeboat plugin-supervisor --fd N`: what the agent starts for each call of a plug-in. Not for
 * people.
 */
#include <stdio.h>
#include <stdlib.h>

#include "plugin/supervisor.h"
#include "cli/command.h"

static int plugin_supervisor_main(int argc, char **argv)
{
	char *end = NULL;
	long fd = argc == 3 && streq(argv[1], "--fd") ? strtol(argv[2], &end, 10) : -1;

	if (fd < 3 || fd > 1000000 || !end || *end) {
		fprintf(stderr, "lifeboat plugin-supervisor is started by the agent with --fd N\n");
		return EXIT_USAGE;
	}
	return supervisor_run((int)fd);
}

COMMAND(plugin_supervisor) = {
	.name = "plugin-supervisor",
	.arguments = "--fd N",
	.summary = "run one plug-in for the agent",
	.help = "Internal: the agent starts it for each call of a plug-in.\n",
	.hidden = true,
	.group = GROUP_OTHER,
	.run = plugin_supervisor_main,
};
