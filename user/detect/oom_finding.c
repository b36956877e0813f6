/* SPDX-License-Identifier: Apache-2.0 */
/* One kill as a finding: spec.kernelEvent with the details that docs/detectors.md lists. */
#include "detect/oom.h"

#include "base/file.h"

static int set_meminfo(cJSON *json, const char *name, const struct host *host, const char *key)
{
	uint64_t kilobytes;

	if (file_read_keyed_u64(host->proc, "meminfo", key, &kilobytes) < 0)
		return 0;
	return json_set_number(json, name, (double)kilobytes * 1024);
}

cJSON *oom_node_json(const struct host *host)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (!json || set_meminfo(json, "totalBytes", host, "MemTotal:") < 0 ||
	    set_meminfo(json, "freeBytes", host, "MemFree:") < 0 ||
	    set_meminfo(json, "availableBytes", host, "MemAvailable:") < 0)
		return NULL;
	return TAKE_PTR(json);
}

static int set_pages(cJSON *json, const char *name, int64_t pages, uint64_t page_bytes)
{
	/* The common part of a percpu_counter can be below zero for a moment. */
	return json_set_number(json, name, (double)MAX(pages, INT64_C(0)) * (double)page_bytes);
}

static cJSON *victim_json(const struct oom_event *event, uint64_t page_bytes)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (!json || set_pages(json, "anonBytes", event->rss_anon, page_bytes) < 0 ||
	    set_pages(json, "fileBytes", event->rss_file, page_bytes) < 0 ||
	    set_pages(json, "shmemBytes", event->rss_shmem, page_bytes) < 0 ||
	    set_pages(json, "swapBytes", event->rss_swap, page_bytes) < 0 ||
	    set_pages(json, "totalVmBytes",
		      (int64_t)MIN(event->total_vm, (uint64_t)INT64_MAX / page_bytes),
		      page_bytes) < 0 ||
	    json_set_number(json, "oomScoreAdj", event->oom_score_adj) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static cJSON *limit_json(const struct oom_event *event, const struct oom_judgement *judgement,
			 const char *path, uint64_t page_bytes)
{
	const struct oom_level *level = &event->levels[judgement->level];
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (!json || json_set_string(json, "path", path) < 0 ||
	    json_set_bool(json, "exact", judgement->exact) < 0)
		return NULL;
	/* The kernel says that some limit was hit, and all are gone by now. */
	if (!judgement->has_level)
		return TAKE_PTR(json);
	if (json_set_number(json, "id", (double)level->cgroup_id) < 0 ||
	    json_set_string(json, "counter", judgement->swap ? "memory+swap" : "memory") < 0 ||
	    set_pages(json, "limitBytes",
		      (int64_t)(judgement->swap ? level->swap_maximum : level->maximum),
		      page_bytes) < 0 ||
	    set_pages(json, "usageBytes",
		      (int64_t)(judgement->swap ? level->swap_usage : level->usage),
		      page_bytes) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static cJSON *trigger_json(const struct event_task *task)
{
	cJSON *json = event_task_json(task);

	cJSON_DeleteItemFromObjectCaseSensitive(json, "uid");
	cJSON_DeleteItemFromObjectCaseSensitive(json, "parent");
	return json;
}

static cJSON *details_json(const struct detector_run *run, const struct oom_event *event,
			   const struct oom_judgement *judgement, const char *limit_path)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);

	if (!json || json_set_string(json, "scope", judgement->cgroup ? "cgroup" : "node") < 0 ||
	    json_set_bool(json, "exact", judgement->exact) < 0 ||
	    json_set(json, "victim", victim_json(event, page_bytes)) < 0 ||
	    (judgement->cgroup &&
	     json_set(json, "limitCgroup", limit_json(event, judgement, limit_path, page_bytes)) <
		     0) ||
	    json_set(json, "node", oom_node_json(run->host)) < 0 ||
	    json_set(json, "trigger", trigger_json(&event->trigger)) < 0)
		return NULL;
	return TAKE_PTR(json);
}

int oom_finding(const struct detector_run *run, const struct oom_event *event,
		const struct oom_judgement *judgement, struct finding *ret_finding)
{
	char limit_path[EVENT_CGROUP_PATH_SIZE];
	_cleanup_free_ char *subject = NULL;
	_cleanup_json_ cJSON *json =
		event_json(run, "OOMKill", event->header.boot_ns, event->header.cpu);

	oom_level_path(&event->cgroup, judgement->level, limit_path, sizeof(limit_path));
	subject = strdup(judgement->cgroup ? limit_path : "node");
	if (!json || !subject || json_set(json, "process", event_task_json(&event->victim)) < 0 ||
	    json_set(json, "container", event_container_json(run->containers, &event->cgroup)) <
		    0 ||
	    json_set(json, "details", details_json(run, event, judgement, limit_path)) < 0)
		return -ENOMEM;
	*ret_finding = (struct finding){
		.detector = run->detector->name,
		.type = "OOMKill",
		.subject = TAKE_PTR(subject),
		.event = TAKE_PTR(json),
	};
	return 0;
}
