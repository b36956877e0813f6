/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnoser oom: why the kernel killed a process for memory. Whether a group reached its limit or
 * the node ran out is what the detector saw; who used the memory (one process, many, shared memory,
 * the kernel for them) is told from the victim's size and the group's counters, and each conclusion
 * is given with the numbers that it rests on. docs/diagnosers.md has the table.
 */
#include <inttypes.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/size.h"
#include "plugin/subject.h"
#include "host/pressure.h"

#define MESSAGE_BYTES_MAX (16 * KIB)
#define LARGEST_SHOWN 3

/* Shares of the limit above which one thing is called the cause. */
#define MOST 0.6
#define MUCH 0.4
/* A node with more than this share free did not run out as a whole. */
#define NODE_PLENTY_FREE 0.1

struct evidence {
	const struct abnormal *abnormal;
	const cJSON *details;
	const cJSON *group; /* summary of the limit's group by the collector cgroup, or NULL */
	const char *limit_path;
	double victim, anon, shmem; /* bytes of the victim */
	double limit, usage;
	double node_total, node_free; /* when it happened, as far as the detector told */
	double available, total, swap_total, swap_free; /* now */
	double pressure; /* percent of the last 10 s that all tasks waited for memory; below 0: not
			    known */
	char container[SUBJECT_TEXT_SIZE];
};

static double meminfo_bytes(const char *text, const char *key)
{
	const char *line = strstr(text, key);

	return line ? strtod(line + strlen(key), NULL) * 1024 : 0;
}

static void read_node(const struct host *host, struct evidence *evidence)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ cJSON *pressure = pressure_node(host);
	const cJSON *full = json_at(pressure, "memory.full.avg10");

	evidence->pressure = cJSON_IsNumber(full) ? full->valuedouble : -1;
	if (file_read(host->proc, "meminfo", 64 * KIB, &text, NULL) < 0)
		return;
	evidence->total = meminfo_bytes(text, "MemTotal:");
	evidence->available = meminfo_bytes(text, "MemAvailable:");
	evidence->swap_total = meminfo_bytes(text, "SwapTotal:");
	evidence->swap_free = meminfo_bytes(text, "SwapFree:");
}

static const cJSON *find_group(const struct plugin_call *call, const char *path)
{
	const cJSON *group;

	cJSON_ArrayForEach (group, json_at(plugin_context_of(call, "cgroup"), "groups"))
		if (path && streq_ptr(json_string(group, "path"), path))
			return group;
	return NULL;
}

static void gather(const struct plugin_call *call, struct evidence *evidence)
{
	const cJSON *details = plugin_details(call);
	const cJSON *victim = json_at(details, "victim"), *limit = json_at(details, "limitCgroup");
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	const char *container_path = event->container ? event->container->cgroup_path : NULL;

	evidence->abnormal = call->abnormal;
	evidence->details = details;
	evidence->anon = json_number(victim, "anonBytes", 0);
	evidence->shmem = json_number(victim, "shmemBytes", 0);
	/* Its file pages do not count: most are shared, often with other groups, and can be dropped. */
	evidence->victim = evidence->anon + evidence->shmem;
	evidence->limit_path = json_string(limit, "path");
	evidence->group = find_group(call, evidence->limit_path);
	evidence->limit =
		json_number(limit, "limitBytes", json_number(evidence->group, "limitBytes", 0));
	evidence->usage = json_number(limit, "usageBytes", 0);
	evidence->node_total = json_number(json_at(details, "node"), "totalBytes", 0);
	evidence->node_free = json_number(json_at(details, "node"), "freeBytes", 0);
	read_node(call->host, evidence);
	if (evidence->node_total <= 0)
		evidence->node_total = evidence->total;
	subject_container_text(call->abnormal,
			       evidence->limit_path ? evidence->limit_path : container_path,
			       evidence->container);
}

static const char *bytes(double value, char text[SIZE_TEXT_SIZE])
{
	return size_format_number(value, text);
}

static void write_victim(const struct evidence *evidence, struct buffer *out)
{
	const struct process_identity *process = evidence->abnormal->spec.kernel_event->process;

	if (process && process->comm)
		buffer_printf(out, "%s (pid %" PRId64 ")", process->comm,
			      process->tgid ? process->tgid : process->pid);
	else
		buffer_append_text(out, "a process");
}

/* Who asked for the page that was not there, when it was somebody else. */
static void write_trigger(const struct evidence *evidence, struct buffer *out)
{
	const struct process_identity *victim = evidence->abnormal->spec.kernel_event->process;
	const cJSON *trigger = json_at(evidence->details, "trigger");
	int64_t tgid = (int64_t)json_u64(trigger, "tgid");
	const char *comm = json_string(trigger, "comm");

	if (!comm || !tgid || (victim && victim->tgid == tgid))
		return;
	buffer_printf(out,
		      " It was %s (pid %" PRId64
		      ") that asked for more; the kernel chose the victim.",
		      comm, tgid);
}

static void write_repeats(const struct evidence *evidence, struct buffer *out)
{
	const struct occurrences *occurrences = evidence->abnormal->status.occurrences;
	double kills = json_number(evidence->group, "oomKills", 0);
	char duration[TIME_TEXT_SIZE];

	if (kills > 1)
		buffer_printf(out, " The kernel has killed %.0f times in this group.", kills);
	if (occurrences && occurrences->count > 1)
		buffer_printf(out, " This fault was seen %" PRId64 " times within %s.",
			      occurrences->count,
			      duration_format(
				      time_between(occurrences->first_time, occurrences->last_time),
				      duration));
}

/*
 * What used the memory up: the conclusion, the numbers that it rests on, and what to do about it.
 */
struct shape {
	const char *cause, *advice;
	char numbers[256];
};

#define SHARE_TEXT_SIZE 32

/*
 * " (94 % of the limit)"; nothing when it is more than that: the kernel's counters of a process lag,
 * and what it brought along from another group is not counted in this one.
 */
static const char *share_of(double bytes_used, double limit, char text[SHARE_TEXT_SIZE])
{
	double percent = bytes_used / limit * 100;

	text[0] = '\0';
	if (percent <= 100)
		snprintf(text, SHARE_TEXT_SIZE, " (%.0f %% of the limit)", percent);
	return text;
}

static void judge_shape(const struct evidence *evidence, struct shape *shape)
{
	double limit = evidence->limit,
	       shared = MAX(json_number(evidence->group, "shmemBytes", 0), evidence->shmem);
	double kernel = json_number(evidence->group, "kernelBytes", 0);
	double rest = (evidence->usage > 0 ? evidence->usage : limit) - evidence->victim;
	char a[SIZE_TEXT_SIZE], b[SIZE_TEXT_SIZE], share[SHARE_TEXT_SIZE];

	*shape = (struct shape){
		.cause = "",
		.advice = "raise the limit above what the workload needs at its peak, or find out "
			  "why it needs more than before.",
	};
	if (limit <= 0)
		return;
	if (shared >= MUCH * limit) {
		shape->cause = ": shared memory fills it";
		snprintf(shape->numbers, sizeof(shape->numbers),
			 " %s is shared memory: files in tmpfs (/dev/shm, a memory-backed "
			 "emptyDir) count against the limit, and killing a process does not free "
			 "them.",
			 bytes(shared, a));
		shape->advice = "delete or bound those files (mount the tmpfs with size=), or "
				"raise the limit by what they need.";
	} else if (evidence->victim >= MOST * limit) {
		shape->cause = ": this one process outgrew it";
		snprintf(shape->numbers, sizeof(shape->numbers), " The victim alone held %s%s.",
			 bytes(evidence->victim, a), share_of(evidence->victim, limit, share));
		shape->advice = "look for a leak or an unbounded cache (a runtime's heap may not "
				"know the limit: -Xmx, GOMEMLIMIT, --max-old-space-size); if it "
				"needs that much, raise the limit.";
	} else if (kernel >= MUCH * limit) {
		shape->cause = ": memory of the kernel fills it";
		snprintf(shape->numbers, sizeof(shape->numbers),
			 " %s is memory that the kernel holds for the group (dentries, sockets, "
			 "page tables), not the processes' own.",
			 bytes(kernel, a));
		shape->advice = "look at slab and sock in cgroup.json: very many files, "
				"connections or processes cost kernel memory.";
	} else if (evidence->victim > 0) {
		shape->cause = ": many processes share it, and the largest was killed";
		snprintf(shape->numbers, sizeof(shape->numbers),
			 " The victim held only %s%s, the others in the group about %s together.",
			 bytes(evidence->victim, a), share_of(evidence->victim, limit, share),
			 bytes(rest, b));
		shape->advice =
			"run fewer workers, or raise the limit to what all of them need together.";
	}
}

static void write_node_state(const struct evidence *evidence, struct buffer *out)
{
	char a[SIZE_TEXT_SIZE], b[SIZE_TEXT_SIZE];

	if (evidence->total <= 0)
		return;
	buffer_printf(out, " The node now has %s of %s available", bytes(evidence->available, a),
		      bytes(evidence->total, b));
	if (evidence->pressure >= 0)
		buffer_printf(out, "; all its tasks waited for memory %.1f %% of the last 10 s",
			      evidence->pressure);
	buffer_append_text(out, ".");
}

/* How the limit is changed where this group comes from. */
static const char *limit_knob(const struct evidence *evidence)
{
	const struct kernel_event *event = evidence->abnormal->spec.kernel_event;
	const char *path = evidence->limit_path ? evidence->limit_path : "";

	if (strstr(path, "kubepods") || (event->container && event->container->pod_uid))
		return " The limit is resources.limits.memory of the container.";
	if (strstr(path, ".service"))
		return " The limit is MemoryMax= of the unit (systemctl set-property UNIT "
		       "MemoryMax=…).";
	if (event->container && event->container->runtime && *event->container->runtime)
		return " The limit is the container's memory option (--memory).";
	return "";
}

static int diagnose_group(struct plugin_call *call, const struct evidence *evidence)
{
	_cleanup_buffer_ struct buffer out = BUFFER(MESSAGE_BYTES_MAX);
	double processes = json_number(evidence->group, "processes", -1);
	struct shape shape;
	char text[SIZE_TEXT_SIZE];

	judge_shape(evidence, &shape);
	write_victim(evidence, &out);
	buffer_printf(&out, " was killed because %s reached its memory limit", evidence->container);
	if (evidence->limit > 0)
		buffer_printf(&out, " of %s", bytes(evidence->limit, text));
	buffer_printf(&out, "%s.\nEvidence:", shape.cause);
	if (evidence->usage > 0)
		buffer_printf(&out,
			      " %s were in use (page cache is not why: the kernel drops it before "
			      "it kills).",
			      bytes(evidence->usage, text));
	buffer_append_text(&out, shape.numbers);
	if (processes >= 0)
		buffer_printf(&out, " %.0f process%s left in the group.", processes,
			      processes == 1 ? " is" : "es are");
	write_trigger(evidence, &out);
	write_repeats(evidence, &out);
	write_node_state(evidence, &out);
	if (endswith(buffer_text(&out), "Evidence:"))
		buffer_append_text(&out, " nothing but the kill itself; the group was gone before "
					 "it could be read.");
	buffer_printf(&out,
		      "\nRepair: nothing is changed for an OOM kill; it is checked whether the "
		      "workload comes back or the group stays well below its limit.\nAdvice: %s%s",
		      shape.advice, limit_knob(evidence));
	return plugin_identify(call, "ContainerOutOfMemory", "%s", buffer_text(&out));
}

static int compare_rss(const void *a, const void *b)
{
	const struct process *left = a, *right = b;

	return (left->rss_bytes < right->rss_bytes) - (left->rss_bytes > right->rss_bytes);
}

static void write_largest(const struct host *host, struct buffer *out)
{
	_cleanup_free_ struct process *processes = NULL;
	char text[SIZE_TEXT_SIZE];
	size_t count;

	if (process_list(host, &processes, &count) < 0 || count == 0)
		return;
	qsort(processes, count, sizeof(*processes), compare_rss);
	for (size_t i = 0; i < MIN(count, (size_t)LARGEST_SHOWN) && processes[i].rss_bytes; i++)
		buffer_printf(out, "%s%s (pid %" PRId64 ") %s",
			      i ? ", " : " Largest now: ", processes[i].comm, processes[i].pid,
			      size_format(processes[i].rss_bytes, text));
	buffer_append_text(out, processes[0].rss_bytes ? "." : "");
}

static int diagnose_node(struct plugin_call *call, const struct evidence *evidence)
{
	_cleanup_buffer_ struct buffer out = BUFFER(MESSAGE_BYTES_MAX);
	char a[SIZE_TEXT_SIZE], b[SIZE_TEXT_SIZE];

	buffer_append_text(&out, "The node ran out of memory, and the kernel killed ");
	write_victim(evidence, &out);
	if (evidence->abnormal->spec.kernel_event->container)
		buffer_printf(&out, " of %s", evidence->container);
	buffer_append_text(&out, ".\nEvidence:");
	if (evidence->victim > 0)
		buffer_printf(&out, " The victim held %s.", bytes(evidence->victim, a));
	if (evidence->node_total > 0 && evidence->node_free > 0)
		buffer_printf(&out, " %s of %s were free then.", bytes(evidence->node_free, a),
			      bytes(evidence->node_total, b));
	if (evidence->node_free > NODE_PLENTY_FREE * evidence->node_total)
		buffer_append_text(
			&out,
			" That is not a full node: one NUMA node or cpuset was full, or a large "
			"contiguous piece was missing (the oom-kill line in kernel-log.txt names "
			"the constraint).");
	if (evidence->total > 0 && evidence->swap_total <= 0)
		buffer_append_text(&out, " There is no swap, so private memory had nowhere to go.");
	else if (evidence->total > 0)
		buffer_printf(&out, " Of %s of swap, %s are free now.",
			      bytes(evidence->swap_total, a), bytes(evidence->swap_free, b));
	write_trigger(evidence, &out);
	write_repeats(evidence, &out);
	write_node_state(evidence, &out);
	write_largest(call->host, &out);
	buffer_append_text(
		&out,
		"\nRepair: nothing is changed for an OOM kill; it is checked whether the node has "
		"memory again.\n"
		"Advice: give the largest consumers memory limits, so that they and not their "
		"neighbours are killed; move work away or add memory; protect what must live with "
		"a lower oom_score_adj.");
	return plugin_identify(call, "NodeOutOfMemory", "%s", buffer_text(&out));
}

/* All that is known is that the kernel counted a kill: whose it was, and whose limit, is gone. */
static int diagnose_unknown(struct plugin_call *call, const struct evidence *evidence)
{
	_cleanup_buffer_ struct buffer out = BUFFER(MESSAGE_BYTES_MAX);

	buffer_append_text(
		&out, "The kernel killed a process for lack of memory; whether a control group "
		      "reached its limit or the node ran out was not to be seen.\nEvidence: the "
		      "kernel's count of kills has grown, and no group that is left tells of one.");
	write_repeats(evidence, &out);
	write_node_state(evidence, &out);
	buffer_append_text(
		&out, "\nRepair: nothing is changed for an OOM kill.\nAdvice: kernel-log.txt has "
		      "the kernel's own account where the log is kept: its line oom-kill names "
		      "the victim and the constraint.");
	return plugin_identify(call, "OutOfMemory", "%s", buffer_text(&out));
}

static int diagnose(struct plugin_call *call)
{
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	struct evidence evidence = {0};

	if (!event || !streq_ptr(event->type, "OOMKill"))
		return PLUGIN_NOT_MINE;
	gather(call, &evidence);
	const char *scope = json_string(evidence.details, "scope");
	if (streq_ptr(scope, "unknown"))
		return diagnose_unknown(call, &evidence);
	bool of_node = scope ? streq(scope, "node") : !evidence.limit_path;
	return of_node ? diagnose_node(call, &evidence) : diagnose_group(call, &evidence);
}

static const char *const detectors[] = {"oom", NULL};

PLUGIN(oom_diagnoser) = {
	.name = "oom",
	.summary = "a process killed for memory: which limit, who used it up, what to do",
	.kind = PLUGIN_DIAGNOSER,
	.order = 10,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.detectors = detectors,
	.diagnose = diagnose,
};
