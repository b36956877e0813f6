/* SPDX-License-Identifier: Apache-2.0 */
/* A subcommand: one file in cli/, registered by COMMAND(). */
#pragma once

#include "base/macro.h"

/* Exit codes that scripts may rely on. */
enum {
	EXIT_OK = 0,
	EXIT_ERROR = 1, /* what was asked failed; standard error says why */
	EXIT_USAGE = 64, /* the command line is wrong */
	EXIT_NO_AGENT = 69, /* no agent answers on the socket */
};

/* In the order of `lifeboat help`. */
enum command_group {
	GROUP_ABNORMALS, /* working with Abnormals */
	GROUP_LOOK, /* looking at the node */
	GROUP_RUN, /* running the agent and its plug-ins */
	GROUP_OTHER,
};

struct command {
	const char *name;
	const char *arguments; /* "[abnormals] [NAME...]" for the usage line */
	const char *summary; /* one line for `lifeboat help` */
	const char *help; /* the rest of `lifeboat NAME --help` */
	bool hidden; /* internal: not in help */
	enum command_group group;
	/* argv[0] is the command's name. Returns the exit status. */
	int (*run)(int argc, char **argv);
};

#define COMMAND(symbol) REGISTER(commands, struct command, symbol)
DECLARE_REGISTRY(commands, struct command);
