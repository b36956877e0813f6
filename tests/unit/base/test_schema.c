/* SPDX-License-Identifier: Apache-2.0 */
/* Typed objects from tables: every kind of field, each error, and copies that stand alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/schema.h"

struct point {
	int64_t x;
	char *label;
	cJSON *extra;
};

struct everything {
	char *string;
	bool flag;
	int tristate;
	int64_t integer, or_absent, always;
	int64_t time;
	uint64_t duration, cooldown;
	int choice;
	struct point *object;
	struct point embedded;
	struct list list;
	struct strings strings;
	cJSON *map, *json, *any;
	cJSON *extra;
};

static int check_even(const void *value, struct problem *problem)
{
	return *(const int64_t *)value % 2 ? problem_set(problem, -EINVAL, NULL, "must be even")
					   : 0;
}

static int check_point(const void *object, struct problem *problem)
{
	const struct point *point = object;

	if (point->x == 13 && !point->label)
		return problem_set(problem, -EINVAL, "label", "is required when x is 13");
	return 0;
}

#define FIELD(...) SCHEMA_FIELD(struct point, __VA_ARGS__)
static const struct field point_fields[] = {
	FIELD(x, "x", FIELD_INTEGER, .required = true),
	FIELD(label, "label", FIELD_STRING, .maximum = 4),
};
#undef FIELD
static const struct schema point_schema =
	SCHEMA("a point", struct point, point_fields, .extra_offset = offsetof(struct point, extra),
	       .check = check_point);
static const struct schema strict_schema =
	SCHEMA("a strict point", struct point, point_fields, .extra_offset = SCHEMA_STRICT);

static const char *const choices[] = {"", "Red", "Green", NULL};

#define FIELD(...) SCHEMA_FIELD(struct everything, __VA_ARGS__)
static const struct field everything_fields[] = {
	FIELD(string, "string", FIELD_STRING),
	FIELD(flag, "flag", FIELD_BOOL),
	FIELD(tristate, "tristate", FIELD_TRISTATE),
	FIELD(integer, "integer", FIELD_INTEGER, .minimum = -10, .maximum = 10,
	      .check = check_even),
	FIELD(or_absent, "orAbsent", FIELD_INTEGER, .absent = -1),
	FIELD(always, "always", FIELD_INTEGER, .always = true),
	FIELD(time, "time", FIELD_TIME),
	FIELD(duration, "duration", FIELD_DURATION, .minimum = NS_PER_S,
	      .maximum = 3600 * (int64_t)NS_PER_S),
	FIELD(cooldown, "cooldown", FIELD_DURATION, .absent = -1),
	FIELD(choice, "choice", FIELD_ENUM, .names = choices),
	FIELD(object, "object", FIELD_OBJECT, .schema = &point_schema),
	FIELD(embedded, "embedded", FIELD_STRUCT, .schema = &point_schema),
	FIELD(list, "list", FIELD_LIST, .schema = &point_schema, .maximum = 3),
	FIELD(strings, "strings", FIELD_STRINGS, .maximum = 2),
	FIELD(map, "map", FIELD_STRING_MAP, .maximum = 2),
	FIELD(json, "json", FIELD_JSON),
	FIELD(any, "any", FIELD_ANY),
};
#undef FIELD
static const struct schema everything_schema =
	SCHEMA("everything", struct everything, everything_fields,
	       .extra_offset = offsetof(struct everything, extra));

static const char full[] = "{\"string\":\"s\",\"flag\":true,\"tristate\":false,\"integer\":-4,"
			   "\"orAbsent\":0,\"always\":0,"
			   "\"time\":\"2026-11-23T17:45:01.5Z\",\"duration\":\"1m30s\","
			   "\"cooldown\":\"0s\",\"choice\":\"Green\","
			   "\"object\":{\"x\":1,\"more\":[]},\"embedded\":{\"x\":2,\"label\":"
			   "\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\"},"
			   "\"list\":[{\"x\":3},{\"x\":4,\"more\":null}],\"strings\":[\"a\",\"\"],"
			   "\"map\":{\"k\":\"v\"},\"json\":{\"a\":[1]},"
			   "\"any\":[false],\"zzz\":{\"kept\":true}}";

static int decode(const struct schema *schema, const char *text, void **ret_object,
		  struct problem *problem)
{
	_cleanup_json_ cJSON *json = NULL;

	assert_int_equal(json_parse(text, strlen(text), &json, problem), 0);
	return schema_decode(schema, json, ret_object, problem);
}

static void *decode_good(const struct schema *schema, const char *text)
{
	struct problem problem = {0};
	void *object = NULL;

	if (decode(schema, text, &object, &problem) < 0)
		fail_msg("%s: %s", problem.field, problem.text);
	return object;
}

static char *encode(const struct schema *schema, const void *object)
{
	_cleanup_json_ cJSON *json = NULL;

	assert_int_equal(schema_encode(schema, object, &json), 0);
	return json_print(json);
}

static void every_kind_of_field_survives_a_round_trip(void **state)
{
	struct everything *object = decode_good(&everything_schema, full);
	_cleanup_free_ char *text = encode(&everything_schema, object);
	struct everything *copy = schema_copy(&everything_schema, object);

	assert_string_equal(text, full);
	schema_free(&everything_schema, object);
	_cleanup_free_ char *copied = encode(&everything_schema, copy);
	assert_string_equal(copied, full);
	schema_free(&everything_schema, copy);
	schema_free(&everything_schema, NULL);
}

static void typed_values_are_what_the_json_says(void **state)
{
	struct everything *object = decode_good(&everything_schema, full);

	assert_string_equal(object->string, "s");
	assert_true(object->flag);
	assert_int_equal(object->tristate, 0);
	assert_int_equal(object->integer, -4);
	assert_int_equal(object->duration, 90 * NS_PER_S);
	assert_int_equal(object->cooldown, 0);
	assert_int_equal(object->choice, 2);
	assert_int_equal(object->object->x, 1);
	assert_int_equal(object->embedded.x, 2);
	assert_int_equal(((struct point *)object->list.items)[1].x, 4);
	assert_true(strings_contain(&object->strings, ""));
	assert_false(strings_contain(&object->strings, "b"));
	schema_free(&everything_schema, object);
}

static void absent_fields_have_their_absent_values_and_are_not_written(void **state)
{
	static const char *const empty[] = {
		"{}", "{\"string\":null,\"list\":null,\"object\":null,\"any\":null}"};

	for (size_t i = 0; i < ARRAY_SIZE(empty); i++) {
		struct everything *object = decode_good(&everything_schema, empty[i]);
		_cleanup_free_ char *text = encode(&everything_schema, object);

		assert_null(object->string);
		assert_int_equal(object->tristate, -1);
		assert_int_equal(object->or_absent, -1);
		assert_int_equal(object->time, TIME_ABSENT);
		assert_int_equal(object->duration, 0);
		assert_true(object->cooldown == UINT64_MAX);
		assert_null(object->object);
		assert_string_equal(text, "{\"always\":0}");
		schema_free(&everything_schema, object);
	}
}

static void clearing_makes_every_field_absent(void **state)
{
	struct everything *object = decode_good(&everything_schema, full);

	schema_clear(&everything_schema, object);
	_cleanup_free_ char *text = encode(&everything_schema, object);
	assert_string_equal(text, "{\"always\":0}");
	assert_int_equal(object->tristate, -1);
	schema_free(&everything_schema, object);
}

static const struct {
	const char *text, *field, *message;
} refused[] = {
	{"3", "", "must be an object, not a number"},
	{"{\"string\":1}", "string", "must be a string, not a number"},
	{"{\"flag\":\"true\"}", "flag", "must be true or false, not a string"},
	{"{\"tristate\":0}", "tristate", "must be true or false, not a number"},
	{"{\"integer\":\"1\"}", "integer", "must be a whole number, not a string"},
	{"{\"integer\":true}", "integer", "must be a whole number, not true"},
	{"{\"integer\":2.5}", "integer", "must be a whole number, not 2.5"},
	{"{\"integer\":12}", "integer", "must be at most 10, not 12"},
	{"{\"integer\":-11}", "integer", "must be at least -10, not -11"},
	{"{\"integer\":3}", "integer", "must be even"},
	{"{\"always\":9007199254740993000}", "always", "out of range"},
	{"{\"always\":-1e300}", "always", "out of range"},
	{"{\"time\":5}", "time", "must be a time such as 2026-11-23T17:45:01Z, not a number"},
	{"{\"time\":\"2026-02-30T00:00:00Z\"}", "time", "not \"2026-02-30T00:00:00Z\""},
	{"{\"duration\":90}", "duration", "must be a duration such as 90s or 1m30s, not a number"},
	{"{\"duration\":\"90\"}", "duration",
	 "must be a duration such as 90s or 1m30s, not \"90\""},
	{"{\"duration\":\"1ms\"}", "duration", "must be at least 1s, not 1ms"},
	{"{\"duration\":\"2h\"}", "duration", "must be at most 1h, not 2h"},
	{"{\"duration\":\"999999999999h\"}", "duration", "too long a duration"},
	{"{\"choice\":\"green\"}", "choice", "must be one of Red, Green; not \"green\""},
	{"{\"choice\":2}", "choice", "must be a string, not a number"},
	{"{\"object\":[]}", "object", "must be an object, not a list"},
	{"{\"object\":{}}", "object.x", "is required"},
	{"{\"object\":{\"x\":null}}", "object.x", "is required"},
	{"{\"object\":{\"x\":13}}", "object.label", "is required when x is 13"},
	{"{\"embedded\":{\"x\":1,\"label\":\"abcde\"}}", "embedded.label",
	 "is 5 characters long; at most 4"},
	{"{\"list\":{}}", "list", "must be a list, not an object"},
	{"{\"list\":[{\"x\":1},7]}", "list[1]", "must be an object, not a number"},
	{"{\"list\":[{\"x\":1},{\"x\":\"1\"}]}", "list[1].x",
	 "must be a whole number, not a string"},
	{"{\"list\":[{\"x\":1},{\"x\":1},{\"x\":1},{\"x\":1}]}", "list",
	 "has 4 items; at most 3 are allowed"},
	{"{\"strings\":\"a\"}", "strings", "must be a list of strings, not a string"},
	{"{\"strings\":[\"a\",{}]}", "strings[1]", "must be a string, not an object"},
	{"{\"strings\":[\"a\",\"b\",\"c\"]}", "strings", "has 3 items; at most 2 are allowed"},
	{"{\"map\":[]}", "map", "must be an object whose values are strings, not a list"},
	{"{\"map\":{\"a.b/c\":false}}", "map.a.b/c", "must be a string, not false"},
	{"{\"map\":{\"a\":\"\",\"b\":\"\",\"c\":\"\"}}", "map",
	 "has 3 members; at most 2 are allowed"},
	{"{\"json\":\"{}\"}", "json", "must be an object, not a string"},
};

static void each_error_names_its_field_what_is_wrong_and_what_would_be_right(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct problem problem = {0};
		void *object = NULL;
		int r = decode(&everything_schema, refused[i].text, &object, &problem);

		if (r != -EINVAL || object || !streq(problem.field, refused[i].field) ||
		    !strstr(problem.text, refused[i].message))
			fail_msg("%s\ngave %d, %s: %s\nexpected %s: %s", refused[i].text, r,
				 problem.field, problem.text, refused[i].field, refused[i].message);
		/* Nobody needs to want the problem told. */
		assert_int_equal(decode(&everything_schema, refused[i].text, &object, NULL),
				 -EINVAL);
	}
}

static void a_strict_schema_names_the_unknown_member_and_the_nearest_known(void **state)
{
	static const struct {
		const char *text, *field, *message;
	} cases[] = {
		{"{\"x\":1,\"lable\":\"a\"}", "lable",
		 "is not a field of a strict point; did you mean \"label\"?"},
		{"{\"x\":1,\"Label\":\"a\"}", "Label", "did you mean \"label\"?"},
		{"{\"X\":1}", "X", "did you mean \"x\"?"},
		{"{\"y\":1}", "y", "is not a field of a strict point"},
		{"{\"x\":1,\"colour\":\"a\"}", "colour", "is not a field of a strict point"},
		{"{\"x\":1,\"\":\"a\"}", "", "is not a field of a strict point"},
		{"{\"x\":1,\"a\\u001bb\":1}", "a?b", "is not a field of a strict point"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct problem problem = {0};
		void *object = NULL;

		assert_int_equal(decode(&strict_schema, cases[i].text, &object, &problem), -EINVAL);
		assert_string_equal(problem.field, cases[i].field);
		assert_non_null(strstr(problem.text, cases[i].message));
		if (i >= 3)
			assert_null(strstr(problem.text, "did you mean"));
	}
}

static void appended_elements_have_every_field_absent(void **state)
{
	struct list list = {0};

	for (int i = 0; i < 10; i++) {
		struct everything *item = list_append(&list, &everything_schema);

		assert_non_null(item);
		assert_int_equal(item->tristate, -1);
		assert_int_equal(item->time, TIME_ABSENT);
		assert_int_equal(item->or_absent, -1);
	}
	assert_int_equal(list.count, 10);
	free(list.items);
}

static int allocations_left;

static void *failing_malloc(size_t size)
{
	return allocations_left-- > 0 ? malloc(size) : NULL;
}

static void running_out_of_memory_is_told_and_leaks_nothing(void **state)
{
	cJSON_Hooks failing = {.malloc_fn = failing_malloc, .free_fn = free};
	_cleanup_json_ cJSON *json = NULL;
	int failures = 0;

	assert_int_equal(json_parse(full, strlen(full), &json, NULL), 0);
	for (int limit = 0;; limit++) {
		struct problem problem = {0};
		cJSON *encoded = NULL;
		void *object = NULL;

		allocations_left = limit;
		cJSON_InitHooks(&failing);
		int r = schema_decode(&everything_schema, json, &object, &problem);
		if (r == 0)
			r = schema_encode(&everything_schema, object, &encoded);
		else
			assert_string_equal(problem.text, "out of memory");
		cJSON_InitHooks(NULL);
		bool same = json_equal(encoded, json);
		cJSON_Delete(encoded);
		schema_free(&everything_schema, object);
		if (r == 0) {
			assert_true(same);
			break;
		}
		assert_int_equal(r, -ENOMEM);
		failures++;
	}
	assert_true(failures > 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_field_survives_a_round_trip),
		cmocka_unit_test(typed_values_are_what_the_json_says),
		cmocka_unit_test(absent_fields_have_their_absent_values_and_are_not_written),
		cmocka_unit_test(clearing_makes_every_field_absent),
		cmocka_unit_test(each_error_names_its_field_what_is_wrong_and_what_would_be_right),
		cmocka_unit_test(a_strict_schema_names_the_unknown_member_and_the_nearest_known),
		cmocka_unit_test(appended_elements_have_every_field_absent),
		cmocka_unit_test(running_out_of_memory_is_told_and_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
