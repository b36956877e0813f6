/* SPDX-License-Identifier: Apache-2.0 */
/* JSON text is read strictly, with the place of each error, and written so that it can be read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/utf8.h"

static cJSON *parse(const char *text)
{
	struct problem problem = {0};
	cJSON *json = NULL;

	if (json_parse(text, strlen(text), &json, &problem) < 0)
		fail_msg("%s\n%s", text, problem.text);
	return json;
}

static void good_text_is_printed_as_it_was(void **state)
{
	static const char *const texts[] = {
		"null",
		"true",
		"false",
		"0",
		"-1",
		"1.5",
		"-0.25",
		"1e+25",
		"1e-07",
		"\"\"",
		"[]",
		"{}",
		"9007199254740991",
		"-9007199254740991",
		"1000000000000000",
		"100000000000000000000",
		"[1,[2,[3]],{}]",
		"{\"a\":{\"b\":[null,true]},\"\":0}",
		"\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001/\"",
		"\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_json_ cJSON *json = parse(texts[i]);
		_cleanup_free_ char *text = json_print(json);

		assert_string_equal(text, texts[i]);
	}
}

static void other_spellings_are_read_too(void **state)
{
	static const struct {
		const char *text, *printed;
	} cases[] = {
		{" \t\r\n[ 1 , 2 ] \n", "[1,2]"},
		{"{ \"a\" : 1 }", "{\"a\":1}"},
		{"1.0", "1"},
		{"-0", "0"},
		{"1E3", "1000"},
		{"\"\\u00e9\\u20AC\\ud83d\\ude00\\/\"",
		 "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80/\""},
		{"0.1", "0.1"},
		{"0.30000000000000004", "0.30000000000000004"},
		{"18446744073709551615", "18446744073709551616"},
		{"1e-400", "0"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ cJSON *json = parse(cases[i].text);
		_cleanup_free_ char *text = json_print(json);

		assert_string_equal(text, cases[i].printed);
	}
}

static const struct {
	const char *text;
	size_t length; /* 0: of the string */
	const char *message;
} refused[] = {
	{"", 0, "line 1, column 1: expected a value, but the text ends here"},
	{"  ", 0, "line 1, column 3: expected a value"},
	{"{", 0, "line 1, column 2: expected a key"},
	{"[1", 0, "line 1, column 1: the list that starts here has no end"},
	{"{\"a\":1", 0, "line 1, column 1: the object that starts here has no end"},
	{"{} {}", 0, "line 1, column 4: more text after the end"},
	{"nullx", 0, "line 1, column 5: more text after the end"},
	{"[1,]", 0, "line 1, column 4: not a JSON value"},
	{"{\"a\":1,}", 0, "line 1, column 8: expected a key"},
	{"{a:1}", 0, "line 1, column 2: expected a key in double quotes"},
	{"{\"a\" 1}", 0, "line 1, column 6: expected ':'"},
	{"[1 2]", 0, "line 1, column 4: expected ',' or ']'"},
	{"{\"a\":1 \"b\":2}", 0, "line 1, column 8: expected ',' or '}'"},
	{"[1}", 0, "line 1, column 3: expected ',' or ']'"},
	{"\n\n  \"\xc3\xa9\xc3\xa9\" x", 0, "line 3, column 8: more text"},
	{"\"abc", 0, "line 1, column 1: the string that starts here has no end"},
	{"\"a\\", 0, "no such escape"},
	{"\"a\nb\"", 0, "line 1, column 3: a control character"},
	{"\"a\tb\"", 0, "a control character"},
	{"\"\\x41\"", 0, "no such escape"},
	{"\"\\u00g0\"", 0, "four hexadecimal digits"},
	{"\"\\u00", 0, "four hexadecimal digits"},
	{"\"a\\u0000b\"", 0, "line 1, column 3: a string may not hold a NUL"},
	{"\"\\ud800\"", 0, "line 1, column 2: the first half of a surrogate pair stands alone"},
	{"\"\\ud800\\u0041\"", 0, "the first half of a surrogate pair stands alone"},
	{"\"\\udc00\"", 0, "the second half of a surrogate pair stands alone"},
	{"\"\xff\"", 0, "line 1, column 2: a byte that is not UTF-8"},
	{"\"\xc3\"", 0, "a byte that is not UTF-8"},
	{"\"\xc0\x80\"", 0, "a byte that is not UTF-8"},
	{"\"\xed\xa0\x80\"", 0, "a byte that is not UTF-8"},
	{"01", 0, "a number may not start with 0"},
	{"-", 0, "not a number"},
	{"+1", 0, "not a JSON value"},
	{".5", 0, "not a JSON value"},
	{"1.", 0, "digits must follow the point"},
	{"1e", 0, "digits must follow the exponent"},
	{"1e+", 0, "digits must follow the exponent"},
	{"1e400", 0, "the number is too large"},
	{"NaN", 0, "not a JSON value"},
	{"'a'", 0, "not a JSON value"},
	{"True", 0, "not a JSON value"},
	{"\xef\xbb\xbf{}", 0, "not a JSON value"},
	{"1\0", 2, "line 1, column 2: more text"},
	{"\0", 1, "a NUL byte"},
	{"\"a\0b\"", 5, "line 1, column 3: a NUL byte"},
	{"{\"a\":1,\n \"b\":{\"c\":1,\"d\":2,\"c\":3}}", 0,
	 "line 2, column 6: the object that starts here has the key \"c\" twice"},
};

static void bad_text_is_refused_with_its_place(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		size_t length = refused[i].length ? refused[i].length : strlen(refused[i].text);
		/* On the heap and without a NUL, so that a sanitizer sees a read past the end. */
		_cleanup_free_ char *copy = malloc(length + 1);
		struct problem problem = {0};
		cJSON *json = NULL;

		memcpy(copy, refused[i].text, length);
		_cleanup_free_ char *exact = realloc(TAKE_PTR(copy), MAX(length, (size_t)1));
		int r = json_parse(exact, length, &json, &problem);
		if (r != -EINVAL || json || !strstr(problem.text, refused[i].message))
			fail_msg("%s\ngave %d: %s\nexpected: %s", refused[i].text, r, problem.text,
				 refused[i].message);
	}
}

static void every_cut_of_a_good_text_is_refused(void **state)
{
	static const char text[] = "{\"a\":[1.5e3,\"\\u00e9\xc3\xa9\",{\"b\":null},true],\"c\":-2}";

	for (size_t length = 0; length < sizeof(text) - 1; length++) {
		_cleanup_free_ char *copy = malloc(length + 1);
		cJSON *json = NULL;

		memcpy(copy, text, length);
		copy[length] = '?';
		assert_int_equal(json_parse(copy, length, &json, NULL), -EINVAL);
	}
}

static cJSON *nested(int depth)
{
	_cleanup_buffer_ struct buffer text = BUFFER(1 * MIB);
	cJSON *json = NULL;

	for (int i = 0; i < depth; i++)
		assert_int_equal(buffer_append_text(&text, i % 2 ? "[" : "{\"a\":"), 0);
	assert_int_equal(buffer_append_text(&text, "1"), 0);
	for (int i = depth - 1; i >= 0; i--)
		assert_int_equal(buffer_append_text(&text, i % 2 ? "]" : "}"), 0);
	return json_parse(text.data, text.length, &json, NULL) == 0 ? json : NULL;
}

static void nesting_is_bounded(void **state)
{
	_cleanup_json_ cJSON *deepest = nested(JSON_DEPTH_MAX),
			     *deeper = nested(JSON_DEPTH_MAX + 1);
	_cleanup_json_ cJSON *far_deeper = nested(100000);

	assert_non_null(deepest);
	assert_null(deeper);
	assert_null(far_deeper);
}

static void an_object_of_many_members_is_read_and_compared_quickly(void **state)
{
	_cleanup_buffer_ struct buffer forth = BUFFER(4 * MIB), back = BUFFER(4 * MIB);
	const int count = 50000;

	for (int i = 0; i < count; i++) {
		assert_int_equal(buffer_printf(&forth, "%s\"k%d\":%d", i ? "," : "{", i, i), 0);
		assert_int_equal(buffer_printf(&back, "%s\"k%d\":%d", i ? "," : "{", count - 1 - i,
					       count - 1 - i),
				 0);
	}
	assert_int_equal(buffer_append_text(&forth, "}"), 0);
	assert_int_equal(buffer_append_text(&back, "}"), 0);
	/* Comparing each pair would take minutes here: the unit test's own time is the claim. */
	_cleanup_json_ cJSON *a = parse(forth.data), *b = parse(back.data);
	assert_true(json_equal(a, b));
}

static void bytes_that_are_not_utf8_are_printed_as_replacement_characters(void **state)
{
	_cleanup_json_ cJSON *json = cJSON_CreateString("a\xff\xc3(b\xe2\x82");
	_cleanup_free_ char *text = json_print(json);

	assert_string_equal(text, "\"a\xef\xbf\xbd\xef\xbf\xbd(b\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void numbers_that_json_does_not_have_are_printed_as_null(void **state)
{
	_cleanup_json_ cJSON *json = cJSON_CreateNumber(1e308 * 10);
	_cleanup_free_ char *text = json_print(json);

	assert_string_equal(text, "null");
}

static void pretty_text_is_indented_by_two_spaces(void **state)
{
	_cleanup_json_ cJSON *json = parse("{\"a\":[1,{}],\"b\":{\"c\":null},\"d\":[]}");
	_cleanup_free_ char *text = json_print_pretty(json);

	assert_string_equal(text, "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": {\n    \"c\": "
				  "null\n  },\n  \"d\": []\n}");
}

static void printing_stops_at_the_cap_of_a_buffer(void **state)
{
	_cleanup_json_ cJSON *json = parse("[1,2,3]");
	_cleanup_buffer_ struct buffer small = BUFFER(6), enough = BUFFER(7);

	assert_int_equal(json_print_to(json, &small), -ENOBUFS);
	assert_int_equal(json_print_to(json, &enough), 0);
	assert_string_equal(buffer_text(&enough), "[1,2,3]");
}

static void members_are_found_by_name_type_and_path(void **state)
{
	_cleanup_json_ cJSON *json =
		parse("{\"s\":\"x\",\"n\":2.5,\"t\":true,\"o\":{\"p\":{\"q\":7}},\"l\":[1]}");

	assert_string_equal(json_string(json, "s"), "x");
	assert_null(json_string(json, "n"));
	assert_null(json_string(json, "none"));
	assert_null(json_string(NULL, "s"));
	assert_true(json_number(json, "n", 1) == 2.5);
	assert_true(json_number(json, "s", 1) == 1);
	assert_true(json_bool(json, "t", false));
	assert_true(json_bool(json, "s", true));
	assert_int_equal(json_at(json, "o.p.q")->valueint, 7);
	assert_null(json_at(json, "o.p.qq"));
	assert_null(json_at(json, "o.p.q.r"));
	assert_null(json_at(json, "l.0"));
	assert_null(json_at(NULL, "o"));
}

/* What a plug-in or a user sends becomes a pid or a device number. */
static void numbers_that_do_not_count_anything_are_zero(void **state)
{
	_cleanup_json_ cJSON *json = parse("{\"pid\":4711,\"most\":9007199254740992,\"big\":1e300,"
					   "\"negative\":-1,\"part\":1.5,\"text\":\"7\","
					   "\"wide\":4294967296,\"widest\":4294967295}");

	assert_int_equal(json_u64(json, "pid"), 4711);
	assert_int_equal(json_u64(json, "most"), INT64_C(1) << 53);
	assert_int_equal(json_u64(json, "big"), 0);
	assert_int_equal(json_u64(json, "negative"), 0);
	assert_int_equal(json_u64(json, "part"), 1);
	assert_int_equal(json_u64(json, "text"), 0);
	assert_int_equal(json_u64(json, "none"), 0);
	assert_int_equal(json_u64(NULL, "pid"), 0);
	assert_int_equal(json_u32(json, "wide"), 0);
	assert_int_equal(json_u32(json, "widest"), UINT32_MAX);
}

static void setting_a_member_adds_or_replaces_it(void **state)
{
	_cleanup_json_ cJSON *json = parse("{\"a\":1,\"b\":2}");

	assert_int_equal(json_set_string(json, "a", "x"), 0);
	assert_int_equal(json_set_string(json, "b", NULL), 0);
	assert_int_equal(json_set_number(json, "c", 3), 0);
	assert_int_equal(json_set_bool(json, "d", false), 0);
	assert_int_equal(json_set_time(json, "e", 1500000000), 0);
	assert_int_equal(json_set(json, "f", NULL), -ENOMEM);
	_cleanup_free_ char *text = json_print(json);
	assert_string_equal(
		text, "{\"a\":\"x\",\"b\":2,\"c\":3,\"d\":false,\"e\":\"1970-01-01T00:00:01.5Z\"}");
}

static void equality_is_of_values_whatever_the_order_of_members(void **state)
{
	static const struct {
		const char *a, *b;
		bool equal;
	} cases[] = {
		{"{\"a\":1,\"b\":[1,2]}", "{\"b\":[1,2],\"a\":1}", true},
		{"{\"a\":1}", "{\"a\":1,\"b\":null}", false},
		{"{\"a\":1}", "{\"A\":1}", false},
		{"[1,2]", "[2,1]", false},
		{"[1]", "[1,1]", false},
		{"1", "1.0", true},
		{"1", "true", false},
		{"true", "false", false},
		{"\"a\"", "\"a\"", true},
		{"null", "null", true},
		{"{}", "[]", false},
		{"0.1", "0.10000000000000002", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ cJSON *a = parse(cases[i].a), *b = parse(cases[i].b);

		assert_int_equal(json_equal(a, b), cases[i].equal);
		assert_false(json_equal(a, NULL));
	}
	assert_true(json_equal(NULL, NULL));
}

static void utf8_is_judged_as_rfc_3629_does(void **state)
{
	static const struct {
		const char *text;
		size_t length;
	} cases[] = {
		{"a", 1},
		{"\x7f", 1},
		{"\xc2\x80", 2},
		{"\xdf\xbf", 2},
		{"\xe0\xa0\x80", 3},
		{"\xed\x9f\xbf", 3},
		{"\xef\xbf\xbf", 3},
		{"\xf0\x90\x80\x80", 4},
		{"\xf4\x8f\xbf\xbf", 4},
		{"\x80", 0},
		{"\xc1\xbf", 0},
		{"\xe0\x9f\xbf", 0},
		{"\xed\xa0\x80", 0},
		{"\xf0\x8f\xbf\xbf", 0},
		{"\xf4\x90\x80\x80", 0},
		{"\xf5\x80\x80\x80", 0},
		{"\xe2\x82", 0},
		{"\xe2(\xa1", 0},
		{"", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(utf8_length(cases[i].text, strlen(cases[i].text)),
				 cases[i].length);
	assert_int_equal(utf8_cut("ab", 2), 2);
	assert_int_equal(utf8_cut("a\xe2\x82\xac", 4), 4);
	assert_int_equal(utf8_cut("a\xe2\x82\xac", 3), 1);
	assert_int_equal(utf8_cut("a\xe2\x82\xac", 2), 1);
	assert_int_equal(utf8_cut("", 0), 0);
}

static void what_is_packed_is_printed_the_same_and_found_again_when_unpacked(void **state)
{
	static const char text[] =
		"{\"a\":{\"b\":[1,{\"c\":\"\\u0001\"}],\"d\":null},\"e\":[],\"f\":\"x\"}";
	_cleanup_json_ cJSON *json = parse(text), *original = parse(text);
	cJSON *member;

	for (int times = 0; times < 2; times++) {
		cJSON_ArrayForEach (member, json)
			json_pack(member);
		assert_true(cJSON_IsRaw(json_at(json, "a")));
		assert_null(json_at(json, "a.b"));
		assert_string_equal(json_string(json, "f"), "x");
		_cleanup_json_ cJSON *copy = cJSON_Duplicate(json, true);
		_cleanup_free_ char *packed = json_print(copy);
		assert_string_equal(packed, text);
		cJSON_ArrayForEach (member, json)
			assert_int_equal(json_unpack(member), 0);
		assert_true(cJSON_Compare(json, original, true));
		assert_string_equal(json_at(json, "a")->string, "a");
	}
}

static void settings_that_were_given_lie_over_the_usual_ones(void **state)
{
	static const struct {
		const char *given, *expected;
	} cases[] = {
		{"{}", "{\"a\":{\"b\":1,\"c\":2},\"d\":[1],\"e\":[]}"},
		{"{\"a\":{\"c\":3}}", "{\"a\":{\"b\":1,\"c\":3},\"d\":[1],\"e\":[]}"},
		{"{\"a\":null,\"d\":[]}", "{\"a\":{\"b\":1,\"c\":2},\"d\":[1],\"e\":[]}"},
		{"{\"d\":[2,3],\"e\":[4]}", "{\"a\":{\"b\":1,\"c\":2},\"d\":[2,3],\"e\":[4]}"},
		/* What is not of the usual kind, or not known, is left for the reader to refuse. */
		{"{\"a\":[],\"f\":null}", "{\"a\":[],\"d\":[1],\"e\":[],\"f\":null}"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ cJSON *base = parse("{\"a\":{\"b\":1,\"c\":2},\"d\":[1],\"e\":[]}");
		_cleanup_json_ cJSON *given = parse(cases[i].given);
		_cleanup_json_ cJSON *expected = parse(cases[i].expected);

		assert_int_equal(json_overlay(base, given), 0);
		assert_true(json_equal(base, expected));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_text_is_printed_as_it_was),
		cmocka_unit_test(other_spellings_are_read_too),
		cmocka_unit_test(bad_text_is_refused_with_its_place),
		cmocka_unit_test(every_cut_of_a_good_text_is_refused),
		cmocka_unit_test(nesting_is_bounded),
		cmocka_unit_test(an_object_of_many_members_is_read_and_compared_quickly),
		cmocka_unit_test(bytes_that_are_not_utf8_are_printed_as_replacement_characters),
		cmocka_unit_test(numbers_that_json_does_not_have_are_printed_as_null),
		cmocka_unit_test(settings_that_were_given_lie_over_the_usual_ones),
		cmocka_unit_test(pretty_text_is_indented_by_two_spaces),
		cmocka_unit_test(printing_stops_at_the_cap_of_a_buffer),
		cmocka_unit_test(members_are_found_by_name_type_and_path),
		cmocka_unit_test(numbers_that_do_not_count_anything_are_zero),
		cmocka_unit_test(setting_a_member_adds_or_replaces_it),
		cmocka_unit_test(equality_is_of_values_whatever_the_order_of_members),
		cmocka_unit_test(what_is_packed_is_printed_the_same_and_found_again_when_unpacked),
		cmocka_unit_test(utf8_is_judged_as_rfc_3629_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
