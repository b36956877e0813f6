/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a built-in collector, diagnoser or recoverer is: one file in collectors/, diagnosers/ or
 * recoverers/, registered by PLUGIN(). It runs in a worker process of its own with a deadline and
 * a memory limit, takes an Abnormal and changes its status, exactly as a script or an HTTP server
 * would: it may block, crash or be killed, and the agent goes on.
 *
 * This header, core/ and host/ are all that a built-in knows.
 */
#pragma once

#include "base/clock.h"
#include "base/log.h"
#include "core/abnormal.h"
#include "host/host.h"

enum plugin_kind { PLUGIN_COLLECTOR, PLUGIN_DIAGNOSER, PLUGIN_RECOVERER };
extern const char *const plugin_kind_names[]; /* "collector", "diagnoser", "recoverer" */

/*
 * What is asked of a plug-in. A recoverer is asked up to three things, and they are separate so
 * that an intent can be journalled before anything is done and an effect proven after:
 *
 *   plan     Is it mine, and what exactly would be done? Changes nothing on the node. Leaves in
 *            status.context[NAME] an object with `target` (one line for a person) and whatever
 *            recover and verify need to find the same things again (pids WITH start times).
 *   recover  Does it, after making sure that the target is still the one planned.
 *   verify   Is the fault gone? Asked repeatedly until it says yes or verify_within is over.
 */
enum plugin_step { STEP_COLLECT, STEP_DIAGNOSE, STEP_PLAN, STEP_RECOVER, STEP_VERIFY };
extern const char *const plugin_step_names[]; /* "collect", "diagnose", "plan" … */

/* Greatest harm that a recoverer's action can do. */
enum disturbance {
	DISTURBS_NONE,
	DISTURBS_PROCESS,
	DISTURBS_CONTAINER,
	DISTURBS_POD,
	DISTURBS_NODE
};
extern const char *const disturbance_names[];

/* What a step's function returns: one of these, or a negative errno for an error (plugin_fail). */
#define PLUGIN_RECOGNISED 0 /* mine; collected; planned; done; verified */
#define PLUGIN_NOT_MINE 2 /* not mine; for verify: not yet */

struct plugin_call {
	const struct plugin *plugin;
	/* Of which status.{message,reason,output,context,identifiable,recoverable} may change. */
	struct abnormal *abnormal;
	const struct host *host;
	const struct clock *clock;
	const void *settings; /* decoded by plugin->settings over its defaults, or NULL */
	const char *artifact_directory; /* where a collector may leave files; NULL: nowhere */
};

struct plugin {
	const char *name; /* "kernel-stacks" */
	const char *summary; /* one line for `lifeboat get` */
	enum plugin_kind kind;
	int order; /* in its chain; lower first, then by name */
	/* Which Abnormals it is for: sources as a mask of 1 << enum abnormal_source (0: any) … */
	unsigned sources;
	/* … and, for kernel events, detectors; ended by NULL (NULL: any). */
	const char *const *detectors;
	/*
	 * … and, of those, which have anything for it (NULL: all). The agent asks itself, on its loop,
	 * and saves a process: it looks at the Abnormal alone, and at nothing of the node. An Abnormal
	 * that assigns the plug-in gets it anyway.
	 */
	bool (*wants)(const struct abnormal *abnormal);
	bool troubleshooting; /* collector: also when nobody recognised the fault */
	bool only_troubleshooting; /* collector: only then */
	enum disturbance disturbs; /* recoverer, as all below */
	bool off_by_default; /* until the configuration says `enabled: true` */
	bool idempotent; /* doing it twice does no more than doing it once */
	bool verify_decides; /* more has to be right than what the detector sees: only verify proves it */
	uint64_t cooldown_ns; /* between two actions on the same subject; 0: 10 min */
	uint64_t verify_within_ns; /* 0: 30 s */
	uint64_t timeout_ns; /* of one call; 0: 10 s */
	size_t memory_bytes; /* 0: 128 MiB */
	const struct schema *settings; /* strict; its own settings, or NULL */
	void (*defaults)(void *settings);

	int (*collect)(struct plugin_call *call);
	int (*diagnose)(struct plugin_call *call);
	int (*plan)(struct plugin_call *call);
	int (*recover)(struct plugin_call *call);
	int (*verify)(struct plugin_call *call);
};

#define PLUGIN(symbol) REGISTER(plugins, struct plugin, symbol)
DECLARE_REGISTRY(plugins, struct plugin);

#define FOR_SOURCE(source) (1u << (source))

/* Says on standard error what went wrong, which becomes the failure's reason, and returns CODE. */
int plugin_fail(int code, const char *format, ...) _printf_(2, 3);

/* status.context[plugin's name] as an object, made when absent; NULL when out of memory. */
cJSON *plugin_context(struct plugin_call *call);
/* status.context[NAME], what another plug-in left there, or NULL. */
const cJSON *plugin_context_of(const struct plugin_call *call, const char *name);
/* Replaces status.context[plugin's name]; VALUE is taken. Returns PLUGIN_RECOGNISED or -ENOMEM. */
int plugin_answer(struct plugin_call *call, cJSON *value);

/* spec.kernelEvent.details, or NULL. */
const cJSON *plugin_details(const struct plugin_call *call);

/* For diagnosers: sets status.reason, message and identifiable. PLUGIN_RECOGNISED or -ENOMEM. */
int plugin_identify(struct plugin_call *call, const char *reason, const char *message_format, ...)
	_printf_(3, 4);

/*
 * Leaves a file NAME in the artifact directory. Returns 0, -ENOENT when there is none, or another
 * negative errno.
 */
int plugin_artifact(struct plugin_call *call, const char *name, const void *data, size_t length);
