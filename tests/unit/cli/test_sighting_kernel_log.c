/* SPDX-License-Identifier: Apache-2.0 */
/* What a person reads of a line of the kernel's log, letter by letter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cli/sighting.h"

static void expect(const char *details, const char *expected)
{
	_cleanup_buffer_ struct buffer whole = BUFFER(64 * KIB), text = BUFFER(64 * KIB);
	_cleanup_json_ cJSON *abnormal = NULL;

	assert_int_equal(buffer_printf(&whole,
				       "{\"spec\":{\"kernelEvent\":{\"detector\":\"kernel_log\","
				       "\"type\":\"KernelBug\",\"details\":%s}}}",
				       details),
			 0);
	assert_int_equal(
		json_parse(buffer_text(&whole), strlen(buffer_text(&whole)), &abnormal, NULL), 0);
	assert_int_equal(story_append_sighting(&text, abnormal), 0);
	assert_string_equal(buffer_text(&text), expected);
}

static void the_line_its_number_and_its_rule_are_told(void **state)
{
	expect("{\"rule\":\"bug\",\"line\":\"BUG: x\",\"lines\":1,\"writer\":\"kernel\"}",
	       "KernelBug, by the detector kernel_log\n"
	       "the kernel logged: BUG: x\n"
	       "found by rule bug");
	expect("{\"rule\":\"mine\",\"line\":\"BUG: x\",\"lines\":7,\"writer\":\"program\"}",
	       "KernelBug, by the detector kernel_log\n"
	       "a program logged: BUG: x\n"
	       "the last of 7 such lines\n"
	       "found by rule mine");
}

static void what_is_missing_or_of_another_type_is_left_out(void **state)
{
	expect("{}", "KernelBug, by the detector kernel_log");
	expect("{\"rule\":[],\"line\":\"x\",\"lines\":\"y\",\"writer\":1}",
	       "KernelBug, by the detector kernel_log\n"
	       "the kernel logged: x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_line_its_number_and_its_rule_are_told),
		cmocka_unit_test(what_is_missing_or_of_another_type_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
