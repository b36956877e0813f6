/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines from /dev/kmsg, which gives one record with each read. Their sequence numbers tell
 * exactly how many were overwritten before they were read.
 */
#include "detect/kernel_log.h"

#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>

#define RECORD_BYTES (16 * KIB) /* a record has at most 8 KiB: CONSOLE_EXT_LOG_MAX of the kernel */
#define BACKLOG_MAX 500000 /* more than the largest log holds, in case it fills while it is read */

struct kmsg {
	int fd;
	uint64_t next; /* sequence number of the next record */
	bool next_known;
	char record[RECORD_BYTES + 1];
};

/* \xHH, as the device writes what is not printable; in place. */
static size_t unescape(char *text, size_t length)
{
	size_t to = 0;

	for (size_t from = 0; from < length; to++) {
		unsigned byte;

		if (length - from >= 4 && text[from] == '\\' && text[from + 1] == 'x' &&
		    isxdigit((unsigned char)text[from + 2]) &&
		    isxdigit((unsigned char)text[from + 3]) &&
		    sscanf(text + from + 2, "%2x", &byte) == 1) {
			text[to] = (char)byte;
			from += 4;
		} else {
			text[to] = text[from++];
		}
	}
	return to;
}

int kmsg_parse(char *record, size_t length, struct kernel_line *ret_line, uint64_t *ret_time_us,
	       uint64_t *ret_sequence)
{
	char *text = memchr(record, ';', length);
	uint64_t sequence, time_us;
	unsigned priority;

	if (!text ||
	    sscanf(record, "%u,%" SCNu64 ",%" SCNu64 ",", &priority, &sequence, &time_us) != 3)
		return -EBADMSG;
	text++;
	/* The text ends with a newline; what follows is the record's dictionary. */
	length = unescape(text, strcspn(text, "\n"));
	*ret_line = (struct kernel_line){
		.text = text,
		.length = MIN(length, (size_t)KERNEL_LINE_SIZE),
		.cut = length > KERNEL_LINE_SIZE,
		.level = (int)(priority & 7),
		/* A program's facility is never the kernel's, 0. */
		.origin = priority >> 3 ? ORIGIN_PROGRAM : ORIGIN_KERNEL,
	};
	*ret_time_us = time_us;
	if (ret_sequence)
		*ret_sequence = sequence;
	return 0;
}

/* 1 with one record in RECORD, 0 when there is none, or a negative errno; -EPIPE: some are gone. */
static int read_record(struct kmsg *kmsg, size_t *ret_length)
{
	ssize_t length;

	do
		length = read(kmsg->fd, kmsg->record, RECORD_BYTES);
	while (length < 0 && errno == EINTR);
	if (length < 0)
		return errno == EAGAIN ? 0 : -errno;
	kmsg->record[length] = '\0';
	*ret_length = (size_t)length;
	return length > 0;
}

/* Also how many records there have been: only so it is known what is lost before the first read. */
static int skip_backlog(struct kmsg *kmsg)
{
	struct kernel_line line;
	uint64_t time_us, sequence;
	size_t length;

	for (unsigned i = 0; i < BACKLOG_MAX; i++) {
		int r = read_record(kmsg, &length);

		if (r == -EPIPE)
			continue;
		if (r <= 0)
			return r;
		if (kmsg_parse(kmsg->record, length, &line, &time_us, &sequence) == 0) {
			kmsg->next = sequence + 1;
			kmsg->next_known = true;
		}
	}
	return 0;
}

int kmsg_open(const struct host *host, struct kmsg **ret_kmsg, char *reason, size_t reason_size)
{
	_cleanup_(kmsg_freep) struct kmsg *kmsg = calloc(1, sizeof(*kmsg));
	_cleanup_free_ char *path = NULL;

	if (kmsg)
		kmsg->fd = -1;
	if (!kmsg || asprintf(&path, "%s/dev/kmsg", host->root) < 0) {
		path = NULL;
		return detector_fail(reason, reason_size, -ENOMEM, "opening /dev/kmsg");
	}
	kmsg->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (kmsg->fd < 0)
		return detector_fail(reason, reason_size, -errno, "opening %s", path);
	int r = skip_backlog(kmsg);

	if (r < 0)
		return detector_fail(reason, reason_size, r, "reading %s", path);
	*ret_kmsg = TAKE_PTR(kmsg);
	return 0;
}

void kmsg_free(struct kmsg *kmsg)
{
	if (!kmsg)
		return;
	if (kmsg->fd >= 0)
		close(kmsg->fd);
	free(kmsg);
}

int kmsg_read(struct kmsg *kmsg, const struct clock *clock, size_t records_max, kmsg_take take,
	      void *userdata, uint64_t *ret_lost)
{
	/* The log's clock is CLOCK_MONOTONIC within its rounding. */
	uint64_t boot_offset_ns = clock_boot(clock) - clock_monotonic(clock);
	struct kernel_line line;
	uint64_t time_us, sequence;
	size_t length;

	*ret_lost = 0;
	for (size_t i = 0; i < records_max; i++) {
		int r = read_record(kmsg, &length);

		if (r == -EPIPE)
			continue; /* the gap in the sequence numbers tells how many */
		if (r <= 0)
			return r;
		if (kmsg_parse(kmsg->record, length, &line, &time_us, &sequence) < 0)
			continue;
		if (kmsg->next_known && sequence > kmsg->next)
			*ret_lost += sequence - kmsg->next;
		kmsg->next = sequence + 1;
		kmsg->next_known = true;
		line.boot_ns = time_us * NS_PER_US + boot_offset_ns;
		take(userdata, &line);
	}
	return 1;
}
