/* SPDX-License-Identifier: Apache-2.0 */
/* Frames between the agent and the store's worker: encoding, decoding, and the socket they use. */
#include "store/store_protocol.h"

#include <sys/socket.h>

#define NULL_TEXT UINT32_MAX
#define RECEIVE_BYTES (64 * KIB)

struct frame_writer frame_start(struct buffer *buffer, enum frame_type type, uint64_t sequence)
{
	struct frame_writer writer = {.buffer = buffer, .start = buffer->length};
	struct frame_header header = {.type = (uint16_t)type, .sequence = sequence};

	writer.error = buffer_append(buffer, &header, sizeof(header));
	return writer;
}

static void frame_put(struct frame_writer *writer, const void *data, size_t length)
{
	if (writer->error == 0)
		writer->error = buffer_append(writer->buffer, data, length);
}

void frame_put_number(struct frame_writer *writer, uint64_t number)
{
	frame_put(writer, &number, sizeof(number));
}

void frame_put_bytes(struct frame_writer *writer, const char *text, size_t length)
{
	uint32_t size = (uint32_t)length;

	if (length > FRAME_BYTES_MAX) {
		writer->error = writer->error ? writer->error : -EFBIG;
		return;
	}
	frame_put(writer, &size, sizeof(size));
	frame_put(writer, text, length);
	frame_put(writer, "", 1);
}

void frame_put_text(struct frame_writer *writer, const char *text)
{
	uint32_t null = NULL_TEXT;

	if (text)
		frame_put_bytes(writer, text, strlen(text));
	else
		frame_put(writer, &null, sizeof(null));
}

int frame_finish(struct frame_writer *writer)
{
	struct buffer *buffer = writer->buffer;
	size_t size = buffer->length - writer->start - sizeof(struct frame_header);

	if (writer->error == 0 && size > FRAME_BYTES_MAX)
		writer->error = -EFBIG;
	if (writer->error == 0) {
		uint32_t field = (uint32_t)size;

		memcpy(buffer->data + writer->start + offsetof(struct frame_header, size), &field,
		       sizeof(field));
	} else {
		buffer->length = MIN(buffer->length, writer->start);
	}
	return writer->error;
}

/* Returns LENGTH bytes of the payload, or NULL with the frame marked broken. */
static const char *frame_take(struct frame *frame, size_t length)
{
	const char *data = frame->payload + frame->offset;

	if (frame->broken || length > frame->header.size - frame->offset) {
		frame->broken = true;
		return NULL;
	}
	frame->offset += length;
	return data;
}

uint64_t frame_number(struct frame *frame)
{
	uint64_t number = 0;
	const char *data = frame_take(frame, sizeof(number));

	if (data)
		memcpy(&number, data, sizeof(number));
	return number;
}

const char *frame_text(struct frame *frame, size_t *ret_length)
{
	uint32_t length = 0;
	const char *data = frame_take(frame, sizeof(length));

	if (data)
		memcpy(&length, data, sizeof(length));
	if (!data || length == NULL_TEXT)
		return NULL;
	data = frame_take(frame, (size_t)length + 1);
	if (data && data[length] != '\0')
		frame->broken = true;
	if (frame->broken)
		return NULL;
	if (ret_length)
		*ret_length = length;
	return data;
}

int frame_check(const struct frame *frame)
{
	return frame->broken || frame->offset != frame->header.size ? -EBADMSG : 0;
}

void channel_init(struct channel *channel, int fd)
{
	size_t maximum = 2 * (FRAME_BYTES_MAX + sizeof(struct frame_header) + RECEIVE_BYTES);

	*channel = (struct channel){
		.fd = fd, .in = BUFFER(maximum), .out = BUFFER(maximum), .received_fd = -1};
}

void channel_close(struct channel *channel)
{
	closep(&channel->fd);
	closep(&channel->received_fd);
	channel->fd = channel->received_fd = -1;
}

/* Keeps the one descriptor that MESSAGE brought; the protocol never has two under way. */
static void keep_fd(struct channel *channel, struct msghdr *message)
{
	for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control;
	     control = CMSG_NXTHDR(message, control)) {
		if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
			continue;
		closep(&channel->received_fd);
		memcpy(&channel->received_fd, CMSG_DATA(control), sizeof(int));
	}
}

ssize_t channel_receive(struct channel *channel)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	char chunk[RECEIVE_BYTES];
	struct iovec part = {.iov_base = chunk, .iov_len = sizeof(chunk)};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	ssize_t length;

	buffer_consume(&channel->in, channel->taken);
	channel->taken = 0;
	do
		length = recvmsg(channel->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (length < 0 && errno == EINTR);
	if (length < 0)
		return -errno;
	keep_fd(channel, &message);
	int r = buffer_append(&channel->in, chunk, (size_t)length);
	return r < 0 ? r : length;
}

int channel_next(struct channel *channel, struct frame *ret_frame)
{
	size_t available = channel->in.length - channel->taken;
	struct frame frame = {0};

	if (available < sizeof(frame.header))
		return 0;
	memcpy(&frame.header, channel->in.data + channel->taken, sizeof(frame.header));
	if (frame.header.size > FRAME_BYTES_MAX || frame.header.type < FRAME_OPEN ||
	    frame.header.type >= FRAME_TYPE_END)
		return -EBADMSG;
	if (available < sizeof(frame.header) + frame.header.size)
		return 0;
	frame.payload = channel->in.data + channel->taken + sizeof(frame.header);
	channel->taken += sizeof(frame.header) + frame.header.size;
	*ret_frame = frame;
	return 1;
}

int channel_flush(struct channel *channel)
{
	size_t sent = 0;
	int r = 0;

	while (r == 0 && sent < channel->out.length) {
		ssize_t length = send(channel->fd, channel->out.data + sent,
				      channel->out.length - sent, MSG_NOSIGNAL);

		if (length >= 0)
			sent += (size_t)length;
		else if (errno != EINTR)
			r = -errno;
	}
	buffer_consume(&channel->out, sent);
	return r;
}

int channel_send_fd(struct channel *channel, enum frame_type type, uint64_t number, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct {
		struct frame_header header;
		uint64_t number;
	} content = {{.type = (uint16_t)type, .size = sizeof(number)}, number};
	struct iovec part = {.iov_base = &content, .iov_len = sizeof(content)};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	ssize_t length;

	if (channel->out.length)
		return -EBUSY;
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	do
		length = sendmsg(channel->fd, &message, MSG_NOSIGNAL);
	while (length < 0 && errno == EINTR);
	if (length < 0)
		return -errno;
	/* The frame is smaller than what an empty stream socket always takes at once. */
	return length == sizeof(content) ? 0 : -EIO;
}

void open_request_put(struct frame_writer *writer, const struct open_request *request)
{
	frame_put_number(writer, request->run);
	frame_put_number(writer, request->retention_age_ns);
	frame_put_number(writer, request->retention_count);
	frame_put_number(writer, request->retention_interval_ns);
	frame_put_number(writer, request->history_ns);
	frame_put_number(writer, request->lock_wait_ns);
	frame_put_number(writer, request->load);
	frame_put_number(writer, request->standby);
}

int open_request_get(struct frame *frame, struct open_request *ret_request)
{
	struct open_request request;

	request.run = frame_number(frame);
	request.retention_age_ns = frame_number(frame);
	request.retention_count = frame_number(frame);
	request.retention_interval_ns = frame_number(frame);
	request.history_ns = frame_number(frame);
	request.lock_wait_ns = frame_number(frame);
	request.load = frame_number(frame);
	request.standby = frame_number(frame);
	int r = frame_check(frame);
	if (r == 0)
		*ret_request = request;
	return r;
}

void record_put(struct frame_writer *writer, const struct record *record)
{
	frame_put_number(writer, (uint64_t)record->time);
	frame_put_number(writer, record->put);
	if (record->put) {
		frame_put_text(writer, record->namespace);
		frame_put_text(writer, record->name);
		frame_put_text(writer, record->uid);
		frame_put_text(writer, record->fingerprint);
		frame_put_text(writer, record->phase);
		frame_put_number(writer, record->final);
		frame_put_number(writer, record->actions);
		frame_put_number(writer, (uint64_t)record->created);
		frame_put_number(writer, (uint64_t)record->ended);
		frame_put_number(writer, (uint64_t)record->heard);
		frame_put_bytes(writer, record->document, record->document_length);
	}
	frame_put_text(writer, record->transition);
	frame_put_text(writer, record->delete_namespace);
	frame_put_text(writer, record->delete_name);
	frame_put_text(writer, record->position_source);
	frame_put_text(writer, record->position);
}

int record_get(struct frame *frame, uint64_t run, struct record *ret_record)
{
	struct record record = {.run = run,
				.sequence = frame->header.sequence,
				.again = frame->header.flags & FRAME_FLAG_AGAIN};

	record.time = (int64_t)frame_number(frame);
	record.put = frame_number(frame);
	if (record.put) {
		record.namespace = frame_text(frame, NULL);
		record.name = frame_text(frame, NULL);
		record.uid = frame_text(frame, NULL);
		record.fingerprint = frame_text(frame, NULL);
		record.phase = frame_text(frame, NULL);
		record.final = frame_number(frame);
		record.actions = frame_number(frame);
		record.created = (int64_t)frame_number(frame);
		record.ended = (int64_t)frame_number(frame);
		record.heard = (int64_t)frame_number(frame);
		record.document = frame_text(frame, &record.document_length);
	}
	record.transition = frame_text(frame, NULL);
	record.delete_namespace = frame_text(frame, NULL);
	record.delete_name = frame_text(frame, NULL);
	record.position_source = frame_text(frame, NULL);
	record.position = frame_text(frame, NULL);
	int r = frame_check(frame);
	if (r == 0)
		*ret_record = record;
	return r;
}
