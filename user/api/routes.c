/* SPDX-License-Identifier: Apache-2.0 */
/* What each path of the API does. docs/operations.md is the same table for a person. */
#include "api/internal.h"

#include <errno.h>
#include <unistd.h>

#include "base/json.h"
#include "sources/source.h"

/* --- Lists --- */

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

static void answer_stored_text(struct request *request, const char *before, const char *text,
			       size_t length, const char *after)
{
	_cleanup_buffer_ struct buffer body = BUFFER(SIZE_MAX / 2);

	if (buffer_append_text(&body, before) < 0 || buffer_append(&body, text, length) < 0 ||
	    buffer_append_text(&body, after) < 0)
		request_answer(request, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL);
	else
		request_answer_text(request, MHD_HTTP_OK, "application/json", &body);
}

static void answer_list_text(void *userdata, int result, const char *text, size_t length)
{
	struct request *request = ticket_redeem(userdata);

	if (!request)
		return;
	if (result < 0)
		request_answer_errno(request, result, "cannot read the store: %s",
				     strerror(-result));
	else
		answer_stored_text(request,
				   "{\"kind\":\"List\",\"apiVersion\":\"v1\",\"items\":", text,
				   length, "}\n");
}

static void answer_object_text(void *userdata, int result, const char *text, size_t length)
{
	struct request *request = ticket_redeem(userdata);

	if (!request)
		return;
	if (result == -ENOENT)
		request_answer_error(request, MHD_HTTP_NOT_FOUND,
				     "there is no Abnormal %s in the namespace %s",
				     request->parameters[1], request->parameters[0]);
	else if (result < 0)
		request_answer_errno(request, result, "cannot read the store: %s",
				     strerror(-result));
	else
		answer_stored_text(request, "", text, length, "\n");
}

/* An error of something that was to call back with TICKET, and will not. */
static void ticket_fail(struct ticket *ticket, int error)
{
	struct request *request = ticket_redeem(ticket);

	if (request)
		request_answer_errno(request, error, "the agent cannot take this up now: %s",
				     strerror(-error));
}

static struct ticket *ticket_for(struct request *request)
{
	struct ticket *ticket = request_ticket(request);

	if (!ticket)
		request_answer(request, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL);
	return ticket;
}

/* --- Abnormals --- */

static void abnormals_list(struct request *request)
{
	const char *namespace = request_query(request, "namespace");
	bool watch;

	if (request_query_bool(request, "watch", &watch) < 0)
		return;
	if (watch) {
		stream_abnormals(request, namespace);
		return;
	}
	struct ticket *ticket = ticket_for(request);
	int r = ticket ? store_list(request->api->options.store, namespace, answer_list_text,
				    ticket)
		       : 0;
	if (r < 0)
		ticket_fail(ticket, r);
}

static void abnormal_get(struct request *request)
{
	struct ticket *ticket = ticket_for(request);
	int r = ticket ? store_get(request->api->options.store, request->parameters[0],
				   request->parameters[1], answer_object_text, ticket)
		       : 0;
	if (r < 0)
		ticket_fail(ticket, r);
}

static void abnormal_history(struct request *request)
{
	struct ticket *ticket = ticket_for(request);
	int r = ticket ? store_history(request->api->options.store, request->parameters[0],
				       request->parameters[1], answer_list_text, ticket)
		       : 0;
	if (r < 0)
		ticket_fail(ticket, r);
}

static void deleted(void *userdata, int result)
{
	struct request *request = ticket_redeem(userdata);

	if (!request)
		return;
	if (result == -ENOENT) {
		request_answer_error(request, MHD_HTTP_NOT_FOUND,
				     "there is no Abnormal %s in the namespace %s",
				     request->parameters[1], request->parameters[0]);
	} else if (result < 0) {
		request_answer_errno(request, result, "cannot delete the Abnormal %s: %s",
				     request->parameters[1], strerror(-result));
	} else {
		cJSON *json = cJSON_CreateObject();

		if (json && (json_set_string(json, "result", "deleted") < 0 ||
			     json_set_string(json, "namespace", request->parameters[0]) < 0 ||
			     json_set_string(json, "name", request->parameters[1]) < 0)) {
			cJSON_Delete(json);
			json = NULL;
		}
		request_answer_json(request, MHD_HTTP_OK, json);
	}
}

static void abnormal_delete(struct request *request)
{
	struct ticket *ticket = ticket_for(request);
	int r = ticket ? pipeline_delete(request->api->options.pipeline, request->parameters[0],
					 request->parameters[1], deleted, ticket)
		       : 0;
	if (r < 0)
		ticket_fail(ticket, r);
}

static void submitted(void *userdata, int result, enum submit_result how, const char *namespace,
		      const char *name)
{
	static const char *const names[] = {[SUBMIT_CREATED] = "created",
					    [SUBMIT_FOLDED] = "folded",
					    [SUBMIT_COOLDOWN] = "cooldown"};
	struct request *request = ticket_redeem(userdata);

	if (!request)
		return;
	if (result == -EEXIST) {
		request_answer_error(request, MHD_HTTP_CONFLICT,
				     "another Abnormal has this name already: delete it first, or "
				     "choose another name");
		return;
	}
	if (result == -EXDEV) {
		struct problem problem = {0};

		problem_set(&problem, result, "spec.nodeName",
			    "names another node, but this agent handles those of %s alone: leave "
			    "it out, or hand it to "
			    "that node's agent",
			    request->api->options.node_name);
		request_answer_problem(request, MHD_HTTP_UNPROCESSABLE_CONTENT, &problem);
		return;
	}
	if (result == -EDQUOT) {
		request_answer_error(request, MHD_HTTP_TOO_MANY_REQUESTS,
				     "too many Abnormals are being handled: wait until some have "
				     "ended, or raise "
				     "pipeline.liveMaximum");
		return;
	}
	if (result == -EAGAIN) {
		request_answer_error(request, MHD_HTTP_SERVICE_UNAVAILABLE,
				     "the agent is still reading its store: try again in a moment");
		return;
	}
	if (result < 0) {
		request_answer_errno(request, result, "cannot take the Abnormal: %s",
				     strerror(-result));
		return;
	}
	cJSON *json = cJSON_CreateObject();
	if (json && (json_set_string(json, "result", names[how]) < 0 ||
		     json_set_string(json, "namespace", namespace) < 0 ||
		     json_set_string(json, "name", name) < 0)) {
		cJSON_Delete(json);
		json = NULL;
	}
	request_answer_json(request, how == SUBMIT_CREATED ? MHD_HTTP_CREATED : MHD_HTTP_OK, json);
}

/* The body as JSON, or NULL after having answered. */
static cJSON *body_json(struct request *request)
{
	struct problem problem = {0};
	cJSON *json;

	int r = json_parse(buffer_text(&request->body), request->body.length, &json, &problem);
	if (r == -ENOMEM)
		request_answer(request, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL);
	else if (r < 0)
		request_answer_problem(request, MHD_HTTP_BAD_REQUEST, &problem);
	return r < 0 ? NULL : json;
}

static struct abnormal *abnormal_from(struct request *request, const cJSON *json)
{
	struct problem problem = {0};
	struct abnormal *abnormal;

	int r = abnormal_decode(json, &abnormal, &problem);
	if (r == -ENOMEM)
		request_answer(request, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL);
	else if (r < 0)
		request_answer_problem(
			request, r == -EFBIG ? MHD_HTTP_CONTENT_TOO_LARGE : MHD_HTTP_BAD_REQUEST,
			&problem);
	return r < 0 ? NULL : abnormal;
}

/*
 * What a user sends may be what `get` printed: what the agent alone writes is dropped. A uid also
 * names the folder of the artifacts.
 */
static void strip_for_submit(cJSON *json)
{
	cJSON *metadata = cJSON_GetObjectItemCaseSensitive(json, "metadata");

	cJSON_DeleteItemFromObjectCaseSensitive(json, "status");
	if (cJSON_IsObject(metadata)) {
		cJSON_DeleteItemFromObjectCaseSensitive(metadata, "uid");
		cJSON_DeleteItemFromObjectCaseSensitive(metadata, "resourceVersion");
		cJSON_DeleteItemFromObjectCaseSensitive(metadata, "creationTimestamp");
	}
}

static void abnormal_submit(struct request *request)
{
	_cleanup_json_ cJSON *json = body_json(request);

	if (!json)
		return;
	strip_for_submit(json);
	struct abnormal *abnormal = abnormal_from(request, json);
	if (!abnormal)
		return;
	struct ticket *ticket = ticket_for(request);
	if (!ticket) {
		abnormal_free(abnormal);
		return;
	}
	int r = pipeline_submit(request->api->options.pipeline, abnormal, submitted, ticket);
	if (r < 0)
		submitted(ticket, r, SUBMIT_CREATED, NULL, NULL);
}

/* --- Plug-ins by hand --- */

static void plugin_answered(void *userdata, int result, const struct abnormal *abnormal,
			    const char *explanation)
{
	struct request *request = ticket_redeem(userdata);
	cJSON *json = NULL;

	if (!request)
		return;
	if (result < 0) {
		request_answer_errno(request, result, "%s",
				     explanation && *explanation ? explanation : strerror(-result));
		return;
	}
	if (abnormal_encode(abnormal, &json) < 0)
		json = NULL;
	request_answer_json(request, json ? MHD_HTTP_OK : MHD_HTTP_INTERNAL_SERVER_ERROR, json);
}

static void plugin_run(struct request *request, enum plugin_kind kind, const char *name,
		       const struct abnormal *abnormal, bool dry_run)
{
	struct ticket *ticket = ticket_for(request);
	int r = ticket ? pipeline_run_plugin(request->api->options.pipeline, kind, name, abnormal,
					     dry_run, plugin_answered, ticket)
		       : 0;
	if (r < 0)
		ticket_fail(ticket, r);
}

static bool plugin_known(struct request *request, enum plugin_kind kind)
{
	if (registry_find(request->api->options.registry, kind, request->parameters[0]))
		return true;
	request_answer_error(
		request, MHD_HTTP_NOT_FOUND, "there is no %s %s: `lifeboat get %ss` lists them",
		plugin_kind_names[kind], request->parameters[0], plugin_kind_names[kind]);
	return false;
}

static bool uid_is_plain(const char *uid)
{
	return !uid || (strlen(uid) <= 64 && strspn(uid, "0123456789abcdefABCDEF-") == strlen(uid));
}

static void plugin_run_on_body(struct request *request, enum plugin_kind kind)
{
	if (!plugin_known(request, kind))
		return;
	_cleanup_json_ cJSON *json = body_json(request);
	if (!json)
		return;
	_cleanup_abnormal_ struct abnormal *abnormal = abnormal_from(request, json);
	if (!abnormal)
		return;
	if (!uid_is_plain(abnormal->metadata.uid)) {
		struct problem problem = {0};

		problem_set(&problem, -EINVAL, "metadata.uid",
			    "must be hexadecimal digits and dashes");
		request_answer_problem(request, MHD_HTTP_BAD_REQUEST, &problem);
		return;
	}
	plugin_run(request, kind, request->parameters[0], abnormal, false);
}

static void collector_run(struct request *request)
{
	plugin_run_on_body(request, PLUGIN_COLLECTOR);
}

static void diagnoser_run(struct request *request)
{
	plugin_run_on_body(request, PLUGIN_DIAGNOSER);
}

/* The Abnormal that a recoverer is to act on has come from the store. */
static void recoverer_run_on(void *userdata, int result, const char *text, size_t length)
{
	struct request *request = ticket_redeem(userdata);
	_cleanup_abnormal_ struct abnormal *abnormal = NULL;
	struct problem problem = {0};
	bool dry_run;

	if (!request)
		return;
	if (result == -ENOENT) {
		request_answer_error(
			request, MHD_HTTP_NOT_FOUND, "there is no Abnormal %s in the namespace %s",
			request_query(request, "abnormal"), request_query(request, "namespace"));
		return;
	}
	if (result >= 0)
		result = abnormal_parse(text, length, &abnormal, &problem);
	if (result < 0)
		request_answer_errno(request, result, "cannot read the Abnormal from the store: %s",
				     problem.text[0] ? problem.text : strerror(-result));
	else if (request_query_bool(request, "dryRun", &dry_run) == 0)
		plugin_run(request, PLUGIN_RECOVERER, request->parameters[0], abnormal, dry_run);
}

static void recoverer_run(struct request *request)
{
	const char *namespace = request_query(request, "namespace"),
		   *name = request_query(request, "abnormal");
	bool dry_run;

	if (request_query_bool(request, "dryRun", &dry_run) < 0 ||
	    !plugin_known(request, PLUGIN_RECOVERER))
		return;
	if (!namespace || !name) {
		request_answer_error(
			request, MHD_HTTP_BAD_REQUEST,
			"the parameters namespace and abnormal must say what to recover");
		return;
	}
	struct ticket *ticket = ticket_for(request);
	int r = ticket ? store_get(request->api->options.store, namespace, name, recoverer_run_on,
				   ticket)
		       : 0;
	if (r < 0)
		ticket_fail(ticket, r);
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
