/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine behind typed objects: makes, decodes, copies and frees what a table describes. Each
 * operation is one switch over the kinds of field. Writing JSON is in schema_encode.c.
 */
#include "base/schema.h"

#include "base/clock.h"
#include "base/suggestion.h"
#include "base/utf8.h"

/* cJSON holds doubles: whole numbers beyond this are not exact. */
#define INTEGER_MAX (INT64_C(1) << 53)

static void *at(void *object, size_t offset)
{
	return (char *)object + offset;
}

static const void *at_const(const void *object, size_t offset)
{
	return (const char *)object + offset;
}

/* --- Making and freeing -------------------------------------------------------------------------- */

/* Sets every field of zeroed memory absent, where absent is not all zeros. */
static void initialise(const struct schema *schema, void *object)
{
	for (const struct field *field = schema->fields; field < schema->fields + schema->field_count; field++) {
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
	for (const struct field *field = schema->fields; field < schema->fields + schema->field_count; field++) {
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
	char **items = copy ? reallocarray(strings->items, strings->count + 1, sizeof(*items)) : NULL;

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

/* --- Copying ------------------------------------------------------------------------------------- */

static int copy_into(const struct schema *schema, void *to, const void *from);

static int copy_list(const struct schema *schema, struct list *to, const struct list *from)
{
	for (size_t i = 0; i < from->count; i++) {
		void *item = list_append(to, schema);
		int r = item ? copy_into(schema, item, at_const(from->items, i * schema->size)) : -ENOMEM;

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
	for (const struct field *field = schema->fields; field < schema->fields + schema->field_count; field++) {
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

/* --- Decoding ------------------------------------------------------------------------------------ */

static int decode_into(const struct schema *schema, const cJSON *json, void *object, struct problem *problem);

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
	return problem_set(problem, -EINVAL, NULL, "must be %s, not %s", expected, found_type(found));
}

static size_t count_characters(const char *text)
{
	size_t count = 0;

	for (; *text; text++)
		count += ((unsigned char)*text & 0xc0) != 0x80;
	return count;
}

static int decode_string(const struct field *field, const cJSON *json, char **value, struct problem *problem)
{
	if (!cJSON_IsString(json))
		return wrong_type(problem, "a string", json);
	if (field->required && !*json->valuestring)
		return problem_set(problem, -EINVAL, NULL, "must not be empty");
	if (field->maximum && count_characters(json->valuestring) > (size_t)field->maximum)
		return problem_set(problem, -EINVAL, NULL, "is %zu characters long; at most %lld are allowed",
				   count_characters(json->valuestring), (long long)field->maximum);
	*value = strdup(json->valuestring);
	return *value ? 0 : -ENOMEM;
}

static int decode_integer(const struct field *field, const cJSON *json, int64_t *value, struct problem *problem)
{
	if (!cJSON_IsNumber(json))
		return wrong_type(problem, "a whole number", json);
	double number = json->valuedouble;
	if (!(number >= -(double)INTEGER_MAX && number <= (double)INTEGER_MAX))
		return problem_set(problem, -EINVAL, NULL, "%g is out of range; whole numbers go to 2^53", number);
	int64_t whole = (int64_t)number;
	if ((double)whole != number)
		return problem_set(problem, -EINVAL, NULL, "must be a whole number, not %g", number);
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

static int decode_duration(const struct field *field, const cJSON *json, uint64_t *value, struct problem *problem)
{
	static const char expected[] = "a duration such as 90s or 1m30s";
	char limit[TIME_TEXT_SIZE];
	uint64_t ns;

	if (!cJSON_IsString(json))
		return wrong_type(problem, expected, json);
	int r = duration_parse(json->valuestring, &ns);
	if (r == -ERANGE)
		return problem_set(problem, -EINVAL, NULL, "\"%.40s\" is too long a duration", json->valuestring);
	if (r < 0)
		return problem_set(problem, -EINVAL, NULL, "must be %s, not \"%.40s\"", expected,
				   json->valuestring);
	if (ns < (uint64_t)field->minimum)
		return problem_set(problem, -EINVAL, NULL, "must be at least %s, not %.40s",
				   duration_format_exact((uint64_t)field->minimum, limit), json->valuestring);
	if (field->maximum && ns > (uint64_t)field->maximum)
		return problem_set(problem, -EINVAL, NULL, "must be at most %s, not %.40s",
				   duration_format_exact((uint64_t)field->maximum, limit), json->valuestring);
	*value = ns;
	return 0;
}

static int decode_enum(const struct field *field, const cJSON *json, int *value, struct problem *problem)
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
			(void)buffer_printf(&known, "%s%s", known.length ? ", " : "", field->names[i]);
	return problem_set(problem, -EINVAL, NULL, "must be one of %s; not \"%.40s\"", buffer_text(&known),
			   json->valuestring);
}

static int decode_list(const struct field *field, const cJSON *json, struct list *list, struct problem *problem)
{
	const cJSON *element;
	char index[24];

	if (!cJSON_IsArray(json))
		return wrong_type(problem, "a list", json);
	cJSON_ArrayForEach(element, json)
	{
		if (field->maximum && list->count >= (size_t)field->maximum)
			return problem_set(problem, -EINVAL, NULL, "has %d items; at most %lld are allowed",
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
	cJSON_ArrayForEach(element, json)
	{
		if (field->maximum && strings->count >= (size_t)field->maximum)
			return problem_set(problem, -EINVAL, NULL, "has %d items; at most %lld are allowed",
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

static int decode_string_map(const struct field *field, const cJSON *json, cJSON **value, struct problem *problem)
{
	const cJSON *member;
	int64_t count = 0;

	if (!cJSON_IsObject(json))
		return wrong_type(problem, "an object whose values are strings", json);
	cJSON_ArrayForEach(member, json)
	{
		if (field->maximum && ++count > field->maximum)
			return problem_set(problem, -EINVAL, NULL, "has %d members; at most %lld are allowed",
					   cJSON_GetArraySize(json), (long long)field->maximum);
		if (!cJSON_IsString(member)) {
			wrong_type(problem, "a string", member);
			problem_prefix(problem, member->string);
			return -EINVAL;
		}
	}
	return copy_json(value, json);
}

static int decode_field(const struct field *field, const cJSON *json, void *value, struct problem *problem)
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
		return *(void **)value ? decode_into(field->schema, json, *(void **)value, problem) : -ENOMEM;
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
		return copy_json(value, json);
	case FIELD_ANY:
		return copy_json(value, json);
	}
	return -EINVAL;
}

/* Decodes one field from its member (NULL when there is none) and runs its check. */
static int decode_member(const struct field *field, const cJSON *member, void *object, struct problem *problem)
{
	void *value = at(object, field->offset);

	if (!member || cJSON_IsNull(member)) {
		if (field->required)
			return problem_set(problem, -EINVAL, field->name, "is required");
		return 0;
	}
	int r = decode_field(field, member, value, problem);
	if (r == 0 && field->required && field->kind == FIELD_ENUM && *field->names[*(int *)value] == '\0')
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
		return problem_set(problem, -EINVAL, name, "is not a field of %s; did you mean \"%s\"?",
				   schema->name, suggestion.best);
	return problem_set(problem, -EINVAL, name, "is not a field of %s", schema->name);
}

static int keep_unknown(const struct schema *schema, const cJSON *member, void *object, struct problem *problem)
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
static int decode_into(const struct schema *schema, const cJSON *json, void *object, struct problem *problem)
{
	const cJSON *member;
	int r;

	if (!cJSON_IsObject(json))
		return wrong_type(problem, "an object", json);
	/* Unknown members first: a mistyped key explains a required field that is missing. */
	cJSON_ArrayForEach(member, json)
	{
		r = keep_unknown(schema, member, object, problem);
		if (r < 0)
			return r;
	}
	for (const struct field *field = schema->fields; field < schema->fields + schema->field_count; field++) {
		r = decode_member(field, cJSON_GetObjectItemCaseSensitive(json, field->name), object, problem);
		if (r < 0)
			return r;
	}
	return schema->check ? schema->check(object, problem) : 0;
}

int schema_decode(const struct schema *schema, const cJSON *json, void **ret_object, struct problem *problem)
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
