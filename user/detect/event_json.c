/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the kernel's records to spec.kernelEvent. Nothing that a record holds is trusted to be text:
 * a process may call itself anything.
 */
#include "detect/detector.h"

#include "base/plain.h"
#include "host/container.h"

int event_check(const void *record, size_t length, size_t size_min)
{
	struct event_header header;

	if (length < sizeof(header))
		return -EBADMSG;
	memcpy(&header, record, sizeof(header));
	if (header.version != EVENTS_VERSION)
		return -EPROTO;
	/* LENGTH may be more than one record: an iterator gives several with one read. */
	if (header.size > length || header.size < sizeof(header) || header.size < size_min)
		return -EBADMSG;
	return 0;
}

uint64_t event_start_time(uint64_t start_boot_ns)
{
	return start_boot_ns / (NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK));
}

char *event_text(const char *text, size_t size)
{
	size_t length = strnlen(text, size);
	char *clean = malloc(length + 1);

	if (clean)
		plain_copy(clean, text, length);
	return clean;
}

static int set_text(cJSON *json, const char *name, const char *text, size_t size)
{
	_cleanup_free_ char *clean = event_text(text, size);

	return clean ? json_set_string(json, name, clean) : -ENOMEM;
}

cJSON *event_task_json(const struct event_task *task)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject(), *parent = cJSON_CreateObject();

	if (!json || !parent)
		return NULL;
	if (json_set_number(json, "pid", task->pid) < 0 ||
	    json_set_number(json, "tgid", task->tgid) < 0 ||
	    json_set_number(json, "startTime", (double)event_start_time(task->start_boot_ns)) < 0 ||
	    set_text(json, "comm", task->comm, sizeof(task->comm)) < 0 ||
	    json_set_number(json, "uid", task->uid) < 0)
		return NULL;
	if (task->parent_tgid == 0)
		return TAKE_PTR(json);
	if (json_set_number(parent, "pid", task->parent_tgid) < 0 ||
	    json_set_number(parent, "tgid", task->parent_tgid) < 0 ||
	    set_text(parent, "comm", task->parent_comm, sizeof(task->parent_comm)) < 0 ||
	    json_set(json, "parent", TAKE_PTR(parent)) < 0)
		return NULL;
	return TAKE_PTR(json);
}

const char *event_cgroup_path(const struct event_cgroup *cgroup, char *path, size_t size)
{
	size_t length = 0, levels = MIN(cgroup->levels, (unsigned)EVENT_CGROUP_LEVELS);
	/* All levels used and more above: where the path starts is not known. */
	bool rootless = cgroup->truncated && levels == EVENT_CGROUP_LEVELS;

	snprintf(path, size, "%s", rootless ? "/..." : levels == 0 ? "/" : "");
	length = strlen(path);
	for (size_t i = levels; i-- > 0 && length + 1 < size;) {
		_cleanup_free_ char *name = event_text(cgroup->names[i], EVENT_CGROUP_NAME_SIZE);

		length += (size_t)snprintf(path + length, size - length, "/%s", name ? name : "?");
	}
	return path;
}

/* What the path alone tells. */
static int set_container(cJSON *json, const struct container *container)
{
	if (*container->runtime && json_set_string(json, "runtime", container->runtime) < 0)
		return -ENOMEM;
	if (container->id[0] && json_set_string(json, "id", container->id) < 0)
		return -ENOMEM;
	if (container->pod_uid[0] && json_set_string(json, "podUid", container->pod_uid) < 0)
		return -ENOMEM;
	return 0;
}

static const struct container_names *find_names(struct container_registry *containers,
						const char *path, const struct container *container)
{
	/* The node's containers are root's: no user's group is one of them, whatever it is called. */
	if (!containers || container->rootless)
		return NULL;
	return container->id[0] ? container_registry_get(containers, container->id)
				: container_registry_of_cgroup(containers, path);
}

cJSON *event_container_json_of_path(struct container_registry *containers, const char *path,
				    uint64_t cgroup_id)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	struct container container;

	if (!json)
		return NULL;
	container_from_cgroup(path, &container);
	const struct container_names *names = find_names(containers, path, &container);
	/* What the runtime wrote itself replaces what the path lets suppose. */
	if (set_container(json, &container) < 0 || (names && container_names_put(json, names) < 0))
		return NULL;
	if (json_set_string(json, "cgroupPath", path) < 0)
		return NULL;
	/* An id that no Abnormal can hold would have the whole finding refused. */
	if (cgroup_id <= (uint64_t)JSON_WHOLE_MAX &&
	    json_set_number(json, "cgroupId", (double)cgroup_id) < 0)
		return NULL;
	return TAKE_PTR(json);
}

cJSON *event_container_json(struct container_registry *containers,
			    const struct event_cgroup *cgroup)
{
	char path[EVENT_CGROUP_PATH_SIZE];

	return event_container_json_of_path(
		containers, event_cgroup_path(cgroup, path, sizeof(path)), cgroup->id);
}

cJSON *event_json(const struct detector_run *run, const char *type, uint64_t boot_ns, uint32_t cpu)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (!json || json_set_string(json, "detector", run->detector->name) < 0 ||
	    json_set_string(json, "type", type) < 0 ||
	    json_set_time(json, "time", clock_realtime_of_boot(run->clock, boot_ns)) < 0 ||
	    json_set_number(json, "cpu", cpu) < 0 || json_set_number(json, "count", 1) < 0)
		return NULL;
	return TAKE_PTR(json);
}

void finding_clear(struct finding *finding)
{
	free(finding->subject);
	cJSON_Delete(finding->event);
	*finding = (struct finding){};
}
