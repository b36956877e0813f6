/* SPDX-License-Identifier: Apache-2.0 */
/* What a supervisor's reply comes to, from the bytes alone. */
#include "call_fixture.h"

#include "plugin/call_result.h"

static const char sent_text[] = "{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\","
				"\"metadata\":{\"name\":\"a\",\"namespace\":\"d\"},"
				"\"spec\":{\"source\":\"Custom\"}}";

static void an_artifacts_size_that_is_none_is_0(void **state)
{
	static const char artifacts[] = "[{\"name\":\"a\",\"path\":\"/a\",\"bytes\":1e300},"
					"{\"name\":\"b\",\"path\":\"/b\",\"bytes\":-1},"
					"{\"name\":\"c\",\"path\":\"/c\",\"bytes\":12}]";
	const struct call_reply reply = {.ending = ENDING_EXITED,
					 .artifacts_bytes = (uint32_t)strlen(artifacts)};
	const struct call_reply_view view = {&reply, "", "", artifacts};
	const struct plugin_entry entry = {.name = (char *)"mine"};
	_cleanup_abnormal_ struct abnormal *sent = NULL;
	_cleanup_(call_result_clear) struct call_result result = {0};

	assert_int_equal(abnormal_parse(sent_text, strlen(sent_text), &sent, NULL), 0);
	assert_int_equal(call_result_read(&result, &view, &entry, sent), 0);
	const struct artifact *files = result.artifacts.items;
	assert_int_equal(result.artifacts.count, 3);
	assert_int_equal(files[0].bytes, 0);
	assert_int_equal(files[1].bytes, 0);
	assert_int_equal(files[2].bytes, 12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_artifacts_size_that_is_none_is_0),
	};

	return cmocka_run_group_tests_name("call_result", tests, NULL, NULL);
}
