/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine behind typed objects: makes, copies and frees what a table describes. Each operation
 * is one switch over the kinds of field. Reading JSON is in schema_decode.c, writing in
 * schema_encode.c.
 */
#include "base/schema.h"

static void *at(void *object, size_t offset)
{
	return (char *)object + offset;
}

static const void *at_const(const void *object, size_t offset)
{
	return (const char *)object + offset;
}

/* --- Making and freeing ------------------------------------------------------------------- */

/* Sets every field of zeroed memory absent, where absent is not all zeros. */
static void initialise(const struct schema *schema, void *object)
{
	for (const struct field *field = schema->fields;
	     field < schema->fields + schema->field_count; field++) {
		void *value = at(object, field->offset);

		switch (field->kind) {
		case FIELD_TRISTATE:
			*(int *)value = -1;
			break;
		case FIELD_INTEGER:
			*(int64_t *)value = field->absent;
			break;
		case FIELD_TIME:
			*(int64_t *)value = TIME_ABSENT;
			break;
		case FIELD_DURATION:
			*(uint64_t *)value = (uint64_t)field->absent;
			break;
		case FIELD_STRUCT:
			initialise(field->schema, value);
			break;
		default:
			break;
		}
	}
}

void *schema_new(const struct schema *schema)
{
	void *object = calloc(1, schema->size);

	if (object)
		initialise(schema, object);
	return object;
}

static void list_clear(struct list *list, const struct schema *schema)
{
	for (size_t i = 0; i < list->count; i++)
		schema_clear(schema, at(list->items, i * schema->size));
	free(list->items);
	*list = (struct list){0};
}

void strings_clear(struct strings *strings)
{
	for (size_t i = 0; i < strings->count; i++)
		free(strings->items[i]);
	free(strings->items);
	*strings = (struct strings){0};
}

void schema_clear(const struct schema *schema, void *object)
{
	for (const struct field *field = schema->fields;
	     field < schema->fields + schema->field_count; field++) {
		void *value = at(object, field->offset);

		switch (field->kind) {
		case FIELD_STRING:
			free(*(char **)value);
			break;
		case FIELD_OBJECT:
			schema_free(field->schema, *(void **)value);
			break;
		case FIELD_STRUCT:
			schema_clear(field->schema, value);
			break;
		case FIELD_LIST:
			list_clear(value, field->schema);
			break;
		case FIELD_STRINGS:
			strings_clear(value);
			break;
		case FIELD_STRING_MAP:
		case FIELD_JSON:
		case FIELD_ANY:
			cJSON_Delete(*(cJSON **)value);
			break;
		default:
			break;
		}
	}
	if (schema->extra_offset != SCHEMA_STRICT)
		cJSON_Delete(*(cJSON **)at(object, (size_t)schema->extra_offset));
	memset(object, 0, schema->size);
	initialise(schema, object);
}

void schema_free(const struct schema *schema, void *object)
{
	if (!object)
		return;
	schema_clear(schema, object);
	free(object);
}

void *list_append(struct list *list, const struct schema *schema)
{
	void *items = reallocarray(list->items, list->count + 1, schema->size);

	if (!items)
		return NULL;
	list->items = items;
	void *item = at(items, list->count * schema->size);
	memset(item, 0, schema->size);
	initialise(schema, item);
	list->count++;
	return item;
}

int strings_append(struct strings *strings, const char *text)
{
	_cleanup_free_ char *copy = strdup(text);
	char **items =
		copy ? reallocarray(strings->items, strings->count + 1, sizeof(*items)) : NULL;

	if (!items)
		return -ENOMEM;
	strings->items = items;
	items[strings->count++] = TAKE_PTR(copy);
	return 0;
}

bool strings_contain(const struct strings *strings, const char *text)
{
	for (size_t i = 0; i < strings->count; i++)
		if (streq(strings->items[i], text))
			return true;
	return false;
}

/* --- Copying ------------------------------------------------------------------------------ */

static int copy_into(const struct schema *schema, void *to, const void *from);

static int copy_list(const struct schema *schema, struct list *to, const struct list *from)
{
	for (size_t i = 0; i < from->count; i++) {
		void *item = list_append(to, schema);
		int r = item ? copy_into(schema, item, at_const(from->items, i * schema->size))
			     : -ENOMEM;

		if (r < 0)
			return r;
	}
	return 0;
}

static int copy_strings(struct strings *to, const struct strings *from)
{
	int r = 0;

	for (size_t i = 0; i < from->count && r == 0; i++)
		r = strings_append(to, from->items[i]);
	return r;
}

static int copy_json(cJSON **to, const cJSON *from)
{
	*to = from ? cJSON_Duplicate(from, true) : NULL;
	return from && !*to ? -ENOMEM : 0;
}

static int copy_field(const struct field *field, void *to, const void *from)
{
	switch (field->kind) {
	case FIELD_STRING: {
		const char *text = *(char *const *)from;

		*(char **)to = text ? strdup(text) : NULL;
		return text && !*(char **)to ? -ENOMEM : 0;
	}
	case FIELD_BOOL:
		*(bool *)to = *(const bool *)from;
		return 0;
	case FIELD_TRISTATE:
	case FIELD_ENUM:
		*(int *)to = *(const int *)from;
		return 0;
	case FIELD_INTEGER:
	case FIELD_TIME:
		*(int64_t *)to = *(const int64_t *)from;
		return 0;
	case FIELD_DURATION:
		*(uint64_t *)to = *(const uint64_t *)from;
		return 0;
	case FIELD_OBJECT: {
		const void *object = *(void *const *)from;

		*(void **)to = object ? schema_copy(field->schema, object) : NULL;
		return object && !*(void **)to ? -ENOMEM : 0;
	}
	case FIELD_STRUCT:
		return copy_into(field->schema, to, from);
	case FIELD_LIST:
		return copy_list(field->schema, to, from);
	case FIELD_STRINGS:
		return copy_strings(to, from);
	case FIELD_STRING_MAP:
	case FIELD_JSON:
	case FIELD_ANY:
		return copy_json(to, *(cJSON *const *)from);
	}
	return -EINVAL;
}

/* Copies into an object whose fields are absent; what was copied before an error stays there. */
static int copy_into(const struct schema *schema, void *to, const void *from)
{
	for (const struct field *field = schema->fields;
	     field < schema->fields + schema->field_count; field++) {
		int r = copy_field(field, at(to, field->offset), at_const(from, field->offset));

		if (r < 0)
			return r;
	}
	if (schema->extra_offset == SCHEMA_STRICT)
		return 0;
	return copy_json(at(to, (size_t)schema->extra_offset),
			 *(cJSON *const *)at_const(from, (size_t)schema->extra_offset));
}

void *schema_copy(const struct schema *schema, const void *object)
{
	void *copy = schema_new(schema);

	if (copy && copy_into(schema, copy, object) < 0) {
		schema_free(schema, copy);
		return NULL;
	}
	return copy;
}
