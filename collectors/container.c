/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collector container: what the container that an Abnormal is about is called: pod, namespace, name,
 * image. The event has what the agent knew without waiting for a disk; here Docker's and Podman's own
 * files are read too, and a Custom Abnormal, which names a container by its id alone, gets the rest.
 */
#include "plugin/subject.h"
#include "host/container_names.h"

/* spec.context.container: "ID" or {id}. */
static const char *id_in_context(const struct abnormal *abnormal)
{
	const cJSON *container = json_at(abnormal->spec.context, "container");

	return cJSON_IsString(container) ? container->valuestring : json_string(container, "id");
}

static int find_by_id(const struct plugin_call *call, const char *id,
		      struct container_names *ret_names)
{
	int r = container_names_find(call->host, id, true, ret_names);

	if (r == -ENOTUNIQ)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "several containers on this node have the id %s", id);
	if (r == -ENOENT)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "no runtime on this node knows container %s (any more)", id);
	return r < 0 ? plugin_fail(r, "cannot look for container %s: %s", id, strerror(-r)) : 0;
}

static int answer(struct plugin_call *call, const struct container_names *names)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (!json || container_names_put(json, names) < 0)
		return -ENOMEM;
	return plugin_answer(call, TAKE_PTR(json));
}

/* A path that does not tell the id itself: plain `ctr`, or a parent group of somebody's own. */
static int collect_of_group(struct plugin_call *call, const char *path)
{
	_cleanup_(container_registry_freep) struct container_registry *registry = NULL;
	int r = container_registry_new(call->host, &registry);

	if (r == 0)
		r = container_registry_refresh(registry);
	if (r < 0)
		return plugin_fail(r, "cannot list the containers: %s", strerror(-r));
	const struct container_names *names = container_registry_of_cgroup(registry, path);
	if (!names)
		return plugin_fail(PLUGIN_NOT_MINE, "%s is no container's control group", path);
	return answer(call, names);
}

static int collect(struct plugin_call *call)
{
	_cleanup_container_names_ struct container_names names = {0};
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	const struct container_identity *told = event ? event->container : NULL;
	const char *id = told && told->id ? told->id : id_in_context(call->abnormal);
	_cleanup_free_ char *path = NULL;
	struct container container;
	struct process process;

	if (told && told->cgroup_path && container_from_cgroup(told->cgroup_path, &container) &&
	    container.rootless)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "%s is a user's own (rootless): only root's runtimes are asked",
				   told->cgroup_path);
	if (!id && told && told->cgroup_path)
		path = strdup(told->cgroup_path);
	else if (!id && subject_process_read(call, &process) == 0)
		path = process_cgroup(call->host, process.pid);
	if (!id && !path)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "it names no container (spec.context.container.id)");
	if (!id && container_from_cgroup(path, &container) && container.id[0])
		id = container.id;
	if (!id)
		return collect_of_group(call, path);
	int r = find_by_id(call, id, &names);
	return r == 0 ? answer(call, &names) : r;
}

static bool wants(const struct abnormal *abnormal)
{
	const struct kernel_event *event = abnormal->spec.kernel_event;
	const struct container_identity *told = event ? event->container : NULL;
	struct subject_thread process;

	return (told && (told->id || told->cgroup_path)) || id_in_context(abnormal) ||
	       subject_process(abnormal, &process);
}

PLUGIN(container_collector) = {
	.name = "container",
	.summary = "what the container is called: pod, namespace, name, image",
	.kind = PLUGIN_COLLECTOR,
	.order = 15,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT) | FOR_SOURCE(SOURCE_CUSTOM),
	.wants = wants,
	.troubleshooting = true,
	.collect = collect,
};
