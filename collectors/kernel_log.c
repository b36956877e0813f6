/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collector kernel-log: what the kernel said around the fault. The artifact has all lines of a
 * minute before and after; the summary the most telling ones.
 */
#include <fcntl.h>
#include <inttypes.h>

#include "base/buffer.h"
#include "plugin/subject.h"

#define WINDOW_US INT64_C(60000000)
#define ARTIFACT_BYTES_MAX (256 * KIB)
#define CHUNK_BYTES (16 * KIB) /* a record has at most 8 KiB: CONSOLE_EXT_LOG_MAX of the kernel */
#define READS_MAX 500000 /* more than the largest ring holds, in case it fills while it is read */
#define TELLING_MAX 12
#define ERROR_PRIORITY 3 /* LOG_ERR of syslog(3); lower is worse */

/* What faults of the kernel say of themselves, at whatever priority. */
static const char *const telling_words[] = {
	"blocked for more than",
	"blocked in I/O wait",
	"Out of memory",
	"out of memory",
	"oom-kill:",
	"invoked oom-killer",
	"I/O error",
	"hung",
	"not responding",
	"timed out",
	"timeout",
	"BUG:",
	"WARNING:",
	"soft lockup",
	"stall",
	"reset",
	"offline",
	"remount",
	"Remounting",
	"corrupt",
};

struct log_lines {
	int64_t from_us, to_us;
	struct buffer text;
	char *telling[TELLING_MAX]; /* a ring of the last ones */
	size_t telling_count;
	size_t lines;
	bool lost; /* the kernel overwrote lines while they were read */
};

static void log_lines_clear(struct log_lines *lines)
{
	buffer_free(&lines->text);
	for (size_t i = 0; i < TELLING_MAX; i++)
		free(lines->telling[i]);
}

static bool is_telling(unsigned priority, const char *message)
{
	if (priority <= ERROR_PRIORITY)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(telling_words); i++)
		if (strstr(message, telling_words[i]))
			return true;
	return false;
}

/*
 * "6,339,5140900,-;message", of Documentation/ABI/testing/dev-kmsg; what follows it starts with a
 * space.
 */
static int take_line(struct log_lines *lines, const char *line)
{
	const char *message = strchr(line, ';');
	unsigned priority;
	long long time_us;

	if (*line == ' ' || !message || sscanf(line, "%u,%*u,%lld,", &priority, &time_us) != 2 ||
	    time_us < lines->from_us || time_us > lines->to_us)
		return 0;
	message++;
	lines->lines++;
	/* The newest lines matter most, and the oldest make place for them. */
	size_t needed = strlen(message) + 32;
	if (lines->text.length + needed > lines->text.maximum) {
		size_t drop = strcspn(buffer_text(&lines->text) + needed, "\n") + needed + 1;

		lines->text.cut += MIN(drop, lines->text.length);
		buffer_consume(&lines->text, MIN(drop, lines->text.length));
	}
	int r = buffer_printf(&lines->text, "[%5lld.%06lld] %s\n", time_us / 1000000,
			      time_us % 1000000, message);
	if (r < 0 || !is_telling(priority & 7, message))
		return r;
	char *copy = strdup(message);
	if (!copy)
		return -ENOMEM;
	char **slot = &lines->telling[lines->telling_count++ % TELLING_MAX];
	free(*slot);
	*slot = copy;
	return 0;
}

/* Each read gives one record of the device; a plain file gives many, cut anywhere but in tests. */
static int read_lines(int fd, struct log_lines *lines)
{
	_cleanup_free_ char *chunk = malloc(CHUNK_BYTES + 1);

	if (!chunk)
		return -ENOMEM;
	for (unsigned reads = 0; reads < READS_MAX; reads++) {
		ssize_t length = read(fd, chunk, CHUNK_BYTES);

		if (length < 0 && errno == EPIPE) {
			lines->lost = true; /* and the next read goes on with the oldest there is */
			continue;
		}
		if (length < 0 && errno == EINTR)
			continue;
		if (length == 0 || (length < 0 && errno == EAGAIN))
			return 0;
		if (length < 0)
			return -errno;
		chunk[length] = '\0';
		char *rest = chunk;
		for (char *line; (line = strsep(&rest, "\n"));) {
			int r = take_line(lines, line);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* The instant of the fault on the log's clock, which is CLOCK_MONOTONIC within its rounding. */
static int64_t event_time_us(const struct plugin_call *call)
{
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	int64_t now_us = (int64_t)(clock_monotonic(call->clock) / NS_PER_US);

	if (!event || event->time == TIME_ABSENT)
		return now_us;
	return now_us - (clock_realtime(call->clock) - event->time) / (int64_t)NS_PER_US;
}

static int answer_lines(struct plugin_call *call, const struct log_lines *lines)
{
	_cleanup_json_ cJSON *answer = cJSON_CreateObject();
	cJSON *telling = cJSON_CreateArray();

	if (json_set(answer, "telling", telling) < 0 ||
	    json_set_number(answer, "lines", (double)lines->lines) < 0 ||
	    (lines->text.cut && json_set_number(answer, "bytesCut", (double)lines->text.cut) < 0) ||
	    (lines->lost && json_set_bool(answer, "linesLost", true) < 0))
		return -ENOMEM;
	size_t first = lines->telling_count > TELLING_MAX ? lines->telling_count - TELLING_MAX : 0;
	for (size_t i = first; i < lines->telling_count; i++) {
		cJSON *line = cJSON_CreateString(lines->telling[i % TELLING_MAX]);

		if (!line)
			return -ENOMEM;
		cJSON_AddItemToArray(telling, line);
	}
	return plugin_answer(call, TAKE_PTR(answer));
}

static int collect(struct plugin_call *call)
{
	int64_t time_us = event_time_us(call);
	_cleanup_(log_lines_clear) struct log_lines lines = {
		.from_us = time_us - WINDOW_US,
		.to_us = time_us + WINDOW_US,
		.text = BUFFER(ARTIFACT_BYTES_MAX),
	};
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s/dev/kmsg", call->host->root) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return plugin_fail(-errno,
				   "cannot open %s: %s; the agent needs CAP_SYSLOG and, in a "
				   "container, that device",
				   path, strerror(errno));
	int r = read_lines(fd, &lines);
	if (r < 0)
		return plugin_fail(r, "cannot read %s: %s", path, strerror(-r));
	r = plugin_artifact(call, "kernel-log.txt", buffer_text(&lines.text), lines.text.length);
	if (r < 0 && r != -ENOENT)
		return plugin_fail(r, "cannot keep kernel-log.txt: %s", strerror(-r));
	return answer_lines(call, &lines);
}

PLUGIN(kernel_log_collector) = {
	.name = "kernel-log",
	.summary = "what the kernel logged a minute before and after",
	.kind = PLUGIN_COLLECTOR,
	.order = 50,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.troubleshooting = true,
	.collect = collect,
};
