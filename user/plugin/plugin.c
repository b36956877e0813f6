/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What built-in plug-ins call: their context, their answer, their files. Nothing here knows the
 * chain or the process that they run in (run.c).
 */
#include "plugin/plugin.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/file.h"
#include "plugin/run.h"

const char *const plugin_kind_names[] = {"collector", "diagnoser", "recoverer", NULL};
const char *const plugin_step_names[] = {"collect", "diagnose", "plan", "recover", "verify", NULL};
const char *const disturbance_names[] = {"none", "process", "container", "pod", "node", NULL};

/* A worker process runs one step and ends, so one flag is enough for its whole life. */
static bool failure_told;

bool plugin_failure_told(void)
{
	return failure_told;
}

int plugin_fail(int code, const char *format, ...)
{
	char text[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	for (char *p = text; *p; p++)
		if (*p == '\n')
			*p = ' '; /* the last line is what becomes the reason */
	dprintf(STDERR_FILENO, "%s\n", text);
	failure_told = true;
	return code;
}

cJSON *plugin_context(struct plugin_call *call)
{
	cJSON *context = abnormal_context(call->abnormal);

	if (!context)
		return NULL;
	cJSON *own = cJSON_GetObjectItemCaseSensitive(context, call->plugin->name);
	if (cJSON_IsObject(own))
		return own;
	own = cJSON_CreateObject();
	if (!own || json_set(context, call->plugin->name, own) < 0)
		return NULL;
	return own;
}

const cJSON *plugin_context_of(const struct plugin_call *call, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(call->abnormal->status.context, name);
}

int plugin_answer(struct plugin_call *call, cJSON *value)
{
	cJSON *context = abnormal_context(call->abnormal);

	if (!context) {
		cJSON_Delete(value);
		return -ENOMEM;
	}
	int r = value ? json_set(context, call->plugin->name, value) : -ENOMEM;
	return r < 0 ? r : PLUGIN_RECOGNISED;
}

const cJSON *plugin_details(const struct plugin_call *call)
{
	const struct kernel_event *event = call->abnormal->spec.kernel_event;

	return event ? event->details : NULL;
}

int plugin_identify(struct plugin_call *call, const char *reason, const char *message_format, ...)
{
	struct abnormal_status *status = &call->abnormal->status;
	_cleanup_free_ char *message = NULL;
	va_list arguments;

	va_start(arguments, message_format);
	int length = vasprintf(&message, message_format, arguments);
	va_end(arguments);
	if (length < 0) {
		message = NULL; /* vasprintf leaves it undefined */
		return -ENOMEM;
	}
	int r = string_set(&status->reason, reason);
	if (r < 0)
		return r;
	free(status->message);
	status->message = TAKE_PTR(message);
	status->identifiable = true;
	return PLUGIN_RECOGNISED;
}

int plugin_artifact(struct plugin_call *call, const char *name, const void *data, size_t length)
{
	if (!call->artifact_directory)
		return -ENOENT;
	if (!*name || *name == '.' || strchr(name, '/'))
		return -EINVAL;
	_cleanup_close_ int directory =
		open(call->artifact_directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		return -errno;
	_cleanup_close_ int fd = openat(
		directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	return file_write_fd(fd, data, length);
}
