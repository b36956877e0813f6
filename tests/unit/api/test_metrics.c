/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metrics as a scraper reads them: every line is checked against the OpenMetrics 1.0 text
 * format.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "api/lines.h"
#include "api/metrics.h"

struct family {
	char name[128], type[32];
	bool helped, sampled;
};

static bool name_is_valid(const char *name, size_t length)
{
	return length &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") >=
		       length;
}

/* "{a="b",c="d"}": returns what follows, or NULL. */
static const char *skip_labels(const char *text)
{
	if (*text != '{')
		return text;
	do {
		size_t length = strcspn(++text, "=");

		if (!name_is_valid(text, length) || text[length + 1] != '"')
			return NULL;
		for (text += length + 2; *text != '"'; text++) {
			if (!*text || *text == '\n')
				return NULL;
			if (*text == '\\' && !strchr("\\\"n", *++text))
				return NULL;
		}
		text++;
	} while (*text == ',');
	return *text == '}' ? text + 1 : NULL;
}

static void check_sample(const struct family *family, const char *line)
{
	size_t length = strcspn(line, "{ ");
	char *end;

	const char *suffix = streq(family->type, "counter") ? "_total"
			     : streq(family->type, "info")  ? "_info"
							    : "";
	if (strncmp(line, family->name, strlen(family->name)) != 0 ||
	    length != strlen(family->name) + strlen(suffix) ||
	    strncmp(line + strlen(family->name), suffix, strlen(suffix)) != 0)
		fail_msg("a sample outside its family %s (%s): %s", family->name, family->type,
			 line);
	const char *value = skip_labels(line + length);
	if (!value || *value != ' ')
		fail_msg("bad labels: %s", line);
	double number = strtod(value + 1, &end);
	if (end == value + 1 || *end)
		fail_msg("bad value: %s", line);
	if (streq(family->type, "counter"))
		assert_true(number >= 0);
	if (streq(family->type, "stateset"))
		assert_true(number == 0 || number == 1);
}

/* Returns how many families there are. */
static size_t check_format(char *text)
{
	static char seen[128][128];
	struct family family = {0};
	size_t families = 0;
	bool ended = false;

	for (char *line = text, *next; *line; line = next) {
		next = line + strcspn(line, "\n");
		assert_int_equal(*next, '\n');
		*next++ = '\0';
		assert_false(ended);
		if (streq(line, "# EOF")) {
			ended = true;
		} else if (startswith(line, "# TYPE ")) {
			assert_int_equal(
				sscanf(line, "# TYPE %127s %31s", family.name, family.type), 2);
			for (size_t i = 0; i < families; i++)
				if (streq(seen[i], family.name))
					fail_msg("the family %s is there twice", family.name);
			snprintf(seen[families++], sizeof(seen[0]), "%s", family.name);
			family.helped = false;
		} else if (startswith(line, "# UNIT ")) {
			char name[128], unit[32];

			assert_int_equal(sscanf(line, "# UNIT %127s %31s", name, unit), 2);
			assert_string_equal(name, family.name);
			if (!endswith(name, unit))
				fail_msg("%s must end in its unit %s", name, unit);
		} else if (startswith(line, "# HELP ")) {
			assert_true(startswith(line + 7, family.name));
			family.helped = true;
		} else {
			assert_true(family.helped);
			check_sample(&family, line);
		}
	}
	assert_true(ended);
	return families;
}

static cJSON *detectors(void)
{
	return cJSON_Parse("[{\"name\":\"oom\",\"status\":\"active\",\"hook\":\"tp_btf/"
			   "mark_victim\",\"events\":3,\"lost\":1,"
			   "\"looks\":7,\"lookNanoseconds\":1500000}]");
}

static struct abnormal *ended(const char *uid, const char *reason)
{
	struct abnormal *abnormal = abnormal_new();

	assert_non_null(abnormal);
	abnormal->spec.source = SOURCE_CUSTOM;
	abnormal->status.phase = PHASE_FAILED;
	assert_int_equal(string_set(&abnormal->metadata.uid, uid), 0);
	assert_int_equal(string_set(&abnormal->status.reason, reason), 0);
	assert_int_equal(abnormal_set_condition(abnormal, CONDITION_RECOVERED, CONDITION_FALSE, "X",
						NULL, 1000),
			 0);
	return abnormal;
}

static void every_line_is_openmetrics(void **state)
{
	static const struct pipeline_counts pipeline = {.created = 3};
	static const struct call_counts calls = {.errors = 2};
	static const struct store_counts store = {.bytes = 4096};
	static const struct api_counts api = {.requests = 9};
	static struct metrics_endings endings;
	_cleanup_buffer_ struct buffer text = BUFFER(METRICS_BYTES_MAX);
	_cleanup_abnormal_ struct abnormal *abnormal = ended("u1", "Quote\"Back\\Line\nEnd");
	_cleanup_json_ cJSON *list = detectors();
	struct metrics_input input = {
		.version = "1",
		.node_name = "n",
		.endings = &endings,
		.pipeline = &pipeline,
		.calls = &calls,
		.store = &store,
		.store_medium = "disk",
		.detectors = list,
		.api = &api,
	};

	assert_int_equal(metrics_endings_add(&endings, abnormal, 0), 0);
	metrics_process_read(&input.process, 1500000000);
	assert_true(input.process.resident_bytes > 0 && input.process.open_files > 0);
	assert_int_equal(metrics_render(&input, &text), 0);
	assert_non_null(strstr(text.data, "reason=\"Quote\\\"Back\\\\Line\\nEnd\""));
	assert_non_null(strstr(text.data,
			       "lifeboat_detector_look_seconds_total{detector=\"oom\"} 0.0015\n"));
	assert_non_null(strstr(text.data, "process_start_time_seconds 1.5\n"));
	assert_true(check_format(text.data) > 30);
	metrics_endings_clear(&endings);
}

static void an_ending_is_counted_once_and_only_if_it_is_ours(void **state)
{
	static struct metrics_endings endings;
	_cleanup_abnormal_ struct abnormal *one = ended("u1", "A"), *two = ended("u2", "A");

	assert_int_equal(metrics_endings_add(&endings, one, 2000),
			 0); /* ended before the agent began */
	assert_int_equal(endings.count, 0);
	assert_int_equal(metrics_endings_add(&endings, one, 1000), 0);
	assert_int_equal(metrics_endings_add(&endings, one, 1000), 0); /* a repeat folded into it */
	assert_int_equal(metrics_endings_add(&endings, two, 1000), 0);
	assert_int_equal(endings.count, 1);
	assert_int_equal(endings.items[0].count, 2);
	metrics_endings_clear(&endings);
}

static void reasons_without_end_become_other(void **state)
{
	static struct metrics_endings endings;

	for (int i = 0; i < ENDINGS_MAX + 5; i++) {
		char text[16];

		snprintf(text, sizeof(text), "R%d", i);
		_cleanup_abnormal_ struct abnormal *abnormal = ended(text, text);
		assert_int_equal(metrics_endings_add(&endings, abnormal, 0), 0);
	}
	assert_int_equal(endings.count, ENDINGS_MAX);
	assert_int_equal(endings.other, 5);
	metrics_endings_clear(&endings);
}

static void a_list_becomes_lines_whatever_is_in_its_strings(void **state)
{
	static const char list[] = " [ {\"a\":\"],}\\\"[\"} ,\n{\"b\":[1,{\"c\":2}]}, 3 ] ";
	_cleanup_buffer_ struct buffer lines = BUFFER(4096);

	assert_int_equal(lines_from_list(list, sizeof(list) - 1, &lines), 0);
	assert_string_equal(lines.data, "{\"type\":\"ADDED\",\"object\":{\"a\":\"],}\\\"[\"}}\n"
					"{\"type\":\"ADDED\",\"object\":{\"b\":[1,{\"c\":2}]}}\n"
					"{\"type\":\"ADDED\",\"object\":3}\n");
	assert_int_equal(lines_from_list("[]", 2, &lines), 0);
	assert_true(lines_from_list("{}", 2, &lines) < 0);
	assert_true(lines_from_list("[1,", 3, &lines) < 0);
	assert_true(lines_from_list("[\"\\", 3, &lines) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_line_is_openmetrics),
		cmocka_unit_test(an_ending_is_counted_once_and_only_if_it_is_ours),
		cmocka_unit_test(reasons_without_end_become_other),
		cmocka_unit_test(a_list_becomes_lines_whatever_is_in_its_strings),
	};
	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
