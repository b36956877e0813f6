/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recoverer kill-shim: kills a container shim that nothing else cures, so that the runtime cleans up
 * after it. That ends all that the shim serves, a whole pod with the v2 shim; so it takes what
 * shim-deadlock has proven alone (setting `reasons`), names all of it before, and looks again at the
 * last moment: a shim that reaps or answers by then is left alone, and so is one that somebody
 * debugs. Done is it when the runtime has let go of the containers, not when the process is gone.
 */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>

#include "base/file.h"
#include "host/shim_trust.h"
#include "shim_aftermath.h"

#define QUESTION_NS (2 * NS_PER_S)
#define ZOMBIES_KEPT 256
#define GROUPS_KEPT 32
#define TARGET_BYTES_MAX (8 * KIB)
/* A restart of containerd is the first thing that people try. */
#define RUNTIME_WITHIN_NS (10 * NS_PER_S)
#define RUNTIME_LOOK_NS (500 * NS_PER_MS)
#define ENDING_MS 500
/* What a stall of unknown cause was then is no proof of what it is now; a deadlock never ends. */
#define STALLED_AGE_MAX_NS ((int64_t)(10 * 60 * NS_PER_S))

struct settings {
	struct strings reasons;
};

static int reasons_check(const void *value, struct problem *problem)
{
	const struct strings *reasons = value;

	for (size_t i = 0; i < reasons->count; i++) {
		const char *reason = reasons->items[i];

		if (streq(reason, "ShimStopped"))
			return problem_set(problem, -EINVAL, "",
					   "has ShimStopped, which SIGCONT cures (recoverer "
					   "continue-shim): nothing has to be killed for it");
		if (!streq(reason, "ShimDeadlock") && !streq(reason, "ShimStalled"))
			return problem_set(problem, -EINVAL, "",
					   "has \"%s\", but may have ShimDeadlock and ShimStalled",
					   reason);
	}
	return 0;
}

static const struct field settings_fields[] = {
	SCHEMA_FIELD(struct settings, reasons, "reasons", FIELD_STRINGS, .maximum = 8,
		     .check = reasons_check),
};
static const struct schema settings_schema =
	SCHEMA("kill-shim", struct settings, settings_fields, .extra_offset = SCHEMA_STRICT);

static void settings_defaults(void *object)
{
	struct settings *settings = object;

	/* Without memory the list stays empty, which takes nothing. */
	strings_append(&settings->reasons, "ShimDeadlock");
}

/* --- May it be killed? --- */

static bool is_old(const struct plugin_call *call, const cJSON *diagnosis)
{
	const char *text = json_string(diagnosis, "time");
	int64_t time;

	return !text || time_parse(text, &time) < 0 ||
	       clock_realtime(call->clock) - time > STALLED_AGE_MAX_NS;
}

/* The diagnosis, provided that it is one this recoverer takes. */
static int find_diagnosis(const struct plugin_call *call, const cJSON **ret_diagnosis)
{
	static const char *const reasons[][2] = {{"ShimDeadlock", "deadlock"},
						 {"ShimStalled", "stalled"}};
	const cJSON *diagnosis = plugin_context_of(call, "shim-deadlock");
	const char *reason = call->abnormal->status.reason;
	const struct settings *settings = call->settings;

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (!streq_ptr(reason, reasons[i][0]) ||
		    !streq_ptr(json_string(diagnosis, "verdict"), reasons[i][1]))
			continue;
		if (!settings || !strings_contain(&settings->reasons, reason))
			return plugin_fail(PLUGIN_NOT_MINE,
					   "%s is not in the list `reasons` of the settings of "
					   "recoverer kill-shim",
					   reason);
		if (streq(reason, "ShimStalled") && is_old(call, diagnosis))
			return plugin_fail(PLUGIN_NOT_MINE,
					   "the shim was found stalled more than 10 minutes ago: "
					   "have it diagnosed again");
		*ret_diagnosis = diagnosis;
		return 0;
	}
	if (streq_ptr(reason, "ShimStopped"))
		return plugin_fail(PLUGIN_NOT_MINE, "a stopped shim wants SIGCONT, not SIGKILL");
	return PLUGIN_NOT_MINE;
}

/*
 * Whether a runtime of this node made it: shim_read() takes nobody's word for a bundle but root's; that the
 * runtime still has it, and not another one by that name, is looked for here.
 */
static int check_bundle(const struct plugin_call *call, const struct shim *shim)
{
	char name[SHIM_TEXT_SIZE];

	if (!shim->bundle)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "no runtime of this node is known to have started %s",
				   shim_text(shim, name));
	if (!shim_works_in(call->host, shim->process.pid, shim->bundle))
		return plugin_fail(PLUGIN_NOT_MINE,
				   "%s is not in the bundle that this node has as %s: no runtime "
				   "is known to clean up after it",
				   shim_text(shim, name), shim->bundle);
	return 0;
}

/* Says why the shim may not be killed, or returns 0. */
static int check_shim(const struct plugin_call *call, const struct shim *shim)
{
	char name[SHIM_TEXT_SIZE];
	struct shim_look look;
	int r = shim_look(call->host, shim, &look);

	shim_text(shim, name);
	if (r < 0)
		return plugin_fail(r == -ESRCH ? PLUGIN_NOT_MINE : r, "the shim %s %s", name,
				   r == -ESRCH ? "has ended" : "cannot be looked at");
	if (shim->process.pid == 1 || shim->process.kernel_thread ||
	    subject_is_above_this(call->host, shim->process.pid))
		return plugin_fail(PLUGIN_NOT_MINE,
				   "lifeboat itself runs under %s, and would end with it", name);
	/* An Abnormal may be written by anybody who may use the API: its word makes nothing a shim. */
	if (shim->kind != SHIM_CONTAINERD_V1 && shim->kind != SHIM_CONTAINERD_V2)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "%s is no shim whose runtime is known to clean up after it",
				   name);
	r = check_bundle(call, shim);
	if (r != 0)
		return r;
	if (look.tracer.pid)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "%s (pid %" PRId64 ") is attached to the shim %s: somebody is "
				   "looking at it",
				   look.tracer.comm, look.tracer.pid, name);
	if (look.stopped)
		return plugin_fail(PLUGIN_NOT_MINE, "the shim %s is stopped: somebody did that",
				   name);
	return 0;
}

static bool has_ended(int pidfd)
{
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};

	return poll(&ended, 1, ENDING_MS) > 0;
}

/*
 * Whoever answers, or reaps one of ZOMBIES, is alive; says so, or returns 0. -ESRCH without a word if it
 * ends meanwhile, which closes its connections and has its children reaped.
 */
static int check_stuck(const struct plugin_call *call, const struct shim *shim, int pidfd,
		       const struct process *zombies, size_t count)
{
	struct shim_reply reply;
	size_t left;

	shim_question(call, shim, QUESTION_NS, &reply);
	left = zombies_left(call->host, zombies, count);
	if ((reply.answered || left < count) && has_ended(pidfd))
		return -ESRCH;
	if (reply.answered)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "the shim has recovered: a State request was %s", reply.text);
	if (left < count)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "the shim has recovered: it has reaped %zu of %zu children",
				   count - left, count);
	if ((!reply.asked || reply.refused) && count == 0)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "nothing shows that it is still stuck: it has no unreaped "
				   "child, and a State request is %s",
				   reply.text);
	return 0;
}

/* Without its runtime nobody would clean up after it. */
static int wait_for_runtime(const struct plugin_call *call, const char *address)
{
	uint64_t begin_ns = clock_monotonic(call->clock);

	while (!aftermath_runtime_listens(call, address)) {
		if (clock_monotonic(call->clock) - begin_ns >= RUNTIME_WITHIN_NS)
			return plugin_fail(PLUGIN_NOT_MINE,
					   "nobody listens on %s: without containerd nobody would "
					   "clean up after the shim",
					   address);
		clock_sleep(RUNTIME_LOOK_NS);
	}
	return 0;
}

static int explain_other(int r, const cJSON *json)
{
	uint64_t pid = json_u64(json, "pid");

	if (r == -ESRCH)
		return plugin_fail(PLUGIN_NOT_MINE, "the shim (pid %" PRIu64 ") has ended", pid);
	if (r == -EXDEV)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "process %" PRIu64 " is not the shim that was diagnosed", pid);
	return plugin_fail(r, "cannot read the shim (pid %" PRIu64 "): %s", pid, strerror(-r));
}

/* --- Plan --- */

static cJSON *zombies_json(const struct process *zombies, size_t count)
{
	_cleanup_json_ cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; list && i < MIN(count, (size_t)ZOMBIES_KEPT); i++) {
		cJSON *item = cJSON_CreateObject();

		if (!item || json_set_number(item, "pid", (double)zombies[i].pid) < 0 ||
		    json_set_number(item, "startTime", (double)zombies[i].start_time) < 0 ||
		    !cJSON_AddItemToArray(list, item)) {
			cJSON_Delete(item);
			return NULL;
		}
	}
	return TAKE_PTR(list);
}

/* The control groups of what lives below the shim, by which its survivors are found when it is gone. */
static cJSON *groups_json(const struct host *host, const struct shim *shim)
{
	_cleanup_free_ char *own = process_cgroup(host, shim->process.pid);
	_cleanup_json_ cJSON *list = cJSON_CreateArray();
	_cleanup_free_ struct process *tree = NULL;
	size_t count;

	if (process_tree(host, shim->process.pid, &tree, &count) < 0)
		count = 0;
	for (size_t i = 1; list && i < count; i++) {
		_cleanup_free_ char *path =
			tree[i].state == 'Z' ? NULL : process_cgroup(host, tree[i].pid);

		if (!path || streq(path, "/") || streq_ptr(path, own) ||
		    aftermath_list_has(list, path) || cJSON_GetArraySize(list) >= GROUPS_KEPT)
			continue;
		cJSON *item = cJSON_CreateString(path);
		if (!item || !cJSON_AddItemToArray(list, item)) {
			cJSON_Delete(item);
			return NULL;
		}
	}
	return TAKE_PTR(list);
}

/* The value of option NAME in the shim's command line ("-address"), or NULL. */
static char *option_of(const struct host *host, int64_t pid, const char *name)
{
	_cleanup_free_ char *text = NULL;
	size_t length = 0;
	char path[64];

	snprintf(path, sizeof(path), "%" PRId64 "/cmdline", pid);
	if (file_read(host->proc, path, 64 * KIB, &text, &length) < 0)
		return NULL;
	for (const char *next = text; next < text + length; next += strlen(next) + 1) {
		const char *value = next + strlen(next) + 1;

		if (streq(next, name) && value < text + length)
			return strdup(value);
	}
	return NULL;
}

static int set_target(const struct shim *shim, const cJSON *containers, size_t count, cJSON *plan)
{
	_cleanup_buffer_ struct buffer target = BUFFER(TARGET_BYTES_MAX);
	char name[SHIM_TEXT_SIZE];
	double processes = 0;
	const cJSON *container;

	cJSON_ArrayForEach (container, containers)
		processes += json_number(container, "processes", 0);
	/* The cap only shortens it. */
	buffer_printf(&target, "shim %s, with ", shim_text(shim, name));
	shim_containers_text(containers, count, SHIM_CONTAINERS_TOLD, &target);
	buffer_printf(&target, " (%.0f running process%s)", processes, processes == 1 ? "" : "es");
	return json_set_string(plan, "target", buffer_text(&target));
}

static int make_plan(struct plugin_call *call, const struct shim *shim,
		     const struct process *zombies, size_t zombie_count)
{
	_cleanup_json_ cJSON *plan = cJSON_CreateObject(), *containers = NULL;
	_cleanup_free_ char *address = option_of(call->host, shim->process.pid, "-address");
	size_t count;

	containers = shim_containers_json(call->host, shim, &count);
	if (!plan || !containers || set_target(shim, containers, count, plan) < 0 ||
	    json_set(plan, "containers", TAKE_PTR(containers)) < 0 ||
	    json_set_number(plan, "containerCount", (double)count) < 0 ||
	    json_set(plan, "shim", shim_json(shim)) < 0 ||
	    json_set_string(plan, "runtime", address) < 0 ||
	    json_set(plan, "zombies", zombies_json(zombies, zombie_count)) < 0 ||
	    json_set_number(plan, "zombieCount", (double)zombie_count) < 0 ||
	    json_set(plan, "cgroups", groups_json(call->host, shim)) < 0)
		return -ENOMEM;
	return plugin_answer(call, TAKE_PTR(plan));
}

static int plan(struct plugin_call *call)
{
	_cleanup_free_ struct process *zombies = NULL;
	_cleanup_shim_ struct shim shim = {0};
	const cJSON *diagnosis;
	size_t count = 0;
	int r = find_diagnosis(call, &diagnosis);

	if (r != 0)
		return r;
	r = subject_shim_again(call, json_at(diagnosis, "shim"), &shim);
	if (r < 0)
		return explain_other(r, json_at(diagnosis, "shim"));
	r = check_shim(call, &shim);
	if (r != 0)
		return r;
	r = shim_zombies(call->host, &shim, &zombies, &count);
	if (r < 0)
		return plugin_fail(r, "cannot list the shim's children: %s", strerror(-r));
	return make_plan(call, &shim, zombies, count);
}

/* --- Recover --- */

/* The zombies of the plan. Returns how many. */
static size_t planned_zombies(const cJSON *plan, struct process zombies[ZOMBIES_KEPT])
{
	size_t count = 0;
	const cJSON *item;

	cJSON_ArrayForEach (item, json_at(plan, "zombies"))
		if (count < ZOMBIES_KEPT)
			zombies[count++] =
				(struct process){.pid = (int64_t)json_u64(item, "pid"),
						 .start_time = json_u64(item, "startTime")};
	return count;
}

static int report_killed(struct plugin_call *call, const struct shim *shim, const cJSON *plan)
{
	_cleanup_buffer_ struct buffer affected = BUFFER(TARGET_BYTES_MAX);
	char name[SHIM_TEXT_SIZE];

	shim_containers_text(json_at(plan, "containers"), (size_t)json_u64(plan, "containerCount"),
			     SHIM_CONTAINERS_SHOWN, &affected);
	int r = subject_report(call, "sent SIGKILL to the shim %s, which ends %s",
			       shim_text(shim, name), buffer_text(&affected));
	return r < 0 ? r : PLUGIN_RECOGNISED;
}

/* By itself, or by the repair of another Abnormal of the same shim. */
static int report_ended(struct plugin_call *call)
{
	int r = subject_report(call, "the shim has ended already");

	return r < 0 ? r : PLUGIN_RECOGNISED;
}

static int recover(struct plugin_call *call)
{
	struct process zombies[ZOMBIES_KEPT];
	_cleanup_shim_ struct shim shim = {0};
	cJSON *plan = plugin_context(call);
	const cJSON *known = json_at(plan, "shim"), *diagnosis;
	size_t count;
	int r = find_diagnosis(call, &diagnosis);

	if (r != 0)
		return r;
	r = subject_shim_again(call, known, &shim);
	if (r == -ESRCH)
		return report_ended(call);
	if (r < 0)
		return explain_other(r, known);
	r = check_shim(call, &shim);
	if (r != 0)
		return r;
	r = wait_for_runtime(call, json_string(plan, "runtime"));
	if (r != 0)
		return r;
	_cleanup_close_ int fd =
		process_open(call->host, shim.process.pid, shim.process.start_time);
	if (fd < 0)
		return explain_other(fd, known);
	count = planned_zombies(plan, zombies);
	r = check_stuck(call, &shim, fd, zombies, count);
	if (r == -ESRCH)
		return report_ended(call);
	if (r != 0)
		return r;
	/* The question took its time. */
	r = check_shim(call, &shim);
	if (r != 0)
		return r;
	if (pidfd_send_signal(fd, SIGKILL, NULL, 0) < 0)
		return plugin_fail(-errno, "cannot kill the shim (pid %" PRId64 "): %s",
				   shim.process.pid, strerror(errno));
	return report_killed(call, &shim, plan);
}

/* --- Verify --- */

static bool is_process_gone(const struct plugin_call *call, const cJSON *known)
{
	struct process process;

	return process_read_same(call->host, (int64_t)json_u64(known, "pid"),
				 json_u64(known, "startTime"), &process) < 0 ||
	       process.state == 'Z' || process.state == 'X';
}

static int verify(struct plugin_call *call)
{
	const cJSON *plan = plugin_context_of(call, call->plugin->name);
	const cJSON *known = json_at(plan, "shim");
	struct process zombies[ZOMBIES_KEPT];
	const char *socket_how = "", *bundles_how = "", *runtime_how = "";
	char survivors[96] = "", reaped[64] = "";

	if (!json_u64(known, "pid"))
		return plugin_fail(-EINVAL, "status.context.%s.shim is missing: there is no plan",
				   call->plugin->name);
	if (!is_process_gone(call, known))
		return plugin_fail(PLUGIN_NOT_MINE, "the shim (pid %" PRIu64 ") is still there",
				   json_u64(known, "pid"));
	size_t count = planned_zombies(plan, zombies);
	size_t left = zombies_left(call->host, zombies, count);
	if (left)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "%zu of its %zu dead children are not reaped yet", left, count);
	int r = aftermath_check_socket(call, known, &socket_how);
	if (r == 0)
		r = aftermath_check_bundles(call, plan, &bundles_how);
	if (r == 0)
		r = aftermath_check_runtime(call, plan, &runtime_how);
	if (r != 0)
		return r;
	size_t alive = aftermath_count_survivors(call->host, json_at(plan, "cgroups"));
	if (alive)
		snprintf(survivors, sizeof(survivors),
			 "; %zu process%s of its containers still live%s", alive,
			 alive == 1 ? "" : "es", alive == 1 ? "s" : "");
	if (count)
		snprintf(reaped, sizeof(reaped), ", its %.0f dead child%s reaped",
			 json_number(plan, "zombieCount", 0),
			 json_number(plan, "zombieCount", 0) == 1 ? " is" : "ren are");
	r = subject_report(call, "the shim is gone%s%s%s%s%s", reaped, socket_how, bundles_how,
			   runtime_how, survivors);
	return r < 0 ? r : PLUGIN_RECOGNISED;
}

/* Kernel events of the detector, and whatever else shim-deadlock was assigned to. */
static const char *const detectors[] = {"shim_stall", NULL};

PLUGIN(kill_shim_recoverer) = {
	.name = "kill-shim",
	.summary =
		"kills a container shim that is proven to be deadlocked, for the runtime to clean up",
	.kind = PLUGIN_RECOVERER,
	.order = 10,
	.detectors = detectors,
	.disturbs = DISTURBS_POD,
	.idempotent = true, /* (pid, start time) is gone for good once killed */
	.verify_decides = true,
	.verify_within_ns = 60 * NS_PER_S,
	.timeout_ns = 20 * NS_PER_S,
	.settings = &settings_schema,
	.defaults = settings_defaults,
	.plan = plan,
	.recover = recover,
	.verify = verify,
};
