/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configuration says of one plug-in: the settings that all of a kind have, and those that
 * a built-in brings itself.
 */
#pragma once

#include "plugin/plugin.h"

#define PLUGIN_TIMEOUT_MIN_NS (100 * NS_PER_MS)
#define PLUGIN_TIMEOUT_MAX_NS (3600 * NS_PER_S)
#define PLUGIN_MEMORY_MIN_BYTES (16 * MIB)
#define PLUGIN_MEMORY_MAX_BYTES (64 * 1024 * MIB)

struct plugin_common_settings {
	int enabled, dry_run, required; /* -1 absent */
	bool has_order;
	int64_t order;
	uint64_t timeout_ns, cooldown_ns, verify_within_ns; /* 0 absent */
	char *rate, *memory; /* checked; NULL absent */
};

void plugin_common_settings_free(struct plugin_common_settings *settings);
DEFINE_CLEANUP(struct plugin_common_settings, plugin_common_settings_free);

/*
 * Reads the settings JSON of one plug-in of KIND. What is not common goes to ret_own (NULL if there
 * is none), checked against BUILTIN's own schema; without one (BUILTIN NULL: a script) it is an
 * error. Returns 0, -EINVAL (PROBLEM names the field) or -ENOMEM.
 */
int plugin_settings_read(enum plugin_kind kind, const struct plugin *builtin, const cJSON *json,
			 struct plugin_common_settings **ret_common, cJSON **ret_own,
			 struct problem *problem);

/*
 * Decodes a built-in's own settings OWN (may be NULL) over its defaults. ret_object is NULL if it
 * has no settings. Returns 0, -EINVAL or -ENOMEM.
 */
int plugin_settings_decode(const struct plugin *builtin, const cJSON *own, void **ret_object,
			   struct problem *problem);

/* "64MiB", "2GiB", also as Kubernetes writes it ("64Mi"). Returns 0, -EINVAL or -ERANGE. */
int memory_parse(const char *text, size_t *ret_bytes);

/* "5/h", "1/10m": so many in that time. Returns 0 or -EINVAL. */
int rate_parse(const char *text, uint64_t *ret_count, uint64_t *ret_period_ns);

/* Checks of a field that is a string, for schemas: struct field.check. */
int memory_check(const void *value, struct problem *problem);
