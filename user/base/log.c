/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines to standard error, as the journal or a person wants to read them. */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const struct {
	const char *name, *journal_prefix;
} levels[] = {
	[LOG_LEVEL_ERROR] = {"error", "<3>"},
	[LOG_LEVEL_WARNING] = {"warning", "<4>"},
	[LOG_LEVEL_INFO] = {"info", "<6>"},
	[LOG_LEVEL_DEBUG] = {"debug", "<7>"},
};

/* The one process-wide setting: how much to say. */
static enum log_level maximum = LOG_LEVEL_INFO;

void log_set_level(enum log_level level)
{
	maximum = level;
}

int log_level_parse(const char *text, enum log_level *ret_level)
{
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (streq(text, levels[i].name)) {
			*ret_level = (enum log_level)i;
			return 0;
		}
	return -EINVAL;
}

/* systemd sets JOURNAL_STREAM to the device and inode of the stream it connected. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t device, inode;
	struct stat status;

	return stream && sscanf(stream, "%" SCNuMAX ":%" SCNuMAX, &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device &&
	       status.st_ino == inode;
}

/* A reader that was fast until now gets this long. */
#define ROOM_WITHIN_MS 100

/* Messages lost since the last that was written. */
static unsigned lost;

/*
 * A pipe with room has at least a page, more than a message. O_NONBLOCK would be simpler, but belongs
 * to the open file, and so to whoever else writes to it.
 */
static bool stderr_has_room(void)
{
	struct pollfd polled = {.fd = STDERR_FILENO, .events = POLLOUT};

	return poll(&polled, 1, lost ? 0 : ROOM_WITHIN_MS) > 0 && polled.revents & POLLOUT;
}

static void line_write(enum log_level level, const char *text)
{
	char line[1200];
	int length;

	if (stderr_is_journal()) {
		length = snprintf(line, sizeof(line), "%s%s\n", levels[level].journal_prefix, text);
	} else {
		char stamp[32] = "";
		struct timespec now;
		struct tm utc;

		clock_gettime(CLOCK_REALTIME, &now);
		gmtime_r(&now.tv_sec, &utc);
		strftime(stamp, sizeof(stamp), "%H:%M:%S", &utc);
		length = snprintf(line, sizeof(line), "%s.%03ldZ %-7s %s\n", stamp,
				  now.tv_nsec / 1000000, levels[level].name, text);
	}
	if (!stderr_has_room() || write(STDERR_FILENO, line, (size_t)length) < 0)
		lost++;
}

void log_write(enum log_level level, const char *format, ...)
{
	char text[1024], told[80];
	va_list arguments;

	if (level > maximum)
		return;
	int saved = errno;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	/* One line, and no control sequences: names of processes and files come from anybody. */
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
	unsigned before = lost;
	if (before && stderr_has_room()) {
		lost = 0;
		snprintf(told, sizeof(told),
			 "%u messages were lost here: standard error is not read fast enough",
			 before);
		line_write(LOG_LEVEL_WARNING, told);
	}
	line_write(level, text);
	errno = saved;
}

bool log_limit_pass(struct log_limit *limit, uint32_t burst, uint64_t interval_ns,
		    uint32_t *ret_suppressed)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	uint64_t now_ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
	if (now_ns - limit->window_start_ns >= interval_ns) {
		limit->window_start_ns = now_ns;
		limit->written = 0;
	}
	if (limit->written >= burst) {
		limit->suppressed++;
		return false;
	}
	limit->written++;
	*ret_suppressed = limit->suppressed;
	limit->suppressed = 0;
	return true;
}
