/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collector kernel-stacks: where in the kernel the waiting tasks are, or all threads of the process
 * when no waiters are named, and the owner of the lock that they wait for. Tasks with the same
 * stack are one group, largest first.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>

#include "base/buffer.h"
#include "base/file.h"
#include "plugin/subject.h"

#define TASKS_MAX 1024
#define STACK_BYTES_MAX (16 * KIB)
#define ARTIFACT_BYTES_MAX (512 * KIB)
#define GROUPS_SHOWN 8
#define FRAMES_SHOWN 24
#define TASKS_SHOWN 16

struct task {
	int64_t pid;
	struct process process;
	char *stack; /* as /proc shows it; "" when it cannot be read */
	bool lock_owner;
};

struct tasks {
	struct task items[TASKS_MAX];
	size_t count;
	size_t cut; /* over TASKS_MAX */
	int error; /* the first of reading a stack */
};

static void tasks_free(struct tasks **tasks)
{
	for (size_t i = 0; *tasks && i < (*tasks)->count; i++)
		free((*tasks)->items[i].stack);
	free(*tasks);
}

/* START_TIME 0: whoever has the pid. */
static int add_task(const struct host *host, struct tasks *tasks, int64_t pid, uint64_t start_time,
		    bool lock_owner)
{
	struct task *task = &tasks->items[tasks->count];
	char path[64];

	for (size_t i = 0; i < tasks->count; i++)
		if (tasks->items[i].pid == pid)
			return 0;
	if (tasks->count == TASKS_MAX) {
		tasks->cut++;
		return 0;
	}
	int r = start_time ? process_read_same(host, pid, start_time, &task->process)
			   : process_read(host, pid, &task->process);
	if (r < 0)
		return r == -ESRCH ? 0 : r; /* it has ended */
	snprintf(path, sizeof(path), "%" PRId64 "/stack", pid);
	r = file_read(host->proc, path, STACK_BYTES_MAX, &task->stack, NULL);
	if (r < 0) {
		if (!tasks->error)
			tasks->error = r;
		task->stack = strdup("");
		if (!task->stack)
			return -ENOMEM;
	}
	task->pid = pid;
	task->lock_owner = lock_owner;
	tasks->count++;
	return 0;
}

static void directory_closep(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

static int add_threads(const struct host *host, struct tasks *tasks, int64_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "%" PRId64 "/task", pid);
	int fd = openat(host->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(directory_closep) DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	if (!directory)
		return add_task(host, tasks, pid, 0, false);
	for (struct dirent *entry; (entry = readdir(directory));) {
		int64_t tid = strtoll(entry->d_name, NULL, 10);
		int r = tid > 0 ? add_task(host, tasks, tid, 0, false) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

static int gather(struct plugin_call *call, struct tasks *tasks)
{
	struct subject_thread waiters[SUBJECT_WAITERS_MAX];
	const cJSON *owner = json_at(plugin_details(call), "lock.owner");
	size_t count = subject_waiters(call, waiters);
	struct process process;
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++)
		r = add_task(call->host, tasks, waiters[i].pid, waiters[i].start_time, false);
	if (r == 0 && owner)
		r = add_task(call->host, tasks, (int64_t)json_u64(owner, "pid"),
			     json_u64(owner, "startTime"), true);
	if (r == 0 && count == 0 && subject_process_read(call, &process) == 0)
		r = add_threads(call->host, tasks, process.pid);
	return r;
}

/* "[<0>] percpu_rwsem_wait+0x11d/0x140" without what changes from boot to boot. */
static cJSON *frames_json(const char *stack)
{
	_cleanup_json_ cJSON *frames = cJSON_CreateArray();

	for (const char *line = stack;
	     frames && *line && cJSON_GetArraySize(frames) < FRAMES_SHOWN;) {
		size_t length = strcspn(line, "\n");
		const char *name = memchr(line, ']', length);
		char frame[256];

		name = name && name[1] == ' ' ? name + 2 : line;
		snprintf(frame, sizeof(frame), "%.*s", (int)(line + length - name), name);
		cJSON *item = cJSON_CreateString(frame);
		if (!item)
			return NULL;
		cJSON_AddItemToArray(frames, item);
		line += length + (line[length] == '\n');
	}
	return TAKE_PTR(frames);
}

struct group {
	const char *stack;
	size_t count;
};

static int compare_groups(const void *a, const void *b)
{
	const struct group *left = a, *right = b;

	return (left->count < right->count) - (left->count > right->count);
}

static int write_group(const struct tasks *tasks, const struct group *group, struct buffer *out,
		       cJSON *list, bool shown)
{
	cJSON *json = cJSON_CreateObject(), *members = cJSON_CreateArray();

	if (!json || !members) {
		cJSON_Delete(json);
		cJSON_Delete(members);
		return -ENOMEM;
	}
	int r = json_set(json, "tasks", members);
	buffer_printf(out, "%zu task%s:\n", group->count, group->count == 1 ? "" : "s");
	for (size_t i = 0; r == 0 && i < tasks->count; i++) {
		const struct task *task = &tasks->items[i];

		if (!streq(task->stack, group->stack))
			continue;
		buffer_printf(out, "  %" PRId64 " (%s) state %c%s\n", task->pid, task->process.comm,
			      task->process.state, task->lock_owner ? ", owner of the lock" : "");
		if (cJSON_GetArraySize(members) >= TASKS_SHOWN)
			continue;
		cJSON *member = process_json(&task->process);
		if (!member || (task->lock_owner && json_set_bool(member, "lockOwner", true) < 0)) {
			cJSON_Delete(member);
			r = -ENOMEM;
			continue;
		}
		cJSON_AddItemToArray(members, member);
	}
	buffer_printf(out, "%s\n", *group->stack ? group->stack : "(the stack cannot be read)\n");
	if (r == 0)
		r = json_set_number(json, "count", (double)group->count);
	if (r == 0)
		r = json_set(json, "frames", frames_json(group->stack));
	if (r == 0 && shown)
		cJSON_AddItemToArray(list, json);
	else
		cJSON_Delete(json);
	return r;
}

static int collect(struct plugin_call *call)
{
	_cleanup_(tasks_free) struct tasks *tasks = calloc(1, sizeof(*tasks));
	_cleanup_free_ struct group *groups = calloc(TASKS_MAX, sizeof(*groups));
	_cleanup_buffer_ struct buffer text = BUFFER(ARTIFACT_BYTES_MAX);
	_cleanup_json_ cJSON *answer = cJSON_CreateObject();
	size_t group_count = 0;

	if (!tasks || !groups || !answer)
		return -ENOMEM;
	int r = gather(call, tasks);
	if (r < 0)
		return r;
	if (tasks->count == 0)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "none of the tasks that the Abnormal names is left");
	for (size_t i = 0; i < tasks->count; i++) {
		size_t g = 0;

		while (g < group_count && !streq(groups[g].stack, tasks->items[i].stack))
			g++;
		if (g == group_count)
			groups[group_count++].stack = tasks->items[i].stack;
		groups[g].count++;
	}
	qsort(groups, group_count, sizeof(*groups), compare_groups);
	cJSON *list = cJSON_CreateArray();
	if (json_set(answer, "stacks", list) < 0 ||
	    json_set_number(answer, "tasks", (double)tasks->count) < 0 ||
	    json_set_number(answer, "distinct", (double)group_count) < 0 ||
	    (tasks->cut && json_set_number(answer, "tasksCut", (double)tasks->cut) < 0) ||
	    (tasks->error && json_set_string(answer, "unreadable", strerror(-tasks->error)) < 0))
		return -ENOMEM;
	for (size_t g = 0; g < group_count; g++) {
		r = write_group(tasks, &groups[g], &text, list, g < GROUPS_SHOWN);
		if (r < 0)
			return r;
	}
	if (text.cut && json_set_number(answer, "bytesCut", (double)text.cut) < 0)
		return -ENOMEM;
	r = plugin_artifact(call, "kernel-stacks.txt", buffer_text(&text), text.length);
	if (r < 0 && r != -ENOENT)
		return plugin_fail(r, "cannot keep kernel-stacks.txt: %s", strerror(-r));
	return plugin_answer(call, TAKE_PTR(answer));
}

static const char *const detectors[] = {"hung_task", NULL};

PLUGIN(kernel_stacks_collector) = {
	.name = "kernel-stacks",
	.summary = "kernel stacks of the waiting tasks and of the owner of their lock, grouped",
	.kind = PLUGIN_COLLECTOR,
	.order = 20,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.detectors = detectors,
	.troubleshooting = true,
	.collect = collect,
};
