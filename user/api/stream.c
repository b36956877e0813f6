/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers without an end: one JSON object a line, as things happen. What a slow reader has not
 * taken yet waits here up to a cap; over it, the reader is told so in a last line and closed, so
 * that it can list again. The agent never waits for a reader.
 */
#include "api/internal.h"

#include <errno.h>

#include "api/lines.h"
#include "base/json.h"
#include "detect/detector.h"

#define ERROR_LINE_MAX 512

struct stream {
	struct stream *previous, *next;
	struct request *request;
	struct pipeline_watch *watch; /* of Abnormals; NULL: findings */
	char *namespace; /* NULL: all */
	bool listed; /* what was there at the start has been sent: changes follow */
	struct buffer start; /* the Abnormals at the start; as large as the store's answer */
	struct buffer queue;
	size_t sent; /* of the first of the two that is not empty */
	bool ended;
};

unsigned stream_count(const struct api *api)
{
	unsigned count = 0;

	for (const struct stream *stream = api->streams; stream; stream = stream->next)
		count++;
	return count;
}

void stream_free(struct stream *stream)
{
	struct api *api = stream->request->api;

	if (stream->watch)
		pipeline_unwatch(stream->watch);
	if (stream->previous)
		stream->previous->next = stream->next;
	else
		api->streams = stream->next;
	if (stream->next)
		stream->next->previous = stream->previous;
	stream->request->stream = NULL;
	buffer_free(&stream->start);
	buffer_free(&stream->queue);
	free(stream->namespace);
	free(stream);
}

/* The library is ready to send. Suspending the connection from here is how it is told to wait. */
static ssize_t stream_read(void *userdata, _unused_ uint64_t position, char *data, size_t maximum)
{
	struct request *request = userdata;
	struct stream *stream = request->stream;

	if (request->abandoned)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	struct buffer *from = stream->start.length ? &stream->start : &stream->queue;
	if (from->length) {
		size_t length = MIN(maximum, from->length - stream->sent);

		memcpy(data, from->data + stream->sent, length);
		stream->sent += length;
		if (stream->sent == from->length) {
			buffer_free(from);
			stream->sent = 0;
		}
		return (ssize_t)length;
	}
	if (stream->ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	request_wait(request);
	return 0;
}

static void stream_end(struct stream *stream, const char *line)
{
	if (stream->ended)
		return;
	buffer_append_text(&stream->queue, line);
	stream->ended = true;
	request_wake(stream->request);
}

static void stream_push(struct stream *stream, const char *line, size_t length)
{
	if (stream->ended)
		return;
	if (stream->queue.length + length > WATCH_BYTES_MAX && stream->sent &&
	    !stream->start.length) {
		buffer_consume(&stream->queue, stream->sent);
		stream->sent = 0;
	}
	if (stream->queue.length + length > WATCH_BYTES_MAX ||
	    buffer_append(&stream->queue, line, length) < 0) {
		stream->request->api->counts.watchers_closed++;
		stream_end(stream, "{\"type\":\"ERROR\",\"object\":{\"message\":\"more has "
				   "happened than this watcher has read: list again, and watch "
				   "from there\"}}\n");
		return;
	}
	request_wake(stream->request);
}

/* Answers REQUEST with the headers of a stream; what is in it follows. */
static struct stream *stream_start(struct request *request)
{
	struct api *api = request->api;

	if (stream_count(api) >= WATCHERS_MAX) {
		request_answer_error(request, MHD_HTTP_SERVICE_UNAVAILABLE,
				     "%d watchers are connected already: end one of them first",
				     WATCHERS_MAX);
		return NULL;
	}
	struct stream *stream = calloc(1, sizeof(*stream));
	if (!stream) {
		request_answer(request, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL);
		return NULL;
	}
	stream->request = request;
	stream->start = BUFFER(SIZE_MAX / 2);
	stream->queue = BUFFER(WATCH_BYTES_MAX + ERROR_LINE_MAX);
	stream->next = api->streams;
	if (stream->next)
		stream->next->previous = stream;
	api->streams = stream;
	request->stream = stream;
	return stream;
}

static void stream_answer(struct request *request)
{
	struct MHD_Response *response = MHD_create_response_from_callback(
		MHD_SIZE_UNKNOWN, (size_t)16 * KIB, stream_read, request, NULL);

	if (response)
		MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
					"application/x-ndjson");
	request_answer(request, MHD_HTTP_OK, response);
}

/* --- Abnormals --- */

static void abnormal_changed(void *userdata, const char *type, const struct abnormal *abnormal)
{
	struct stream *stream = userdata;
	_cleanup_buffer_ struct buffer line = BUFFER(4 * ABNORMAL_BYTES_MAX);
	_cleanup_free_ char *text = NULL;

	/*
	 * Changes before the list's arrival are part of it: the store answers in order, and a
	 * change is told only when it is durable.
	 */
	if (!stream->listed ||
	    (stream->namespace && !streq_ptr(stream->namespace, abnormal->metadata.namespace)))
		return;
	if (abnormal_print(abnormal, &text) < 0 ||
	    buffer_printf(&line, "{\"type\":\"%s\",\"object\":%s}\n", type, text) < 0) {
		stream_end(stream, "{\"type\":\"ERROR\",\"object\":{\"message\":\"the agent is out "
				   "of memory\"}}\n");
		return;
	}
	stream_push(stream, line.data, line.length);
}

static void stream_listed(void *userdata, int result, const char *text, size_t length)
{
	struct request *request = ticket_redeem(userdata);

	if (!request)
		return;
	struct stream *stream = request->stream;
	if (result >= 0)
		result = lines_from_list(text, length, &stream->start);
	if (result < 0) {
		stream_free(stream);
		request_answer_errno(request, result, "cannot list the Abnormals: %s",
				     strerror(-result));
		return;
	}
	stream->listed = true;
	stream_answer(request);
}

void stream_abnormals(struct request *request, const char *namespace)
{
	struct stream *stream = stream_start(request);

	if (!stream)
		return;
	struct ticket *ticket = request_ticket(request);
	int r = ticket ? 0 : -ENOMEM;
	if (r == 0 && namespace)
		r = string_set(&stream->namespace, namespace);
	if (r == 0)
		r = pipeline_watch(request->api->options.pipeline, abnormal_changed, stream,
				   &stream->watch);
	if (r == 0)
		r = store_list(request->api->options.store, namespace, stream_listed, ticket);
	if (r < 0) {
		if (ticket)
			ticket_redeem(ticket);
		stream_free(stream);
		request_answer_errno(request, r, "cannot watch the Abnormals: %s", strerror(-r));
	}
}

/* --- Findings --- */

void stream_findings(struct request *request)
{
	struct stream *stream = stream_start(request);

	if (stream)
		stream_answer(request);
}

void api_publish_finding(struct api *api, const struct finding *finding)
{
	_cleanup_json_ cJSON *json = NULL;
	_cleanup_free_ char *text = NULL;
	_cleanup_buffer_ struct buffer line = BUFFER(WATCH_BYTES_MAX);

	for (struct stream *stream = api->streams; stream; stream = stream->next) {
		if (stream->watch)
			continue;
		if (!line.length) {
			json = cJSON_CreateObject();
			if (!json || json_set_string(json, "detector", finding->detector) < 0 ||
			    json_set_string(json, "type", finding->type) < 0 ||
			    json_set_bool(json, "cleared", finding->cleared) < 0 ||
			    json_set_string(json, "subject", finding->subject) < 0 ||
			    json_set(json, "event", cJSON_Duplicate(finding->event, true)) < 0 ||
			    !(text = json_print(json)) || buffer_printf(&line, "%s\n", text) < 0)
				return;
		}
		stream_push(stream, line.data, line.length);
	}
}
