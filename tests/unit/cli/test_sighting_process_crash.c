/* SPDX-License-Identifier: Apache-2.0 */
/* What a person reads of a crash, letter by letter. */
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
				       "{\"spec\":{\"kernelEvent\":{\"detector\":"
				       "\"process_crash\",\"type\":\"ProcessCrash\"%s%s}}}",
				       *details ? ",\"details\":" : "", details),
			 0);
	assert_int_equal(
		json_parse(buffer_text(&whole), strlen(buffer_text(&whole)), &abnormal, NULL), 0);
	assert_int_equal(story_append_sighting(&text, abnormal), 0);
	assert_string_equal(buffer_text(&text), expected);
}

static void a_fault_tells_signal_address_and_core(void **state)
{
	expect("{\"program\":\"web\",\"signal\":\"SIGSEGV\",\"code\":\"SEGV_MAPERR\",\"address\":"
	       "\"0x10\",\"core\":{\"dumped\":true,\"pattern\":\"core.%p\"}}",
	       "ProcessCrash, by the detector process_crash\n"
	       "web was ended by SIGSEGV (SEGV_MAPERR) at address 0x10\n"
	       "a core was dumped (kernel.core_pattern: core.%p)");
	expect("{\"program\":\"web\",\"signal\":\"SIGSYS\",\"address\":\"0x10\",\"syscall\":435,"
	       "\"core\":{\"dumped\":false}}",
	       "ProcessCrash, by the detector process_crash\n"
	       "web was ended by SIGSYS for system call 435\n"
	       "no core was dumped");
}

static void a_loop_tells_who_sent_the_last_signal_and_its_rate(void **state)
{
	expect("{\"program\":\"web\",\"signal\":\"SIGABRT\",\"sender\":{\"pid\":1,\"self\":false},"
	       "\"crashes\":12,\"windowSeconds\":600,\"ratePerMinute\":1.5}",
	       "ProcessCrash, by the detector process_crash\n"
	       "web was ended by SIGABRT, which process 1 sent\n"
	       "the last of 12 crashes within 10m, 1.5 a minute");
	expect("{\"signal\":\"SIGABRT\",\"sender\":{\"pid\":7,\"self\":true}}",
	       "ProcessCrash, by the detector process_crash\n"
	       "it was ended by SIGABRT, which it sent to itself");
}

static void what_is_missing_or_of_another_type_is_left_out(void **state)
{
	expect("", "ProcessCrash, by the detector process_crash");
	expect("{\"signal\":7,\"crashes\":\"x\",\"windowSeconds\":1e300,\"core\":[]}",
	       "ProcessCrash, by the detector process_crash\n"
	       "no core was dumped\n"
	       "the last of 0 crashes within 0s, 0.0 a minute");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fault_tells_signal_address_and_core),
		cmocka_unit_test(a_loop_tells_who_sent_the_last_signal_and_its_rate),
		cmocka_unit_test(what_is_missing_or_of_another_type_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
