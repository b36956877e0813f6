/* SPDX-License-Identifier: Apache-2.0 */
/* What an Abnormal is about on this node. */
#include "chain/plugin_subject.h"

#include <stdarg.h>

#include "base/file.h"
#include "host/container.h"

#define SECOND_LOOK_NS (200 * NS_PER_MS)

bool subject_process(const struct abnormal *abnormal, struct subject_thread *ret_process)
{
	const struct kernel_event *event = abnormal->spec.kernel_event;
	const cJSON *context = abnormal->spec.context;

	if (event && event->process && event->process->pid > 0) {
		const struct process_identity *process = event->process;

		*ret_process = (struct subject_thread){
			.pid = process->pid,
			.tgid = process->tgid > 0 ? process->tgid : process->pid,
			.start_time = (uint64_t)process->start_time,
			.comm = process->comm ? process->comm : "",
		};
		return true;
	}
	int64_t pid = (int64_t)json_u64(context, "pid");
	if (pid <= 0)
		return false;
	*ret_process = (struct subject_thread){
		.pid = pid,
		.tgid = pid,
		.start_time = json_u64(context, "startTime"),
		.comm = "",
	};
	return true;
}

int subject_process_read(const struct plugin_call *call, struct process *ret_process)
{
	struct subject_thread subject;
	struct process thread;

	if (!subject_process(call->abnormal, &subject))
		return -ENODATA;
	int r = subject.start_time
			? process_read_same(call->host, subject.pid, subject.start_time, &thread)
			: process_read(call->host, subject.pid, &thread);
	if (r < 0)
		return r;
	if (thread.tgid == thread.pid) {
		*ret_process = thread;
		return 0;
	}
	return process_read(call->host, thread.tgid, ret_process);
}

size_t subject_waiters(const struct plugin_call *call, struct subject_thread *waiters)
{
	const cJSON *list = json_at(plugin_details(call), "waiters"), *item;
	size_t count = 0;

	cJSON_ArrayForEach (item, list) {
		const char *comm = json_string(item, "comm");
		struct subject_thread waiter = {
			.pid = (int64_t)json_u64(item, "pid"),
			.start_time = json_u64(item, "startTime"),
			.comm = comm ? comm : "",
			.killable = json_bool(item, "killable", false),
		};

		waiter.tgid = json_at(item, "tgid") ? (int64_t)json_u64(item, "tgid") : waiter.pid;
		if (waiter.pid > 0 && count < SUBJECT_WAITERS_MAX)
			waiters[count++] = waiter;
	}
	return count;
}

bool subject_waits(const struct plugin_call *call, int64_t pid, uint64_t start_time)
{
	struct process process;

	return process_read_same(call->host, pid, start_time, &process) == 0 &&
	       process.state == 'D';
}

void subject_find_hung(const struct plugin_call *call, const struct subject_thread *threads,
		       size_t count, bool *ret_hung)
{
	uint64_t switches[SUBJECT_WAITERS_MAX] = {0};
	struct process thread;

	for (size_t i = 0; i < count; i++) {
		ret_hung[i] = process_read_same(call->host, threads[i].pid, threads[i].start_time,
						&thread) == 0 &&
			      thread.state == 'D';
		if (ret_hung[i])
			switches[i] = thread.switches;
	}
	clock_sleep(SECOND_LOOK_NS);
	for (size_t i = 0; i < count; i++)
		ret_hung[i] = ret_hung[i] &&
			      process_read_same(call->host, threads[i].pid, threads[i].start_time,
						&thread) == 0 &&
			      thread.state == 'D' && thread.switches == switches[i];
}

char *subject_cgroup(const struct plugin_call *call)
{
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	const char *limit = json_string(json_at(plugin_details(call), "limitCgroup"), "path");
	struct process process;

	if (limit)
		return strdup(limit);
	if (event && event->container && event->container->cgroup_path)
		return strdup(event->container->cgroup_path);
	if (subject_process_read(call, &process) < 0)
		return NULL;
	return process_cgroup(call->host, process.pid);
}

const char *subject_container_text(const struct abnormal *abnormal, const char *path,
				   char text[SUBJECT_TEXT_SIZE])
{
	const struct kernel_event *event = abnormal->spec.kernel_event;
	const struct container_identity *known = event ? event->container : NULL;
	struct container container;

	if (known && known->pod && known->namespace && known->name) {
		snprintf(text, SUBJECT_TEXT_SIZE, "container %s of pod %s/%s", known->name,
			 known->namespace, known->pod);
		return text;
	}
	if (path && container_from_cgroup(path, &container) && container.id[0])
		snprintf(text, SUBJECT_TEXT_SIZE, "container %.12s%s%s%s%s%s", container.id,
			 *container.runtime ? " (" : "", container.runtime,
			 *container.runtime ? ")" : "", container.pod_uid[0] ? " of pod " : "",
			 container.pod_uid);
	else if (path && container.pod_uid[0])
		snprintf(text, SUBJECT_TEXT_SIZE, "pod %s", container.pod_uid);
	else
		snprintf(text, SUBJECT_TEXT_SIZE, "control group %s", path ? path : "(unknown)");
	return text;
}

bool subject_is_above_this(const struct host *host, int64_t pid)
{
	struct process process;
	int64_t own = getpid();

	for (unsigned steps = 0; own > 0 && steps < 128; steps++) {
		if (own == pid)
			return true;
		if (process_read(host, own, &process) < 0)
			return false;
		own = process.ppid;
	}
	return false;
}

int subject_report(struct plugin_call *call, const char *format, ...)
{
	_cleanup_free_ char *words = NULL;
	cJSON *context = plugin_context(call);
	va_list arguments;

	va_start(arguments, format);
	int length = vasprintf(&words, format, arguments);
	va_end(arguments);
	if (length < 0) {
		words = NULL; /* vasprintf leaves it undefined */
		return -ENOMEM;
	}
	if (!context || json_set_string(context, "message", words) < 0)
		return -ENOMEM;
	return string_set(&call->abnormal->status.message, words);
}
