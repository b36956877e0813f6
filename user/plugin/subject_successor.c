/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the program of a process that has ended runs again. */
#include "plugin/subject_successor.h"

#include "host/process.h"

uint64_t event_boot_ns(const struct plugin_call *call)
{
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	int64_t age = event->time == TIME_ABSENT ? 0 : clock_realtime(call->clock) - event->time;
	uint64_t now = clock_boot(call->clock);

	return age > 0 && (uint64_t)age < now ? now - (uint64_t)age : now;
}

void predecessor_read(const struct plugin_call *call, const char *path,
		      struct predecessor *ret_predecessor)
{
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	struct predecessor *predecessor = ret_predecessor;

	*predecessor = (struct predecessor){
		.comm = event->process ? event->process->comm : NULL,
		.exe = event->process ? event->process->exe : NULL,
		.path = event->container ? event->container->cgroup_path : NULL,
		.ended_ticks = event_boot_ns(call) / (NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK)),
	};
	if (!predecessor->path)
		predecessor->path = path;
	predecessor->in_container =
		predecessor->path &&
		container_from_cgroup(predecessor->path, &predecessor->container) &&
		predecessor->container.id[0];
}

static size_t parent_length(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) : 0;
}

static bool is_same_place(const struct predecessor *predecessor, const char *path)
{
	struct container container;
	size_t length = predecessor->path ? strlen(predecessor->path) : 0;

	if (!predecessor->path)
		return true;
	if (strncmp(path, predecessor->path, length) == 0 && (!path[length] || path[length] == '/'))
		return true;
	if (!predecessor->in_container || !container_from_cgroup(path, &container) ||
	    !container.id[0])
		return false;
	if (predecessor->container.pod_uid[0])
		return streq(predecessor->container.pod_uid, container.pod_uid);
	return parent_length(path) == parent_length(predecessor->path) &&
	       strncmp(path, predecessor->path, parent_length(path)) == 0;
}

int64_t successor_find(const struct plugin_call *call, const struct predecessor *predecessor)
{
	_cleanup_free_ struct process *processes = NULL;
	size_t count;

	if (!predecessor->comm || process_list(call->host, &processes, &count) < 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		const struct process *process = &processes[i];
		_cleanup_free_ char *path = NULL, *exe = NULL;

		if (process->start_time <= predecessor->ended_ticks || process->state == 'Z')
			continue;
		if (predecessor->exe)
			exe = process_exe(call->host, process->pid);
		if (!streq(process->comm, predecessor->comm) &&
		    !(exe && streq(exe, predecessor->exe)))
			continue;
		path = process_cgroup(call->host, process->pid);
		if (path && is_same_place(predecessor, path))
			return process->pid;
	}
	return 0;
}
