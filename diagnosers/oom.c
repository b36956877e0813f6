/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnoser oom: why the kernel killed a process for memory. Whether a group reached its limit or the node
 * ran out is what the detector saw; who used the memory (one process, many, shared memory, the
 * kernel for them) is told from the victim's size and the group's counters, and each conclusion is
 * given with the numbers that it rests on. docs/diagnosers.md has the table.
 */
#include <inttypes.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/size.h"
#include "chain/subject.h"
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
	double victim, anon, shmem, file; /* bytes of the victim */
	double limit, usage;
	double node_total, node_free;	  /* when it happened, as far as the detector told */
	double available, total, swap_total, swap_free; /* now */
	double pressure; /* percent of the last 10 s that all tasks waited for memory; below 0: not known */
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

	cJSON_ArrayForEach(group, json_at(plugin_context_of(call, "cgroup"), "groups"))
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
	evidence->file = json_number(victim, "fileBytes", 0);
	evidence->shmem = json_number(victim, "shmemBytes", 0);
	evidence->victim = evidence->anon + evidence->file + evidence->shmem;
	evidence->limit_path = json_string(limit, "path");
	evidence->group = find_group(call, evidence->limit_path);
	evidence->limit = json_number(limit, "limitBytes", json_number(evidence->group, "limitBytes", 0));
	evidence->usage = json_number(limit, "usageBytes", 0);
	evidence->node_total = json_number(json_at(details, "node"), "totalBytes", 0);
	evidence->node_free = json_number(json_at(details, "node"), "freeBytes", 0);
	read_node(call->host, evidence);
	if (evidence->node_total <= 0)
		evidence->node_total = evidence->total;
	subject_container_text(call->abnormal, evidence->limit_path ? evidence->limit_path : container_path,
			       evidence->container);
}

static const char *bytes(double value, char text[SIZE_TEXT_SIZE])
{
	return size_format(value > 0 ? (uint64_t)value : 0, text);
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
	int64_t tgid = (int64_t)json_number(trigger, "tgid", 0);
	const char *comm = json_string(trigger, "comm");

	if (!comm || !tgid || (victim && victim->tgid == tgid))
		return;
	buffer_printf(out, " It was %s (pid %" PRId64 ") that asked for more; the kernel chose the victim.",
		      comm, tgid);
}

static void write_repeats(const struct evidence *evidence, struct buffer *out)
{
	const struct occurrences *occurrences = evidence->abnormal->status.occurrences;
	double kills = json_number(evidence->group, "oomKills", 0);
	char duration[TIME_TEXT_SIZE];

	if (kills > 1)
		buffer_printf(out, " This group has seen %.0f OOM kills since it was made.", kills);
	if (occurrences && occurrences->count > 1)
		buffer_printf(out, " It happened %" PRId64 " times within %s.", occurrences->count,
			      duration_format((uint64_t)MAX(occurrences->last_time - occurrences->first_time, 0),
					      duration));
}

/* What used the memory up to the limit, with the numbers that tell. Writes cause, then advice. */
static void write_shape(const struct evidence *evidence, struct buffer *out, const char **ret_advice)
{
	double limit = evidence->limit, shared = json_number(evidence->group, "shmemBytes", 0);
	double kernel = json_number(evidence->group, "kernelBytes", 0);
	double rest = (evidence->usage > 0 ? evidence->usage : limit) - evidence->victim;
	double processes = json_number(evidence->group, "processes", 0);
	char a[SIZE_TEXT_SIZE], b[SIZE_TEXT_SIZE];

	*ret_advice = "Raise the limit above what the workload needs at its peak, or find out why it needs more than before.";
	if (limit <= 0)
		return;
	if (shared >= MUCH * limit || evidence->shmem >= MUCH * limit) {
		buffer_printf(out,
			      " %s of it is shared memory: files in tmpfs (/dev/shm, a memory-backed emptyDir) count "
			      "against the limit and are not freed by killing a process.",
			      bytes(MAX(shared, evidence->shmem), a));
		*ret_advice = "Delete or bound those files (mount the tmpfs with size=), or raise the limit by what they need.";
	} else if (evidence->victim >= MOST * limit) {
		buffer_printf(out,
			      " The victim alone held %s (%.0f %% of the limit), %s of it private memory: "
			      "this one process outgrew the limit.",
			      bytes(evidence->victim, a), evidence->victim / limit * 100,
			      bytes(evidence->anon, b));
		*ret_advice =
			"If it should fit, look for a leak or an unbounded cache (a runtime's heap may not know the limit: "
			"-Xmx, GOMEMLIMIT, --max-old-space-size); if it needs that much, raise the limit.";
	} else if (kernel >= MUCH * limit) {
		buffer_printf(out,
			      " %s is memory that the kernel holds for it (dentries, sockets, page tables), "
			      "not the processes' own.",
			      bytes(kernel, a));
		*ret_advice = "Look at slab and sock in cgroup.json: very many files, connections or processes cost kernel memory.";
	} else if (evidence->victim > 0) {
		buffer_printf(out,
			      " The victim held only %s (%.0f %% of the limit), the others in the group together about %s: "
			      "many processes share the limit, and the largest was killed.",
			      bytes(evidence->victim, a), evidence->victim / limit * 100, bytes(rest, b));
		if (processes > 0)
			buffer_printf(out, " %.0f process%s still in it.", processes,
				      processes == 1 ? " is" : "es are");
		*ret_advice = "Run fewer workers, or raise the limit to what all of them need together.";
	}
}

static void write_node_state(const struct evidence *evidence, struct buffer *out)
{
	char a[SIZE_TEXT_SIZE], b[SIZE_TEXT_SIZE];

	if (evidence->total <= 0)
		return;
	buffer_printf(out, " The node itself %s: %s of %s are available",
		      evidence->available >= NODE_PLENTY_FREE * evidence->total ? "is not short of memory"
										: "is short of memory too",
		      bytes(evidence->available, a), bytes(evidence->total, b));
	if (evidence->pressure >= 0)
		buffer_printf(out, ", and all its tasks waited for memory %.1f %% of the last 10 s",
			      evidence->pressure);
	buffer_append_text(out, ".");
}

/* How the limit is changed where this group comes from. */
static const char *limit_knob(const struct evidence *evidence)
{
	const struct kernel_event *event = evidence->abnormal->spec.kernel_event;
	const char *path = evidence->limit_path ? evidence->limit_path : "";

	if (strstr(path, "kubepods") || (event->container && event->container->pod))
		return " The limit is resources.limits.memory of the container.";
	if (strstr(path, ".service"))
		return " The limit is MemoryMax= of the unit (systemctl set-property UNIT MemoryMax=…).";
	if (event->container && event->container->runtime && *event->container->runtime)
		return " The limit is the container's memory option (--memory).";
	return "";
}

static int diagnose_group(struct plugin_call *call, const struct evidence *evidence)
{
	_cleanup_buffer_ struct buffer out = BUFFER(MESSAGE_BYTES_MAX);
	const char *advice;
	char a[SIZE_TEXT_SIZE], b[SIZE_TEXT_SIZE];

	write_victim(evidence, &out);
	buffer_printf(&out, " was killed because %s reached its memory limit", evidence->container);
	if (evidence->limit > 0) {
		buffer_printf(&out, " of %s", bytes(evidence->limit, a));
		if (evidence->usage > 0)
			buffer_printf(&out, " (%s in use; the page cache is not the cause, the kernel drops it before it kills)",
				      bytes(evidence->usage, b));
	}
	buffer_append_text(&out, ".");
	write_shape(evidence, &out, &advice);
	write_trigger(evidence, &out);
	write_repeats(evidence, &out);
	write_node_state(evidence, &out);
	buffer_printf(&out,
		      "\nNothing is changed for an OOM kill: whether the workload comes back, or the group stays "
		      "well below its limit, is what is checked next.\nIf it happens again: %s%s",
		      advice, limit_knob(evidence));
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

	if (process_list(host, &processes, &count) < 0)
		return;
	qsort(processes, count, sizeof(*processes), compare_rss);
	for (size_t i = 0; i < MIN(count, (size_t)LARGEST_SHOWN) && processes[i].rss_bytes; i++)
		buffer_printf(out, "%s%s (pid %" PRId64 ") %s", i ? ", " : " Largest now: ", processes[i].comm,
			      processes[i].pid, size_format(processes[i].rss_bytes, text));
	buffer_append_text(out, ".");
}

static int diagnose_node(struct plugin_call *call, const struct evidence *evidence)
{
	_cleanup_buffer_ struct buffer out = BUFFER(MESSAGE_BYTES_MAX);
	char a[SIZE_TEXT_SIZE], b[SIZE_TEXT_SIZE];

	buffer_append_text(&out, "The node ran out of memory, and the kernel killed ");
	write_victim(evidence, &out);
	if (evidence->abnormal->spec.kernel_event->container)
		buffer_printf(&out, " of %s", evidence->container);
	if (evidence->victim > 0)
		buffer_printf(&out, ", which held %s", bytes(evidence->victim, a));
	buffer_append_text(&out, ".");
	if (evidence->node_total > 0 && evidence->node_free > 0)
		buffer_printf(&out, " %s of %s were free then.", bytes(evidence->node_free, a),
			      bytes(evidence->node_total, b));
	if (evidence->node_free > NODE_PLENTY_FREE * evidence->node_total)
		buffer_append_text(&out,
				   " That is not a full node: one NUMA node or cpuset was full, or a large "
				   "contiguous piece was missing (see the oom-kill line's constraint in kernel-log.txt).");
	if (evidence->total > 0 && evidence->swap_total <= 0)
		buffer_append_text(&out, " There is no swap, so private memory had nowhere to go.");
	else if (evidence->total > 0)
		buffer_printf(&out, " Of %s of swap, %s are free now.", bytes(evidence->swap_total, a),
			      bytes(evidence->swap_free, b));
	write_trigger(evidence, &out);
	write_repeats(evidence, &out);
	write_node_state(evidence, &out);
	write_largest(call->host, &out);
	buffer_append_text(
		&out,
		"\nNothing is changed for an OOM kill: whether the node has memory again is what is checked "
		"next.\nIf it happens again: give the largest consumers memory limits, so that they and not their "
		"neighbours are killed, and move work away or add memory; protect what must live with a lower oom_score_adj.");
	return plugin_identify(call, "NodeOutOfMemory", "%s", buffer_text(&out));
}

static int diagnose(struct plugin_call *call)
{
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	struct evidence evidence = {0};

	if (!event || !streq_ptr(event->type, "OOMKill"))
		return PLUGIN_NOT_MINE;
	gather(call, &evidence);
	const char *scope = json_string(evidence.details, "scope");
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
