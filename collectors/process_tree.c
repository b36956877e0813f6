/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collector process-tree: the process that an Abnormal is about, who started it, what it started,
 * and the state of each of its threads. Command lines are left out: reading them takes the target's
 * mmap lock, which may be what a hung task holds.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/size.h"
#include "plugin/subject.h"

#define ARTIFACT_BYTES_MAX (256 * KIB)
#define THREADS_MAX 4096
#define ANCESTORS_MAX 64
#define SHOWN_MAX 32 /* of each list in the summary; the artifact has all */

static const char *wait_channel(const struct host *host, int64_t pid, char text[64])
{
	_cleanup_free_ char *content = NULL;
	char path[64];

	snprintf(path, sizeof(path), "%" PRId64 "/wchan", pid);
	if (file_read(host->proc, path, 4096, &content, NULL) < 0 || streq(content, "0"))
		snprintf(text, 64, "-");
	else
		snprintf(text, 64, "%s", content);
	return text;
}

static int write_line(const struct host *host, struct buffer *out, const struct process *process,
		      unsigned depth)
{
	char rss[SIZE_TEXT_SIZE], channel[64];

	return buffer_printf(
		out, "%8" PRId64 " %8" PRId64 " %c %7" PRId64 " %10s %-24s %*s%s%s%s\n",
		process->pid, process->ppid, process->state, process->threads,
		size_format(process->rss_bytes, rss), wait_channel(host, process->pid, channel),
		(int)(2 * depth), "", process->kernel_thread ? "[" : "", process->comm,
		process->kernel_thread ? "]" : "");
}

static int add_json(cJSON *list, const struct process *process)
{
	cJSON *item = process_json(process);

	if (!item)
		return -ENOMEM;
	cJSON_AddItemToArray(list, item);
	return 0;
}

/* The parents of PROCESS, init first. Returns their number. */
static size_t read_ancestors(const struct host *host, const struct process *process,
			     struct process ancestors[ANCESTORS_MAX])
{
	int64_t pid = process->ppid;
	size_t count = 0;

	while (count < ANCESTORS_MAX && process_read(host, pid, &ancestors[count]) == 0)
		pid = ancestors[count++].ppid;
	for (size_t i = 0; i < count / 2; i++) {
		struct process swap = ancestors[i];

		ancestors[i] = ancestors[count - 1 - i];
		ancestors[count - 1 - i] = swap;
	}
	return count;
}

static int count_state(cJSON *states, char state)
{
	const char name[2] = {state, '\0'};

	return json_set_number(states, name, json_number(states, name, 0) + 1);
}

static void directory_closep(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

/* Threads of PROCESS into OUT, and how many are in which state into STATES. */
static int collect_threads(const struct host *host, const struct process *process,
			   struct buffer *out, cJSON *states)
{
	char path[64];

	snprintf(path, sizeof(path), "%" PRId64 "/task", process->pid);
	int fd = openat(host->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(directory_closep) DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	if (!directory)
		return 0; /* it has just ended */
	buffer_printf(out,
		      "\nThreads of %" PRId64 " (%s)\n     TID S WAITING IN               NAME\n",
		      process->pid, process->comm);
	size_t count = 0;
	for (struct dirent *entry; (entry = readdir(directory)) && count < THREADS_MAX;) {
		int64_t tid = strtoll(entry->d_name, NULL, 10);
		struct process thread;
		char channel[64];

		if (tid <= 0 || process_read(host, tid, &thread) < 0)
			continue;
		count++;
		buffer_printf(out, "%8" PRId64 " %c %-24s %s\n", tid, thread.state,
			      wait_channel(host, tid, channel), thread.comm);
		if (count_state(states, thread.state) < 0)
			return -ENOMEM;
	}
	return 0;
}

static unsigned depth_of(const struct process *tree, size_t index)
{
	unsigned depth = 0;

	/* Parents come first, so each step goes to a lower index. */
	for (size_t i = index; i > 0;) {
		size_t parent = 0;

		for (size_t j = 0; j < i; j++)
			if (tree[j].pid == tree[i].ppid)
				parent = j;
		i = parent;
		depth++;
	}
	return depth;
}

static int collect_around(struct plugin_call *call, const struct process *process, bool of_parent)
{
	_cleanup_json_ cJSON *answer = cJSON_CreateObject();
	_cleanup_buffer_ struct buffer text = BUFFER(ARTIFACT_BYTES_MAX);
	_cleanup_free_ struct process *tree = NULL;
	struct process ancestors[ANCESTORS_MAX];
	size_t ancestor_count = read_ancestors(call->host, process, ancestors), tree_count;

	int r = process_tree(call->host, process->pid, &tree, &tree_count);
	if (r < 0)
		return r == -ESRCH ? plugin_fail(PLUGIN_NOT_MINE,
						 "process %" PRId64 " has just ended", process->pid)
				   : r;
	cJSON *states = cJSON_CreateObject(), *above = cJSON_CreateArray(),
	      *below = cJSON_CreateArray();
	if (json_set(answer, "process", process_json(process)) < 0 ||
	    json_set(answer, "threadStates", states) < 0 ||
	    json_set(answer, "ancestors", above) < 0 ||
	    json_set(answer, "descendants", below) < 0 ||
	    json_set_number(answer, "descendantCount", (double)(tree_count - 1)) < 0 ||
	    (of_parent && json_set_bool(answer, "ended", true) < 0))
		return -ENOMEM;
	buffer_printf(&text,
		      "%s\n     PID     PPID S THREADS        RSS WAITING IN               NAME\n",
		      of_parent ? "The process itself has ended; this is its parent." : "");
	for (size_t i = 0; i < ancestor_count; i++) {
		write_line(call->host, &text, &ancestors[i], (unsigned)i);
		if (i < SHOWN_MAX && add_json(above, &ancestors[i]) < 0)
			return -ENOMEM;
	}
	for (size_t i = 0; i < tree_count; i++) {
		write_line(call->host, &text, &tree[i],
			   (unsigned)ancestor_count + depth_of(tree, i));
		if (i > 0 && i <= SHOWN_MAX && add_json(below, &tree[i]) < 0)
			return -ENOMEM;
	}
	r = collect_threads(call->host, process, &text, states);
	if (r < 0)
		return r;
	if (text.cut && json_set_number(answer, "bytesCut", (double)text.cut) < 0)
		return -ENOMEM;
	r = plugin_artifact(call, "process-tree.txt", buffer_text(&text), text.length);
	if (r < 0 && r != -ENOENT)
		return plugin_fail(r, "cannot keep process-tree.txt: %s", strerror(-r));
	return plugin_answer(call, TAKE_PTR(answer));
}

static int collect(struct plugin_call *call)
{
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	const struct process_identity *parent =
		event && event->process ? event->process->parent : NULL;
	struct process process;
	int r = subject_process_read(call, &process);

	if (r == 0)
		return collect_around(call, &process, false);
	if (r == -ENODATA)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "the Abnormal names no process (spec.kernelEvent.process or "
				   "spec.context.pid)");
	if (r != -ESRCH)
		return r;
	/* A victim of the OOM killer is gone by now; who started it is often still there. */
	if (parent && parent->pid > 0 &&
	    process_read_same(call->host, parent->pid, (uint64_t)parent->start_time, &process) == 0)
		return collect_around(call, &process, true);
	return plugin_fail(PLUGIN_NOT_MINE, "the process and its parent have ended");
}

PLUGIN(process_tree_collector) = {
	.name = "process-tree",
	.summary = "the process, its ancestors, descendants and threads, and what each waits in",
	.kind = PLUGIN_COLLECTOR,
	.order = 10,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.troubleshooting = true,
	.collect = collect,
};
