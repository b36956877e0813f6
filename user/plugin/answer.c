/* SPDX-License-Identifier: Apache-2.0 */
/* What a plug-in may change in an Abnormal, and nothing else. Pure. */
#include "plugin/call.h"

#include "base/buffer.h"

static const char *const allowed[] = {"message", "reason",	 "output",
				      "context", "identifiable", "recoverable"};

/* Leaves the path of the first difference in PROBLEM. Returns true if there is one. */
static bool difference_find(const cJSON *sent, const cJSON *answer, const char *path,
			    struct problem *problem)
{
	char below[sizeof(problem->field)];
	const cJSON *member;

	if (json_equal(sent, answer))
		return false;
	if (cJSON_IsObject(sent) && cJSON_IsObject(answer)) {
		const char *dot = *path ? "." : "";

		cJSON_ArrayForEach (member, sent) {
			snprintf(below, sizeof(below), "%s%s%s", path, dot, member->string);
			if (difference_find(
				    member,
				    cJSON_GetObjectItemCaseSensitive(answer, member->string), below,
				    problem))
				return true;
		}
		cJSON_ArrayForEach (member, answer) {
			snprintf(below, sizeof(below), "%s%s%s", path, dot, member->string);
			if (difference_find(cJSON_GetObjectItemCaseSensitive(sent, member->string),
					    member, below, problem))
				return true;
		}
	}
	if (cJSON_IsArray(sent) && cJSON_IsArray(answer) &&
	    cJSON_GetArraySize(sent) == cJSON_GetArraySize(answer)) {
		const cJSON *other = answer->child;
		int index = 0;

		cJSON_ArrayForEach (member, sent) {
			snprintf(below, sizeof(below), "%s[%d]", path, index++);
			if (difference_find(member, other, below, problem))
				return true;
			other = other->next;
		}
	}
	problem_set(problem, -EINVAL, path,
		    "was %s, but a plug-in may change only status.message, reason, output, "
		    "context, identifiable and recoverable",
		    !sent     ? "added"
		    : !answer ? "removed"
			      : "changed");
	return true;
}

int answer_check(const struct abnormal *sent, const struct abnormal *answer,
		 struct problem *problem)
{
	_cleanup_json_ cJSON *before = NULL, *after = NULL;
	int r = abnormal_encode(sent, &before);

	if (r == 0)
		r = abnormal_encode(answer, &after);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++) {
		cJSON_DeleteItemFromObjectCaseSensitive(
			cJSON_GetObjectItemCaseSensitive(before, "status"), allowed[i]);
		cJSON_DeleteItemFromObjectCaseSensitive(
			cJSON_GetObjectItemCaseSensitive(after, "status"), allowed[i]);
	}
	/* A status that held nothing else is as good as none. */
	cJSON *const objects[] = {before, after};
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		const cJSON *status = cJSON_GetObjectItemCaseSensitive(objects[i], "status");
		if (cJSON_IsObject(status) && !status->child)
			cJSON_DeleteItemFromObjectCaseSensitive(objects[i], "status");
	}
	return difference_find(before, after, "", problem) ? -EINVAL : 0;
}

/* What BASE's context becomes with ANSWER's members over it; NULL with -ENOMEM in RESULT. */
static int context_merge(const cJSON *base, const cJSON *answer, cJSON **ret_context)
{
	_cleanup_json_ cJSON *context = base ? cJSON_Duplicate(base, true) : cJSON_CreateObject();
	const cJSON *member;

	if (!context)
		return -ENOMEM;
	cJSON_ArrayForEach (member, answer) {
		cJSON *copy = cJSON_Duplicate(member, true);

		if (!copy || json_set(context, member->string, copy) < 0)
			return -ENOMEM;
	}
	*ret_context = TAKE_PTR(context);
	return 0;
}

/* A text of the answer over the present one; NULL leaves that. */
static int text_merge(const char *present, const char *answer, char **ret_text)
{
	const char *text = answer ? answer : present;

	*ret_text = text ? strdup(text) : NULL;
	return text && !*ret_text ? -ENOMEM : 0;
}

/* The members of a status that a plug-in may change. */
struct portion {
	char *message, *reason, *output;
	cJSON *context;
	bool identifiable, recoverable;
};

static void portion_free(struct portion *portion)
{
	free(portion->message);
	free(portion->reason);
	free(portion->output);
	cJSON_Delete(portion->context);
}

static void portion_swap(struct abnormal_status *status, struct portion *portion)
{
	struct portion old = {status->message, status->reason,	     status->output,
			      status->context, status->identifiable, status->recoverable};

	status->message = portion->message;
	status->reason = portion->reason;
	status->output = portion->output;
	status->context = portion->context;
	status->identifiable = portion->identifiable;
	status->recoverable = portion->recoverable;
	*portion = old;
}

int answer_merge(struct abnormal *abnormal, const struct abnormal *answer)
{
	const struct abnormal_status *told = &answer->status;
	struct abnormal_status *status = &abnormal->status;
	_cleanup_(portion_free) struct portion portion = {
		.identifiable = told->identifiable,
		.recoverable = told->recoverable,
	};
	_cleanup_buffer_ struct buffer text = BUFFER(ABNORMAL_HANDLED_BYTES_MAX);
	_cleanup_json_ cJSON *json = NULL;
	int r = text_merge(status->message, told->message, &portion.message);

	if (r == 0)
		r = text_merge(status->reason, told->reason, &portion.reason);
	if (r == 0)
		r = text_merge(status->output, told->output, &portion.output);
	if (r == 0 && (status->context || told->context))
		r = context_merge(status->context, told->context, &portion.context);
	if (r < 0)
		return r;
	portion_swap(status, &portion);
	r = abnormal_encode(abnormal, &json);
	if (r == 0)
		r = json_print_to(json, &text);
	if (r < 0)
		portion_swap(status, &portion);
	return r == -ENOBUFS ? -EFBIG : r;
}
