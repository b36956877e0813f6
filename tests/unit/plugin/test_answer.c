/* SPDX-License-Identifier: Apache-2.0 */
/* What a plug-in may change: six members of status, and nothing else without being named. */
#include "call_fixture.h"

static struct abnormal *parse(const char *text)
{
	struct abnormal *abnormal = NULL;
	struct problem problem = {0};

	if (abnormal_parse(text, strlen(text), &abnormal, &problem) < 0)
		fail_msg("%s: %s", problem.field, problem.text);
	return abnormal;
}

#define HEAD "{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\","
#define SENT                                                                                       \
	HEAD "\"metadata\":{\"name\":\"a\",\"namespace\":\"d\",\"labels\":{\"l\":\"1\"}},"         \
	     "\"spec\":{\"source\":\"Custom\",\"context\":{\"list\":[1,{\"x\":2}]}},"              \
	     "\"status\":{\"phase\":\"Diagnosing\",\"message\":\"old\",\"context\":{\"c\":{\"v\":" \
	     "1}}}}"

/* Checks ANSWER against SENT; returns the field that was named, "" if it passes. */
static void check(const char *answer_text, const char *field)
{
	_cleanup_abnormal_ struct abnormal *sent = parse(SENT), *answer = parse(answer_text);
	struct problem problem = {0};
	int r = answer_check(sent, answer, &problem);

	assert_int_equal(r, *field ? -EINVAL : 0);
	assert_string_equal(problem.field, field);
}

static void an_unchanged_answer_passes(void **state)
{
	check(SENT, "");
}

static void the_six_members_of_status_may_change(void **state)
{
	check(HEAD "\"metadata\":{\"labels\":{\"l\":\"1\"},\"namespace\":\"d\",\"name\":\"a\"},"
		   "\"spec\":{\"context\":{\"list\":[1,{\"x\":2.0}]},\"source\":\"Custom\"},"
		   "\"status\":{\"phase\":\"Diagnosing\",\"message\":\"new\",\"reason\":\"Why\","
		   "\"output\":\"o\","
		   "\"identifiable\":true,\"recoverable\":true,\"context\":{\"d\":2}}}",
	      "");
}

static void a_changed_spec_is_named_by_its_path(void **state)
{
	check(HEAD "\"metadata\":{\"name\":\"a\",\"namespace\":\"d\",\"labels\":{\"l\":\"1\"}},"
		   "\"spec\":{\"source\":\"Custom\",\"context\":{\"list\":[1,{\"x\":3}]}},"
		   "\"status\":{\"phase\":\"Diagnosing\"}}",
	      "spec.context.list[1].x");
}

static void an_added_or_removed_member_is_named(void **state)
{
	check(HEAD "\"metadata\":{\"name\":\"a\",\"namespace\":\"d\",\"labels\":{\"l\":\"1\"}},"
		   "\"spec\":{\"source\":\"Custom\",\"context\":{\"list\":[1,{\"x\":2}]},"
		   "\"skipRecovery\":true},"
		   "\"status\":{\"phase\":\"Diagnosing\"}}",
	      "spec.skipRecovery");
	check(HEAD "\"metadata\":{\"name\":\"a\",\"namespace\":\"d\"},"
		   "\"spec\":{\"source\":\"Custom\",\"context\":{\"list\":[1,{\"x\":2}]}},"
		   "\"status\":{\"phase\":\"Diagnosing\"}}",
	      "metadata.labels");
}

static void another_object_is_refused(void **state)
{
	check(HEAD "\"metadata\":{\"name\":\"b\",\"namespace\":\"d\",\"labels\":{\"l\":\"1\"}},"
		   "\"spec\":{\"source\":\"Custom\",\"context\":{\"list\":[1,{\"x\":2}]}},"
		   "\"status\":{\"phase\":\"Diagnosing\"}}",
	      "metadata.name");
}

static void the_phase_and_unknown_members_of_status_are_not_a_plug_ins(void **state)
{
	check(HEAD "\"metadata\":{\"name\":\"a\",\"namespace\":\"d\",\"labels\":{\"l\":\"1\"}},"
		   "\"spec\":{\"source\":\"Custom\",\"context\":{\"list\":[1,{\"x\":2}]}},"
		   "\"status\":{\"phase\":\"Succeeded\"}}",
	      "status.phase");
	check(HEAD "\"metadata\":{\"name\":\"a\",\"namespace\":\"d\",\"labels\":{\"l\":\"1\"}},"
		   "\"spec\":{\"source\":\"Custom\",\"context\":{\"list\":[1,{\"x\":2}]}},"
		   "\"status\":{\"phase\":\"Diagnosing\",\"mine\":1}}",
	      "status.mine");
}

static void a_merge_adds_members_of_context_and_keeps_the_others(void **state)
{
	_cleanup_abnormal_ struct abnormal
		*abnormal = parse(SENT),
		*answer =
			parse(HEAD "\"metadata\":{\"name\":\"a\"},\"spec\":{\"source\":\"Custom\"},"
				   "\"status\":{\"reason\":\"Why\",\"identifiable\":true,"
				   "\"context\":{\"d\":2}}}");
	_cleanup_json_ cJSON *json = NULL;

	assert_int_equal(answer_merge(abnormal, answer), 0);
	assert_string_equal(abnormal->status.message, "old");
	assert_string_equal(abnormal->status.reason, "Why");
	assert_true(abnormal->status.identifiable);
	assert_int_equal(abnormal->status.phase, PHASE_DIAGNOSING);
	assert_int_equal(abnormal_encode(abnormal, &json), 0);
	assert_int_equal(json_number(json_at(json, "status.context.c"), "v", 0), 1);
	assert_int_equal(json_number(json_at(json, "status.context"), "d", 0), 2);
}

static void a_merge_that_would_grow_an_abnormal_over_its_limit_changes_nothing(void **state)
{
	_cleanup_abnormal_ struct abnormal *abnormal = parse(SENT), *answer = parse(SENT);
	_cleanup_free_ char *large = malloc(1100 * KIB + 1);

	assert_non_null(large);
	memset(large, 'x', 1100 * KIB);
	large[1100 * KIB] = '\0';
	assert_int_equal(json_set_string(abnormal_context(answer), "first", large), 0);
	assert_int_equal(answer_merge(abnormal, answer), 0);
	assert_int_equal(json_set_string(abnormal_context(answer), "second", large), 0);
	assert_int_equal(string_set(&answer->status.message, "new"), 0);
	assert_int_equal(answer_merge(abnormal, answer), -EFBIG);
	assert_string_equal(abnormal->status.message, "old");
	assert_null(cJSON_GetObjectItem(abnormal->status.context, "second"));
	assert_non_null(cJSON_GetObjectItem(abnormal->status.context, "first"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_unchanged_answer_passes),
		cmocka_unit_test(the_six_members_of_status_may_change),
		cmocka_unit_test(a_changed_spec_is_named_by_its_path),
		cmocka_unit_test(an_added_or_removed_member_is_named),
		cmocka_unit_test(another_object_is_refused),
		cmocka_unit_test(the_phase_and_unknown_members_of_status_are_not_a_plug_ins),
		cmocka_unit_test(a_merge_adds_members_of_context_and_keeps_the_others),
		cmocka_unit_test(
			a_merge_that_would_grow_an_abnormal_over_its_limit_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
