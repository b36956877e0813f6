/* SPDX-License-Identifier: Apache-2.0 */
/* Byte buffers that grow up to a cap. */
#include "base/buffer.h"

#include <stdio.h>

void buffer_free(struct buffer *buffer)
{
	free(buffer->data);
	*buffer = BUFFER(buffer->maximum);
}

static int buffer_reserve(struct buffer *buffer, size_t length)
{
	size_t needed = buffer->length + length + 1;

	if (needed <= buffer->capacity)
		return 0;
	size_t capacity = MAX(needed, MIN(buffer->capacity * 2, buffer->maximum + 1));
	capacity = MAX(capacity, (size_t)64);
	char *data = realloc(buffer->data, capacity);
	if (!data)
		return -ENOMEM;
	buffer->data = data;
	buffer->capacity = capacity;
	return 0;
}

int buffer_append(struct buffer *buffer, const void *data, size_t length)
{
	if (length > buffer->maximum - buffer->length) {
		buffer->cut += length;
		return -ENOBUFS;
	}
	int r = buffer_reserve(buffer, length);
	if (r < 0)
		return r;
	if (length)
		memcpy(buffer->data + buffer->length, data, length);
	buffer->length += length;
	buffer->data[buffer->length] = '\0';
	return 0;
}

int buffer_append_text(struct buffer *buffer, const char *text)
{
	return buffer_append(buffer, text, strlen(text));
}

int buffer_append_some(struct buffer *buffer, const void *data, size_t length)
{
	size_t room = MIN(length, buffer->maximum - buffer->length);
	int r = buffer_append(buffer, data, room);

	if (r == 0)
		buffer->cut += length - room;
	return r;
}

int buffer_printf(struct buffer *buffer, const char *format, ...)
{
	va_list arguments, again;

	va_start(arguments, format);
	va_copy(again, arguments);
	int length = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	int r = length < 0 ? -EINVAL : 0;
	if (r == 0 && (size_t)length > buffer->maximum - buffer->length) {
		buffer->cut += (size_t)length;
		r = -ENOBUFS;
	}
	if (r == 0)
		r = buffer_reserve(buffer, (size_t)length);
	if (r == 0) {
		vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, again);
		buffer->length += (size_t)length;
	}
	va_end(again);
	return r;
}

void buffer_consume(struct buffer *buffer, size_t length)
{
	length = MIN(length, buffer->length);
	if (!buffer->data || !length)
		return;
	memmove(buffer->data, buffer->data + length, buffer->length - length + 1);
	buffer->length -= length;
}

const char *buffer_text(const struct buffer *buffer)
{
	return buffer->data ? buffer->data : "";
}

char *buffer_take(struct buffer *buffer)
{
	char *data = buffer->data ? TAKE_PTR(buffer->data) : strdup("");

	*buffer = BUFFER(buffer->maximum);
	return data;
}

ssize_t buffer_read(struct buffer *buffer, int fd)
{
	char chunk[64 * 1024];
	ssize_t length = read(fd, chunk, sizeof(chunk));

	if (length < 0)
		return -errno;
	int r = buffer_append_some(buffer, chunk, (size_t)length);
	return r < 0 ? r : length;
}
