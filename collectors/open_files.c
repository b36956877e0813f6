/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collector open-files: what the process has open, how many of each kind, and how near it and the
 * node are to their limits. Only the links are read; the files themselves are not touched.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/plain.h"
#include "plugin/subject.h"

#define ARTIFACT_BYTES_MAX (256 * KIB)
#define FILES_MAX 1000000

static const char *kind_of(const char *target)
{
	static const struct {
		const char *prefix, *kind;
	} kinds[] = {
		{"socket:", "socket"}, {"pipe:", "pipe"},     {"anon_inode:", "anonymous"},
		{"/dev/", "device"},   {"/memfd:", "memory"}, {"/proc/", "kernel"},
		{"/sys/", "kernel"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (startswith(target, kinds[i].prefix))
			return kinds[i].kind;
	return endswith(target, " (deleted)") ? "deleted" : *target == '/' ? "file" : "other";
}

static void directory_closep(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

static int list_files(const struct host *host, int64_t pid, struct buffer *out, cJSON *kinds,
		      size_t *ret_count)
{
	char path[64], target[PATH_MAX];
	size_t count = 0;

	snprintf(path, sizeof(path), "%" PRId64 "/fd", pid);
	int fd = openat(host->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	_cleanup_(directory_closep) DIR *directory = fdopendir(fd);
	if (!directory)
		return -errno;
	for (struct dirent *entry; (entry = readdir(directory)) && count < FILES_MAX;) {
		if (entry->d_name[0] == '.')
			continue;
		ssize_t length =
			readlinkat(dirfd(directory), entry->d_name, target, sizeof(target) - 1);
		if (length < 0)
			continue; /* closed meanwhile */
		plain_copy(target, target, (size_t)length);
		count++;
		buffer_printf(out, "%6s  %s\n", entry->d_name, target);
		const char *kind = kind_of(target);
		if (json_set_number(kinds, kind, json_number(kinds, kind, 0) + 1) < 0)
			return -ENOMEM;
	}
	*ret_count = count;
	return 0;
}

/* "Max open files            1024                 524288               files" */
static int add_limits(const struct host *host, int64_t pid, cJSON *answer)
{
	_cleanup_free_ char *text = NULL;
	char path[64], soft[32], hard[32];

	snprintf(path, sizeof(path), "%" PRId64 "/limits", pid);
	if (file_read(host->proc, path, 16 * KIB, &text, NULL) < 0)
		return 0;
	const char *line = strstr(text, "Max open files");
	if (!line || sscanf(line, "Max open files %31s %31s", soft, hard) != 2)
		return 0;
	if (!streq(soft, "unlimited") &&
	    json_set_number(answer, "softLimit", strtod(soft, NULL)) < 0)
		return -ENOMEM;
	return streq(hard, "unlimited") ? 0
					: json_set_number(answer, "hardLimit", strtod(hard, NULL));
}

/* "1184	0	9223372036854775807": in use, always 0, the node's limit. */
static int add_node(const struct host *host, cJSON *answer)
{
	_cleanup_free_ char *text = NULL;
	unsigned long long used, limit;
	cJSON *node;

	if (file_read(host->proc, "sys/fs/file-nr", 4096, &text, NULL) < 0 ||
	    sscanf(text, "%llu %*u %llu", &used, &limit) != 2)
		return 0;
	node = cJSON_CreateObject();
	if (json_set(answer, "node", node) < 0 || json_set_number(node, "open", (double)used) < 0)
		return -ENOMEM;
	return limit >= INT64_MAX ? 0 : json_set_number(node, "limit", (double)limit);
}

static int collect(struct plugin_call *call)
{
	_cleanup_json_ cJSON *answer = cJSON_CreateObject();
	_cleanup_buffer_ struct buffer text = BUFFER(ARTIFACT_BYTES_MAX);
	cJSON *kinds = cJSON_CreateObject();
	struct process process;
	size_t count;

	if (json_set(answer, "kinds", kinds) < 0)
		return -ENOMEM;
	int r = subject_process_read(call, &process);
	if (r == -ENODATA || r == -ESRCH)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "the Abnormal names no process that still runs");
	if (r == 0)
		r = list_files(call->host, process.pid, &text, kinds, &count);
	if (r < 0)
		return plugin_fail(r, "cannot list the open files of the process: %s",
				   strerror(-r));
	if (json_set(answer, "process", process_json(&process)) < 0 ||
	    json_set_number(answer, "open", (double)count) < 0 ||
	    add_limits(call->host, process.pid, answer) < 0 || add_node(call->host, answer) < 0 ||
	    (text.cut && json_set_number(answer, "bytesCut", (double)text.cut) < 0))
		return -ENOMEM;
	r = plugin_artifact(call, "open-files.txt", buffer_text(&text), text.length);
	if (r < 0 && r != -ENOENT)
		return plugin_fail(r, "cannot keep open-files.txt: %s", strerror(-r));
	return plugin_answer(call, TAKE_PTR(answer));
}

PLUGIN(open_files_collector) = {
	.name = "open-files",
	.summary = "what the process has open, by kind, against its limit and the node's",
	.kind = PLUGIN_COLLECTOR,
	.order = 60,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.only_troubleshooting = true,
	.troubleshooting = true,
	.collect = collect,
};
