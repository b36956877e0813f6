/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which paths there are, and what tells about the agent itself. docs/operations.md is the same
 * table for a person.
 */
#include <errno.h>
#include <unistd.h>

#include "api/routes_abnormals.h"
#include "base/json.h"
#include "sources/source.h"

/* Answers with a List whose items are ITEMS (taken; NULL: out of memory). */
static void answer_list(struct request *request, cJSON *items)
{
	_cleanup_json_ cJSON *list = cJSON_CreateObject();

	if (!items || !list || json_set_string(list, "kind", "List") < 0 ||
	    json_set_string(list, "apiVersion", "v1") < 0) {
		cJSON_Delete(items);
		request_answer_json(request, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL);
		return;
	}
	int r = json_set(list, "items", items);
	request_answer_json(request, MHD_HTTP_OK, r < 0 ? NULL : TAKE_PTR(list));
}

/* --- What there is --- */

static void collectors_list(struct request *request)
{
	answer_list(request, registry_list(request->api->options.registry, PLUGIN_COLLECTOR));
}

static void diagnosers_list(struct request *request)
{
	answer_list(request, registry_list(request->api->options.registry, PLUGIN_DIAGNOSER));
}

static void recoverers_list(struct request *request)
{
	answer_list(request, registry_list(request->api->options.registry, PLUGIN_RECOVERER));
}

static void detectors_list(struct request *request)
{
	answer_list(request,
		    detect_status(request->api->options.detect, request->api->options.host));
}

static void sources_answer(struct request *request)
{
	answer_list(request, sources_list());
}

static cJSON *status_store(const struct store *store)
{
	const struct store_counts *counts = store_counts(store);
	const char *reason = "";
	enum store_medium medium = store_medium(store, &reason);
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (!json || json_set_string(json, "medium", store_medium_names[medium]) < 0 ||
	    json_set_string(json, "reason", reason ? reason : "") < 0 ||
	    json_set_number(json, "abnormals", (double)counts->abnormals) < 0 ||
	    json_set_number(json, "bytes", (double)counts->bytes) < 0 ||
	    json_set_number(json, "pending", (double)counts->pending) < 0 ||
	    json_set_number(json, "writeErrors", (double)counts->write_errors) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static cJSON *status_pipeline(const struct pipeline_counts *counts)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	const struct {
		const char *name;
		uint64_t value;
	} members[] = {
		{"live", counts->live},
		{"waiting", counts->waiting},
		{"created", counts->created},
		{"folded", counts->folded},
		{"inCooldown", counts->in_cooldown},
		{"refused", counts->refused},
		{"succeeded", counts->succeeded},
		{"failed", counts->failed},
		{"actionsDone", counts->actions_done},
		{"actionsFailed", counts->actions_failed},
		{"actionsRefused", counts->actions_refused},
		{"actionsDryRun", counts->actions_dry_run},
		{"transitions", counts->transitions},
	};

	if (!json)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (json_set_number(json, members[i].name, (double)members[i].value) < 0)
			return NULL;
	return TAKE_PTR(json);
}

static cJSON *status_process(const struct api *api)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	struct metrics_process process;

	metrics_process_read(&process, api->start_realtime_ns);
	if (!json || json_set_number(json, "pid", getpid()) < 0 ||
	    json_set_time(json, "startTime", api->start_realtime_ns) < 0 ||
	    json_set_number(json, "residentBytes", (double)process.resident_bytes) < 0 ||
	    json_set_number(json, "cpuSeconds", process.cpu_seconds) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static void status_get(struct request *request)
{
	const struct api *api = request->api;
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (json &&
	    (json_set_string(json, "version", api->options.version) < 0 ||
	     json_set_string(json, "nodeName", api->options.node_name) < 0 ||
	     json_set_bool(json, "dryRun", pipeline_settings(api->options.pipeline)->dry_run) < 0 ||
	     json_set(json, "process", status_process(api)) < 0 ||
	     json_set(json, "store", status_store(api->options.store)) < 0 ||
	     json_set(json, "pipeline", status_pipeline(pipeline_counts(api->options.pipeline))) <
		     0))
		request_answer_json(request, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL);
	else
		request_answer_json(request, MHD_HTTP_OK, TAKE_PTR(json));
}

static void health_get(struct request *request)
{
	_cleanup_buffer_ struct buffer text = BUFFER(16);

	buffer_append_text(&text, "ok\n");
	request_answer_text(request, MHD_HTTP_OK, "text/plain; charset=utf-8", &text);
}

static void metrics_get(struct request *request)
{
	const struct api *api = request->api;
	_cleanup_json_ cJSON *detectors = detect_status(api->options.detect, api->options.host);
	_cleanup_buffer_ struct buffer text = BUFFER(METRICS_BYTES_MAX);
	struct metrics_input input = {
		.version = api->options.version,
		.node_name = api->options.node_name,
		.dry_run = pipeline_settings(api->options.pipeline)->dry_run,
		.endings = &api->ended,
		.pipeline = pipeline_counts(api->options.pipeline),
		.calls = call_pool_counts(api->options.pool),
		.store = store_counts(api->options.store),
		.store_medium = store_medium_names[store_medium(api->options.store, NULL)],
		.detectors = detectors,
		.malformed = api->options.detect ? detect_malformed(api->options.detect) : 0,
		.api = &api->counts,
		.connections = api->connection_count,
		.watchers = stream_count(api),
	};

	metrics_process_read(&input.process, api->start_realtime_ns);
	if (metrics_render(&input, &text) < 0)
		request_answer(request, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL);
	else
		request_answer_text(request, MHD_HTTP_OK, METRICS_CONTENT_TYPE, &text);
}

const struct route routes[] = {
	{"GET", "/api/v1/abnormals", {"namespace", "watch"}, abnormals_list, false},
	{"POST", "/api/v1/abnormals", {}, abnormal_submit, false},
	{"GET", "/api/v1/namespaces/{}/abnormals/{}", {}, abnormal_get, false},
	{"DELETE", "/api/v1/namespaces/{}/abnormals/{}", {}, abnormal_delete, false},
	{"GET", "/api/v1/namespaces/{}/abnormals/{}/history", {}, abnormal_history, false},
	{"GET", "/api/v1/events", {}, stream_findings, false},
	{"GET", "/api/v1/collectors", {}, collectors_list, false},
	{"GET", "/api/v1/diagnosers", {}, diagnosers_list, false},
	{"GET", "/api/v1/recoverers", {}, recoverers_list, false},
	{"GET", "/api/v1/detectors", {}, detectors_list, false},
	{"GET", "/api/v1/sources", {}, sources_answer, false},
	{"POST", "/api/v1/informationcollectors/{}/collect", {}, collector_run, false},
	{"POST", "/api/v1/diagnosers/{}/diagnose", {}, diagnoser_run, false},
	{"POST",
	 "/api/v1/recoverers/{}/recover",
	 {"namespace", "abnormal", "dryRun"},
	 recoverer_run,
	 false},
	{"GET", "/api/v1/status", {}, status_get, false},
	{"GET", "/healthz", {}, health_get, false},
	{"GET", "/metrics", {}, metrics_get, true},
};
const size_t route_count = ARRAY_SIZE(routes);
