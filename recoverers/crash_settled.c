/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recoverer crash-settled: whether a process that crashed is started again is its runtime's business,
 * so nothing is done here; it is looked whether anybody is left without it. The matter is settled
 * when the program runs again, when others of its group go on, or when it was a job of its own that
 * nobody waits for: outside of containers and services, or one that gave up by itself (SIGABRT). A
 * container or service that crashed and stays away is not settled.
 */
#include <inttypes.h>

#include "plugin/subject.h"
#include "plugin/subject_successor.h"
#include "host/cgroup.h"

#define SETTLE_NS (2 * NS_PER_S) /* what crashes again at once has not settled */
#define VERIFY_WITHIN_NS (60 * NS_PER_S) /* runtimes wait some seconds before they start again */

static int plan(struct plugin_call *call)
{
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	const char *program = json_string(plugin_details(call), "program");
	_cleanup_json_ cJSON *plan = cJSON_CreateObject();
	char place[SUBJECT_TEXT_SIZE], target[2 * SUBJECT_TEXT_SIZE];

	if (!event || !streq_ptr(call->abnormal->status.reason, "ProcessCrashed"))
		return PLUGIN_NOT_MINE;
	subject_container_text(call->abnormal,
			       event->container ? event->container->cgroup_path : NULL, place);
	snprintf(target, sizeof(target), "%.256s of %s", program ? program : "a process", place);
	if (!plan || json_set_string(plan, "target", target) < 0)
		return -ENOMEM;
	return plugin_answer(call, TAKE_PTR(plan));
}

/* Nanoseconds since it crashed last, as far as it is known. */
static uint64_t quiet_ns(const struct plugin_call *call)
{
	const struct occurrences *occurrences = call->abnormal->status.occurrences;
	uint64_t quiet = clock_boot(call->clock) - event_boot_ns(call);

	if (occurrences && occurrences->last_time != TIME_ABSENT) {
		int64_t since = clock_realtime(call->clock) - occurrences->last_time;

		quiet = MIN(quiet, (uint64_t)MAX(since, INT64_C(0)));
	}
	return quiet;
}

static size_t processes_left(const struct plugin_call *call, const char *path)
{
	_cleanup_free_ int64_t *pids = NULL;
	size_t left = 0;

	if (!path || cgroup_processes(call->host, "memory", path, &pids, &left) < 0)
		return 0;
	return left;
}

/* The group is empty or gone. */
static int verify_absence(struct plugin_call *call, const struct predecessor *crashed,
			  const char *program)
{
	const cJSON *details = plugin_details(call);
	bool gave_up = streq_ptr(json_string(details, "signal"), "SIGABRT") &&
		       json_bool(json_at(details, "sender"), "self", false);
	bool service = crashed->path && strstr(crashed->path, ".service");
	int r;

	if (!gave_up && (crashed->in_container || service))
		return plugin_fail(PLUGIN_NOT_MINE,
				   "%s has not been started again, and nothing "
				   "else runs in its %s",
				   program, crashed->in_container ? "container" : "service");
	if (gave_up)
		r = subject_report(call,
				   "%s gave up by itself, as a job may, and nobody started it "
				   "again",
				   program);
	else
		r = subject_report(call,
				   "%s was not started again, and nothing else ran in its group",
				   program);
	return r < 0 ? r : PLUGIN_RECOGNISED;
}

static int verify(struct plugin_call *call)
{
	const char *program = json_string(plugin_details(call), "program");
	struct predecessor crashed;
	int64_t successor;
	size_t left;
	int r;

	if (!call->abnormal->spec.kernel_event)
		return plugin_fail(-EINVAL, "spec.kernelEvent is missing");
	if (quiet_ns(call) < SETTLE_NS)
		return plugin_fail(PLUGIN_NOT_MINE, "it crashed a moment ago");
	predecessor_read(call, NULL, &crashed);
	/* The Abnormal's process may be a thread, with a name of its own. */
	crashed.comm = json_string(plugin_details(call), "processName");
	program = program ? program : "the program";
	successor = successor_find(call, &crashed);
	left = successor ? 0 : processes_left(call, crashed.path);
	if (successor)
		r = subject_report(call, "%s runs again (pid %" PRId64 ")", program, successor);
	else if (left)
		r = subject_report(
			call,
			"%s has not been started again; %zu other process%s of its group go%s on",
			program, left, left == 1 ? "" : "es", left == 1 ? "es" : "");
	else
		return verify_absence(call, &crashed, program);
	return r < 0 ? r : PLUGIN_RECOGNISED;
}

PLUGIN(crash_settled_recoverer) = {
	.name = "crash-settled",
	.summary = "does nothing, and looks whether anybody is left without a process that crashed",
	.kind = PLUGIN_RECOVERER,
	.order = 10,
	.disturbs = DISTURBS_NONE,
	.idempotent = true,
	.verify_within_ns = VERIFY_WITHIN_NS,
	.plan = plan,
	.verify = verify,
};
