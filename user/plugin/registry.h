/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which plug-ins there are: the built-ins, and the scripts in the hot folders, which are in the
 * chain the moment they are dropped and gone when they are removed. Settings of the configuration
 * are applied here, so that everybody else sees one list in chain order.
 *
 * A script tells about itself in comment lines among its first 40:
 *     # lifeboat: order=50 timeout=5s detectors=oom,hung_task
 *     # lifeboat: disturbs=process verify=yes cooldown=5m
 * Without any it is for every Abnormal, order 100, and (recoverer) disturbs a node.
 */
#pragma once

#include <systemd/sd-event.h>

#include "plugin/plugin.h"

enum plugin_transport { TRANSPORT_BUILTIN, TRANSPORT_SCRIPT };
extern const char *const plugin_transport_names[]; /* "builtin", "script" */

/*
 * One plug-in as the chain uses it. Reference counted: a call in flight keeps a removed one alive.
 */
struct plugin_entry {
	unsigned references;
	char *name, *summary;
	enum plugin_kind kind;
	enum plugin_transport transport;
	const struct plugin *builtin; /* TRANSPORT_BUILTIN */
	char *path; /* TRANSPORT_SCRIPT */
	bool enabled;
	/* why a script is not in the chain (writable by others, bad header), or NULL */
	char *refusal;
	int order;
	unsigned sources;
	struct strings detectors;
	bool required, troubleshooting, only_troubleshooting;
	enum disturbance disturbs;
	bool idempotent, can_plan, can_verify, dry_run;
	uint64_t cooldown_ns, verify_within_ns, timeout_ns;
	uint64_t rate_count, rate_period_ns; /* at most COUNT actions in PERIOD; 0: no limit */
	size_t memory_bytes;
	cJSON *settings; /* the plug-in's own, checked; or NULL */
};

struct plugin_entry *plugin_entry_ref(struct plugin_entry *entry);
void plugin_entry_unref(struct plugin_entry *entry);
DEFINE_CLEANUP(struct plugin_entry, plugin_entry_unref);

/*
 * A recoverer that only confirms that a fault is over does nothing that a limit or a dry run could
 * hold back.
 */
static inline bool plugin_entry_only_confirms(const struct plugin_entry *entry)
{
	return entry->builtin && !entry->builtin->recover;
}

struct registry;

struct registry_options {
	sd_event *event; /* NULL: folders are read once and not watched */
	const char *directories[3]; /* by enum plugin_kind; NULL: none */
	/*
	 * {NAME: {…}} by kind: the configuration's `collectors`, `diagnosers`, `recoverers`; or
	 * NULL.
	 */
	const cJSON *settings[3];
};

/*
 * Checks one kind's settings: unknown settings and wrong values of known plug-ins are named; a
 * name that no built-in has may be a script's and gets the common settings alone. Returns 0 or
 * -EINVAL.
 */
int registry_check_settings(enum plugin_kind kind, const cJSON *settings, struct problem *problem);

int registry_new(const struct registry_options *options, struct registry **ret_registry);
void registry_free(struct registry *registry);
DEFINE_CLEANUP(struct registry, registry_free);
int registry_reconfigure(struct registry *registry, const cJSON *const settings[3]);

/*
 * Calls TELL for each name that the configuration has settings for and no plug-in has, built-in or script, with
 * the name that was perhaps meant, or NULL. Such a script may still come, so it is no error.
 */
void registry_tell_unknown(const struct registry *registry,
			   void (*tell)(enum plugin_kind kind, const char *name,
					const char *meant));

/* The entry, disabled and refused ones too, or NULL; borrowed. */
struct plugin_entry *registry_find(const struct registry *registry, enum plugin_kind kind,
				   const char *name);

/*
 * The chain for ABNORMAL, in order, each with a reference for the caller: the assigned ones in
 * their order, or else those enabled, not refused and matching. A name assigned but not known or
 * not enabled is left out and counted in ret_missing (may be NULL) as a list of names.
 */
int registry_chain(const struct registry *registry, enum plugin_kind kind,
		   const struct abnormal *abnormal, struct plugin_entry ***ret_entries,
		   size_t *ret_count, struct strings *ret_missing);
/* The troubleshooting collectors. */
int registry_troubleshooting(const struct registry *registry, const struct abnormal *abnormal,
			     struct plugin_entry ***ret_entries, size_t *ret_count);
void plugin_entries_free(struct plugin_entry **entries, size_t count);

/*
 * A list of {name, kind, transport, path, enabled, order, disturbs, summary, refusal, …} of one
 * kind, or NULL.
 */
cJSON *registry_list(const struct registry *registry, enum plugin_kind kind);
