/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How shim-deadlock tells what it found: the message for a person, and status.context["shim-deadlock"],
 * which recoverers find the same shim by.
 */
#include <inttypes.h>
#include <stdarg.h>

#include "base/buffer.h"
#include "host/goroutine_dump.h"
#include "host/shim_dump.h"
#include "shim_deadlock.h"

#define TEXT_BYTES_MAX (16 * KIB)
#define GROUPS_SHOWN 3

static int add_line(cJSON *lines, const char *format, ...) _printf_(2, 3);
static int add_line(cJSON *lines, const char *format, ...)
{
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	cJSON *line = cJSON_CreateString(text);
	if (line && cJSON_AddItemToArray(lines, line))
		return 0;
	cJSON_Delete(line);
	return -ENOMEM;
}

static void append_lines(struct buffer *out, const cJSON *lines)
{
	const cJSON *line;
	const char *between = "";

	cJSON_ArrayForEach (line, lines) {
		buffer_printf(out, "%s%s", between, line->valuestring);
		between = "; ";
	}
}

static size_t gone_inits(const struct shim_findings *findings)
{
	size_t gone = 0;
	const cJSON *container;

	cJSON_ArrayForEach (container, findings->containers)
		gone += !json_at(container, "init");
	return gone;
}

static int add_common_lines(const struct shim_findings *findings, cJSON *lines)
{
	size_t gone = gone_inits(findings);
	int r = 0;

	if (findings->zombie_count)
		r = add_line(lines, "%zu of its children %s %s", findings->zombie_count,
			     findings->zombie_count == 1 ? "has ended and is"
							 : "have ended and are",
			     findings->reaped ? "reaped slowly" : "not reaped");
	if (r == 0 && gone)
		r = add_line(lines, "the init of %s has ended, and its bundle is still there",
			     gone == 1 ? "a container" : "several containers");
	if (r == 0 && findings->reply.asked)
		r = add_line(lines, "a State request on its socket: %s", findings->reply.text);
	return r;
}

static int add_form_lines(const struct shim_findings *findings, unsigned shown, cJSON *lines)
{
	int r = 0;

	for (unsigned i = 0; i < SHIM_DUMP_FORMS && r == 0; i++)
		if (shown & (1u << i))
			r = add_line(lines, "form %c: %s", 'A' + (int)i, shim_dump_form_text(i));
	_cleanup_free_ char *version = shim_dump_version(findings->dumps[0].summary);
	if (r == 0 && version)
		r = add_line(lines, "containerd %s, as its sources' path tells", version);
	return r;
}

static cJSON *dump_json(const struct shim_deadlock_dump *dump)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	const cJSON *main = json_at(dump->summary, "main");

	if (!json || json_set_time(json, "time", dump->time) < 0 ||
	    json_set_number(json, "goroutines", json_number(dump->summary, "goroutines", 0)) < 0)
		return NULL;
	if (main && json_set(json, "main", cJSON_Duplicate(main, true)) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static int set_dumps(const struct shim_findings *findings, cJSON *context)
{
	_cleanup_json_ cJSON *dumps = cJSON_CreateArray();

	for (size_t i = 0; dumps && i < findings->dump_count; i++) {
		cJSON *item = dump_json(&findings->dumps[i]);

		if (!item || !cJSON_AddItemToArray(dumps, item)) {
			cJSON_Delete(item);
			return -ENOMEM;
		}
	}
	return dumps ? json_set(context, "dumps", TAKE_PTR(dumps)) : -ENOMEM;
}

static int set_forms(unsigned shown, cJSON *context)
{
	cJSON *forms = cJSON_AddArrayToObject(context, "forms");
	int r = forms ? 0 : -ENOMEM;

	for (unsigned i = 0; i < SHIM_DUMP_FORMS && r == 0; i++)
		if (shown & (1u << i))
			r = add_line(forms, "%c", 'A' + (int)i);
	return r;
}

static int set_version(const struct shim_findings *findings, cJSON *context)
{
	_cleanup_free_ char *version =
		findings->dump_count ? shim_dump_version(findings->dumps[0].summary) : NULL;
	cJSON *json;

	if (!version)
		return 0;
	json = cJSON_AddObjectToObject(context, "version");
	return json ? json_set_string(json, "containerd", version) : -ENOMEM;
}

static int set_request(const struct shim_findings *findings, cJSON *context)
{
	if (!findings->reply.asked)
		return 0;
	cJSON *json = cJSON_AddObjectToObject(context, "request");
	int r = json ? json_set_string(json, "method", "State") : -ENOMEM;
	if (r == 0)
		r = json_set_bool(json, "answered", findings->reply.answered);
	return r == 0 ? json_set_string(json, "outcome", findings->reply.text) : r;
}

/* What recoverers find the same shim by, and judge it by. LINES is taken. */
static int leave_context(struct plugin_call *call, const struct shim_findings *findings,
			 const char *verdict, unsigned shown, cJSON *lines)
{
	_cleanup_json_ cJSON *evidence = lines, *context = cJSON_CreateObject();

	if (!context || json_set_string(context, "verdict", verdict) < 0 ||
	    json_set_time(context, "time", clock_realtime(call->clock)) < 0 ||
	    json_set(context, "shim", shim_json(&findings->shim)) < 0 ||
	    json_set(context, "containers", cJSON_Duplicate(findings->containers, true)) < 0 ||
	    json_set_number(context, "containerCount", (double)findings->container_count) < 0 ||
	    json_set_number(context, "zombies", (double)findings->zombie_count) < 0 ||
	    set_dumps(findings, context) < 0 || set_forms(shown, context) < 0 ||
	    set_version(findings, context) < 0 || set_request(findings, context) < 0 ||
	    json_set(context, "evidence", TAKE_PTR(evidence)) < 0)
		return -ENOMEM;
	return plugin_answer(call, TAKE_PTR(context));
}

/* MESSAGE was written with errors ignored: its cap only shortens it. */
static int identify(struct plugin_call *call, const char *reason, struct buffer *message)
{
	return plugin_identify(call, reason, "%s", buffer_text(message));
}

static void append_affected(const struct shim_findings *findings, struct buffer *out)
{
	buffer_printf(out, " It serves ");
	shim_containers_text(findings->containers, findings->container_count, SHIM_CONTAINERS_SHOWN,
			     out);
	buffer_append_text(out, ".");
}

int shim_tell_stopped(struct plugin_call *call, const struct shim_findings *findings)
{
	const struct process *tracer = &findings->look.tracer;
	_cleanup_json_ cJSON *lines = cJSON_CreateArray();
	_cleanup_buffer_ struct buffer text = BUFFER(TEXT_BYTES_MAX);
	double seconds = json_number(plugin_details(call), "stopped.seconds", 0);

	if (!lines || add_line(lines, "all its threads are stopped (state T)") < 0 ||
	    (seconds >= 1 && add_line(lines, "for %.0f s", seconds) < 0) ||
	    (tracer->pid && add_line(lines, "%s (pid %" PRId64 ") is attached to it as a debugger",
				     tracer->comm, tracer->pid) < 0) ||
	    add_common_lines(findings, lines) < 0)
		return -ENOMEM;
	buffer_printf(&text,
		      "The shim %s is stopped: it reaps nothing and answers nobody until it is "
		      "continued.",
		      findings->name);
	append_affected(findings, &text);
	buffer_append_text(&text, "\nEvidence: ");
	append_lines(&text, lines);
	if (tracer->pid)
		buffer_printf(
			&text,
			".\nRepair: nothing, as long as somebody debugs it.\nAdvice: detach %s "
			"(pid %" PRId64 "), or let it go on; containers cannot be stopped or "
			"deleted meanwhile.",
			tracer->comm, tracer->pid);
	else
		buffer_printf(&text,
			      ".\nRepair: continue-shim continues it, where that is switched on.\n"
			      "Advice: find out who sent it SIGSTOP; `kill -CONT %" PRId64
			      "` cures it.",
			      findings->shim.process.pid);
	int r = leave_context(call, findings, "stopped", 0, TAKE_PTR(lines));
	return r == PLUGIN_RECOGNISED ? identify(call, "ShimStopped", &text) : r;
}

int shim_tell_deadlock(struct plugin_call *call, const struct shim_findings *findings)
{
	unsigned shown = shim_dump_forms(findings->dumps[0].summary) &
			 shim_dump_forms(findings->dumps[1].summary);
	_cleanup_json_ cJSON *lines = cJSON_CreateArray();
	_cleanup_buffer_ struct buffer text = BUFFER(TEXT_BYTES_MAX);
	char apart[TIME_TEXT_SIZE];

	/* The node's clock may have been set back in between. */
	duration_format(time_between(findings->dumps[0].time, findings->dumps[1].time), apart);
	if (!lines ||
	    add_line(lines,
		     "goroutine 1 is in `chan send` in Reap, called from handleSignals, in two "
		     "dumps %s apart",
		     apart) < 0 ||
	    add_form_lines(findings, shown, lines) < 0 || add_common_lines(findings, lines) < 0)
		return -ENOMEM;
	buffer_printf(
		&text,
		"The shim %s has deadlocked: the loop that reaps holds the reaper's lock and "
		"waits for a subscriber to take an exit, which waits for that lock (containerd "
		"issue 2709). It never ends by itself.",
		findings->name);
	append_affected(findings, &text);
	buffer_append_text(&text, "\nEvidence: ");
	append_lines(&text, lines);
	buffer_append_text(
		&text,
		".\nRepair: kill-shim kills the shim; the runtime then ends what it served, "
		"cleans up, and the container can be deleted or started anew.\nAdvice: "
		"containerd 1.2.8 and later (Docker with it) do not have this fault: update. "
		"Neither SIGTERM nor a restart of containerd helps a shim that has it.");
	int r = leave_context(call, findings, "deadlock", shown, TAKE_PTR(lines));
	return r == PLUGIN_RECOGNISED ? identify(call, "ShimDeadlock", &text) : r;
}

static int add_group_lines(const struct shim_findings *findings, cJSON *lines)
{
	const cJSON *summary, *group;
	int r = 0;

	if (!findings->dump_count)
		return add_line(lines, "no dump of its goroutines: %s",
				*findings->no_dump.text ? findings->no_dump.text : "not taken");
	summary = findings->dumps[findings->dump_count - 1].summary;
	const cJSON *frame = cJSON_GetArrayItem(json_at(summary, "main.frames"), 0);
	const char *function = json_string(frame, "function");
	const char *state = json_string(json_at(summary, "main"), "state");
	r = add_line(lines, "goroutine 1 is in `%s` in %s", state ? state : "?",
		     function ? goroutine_function_name(function) : "?");
	size_t told = 0;
	cJSON_ArrayForEach (group, json_at(summary, "groups")) {
		if (r < 0 || told++ == GROUPS_SHOWN)
			break;
		function = json_string(cJSON_GetArrayItem(json_at(group, "frames"), 0), "function");
		state = json_string(group, "state");
		r = add_line(lines, "%.0f in `%s` in %s", json_number(group, "count", 1),
			     state ? state : "?",
			     function ? goroutine_function_name(function) : "?");
	}
	return r;
}

int shim_tell_stalled(struct plugin_call *call, const struct shim_findings *findings)
{
	const struct shim *shim = &findings->shim;
	_cleanup_json_ cJSON *lines = cJSON_CreateArray();
	_cleanup_buffer_ struct buffer text = BUFFER(TEXT_BYTES_MAX);

	if (!lines || add_common_lines(findings, lines) < 0 || add_group_lines(findings, lines) < 0)
		return -ENOMEM;
	buffer_printf(&text,
		      "The shim %s does nothing any more, for a cause that is not known: it is not "
		      "stopped, and not proven to be in the deadlock of containerd issue 2709.",
		      findings->name);
	append_affected(findings, &text);
	buffer_append_text(&text, "\nEvidence: ");
	append_lines(&text, lines);
	buffer_printf(&text,
		      ".\nRepair: none by itself, as the cause is unknown.\nAdvice: look where it "
		      "waits: `cat /proc/%" PRId64 "/task/*/stack`",
		      shim->process.pid);
	if (shim->kind == SHIM_CONTAINERD_V1 || shim->kind == SHIM_CONTAINERD_V2)
		buffer_printf(&text,
			      "; ask whether the runtime still reaches it: `ctr -n %s task ls` "
			      "(UNKNOWN: it does not)",
			      shim->namespace ? shim->namespace : "k8s.io");
	else
		buffer_append_text(&text, "; `crictl ps -a` or `podman ps -a` tells what the "
					  "runtime thinks of it");
	buffer_printf(&text,
		      ". When it must go, `kill -KILL %" PRId64
		      "` ends it with all that it serves, and the runtime cleans up; deleting the "
		      "pod by force does not: it leaves the processes behind.",
		      shim->process.pid);
	int r = leave_context(call, findings, "stalled", 0, TAKE_PTR(lines));
	return r == PLUGIN_RECOGNISED ? identify(call, "ShimStalled", &text) : r;
}

int shim_tell_well(const struct shim_findings *findings)
{
	if (findings->reaped)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "the shim %s works: it has reaped %zu of %zu children meanwhile",
				   findings->name, findings->reaped, findings->zombie_count);
	return plugin_fail(PLUGIN_NOT_MINE, "the shim %s is well%s%s: nothing is left to cure",
			   findings->name, findings->reply.asked ? "; a State request " : "",
			   findings->reply.asked ? findings->reply.text : "");
}
