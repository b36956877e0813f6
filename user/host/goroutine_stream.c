/* SPDX-License-Identifier: Apache-2.0 */
/* Putting a goroutine dump together from the writes that it came in. */
#include "host/goroutine_stream.h"

#include "host/goroutine_text.h"

void goroutine_streams_clear(struct goroutine_streams *streams)
{
	for (size_t i = 0; i < streams->count; i++)
		buffer_free(&streams->items[i].text);
	streams->count = 0;
}

struct goroutine_stream *goroutine_stream_of(struct goroutine_streams *streams, int fd)
{
	for (size_t i = 0; i < streams->count; i++)
		if (streams->items[i].fd == fd)
			return &streams->items[i];
	if (streams->count == GOROUTINE_STREAMS_MAX)
		return NULL;
	struct goroutine_stream *stream = &streams->items[streams->count++];
	*stream = (struct goroutine_stream){.fd = fd, .text = BUFFER(streams->bytes_max)};
	return stream;
}

/*
 * True if RECORD is of a buffer of which the last one was the beginning: after a short write (a pipe that
 * is full, a signal) Go writes the rest again. The bytes must be the same too, as a logger may use a
 * buffer twice.
 */
static bool is_rest(const struct goroutine_stream *stream, const struct write_record *record)
{
	return stream->begun && record->total <= stream->total &&
	       record->address + record->total == stream->address + stream->total;
}

static bool has_bytes(const struct goroutine_stream *stream, int64_t at,
		      const struct write_record *record)
{
	return at >= 0 && (uint64_t)at <= stream->text.length &&
	       stream->text.length - (uint64_t)at >= record->length &&
	       memcmp(stream->text.data + at, record->data, record->length) == 0;
}

static int append(struct goroutine_stream *stream, const char *data, size_t length)
{
	uint64_t cut = stream->text.cut;
	int r = buffer_append_some(&stream->text, data, length);

	if (stream->text.cut != cut)
		stream->truncated = true;
	return r;
}

/* Markers may have come in pieces; what follows the END marker's line is not of the dump. */
static void find_markers(struct goroutine_stream *stream, size_t from)
{
	size_t marker = strlen(GOROUTINES_END);
	char *data = stream->text.data;

	from -= MIN(from, strlen(GOROUTINES_BEGIN));
	if (stream->text.length == 0)
		return;
	/* What came before may have been somebody's panic. */
	if (memmem(data + from, stream->text.length - from, GOROUTINES_BEGIN,
		   strlen(GOROUTINES_BEGIN)))
		stream->marked = true;
	if (!stream->marked)
		return;
	char *end = memmem(data + from, stream->text.length - from, GOROUTINES_END, marker);
	if (!end)
		return;
	stream->ended = true;
	char *newline = memchr(end, '\n', (size_t)(data + stream->text.length - end));
	if (newline) {
		stream->text.length = (size_t)(newline + 1 - data);
		stream->text.data[stream->text.length] = '\0';
	}
}

/* The beginning of a buffer: a new one, or the rest of the last. */
static void buffer_begin(struct goroutine_stream *stream, const struct write_record *record)
{
	int64_t rest = stream->start + (int64_t)(stream->total - record->total);

	stream->repeated = is_rest(stream, record) && has_bytes(stream, rest, record);
	if (!stream->repeated && stream->begun && stream->next < stream->total)
		stream->truncated = true;
	stream->start = stream->repeated ? rest : (int64_t)stream->text.length;
	stream->address = record->address;
	stream->total = record->total;
	stream->next = 0;
}

/* What the logger wrote before the dump in the same buffer is not kept. */
static int begin(struct goroutine_stream *stream, const struct write_record *record)
{
	const char *data = (const char *)record->data;
	const char *dump = goroutine_text_begin(data, record->length);

	if (!dump)
		return 0;
	stream->begun = true;
	stream->start = -(int64_t)(record->offset + (uint64_t)(dump - data));
	return append(stream, dump, record->length - (size_t)(dump - data));
}

int goroutine_stream_add(struct goroutine_stream *stream, const struct write_record *record)
{
	size_t from = stream->text.length;
	int r;

	if (stream->ignored || stream->ended)
		return 0;
	if (record->offset == 0)
		buffer_begin(stream, record);
	if (stream->begun && record->offset != stream->next)
		stream->truncated = true;
	stream->next = record->offset + record->length;
	if (record->flags & WRITE_UNREADABLE) {
		stream->truncated = stream->truncated || stream->begun;
		return stream->begun;
	}
	if (stream->repeated && has_bytes(stream, stream->start + (int64_t)record->offset, record))
		return 1;
	r = stream->begun ? append(stream, (const char *)record->data, record->length)
			  : begin(stream, record);
	if (r < 0)
		return r;
	find_markers(stream, from);
	return stream->begun;
}

static int rank(const struct goroutine_stream *stream)
{
	return (stream->marked ? 8 : 0) + (stream->ended ? 4 : 0) +
	       (stream->fd == STDERR_FILENO   ? 2
		: stream->fd == STDOUT_FILENO ? 1
					      : 0);
}

struct goroutine_stream *goroutine_streams_best(struct goroutine_streams *streams)
{
	struct goroutine_stream *best = NULL;

	for (size_t i = 0; i < streams->count; i++) {
		struct goroutine_stream *stream = &streams->items[i];

		if (stream->begun && !stream->ignored && (!best || rank(stream) > rank(best)))
			best = stream;
	}
	return best;
}
