/* SPDX-License-Identifier: Apache-2.0 */
/* What is concluded from a fatal signal, word for word. */
#include "builtin_fixture.h"

#define CONTAINER                                                                        \
	"\"container\":{\"runtime\":\"containerd\",\"id\":\"0123456789abcdef\",\"pod\":" \
	"\"cart-1\",\"namespace\":\"shop\",\"name\":\"web\",\"cgroupPath\":\"/kubepods/x\"}"
#define SERVICE "\"container\":{\"cgroupPath\":\"/system.slice/web.service\"}"
#define EVENT(type, where, details, status)                                                    \
	"{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\",\"metadata\":"        \
	"{\"name\":\"a\",\"namespace\":\"default\"},\"spec\":{\"source\":\"KernelEvent\","     \
	"\"kernelEvent\":{\"detector\":\"process_crash\",\"type\":\"" type "\",\"time\":"      \
	"\"2026-11-23T18:00:00Z\",\"process\":{\"pid\":4712,\"tgid\":4711,\"startTime\":1000," \
	"\"comm\":\"worker\"}," where ",\"stack\":{\"user\":[\"web+0x1136\",\"libc.so.6+"      \
	"0x2724a\"]},\"details\":{\"program\":\"web\",\"buildId\":"                            \
	"\"a0a1a2a3a4a5a6a7a8a9\"," details "}}},\"status\":{" status "}}"
#define FAULT(signal, code, address)                                                     \
	"\"signal\":\"" signal "\",\"code\":\"" code "\",\"address\":\"" address         \
	"\",\"instruction\":\"0x401136\",\"stackPointer\":\"0x7ffc00010000\",\"core\":{" \
	"\"dumped\":false,\"pattern\":\"core\"}"
#define SENT(signal, pid, self)                                                   \
	"\"signal\":\"" signal "\",\"code\":\"SI_USER\",\"sender\":{\"pid\":" pid \
	",\"uid\":0,\"self\":" self "}"

static void diagnose(struct plugin_fixture *fixture, const char *text, const char *reason)
{
	fixture_call(fixture, PLUGIN_DIAGNOSER, "process-crash", text);
	assert_int_equal(fixture->call.plugin->diagnose(&fixture->call), PLUGIN_RECOGNISED);
	assert_true(fixture->abnormal->status.identifiable);
	assert_string_equal(fixture->abnormal->status.reason, reason);
}

static void a_null_pointer_in_a_pod_is_told_with_where_to_look(void **state)
{
	diagnose(*state,
		 EVENT("ProcessCrash", CONTAINER, FAULT("SIGSEGV", "SEGV_MAPERR", "0x0"),
		       "\"occurrences\":{\"count\":2,\"firstTime\":\"2026-11-23T17:00:00Z\","
		       "\"lastTime\":\"2026-11-23T18:00:00Z\"}"),
		 "ProcessCrashed");
	fixture_expect_message(
		*state,
		"web (pid 4711) of container web of pod shop/cart-1 crashed: it used a null "
		"pointer.\n"
		"Evidence: SIGSEGV (SEGV_MAPERR) at address 0x0. Stack: web+0x1136, "
		"libc.so.6+0x2724a (build ID a0a1a2a3a4a5a6a7…). It has crashed 2 times within "
		"1h. No core was written.\n"
		"Repair: nothing is changed for a crash, as starting again is its runtime's "
		"business; it is checked whether it runs again.\n"
		"Advice: look at the innermost frame for a result that was not checked. Its "
		"output: kubectl logs --previous -n shop cart-1 -c web. For a core, raise its "
		"limit (ulimit -c, LimitCORE=) and see kernel.core_pattern. The line: addr2line "
		"-fie web 0x1136, with its debug symbols.");
}

static void a_loop_tells_its_rate_and_that_nothing_is_repaired(void **state)
{
	diagnose(*state,
		 EVENT("CrashLoop", SERVICE,
		       SENT("SIGABRT", "4711", "true") ",\"core\":{\"dumped\":true,\"pattern\":"
						       "\"|/usr/lib/systemd/systemd-coredump %P\"},"
						       "\"crashes\":12,\"windowSeconds\":600,"
						       "\"ratePerMinute\":1.5",
		       ""),
		 "CrashLoop");
	fixture_expect_message(
		*state,
		"web of control group /system.slice/web.service crashes again and again, 12 times "
		"within 10m (1.5 a minute): the last time it gave up by itself: a failed "
		"assertion, an uncaught exception, a panic, or the C library found its memory "
		"corrupted.\n"
		"Evidence: SIGABRT (SI_USER). Stack: web+0x1136, libc.so.6+0x2724a (build ID "
		"a0a1a2a3a4a5a6a7…). A core was handed to systemd-coredump.\n"
		"Repair: none; what starts it again only repeats it.\n"
		"Advice: its last lines of output say which. Its output: journalctl -u "
		"web.service. The core: coredumpctl debug 4711. The line: addr2line -fie web "
		"0x1136, with its debug symbols.");
}

static void each_signal_code_and_address_has_its_cause(void **state)
{
	static const struct {
		const char *details, *words;
	} cases[] = {
		{FAULT("SIGSEGV", "SEGV_MAPERR", "0x1230"), "at a null pointer"},
		{FAULT("SIGSEGV", "SEGV_MAPERR", "0x401136"), "where nothing is mapped"},
		{FAULT("SIGSEGV", "SEGV_ACCERR", "0x401136"), "jumped to memory that is not code"},
		{FAULT("SIGSEGV", "SEGV_MAPERR", "0x7ffc0000fff8"), "ran out of stack"},
		{FAULT("SIGSEGV", "SEGV_ACCERR", "0x7ffc0000fff8"), "ran out of stack"},
		{FAULT("SIGSEGV", "SEGV_MAPERR", "0x7ffb0000fff8"), "a dangling or overwritten"},
		{FAULT("SIGSEGV", "SEGV_ACCERR", "0x500000"), "writing to a constant"},
		{FAULT("SIGSEGV", "SI_KERNEL", "0x0"), "no address at all"},
		{FAULT("SIGSEGV", "SEGV_CPERR", "0x500000"), "shadow stack"},
		{FAULT("SIGSEGV", "SEGV_PKUERR", "0x500000"), "protection key"},
		{FAULT("SIGBUS", "BUS_ADRERR", "0x500000"), "the file was truncated"},
		{FAULT("SIGBUS", "BUS_MCEERR_AR", "0x500000"), "hardware reports as broken"},
		{FAULT("SIGBUS", "BUS_ADRALN", "0x500000"), "not aligned"},
		{FAULT("SIGBUS", "BUS_OBJERR", "0x500000"), "error of the hardware"},
		{FAULT("SIGILL", "ILL_ILLOPN", "0x401136"), "instruction that this CPU"},
		{FAULT("SIGFPE", "FPE_INTDIV", "0x401136"), "divided an integer by zero"},
		{FAULT("SIGFPE", "FPE_FLTOVF", "0x401136"), "arithmetic error"},
		{FAULT("SIGTRAP", "SI_KERNEL", "0x0"), "breakpoint"},
		{FAULT("SIGSYS", "SYS_SECCOMP", "0x401136") ",\"syscall\":435",
		 "for system call 435"},
		{SENT("SIGABRT", "1", "false"), "WatchdogSec="},
		{SENT("SIGABRT", "77", "false"), "from process 77, user 0"},
		{SENT("SIGSEGV", "77", "false"), "was sent the signal by another process"},
		{SENT("SIGSEGV", "4711", "true"), "sent the signal to itself"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct plugin_fixture *fixture = *state;
		_cleanup_free_ char *text = NULL;

		assert_true(asprintf(&text, EVENT("ProcessCrash", SERVICE, "%s", ""),
				     cases[i].details) > 0);
		diagnose(fixture, text, "ProcessCrashed");
		if (!strstr(fixture->abnormal->status.message, cases[i].words))
			fail_msg("\"%s\" is not in\n%s", cases[i].words,
				 fixture->abnormal->status.message);
	}
}

static void a_call_through_null_is_told_from_its_use(void **state)
{
	struct plugin_fixture *fixture = *state;

	diagnose(fixture,
		 EVENT("ProcessCrash", SERVICE,
		       "\"signal\":\"SIGSEGV\",\"code\":\"SEGV_MAPERR\",\"address\":\"0x0\","
		       "\"instruction\":\"0x0\",\"stackPointer\":\"0x7ffc00010000\"",
		       ""),
		 "ProcessCrashed");
	assert_non_null(strstr(fixture->abnormal->status.message,
			       "called a function through a null pointer"));
}

static void where_a_core_went_is_told(void **state)
{
	static const struct {
		const char *pattern, *words;
	} cases[] = {
		{"core.%p", "A core was written, to core.%p in the folder that it ran in."},
		{"/var/cores/%e", "A core was written, to /var/cores/%e in its file system."},
		{"|/usr/share/apport/apport -p%p",
		 "A core was handed to /usr/share/apport/apport."},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct plugin_fixture *fixture = *state;
		_cleanup_free_ char *text = NULL;

		assert_true(
			asprintf(&text,
				 EVENT("ProcessCrash", SERVICE,
				       SENT("SIGABRT", "4711", "true") ",\"core\":{\"dumped\":"
								       "true,\"pattern\":\"%s\"}",
				       ""),
				 cases[i].pattern) > 0);
		diagnose(fixture, text, "ProcessCrashed");
		if (!strstr(fixture->abnormal->status.message, cases[i].words))
			fail_msg("\"%s\" is not in\n%s", cases[i].words,
				 fixture->abnormal->status.message);
	}
}

static void an_event_without_details_is_still_told(void **state)
{
	diagnose(*state,
		 "{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\",\"metadata\":"
		 "{\"name\":\"a\",\"namespace\":\"default\"},\"spec\":{\"source\":\"KernelEvent\","
		 "\"kernelEvent\":{\"detector\":\"process_crash\",\"type\":\"ProcessCrash\","
		 "\"time\":\"2026-11-23T18:00:00Z\"}}}",
		 "ProcessCrashed");
}

static void other_events_are_not_its_business(void **state)
{
	struct plugin_fixture *fixture = *state;

	fixture_call(fixture, PLUGIN_DIAGNOSER, "process-crash",
		     EVENT("OOMKill", SERVICE, "\"scope\":\"node\"", ""));
	assert_int_equal(fixture->call.plugin->diagnose(&fixture->call), PLUGIN_NOT_MINE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLUGIN_TEST(a_null_pointer_in_a_pod_is_told_with_where_to_look),
		PLUGIN_TEST(a_loop_tells_its_rate_and_that_nothing_is_repaired),
		PLUGIN_TEST(each_signal_code_and_address_has_its_cause),
		PLUGIN_TEST(a_call_through_null_is_told_from_its_use),
		PLUGIN_TEST(where_a_core_went_is_told),
		PLUGIN_TEST(an_event_without_details_is_still_told),
		PLUGIN_TEST(other_events_are_not_its_business),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
