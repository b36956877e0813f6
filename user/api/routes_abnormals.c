/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Abnormals over HTTP. The answers come from store, pipeline and plug-ins, later: each handler
 * leaves a ticket with them, and what they bring is answered to whoever still waits.
 */
#include "api/routes_abnormals.h"

#include <errno.h>

#include "base/json.h"

/* --- Answers --- */

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

void abnormals_list(struct request *request)
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

void abnormal_get(struct request *request)
{
	struct ticket *ticket = ticket_for(request);
	int r = ticket ? store_get(request->api->options.store, request->parameters[0],
				   request->parameters[1], answer_object_text, ticket)
		       : 0;
	if (r < 0)
		ticket_fail(ticket, r);
}

void abnormal_history(struct request *request)
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

void abnormal_delete(struct request *request)
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
			    "it out, or hand it to that node's agent",
			    request->api->options.node_name);
		request_answer_problem(request, MHD_HTTP_UNPROCESSABLE_CONTENT, &problem);
		return;
	}
	if (result == -EDQUOT) {
		request_answer_error(request, MHD_HTTP_TOO_MANY_REQUESTS,
				     "too many Abnormals are being handled: wait until some have "
				     "ended, or raise pipeline.liveMaximum");
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

void abnormal_submit(struct request *request)
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

void collector_run(struct request *request)
{
	plugin_run_on_body(request, PLUGIN_COLLECTOR);
}

void diagnoser_run(struct request *request)
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
		result = abnormal_parse_handled(text, length, &abnormal, &problem);
	if (result < 0)
		request_answer_errno(request, result, "cannot read the Abnormal from the store: %s",
				     problem.text[0] ? problem.text : strerror(-result));
	else if (request_query_bool(request, "dryRun", &dry_run) == 0)
		plugin_run(request, PLUGIN_RECOVERER, request->parameters[0], abnormal, dry_run);
}

void recoverer_run(struct request *request)
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
