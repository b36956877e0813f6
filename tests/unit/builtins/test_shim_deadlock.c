/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shim-deadlock on a process that passes for a shim and writes dumps as one. Those tests that take a
 * dump watch its write() calls with eBPF, and so need root.
 */
#include "fake_shim.h"

#include "../host/shim_dumps.h"

#define WEDGED DUMP_BEGIN DUMP_WEDGED DUMP_FORM_B DUMP_END
#define HEALTHY DUMP_BEGIN DUMP_HEALTHY DUMP_END

static bool can_watch(void)
{
	if (geteuid() == 0)
		return true;
	print_message("skipped: to watch write() calls takes root\n");
	return false;
}

static int diagnose_spec(struct fake_shim *shim, const char *spec)
{
	_cleanup_free_ char *text = NULL;

	assert_true(asprintf(&text,
			     "{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\","
			     "\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"},\"spec\":%s}",
			     spec) > 0);
	fixture_call(shim->fixture, PLUGIN_DIAGNOSER, "shim-deadlock", text);
	shim->fixture->call.host = shim->fixture->real;
	return shim->fixture->call.plugin->diagnose(&shim->fixture->call);
}

/* As the detector tells of it. */
static int diagnose(struct fake_shim *shim)
{
	_cleanup_free_ char *json = fake_shim_json(shim), *spec = NULL;

	assert_true(asprintf(&spec,
			     "{\"source\":\"KernelEvent\",\"kernelEvent\":{\"detector\":"
			     "\"shim_stall\",\"type\":\"ShimUnresponsive\",\"time\":"
			     "\"2026-11-23T18:00:00Z\",\"details\":{\"shim\":%s}}}",
			     json) > 0);
	return diagnose_spec(shim, spec);
}

static const char *reason_of(const struct fake_shim *shim)
{
	const char *reason = shim->fixture->abnormal->status.reason;

	return reason ? reason : "(none)";
}

static void expect_in_message(const struct fake_shim *shim, const char *part)
{
	const char *message = shim->fixture->abnormal->status.message;

	if (!message || !strstr(message, part))
		fail_msg("\"%s\" is not in: %s", part, message ? message : "(none)");
}

static void a_deadlock_takes_two_dumps_that_both_show_it(void **state)
{
	struct fake_shim *shim = *state;

	if (!can_watch())
		skip();
	fake_write(shim, shim->folder, "dump1", WEDGED);
	assert_int_equal(diagnose(shim), PLUGIN_RECOGNISED);
	if (!streq(reason_of(shim), "ShimDeadlock"))
		fail_msg("%s: %s", reason_of(shim), shim->fixture->abnormal->status.message);
	assert_string_equal(fixture_context(shim->fixture, "verdict")->valuestring, "deadlock");
	assert_int_equal(cJSON_GetArraySize(fixture_context(shim->fixture, "dumps")), 2);
	assert_string_equal(
		cJSON_GetArrayItem(fixture_context(shim->fixture, "forms"), 0)->valuestring, "B");
	assert_string_equal(fixture_context(shim->fixture, "version.containerd")->valuestring,
			    "1.2.0");
	expect_in_message(shim, "container web of pod shop/cart-1");
	expect_in_message(shim, "3 of its children have ended and are not reaped");
	expect_in_message(shim, "\nEvidence: goroutine 1 is in `chan send` in Reap");
	expect_in_message(shim, "\nRepair: kill-shim");
}

static void one_dump_that_shows_it_and_a_second_that_does_not_is_no_deadlock(void **state)
{
	struct fake_shim *shim = *state;

	if (!can_watch())
		skip();
	fake_write(shim, shim->folder, "dump1", WEDGED);
	fake_write(shim, shim->folder, "dump2", HEALTHY);
	assert_int_equal(diagnose(shim), PLUGIN_RECOGNISED);
	assert_string_equal(reason_of(shim), "ShimStalled");
	assert_int_equal(cJSON_GetArraySize(fixture_context(shim->fixture, "dumps")), 2);
}

static void a_shim_that_does_nothing_for_another_reason_is_called_stalled(void **state)
{
	struct fake_shim *shim = *state;

	if (!can_watch())
		skip();
	fake_write(shim, shim->folder, "dump1", HEALTHY);
	assert_int_equal(diagnose(shim), PLUGIN_RECOGNISED);
	assert_string_equal(reason_of(shim), "ShimStalled");
	/* One that shows no deadlock is enough. */
	assert_int_equal(cJSON_GetArraySize(fixture_context(shim->fixture, "dumps")), 1);
	expect_in_message(shim, "a cause that is not known");
	expect_in_message(shim, "goroutine 1 is in `select` in main.handleSignals");
	expect_in_message(shim, "no answer within 3s");
}

static void a_shim_without_a_dump_is_called_stalled_and_why_there_is_none(void **state)
{
	struct fake_shim *shim = *state;

	if (!can_watch())
		skip();
	assert_int_equal(diagnose(shim), PLUGIN_RECOGNISED);
	assert_string_equal(reason_of(shim), "ShimStalled");
	expect_in_message(shim, "no dump of its goroutines: ");
}

static void a_shim_that_reaps_and_answers_is_no_fault(void **state)
{
	struct fake_shim *shim = *state;

	fake_write(shim, shim->folder, "dump1", HEALTHY);
	fake_heal(shim);
	assert_int_equal(diagnose(shim), PLUGIN_NOT_MINE);
	assert_string_equal(reason_of(shim), "(none)");
}

/* Its dumps may be somebody's forgery, or have been true a moment ago. */
static void a_shim_that_answers_is_in_no_deadlock_whatever_its_dumps_show(void **state)
{
	struct fake_shim *shim = *state;

	if (!can_watch())
		skip();
	fake_write(shim, shim->folder, "dump1", WEDGED);
	fake_heal(shim);
	assert_int_equal(diagnose(shim), PLUGIN_NOT_MINE);
	assert_string_equal(reason_of(shim), "(none)");
}

/* As a debugger does it, at each system call. */
static void a_shim_that_goes_on_is_not_stopped_though_it_is_so_at_each_look(void **state)
{
	struct fake_shim *shim = *state;
	pid_t debugger;

	fake_write(shim, shim->folder, "dump1", HEALTHY);
	fake_heal(shim);
	fake_stop(shim);
	debugger = fork();
	if (debugger == 0) {
		for (int i = 0; i < 20; i++) {
			usleep(100000);
			kill(shim->pid, SIGCONT);
			usleep(20000);
			kill(shim->pid, SIGSTOP);
		}
		usleep(1000000);
		kill(shim->pid, SIGCONT);
		_exit(0);
	}
	int r = diagnose(shim);
	waitpid(debugger, NULL, 0);
	assert_int_equal(r, PLUGIN_NOT_MINE);
	assert_string_equal(reason_of(shim), "(none)");
}

static void a_stopped_shim_is_told_by_its_state(void **state)
{
	struct fake_shim *shim = *state;
	char advice[64];

	fake_stop(shim);
	assert_int_equal(diagnose(shim), PLUGIN_RECOGNISED);
	assert_string_equal(reason_of(shim), "ShimStopped");
	snprintf(advice, sizeof(advice), "`kill -CONT %d` cures it", (int)shim->pid);
	expect_in_message(shim, advice);
	assert_string_equal(fixture_context(shim->fixture, "verdict")->valuestring, "stopped");
}

static void a_stopped_shim_names_the_debugger_that_holds_it(void **state)
{
	struct fake_shim *shim = *state;
	char who[96];

	fake_stop(shim);
	if (ptrace(PTRACE_SEIZE, shim->pid, NULL, NULL) < 0) {
		print_message("skipped: this machine lets nobody trace a child\n");
		skip();
	}
	assert_int_equal(diagnose(shim), PLUGIN_RECOGNISED);
	assert_string_equal(reason_of(shim), "ShimStopped");
	snprintf(who, sizeof(who), "(pid %d) is attached to it as a debugger", (int)getpid());
	expect_in_message(shim, who);
	expect_in_message(shim, "\nRepair: nothing");
}

static void a_shim_that_somebody_debugs_is_for_him(void **state)
{
	struct fake_shim *shim = *state;

	if (ptrace(PTRACE_SEIZE, shim->pid, NULL, NULL) < 0) {
		print_message("skipped: this machine lets nobody trace a child\n");
		skip();
	}
	assert_int_equal(diagnose(shim), PLUGIN_NOT_MINE);
}

static void a_shim_that_has_ended_is_no_fault(void **state)
{
	struct fake_shim *shim = *state;
	_cleanup_free_ char *json = fake_shim_json(shim), *spec = NULL;

	kill(shim->pid, SIGKILL);
	fake_wait_for(shim, 'Z');
	assert_true(asprintf(&spec,
			     "{\"source\":\"KernelEvent\",\"kernelEvent\":{\"detector\":"
			     "\"shim_stall\",\"type\":\"ShimUnresponsive\",\"time\":"
			     "\"2026-11-23T18:00:00Z\",\"details\":{\"shim\":%s}}}",
			     json) > 0);
	assert_int_equal(diagnose_spec(shim, spec), PLUGIN_NOT_MINE);
}

/* What a source of stuck pods submits, with this diagnoser assigned. */
static void an_abnormal_of_any_source_names_a_container_or_a_pod(void **state)
{
	static const char *const contexts[] = {
		"{\"container\":{\"id\":\"" FAKE_ID "\"}}",
		"{\"container\":\"" FAKE_ID "\"}",
		"{\"pod\":{\"namespace\":\"shop\",\"name\":\"cart-1\"}}",
		"{\"pod\":{\"uid\":\"f7a1c2d3-0000-4000-8000-1234567890ab\"}}",
	};
	struct fake_shim *shim = *state;

	fake_stop(shim);
	for (size_t i = 0; i < ARRAY_SIZE(contexts); i++) {
		char spec[256];

		snprintf(spec, sizeof(spec), "{\"source\":\"Custom\",\"context\":%s}", contexts[i]);
		if (diagnose_spec(shim, spec) != PLUGIN_RECOGNISED)
			fail_msg("not found by %s", contexts[i]);
		assert_int_equal(fixture_context(shim->fixture, "shim.pid")->valueint, shim->pid);
	}
}

static void what_is_not_on_this_node_is_not_found(void **state)
{
	static const char *const contexts[] = {
		"{\"container\":{\"id\":\"0123456789abcdef\"}}",
		"{\"pod\":{\"namespace\":\"shop\",\"name\":\"cart-2\"}}",
		"{\"pod\":{\"name\":\"cart-1\"}}",
		"{}",
	};
	struct fake_shim *shim = *state;

	fake_stop(shim);
	for (size_t i = 0; i < ARRAY_SIZE(contexts); i++) {
		char spec[256];

		snprintf(spec, sizeof(spec), "{\"source\":\"Custom\",\"context\":%s}", contexts[i]);
		assert_int_equal(diagnose_spec(shim, spec), PLUGIN_NOT_MINE);
	}
}

static void a_name_that_the_kernel_cut_is_told_in_full(void **state)
{
	char program[] = "/usr/bin/docker-containerd-shim", other[] = "/usr/bin/busybox";
	char text[SHIM_TEXT_SIZE];
	struct shim shim = {.process = {.pid = 7, .comm = "docker-containe"}, .program = program};

	assert_string_equal(shim_text(&shim, text), "docker-containerd-shim (pid 7)");
	shim.program = other;
	assert_string_equal(shim_text(&shim, text), "docker-containe (pid 7)");
	shim.program = NULL;
	assert_string_equal(shim_text(&shim, text), "docker-containe (pid 7)");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_that_the_kernel_cut_is_told_in_full),
		SHIM_TEST(a_deadlock_takes_two_dumps_that_both_show_it),
		SHIM_TEST(one_dump_that_shows_it_and_a_second_that_does_not_is_no_deadlock),
		SHIM_TEST(a_shim_that_does_nothing_for_another_reason_is_called_stalled),
		SHIM_TEST(a_shim_without_a_dump_is_called_stalled_and_why_there_is_none),
		SHIM_TEST(a_shim_that_reaps_and_answers_is_no_fault),
		SHIM_TEST(a_shim_that_answers_is_in_no_deadlock_whatever_its_dumps_show),
		SHIM_TEST(a_shim_that_goes_on_is_not_stopped_though_it_is_so_at_each_look),
		SHIM_TEST(a_stopped_shim_is_told_by_its_state),
		SHIM_TEST(a_stopped_shim_names_the_debugger_that_holds_it),
		SHIM_TEST(a_shim_that_somebody_debugs_is_for_him),
		SHIM_TEST(a_shim_that_has_ended_is_no_fault),
		SHIM_TEST(an_abnormal_of_any_source_names_a_container_or_a_pod),
		SHIM_TEST(what_is_not_on_this_node_is_not_found),
	};

	FAKE_SHIM_MAIN(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
