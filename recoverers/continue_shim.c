/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recoverer continue-shim: sends SIGCONT to a container shim that is stopped. Off by default, as
 * somebody may have stopped it with a purpose; and never while a debugger is attached, which knows
 * better when it shall go on.
 */
#include <inttypes.h>
#include <signal.h>
#include <sys/pidfd.h>

#include "plugin/subject_shim.h"

#define QUESTION_NS (3 * NS_PER_S)

/* Finds the shim of JSON again. Says why it may not be continued, or returns 0. */
static int check_shim(const struct plugin_call *call, const cJSON *json, struct shim *ret_shim)
{
	struct shim_look look;
	uint64_t pid = json_u64(json, "pid");
	int r = subject_shim_again(call, json, ret_shim);

	if (r == 0)
		r = shim_look(call->host, ret_shim, &look);
	if (r == -ESRCH)
		return plugin_fail(PLUGIN_NOT_MINE, "the shim (pid %" PRIu64 ") has ended", pid);
	if (r == -EXDEV)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "process %" PRIu64 " is not the shim that was diagnosed", pid);
	if (r < 0)
		return plugin_fail(r, "cannot read the shim (pid %" PRIu64 "): %s", pid,
				   strerror(-r));
	if (look.tracer.pid)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "%s (pid %" PRId64 ") is attached to the shim (pid %" PRIu64
				   ") as a debugger",
				   look.tracer.comm, look.tracer.pid, pid);
	if (!look.stopped)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "the shim (pid %" PRIu64 ") is not stopped any more", pid);
	return 0;
}

static int plan(struct plugin_call *call)
{
	const cJSON *diagnosis = plugin_context_of(call, "shim-deadlock");
	_cleanup_shim_ struct shim shim = {0};
	char name[SHIM_TEXT_SIZE], target[SHIM_TEXT_SIZE + 16];

	if (!streq_ptr(call->abnormal->status.reason, "ShimStopped") ||
	    !streq_ptr(json_string(diagnosis, "verdict"), "stopped"))
		return PLUGIN_NOT_MINE;
	int r = check_shim(call, json_at(diagnosis, "shim"), &shim);
	if (r != 0)
		return r;
	_cleanup_json_ cJSON *plan = cJSON_CreateObject();
	snprintf(target, sizeof(target), "shim %s", shim_text(&shim, name));
	if (!plan || json_set_string(plan, "target", target) < 0 ||
	    json_set(plan, "shim", shim_json(&shim)) < 0)
		return -ENOMEM;
	return plugin_answer(call, TAKE_PTR(plan));
}

static int recover(struct plugin_call *call)
{
	const cJSON *known = json_at(plugin_context(call), "shim");
	_cleanup_shim_ struct shim shim = {0};
	char name[SHIM_TEXT_SIZE];
	int r = check_shim(call, known, &shim);

	if (r != 0)
		return r;
	_cleanup_close_ int fd =
		process_open(call->host, shim.process.pid, shim.process.start_time);
	if (fd < 0 || pidfd_send_signal(fd, SIGCONT, NULL, 0) < 0) {
		r = fd < 0 ? fd : -errno;
		return plugin_fail(r, "cannot send SIGCONT to the shim (pid %" PRId64 "): %s",
				   shim.process.pid, strerror(-r));
	}
	r = subject_report(call, "sent SIGCONT to the shim %s", shim_text(&shim, name));
	return r < 0 ? r : PLUGIN_RECOGNISED;
}

static int verify(struct plugin_call *call)
{
	const cJSON *known = json_at(plugin_context_of(call, call->plugin->name), "shim");
	_cleanup_shim_ struct shim shim = {0};
	struct shim_reply reply;
	struct shim_look look;

	if (!json_u64(known, "pid"))
		return plugin_fail(-EINVAL, "status.context.%s.shim is missing: there is no plan",
				   call->plugin->name);
	int r = subject_shim_again(call, known, &shim);
	if (r == 0)
		r = shim_look(call->host, &shim, &look);
	if (r < 0)
		return plugin_fail(PLUGIN_NOT_MINE, "the shim (pid %" PRIu64 ") has ended",
				   json_u64(known, "pid"));
	if (look.stopped)
		return plugin_fail(PLUGIN_NOT_MINE, "the shim (pid %" PRId64 ") is stopped",
				   shim.process.pid);
	shim_question(call, &shim, QUESTION_NS, &reply);
	if (reply.asked && !reply.answered)
		return plugin_fail(PLUGIN_NOT_MINE, "the shim runs, but a State request got %s",
				   reply.text);
	r = reply.asked ? subject_report(call, "the shim runs again; a State request was %s",
					 reply.text)
			: subject_report(call, "the shim runs again");
	return r < 0 ? r : PLUGIN_RECOGNISED;
}

/* Kernel events of the detector, and whatever else shim-deadlock was assigned to. */
static const char *const detectors[] = {"shim_stall", NULL};

PLUGIN(continue_shim_recoverer) = {
	.name = "continue-shim",
	.summary = "continues a stopped container shim that nobody debugs",
	.kind = PLUGIN_RECOVERER,
	.order = 5,
	.detectors = detectors,
	.disturbs = DISTURBS_PROCESS,
	.off_by_default = true,
	.idempotent = true,
	.verify_decides = true,
	.plan = plan,
	.recover = recover,
	.verify = verify,
};
