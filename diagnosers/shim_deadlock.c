/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnoser shim-deadlock: why a container shim does nothing any more. A stopped one is told by the
 * state of its threads. A deadlocked one (containerd issue 2709) by two dumps of its goroutines taken
 * apart, in both of which the goroutine that reaps is stuck in handing an exit over. What is stuck for
 * another reason gets no cause it was not proven to have; what moves again is no fault.
 *
 * It only asks and reads. SIGUSR1 is sent for a dump alone, to a shim that catches it.
 */
#include <inttypes.h>

#include "host/goroutine_capture.h"
#include "host/goroutine_dump.h"
#include "host/shim_dump.h"
#include "shim_deadlock.h"

#define DUMPS_APART_NS (5 * NS_PER_S)
#define DUMP_AGE_MAX_NS (60 * NS_PER_S)
#define DUMP_WITHIN_NS (8 * NS_PER_S)
#define DUMP_BYTES_MAX (4 * MIB)
#define QUESTION_NS (3 * NS_PER_S)
#define STOPPED_NS (2 * NS_PER_S)
#define THRESHOLD_DEFAULT_S 10
#define CHILDREN_MAX 64

static void findings_clear(struct shim_findings *findings)
{
	shim_clear(&findings->shim);
	free(findings->container);
	cJSON_Delete(findings->containers);
	free(findings->zombies);
	for (size_t i = 0; i < SHIM_DEADLOCK_DUMPS; i++)
		cJSON_Delete(findings->dumps[i].summary);
}

/* --- Looking --- */

/* A debugger stops a shim at each system call, and then lets it go on: stopped is what does not run. */
static int look_whether_stopped(const struct plugin_call *call, const struct shim *shim,
				struct shim_look *ret_look)
{
	struct shim_look before;
	int r = shim_look(call->host, shim, &before);

	*ret_look = before;
	if (r < 0 || !before.stopped)
		return r;
	clock_sleep(STOPPED_NS);
	r = shim_look(call->host, shim, ret_look);
	ret_look->stopped = ret_look->stopped && ret_look->switches == before.switches;
	return r;
}

static int look_first(const struct plugin_call *call, struct shim_findings *findings)
{
	const struct shim *shim = &findings->shim;
	int r = look_whether_stopped(call, shim, &findings->look);

	findings->first_look_ns = clock_monotonic(call->clock);
	if (r == 0)
		r = shim_zombies(call->host, shim, &findings->zombies, &findings->zombie_count);
	if (r < 0)
		return plugin_fail(r == -ESRCH ? PLUGIN_NOT_MINE : r, "the shim %s %s",
				   findings->name,
				   r == -ESRCH ? "has ended" : "cannot be looked at");
	findings->containers = shim_containers_json(call->host, shim, &findings->container_count);
	return findings->containers ? 0 : -ENOMEM;
}

/* What the collector goroutines took moments ago of this very process. */
static bool use_collected(const struct plugin_call *call, struct shim_findings *findings)
{
	const cJSON *collected = plugin_context_of(call, "goroutines");
	const cJSON *process = json_at(collected, "process");
	const cJSON *summary = json_at(collected, "summary");
	const char *text = json_string(collected, "time");
	int64_t time, now = clock_realtime(call->clock);

	if (!cJSON_IsObject(summary) || !text || time_parse(text, &time) < 0 ||
	    json_u64(process, "pid") != (uint64_t)findings->shim.process.pid ||
	    json_u64(process, "startTime") != findings->shim.process.start_time || time > now ||
	    time_between(time, now) > DUMP_AGE_MAX_NS)
		return false;
	findings->dumps[0] = (struct shim_deadlock_dump){cJSON_Duplicate(summary, true), time};
	findings->dump_count = findings->dumps[0].summary ? 1 : 0;
	return findings->dump_count;
}

/* Returns 0, or a negative errno with findings->no_dump saying why. */
static int take_dump(const struct plugin_call *call, struct shim_findings *findings)
{
	const struct goroutine_capture_options options = {.within_ns = DUMP_WITHIN_NS,
							  .bytes_max = DUMP_BYTES_MAX};
	_cleanup_(goroutine_capture_clear) struct goroutine_capture capture = {0};
	_cleanup_(goroutine_dump_freep) struct goroutine_dump *dump = NULL;
	int r = goroutine_capture_take(call->host, call->clock, findings->shim.process.pid,
				       findings->shim.process.start_time, &options, &capture,
				       &findings->no_dump);

	if (r < 0)
		return r;
	r = goroutine_dump_parse(capture.text, capture.length, &dump);
	if (r < 0)
		return problem_set(&findings->no_dump, r, "", "what it wrote is no dump");
	cJSON *summary = goroutine_dump_summary(dump, SHIM_DUMP_GROUPS, SHIM_DUMP_FRAMES);
	if (!summary)
		return -ENOMEM;
	findings->dumps[findings->dump_count++] =
		(struct shim_deadlock_dump){summary, capture.time};
	return 0;
}

/* Two dumps apart; one alone where it already shows that the shim is not deadlocked. */
static void take_dumps(const struct plugin_call *call, struct shim_findings *findings)
{
	int go = process_is_go(call->host, findings->shim.process.pid);

	if (go != 1) {
		problem_set(&findings->no_dump, 0, "", "it is no Go program");
		return;
	}
	if (!use_collected(call, findings) && take_dump(call, findings) < 0)
		return;
	if (!shim_dump_reaper_sends(findings->dumps[0].summary))
		return;
	/* Its time is that of the signal, which a slow shim may have answered a moment ago. */
	clock_sleep(DUMPS_APART_NS);
	take_dump(call, findings);
}

static bool both_dumps_show_it(const struct shim_findings *findings)
{
	return findings->dump_count == SHIM_DEADLOCK_DUMPS &&
	       shim_dump_reaper_sends(findings->dumps[0].summary) &&
	       shim_dump_reaper_sends(findings->dumps[1].summary);
}

/*
 * The last look: has it reaped since the first, and does it answer? What no detector has watched is
 * watched here for as long as a detector would, as a child that has just ended is nobody's fault.
 */
static void look_again(const struct plugin_call *call, struct shim_findings *findings)
{
	bool watched = json_at(plugin_details(call), "shim") || both_dumps_show_it(findings);
	uint64_t watch_ns = watched ? DUMPS_APART_NS : THRESHOLD_DEFAULT_S * NS_PER_S;
	uint64_t passed_ns = clock_monotonic(call->clock) - findings->first_look_ns;

	if (passed_ns < watch_ns)
		clock_sleep(watch_ns - passed_ns);
	shim_question(call, &findings->shim, QUESTION_NS, &findings->reply);
	findings->reaped = findings->zombie_count -
			   zombies_left(call->host, findings->zombies, findings->zombie_count);
}

/* --- Judging --- */

/* A deadlock never ends: whoever reaps, however slowly, or answers is in none. */
static bool is_deadlocked(const struct shim_findings *findings)
{
	return both_dumps_show_it(findings) && findings->reaped == 0 && !findings->reply.answered;
}

/* How many of the children that the detector saw dead for its threshold still are. */
static size_t children_left(const struct plugin_call *call, size_t *ret_known)
{
	struct process children[CHILDREN_MAX] = {0};
	size_t count = 0;
	const cJSON *child;

	cJSON_ArrayForEach (child, json_at(plugin_details(call), "unreaped.children"))
		if (count < CHILDREN_MAX)
			children[count++] =
				(struct process){.pid = (int64_t)json_u64(child, "pid"),
						 .start_time = json_u64(child, "startTime")};
	*ret_known = count;
	return zombies_left(call->host, children, count);
}

/* True if there are children, dead for longer than the threshold, and none is reaped. */
static bool holds_zombies(const struct plugin_call *call, const struct shim_findings *findings)
{
	size_t known, left = children_left(call, &known);

	if (findings->reaped)
		return false;
	return known ? left > 0 : findings->zombie_count > 0;
}

static bool is_stalled(const struct plugin_call *call, const struct shim_findings *findings)
{
	bool silent = findings->reply.asked && !findings->reply.answered;

	return findings->reaped == 0 && (silent || holds_zombies(call, findings));
}

static int diagnose(struct plugin_call *call)
{
	_cleanup_(findings_clear) struct shim_findings findings = {0};
	struct process process;
	int r = subject_shim(call, &findings.shim, &findings.container);

	if (r != 0)
		return r;
	shim_text(&findings.shim, findings.name);
	r = look_first(call, &findings);
	if (r != 0)
		return r;
	if (findings.look.stopped)
		return shim_tell_stopped(call, &findings);
	if (findings.look.tracer.pid)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "the shim %s is being debugged by %s (pid %" PRId64
				   "): that is for whoever does it",
				   findings.name, findings.look.tracer.comm,
				   findings.look.tracer.pid);
	take_dumps(call, &findings);
	look_again(call, &findings);
	if (process_read_same(call->host, findings.shim.process.pid,
			      findings.shim.process.start_time, &process) < 0 ||
	    process.state == 'Z')
		return plugin_fail(PLUGIN_NOT_MINE, "the shim %s has ended", findings.name);
	if (is_deadlocked(&findings))
		return shim_tell_deadlock(call, &findings);
	return is_stalled(call, &findings) ? shim_tell_stalled(call, &findings)
					   : shim_tell_well(&findings);
}

static const char *const detectors[] = {"shim_stall", NULL};

PLUGIN(shim_deadlock_diagnoser) = {
	.name = "shim-deadlock",
	.summary = "why a container shim reaps nothing and answers nobody",
	.kind = PLUGIN_DIAGNOSER,
	.order = 10,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.detectors = detectors,
	.timeout_ns = 45 * NS_PER_S,
	.diagnose = diagnose,
};
