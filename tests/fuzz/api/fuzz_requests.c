/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of requests to the API: "METHOD /path?name=value&…" and, behind the first newline, the
 * body. The HTTP library is a fake that hands these over as the library would, since its own parser is not
 * ours to test; store and pipeline are none, so only what does not reach them is handled to its end. Every
 * refusal is the JSON that the documents promise, and says why.
 */
#include "../fuzz_root.h"

#include "api/internal.h"

#define QUERIES_MAX 8

/* The library's side of one request. */
struct MHD_Connection {
	struct connection connection;
	struct {
		char *name, *value;
	} queries[QUERIES_MAX];
	size_t query_count;
	unsigned status; /* of the answer, once it is queued */
	const char *answer;
	size_t answer_length;
	unsigned answers;
};

struct MHD_Response {
	char *data;
	size_t length;
};

/* --- What request.c and the routes call --- */

const union MHD_ConnectionInfo *MHD_get_connection_info(struct MHD_Connection *http,
							enum MHD_ConnectionInfoType type, ...)
{
	static union MHD_ConnectionInfo info;

	info.socket_context = &http->connection;
	return &info;
}

const char *MHD_lookup_connection_value(struct MHD_Connection *http, enum MHD_ValueKind kind,
					const char *name)
{
	for (size_t i = 0; kind == MHD_GET_ARGUMENT_KIND && i < http->query_count; i++)
		if (streq(http->queries[i].name, name))
			return http->queries[i].value;
	return NULL;
}

int MHD_get_connection_values(struct MHD_Connection *http, enum MHD_ValueKind kind,
			      MHD_KeyValueIterator take, void *userdata)
{
	for (size_t i = 0; i < http->query_count; i++)
		if (take(userdata, kind, http->queries[i].name, http->queries[i].value) == MHD_NO)
			return (int)i;
	return (int)http->query_count;
}

struct MHD_Response *MHD_create_response_from_buffer(size_t length, void *data,
						     enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *response = calloc(1, sizeof(*response));

	claim(response && mode == MHD_RESPMEM_MUST_FREE, "an answer's text is handed over");
	*response = (struct MHD_Response){.data = data, .length = length};
	return response;
}

enum MHD_Result MHD_add_response_header(struct MHD_Response *response, const char *name,
					const char *value)
{
	claim(response && *name && *value && !strpbrk(value, "\r\n"), "a header is one line");
	return MHD_YES;
}

void MHD_destroy_response(struct MHD_Response *response)
{
	free(response->data);
	free(response);
}

enum MHD_Result MHD_queue_response(struct MHD_Connection *http, unsigned status,
				   struct MHD_Response *response)
{
	http->answers++;
	http->status = status;
	http->answer = response->data;
	http->answer_length = response->length;
	return MHD_YES;
}

/* --- Requests --- */

static struct api api;
static struct registry *registry;

static void end(void)
{
	registry_free(registry);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct registry_options options = {0};

	fuzz_root_begin();
	claim(registry_new(&options, &registry) == 0, "there can be no plug-ins");
	api.options = (struct api_options){.clock = clock_system(),
					   .host = fuzz_host,
					   .registry = registry,
					   .node_name = "n1",
					   .version = "test"};
	atexit(end);
	return 0;
}

/* "a=1&b": b has no value. */
static void split_query(struct MHD_Connection *http, char *query)
{
	for (char *word; (word = strsep(&query, "&")) && http->query_count < QUERIES_MAX;) {
		char *value = word, *name = strsep(&value, "=");

		http->queries[http->query_count].name = name;
		http->queries[http->query_count++].value = value;
	}
}

/* An Abnormal that would go on to the pipeline, which is not there. */
static bool goes_on(const struct request *request)
{
	_cleanup_json_ cJSON *json = NULL;
	_cleanup_abnormal_ struct abnormal *abnormal = NULL;

	if (json_parse(buffer_text(&request->body), request->body.length, &json, NULL) < 0)
		return false;
	cJSON_DeleteItemFromObjectCaseSensitive(json, "status");
	/* The rest of what submitting leaves out is no reason to refuse it. */
	return abnormal_decode(json, &abnormal, NULL) == 0;
}

/* Whether handling it needs no store and no pipeline. */
static bool is_handled_here(const struct request *request)
{
	static const char *const needing[] = {"/api/v1/namespaces/", "/api/v1/events",
					      "/api/v1/status", "/metrics"};

	if (request->body.cut)
		return true;
	if (streq(request->route->path, "/api/v1/abnormals"))
		return streq(request->route->method, "POST") && !goes_on(request);
	for (size_t i = 0; i < ARRAY_SIZE(needing); i++)
		if (startswith(request->route->path, needing[i]))
			return false;
	return true;
}

static void check_route(const struct request *request)
{
	for (size_t i = 0; i < PATH_PARAMETERS_MAX; i++)
		claim(!request->parameters[i] ||
			      (*request->parameters[i] && !strchr(request->parameters[i], '/')),
		      "a parameter is one part of the path");
	claim(request->body.length <= ABNORMAL_BYTES_MAX, "a body has its limit");
}

static void check_answer(const struct MHD_Connection *http)
{
	_cleanup_json_ cJSON *json = NULL;

	claim(http->answers == 1, "a request has one answer");
	claim(http->status >= 200 && http->status < 600, "with a status");
	if (http->status < 400)
		return;
	claim(json_parse(http->answer, http->answer_length, &json, NULL) == 0, "a refusal is JSON");
	const char *message = json_string(json_at(json, "error"), "message");
	claim(message && *message, "which says why");
}

static void run(struct MHD_Connection *http, char *line, const char *body, size_t size)
{
	char *query = line, *path_and_method = strsep(&query, "?");
	char *path = path_and_method, *method = strsep(&path, " ");
	void *state = NULL;

	if (query)
		split_query(http, query);
	path = path ? path : method + strlen(method);
	claim(request_handle(&api, http, path, method, "HTTP/1.1", NULL, &(size_t){0}, &state) ==
		      MHD_YES,
	      "a request begins");
	const struct request *request = state;
	if (!request->response) {
		claim(request->route, "what is not refused has a way");
		for (size_t at = 0, length; at < size; at += length) {
			size_t left = length = MIN(size - at, (size_t)1000);

			claim(request_handle(&api, http, path, method, "HTTP/1.1", body + at, &left,
					     &state) == MHD_YES &&
				      left == 0,
			      "its body is taken");
		}
		check_route(request);
		if (is_handled_here(request))
			claim(request_handle(&api, http, path, method, "HTTP/1.1", NULL,
					     &(size_t){0}, &state) == MHD_YES,
			      "it is handled");
		else
			http->answers = 1;
	}
	if (http->answer)
		check_answer(http);
	claim(http->answers == 1, "a request that is handled has an answer");
	request_completed(&api, http, &state, MHD_REQUEST_TERMINATED_COMPLETED_OK);
	claim(!state, "it is over");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
	size_t length = newline ? (size_t)(newline - data) : size;
	_cleanup_free_ char *line = strndup((const char *)data, length);
	struct MHD_Connection http = {.connection = {.api = &api, .fd = -1, .local = true}};

	if (line && *line != '!')
		run(&http, line, newline ? (const char *)newline + 1 : "",
		    newline ? size - length - 1 : 0);
	else if (line) {
		/* As on the listener where anybody may connect. */
		http.connection.local = false;
		run(&http, line + 1, "", 0);
	}
	return 0;
}
