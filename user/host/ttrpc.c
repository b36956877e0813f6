/* SPDX-License-Identifier: Apache-2.0 */
/* ttrpc: frames, and the few protobuf messages that a question for a container's state needs. */
#include "host/ttrpc.h"

#include "base/plain.h"

/* PROTOCOL.md and channel.go of ttrpc. */
#define HEADER_LENGTH 10
#define MESSAGE_LENGTH_MAX (4 * MIB)
#define TYPE_REQUEST 1
#define TYPE_RESPONSE 2
#define TYPE_DATA 3

/* Wire types of protobuf. */
enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };
#define VARINT_BYTES_MAX 10

/* Fields: request.proto of ttrpc, google.rpc.Status, and StateResponse of every shim API. */
enum { REQUEST_SERVICE = 1, REQUEST_METHOD = 2, REQUEST_PAYLOAD = 3, REQUEST_METADATA = 5 };
enum { KEY_VALUE_KEY = 1, KEY_VALUE_VALUE = 2 };
enum { STATE_REQUEST_ID = 1 };
enum { RESPONSE_STATUS = 1, RESPONSE_PAYLOAD = 2 };
enum { STATUS_CODE = 1, STATUS_MESSAGE = 2 };
enum { STATE_RESPONSE_STATUS = 4 };

#define NAMESPACE_KEY "containerd-namespace-ttrpc" /* pkg/namespaces/ttrpc.go of containerd */

static int write_varint(struct buffer *out, uint64_t value)
{
	unsigned char bytes[VARINT_BYTES_MAX];
	size_t length = 0;

	do {
		bytes[length++] = (unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
		value >>= 7;
	} while (value);
	return buffer_append(out, bytes, length);
}

static int write_bytes(struct buffer *out, unsigned field, const void *data, size_t length)
{
	int r = write_varint(out, field << 3 | WIRE_BYTES);

	if (r == 0)
		r = write_varint(out, length);
	return r == 0 ? buffer_append(out, data, length) : r;
}

static int write_text(struct buffer *out, unsigned field, const char *text)
{
	return write_bytes(out, field, text, strlen(text));
}

static int write_namespace(struct buffer *out, const char *namespace)
{
	_cleanup_buffer_ struct buffer pair = BUFFER(KIB);
	int r = write_text(&pair, KEY_VALUE_KEY, NAMESPACE_KEY);

	if (r == 0)
		r = write_text(&pair, KEY_VALUE_VALUE, namespace);
	return r == 0 ? write_bytes(out, REQUEST_METADATA, pair.data, pair.length) : r;
}

static void put_u32(unsigned char *bytes, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		bytes[i] = (unsigned char)(value >> (24 - 8 * i));
}

static uint32_t get_u32(const unsigned char *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

int ttrpc_write_call(struct buffer *out, const struct ttrpc_call *call)
{
	_cleanup_buffer_ struct buffer message = BUFFER(8 * KIB), payload = BUFFER(2 * KIB);
	unsigned char header[HEADER_LENGTH] = {0};
	int r = write_text(&payload, STATE_REQUEST_ID, call->id);

	if (r == 0)
		r = write_text(&message, REQUEST_SERVICE, call->service);
	if (r == 0)
		r = write_text(&message, REQUEST_METHOD, call->method);
	if (r == 0)
		r = write_bytes(&message, REQUEST_PAYLOAD, payload.data, payload.length);
	if (r == 0 && call->namespace)
		r = write_namespace(&message, call->namespace);
	if (r < 0)
		return r;
	put_u32(header, (uint32_t)message.length);
	put_u32(header + 4, call->stream);
	header[8] = TYPE_REQUEST;
	r = buffer_append(out, header, sizeof(header));
	return r == 0 ? buffer_append(out, message.data, message.length) : r;
}

void ttrpc_reader_clear(struct ttrpc_reader *reader)
{
	buffer_free(&reader->message);
	*reader = TTRPC_READER;
}

/* Starts with the next frame. Returns 0 or -EBADMSG. */
static int read_header(struct ttrpc_reader *reader)
{
	uint32_t length = get_u32(reader->header);
	unsigned char type = reader->header[8];

	if (length > MESSAGE_LENGTH_MAX || (type != TYPE_RESPONSE && type != TYPE_DATA))
		return -EBADMSG;
	reader->remaining = length;
	return 0;
}

/* True if the frame being read is the one that is waited for. */
static bool is_awaited(const struct ttrpc_reader *reader, uint32_t stream)
{
	return reader->header[8] == TYPE_RESPONSE && get_u32(reader->header + 4) == stream;
}

int ttrpc_read(struct ttrpc_reader *reader, uint32_t stream, const char *data, size_t length)
{
	while (length) {
		size_t step = MIN(length, HEADER_LENGTH - reader->header_length);

		memcpy(reader->header + reader->header_length, data, step);
		reader->header_length += step;
		data += step;
		length -= step;
		if (reader->header_length < HEADER_LENGTH)
			return 0;
		if (step && read_header(reader) < 0)
			return -EBADMSG;
		step = MIN(length, reader->remaining);
		if (is_awaited(reader, stream) &&
		    buffer_append_some(&reader->message, data, step) < 0)
			return -ENOMEM;
		data += step;
		length -= step;
		reader->remaining -= step;
		if (reader->remaining)
			return 0;
		reader->header_length = 0;
		if (is_awaited(reader, stream))
			return 1;
	}
	return 0;
}

/* A protobuf message being read. */
struct message {
	const unsigned char *next, *end;
	bool cut; /* more of it is not at hand: the last field may be incomplete */
};

struct field {
	uint64_t number;
	unsigned type;
	uint64_t value; /* of a number */
	struct message bytes; /* of text, or a message within */
};

/* Returns 0 or -EBADMSG. */
static int read_varint(struct message *message, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < VARINT_BYTES_MAX && message->next < message->end; i++) {
		unsigned char byte = *message->next++;

		value |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (!(byte & 0x80)) {
			*ret_value = value;
			return 0;
		}
	}
	return -EBADMSG;
}

static int read_bytes(struct message *message, struct message *ret_bytes)
{
	size_t left;
	uint64_t length;

	if (read_varint(message, &length) < 0)
		return -EBADMSG;
	left = (size_t)(message->end - message->next);
	if (length > left && !message->cut)
		return -EBADMSG;
	ret_bytes->cut = length > left;
	ret_bytes->next = message->next;
	ret_bytes->end = message->next + MIN(length, left);
	message->next = ret_bytes->end;
	return 0;
}

static int skip(struct message *message, size_t length)
{
	if ((size_t)(message->end - message->next) < length)
		return -EBADMSG;
	message->next += length;
	return 0;
}

/* Returns 1 with a field, 0 at the end (also where the message was cut), or -EBADMSG. */
static int read_field(struct message *message, struct field *ret_field)
{
	struct field field = {0};
	uint64_t tag;
	int r;

	if (message->next == message->end)
		return 0;
	r = read_varint(message, &tag);
	field.number = tag >> 3;
	field.type = tag & 7;
	if (r == 0 && field.number == 0)
		return -EBADMSG;
	if (r == 0 && field.type == WIRE_VARINT)
		r = read_varint(message, &field.value);
	else if (r == 0 && field.type == WIRE_BYTES)
		r = read_bytes(message, &field.bytes);
	else if (r == 0 && field.type == WIRE_FIXED64)
		r = skip(message, 8);
	else if (r == 0 && field.type == WIRE_FIXED32)
		r = skip(message, 4);
	else if (r == 0)
		return -EBADMSG;
	if (r < 0)
		return message->cut ? 0 : r;
	*ret_field = field;
	return 1;
}

static int read_status(struct message message, struct ttrpc_answer *answer)
{
	struct field field;
	int r;

	while ((r = read_field(&message, &field)) > 0) {
		if (field.number == STATUS_CODE && field.type == WIRE_VARINT)
			answer->code = (uint32_t)field.value;
		if (field.number == STATUS_MESSAGE && field.type == WIRE_BYTES)
			plain_copy(answer->text, (const char *)field.bytes.next,
				   MIN((size_t)(field.bytes.end - field.bytes.next),
				       sizeof(answer->text) - 1));
	}
	return r;
}

static int read_state(struct message message, struct ttrpc_answer *answer)
{
	struct field field;
	int r;

	while ((r = read_field(&message, &field)) > 0)
		if (field.number == STATE_RESPONSE_STATUS && field.type == WIRE_VARINT)
			answer->status = field.value;
	return r;
}

int ttrpc_read_state(const struct ttrpc_reader *reader, struct ttrpc_answer *ret_answer)
{
	const char *text = buffer_text(&reader->message);
	struct message message = {.next = (const unsigned char *)text,
				  .end = (const unsigned char *)text + reader->message.length,
				  .cut = reader->message.cut > 0};
	struct ttrpc_answer answer = {0};
	struct field field;
	int r;

	while ((r = read_field(&message, &field)) > 0) {
		if (field.number == RESPONSE_STATUS && field.type == WIRE_BYTES)
			r = read_status(field.bytes, &answer);
		else if (field.number == RESPONSE_PAYLOAD && field.type == WIRE_BYTES)
			r = read_state(field.bytes, &answer);
		if (r < 0)
			break;
	}
	if (r < 0)
		return r;
	*ret_answer = answer;
	return 0;
}
