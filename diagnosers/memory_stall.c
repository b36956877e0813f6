/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnoser memory-stall: a control group that its limit of memory keeps from work without an OOM
 * kill. Which of its memory does not fit, as far as its counters tell, and what a person can do.
 */
#include <inttypes.h>

#include "base/buffer.h"
#include "base/size.h"
#include "plugin/subject.h"

#define MESSAGE_BYTES_MAX (16 * KIB)
#define TASKS_SHOWN 4
/* Shares of the limit above which one kind of memory is called the cause. */
#define MOST 0.6
#define MUCH 0.4

struct evidence {
	const cJSON *details, *memory, *refaults;
	const char *path, *limit_name;
	double limit, usage, anon, shmem, file, kernel, unwritten;
	double file_refaults, anon_refaults;
	double stuck; /* seconds of the longest reclaim that goes on */
	double threshold;
	char container[SUBJECT_TEXT_SIZE];
};

static const char *bytes(double value, char text[SIZE_TEXT_SIZE])
{
	return size_format_number(value, text);
}

static const char *seconds(double value, char text[TIME_TEXT_SIZE])
{
	return duration_format_seconds(value, text);
}

static void gather(const struct plugin_call *call, struct evidence *evidence)
{
	const cJSON *details = plugin_details(call), *memory = json_at(details, "memory"), *task;
	const char *path = json_string(json_at(details, "cgroup"), "path");
	const char *limit_name = json_string(details, "limit");

	*evidence = (struct evidence){
		.details = details,
		.memory = memory,
		.refaults = json_at(details, "refaults"),
		.path = path ? path : "(unknown)",
		.limit_name = limit_name ? limit_name : "its limit",
		.limit = json_number(details, "limitBytes", 0),
		.usage = json_number(details, "usageBytes", 0),
		.anon = json_number(memory, "anonBytes", 0),
		.shmem = json_number(memory, "shmemBytes", 0),
		.file = json_number(memory, "fileBytes", 0),
		.kernel = json_number(memory, "kernelBytes", 0),
		.unwritten = json_number(memory, "dirtyBytes", 0) +
			     json_number(memory, "writebackBytes", 0),
		.file_refaults = json_number(json_at(details, "refaults"), "fileBytes", 0),
		.anon_refaults = json_number(json_at(details, "refaults"), "anonBytes", 0),
		.threshold = json_number(details, "thresholdSeconds", 0),
	};
	cJSON_ArrayForEach (task, json_at(details, "tasks"))
		evidence->stuck = MAX(evidence->stuck, json_number(task, "inReclaimSeconds", 0));
	subject_container_text(call->abnormal, path, evidence->container);
}

/* What it is, and what to do about it. */
struct shape {
	const char *cause, *advice;
};

static struct shape shape_of(const struct evidence *evidence)
{
	double limit = evidence->limit > 0 ? evidence->limit : evidence->usage;

	if (evidence->stuck >= evidence->threshold && evidence->stuck > 0 &&
	    evidence->unwritten >= MUCH * limit)
		return (struct shape){
			"Pages that have to be written to a disk first fill it, and a reclaim waits "
			"for that disk.",
			"look at the disk (detector hung_task, iostat -x): it is slow or does not "
			"answer, and more memory would only put that off.",
		};
	if (evidence->anon_refaults > evidence->file_refaults)
		return (struct shape){
			"What its programs hold does not fit: it is swapped out and in again.",
			"raise the limit above what the programs need, or give them less to hold "
			"(heap sizes, caches, workers).",
		};
	if (evidence->shmem >= MUCH * limit)
		return (struct shape){
			"Shared memory (files in tmpfs, /dev/shm) takes the room that is needed for "
			"files of the disk.",
			"delete or bound those files (mount the tmpfs with size=), or raise the "
			"limit by what they need.",
		};
	if (evidence->kernel >= MUCH * limit)
		return (struct shape){
			"Memory that the kernel holds for it takes most of the room.",
			"look for very many files, connections or processes in it; or raise the "
			"limit.",
		};
	if (evidence->anon + evidence->shmem >= MOST * limit)
		return (struct shape){
			"What its programs hold leaves too little for the files that they run "
			"from: their code and libraries are read from the disk again and again.",
			"it is about to be killed for memory: raise the limit, or look for a leak, "
			"an unbounded cache, or a runtime that does not know the limit.",
		};
	return (struct shape){
		"The files that it reads again and again do not fit beside what its programs hold.",
		"raise the limit by the size of those files, or have it read less of them: fewer "
		"workers at a time, smaller indexes, reads that bypass the page cache.",
	};
}

static void write_cause(const struct plugin_call *call, const struct evidence *evidence,
			const struct shape *shape, struct buffer *out)
{
	const struct process_identity *process = call->abnormal->spec.kernel_event->process;
	double percent = json_number(evidence->details, "stallPercent", 0),
	       reclaim = json_number(evidence->details, "reclaimPercent", 0);
	char limit[SIZE_TEXT_SIZE], duration[TIME_TEXT_SIZE];

	buffer_printf(out, "%s needs more memory than the %s of its limit, and does not get on: ",
		      evidence->container, bytes(evidence->limit, limit));
	if (evidence->stuck >= evidence->threshold && evidence->stuck > 0)
		buffer_printf(out, "a task has been in one reclaim for %s.",
			      seconds(evidence->stuck, duration));
	else if (reclaim < percent)
		buffer_printf(out, "for %.0f %% of the last %s all of its tasks waited for memory.",
			      percent, seconds(evidence->threshold, duration));
	else if (process && process->comm)
		buffer_printf(out,
			      "%s (pid %" PRId64
			      ") spent %.0f %% of the last %s on making room for itself.",
			      process->comm, process->pid, percent,
			      seconds(evidence->threshold, duration));
	else
		buffer_printf(out,
			      "its tasks spent %.0f %% of the last %s on making room for "
			      "themselves.",
			      percent, seconds(evidence->threshold, duration));
	buffer_printf(out, " %s", shape->cause);
}

static void write_refaults(const struct evidence *evidence, struct buffer *out)
{
	double returned = json_number(evidence->refaults, "returnedPercent", -1);
	char files[SIZE_TEXT_SIZE], swapped[SIZE_TEXT_SIZE];

	if (!evidence->refaults) {
		buffer_printf(out, " %.0f pages of files had to be read again for who used them.",
			      json_number(evidence->details, "majorFaults", 0));
		return;
	}
	buffer_printf(out, " %s of files", bytes(evidence->file_refaults, files));
	if (evidence->anon_refaults > 0)
		buffer_printf(out, " and %s of swapped memory",
			      bytes(evidence->anon_refaults, swapped));
	buffer_append_text(out, " came back soon after they were evicted");
	if (returned >= 0)
		buffer_printf(out, ", %.0f %% of what was evicted", returned);
	buffer_append_text(out, ".");
}

static void write_tasks(const struct evidence *evidence, struct buffer *out)
{
	const cJSON *task;
	char duration[TIME_TEXT_SIZE];
	int shown = 0;

	cJSON_ArrayForEach (task, json_at(evidence->details, "tasks")) {
		const char *comm = json_string(task, "comm");

		if (shown == TASKS_SHOWN)
			break;
		buffer_printf(out, "%s %s (pid %.0f, %s)",
			      shown++ ? "," : " In reclaim for longest:", comm ? comm : "?",
			      json_number(task, "pid", 0),
			      seconds(json_number(task, "reclaimSeconds", 0), duration));
	}
	if (shown)
		buffer_append_text(out, ".");
}

static void write_evidence(const struct evidence *evidence, struct buffer *out)
{
	double reclaims = json_number(evidence->details, "reclaims", 0),
	       full = json_number(json_at(evidence->details, "pressure"), "fullPercent", -1);
	char usage[SIZE_TEXT_SIZE], limit[SIZE_TEXT_SIZE], anon[SIZE_TEXT_SIZE];
	char file[SIZE_TEXT_SIZE], shmem[SIZE_TEXT_SIZE], kernel[SIZE_TEXT_SIZE];
	char duration[TIME_TEXT_SIZE];

	buffer_printf(out,
		      "\nEvidence: %s of %s: %s of %s used (%s anonymous, %s of files, %s shared, "
		      "%s of the kernel), met by %.0f charges.",
		      evidence->limit_name, evidence->path, bytes(evidence->usage, usage),
		      bytes(evidence->limit, limit), bytes(evidence->anon, anon),
		      bytes(evidence->file, file), bytes(evidence->shmem, shmem),
		      bytes(evidence->kernel, kernel),
		      json_number(evidence->details, "limitHits", 0));
	if (reclaims > 0)
		buffer_printf(
			out, " %.0f reclaims took its tasks %s.", reclaims,
			seconds(json_number(evidence->details, "reclaimSeconds", 0), duration));
	if (full >= 0)
		buffer_printf(out,
			      " memory.pressure: all of its tasks waited for %.0f %% of that "
			      "time.",
			      full);
	write_refaults(evidence, out);
	write_tasks(evidence, out);
}

static int diagnose(struct plugin_call *call)
{
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	_cleanup_buffer_ struct buffer out = BUFFER(MESSAGE_BYTES_MAX);
	struct evidence evidence;

	if (!event || !streq_ptr(event->type, "MemoryStall"))
		return PLUGIN_NOT_MINE;
	gather(call, &evidence);
	struct shape shape = shape_of(&evidence);

	write_cause(call, &evidence, &shape, &out);
	write_evidence(&evidence, &out);
	buffer_printf(
		&out,
		"\nRepair: none; how much memory it may have is its owner's to decide, and the "
		"kernel kills only when nothing can be evicted any more.\n"
		"Advice: %s It is set by %s. Probes and leases that time out in it are a "
		"consequence.",
		shape.advice,
		streq(evidence.limit_name, "memory.high")
			? "MemoryHigh= (or the kubelet's memory throttling), which slows it down on "
			  "purpose"
			: "resources.limits.memory, --memory or MemoryMax=");
	return plugin_identify(call, "MemoryStall", "%s", buffer_text(&out));
}

static const char *const detectors[] = {"memory_stall", NULL};

PLUGIN(memory_stall_diagnoser) = {
	.name = "memory-stall",
	.summary = "a control group that its limit of memory keeps from work",
	.kind = PLUGIN_DIAGNOSER,
	.order = 10,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.detectors = detectors,
	.diagnose = diagnose,
};
