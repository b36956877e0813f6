/* SPDX-License-Identifier: Apache-2.0 */
/* What collect and diagnose share: one plug-in's name, and the Abnormal it is run on. */
#pragma once

#include "cli/cli.h"

struct by_hand {
	const char *plugin;
	enum output output;
	cJSON *abnormal; /* the caller's */
};

/*
 * Parses the command line and gets the Abnormal: the one that --abnormal names, that of -f, or, if
 * MAY_INVENT, one made for the purpose. Returns -1 if all is well, or the exit status.
 */
int by_hand_parse(int argc, char **argv, bool may_invent, struct by_hand *ret);

/* Lets the agent run it. Returns the exit status; ret_answer is the changed Abnormal. */
int by_hand_call(const struct by_hand *by_hand, const char *path_format, cJSON **ret_answer);
