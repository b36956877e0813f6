/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request: matched to its route, its body read up to a cap, handled when it is whole, and
 * answered at once or later. Every answer that is no success is the same JSON object:
 * {"error": {"field": "spec.log.filePath", "message": "is required"}}.
 */
#include "api/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>

#include "base/json.h"

/*
 * After a body that is too large the rest is read and dropped, so that the peer hears why; up to
 * here.
 */
#define BODY_DROPPED_MAX ((uint64_t)64 * MIB)

/* --- Answers --- */

static int hangup_handler(_unused_ sd_event_source *source, _unused_ int fd,
			  _unused_ uint32_t events, void *userdata)
{
	request_abandon(userdata);
	return 0;
}

/*
 * While a connection is suspended the library does not look at its socket, so we do: a peer that
 * closed it (EPOLLHUP, which is reported unasked) waits for nothing any more.
 */
void request_wait(struct request *request)
{
	struct connection *connection = request->connection;

	request->suspended = true;
	connection->waiting_since_ns = clock_monotonic(request->api->options.clock);
	MHD_suspend_connection(request->http);
	if (sd_event_add_io(request->api->options.event, &connection->hangup, connection->fd, 0,
			    hangup_handler, request) < 0)
		connection->hangup =
			NULL; /* its end is noticed later then: when something is sent */
}

void request_wake(struct request *request)
{
	if (!request->suspended)
		return;
	request->suspended = false;
	request->connection->hangup = sd_event_source_unref(request->connection->hangup);
	MHD_resume_connection(request->http);
	api_kick(request->api);
}

void request_abandon(struct request *request)
{
	request->abandoned = true;
	request_wake(request);
}

void request_answer(struct request *request, unsigned status, struct MHD_Response *response)
{
	if (request->response) {
		/* Its deadline has answered already. */
		if (response)
			MHD_destroy_response(response);
		return;
	}
	request->status = response ? status : MHD_HTTP_INTERNAL_SERVER_ERROR;
	request->response = response ? response : request->api->no_memory;
	if (request->status >= 400)
		request->api->counts.requests_failed++;
	request_wake(request);
}

void request_answer_text(struct request *request, unsigned status, const char *content_type,
			 struct buffer *text)
{
	size_t length = text->length;
	char *data = buffer_take(text);
	struct MHD_Response *response =
		data ? MHD_create_response_from_buffer(length, data, MHD_RESPMEM_MUST_FREE) : NULL;

	if (data && !response)
		free(data);
	if (response)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
	request_answer(request, status, response);
}

void request_answer_json(struct request *request, unsigned status, cJSON *json)
{
	_cleanup_json_ cJSON *owned = json;
	_cleanup_free_ char *text = owned ? json_print(owned) : NULL;
	_cleanup_buffer_ struct buffer body = BUFFER(SIZE_MAX / 2);

	if (!text || buffer_append_text(&body, text) < 0 || buffer_append_text(&body, "\n") < 0)
		request_answer(request, status, NULL);
	else
		request_answer_text(request, status, "application/json", &body);
}

void request_answer_problem(struct request *request, unsigned status, const struct problem *problem)
{
	cJSON *json = cJSON_CreateObject();
	cJSON *error = json ? cJSON_AddObjectToObject(json, "error") : NULL;

	if (!error || (problem->field[0] && json_set_string(error, "field", problem->field) < 0) ||
	    json_set_string(error, "message", problem->text) < 0) {
		cJSON_Delete(json);
		json = NULL;
	}
	request_answer_json(request, status, json);
}

void request_answer_error(struct request *request, unsigned status, const char *format, ...)
{
	struct problem problem = {0};
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(problem.text, sizeof(problem.text), format, arguments);
	va_end(arguments);
	request_answer_problem(request, status, &problem);
}

static unsigned status_of(int error)
{
	switch (-error) {
	case ENOENT:
		return MHD_HTTP_NOT_FOUND;
	case EINVAL:
		return MHD_HTTP_BAD_REQUEST;
	case EFBIG:
		return MHD_HTTP_CONTENT_TOO_LARGE;
	case EACCES:
	case EPERM:
		return MHD_HTTP_FORBIDDEN;
	case EEXIST:
	case EBUSY:
	case EALREADY:
		return MHD_HTTP_CONFLICT;
	case EOPNOTSUPP:
	case EPROTO:
		return MHD_HTTP_UNPROCESSABLE_CONTENT;
	case EDQUOT:
		return MHD_HTTP_TOO_MANY_REQUESTS;
	case EAGAIN:
	case ENOBUFS:
	case ECANCELED:
		return MHD_HTTP_SERVICE_UNAVAILABLE;
	case ETIMEDOUT:
		return MHD_HTTP_GATEWAY_TIMEOUT;
	default:
		return MHD_HTTP_INTERNAL_SERVER_ERROR;
	}
}

void request_answer_errno(struct request *request, int error, const char *format, ...)
{
	struct problem problem = {0};
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(problem.text, sizeof(problem.text), format, arguments);
	va_end(arguments);
	request_answer_problem(request, status_of(error), &problem);
}

/* --- Tickets --- */

struct ticket *request_ticket(struct request *request)
{
	struct ticket *ticket = calloc(1, sizeof(*ticket));

	if (ticket) {
		ticket->request = request;
		request->ticket = ticket;
	}
	return ticket;
}

struct request *ticket_redeem(struct ticket *ticket)
{
	struct request *request = ticket->request;

	if (request)
		request->ticket = NULL;
	free(ticket);
	return request;
}

/* --- Queries --- */

const char *request_query(struct request *request, const char *name)
{
	return MHD_lookup_connection_value(request->http, MHD_GET_ARGUMENT_KIND, name);
}

int request_query_bool(struct request *request, const char *name, bool *ret_value)
{
	const char *text = request_query(request, name);

	if (text && !streq(text, "true") && !streq(text, "false")) {
		request_answer_error(request, MHD_HTTP_BAD_REQUEST,
				     "the parameter %s is \"%.64s\", but must be true or false",
				     name, text);
		return -EINVAL;
	}
	*ret_value = text && streq(text, "true");
	return 0;
}

struct query_name {
	const char *name;
	unsigned count;
};

static enum MHD_Result query_count(void *userdata, _unused_ enum MHD_ValueKind kind,
				   const char *name, _unused_ const char *value)
{
	struct query_name *wanted = userdata;

	wanted->count += streq(wanted->name, name);
	return MHD_YES;
}

/* "?dryRun" and "?dryRun=false&dryRun=true" leave it open what is meant, so they are refused too. */
static enum MHD_Result query_check(void *userdata, enum MHD_ValueKind kind, const char *name,
				   const char *value)
{
	struct request *request = userdata;
	struct query_name wanted = {.name = name};
	bool known = false;

	for (size_t i = 0; i < ARRAY_SIZE(request->route->queries) && request->route->queries[i];
	     i++)
		known |= streq(request->route->queries[i], name);
	MHD_get_connection_values(request->http, kind, query_count, &wanted);
	if (!known)
		request_answer_error(request, MHD_HTTP_BAD_REQUEST,
				     "%s knows no parameter \"%.64s\"", request->route->path, name);
	else if (!value)
		request_answer_error(request, MHD_HTTP_BAD_REQUEST,
				     "the parameter %s has no value: write %s=VALUE", name, name);
	else if (wanted.count > 1)
		request_answer_error(request, MHD_HTTP_BAD_REQUEST,
				     "the parameter %s is there more than once", name);
	return request->response ? MHD_NO : MHD_YES;
}

/* --- Matching --- */

static void parameters_clear(struct request *request)
{
	for (size_t i = 0; i < PATH_PARAMETERS_MAX; i++) {
		free(request->parameters[i]);
		request->parameters[i] = NULL;
	}
}

/*
 * True if PATH fits PATTERN, whose {} stand for one segment each; those are copied into the
 * request.
 */
static bool path_match(struct request *request, const char *pattern, const char *path)
{
	size_t parameter = 0;

	parameters_clear(request);
	while (*pattern) {
		if (startswith(pattern, "{}")) {
			size_t length = strcspn(path, "/");

			if (!length || parameter == PATH_PARAMETERS_MAX)
				return false;
			request->parameters[parameter++] = strndup(path, length);
			path += length;
			pattern += 2;
		} else if (*pattern++ != *path++) {
			return false;
		}
	}
	for (size_t i = 0; i < parameter; i++)
		if (!request->parameters[i])
			return false;
	return *path == '\0';
}

static void route_find(struct request *request, const char *method, const char *path)
{
	char allowed[64] = "";

	for (size_t i = 0; i < route_count; i++) {
		const struct route *route = &routes[i];

		if ((!request->connection->local && !route->on_metrics_listener) ||
		    !path_match(request, route->path, path))
			continue;
		if (streq(route->method, method)) {
			request->route = route;
			MHD_get_connection_values(request->http, MHD_GET_ARGUMENT_KIND, query_check,
						  request);
			return;
		}
		snprintf(allowed + strlen(allowed), sizeof(allowed) - strlen(allowed), "%s%s",
			 *allowed ? ", " : "", route->method);
	}
	if (!*allowed) {
		request_answer_error(request, MHD_HTTP_NOT_FOUND, "there is no path %.128s", path);
		return;
	}
	request_answer_error(request, MHD_HTTP_METHOD_NOT_ALLOWED, "%.128s takes %s, not %.16s",
			     path, allowed, method);
	if (request->response != request->api->no_memory)
		MHD_add_response_header(request->response, MHD_HTTP_HEADER_ALLOW, allowed);
}

/* --- Life --- */

static struct request *request_new(struct api *api, struct MHD_Connection *http)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(http, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct connection *connection = info->socket_context;
	struct request *request = connection ? calloc(1, sizeof(*request)) : NULL;

	if (!request)
		return NULL;
	request->api = api;
	request->http = http;
	request->connection = connection;
	request->body = BUFFER(ABNORMAL_BYTES_MAX);
	connection->request = request;
	api->counts.requests++;
	return request;
}

void request_completed(void *userdata, _unused_ struct MHD_Connection *http, void **state,
		       _unused_ enum MHD_RequestTerminationCode how)
{
	struct api *api = userdata;
	struct request *request = TAKE_PTR(*state);

	if (!request)
		return;
	request->connection->request = NULL;
	request->connection->waiting_since_ns = clock_monotonic(api->options.clock);
	request->connection->hangup = sd_event_source_unref(request->connection->hangup);
	if (request->ticket)
		request->ticket->request = NULL;
	if (request->response && request->response != api->no_memory)
		MHD_destroy_response(request->response);
	if (request->stream)
		stream_free(request->stream);
	parameters_clear(request);
	buffer_free(&request->body);
	free(request);
}

static void body_too_large(struct request *request)
{
	request_answer_error(request, MHD_HTTP_CONTENT_TOO_LARGE,
			     "the body has more than %zu bytes", ABNORMAL_BYTES_MAX);
}

/* The headers are in. Answers at once where the body cannot matter. */
static enum MHD_Result request_begin(struct request *request, const char *path, const char *method)
{
	const char *length = MHD_lookup_connection_value(request->http, MHD_HEADER_KIND,
							 MHD_HTTP_HEADER_CONTENT_LENGTH);

	route_find(request, method, path);
	if (!request->response && length && strtoull(length, NULL, 10) > ABNORMAL_BYTES_MAX)
		body_too_large(request);
	if (request->abandoned)
		return MHD_NO;
	return request->response
		       ? MHD_queue_response(request->http, request->status, request->response)
		       : MHD_YES;
}

enum MHD_Result request_handle(void *userdata, struct MHD_Connection *http, const char *path,
			       const char *method, _unused_ const char *version, const char *data,
			       size_t *data_size, void **state)
{
	struct request *request = *state;

	if (!request) {
		*state = request = request_new(userdata, http);
		return request ? request_begin(request, path, method) : MHD_NO;
	}
	if (*data_size) {
		int r = 0;

		/*
		 * What is too large is answered when all is sent: only then does the library take
		 * an answer.
		 */
		if (request->body.cut)
			request->body.cut += *data_size;
		else
			r = buffer_append(&request->body, data, *data_size);
		*data_size = 0;
		return r == -ENOMEM || request->body.cut > BODY_DROPPED_MAX ? MHD_NO : MHD_YES;
	}
	if (request->body.cut && !request->response)
		body_too_large(request);
	if (!request->response && !request->abandoned && !request->ticket)
		request->route->handle(request);
	if (request->abandoned)
		return MHD_NO;
	if (request->response)
		return MHD_queue_response(http, request->status, request->response);
	request_wait(request);
	return MHD_YES;
}
