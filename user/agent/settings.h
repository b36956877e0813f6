/* SPDX-License-Identifier: Apache-2.0 */
/* From configuration and flags to what the parts want to know. */
#pragma once

#include <sys/types.h>

#include "agent/agent.h"
#include "agent/config.h"
#include "chain/pipeline.h"

/*
 * Reads the configuration that OPTIONS name and lays the flags over it. A missing default file is
 * fine; PROBLEM tells of everything else. Returns 0 or a negative errno. PATH is the file's, for
 * messages.
 */
int settings_read(const struct agent_options *options, struct config **ret_config,
		  const char **ret_path, struct problem *problem);

/*
 * Whoever may write to the state folder can replace the database, which says what was done and what
 * is to be done, or lay a link where the agent writes as root. Returns -EPERM if that is anybody but
 * root and the agent's user; a folder that is not there yet is fine. May block on a disk: for the
 * start only.
 */
int settings_check_state(const struct config *config, struct problem *problem);

void settings_pipeline(const struct config *config, struct pipeline_settings *ret_settings);
/* By enum plugin_kind; borrowed from CONFIG. */
void settings_plugins(const struct config *config, const cJSON *ret_settings[3]);

/*
 * Ids of the users and groups that the API lets in. The caller frees both. Returns 0, -EINVAL or
 * -ENOMEM.
 */
int settings_allowed(const struct config *config, uid_t **ret_users, gid_t **ret_groups,
		     struct problem *problem);

/*
 * Names of the keys that differ between the two and take effect with a restart only, joined by ",
 * "; "" if there are none. Returns TEXT.
 */
const char *settings_need_restart(const struct config *old, const struct config *new, char *text,
				  size_t size);
