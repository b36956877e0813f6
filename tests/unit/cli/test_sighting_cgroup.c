/* SPDX-License-Identifier: Apache-2.0 */
/* What a person reads of a control group in trouble, letter by letter. */
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
				       "{\"spec\":{\"kernelEvent\":{\"detector\":\"cgroup\","
				       "\"type\":\"T\"%s%s}}}",
				       *details ? ",\"details\":" : "", details),
			 0);
	assert_int_equal(
		json_parse(buffer_text(&whole), strlen(buffer_text(&whole)), &abnormal, NULL), 0);
	assert_int_equal(story_append_sighting(&text, abnormal), 0);
	assert_string_equal(buffer_text(&text), expected);
}

static void a_frozen_group_tells_who_is_in_it_and_what_its_runtime_says(void **state)
{
	expect("{\"fault\":\"frozen\",\"seconds\":372.5,\"state\":\"FROZEN\",\"cgroup\":{\"path\":"
	       "\"/a\",\"version\":1},\"runtime\":{\"state\":\"running\"},\"members\":{"
	       "\"processes\":1,\"families\":[{\"comm\":\"sh\",\"processes\":1}]}}",
	       "T, by the detector cgroup\n"
	       "control group /a (v1)\n"
	       "FROZEN for 6m12s\n"
	       "1 process in it: sh (1)\n"
	       "its runtime says it is running: it did not pause it");
	expect("{\"fault\":\"frozen\",\"seconds\":1,\"state\":\"frozen\",\"cgroup\":{\"path\":\"/"
	       "b\",\"version\":2},\"runtime\":{\"unknown\":\"nobody knows\"}}",
	       "T, by the detector cgroup\n"
	       "control group /b (v2)\n"
	       "frozen for 1s\n"
	       "whether it is on purpose is not known: nobody knows");
}

static void a_limit_of_pids_tells_who_was_refused_and_who_is_in_it(void **state)
{
	expect("{\"fault\":\"pids\",\"refused\":12,\"limit\":100,\"current\":99,\"askedIn\":\"/a/"
	       "b\",\"cgroup\":{\"path\":\"/a\",\"version\":1},\"members\":{\"processes\":9,"
	       "\"families\":[{\"comm\":\"sh\",\"processes\":9}]}}",
	       "T, by the detector cgroup\n"
	       "control group /a (v1)\n"
	       "12 forks refused, at 99 of 100 pids\n"
	       "asked for in /a/b\n"
	       "9 processes in it: sh (9)");
	expect("{\"fault\":\"pids\",\"refused\":\"x\",\"members\":7}",
	       "T, by the detector cgroup\n0 forks refused, at 0 of 0 pids\n0 processes");
}

static void a_throttled_group_tells_its_quota(void **state)
{
	expect("{\"fault\":\"throttled\",\"throttled\":2900,\"periods\":3000,\"seconds\":300,"
	       "\"quotaCPUs\":0.5,\"cgroup\":{\"path\":\"/a\",\"version\":2}}",
	       "T, by the detector cgroup\n"
	       "control group /a (v2)\n"
	       "throttled in 2900 of 3000 periods within 5m; its quota is 0.5 CPUs");
}

static void a_leftover_container_tells_since_when_and_how_that_is_known(void **state)
{
	expect("{\"fault\":\"leftover\",\"seconds\":372.5,\"exact\":true,\"knownBy\":"
	       "\"bundle-seen\",\"bundle\":\"/run/b\",\"cgroup\":{\"path\":\"/a\","
	       "\"version\":1},\"members\":{\"processes\":1,\"families\":[{\"comm\":\"sh\","
	       "\"processes\":1}]}}",
	       "T, by the detector cgroup\n"
	       "control group /a (v1)\n"
	       "nobody has had its processes for 6m12s\n"
	       "its bundle was seen and is gone: /run/b\n"
	       "1 process in it: sh (1)");
	expect("{\"fault\":\"leftover\",\"seconds\":300,\"knownBy\":\"path\",\"cgroup\":{"
	       "\"path\":\"/a\",\"version\":2}}",
	       "T, by the detector cgroup\n"
	       "control group /a (v2)\n"
	       "nobody has had its processes for 5m\n"
	       "concluded from the name of its control group: not certain");
	expect("{\"fault\":\"leftover\",\"containerId\":\"web\"}", "T, by the detector cgroup");
}

static void what_is_missing_or_of_another_type_is_left_out(void **state)
{
	expect("", "T, by the detector cgroup");
	expect("{\"fault\":\"frozen\",\"seconds\":1e300,\"state\":\"x\",\"cgroup\":[],\"runtime\":"
	       "3,\"members\":{\"families\":7}}",
	       "T, by the detector cgroup\n"
	       "control group ? (v2)\n"
	       "x for 0s\n"
	       "0 processes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frozen_group_tells_who_is_in_it_and_what_its_runtime_says),
		cmocka_unit_test(a_limit_of_pids_tells_who_was_refused_and_who_is_in_it),
		cmocka_unit_test(a_throttled_group_tells_its_quota),
		cmocka_unit_test(a_leftover_container_tells_since_when_and_how_that_is_known),
		cmocka_unit_test(what_is_missing_or_of_another_type_is_left_out),
	};

	return cmocka_run_group_tests_name("sighting_cgroup", tests, NULL, NULL);
}
