/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Typed objects from JSON: types, limits and checks by the table, and errors that name the field by
 * its path.
 */
#include "base/clock.h"
#include "base/schema.h"
#include "base/suggestion.h"
#include "base/utf8.h"

/* cJSON holds doubles: whole numbers beyond this are not exact. */
#define INTEGER_MAX JSON_WHOLE_MAX

static void *at(void *object, size_t offset)
{
	return (char *)object + offset;
}

static int decode_into(const struct schema *schema, const cJSON *json, void *object,
		       struct problem *problem);

static const char *found_type(const cJSON *json)
{
	if (cJSON_IsString(json))
		return "a string";
	if (cJSON_IsNumber(json))
		return "a number";
	if (cJSON_IsBool(json))
		return cJSON_IsTrue(json) ? "true" : "false";
	if (cJSON_IsObject(json))
		return "an object";
	if (cJSON_IsArray(json))
		return "a list";
	return "null";
}

static int wrong_type(struct problem *problem, const char *expected, const cJSON *found)
{
	return problem_set(problem, -EINVAL, NULL, "must be %s, not %s", expected,
			   found_type(found));
}

static int keep_json(const cJSON *json, cJSON **value)
{
	*value = cJSON_Duplicate(json, true);
	return *value ? 0 : -ENOMEM;
}

static size_t count_characters(const char *text)
{
	size_t count = 0;

	for (; *text; text++)
		count += ((unsigned char)*text & 0xc0) != 0x80;
	return count;
}

static int decode_string(const struct field *field, const cJSON *json, char **value,
			 struct problem *problem)
{
	if (!cJSON_IsString(json))
		return wrong_type(problem, "a string", json);
	if (field->required && !*json->valuestring)
		return problem_set(problem, -EINVAL, NULL, "must not be empty");
	if (field->maximum && count_characters(json->valuestring) > (size_t)field->maximum)
		return problem_set(problem, -EINVAL, NULL,
				   "is %zu characters long; at most %lld are allowed",
				   count_characters(json->valuestring), (long long)field->maximum);
	*value = strdup(json->valuestring);
	return *value ? 0 : -ENOMEM;
}

static int decode_integer(const struct field *field, const cJSON *json, int64_t *value,
			  struct problem *problem)
{
	if (!cJSON_IsNumber(json))
		return wrong_type(problem, "a whole number", json);
	double number = json->valuedouble;
	if (!(number >= -(double)INTEGER_MAX && number <= (double)INTEGER_MAX))
		return problem_set(problem, -EINVAL, NULL,
				   "%g is out of range; whole numbers go to 2^53", number);
	int64_t whole = (int64_t)number;
	if ((double)whole != number)
		return problem_set(problem, -EINVAL, NULL, "must be a whole number, not %g",
				   number);
	if ((field->minimum || field->maximum) && whole < field->minimum)
		return problem_set(problem, -EINVAL, NULL, "must be at least %lld, not %lld",
				   (long long)field->minimum, (long long)whole);
	if (field->maximum && whole > field->maximum)
		return problem_set(problem, -EINVAL, NULL, "must be at most %lld, not %lld",
				   (long long)field->maximum, (long long)whole);
	*value = whole;
	return 0;
}

static int decode_time(const cJSON *json, int64_t *value, struct problem *problem)
{
	static const char expected[] = "a time such as 2026-11-23T17:45:01Z";

	if (!cJSON_IsString(json))
		return wrong_type(problem, expected, json);
	/* Go's zero time: what Alertmanager and Kubernetes write where nothing is set. */
	if (streq(json->valuestring, "0001-01-01T00:00:00Z"))
		return 0;
	if (time_parse(json->valuestring, value) < 0)
		return problem_set(problem, -EINVAL, NULL, "must be %s, not \"%.40s\"", expected,
				   json->valuestring);
	return 0;
}

static int decode_duration(const struct field *field, const cJSON *json, uint64_t *value,
			   struct problem *problem)
{
	static const char expected[] = "a duration such as 90s or 1m30s";
	char limit[TIME_TEXT_SIZE];
	uint64_t ns;

	if (!cJSON_IsString(json))
		return wrong_type(problem, expected, json);
	int r = duration_parse(json->valuestring, &ns);
	if (r == -ERANGE)
		return problem_set(problem, -EINVAL, NULL, "\"%.40s\" is too long a duration",
				   json->valuestring);
	if (r < 0)
		return problem_set(problem, -EINVAL, NULL, "must be %s, not \"%.40s\"", expected,
				   json->valuestring);
	if (ns < (uint64_t)field->minimum)
		return problem_set(problem, -EINVAL, NULL, "must be at least %s, not %.40s",
				   duration_format_exact((uint64_t)field->minimum, limit),
				   json->valuestring);
	if (field->maximum && ns > (uint64_t)field->maximum)
		return problem_set(problem, -EINVAL, NULL, "must be at most %s, not %.40s",
				   duration_format_exact((uint64_t)field->maximum, limit),
				   json->valuestring);
	*value = ns;
	return 0;
}

static int decode_enum(const struct field *field, const cJSON *json, int *value,
		       struct problem *problem)
{
	_cleanup_buffer_ struct buffer known = BUFFER(256);

	if (!cJSON_IsString(json))
		return wrong_type(problem, "a string", json);
	for (int i = 0; field->names[i]; i++)
		if (streq(field->names[i], json->valuestring)) {
			*value = i;
			return 0;
		}
	for (int i = 0; field->names[i]; i++)
		if (*field->names[i])
			(void)buffer_printf(&known, "%s%s", known.length ? ", " : "",
					    field->names[i]);
	return problem_set(problem, -EINVAL, NULL, "must be one of %s; not \"%.40s\"",
			   buffer_text(&known), json->valuestring);
}

static int decode_list(const struct field *field, const cJSON *json, struct list *list,
		       struct problem *problem)
{
	const cJSON *element;
	char index[24];

	if (!cJSON_IsArray(json))
		return wrong_type(problem, "a list", json);
	cJSON_ArrayForEach (element, json) {
		if (field->maximum && list->count >= (size_t)field->maximum)
			return problem_set(problem, -EINVAL, NULL,
					   "has %d items; at most %lld are allowed",
					   cJSON_GetArraySize(json), (long long)field->maximum);
		void *item = list_append(list, field->schema);
		if (!item)
			return -ENOMEM;
		int r = decode_into(field->schema, element, item, problem);
		if (r < 0) {
			snprintf(index, sizeof(index), "[%zu]", list->count - 1);
			problem_prefix(problem, index);
			return r;
		}
	}
	return 0;
}

static int decode_strings(const struct field *field, const cJSON *json, struct strings *strings,
			  struct problem *problem)
{
	const cJSON *element;
	char index[24];

	if (!cJSON_IsArray(json))
		return wrong_type(problem, "a list of strings", json);
	cJSON_ArrayForEach (element, json) {
		if (field->maximum && strings->count >= (size_t)field->maximum)
			return problem_set(problem, -EINVAL, NULL,
					   "has %d items; at most %lld are allowed",
					   cJSON_GetArraySize(json), (long long)field->maximum);
		if (!cJSON_IsString(element)) {
			snprintf(index, sizeof(index), "[%zu]", strings->count);
			wrong_type(problem, "a string", element);
			problem_prefix(problem, index);
			return -EINVAL;
		}
		int r = strings_append(strings, element->valuestring);
		if (r < 0)
			return r;
	}
	return 0;
}

static int decode_string_map(const struct field *field, const cJSON *json, cJSON **value,
			     struct problem *problem)
{
	const cJSON *member;
	int64_t count = 0;

	if (!cJSON_IsObject(json))
		return wrong_type(problem, "an object whose values are strings", json);
	cJSON_ArrayForEach (member, json) {
		if (field->maximum && ++count > field->maximum)
			return problem_set(problem, -EINVAL, NULL,
					   "has %d members; at most %lld are allowed",
					   cJSON_GetArraySize(json), (long long)field->maximum);
		if (!cJSON_IsString(member)) {
			wrong_type(problem, "a string", member);
			problem_prefix(problem, member->string);
			return -EINVAL;
		}
	}
	return keep_json(json, value);
}

static int decode_field(const struct field *field, const cJSON *json, void *value,
			struct problem *problem)
{
	switch (field->kind) {
	case FIELD_STRING:
		return decode_string(field, json, value, problem);
	case FIELD_BOOL:
		if (!cJSON_IsBool(json))
			return wrong_type(problem, "true or false", json);
		*(bool *)value = cJSON_IsTrue(json);
		return 0;
	case FIELD_TRISTATE:
		if (!cJSON_IsBool(json))
			return wrong_type(problem, "true or false", json);
		*(int *)value = cJSON_IsTrue(json);
		return 0;
	case FIELD_INTEGER:
		return decode_integer(field, json, value, problem);
	case FIELD_TIME:
		return decode_time(json, value, problem);
	case FIELD_DURATION:
		return decode_duration(field, json, value, problem);
	case FIELD_ENUM:
		return decode_enum(field, json, value, problem);
	case FIELD_OBJECT:
		*(void **)value = schema_new(field->schema);
		return *(void **)value ? decode_into(field->schema, json, *(void **)value, problem)
				       : -ENOMEM;
	case FIELD_STRUCT:
		return decode_into(field->schema, json, value, problem);
	case FIELD_LIST:
		return decode_list(field, json, value, problem);
	case FIELD_STRINGS:
		return decode_strings(field, json, value, problem);
	case FIELD_STRING_MAP:
		return decode_string_map(field, json, value, problem);
	case FIELD_JSON:
		if (!cJSON_IsObject(json))
			return wrong_type(problem, "an object", json);
		return keep_json(json, value);
	case FIELD_ANY:
		return keep_json(json, value);
	}
	return -EINVAL;
}

/* Decodes one field from its member (NULL when there is none) and runs its check. */
static int decode_member(const struct field *field, const cJSON *member, void *object,
			 struct problem *problem)
{
	void *value = at(object, field->offset);

	if (!member || cJSON_IsNull(member)) {
		if (field->required)
			return problem_set(problem, -EINVAL, field->name, "is required");
		return 0;
	}
	int r = decode_field(field, member, value, problem);
	if (r == 0 && field->required && field->kind == FIELD_ENUM &&
	    *field->names[*(int *)value] == '\0')
		return problem_set(problem, -EINVAL, field->name, "is required");
	if (r == 0 && field->check)
		r = field->check(value, problem);
	if (r < 0)
		problem_prefix(problem, field->name);
	return r;
}

static int refuse_unknown(const struct schema *schema, const cJSON *member, struct problem *problem)
{
	struct suggestion suggestion = {.text = member->string};
	char name[sizeof(problem->field)];

	for (size_t i = 0; i < schema->field_count; i++)
		suggestion_offer(&suggestion, schema->fields[i].name);
	size_t length = utf8_cut(member->string, MIN(strlen(member->string), (size_t)100));
	snprintf(name, sizeof(name), "%.*s", (int)length, member->string);
	if (suggestion.best)
		return problem_set(problem, -EINVAL, name,
				   "is not a field of %s; did you mean \"%s\"?", schema->name,
				   suggestion.best);
	return problem_set(problem, -EINVAL, name, "is not a field of %s", schema->name);
}

static int keep_unknown(const struct schema *schema, const cJSON *member, void *object,
			struct problem *problem)
{
	for (size_t i = 0; i < schema->field_count; i++)
		if (streq(schema->fields[i].name, member->string))
			return 0;
	if (schema->extra_offset == SCHEMA_STRICT)
		return refuse_unknown(schema, member, problem);
	cJSON **extra = at(object, (size_t)schema->extra_offset);
	if (!*extra)
		*extra = cJSON_CreateObject();
	cJSON *copy = *extra ? cJSON_Duplicate(member, true) : NULL;
	if (!copy)
		return -ENOMEM;
	if (!cJSON_AddItemToObject(*extra, member->string, copy)) {
		cJSON_Delete(copy);
		return -ENOMEM;
	}
	return 0;
}

/* Decodes into an object whose fields are absent; what was decoded before an error stays there. */
static int decode_into(const struct schema *schema, const cJSON *json, void *object,
		       struct problem *problem)
{
	const cJSON *member;
	int r;

	if (!cJSON_IsObject(json))
		return wrong_type(problem, "an object", json);
	/* Unknown members first: a mistyped key explains a required field that is missing. */
	cJSON_ArrayForEach (member, json) {
		r = keep_unknown(schema, member, object, problem);
		if (r < 0)
			return r;
	}
	for (const struct field *field = schema->fields;
	     field < schema->fields + schema->field_count; field++) {
		r = decode_member(field, cJSON_GetObjectItemCaseSensitive(json, field->name),
				  object, problem);
		if (r < 0)
			return r;
	}
	return schema->check ? schema->check(object, problem) : 0;
}

int schema_decode(const struct schema *schema, const cJSON *json, void **ret_object,
		  struct problem *problem)
{
	struct problem local = {0};
	void *object = schema_new(schema);

	if (!object)
		return -ENOMEM;
	int r = decode_into(schema, json, object, &local);
	if (r < 0) {
		schema_free(schema, object);
		if (r == -ENOMEM)
			problem_set(&local, r, NULL, "out of memory");
		if (problem)
			*problem = local;
		return r;
	}
	*ret_object = object;
	return 0;
}
