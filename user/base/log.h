/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent says of itself, on standard error: one line a message, with a journal priority
 * (sd-daemon(3)) when standard error is the journal, and a time and a level otherwise.
 *
 * A message says what was being done, to what, what happened, and what to do about it. A function
 * either logs an error or returns it, never both.
 */
#pragma once

#include "base/macro.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Messages above LEVEL are dropped; LOG_LEVEL_INFO at the start. */
void log_set_level(enum log_level level);

/* Parses "error", "warning", "info" or "debug". Returns 0 or -EINVAL. */
int log_level_parse(const char *text, enum log_level *ret_level);

/*
 * Never blocks for long: what a reader of standard error that does not keep up has no room for is
 * dropped, and counted in the next message that goes through. (A regular file always has room, even
 * on a disk that hangs: see agent/log_relay.h.)
 */
void log_write(enum log_level level, const char *format, ...) _printf_(2, 3);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * Lets through at most BURST messages per INTERVAL_NS for one place, for messages that outside
 * events can cause without end. Returns true if this one may be written; the count that was
 * suppressed since the last one is stored in ret_suppressed.
 */
struct log_limit {
	uint64_t window_start_ns;
	uint32_t written, suppressed;
};
bool log_limit_pass(struct log_limit *limit, uint32_t burst, uint64_t interval_ns,
		    uint32_t *ret_suppressed);
