/* SPDX-License-Identifier: Apache-2.0 */
/* From the bytes of a reply to a verdict, a checked answer or an explanation. */
#include "plugin/call_result.h"

#include <stdarg.h>

#include "plugin/artifacts.h"

void call_result_clear(struct call_result *result)
{
	free(result->error);
	free(result->explanation);
	free(result->note);
	abnormal_free(result->answer);
	for (size_t i = 0; i < result->artifacts.count; i++)
		schema_clear(&artifact_schema, (struct artifact *)result->artifacts.items + i);
	free(result->artifacts.items);
	*result = (struct call_result){0};
}

int call_result_fail(struct call_result *result, const char *format, ...)
{
	char text[2048];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	result->verdict = CALL_ERROR;
	return string_set(&result->error, text);
}

/* The last line of TEXT that says something, fit to be shown: no control characters. */
static void last_line(const char *text, size_t length, char *line, size_t size)
{
	while (length && (unsigned char)text[length - 1] <= ' ')
		length--;
	size_t start = length;
	while (start && text[start - 1] != '\n')
		start--;
	snprintf(line, size, "%.*s", (int)(length - start), text + start);
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
}

/* The supervisor's explanation of an ending that is no answer; "" if it is one. */
static int ending_read(struct call_result *result, const struct call_reply *reply, const char *said,
		       const struct plugin_entry *entry)
{
	const char *colon = *said ? ": " : "";
	char limit[TIME_TEXT_SIZE];

	switch ((enum call_ending)reply->ending) {
	case ENDING_EXITED:
		if (reply->code == 0 || reply->code == 2)
			return 0;
		return call_result_fail(result, "exit status %d%s%s", reply->code, colon, said);
	case ENDING_SIGNALLED: {
		const char *name = sigdescr_np(reply->code);

		return call_result_fail(result, "died of signal %d (%s)%s%s", reply->code,
					name ? name : "unknown", colon, said);
	}
	case ENDING_DEADLINE:
		return call_result_fail(
			result, "did not end within its time limit of %s and was killed%s%s",
			duration_format(entry->timeout_ns, limit), *said ? "; it said last: " : "",
			said);
	case ENDING_OUTPUT_OVER:
		return call_result_fail(result,
					"answer is over the limit of %zu KiB; it was killed",
					CALL_OUTPUT_BYTES_MAX / KIB);
	case ENDING_STDERR_OVER:
		return call_result_fail(
			result, "standard error is over the limit of %zu MiB; it was killed%s%s",
			CALL_STDERR_BYTES_MAX / MIB, *said ? "; it said last: " : "", said);
	case ENDING_NOT_STARTED:
		return call_result_fail(result, "could not be started: %s", strerror(reply->code));
	}
	return call_result_fail(result, "its supervisor's reply has no meaning (ending %u)",
				reply->ending);
}

/*
 * Takes out of the answer's context what the plug-in only handed on (its own member excepted):
 * another plug-in's may have changed by the time that this answer is merged.
 */
static void context_prune(struct abnormal *answer, const struct abnormal *sent, const char *own)
{
	cJSON *next = answer->status.context ? answer->status.context->child : NULL;

	while (next) {
		cJSON *member = next;
		const cJSON *before =
			cJSON_GetObjectItemCaseSensitive(sent->status.context, member->string);

		next = next->next;
		if (before && !streq(member->string, own) && json_equal(before, member))
			cJSON_Delete(cJSON_DetachItemViaPointer(answer->status.context, member));
	}
}

static int answer_read(struct call_result *result, const char *output, size_t length,
		       const struct plugin_entry *entry, const struct abnormal *sent)
{
	_cleanup_abnormal_ struct abnormal *answer = NULL;
	struct problem problem = {0};
	char line[700];
	size_t blank = 0;

	while (blank < length && strchr(" \t\r\n", output[blank]) && output[blank])
		blank++;
	if (blank == length)
		return 0;
	int r = abnormal_parse_handled(output, length, &answer, &problem);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return call_result_fail(result, "answer is not an Abnormal: %s",
					problem_line(&problem, line, sizeof(line)));
	r = answer_check(sent, answer, &problem);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return call_result_fail(result, "answer refused: %s",
					problem_line(&problem, line, sizeof(line)));
	context_prune(answer, sent, entry->name);
	result->answer = TAKE_PTR(answer);
	return 0;
}

static int artifacts_read(struct call_result *result, const char *text, size_t length)
{
	_cleanup_json_ cJSON *files = NULL;
	const cJSON *file;

	if (!length)
		return 0;
	int r = json_parse(text, length, &files, NULL);
	if (r < 0)
		return r;
	cJSON_ArrayForEach (file, files) {
		struct artifact *artifact = list_append(&result->artifacts, &artifact_schema);

		if (!artifact)
			return -ENOMEM;
		artifact->bytes = (int64_t)json_u64(file, "bytes");
		r = string_set(&artifact->name, json_string(file, "name"));
		if (r == 0)
			r = string_set(&artifact->path, json_string(file, "path"));
		if (r < 0)
			return r;
	}
	return 0;
}

static int note_read(struct call_result *result, const struct call_reply *reply)
{
	char note[256];

	if (reply->artifacts_error)
		snprintf(note, sizeof(note), "its artifacts could not be kept: %s",
			 strerror(reply->artifacts_error));
	else if (reply->artifacts_removed)
		snprintf(
			note, sizeof(note),
			"%u artifacts were left out: the limit is %zu MiB in %d files of %d levels",
			reply->artifacts_removed, ARTIFACTS_BYTES_MAX / MIB, ARTIFACTS_COUNT_MAX,
			ARTIFACTS_DEPTH_MAX);
	else
		return 0;
	return string_set(&result->note, note);
}

int call_result_read(struct call_result *result, const struct call_reply_view *view,
		     const struct plugin_entry *entry, const struct abnormal *sent)
{
	const struct call_reply *reply = view->reply;
	char said[1024];

	last_line(view->error, reply->error_bytes, said, sizeof(said));
	int r = ending_read(result, reply, said, entry);
	if (r == 0 && reply->ending == ENDING_EXITED && reply->code == 2) {
		result->verdict = CALL_NOT_MINE;
		r = string_set(&result->explanation, *said ? said : NULL);
	}
	if (r == 0 && reply->ending == ENDING_EXITED && reply->code == 0) {
		result->verdict = CALL_RECOGNISED;
		r = answer_read(result, view->output, reply->output_bytes, entry, sent);
	}
	if (r == 0 && reply->stuck) {
		_cleanup_free_ char *error = TAKE_PTR(result->error);

		r = call_result_fail(
			result, "%s%s%u of its processes cannot be killed: stuck in the kernel",
			error ? error : "", error ? "; " : "", reply->stuck);
	}
	if (r == 0)
		r = artifacts_read(result, view->artifacts, reply->artifacts_bytes);
	return r < 0 ? r : note_read(result, reply);
}
