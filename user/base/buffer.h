/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte buffer with a cap: nothing that comes from outside may grow one without end. Its
 * content is always followed by a NUL, so that it can be read as text.
 */
#pragma once

#include <stdarg.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/macro.h"

struct buffer {
	char *data; /* NULL until the first byte */
	size_t length; /* without the NUL */
	size_t capacity;
	size_t maximum; /* greatest length; far below SIZE_MAX */
	uint64_t cut; /* bytes that the cap kept out */
};

#define BUFFER(maximum_bytes) ((struct buffer){.maximum = (maximum_bytes)})

void buffer_free(struct buffer *buffer);
#define _cleanup_buffer_ _cleanup_(buffer_free)

/* All or nothing: returns 0, -ENOBUFS if the cap would be passed (counted in cut), or -ENOMEM. */
int buffer_append(struct buffer *buffer, const void *data, size_t length);
int buffer_append_text(struct buffer *buffer, const char *text);
int buffer_printf(struct buffer *buffer, const char *format, ...) _printf_(2, 3);

/* Appends as much as fits and counts the rest in cut. Returns 0 or -ENOMEM. */
int buffer_append_some(struct buffer *buffer, const void *data, size_t length);

/* Removes LENGTH bytes from the front. */
void buffer_consume(struct buffer *buffer, size_t length);

/* The content as text, "" when empty; valid until the next change. */
const char *buffer_text(const struct buffer *buffer);

/*
 * Hands the content over (never NULL on success); the buffer is empty then. Returns NULL on ENOMEM.
 */
char *buffer_take(struct buffer *buffer);

/*
 * One read(2) from FD into the buffer, of up to 64 KiB; bytes over the cap are read and counted in
 * cut. Returns the bytes read, 0 at the end of the file, or a negative errno.
 */
ssize_t buffer_read(struct buffer *buffer, int fd);
