/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collector cgroup: all counters of the control groups that an Abnormal is about: the one whose
 * limit was hit, the container's, and the process's own. The summary has those of memory by one set
 * of names for v1 and v2; the artifact has everything as the kernel calls it.
 */
#include "plugin/subject.h"
#include "host/cgroup.h"

#define GROUPS_MAX 3

struct group {
	const char *role;
	char *path;
};

struct group_list {
	struct group items[GROUPS_MAX];
	size_t count;
};

static void group_list_clear(struct group_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i].path);
}

/* Takes PATH (NULL: nothing). */
static void add_group(struct group_list *list, const char *role, char *path)
{
	bool known = !path;

	for (size_t i = 0; i < list->count && !known; i++)
		known = streq(list->items[i].path, path);
	if (known || list->count == GROUPS_MAX)
		free(path);
	else
		list->items[list->count++] = (struct group){.role = role, .path = path};
}

static void find_groups(struct plugin_call *call, struct group_list *list)
{
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	const char *limit = json_string(json_at(plugin_details(call), "limitCgroup"), "path");
	struct process process;

	if (limit)
		add_group(list, "limit", strdup(limit));
	if (event && event->container && event->container->cgroup_path)
		add_group(list, "container", strdup(event->container->cgroup_path));
	if (subject_process_read(call, &process) == 0)
		add_group(list, "process", process_cgroup(call->host, process.pid));
}

/* A file's own number ("swap.current" is one name), or a key in a file ("stat.anon"). */
static const cJSON *find_counter(const cJSON *memory, const char *name)
{
	const cJSON *file = cJSON_GetObjectItemCaseSensitive(memory, name);

	return file ? file : json_at(memory, name);
}

/*
 * One of the two names under which a counter goes, v2's first; the v1 totals count groups below in.
 */
static double counter(const cJSON *memory, const char *v2, const char *v1, bool *ret_found)
{
	const cJSON *value = find_counter(memory, v2);

	if (!cJSON_IsNumber(value))
		value = find_counter(memory, v1);
	*ret_found = cJSON_IsNumber(value);
	return *ret_found ? value->valuedouble : 0;
}

static int add_memory(cJSON *summary, const cJSON *memory)
{
	static const struct {
		const char *name, *v2, *v1;
	} counters[] = {
		{"usageBytes", "current", "usage_in_bytes"},
		{"peakBytes", "peak", "max_usage_in_bytes"},
		{"oomKills", "events.oom_kill", "oom_control.oom_kill"},
		{"limitHits", "events.max", "failcnt"},
		{"anonBytes", "stat.anon", "stat.total_rss"},
		{"shmemBytes", "stat.shmem", "stat.total_shmem"},
		{"kernelBytes", "stat.kernel", "kmem.usage_in_bytes"},
		{"swapBytes", "swap.current", "stat.total_swap"},
	};
	bool found, has_shmem;

	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		double value = counter(memory, counters[i].v2, counters[i].v1, &found);

		if (found && json_set_number(summary, counters[i].name, value) < 0)
			return -ENOMEM;
	}
	/* The kernel counts tmpfs among files, but it can drop only the rest. */
	double file = counter(memory, "stat.file", "stat.total_cache", &found);
	double shmem = counter(memory, "stat.shmem", "stat.total_shmem", &has_shmem);
	if (found && has_shmem &&
	    json_set_number(summary, "pageCacheBytes", MAX(file - shmem, 0)) < 0)
		return -ENOMEM;
	return 0;
}

static int add_summary(const struct host *host, const struct group *group, const cJSON *counters,
		       cJSON *list)
{
	_cleanup_json_ cJSON *summary = cJSON_CreateObject();
	_cleanup_free_ int64_t *pids = NULL;
	struct cgroup_memory memory;
	size_t count;

	if (!summary || json_set_string(summary, "path", group->path) < 0 ||
	    json_set_string(summary, "role", group->role) < 0)
		return -ENOMEM;
	const cJSON *memory_counters = json_at(counters, "memory");
	if (!counters->child && json_set_bool(summary, "gone", true) < 0)
		return -ENOMEM;
	if (memory_counters && add_memory(summary, memory_counters) < 0)
		return -ENOMEM;
	if (cgroup_memory_read(host, group->path, &memory) == 0 &&
	    memory.limit_bytes != UINT64_MAX &&
	    json_set_number(summary, "limitBytes", (double)memory.limit_bytes) < 0)
		return -ENOMEM;
	if (cgroup_processes(host, "memory", group->path, &pids, &count) == 0 &&
	    json_set_number(summary, "processes", (double)count) < 0)
		return -ENOMEM;
	const cJSON *pressure = json_at(counters, "pressure");
	if (pressure && json_set(summary, "pressure", cJSON_Duplicate(pressure, true)) < 0)
		return -ENOMEM;
	cJSON_AddItemToArray(list, TAKE_PTR(summary));
	return 0;
}

static int collect(struct plugin_call *call)
{
	_cleanup_(group_list_clear) struct group_list groups = {0};
	_cleanup_json_ cJSON *answer = cJSON_CreateObject(), *all = cJSON_CreateObject();
	_cleanup_free_ char *text = NULL;
	cJSON *list = cJSON_CreateArray();

	if (!all || json_set(answer, "groups", list) < 0)
		return -ENOMEM;
	find_groups(call, &groups);
	if (groups.count == 0)
		return plugin_fail(
			PLUGIN_NOT_MINE,
			"the Abnormal names no control group, and its process has ended");
	for (size_t i = 0; i < groups.count; i++) {
		cJSON *counters = cgroup_counters(call->host, groups.items[i].path);

		if (!counters)
			return plugin_fail(-EIO, "cannot read the control groups of %s",
					   groups.items[i].path);
		if (json_set(all, groups.items[i].path, counters) < 0 ||
		    add_summary(call->host, &groups.items[i], counters, list) < 0)
			return -ENOMEM;
	}
	text = json_print_pretty(all);
	if (!text)
		return -ENOMEM;
	int r = plugin_artifact(call, "cgroup.json", text, strlen(text));
	if (r < 0 && r != -ENOENT)
		return plugin_fail(r, "cannot keep cgroup.json: %s", strerror(-r));
	return plugin_answer(call, TAKE_PTR(answer));
}

static const char *const detectors[] = {"hung_task", "oom", NULL};

PLUGIN(cgroup_collector) = {
	.name = "cgroup",
	.summary = "all counters of the control group: memory, processes, processor, disk",
	.kind = PLUGIN_COLLECTOR,
	.order = 40,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.detectors = detectors,
	.troubleshooting = true,
	.collect = collect,
};
