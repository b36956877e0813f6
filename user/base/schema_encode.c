/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Typed objects to JSON: the fields in the order of their table, then what the table does not know.
 */
#include "base/clock.h"
#include "base/schema.h"

static int encode_into(const struct schema *schema, const void *object, cJSON *json);

static int encode_integer(const struct field *field, int64_t value, cJSON *json)
{
	if (value == field->absent && !field->always)
		return 0;
	return json_set_number(json, field->name, (double)value);
}

static int encode_duration(const struct field *field, uint64_t ns, cJSON *json)
{
	char text[TIME_TEXT_SIZE];

	if (ns == (uint64_t)field->absent)
		return 0;
	return json_set_string(json, field->name, duration_format_exact(ns, text));
}

static int encode_enum(const struct field *field, int value, cJSON *json)
{
	const char *name = field->names[value];

	return *name && value ? json_set_string(json, field->name, name) : 0;
}

static int encode_object(const struct field *field, const void *object, cJSON *json)
{
	_cleanup_json_ cJSON *member = NULL;

	if (!object)
		return 0;
	int r = schema_encode(field->schema, object, &member);
	return r < 0 ? r : json_set(json, field->name, TAKE_PTR(member));
}

/* An embedded object of which nothing is set is not there. */
static int encode_struct(const struct field *field, const void *object, cJSON *json)
{
	_cleanup_json_ cJSON *member = cJSON_CreateObject();

	if (!member)
		return -ENOMEM;
	int r = encode_into(field->schema, object, member);
	return r < 0 || !member->child ? r : json_set(json, field->name, TAKE_PTR(member));
}

static int encode_list(const struct field *field, const struct list *list, cJSON *json)
{
	_cleanup_json_ cJSON *elements = NULL;

	if (!list->count)
		return 0;
	elements = cJSON_CreateArray();
	if (!elements)
		return -ENOMEM;
	for (size_t i = 0; i < list->count; i++) {
		cJSON *element;
		int r = schema_encode(field->schema,
				      (const char *)list->items + i * field->schema->size,
				      &element);

		if (r < 0)
			return r;
		cJSON_AddItemToArray(elements, element);
	}
	return json_set(json, field->name, TAKE_PTR(elements));
}

static int encode_strings(const struct field *field, const struct strings *strings, cJSON *json)
{
	if (!strings->count)
		return 0;
	return json_set(
		json, field->name,
		cJSON_CreateStringArray((const char *const *)strings->items, (int)strings->count));
}

static int encode_field(const struct field *field, const void *value, cJSON *json)
{
	char text[TIME_TEXT_SIZE];

	switch (field->kind) {
	case FIELD_STRING:
		return json_set_string(json, field->name, *(char *const *)value);
	case FIELD_BOOL:
		return *(const bool *)value ? json_set_bool(json, field->name, true) : 0;
	case FIELD_TRISTATE:
		return *(const int *)value >= 0
			       ? json_set_bool(json, field->name, *(const int *)value)
			       : 0;
	case FIELD_INTEGER:
		return encode_integer(field, *(const int64_t *)value, json);
	case FIELD_TIME:
		if (*(const int64_t *)value == TIME_ABSENT)
			return 0;
		return json_set_string(json, field->name,
				       time_format(*(const int64_t *)value, text));
	case FIELD_DURATION:
		return encode_duration(field, *(const uint64_t *)value, json);
	case FIELD_ENUM:
		return encode_enum(field, *(const int *)value, json);
	case FIELD_OBJECT:
		return encode_object(field, *(void *const *)value, json);
	case FIELD_STRUCT:
		return encode_struct(field, value, json);
	case FIELD_LIST:
		return encode_list(field, value, json);
	case FIELD_STRINGS:
		return encode_strings(field, value, json);
	case FIELD_STRING_MAP:
	case FIELD_JSON:
	case FIELD_ANY:
		if (!*(cJSON *const *)value)
			return 0;
		return json_set(json, field->name, cJSON_Duplicate(*(cJSON *const *)value, true));
	}
	return -EINVAL;
}

static int encode_into(const struct schema *schema, const void *object, cJSON *json)
{
	const cJSON *extra, *member;
	int r;

	for (const struct field *field = schema->fields;
	     field < schema->fields + schema->field_count; field++) {
		r = encode_field(field, (const char *)object + field->offset, json);
		if (r < 0)
			return r;
	}
	if (schema->extra_offset == SCHEMA_STRICT)
		return 0;
	extra = *(cJSON *const *)((const char *)object + schema->extra_offset);
	cJSON_ArrayForEach (member, extra) {
		r = json_set(json, member->string, cJSON_Duplicate(member, true));
		if (r < 0)
			return r;
	}
	return 0;
}

int schema_encode(const struct schema *schema, const void *object, cJSON **ret_json)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (!json)
		return -ENOMEM;
	int r = encode_into(schema, object, json);
	if (r < 0)
		return r;
	*ret_json = TAKE_PTR(json);
	return 0;
}
