/* SPDX-License-Identifier: Apache-2.0 */
/* A stall as a finding: spec.kernelEvent with the details that docs/detectors.md lists. */
#include "detect/memory_stall.h"

#include "base/plain.h"

static int set_seconds(cJSON *json, const char *name, uint64_t ns)
{
	return json_set_number(json, name, (double)(ns / NS_PER_MS) / 1000);
}

static int set_percent(cJSON *json, const char *name, double percent)
{
	return percent < 0 ? 0 : json_set_number(json, name, (double)(uint64_t)(percent * 10) / 10);
}

static int set_text(cJSON *json, const char *name, const char *text, size_t size)
{
	_cleanup_free_ char *clean = event_text(text, size);

	return clean ? json_set_string(json, name, clean) : -ENOMEM;
}

static cJSON *group_json(const struct stall_limit *limit)
{
	const struct limit_counters *counters = stall_limit_last(limit);
	bool v1 = counters->version == CGROUP_V1;
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (!json || set_text(json, "path", limit->path, strlen(limit->path)) < 0 ||
	    json_set_number(json, "id", (double)counters->id) < 0 ||
	    json_set_number(json, "version", v1 ? 1 : 2) < 0 ||
	    json_set_string(json, "hierarchy", v1 ? "memory" : "unified") < 0)
		return NULL;
	return TAKE_PTR(json);
}

/* Which of its limits it is at: above high the group is slowed down, at max it is stopped. */
static bool is_high(const struct limit_counters *counters)
{
	return counters->high_bytes < counters->limit_bytes;
}

static int set_limit(cJSON *details, const struct stall_limit *limit)
{
	const struct limit_counters *first = stall_limit_first(limit),
				    *last = stall_limit_last(limit);
	bool high = is_high(last);
	uint64_t hits = high ? last->high_hits - MIN(last->high_hits, first->high_hits)
			     : last->limit_hits - MIN(last->limit_hits, first->limit_hits);

	if (json_set_string(details, "limit",
			    last->version == CGROUP_V1 ? "memory.limit_in_bytes"
			    : high		       ? "memory.high"
						       : "memory.max") < 0 ||
	    json_set_number(details, "limitBytes",
			    (double)(high ? last->high_bytes : last->limit_bytes)) < 0 ||
	    json_set_number(details, "usageBytes", (double)last->usage_bytes) < 0)
		return -ENOMEM;
	return json_set_number(details, "limitHits", (double)hits);
}

static cJSON *memory_json(const struct limit_counters *counters)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (!json || json_set_number(json, "anonBytes", (double)counters->anon_bytes) < 0 ||
	    json_set_number(json, "fileBytes", (double)counters->file_bytes) < 0 ||
	    json_set_number(json, "shmemBytes", (double)counters->shmem_bytes) < 0 ||
	    json_set_number(json, "kernelBytes", (double)counters->kernel_bytes) < 0 ||
	    json_set_number(json, "dirtyBytes", (double)counters->dirty_bytes) < 0 ||
	    json_set_number(json, "writebackBytes", (double)counters->writeback_bytes) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static int set_refaults(cJSON *details, const struct stall_limit *limit, double returned_percent)
{
	const struct limit_counters *first = stall_limit_first(limit),
				    *last = stall_limit_last(limit);
	double page_bytes = (double)sysconf(_SC_PAGESIZE);
	cJSON *json;

	if (json_set_number(details, "majorFaults",
			    (double)(last->major_faults -
				     MIN(last->major_faults, first->major_faults))) < 0)
		return -ENOMEM;
	if (!last->refaults_known)
		return 0;
	json = cJSON_AddObjectToObject(details, "refaults");
	if (!json ||
	    json_set_number(
		    json, "fileBytes",
		    (double)(last->file_refaults - MIN(last->file_refaults, first->file_refaults)) *
			    page_bytes) < 0 ||
	    json_set_number(
		    json, "anonBytes",
		    (double)(last->anon_refaults - MIN(last->anon_refaults, first->anon_refaults)) *
			    page_bytes) < 0)
		return -ENOMEM;
	return set_percent(json, "returnedPercent", returned_percent);
}

static int set_pressure(cJSON *details, const struct stall_subject *subject)
{
	const struct limit_counters *first = stall_limit_first(subject->limit),
				    *last = stall_limit_last(subject->limit);
	cJSON *json;

	if (!last->pressure_known || !first->pressure_known)
		return 0;
	json = cJSON_AddObjectToObject(details, "pressure");
	if (!json ||
	    set_seconds(json, "someSeconds", last->some_ns - MIN(last->some_ns, first->some_ns)) <
		    0 ||
	    set_seconds(json, "fullSeconds", last->full_ns - MIN(last->full_ns, first->full_ns)) <
		    0)
		return -ENOMEM;
	return set_percent(json, "fullPercent", subject->judgement.full_percent);
}

static cJSON *identity_json(const struct stall_task *task)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (!json || json_set_number(json, "pid", task->pid) < 0 ||
	    json_set_number(json, "tgid", task->seen.tgid) < 0 ||
	    json_set_number(json, "startTime", (double)event_start_time(task->seen.start_boot_ns)) <
		    0 ||
	    set_text(json, "comm", task->seen.comm, sizeof(task->seen.comm)) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static int add_task(cJSON *list, const struct stall_subject *subject, const struct stall_task *task)
{
	_cleanup_json_ cJSON *json = identity_json(task);
	uint64_t since_ns = task->seen.since_ns;

	if (!json || set_seconds(json, "reclaimSeconds", stall_share_ns(&task->share)) < 0 ||
	    (since_ns && set_seconds(json, "inReclaimSeconds",
				     subject->boot_ns - MIN(subject->boot_ns, since_ns)) < 0) ||
	    !cJSON_AddItemToArray(list, json))
		return -ENOMEM;
	json = NULL;
	return 0;
}

static int set_tasks(cJSON *details, const struct stall_subject *subject)
{
	cJSON *list;

	if (!subject->count)
		return 0;
	list = cJSON_AddArrayToObject(details, "tasks");
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < MIN(subject->count, (size_t)STALL_TASKS_TOLD); i++)
		if (add_task(list, subject, subject->tasks[i]) < 0)
			return -ENOMEM;
	return 0;
}

static int set_stall(cJSON *details, const struct stall_subject *subject)
{
	const struct stall_judgement *judgement = &subject->judgement;

	/* On the rung that has pressure alone nothing is known of single reclaims. */
	if (subject->work->reclaim_ns &&
	    (json_set_number(details, "reclaims", (double)subject->work->reclaims) < 0 ||
	     set_seconds(details, "reclaimSeconds", subject->work->reclaim_ns) < 0 ||
	     set_percent(details, "reclaimPercent", judgement->reclaim_percent) < 0))
		return -ENOMEM;
	if (set_percent(details, "stallPercent",
			MAX(judgement->reclaim_percent, judgement->full_percent)) < 0 ||
	    set_pressure(details, subject) < 0 ||
	    set_refaults(details, subject->limit, judgement->returned_percent) < 0)
		return -ENOMEM;
	return set_tasks(details, subject);
}

static cJSON *details_json(const struct stall_subject *subject, bool cleared)
{
	const struct stall_limit *limit = subject->limit;
	_cleanup_json_ cJSON *details = cJSON_CreateObject();

	if (!details || set_seconds(details, "thresholdSeconds", subject->threshold_ns) < 0 ||
	    json_set(details, "cgroup", group_json(limit)) < 0)
		return NULL;
	if (!cleared && (set_limit(details, limit) < 0 || set_stall(details, subject) < 0 ||
			 json_set(details, "memory", memory_json(stall_limit_last(limit))) < 0))
		return NULL;
	return TAKE_PTR(details);
}

int stall_finding(const struct detector_run *run, const struct stall_subject *subject, bool cleared,
		  struct finding *ret_finding)
{
	const char *type = cleared ? "Cleared" : "MemoryStall", *path = subject->limit->path;
	_cleanup_json_ cJSON *event = event_json(run, type, subject->boot_ns, 0);
	char *text = NULL;

	if (!event || asprintf(&text, "memory limit of control group %s", path) < 0)
		return -ENOMEM;
	_cleanup_free_ char *name = text;

	plain_copy(name, name, strlen(name));
	cJSON_DeleteItemFromObjectCaseSensitive(event, "cpu");
	if (json_set(event, "container",
		     event_container_json_of_path(run->containers, path,
						  stall_limit_last(subject->limit)->id)) < 0 ||
	    (!cleared && subject->count &&
	     json_set(event, "process", identity_json(subject->tasks[0])) < 0) ||
	    json_set(event, "details", details_json(subject, cleared)) < 0)
		return -ENOMEM;
	*ret_finding = (struct finding){
		.detector = run->detector->name,
		.type = type,
		.cleared = cleared,
		.subject = TAKE_PTR(name),
		.event = TAKE_PTR(event),
	};
	return 0;
}
