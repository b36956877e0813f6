/* SPDX-License-Identifier: Apache-2.0 */
/* What a person reads of a memory stall, letter by letter. */
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
				       "{\"spec\":{\"kernelEvent\":{\"detector\":\"memory_stall\","
				       "\"type\":\"MemoryStall\",\"details\":%s}}}",
				       details),
			 0);
	assert_int_equal(
		json_parse(buffer_text(&whole), strlen(buffer_text(&whole)), &abnormal, NULL), 0);
	assert_int_equal(story_append_sighting(&text, abnormal), 0);
	assert_string_equal(buffer_text(&text), expected);
}

static void the_limit_what_it_costs_and_who_is_in_reclaim_are_told(void **state)
{
	expect("{\"thresholdSeconds\":60,\"cgroup\":{\"path\":\"/web\",\"version\":2},\"limit\":"
	       "\"memory.max\",\"limitBytes\":20971520,\"usageBytes\":20447232,\"reclaims\":1200,"
	       "\"reclaimSeconds\":40,\"reclaimPercent\":35.5,\"pressure\":{\"fullPercent\":50},"
	       "\"refaults\":{\"fileBytes\":1073741824,\"returnedPercent\":80},\"tasks\":[{"
	       "\"pid\":7,\"comm\":\"a\",\"reclaimSeconds\":21.3,\"inReclaimSeconds\":3},{\"pid\":"
	       "8,\"comm\":\"b\",\"reclaimSeconds\":2}]}",
	       "MemoryStall, by the detector memory_stall\n"
	       "memory.max of control group /web: 20 MiB, in use 19.5 MiB\n"
	       "1200 reclaims within 1m took its tasks 40s, the worst of them 36 % of the time\n"
	       "all of its tasks waited for memory 50 % of the time\n"
	       "80 % of what was evicted came back (1 GiB of files)\n"
	       "in reclaim: a (pid 7) 21s, now for 3s, b (pid 8) 2s");
}

static void what_is_missing_or_of_another_type_is_left_out(void **state)
{
	expect("{}", "MemoryStall, by the detector memory_stall");
	expect("{\"cgroup\":{\"path\":\"/web\"}}",
	       "MemoryStall, by the detector memory_stall\ncontrol group /web");
	expect("{\"cgroup\":7,\"limitBytes\":\"x\",\"reclaims\":[],\"reclaimSeconds\":1e300,"
	       "\"tasks\":3}",
	       "MemoryStall, by the detector memory_stall\n"
	       "limit of control group ?: 0 B, in use 0 B\n"
	       "0 reclaims within 0s took its tasks 0s");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_limit_what_it_costs_and_who_is_in_reclaim_are_told),
		cmocka_unit_test(what_is_missing_or_of_another_type_is_left_out),
	};

	return cmocka_run_group_tests_name("sighting_memory_stall", tests, NULL, NULL);
}
