/* SPDX-License-Identifier: Apache-2.0 */
/* What a dump of a shim tells, and what it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/goroutine_dump.h"
#include "host/shim_dump.h"
#include "shim_dumps.h"

static cJSON *summary_of(const char *text)
{
	_cleanup_(goroutine_dump_freep) struct goroutine_dump *dump = NULL;

	assert_int_equal(goroutine_dump_parse(text, strlen(text), &dump), 0);
	cJSON *summary = goroutine_dump_summary(dump, SHIM_DUMP_GROUPS, SHIM_DUMP_FRAMES);
	assert_non_null(summary);
	return summary;
}

static void only_goroutine_1_sending_in_reap_under_handle_signals_is_the_signature(void **state)
{
	static const struct {
		const char *text;
		bool sends;
	} dumps[] = {
		{DUMP_BEGIN DUMP_WEDGED DUMP_END, true},
		{DUMP_BEGIN DUMP_REAP("1", "chan send, 10 minutes", "reaper",
				      "/go/src/github.com/containerd/containerd/reaper/reaper.go")
			 DUMP_END,
		 true},
		{DUMP_BEGIN DUMP_REAP(
			 "1", "chan send", "runtime/v2/shim",
			 "/go/src/github.com/containerd/containerd/runtime/v2/shim/reaper_unix.go")
			 DUMP_END,
		 true},
		{DUMP_BEGIN DUMP_HEALTHY DUMP_END, false},
		{DUMP_BEGIN DUMP_FIXED DUMP_END, false},
		/* Another goroutine in the same place, as a test of containerd's own might have. */
		{DUMP_BEGIN DUMP_HEALTHY DUMP_REAP(
			 "7", "chan send", "runtime/v1/shim",
			 "/go/src/github.com/containerd/containerd/runtime/v1/shim/reaper.go")
			 DUMP_END,
		 false},
		/* Not yet sending, or not blocked. */
		{DUMP_BEGIN DUMP_REAP("1", "runnable", "runtime/v1/shim", "/reaper.go") DUMP_END,
		 false},
		/* Sends, but not from the loop that reaps. */
		{DUMP_BEGIN "goroutine 1 [chan send]:\n"
			    "github.com/containerd/containerd/runtime/v1/shim.Reap()\n"
			    "\t/reaper.go:44 +0x126\n" DUMP_MAIN_TAIL("main.init") DUMP_END,
		 false},
		/* Sends from the loop, but not in Reap. */
		{DUMP_BEGIN "goroutine 1 [chan send]:\n"
			    "main.forward()\n"
			    "\t/main.go:44 +0x126\n" DUMP_MAIN_TAIL("main.handleSignals") DUMP_END,
		 false},
		/* Somebody else's program that has functions of these names. */
		{DUMP_BEGIN "goroutine 1 [chan send]:\n"
			    "example.com/farm.Reap()\n"
			    "\t/reaper.go:44 +0x126\n" DUMP_MAIN_TAIL("main.handleSignals")
				    DUMP_END,
		 false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(dumps); i++) {
		_cleanup_json_ cJSON *summary = summary_of(dumps[i].text);

		if (shim_dump_reaper_sends(summary) != dumps[i].sends)
			fail_msg("dump %zu: %s", i, dumps[i].text);
	}
	assert_false(shim_dump_reaper_sends(NULL));
}

static void the_form_of_the_deadlock_is_told(void **state)
{
	static const struct {
		const char *text;
		unsigned forms;
	} dumps[] = {
		{DUMP_BEGIN DUMP_WEDGED DUMP_FORM_A DUMP_END, SHIM_DUMP_FORM_A},
		{DUMP_BEGIN DUMP_WEDGED DUMP_FORM_B DUMP_END, SHIM_DUMP_FORM_B},
		{DUMP_BEGIN DUMP_WEDGED DUMP_FORM_B_OLD DUMP_END, SHIM_DUMP_FORM_B},
		{DUMP_BEGIN DUMP_WEDGED DUMP_FORM_C DUMP_END, SHIM_DUMP_FORM_C},
		{DUMP_BEGIN DUMP_WEDGED DUMP_FORM_D DUMP_END, SHIM_DUMP_FORM_D},
		{DUMP_BEGIN DUMP_WEDGED DUMP_FORM_A DUMP_FORM_C DUMP_END,
		 SHIM_DUMP_FORM_A | SHIM_DUMP_FORM_C},
		{DUMP_BEGIN DUMP_WEDGED DUMP_END, 0},
		/* The same functions, but nobody waits for a lock. */
		{DUMP_BEGIN DUMP_WEDGED "goroutine 5 [chan receive]:\n" DUMP_FRAME(
			 DUMP_V1 "(*Service).processExits") "\n" DUMP_END,
		 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(dumps); i++) {
		_cleanup_json_ cJSON *summary = summary_of(dumps[i].text);

		assert_int_equal(shim_dump_forms(summary), dumps[i].forms);
	}
	for (unsigned i = 0; i < SHIM_DUMP_FORMS; i++)
		assert_non_null(shim_dump_form_text(i));
}

static void the_version_is_exact_where_the_path_tells_and_a_range_elsewhere(void **state)
{
	static const struct {
		const char *text, *version;
	} dumps[] = {
		{DUMP_BEGIN DUMP_WEDGED DUMP_END, "1.2.0"},
		{DUMP_BEGIN DUMP_REAP("1", "chan send", "reaper",
				      "/go/src/github.com/containerd/containerd/reaper/reaper.go")
			 DUMP_END,
		 "1.0 or 1.1"},
		{DUMP_BEGIN DUMP_REAP(
			 "1", "chan send", "runtime/v2/shim",
			 "/go/src/github.com/containerd/containerd/runtime/v2/shim/reaper_unix.go")
			 DUMP_END,
		 "1.2"},
		{DUMP_BEGIN DUMP_FIXED DUMP_END, "1.3 or later"},
		{DUMP_BEGIN DUMP_HEALTHY DUMP_END, NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(dumps); i++) {
		_cleanup_json_ cJSON *summary = summary_of(dumps[i].text);
		_cleanup_free_ char *version = shim_dump_version(summary);

		if (!streq_ptr(version, dumps[i].version))
			fail_msg("dump %zu: %s", i, version ? version : "(none)");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			only_goroutine_1_sending_in_reap_under_handle_signals_is_the_signature),
		cmocka_unit_test(the_form_of_the_deadlock_is_told),
		cmocka_unit_test(the_version_is_exact_where_the_path_tells_and_a_range_elsewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
