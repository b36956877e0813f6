/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnoser cpu-throttled: a control group that its CPU quota keeps from running in most periods. What
 * it lacks, as far as cpu.stat tells, and what of it is the quota's doing rather than the program's.
 */
#include "base/buffer.h"
#include "plugin/subject.h"

#define MESSAGE_BYTES_MAX (16 * KIB)
#define FAMILIES_SHOWN 3

static void write_members(const cJSON *members, double quota, struct buffer *out)
{
	const cJSON *family;
	double threads = json_number(members, "threads", 0);
	int shown = 0;

	cJSON_ArrayForEach (family, json_at(members, "families")) {
		const char *comm = json_string(family, "comm");

		if (shown == FAMILIES_SHOWN)
			break;
		buffer_printf(out, "%s %s (%.0f)",
			      shown++ ? "," : " Threads in it:", comm ? comm : "?",
			      json_number(family, "threads", 0));
	}
	if (shown)
		buffer_append_text(out, ".");
	/* Each period is used up in a moment by many threads at once, and all wait for the next. */
	if (quota > 0 && threads > 4 * quota + 4)
		buffer_printf(out,
			      " %.0f threads share %g CPUs: a pool sized by the node's CPUs "
			      "(GOMAXPROCS, a JVM's or OpenMP's threads) makes that worse.",
			      threads, quota);
}

static int diagnose(struct plugin_call *call)
{
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	_cleanup_buffer_ struct buffer out = BUFFER(MESSAGE_BYTES_MAX);
	const cJSON *details = plugin_details(call);
	const char *path = json_string(json_at(details, "cgroup"), "path");
	double seconds = json_number(details, "seconds", 0),
	       quota = json_number(details, "quotaCPUs", 0);
	char name[SUBJECT_TEXT_SIZE], duration[TIME_TEXT_SIZE];

	if (!event || !streq_ptr(event->type, "CPUThrottled"))
		return PLUGIN_NOT_MINE;
	duration_format_seconds(seconds, duration);
	buffer_printf(
		&out,
		"%s needs more than the %g CPUs of its quota: for %s it was kept from running "
		"in %.0f %% of the periods in which it wanted to.\n"
		"Evidence: cpu.stat of %s: %.0f of %.0f periods throttled, %.1f s of waiting "
		"in all (its CPUs added up).",
		subject_container_text(call->abnormal, path, name), quota, duration,
		json_number(details, "throttledPercent", 0), path ? path : "(unknown)",
		json_number(details, "throttled", 0), json_number(details, "periods", 0),
		json_number(details, "throttledSeconds", 0));
	write_members(json_at(details, "members"), quota, &out);
	buffer_append_text(
		&out,
		"\nRepair: none; how much CPU it may have is its owner's to decide.\n"
		"Advice: raise the limit (resources.limits.cpu, --cpus, CPUQuota=) or drop it and "
		"keep the request; else find what it computes (perf top -G, pprof). Probes and "
		"leases that time out in it are a consequence.");
	return plugin_identify(call, "CPUThrottled", "%s", buffer_text(&out));
}

static const char *const detectors[] = {"cgroup", NULL};

PLUGIN(cpu_throttled_diagnoser) = {
	.name = "cpu-throttled",
	.summary = "a control group that its CPU quota keeps from running most of the time",
	.kind = PLUGIN_DIAGNOSER,
	.order = 10,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.detectors = detectors,
	.diagnose = diagnose,
};
