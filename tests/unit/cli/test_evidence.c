/* SPDX-License-Identifier: Apache-2.0 */
/* What a person reads of what the plug-ins left, letter by letter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cli/evidence.h"

static cJSON *parsed(const char *text)
{
	struct problem problem = {0};
	cJSON *json = NULL;

	if (json_parse(text, strlen(text), &json, &problem) < 0)
		fail_msg("%s", problem.text);
	return json;
}

static void expect_evidence(const char *plugin, const char *status_text, const char *expected)
{
	_cleanup_buffer_ struct buffer text = BUFFER(64 * KIB);
	_cleanup_json_ cJSON *status = parsed(status_text);

	assert_int_equal(evidence_append(&text, status, plugin), 0);
	assert_string_equal(buffer_text(&text), expected);
}

#define MAIN                                                                             \
	"{\"id\":1,\"state\":\"chan send\",\"waitMinutes\":3,\"frames\":[{\"function\":" \
	"\"github.com/containerd/containerd/reaper.Reap\"},{\"function\":\"main.main\"}]}"

#define MAIN_SOONER                                                                      \
	"{\"id\":1,\"state\":\"chan send\",\"waitMinutes\":2,\"frames\":[{\"function\":" \
	"\"github.com/containerd/containerd/reaper.Reap\"},{\"function\":\"main.main\"}]}"

static void what_the_plug_ins_left_is_told_in_a_few_lines(void **state)
{
	static const char status[] =
		"{\"context\":{\"goroutines\":{\"artifact\":\"goroutines.txt\",\"truncated\":true,"
		"\"summary\":{\"goroutines\":40,\"main\":" MAIN
		",\"groups\":[{\"count\":30,\"state\":"
		"\"sync.Mutex.Lock\\n\",\"frames\":[\"sync.(*Mutex).Lock\",\"a/b.C\"]}]}},\"shim-deadlock\":{\"dumps\":["
		"{\"time\":\"2026-11-23T10:00:00Z\",\"goroutines\":40,\"main\":" MAIN
		"},{\"time\":\"2026-11-23T10:00:05.03Z\"}]},\"kill-shim\":{"
		"\"containers\":[{\"id\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\",\"name\":\"api\",\"processes\":1}],"
		"\"containerCount\":1},\"other\":{\"a\":1}}}";

	expect_evidence("goroutines", status,
			"\n40 goroutines in goroutines.txt, not all of it\n"
			"main goroutine: chan send for 3 min: reaper.Reap ← main.main\n"
			"30 in sync.Mutex.Lock?: b.C");
	expect_evidence(
		"shim-deadlock", status,
		"\nfirst dump: main goroutine in chan send for 3 min: reaper.Reap ← main.main\n"
		"second dump, 5s later: main goroutine in state unknown");
	/* The action's target has told it. */
	expect_evidence("kill-shim", status, "");
	expect_evidence(
		"kill-shim",
		"{\"context\":{\"kill-shim\":{\"containers\":[{\"id\":\"a\",\"sandbox\":true,"
		"\"processes\":1},{\"id\":\"b\",\"name\":\"api\",\"processes\":3}],"
		"\"containerCount\":2}}}",
		"\naffected: sandbox a, 1 running process\n"
		"affected: container api b, 3 running processes");
	expect_evidence(
		"shim-deadlock",
		"{\"context\":{\"shim-deadlock\":{\"dumps\":[{\"time\":\"2026-11-23T10:00:00Z\","
		"\"main\":" MAIN_SOONER "},{\"time\":\"2026-11-23T10:00:05Z\",\"main\":" MAIN
		"}]}}}",
		"\nin both dumps, 5s apart: main goroutine in chan send for 3 min: reaper.Reap "
		"← main.main");
	expect_evidence("other", status, "");
	expect_evidence("goroutines", "{}", "");
	expect_evidence("kill-shim", "{\"context\":{\"kill-shim\":{}}}", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_plug_ins_left_is_told_in_a_few_lines),
	};
	return cmocka_run_group_tests_name("evidence", tests, NULL, NULL);
}
