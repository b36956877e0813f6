/* SPDX-License-Identifier: Apache-2.0 */
/* What an Abnormal is about on this node. */
#include "plugin/subject.h"

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

/* What is known of the Abnormal's container: the event first, then collector `container`. */
struct known_container {
	const char *runtime, *id, *pod, *pod_uid, *namespace, *name, *cgroup_path;
	bool sandbox;
};

static const char *either(const char *told, const cJSON *found, const char *name)
{
	return told && *told ? told : json_string(found, name);
}

static struct known_container known_container_of(const struct abnormal *abnormal)
{
	static const struct container_identity nothing = {0};
	const struct kernel_event *event = abnormal->spec.kernel_event;
	const struct container_identity *told =
		event && event->container ? event->container : &nothing;
	const cJSON *found = json_at(abnormal->status.context, "container");

	return (struct known_container){
		.runtime = either(told->runtime, found, "runtime"),
		.id = either(told->id, found, "id"),
		.pod = either(told->pod, found, "pod"),
		.pod_uid = either(told->pod_uid, found, "podUid"),
		.namespace = either(told->namespace, found, "namespace"),
		.name = either(told->name, found, "name"),
		.cgroup_path = told->cgroup_path,
		.sandbox = told->sandbox || json_bool(found, "sandbox", false),
	};
}

/* PATH may be a group above it, of its pod or of all pods, which does not have its names. */
static bool is_group_of(const char *path, const struct container *container,
			const struct known_container *known)
{
	const char *rest = path && known->cgroup_path ? startswith(path, known->cgroup_path) : NULL;

	return !path || (rest && (*rest == '\0' || *rest == '/')) ||
	       (container->id[0] && streq_ptr(known->id, container->id));
}

/* An id of 64 digits is cut as the runtimes' own tools do; a name that somebody gave is not. */
static void write_id(const char *id, const char *runtime, const char *pod_uid,
		     char text[SUBJECT_TEXT_SIZE])
{
	bool runtime_known = runtime && *runtime, pod_known = pod_uid && *pod_uid;

	snprintf(text, SUBJECT_TEXT_SIZE, "container %.*s%s%s%s%s%s",
		 strlen(id) == 64 ? 12 : SUBJECT_TEXT_SIZE / 2, id, runtime_known ? " (" : "",
		 runtime_known ? runtime : "", runtime_known ? ")" : "",
		 pod_known ? " of pod " : "", pod_known ? pod_uid : "");
}

const char *subject_container_text(const struct abnormal *abnormal, const char *path,
				   char text[SUBJECT_TEXT_SIZE])
{
	const struct known_container known = known_container_of(abnormal);
	const char *namespace = known.namespace ? known.namespace : "?";
	struct container container = {.runtime = ""};

	if (path)
		container_from_cgroup(path, &container);
	bool named = is_group_of(path, &container, &known);

	if (named && known.pod && known.sandbox)
		snprintf(text, SUBJECT_TEXT_SIZE, "the sandbox of pod %s/%s", namespace, known.pod);
	else if (named && known.pod && known.name)
		snprintf(text, SUBJECT_TEXT_SIZE, "container %s of pod %s/%s", known.name,
			 namespace, known.pod);
	else if (named && known.name)
		write_id(known.name, known.runtime, NULL, text);
	else if (named && known.id && !container.id[0])
		write_id(known.id, known.runtime, known.pod_uid, text);
	else if (container.id[0])
		write_id(container.id, container.runtime, container.pod_uid, text);
	else if (container.pod_uid[0] && known.pod && streq_ptr(known.pod_uid, container.pod_uid))
		snprintf(text, SUBJECT_TEXT_SIZE, "pod %s/%s", namespace, known.pod);
	else if (container.pod_uid[0])
		snprintf(text, SUBJECT_TEXT_SIZE, "pod %s", container.pod_uid);
	else
		snprintf(text, SUBJECT_TEXT_SIZE, "control group %s", path ? path : "(unknown)");
	return text;
}

bool subject_is_above_this(const struct host *host, int64_t pid)
{
	struct process process;
	char self[24] = "";

	/* In the numbers of that /proc, which may be of another pid namespace than ours. */
	if (readlinkat(host->proc, "self", self, sizeof(self) - 1) < 0)
		return false;
	int64_t own = strtoll(self, NULL, 10);
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
