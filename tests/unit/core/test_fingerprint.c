/* SPDX-License-Identifier: Apache-2.0 */
/* Fingerprints tell the same fault from another, names are good names, repeats are counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/fingerprint.h"

static struct abnormal *parse(const char *text)
{
	struct problem problem = {0};
	struct abnormal *abnormal = NULL;

	if (abnormal_parse(text, strlen(text), &abnormal, &problem) < 0)
		fail_msg("%s: %s", problem.field, problem.text);
	return abnormal;
}

static void fingerprints_are_fnv_1a_over_the_parts_each_ended_by_nul(void **state)
{
	char text[FINGERPRINT_SIZE];

	/* Worked out apart from the code; a change would make every stored fault a new one. */
	assert_string_equal(fingerprint_of("KernelEvent", "oom", "/kubepods/x", text),
			    "10072a8568af4dda");
	assert_string_equal(fingerprint_of(NULL, NULL, NULL, text), "d94d12186c0f2fb7");
}

static void parts_do_not_run_into_each_other(void **state)
{
	char a[FINGERPRINT_SIZE], b[FINGERPRINT_SIZE];

	assert_string_not_equal(fingerprint_of("ab", "c", "d", a),
				fingerprint_of("a", "bc", "d", b));
	assert_string_not_equal(fingerprint_of("a", "", "b", a), fingerprint_of("a", "b", "", b));
	assert_string_equal(fingerprint_of("a", NULL, "b", a), fingerprint_of("a", "", "b", b));
}

#define HEAD                              \
	"{\"apiVersion\":\"lifeboat.dev/" \
	"v1alpha1\",\"kind\":\"Abnormal\",\"metadata\":{\"namespace\":\"n\",\"name\":\"x\""
#define SUBJECT ",\"annotations\":{\"lifeboat.dev/subject\":\"s\"}}"

static void each_source_has_its_rule(void **state)
{
	static const struct {
		const char *text, *source, *rule, *subject;
	} cases[] = {
		{HEAD SUBJECT ",\"spec\":{\"source\":\"KernelEvent\",\"kernelEvent\":{\"detector\":"
			      "\"oom\",\"type\":\"T\"}}}",
		 "KernelEvent", "oom", "s"},
		{HEAD SUBJECT
		 ",\"spec\":{\"source\":\"Log\",\"log\":{\"filePath\":\"/l\",\"logEntry\":\"e\"}}}",
		 "Log", "/l", "s"},
		{HEAD SUBJECT ",\"spec\":{\"source\":\"KubernetesEvent\",\"kubernetesEvent\":{"
			      "\"reason\":\"Failed\","
			      "\"metadata\":{\"name\":\"web.17\"}}}}",
		 "KubernetesEvent", "Failed", "s"},
		{HEAD SUBJECT ",\"spec\":{\"source\":\"KubernetesEvent\",\"kubernetesEvent\":{"
			      "\"metadata\":{\"name\":\"web.17\"}}}}",
		 "KubernetesEvent", "web.17", "s"},
		{HEAD SUBJECT ",\"spec\":{\"source\":\"PrometheusAlert\",\"prometheusAlert\":{"
			      "\"labels\":{\"alertname\":\"Down\"},\"annotations\":{}}}}",
		 "PrometheusAlert", "Down", "s"},
		{HEAD SUBJECT ",\"spec\":{\"source\":\"Probe\",\"nodeProbe\":{\"name\":\"p\","
			      "\"tcpSocket\":{\"port\":1}}}}",
		 "Probe", "p", "s"},
		{HEAD SUBJECT
		 ",\"spec\":{\"source\":\"Probe\",\"podProbe\":{\"namespace\":\"a\",\"name\":\"b\","
		 "\"container\":\"c\",\"tcpSocket\":{\"port\":1}}}}",
		 "Probe", "b", "s"},
		{HEAD "},\"spec\":{\"source\":\"Custom\"}}", "Custom", "x", "n/x"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_abnormal_ struct abnormal *abnormal = parse(cases[i].text);
		char text[FINGERPRINT_SIZE], expected[FINGERPRINT_SIZE];

		assert_string_equal(
			abnormal_fingerprint(abnormal, text),
			fingerprint_of(cases[i].source, cases[i].rule, cases[i].subject, expected));
	}
}

static void the_label_goes_before_all_else_if_it_is_a_fingerprint(void **state)
{
	_cleanup_abnormal_ struct abnormal *labelled = parse(
		HEAD ",\"labels\":{\"lifeboat.dev/"
		     "fingerprint\":\"0123456789abcdef\"}},\"spec\":{\"source\":\"Custom\"}}");
	_cleanup_abnormal_ struct abnormal *mislabelled =
		parse(HEAD ",\"labels\":{\"lifeboat.dev/"
			   "fingerprint\":\"0123\"}},\"spec\":{\"source\":\"Custom\"}}");
	char text[FINGERPRINT_SIZE];

	assert_string_equal(abnormal_fingerprint(labelled, text), "0123456789abcdef");
	assert_int_equal(strlen(abnormal_fingerprint(mislabelled, text)), 16);
}

static void the_subject_is_never_null(void **state)
{
	_cleanup_abnormal_ struct abnormal *annotated =
		parse(HEAD SUBJECT ",\"spec\":{\"source\":\"Custom\"}}");
	_cleanup_abnormal_ struct abnormal *named =
		parse(HEAD "},\"spec\":{\"source\":\"Custom\"}}");
	_cleanup_abnormal_ struct abnormal *empty = abnormal_new();
	char text[FINGERPRINT_SIZE];

	assert_string_equal(abnormal_subject(annotated), "s");
	assert_string_equal(abnormal_subject(named), "x");
	assert_string_equal(abnormal_subject(empty), "");
	assert_int_equal(strlen(abnormal_fingerprint(empty, text)), 16);
}

static void names_are_deterministic_and_valid(void **state)
{
	char a[ABNORMAL_NAME_SIZE], b[ABNORMAL_NAME_SIZE];
	const int64_t second = (int64_t)NS_PER_S;

	assert_string_equal(
		fingerprint_name("hung_task", "0123456789abcdef", 1000000000 * second + 5, a),
		"hung-task-01234567-gjdgxs");
	/* Two times of the same second are the same name. */
	assert_string_equal(
		a, fingerprint_name("hung_task", "0123456789abcdef", 1000000000 * second + 7, b));
	assert_string_equal(fingerprint_name("/Var/log.1", "0123456789abcdef", 0, a),
			    "var-log-1-01234567-0");
	assert_string_equal(fingerprint_name("", "0123456789abcdef", -1, a), "abnormal-01234567-0");
	assert_string_equal(fingerprint_name("\xc3\xa9", "0123456789abcdef", 0, a),
			    "abnormal-01234567-0");
	fingerprint_name("a_rule_whose_name_is_longer_than_any_name_of_kubernetes_may_be_at_all",
			 "0123456789abcdef", INT64_MAX, a);
	assert_string_equal(a, "a-rule-whose-name-is-longer-than-any-name-of-k-01234567-48jcves");
	assert_int_equal(strlen(a), 63);
}

static void repeats_are_counted_with_their_first_and_last_time(void **state)
{
	_cleanup_abnormal_ struct abnormal *abnormal = abnormal_new();

	assert_int_equal(occurrences_add(abnormal, 1, 100, NULL), 0);
	assert_int_equal(occurrences_add(abnormal, 5, 300, NULL), 0);
	assert_int_equal(occurrences_add(abnormal, 0, 200, NULL), 0);
	const struct occurrences *occurrences = abnormal->status.occurrences;
	assert_int_equal(occurrences->count, 7);
	assert_int_equal(occurrences->first_time, 100);
	assert_int_equal(occurrences->last_time, 300);
	/* The count stays one that JSON can hold. */
	assert_int_equal(occurrences_add(abnormal, INT64_MAX, 300, NULL), 0);
	assert_int_equal(occurrences_add(abnormal, INT64_MAX, 300, NULL), 0);
	assert_int_equal(occurrences->count, INT64_C(1) << 53);
}

static void a_record_that_was_read_before_is_known(void **state)
{
	_cleanup_abnormal_ struct abnormal *abnormal = abnormal_new();

	assert_false(occurrences_have(abnormal, "ring-1:100"));
	assert_int_equal(occurrences_add(abnormal, 1, 100, NULL), 0);
	assert_false(occurrences_have(abnormal, "ring-1:100"));
	assert_int_equal(occurrences_add(abnormal, 1, 100, "ring-1:900"), 0);
	assert_true(occurrences_have(abnormal, "ring-1:900"));
	assert_true(occurrences_have(abnormal, "ring-1:100"));
	assert_false(occurrences_have(abnormal, "ring-1:1000"));
	/* Another ring's positions say nothing. */
	assert_false(occurrences_have(abnormal, "ring-2:100"));
	assert_false(occurrences_have(abnormal, "ring-11:100"));
	assert_false(occurrences_have(abnormal, NULL));
	assert_false(occurrences_have(abnormal, "100"));
	/* A sighting without a record leaves what is known. */
	assert_int_equal(occurrences_add(abnormal, 1, 100, NULL), 0);
	assert_true(occurrences_have(abnormal, "ring-1:900"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fingerprints_are_fnv_1a_over_the_parts_each_ended_by_nul),
		cmocka_unit_test(parts_do_not_run_into_each_other),
		cmocka_unit_test(each_source_has_its_rule),
		cmocka_unit_test(the_label_goes_before_all_else_if_it_is_a_fingerprint),
		cmocka_unit_test(the_subject_is_never_null),
		cmocka_unit_test(names_are_deterministic_and_valid),
		cmocka_unit_test(repeats_are_counted_with_their_first_and_last_time),
		cmocka_unit_test(a_record_that_was_read_before_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
