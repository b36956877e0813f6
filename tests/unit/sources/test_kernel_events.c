/* SPDX-License-Identifier: Apache-2.0 */
/* From a detector's finding to an Abnormal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/fingerprint.h"
#include "sources/source.h"

static struct finding finding_of(const char *subject, const char *event)
{
	struct finding finding = {.detector = "oom", .type = "OOMKill", .subject = strdup(subject)};
	struct problem problem = {0};

	assert_int_equal(json_parse(event, strlen(event), &finding.event, &problem), 0);
	return finding;
}

#define EVENT                                                                                     \
	"{\"detector\":\"oom\",\"type\":\"OOMKill\",\"time\":\"2026-11-23T10:00:00.5Z\",\"cpu\":" \
	"1,\"count\":3,"                                                                          \
	"\"process\":{\"pid\":7,\"comm\":\"leak\"},\"details\":{\"scope\":\"cgroup\"}}"

static void finding_free(struct finding *finding)
{
	free(finding->subject);
	cJSON_Delete(finding->event);
}

static void a_finding_becomes_an_abnormal_with_subject_and_fingerprint(void **state)
{
	_cleanup_(finding_free) struct finding finding = finding_of("/kubepods/pod1", EVENT);
	_cleanup_abnormal_ struct abnormal *abnormal = NULL;
	char fingerprint[FINGERPRINT_SIZE];

	assert_int_equal(kernel_events_abnormal(&finding, &abnormal, NULL), 0);
	assert_int_equal(abnormal->spec.source, SOURCE_KERNEL_EVENT);
	assert_string_equal(abnormal->spec.kernel_event->detector, "oom");
	assert_int_equal(abnormal->spec.kernel_event->count, 3);
	assert_string_equal(abnormal->spec.kernel_event->process->comm, "leak");
	assert_string_equal(abnormal_subject(abnormal), "/kubepods/pod1");
	assert_string_equal(abnormal_label(abnormal, LABEL_FINGERPRINT),
			    fingerprint_of("KernelEvent", "oom", "/kubepods/pod1", fingerprint));
	assert_null(abnormal->metadata.name);
	/* The finding is still the caller's. */
	assert_non_null(finding.event);
}

static void two_subjects_are_two_faults_and_the_type_makes_no_difference(void **state)
{
	_cleanup_(finding_free) struct finding first = finding_of("a", EVENT),
					       second = finding_of("b", EVENT);
	_cleanup_(finding_free) struct finding third = finding_of("a", EVENT);
	_cleanup_abnormal_ struct abnormal *one = NULL, *two = NULL, *three = NULL;

	third.type = "OOMKillAgain";
	assert_int_equal(kernel_events_abnormal(&first, &one, NULL), 0);
	assert_int_equal(kernel_events_abnormal(&second, &two, NULL), 0);
	assert_int_equal(kernel_events_abnormal(&third, &three, NULL), 0);
	assert_string_not_equal(abnormal_label(one, LABEL_FINGERPRINT),
				abnormal_label(two, LABEL_FINGERPRINT));
	assert_string_equal(abnormal_label(one, LABEL_FINGERPRINT),
			    abnormal_label(three, LABEL_FINGERPRINT));
}

static void a_malformed_event_is_refused_naming_the_field(void **state)
{
	_cleanup_(finding_free) struct finding finding =
		finding_of("a", "{\"detector\":\"oom\",\"type\":\"OOMKill\","
				"\"time\":\"yesterday\"}");
	struct abnormal *abnormal = NULL;
	struct problem problem = {0};

	assert_int_equal(kernel_events_abnormal(&finding, &abnormal, &problem), -EINVAL);
	assert_string_equal(problem.field, "spec.kernelEvent.time");
}

static void every_source_is_listed(void **state)
{
	_cleanup_json_ cJSON *list = sources_list();
	bool custom = false, kernel = false;
	const cJSON *item;

	cJSON_ArrayForEach (item, list) {
		custom |= streq(json_string(item, "source"), "Custom");
		kernel |= streq(json_string(item, "source"), "KernelEvent");
		assert_non_null(json_string(item, "summary"));
	}
	assert_true(custom && kernel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_finding_becomes_an_abnormal_with_subject_and_fingerprint),
		cmocka_unit_test(two_subjects_are_two_faults_and_the_type_makes_no_difference),
		cmocka_unit_test(a_malformed_event_is_refused_naming_the_field),
		cmocka_unit_test(every_source_is_listed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
