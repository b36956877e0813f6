/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file: every key optional, unknown ones refused by name, all values checked
 * before any takes effect.
 */
#pragma once

#include "base/log.h"
#include "base/schema.h"

struct config {
	char *api_version, *kind;
	char *node_name, *state_directory, *socket, *bpffs;
	bool dry_run;
	int log_level; /* enum log_level */
	cJSON *detectors, *collectors, *diagnosers, *recoverers;
	struct {
		uint64_t cooldown;
		int64_t parallel, live_maximum, actions_per_hour;
	} pipeline;
	struct {
		uint64_t retention_age;
		int64_t retention_count;
	} store;
	struct {
		char *metrics_address; /* "127.0.0.1:9464"; NULL: no TCP listener */
		struct strings allowed_users, allowed_groups; /* besides root */
	} api;
	struct {
		char *collectors, *diagnosers, *recoverers; /* script folders */
	} folders;
};

/* The defaults alone. */
int config_new(struct config **ret_config);
/*
 * Reads and checks PATH over the defaults. PROBLEM names the field. Returns 0, -EINVAL, -ENOENT,
 * -EPERM (others than root can change the file) or another errno.
 */
int config_read(const char *path, struct config **ret_config, struct problem *problem);
int config_parse(const char *text, size_t length, struct config **ret_config,
		 struct problem *problem);
void config_free(struct config *config);
DEFINE_CLEANUP(struct config, config_free);
