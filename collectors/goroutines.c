/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collector goroutines: what each goroutine of a Go program does, as the program itself tells when it
 * is sent SIGUSR1: for a container shim that stands still, and by name for the process of any other
 * Abnormal. It is asked only if it catches that signal, and is neither stopped nor being debugged;
 * what a Go program that is no shim does on SIGUSR1 is for whoever assigns the collector to know.
 *
 * For as long as the program takes to answer (some ms, at most `timeout`) every system call of the
 * node is slower by about 0.1 µs, as each of them is looked at (host/goroutine_capture.h).
 */
#include "base/plain.h"
#include "base/schema.h"
#include "plugin/subject.h"
#include "host/goroutine_capture.h"
#include "host/goroutine_dump.h"
#include "host/goroutine_text.h"
#include "host/shim_dump.h"

#define ARTIFACT "goroutines.txt"

struct settings {
	int hook; /* enum goroutine_hook */
	int64_t bytes;
	uint64_t timeout_ns;
};

static const struct field settings_fields[] = {
	SCHEMA_FIELD(struct settings, bytes, "bytes", FIELD_INTEGER, .minimum = 64 * KIB,
		     .maximum = 16 * MIB),
	SCHEMA_FIELD(struct settings, timeout_ns, "timeout", FIELD_DURATION, .minimum = NS_PER_S,
		     .maximum = 15 * NS_PER_S),
	SCHEMA_FIELD(struct settings, hook, "hook", FIELD_ENUM, .names = goroutine_hook_names),
};
static const struct schema settings_schema =
	SCHEMA("goroutines", struct settings, settings_fields, .extra_offset = SCHEMA_STRICT);

static void settings_defaults(void *settings)
{
	*(struct settings *)settings =
		(struct settings){.bytes = 4 * MIB, .timeout_ns = 10 * NS_PER_S};
}

/* As lines, whatever the program's logger made of them, and fit for a terminal. */
static int keep_text(struct plugin_call *call, const struct goroutine_capture *capture)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	bool escaped;
	int r = goroutine_text_unescape(capture->text, capture->length, &text, &length, &escaped);

	if (r < 0)
		return r;
	for (char *line = text, *end = text + length; line < end;) {
		size_t tabs = strspn(line, "\t");
		char *newline = memchr(line, '\n', (size_t)(end - line));
		char *line_end = newline ? newline : end;

		if (line + tabs > line_end)
			tabs = 0;
		plain_copy(line + tabs, line + tabs, (size_t)(line_end - line) - tabs);
		if (newline)
			*newline = '\n';
		line = line_end + 1;
	}
	return plugin_artifact(call, ARTIFACT, text, length);
}

static int answer(struct plugin_call *call, const struct process *process,
		  const struct goroutine_capture *capture, const struct goroutine_dump *dump)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject(), *named = cJSON_CreateObject();

	if (!json || !named || json_set_number(named, "pid", (double)process->pid) < 0 ||
	    json_set_number(named, "startTime", (double)process->start_time) < 0 ||
	    json_set_string(named, "comm", process->comm) < 0 ||
	    json_set(json, "process", TAKE_PTR(named)) < 0 ||
	    json_set_time(json, "time", capture->time) < 0 ||
	    json_set_number(json, "bytes", (double)capture->length) < 0 ||
	    json_set_string(json, "hook", goroutine_hook_names[capture->hook]) < 0 ||
	    json_set_bool(json, "truncated", capture->truncated || dump->truncated) < 0 ||
	    json_set_number(json, "lost", (double)capture->lost) < 0 ||
	    json_set(json, "summary",
		     goroutine_dump_summary(dump, SHIM_DUMP_GROUPS, SHIM_DUMP_FRAMES)) < 0)
		return -ENOMEM;
	int r = keep_text(call, capture);
	if (r < 0 && r != -ENOENT)
		return plugin_fail(r, "cannot keep " ARTIFACT ": %s", strerror(-r));
	if (r == 0 && json_set_string(json, "artifact", ARTIFACT) < 0)
		return -ENOMEM;
	return plugin_answer(call, TAKE_PTR(json));
}

static int collect(struct plugin_call *call)
{
	_cleanup_(goroutine_capture_clear) struct goroutine_capture capture = {0};
	_cleanup_(goroutine_dump_freep) struct goroutine_dump *dump = NULL;
	const struct settings *settings = call->settings;
	const struct goroutine_capture_options options = {
		.hook = settings ? (enum goroutine_hook)settings->hook : GOROUTINE_HOOK_BEST,
		.within_ns = settings ? settings->timeout_ns : 10 * NS_PER_S,
		.bytes_max = settings ? (size_t)settings->bytes : 4 * MIB,
	};
	struct problem problem = {0};
	struct process process;
	int r = subject_process_read(call, &process);

	/* A thread may be named, and the process is asked. */
	if (r == 0 && process.tgid != process.pid)
		r = process_read(call->host, process.tgid, &process);
	if (r == -ENODATA || r == -ESRCH)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "the Abnormal names no process that still runs");
	if (r < 0)
		return plugin_fail(r, "cannot read the process: %s", strerror(-r));
	r = goroutine_capture_take(call->host, call->clock, process.pid, process.start_time,
				   &options, &capture, &problem);
	/* That it may not be asked, or does not answer, is found out here, and is no error. */
	if (r == -EOPNOTSUPP || r == -ESRCH || r == -ETIMEDOUT || r == -EXDEV)
		return plugin_fail(PLUGIN_NOT_MINE, "%s", problem.text);
	if (r < 0)
		return plugin_fail(r, "%s", problem.text[0] ? problem.text : strerror(-r));
	r = goroutine_dump_parse(capture.text, capture.length, &dump);
	if (r < 0)
		return plugin_fail(r, "what process %lld (%s) wrote is no goroutine dump",
				   (long long)process.pid, process.comm);
	return answer(call, &process, &capture, dump);
}

static const char *const detectors[] = {"shim_stall", NULL};

PLUGIN(goroutines_collector) = {
	.name = "goroutines",
	.summary =
		"what each goroutine of a Go program does, from a dump that it writes on SIGUSR1",
	.kind = PLUGIN_COLLECTOR,
	.order = 15,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.detectors = detectors,
	.timeout_ns = 20 * NS_PER_S,
	.settings = &settings_schema,
	.defaults = settings_defaults,
	.collect = collect,
};
