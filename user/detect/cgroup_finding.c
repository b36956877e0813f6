/* SPDX-License-Identifier: Apache-2.0 */
/* What every fault of a control group tells of it; docs/detectors.md lists the members of `details`. */
#include "detect/cgroup.h"

#include "host/process.h"

#define PROCESSES_LOOKED_AT 256
#define FAMILIES_TOLD 8

int cgroup_set_seconds(cJSON *json, const char *name, uint64_t ns)
{
	return json_set_number(json, name, (double)(ns / NS_PER_MS) / 1000);
}

static cJSON *group_json(const struct cgroup_subject *subject)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (!json || json_set_string(json, "path", subject->path) < 0 ||
	    json_set_number(json, "id", (double)subject->id) < 0 ||
	    json_set_number(json, "version", subject->version == CGROUP_V1 ? 1 : 2) < 0 ||
	    json_set_string(json, "hierarchy", subject->hierarchy) < 0)
		return NULL;
	return TAKE_PTR(json);
}

cJSON *cgroup_event_json(const struct detector_run *run, const char *type,
			 const struct cgroup_subject *subject, cJSON **ret_details)
{
	_cleanup_json_ cJSON *event = event_json(run, type, clock_boot(run->clock), 0);
	cJSON *details = event ? cJSON_AddObjectToObject(event, "details") : NULL;

	if (!details || json_set_string(details, "fault", subject->fault) < 0 ||
	    cgroup_set_seconds(details, "thresholdSeconds", subject->threshold_ns) < 0 ||
	    json_set(details, "cgroup", group_json(subject)) < 0 ||
	    json_set(event, "container",
		     event_container_json_of_path(run->containers, subject->path, subject->id)) < 0)
		return NULL;
	cJSON_DeleteItemFromObjectCaseSensitive(event, "cpu");
	*ret_details = details;
	return TAKE_PTR(event);
}

/* --- Processes --- */

struct family {
	char comm[32];
	size_t count;
	int64_t threads;
};

static int compare_families(const void *a, const void *b)
{
	const struct family *left = a, *right = b;

	if (left->threads != right->threads)
		return left->threads > right->threads ? -1 : 1;
	return strcmp(left->comm, right->comm);
}

static size_t count_families(const struct host *host, const int64_t *pids, size_t count,
			     struct family *families)
{
	size_t family_count = 0;

	for (size_t i = 0; i < count; i++) {
		struct process process;
		size_t at = 0;

		if (process_read(host, pids[i], &process) < 0)
			continue;
		while (at < family_count && !streq(families[at].comm, process.comm))
			at++;
		if (at == family_count)
			snprintf(families[family_count++].comm, sizeof(families->comm), "%s",
				 process.comm);
		families[at].count++;
		families[at].threads += process.threads;
	}
	qsort(families, family_count, sizeof(*families), compare_families);
	return family_count;
}

cJSON *cgroup_processes_json(const struct host *host, const int64_t *pids, size_t count)
{
	size_t looked = MIN(count, (size_t)PROCESSES_LOOKED_AT);
	_cleanup_free_ struct family *families = calloc(looked + 1, sizeof(*families));
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	cJSON *list = json ? cJSON_AddArrayToObject(json, "families") : NULL;

	if (!families || !list || json_set_number(json, "processes", (double)count) < 0 ||
	    json_set_number(json, "looked", (double)looked) < 0)
		return NULL;
	size_t family_count = count_families(host, pids, looked, families);
	int64_t threads = 0;

	for (size_t i = 0; i < family_count; i++)
		threads += families[i].threads;
	if (json_set_number(json, "threads", (double)threads) < 0)
		return NULL;
	for (size_t i = 0; i < MIN(family_count, (size_t)FAMILIES_TOLD); i++) {
		_cleanup_json_ cJSON *item = cJSON_CreateObject();

		if (!item || json_set_string(item, "comm", families[i].comm) < 0 ||
		    json_set_number(item, "processes", (double)families[i].count) < 0 ||
		    json_set_number(item, "threads", (double)families[i].threads) < 0 ||
		    !cJSON_AddItemToArray(list, item))
			return NULL;
		item = NULL;
	}
	return TAKE_PTR(json);
}
