/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML is read as JSON would be, dangerous parts of it are refused, and what is written reads back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/yaml.h"

static void expect(const char *yaml, const char *json)
{
	_cleanup_json_ cJSON *documents = NULL;
	struct problem problem = {0};

	if (yaml_read(yaml, strlen(yaml), 1 * MIB, &documents, &problem) < 0)
		fail_msg("%s\n%s", yaml, problem.text);
	_cleanup_free_ char *text = json_print(documents);
	assert_string_equal(text, json);
}

static void documents_become_a_list_and_empty_ones_are_left_out(void **state)
{
	expect("", "[]");
	expect("# only a comment\n", "[]");
	expect("---\n---\na: 1\n---\n# nothing\n---\n- b\n...\n", "[{\"a\":1},[\"b\"]]");
	expect("\xef\xbb\xbf"
	       "a: 1\n",
	       "[{\"a\":1}]");
}

static void scalars_follow_the_core_schema(void **state)
{
	expect("[null, Null, NULL, ~, ]", "[[null,null,null,null]]");
	expect("a:\nb: ~\n", "[{\"a\":null,\"b\":null}]");
	expect("[true, True, TRUE, false, False, FALSE]", "[[true,true,true,false,false,false]]");
	expect("[0, -1, +7, 010, 0x1F, 0o17, 1.5, .5, 5., 1e3, -1.5E-2]",
	       "[[0,-1,7,10,31,15,1.5,0.5,5,1000,-0.015]]");
	/* Booleans, octals, dates and times of day of YAML 1.1 are strings in 1.2. */
	expect("[yes, No, on, 2026-11-23, 1:30, 1_000, 0b1, 0x, 1e, ., -, nULL, 0o8]",
	       "[[\"yes\",\"No\",\"on\",\"2026-11-23\",\"1:30\",\"1_000\",\"0b1\",\"0x\",\"1e\",\"."
	       "\",\"-\",\"nULL\",\"0o8\"]]");
	expect("['1', \"true\", '~', \"\", '']", "[[\"1\",\"true\",\"~\",\"\",\"\"]]");
	expect("a: |\n  1\n\n  b\nc: >\n  d\n  e\n", "[{\"a\":\"1\\n\\nb\\n\",\"c\":\"d e\\n\"}]");
	expect("a: 120s # seconds\n", "[{\"a\":\"120s\"}]");
	expect("80: port\ntrue: x\n", "[{\"80\":\"port\",\"true\":\"x\"}]");
}

static void json_is_read_too_tabs_and_surrogate_pairs_included(void **state)
{
	expect("\t{\n\t\"a\":\t\"\\ud83d\\ude00\"\n}\n", "[{\"a\":\"\xf0\x9f\x98\x80\"}]");
	expect("{enabled: true, threshold: 120s}", "[{\"enabled\":true,\"threshold\":\"120s\"}]");
}

static const struct {
	const char *text, *message;
} refused[] = {
	{"a: &x 1\nb: *x\n", "line 1, column 4: anchors"},
	{"a: *x\n", "line 1, column 4: aliases"},
	{"a: !!str 1\n", "line 1, column 4: tags"},
	{"a: ! 1\n", "tags"},
	{"--- !!map\na: 1\n", "tags"},
	{"- !x [1]\n", "tags"},
	{"&a k: v\n", "anchors"},
	{"a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n",
	 "line 3, column 3: the mapping that starts here has the key \"c\" twice"},
	{"{\"a\": 1, \"a\": 2}", "has the key \"a\" twice"},
	{"a: .inf\n", "infinity"},
	{"a: .NaN\n", "not-a-number"},
	{"a: 1e999\n", "too large"},
	{"a: \"x\\0y\"\n", "NUL"},
	{"? [a]\n: b\n", "a key must be a string"},
	{"<<: {a: 1}\n", "merge keys"},
	{"a:\n\tb: 1\n", "line 2, column 1: a tab"},
	{"a: [1, 2\n", "line 2, column 1: did not find expected"},
	{"a: b: c\n", "line 1, column 5: mapping values are not allowed"},
	{"a: \"x\n", "line 2, column 1: found unexpected end of stream"},
	{"a: \xff\n", "line 1, column 4: "},
	{"ab\x01", "line 1, column 3: control characters are not allowed"},
	{"@x", "line 1, column 1: found character that cannot start any token"},
};

static void what_readers_differ_about_is_refused_with_its_place(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct problem problem = {0};
		cJSON *documents = NULL;
		int r = yaml_read(refused[i].text, strlen(refused[i].text), 1 * MIB, &documents,
				  &problem);

		if (r != -EINVAL || documents || !strstr(problem.text, refused[i].message))
			fail_msg("%s\ngave %d: %s\nexpected: %s", refused[i].text, r, problem.text,
				 refused[i].message);
	}
}

static void size_and_depth_are_bounded(void **state)
{
	_cleanup_buffer_ struct buffer text = BUFFER(1 * MIB);
	struct problem problem = {0};
	cJSON *documents = NULL;

	assert_int_equal(yaml_read("a: 1", 4, 3, &documents, &problem), -EFBIG);
	assert_string_equal(problem.text, "is 4 bytes long; at most 3 are accepted");
	for (int i = 0; i < JSON_DEPTH_MAX; i++)
		assert_int_equal(buffer_append_text(&text, "- "), 0);
	assert_int_equal(yaml_read(text.data, text.length, 1 * MIB, &documents, &problem), 0);
	cJSON_Delete(documents);
	documents = NULL;
	assert_int_equal(buffer_append_text(&text, "- "), 0);
	assert_int_equal(yaml_read(text.data, text.length, 1 * MIB, &documents, &problem), -EINVAL);
	assert_non_null(strstr(problem.text, "nested too deeply"));
	assert_null(documents);
}

static void round_trip(const cJSON *json)
{
	_cleanup_free_ char *yaml = yaml_write(json), *text = json_print(json);
	_cleanup_json_ cJSON *documents = NULL;
	struct problem problem = {0};

	assert_non_null(yaml);
	if (yaml_read(yaml, strlen(yaml), 16 * MIB, &documents, &problem) < 0)
		fail_msg("%s\nas YAML:\n%s\n%s", text, yaml, problem.text);
	const cJSON *back = cJSON_GetArrayItem(documents, 0);
	if (cJSON_GetArraySize(documents) != 1 || !json_equal(back, json))
		fail_msg("%s\nas YAML:\n%s", text, yaml);
}

static void strings_that_look_like_something_else_are_quoted(void **state)
{
	static const char *const strings[] = {
		"",
		"~",
		"null",
		"true",
		"False",
		"1",
		"-1",
		"1.5",
		"1e3",
		".5",
		"0x1f",
		"0o7",
		"yes",
		"No",
		"off",
		"y",
		"1_000",
		"0b11",
		"2026-11-23",
		"1:30",
		"+.inf",
		".nan",
		"=",
		"<<",
		"- a",
		"a: b",
		"a #b",
		"#a",
		"&a",
		"*a",
		"!a",
		"%a",
		"@a",
		"`a",
		"? a",
		": a",
		"[a",
		"{a",
		"a,b",
		"'a'",
		"\"a\"",
		"|",
		">",
		"---",
		"...",
		" a",
		"a ",
		"\ta",
		"a\n",
		"\na",
		"a\n\n",
		"a\nb",
		" a\nb",
		"a \nb",
		"a\n b\n  c\n",
		"\n",
		"a\tb",
		"a\rb",
		"a\r\n",
		"\x01",
		"\x7f",
		"\xc2\x85",
		"\xe2\x80\xa8",
		"\xef\xbb\xbf"
		"a",
		"\xf0\x9f\x98\x80",
		"\xc3\xa9",
		"a\\b",
		"-",
		"--- a\nb",
		"a\n--- b\n",
		"a:",
		"key:\n",
		"0123",
		"1,2",
		"2026-11-23T17:45:01.5Z",
		"120s",
		"#\nb",
		"\n\n a",
	};

	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		_cleanup_json_ cJSON *object = cJSON_CreateObject(),
				     *string = cJSON_CreateString(strings[i]);

		round_trip(string);
		assert_int_equal(json_set_string(object, "key", strings[i]), 0);
		assert_int_equal(json_set_string(object, strings[i], "value"), 0);
		cJSON *list = cJSON_CreateArray();
		cJSON_AddItemToArray(list, cJSON_CreateString(strings[i]));
		cJSON_AddItemToArray(list, cJSON_CreateString("next"));
		assert_int_equal(json_set(object, "list", list), 0);
		round_trip(object);
	}
}

/* A small generator of its own (xorshift), so that each run tests the same. */
static uint32_t random_state = 2463534242;

static uint32_t next_random(uint32_t bound)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state % bound;
}

static cJSON *random_string(void)
{
	static const char *const pieces[] = {" ",
					     "\n",
					     "\t",
					     "a",
					     "B",
					     "1",
					     ":",
					     "-",
					     "#",
					     "'",
					     "\"",
					     "\\",
					     "{",
					     "]",
					     ",",
					     "?",
					     "!",
					     "\xc3\xa9",
					     "\xe2\x82\xac",
					     "\r",
					     "\x1b",
					     "...",
					     "---",
					     "|",
					     "%",
					     ".",
					     "\xf0\x9f\x98\x80",
					     "true",
					     "\xc2\xa0",
					     "~"};
	_cleanup_buffer_ struct buffer text = BUFFER(4096);

	for (uint32_t i = next_random(12); i; i--)
		assert_int_equal(buffer_append_text(&text, pieces[next_random(ARRAY_SIZE(pieces))]),
				 0);
	return cJSON_CreateString(buffer_text(&text));
}

static cJSON *random_value(int depth)
{
	uint32_t kind = next_random(depth > 0 ? 8 : 5);
	cJSON *value;

	switch (kind) {
	case 0:
		return cJSON_CreateNull();
	case 1:
		return cJSON_CreateBool(next_random(2));
	case 2:
		return cJSON_CreateNumber((double)next_random(UINT32_MAX) /
					  (next_random(2) ? 1 : 1024));
	case 5:
	case 6:
		value = cJSON_CreateObject();
		for (uint32_t i = next_random(4); i; i--) {
			_cleanup_json_ cJSON *key = random_string();

			assert_int_equal(json_set(value, key->valuestring, random_value(depth - 1)),
					 0);
		}
		return value;
	case 7:
		value = cJSON_CreateArray();
		for (uint32_t i = next_random(4); i; i--)
			cJSON_AddItemToArray(value, random_value(depth - 1));
		return value;
	default:
		return random_string();
	}
}

static void whatever_is_written_reads_back_the_same(void **state)
{
	for (int i = 0; i < 5000; i++) {
		_cleanup_json_ cJSON *value = random_value(4);

		if (!cJSON_IsNull(value))
			round_trip(value);
	}
}

static void text_is_written_in_block_style_for_a_person(void **state)
{
	static const char json[] =
		"{\"kind\":\"X\",\"bytes\":1000000000000000,\"empty\":{},\"none\":[],\"list\":[{"
		"\"a\":\"b\","
		"\"c\":true},[\"d\"]],\"text\":\"one\\n  two\\n\",\"when\":\"1:30\",\"bad\":\"\"}";
	cJSON *value = NULL;

	assert_int_equal(json_parse(json, strlen(json), &value, NULL), 0);
	_cleanup_free_ char *yaml = yaml_write(value);
	cJSON_Delete(value);
	assert_string_equal(yaml, "kind: X\n"
				  "bytes: 1000000000000000\n"
				  "empty: {}\n"
				  "none: []\n"
				  "list:\n"
				  "- a: b\n"
				  "  c: true\n"
				  "- - d\n"
				  "text: |\n"
				  "  one\n"
				  "    two\n"
				  "when: \"1:30\"\n"
				  "bad: \"\"\n");
}

static void bytes_that_are_not_utf8_are_written_as_replacement_characters(void **state)
{
	_cleanup_json_ cJSON *value = cJSON_CreateObject();

	assert_int_equal(json_set_string(value, "comm", "a\xff"), 0);
	_cleanup_free_ char *yaml = yaml_write(value);
	assert_string_equal(yaml, "comm: a\xef\xbf\xbd\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(documents_become_a_list_and_empty_ones_are_left_out),
		cmocka_unit_test(scalars_follow_the_core_schema),
		cmocka_unit_test(json_is_read_too_tabs_and_surrogate_pairs_included),
		cmocka_unit_test(what_readers_differ_about_is_refused_with_its_place),
		cmocka_unit_test(size_and_depth_are_bounded),
		cmocka_unit_test(strings_that_look_like_something_else_are_quoted),
		cmocka_unit_test(whatever_is_written_reads_back_the_same),
		cmocka_unit_test(text_is_written_in_block_style_for_a_person),
		cmocka_unit_test(bytes_that_are_not_utf8_are_written_as_replacement_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
