/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Abnormal as a whole: made, read, written, and the few changes that several parts make to it.
 */
#include "core/abnormal.h"

struct abnormal *abnormal_new(void)
{
	_cleanup_abnormal_ struct abnormal *abnormal = schema_new(&abnormal_schema);

	if (!abnormal || string_set(&abnormal->api_version, ABNORMAL_API_VERSION) < 0 ||
	    string_set(&abnormal->kind, ABNORMAL_KIND) < 0)
		return NULL;
	return TAKE_PTR(abnormal);
}

void abnormal_free(struct abnormal *abnormal)
{
	schema_free(&abnormal_schema, abnormal);
}

struct abnormal *abnormal_copy(const struct abnormal *abnormal)
{
	return schema_copy(&abnormal_schema, abnormal);
}

static int refuse_size(size_t maximum, struct problem *problem)
{
	return problem_set(problem, -EFBIG, NULL,
			   "is larger than %zu KiB, the greatest Abnormal accepted", maximum / KIB);
}

static int decode(const cJSON *json, size_t maximum, struct abnormal **ret_abnormal,
		  struct problem *problem)
{
	_cleanup_buffer_ struct buffer text = BUFFER(maximum);
	void *object;
	int r = json_print_to(json, &text);

	if (r == -ENOBUFS)
		return refuse_size(maximum, problem);
	if (r == 0)
		r = schema_decode(&abnormal_schema, json, &object, problem);
	if (r < 0)
		return r;
	*ret_abnormal = object;
	return 0;
}

static int parse(const char *text, size_t length, size_t maximum, struct abnormal **ret_abnormal,
		 struct problem *problem)
{
	_cleanup_json_ cJSON *json = NULL;

	if (length > maximum)
		return refuse_size(maximum, problem);
	int r = json_parse(text, length, &json, problem);
	return r < 0 ? r : decode(json, maximum, ret_abnormal, problem);
}

int abnormal_decode(const cJSON *json, struct abnormal **ret_abnormal, struct problem *problem)
{
	return decode(json, ABNORMAL_BYTES_MAX, ret_abnormal, problem);
}

int abnormal_parse(const char *text, size_t length, struct abnormal **ret_abnormal,
		   struct problem *problem)
{
	return parse(text, length, ABNORMAL_BYTES_MAX, ret_abnormal, problem);
}

int abnormal_parse_handled(const char *text, size_t length, struct abnormal **ret_abnormal,
			   struct problem *problem)
{
	return parse(text, length, ABNORMAL_HANDLED_BYTES_MAX, ret_abnormal, problem);
}

int abnormal_encode(const struct abnormal *abnormal, cJSON **ret_json)
{
	return schema_encode(&abnormal_schema, abnormal, ret_json);
}

int abnormal_print(const struct abnormal *abnormal, char **ret_text)
{
	_cleanup_json_ cJSON *json = NULL;
	int r = abnormal_encode(abnormal, &json);

	if (r < 0)
		return r;
	char *text = json_print(json);
	if (!text)
		return -ENOMEM;
	*ret_text = text;
	return 0;
}

const struct condition *abnormal_condition(const struct abnormal *abnormal,
					   enum condition_type type)
{
	const struct condition *conditions = abnormal->status.conditions.items;

	for (size_t i = 0; i < abnormal->status.conditions.count; i++)
		if (conditions[i].type == (int)type)
			return &conditions[i];
	return NULL;
}

int abnormal_set_condition(struct abnormal *abnormal, enum condition_type type,
			   enum condition_status status, const char *reason, const char *message,
			   int64_t now_realtime_ns)
{
	_cleanup_free_ char *new_reason = reason ? strdup(reason) : NULL;
	_cleanup_free_ char *new_message = message ? strdup(message) : NULL;
	/* Const for those who only look; the Abnormal itself is ours to change. */
	struct condition *condition = (struct condition *)abnormal_condition(abnormal, type);

	if ((reason && !new_reason) || (message && !new_message))
		return -ENOMEM;
	if (!condition)
		condition = list_append(&abnormal->status.conditions, &condition_schema);
	if (!condition)
		return -ENOMEM;
	if (condition->status != (int)status || condition->last_transition_time == TIME_ABSENT)
		condition->last_transition_time = now_realtime_ns;
	condition->type = (int)type;
	condition->status = (int)status;
	free(condition->reason);
	free(condition->message);
	condition->reason = TAKE_PTR(new_reason);
	condition->message = TAKE_PTR(new_message);
	return 0;
}

int64_t abnormal_changed_time(const struct abnormal *abnormal)
{
	const struct condition *conditions = abnormal->status.conditions.items;
	int64_t latest = abnormal->metadata.creation_timestamp;

	for (size_t i = 0; i < abnormal->status.conditions.count; i++)
		latest = MAX(latest, conditions[i].last_transition_time);
	return latest;
}

int64_t abnormal_latest_time(const struct abnormal *abnormal)
{
	const struct action *actions = abnormal->status.actions.items;
	const struct occurrences *occurrences = abnormal->status.occurrences;
	int64_t latest = abnormal_changed_time(abnormal);

	for (size_t i = 0; i < abnormal->status.actions.count; i++)
		latest = MAX(latest, MAX(actions[i].intent_time, actions[i].finish_time));
	return occurrences ? MAX(latest, occurrences->last_time) : latest;
}

void abnormal_clear_status(struct abnormal *abnormal)
{
	for (size_t i = 0; i < abnormal_schema.field_count; i++)
		if (streq(abnormal_schema.fields[i].name, "status"))
			schema_clear(abnormal_schema.fields[i].schema, &abnormal->status);
}

void abnormal_pack(struct abnormal *abnormal)
{
	cJSON *piece;

	cJSON_ArrayForEach (piece, abnormal->status.context)
		json_pack(piece);
	if (abnormal->spec.kernel_event)
		json_pack(abnormal->spec.kernel_event->details);
}

int abnormal_unpack(struct abnormal *abnormal)
{
	struct kernel_event *event = abnormal->spec.kernel_event;
	int r = event ? json_unpack(event->details) : 0;
	cJSON *piece;

	cJSON_ArrayForEach (piece, abnormal->status.context)
		r = r < 0 ? r : json_unpack(piece);
	return r;
}

int string_set(char **member, const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	if (text && !copy)
		return -ENOMEM;
	free(*member);
	*member = copy;
	return 0;
}

const char *abnormal_label(const struct abnormal *abnormal, const char *name)
{
	return json_string(abnormal->metadata.labels, name);
}

const char *abnormal_annotation(const struct abnormal *abnormal, const char *name)
{
	return json_string(abnormal->metadata.annotations, name);
}

cJSON *abnormal_context(struct abnormal *abnormal)
{
	if (!abnormal->status.context)
		abnormal->status.context = cJSON_CreateObject();
	return abnormal->status.context;
}
