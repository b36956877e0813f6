/* SPDX-License-Identifier: Apache-2.0 */
/* The request and its frame. */
#include "plugin/call_wire.h"

#include "core/abnormal.h"

struct frame {
	uint32_t head_bytes, body_bytes;
};

#define INTEGER(json_name, member)                              \
	{                                                       \
		.name = json_name, .kind = FIELD_INTEGER,       \
		.offset = offsetof(struct call_request, member) \
	}
#define STRING(json_name, member)                               \
	{                                                       \
		.name = json_name, .kind = FIELD_STRING,        \
		.offset = offsetof(struct call_request, member) \
	}

static const struct field request_fields[] = {
	STRING("plugin", plugin),
	INTEGER("kind", kind),
	INTEGER("transport", transport),
	INTEGER("step", step),
	STRING("path", path),
	STRING("artifactDirectory", artifact_directory),
	STRING("hostRoot", host_root),
	STRING("apiSocket", api_socket),
	INTEGER("timeoutNs", timeout_ns),
	INTEGER("memoryBytes", memory_bytes),
	{.name = "settings", .kind = FIELD_JSON, .offset = offsetof(struct call_request, settings)},
};

static const struct schema request_schema = {
	.name = "call request",
	.size = sizeof(struct call_request),
	.fields = request_fields,
	.field_count = ARRAY_SIZE(request_fields),
	.extra_offset = SCHEMA_STRICT,
};

void call_request_free(struct call_request *request)
{
	schema_free(&request_schema, request);
}

int call_request_write(const struct call_request *request, const char *abnormal_text,
		       struct buffer *out)
{
	_cleanup_json_ cJSON *json = NULL;
	_cleanup_free_ char *head = NULL;
	int r = schema_encode(&request_schema, request, &json);

	if (r < 0)
		return r;
	head = json_print(json);
	if (!head)
		return -ENOMEM;
	size_t head_length = strlen(head), body_length = strlen(abnormal_text);
	if (head_length > CALL_REQUEST_HEAD_BYTES_MAX || body_length > ABNORMAL_HANDLED_BYTES_MAX)
		return -ENOBUFS;
	struct frame frame = {.head_bytes = (uint32_t)head_length,
			      .body_bytes = (uint32_t)body_length};
	r = buffer_append(out, &frame, sizeof(frame));
	if (r == 0)
		r = buffer_append(out, head, head_length);
	if (r == 0)
		r = buffer_append(out, abnormal_text, body_length);
	return r;
}

static int read_exactly(int fd, void *data, size_t length)
{
	char *next = data;

	while (length) {
		ssize_t got = read(fd, next, length);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return -EPIPE;
		next += got;
		length -= (size_t)got;
	}
	return 0;
}

static int read_text(int fd, size_t length, char **ret_text)
{
	_cleanup_free_ char *text = malloc(length + 1);

	if (!text)
		return -ENOMEM;
	int r = read_exactly(fd, text, length);
	if (r < 0)
		return r;
	text[length] = '\0';
	*ret_text = TAKE_PTR(text);
	return 0;
}

int call_request_read(int fd, struct call_request **ret_request, char **ret_abnormal_text,
		      size_t *ret_abnormal_length)
{
	_cleanup_free_ char *head = NULL, *body = NULL;
	_cleanup_json_ cJSON *json = NULL;
	struct problem problem = {0};
	struct frame frame;
	void *request;
	int r = read_exactly(fd, &frame, sizeof(frame));

	if (r < 0)
		return r;
	if (frame.head_bytes > CALL_REQUEST_HEAD_BYTES_MAX ||
	    frame.body_bytes > ABNORMAL_HANDLED_BYTES_MAX)
		return -EPROTO;
	r = read_text(fd, frame.head_bytes, &head);
	if (r == 0)
		r = read_text(fd, frame.body_bytes, &body);
	if (r == 0)
		r = json_parse(head, frame.head_bytes, &json, &problem);
	if (r == 0)
		r = schema_decode(&request_schema, json, &request, &problem);
	if (r < 0)
		return r == -EINVAL ? -EPROTO : r;
	*ret_request = request;
	*ret_abnormal_text = TAKE_PTR(body);
	*ret_abnormal_length = frame.body_bytes;
	return 0;
}
