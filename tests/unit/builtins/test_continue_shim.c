/* SPDX-License-Identifier: Apache-2.0 */
/* continue-shim on a process that passes for a shim. */
#include "fake_shim.h"

static int plan(struct fake_shim *shim, const char *reason, const char *verdict)
{
	_cleanup_free_ char *json = fake_shim_json(shim), *text = NULL;

	assert_true(asprintf(&text,
			     "{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\","
			     "\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"},\"spec\":{"
			     "\"source\":\"Custom\"},\"status\":{\"reason\":\"%s\",\"context\":{"
			     "\"shim-deadlock\":{\"verdict\":\"%s\",\"shim\":%s}}}}",
			     reason, verdict, json) > 0);
	fixture_call(shim->fixture, PLUGIN_RECOVERER, "continue-shim", text);
	shim->fixture->call.host = shim->fixture->real;
	return shim->fixture->call.plugin->plan(&shim->fixture->call);
}

static void a_stopped_shim_runs_again_and_answers(void **state)
{
	struct fake_shim *shim = *state;
	struct plugin_call *call = &shim->fixture->call;

	fake_heal(shim);
	fake_stop(shim);
	assert_int_equal(plan(shim, "ShimStopped", "stopped"), PLUGIN_RECOGNISED);
	assert_int_equal(call->plugin->verify(call), PLUGIN_NOT_MINE);
	assert_int_equal(call->plugin->recover(call), PLUGIN_RECOGNISED);
	assert_int_equal(call->plugin->verify(call), PLUGIN_RECOGNISED);
	fixture_expect_message(shim->fixture,
			       "the shim runs again; a State request was answered: not found");
}

static void a_shim_that_runs_but_does_not_answer_is_not_cured(void **state)
{
	struct fake_shim *shim = *state;
	struct plugin_call *call = &shim->fixture->call;

	fake_stop(shim);
	assert_int_equal(plan(shim, "ShimStopped", "stopped"), PLUGIN_RECOGNISED);
	assert_int_equal(call->plugin->recover(call), PLUGIN_RECOGNISED);
	assert_int_equal(call->plugin->verify(call), PLUGIN_NOT_MINE);
}

static void a_shim_that_runs_is_not_signalled(void **state)
{
	struct fake_shim *shim = *state;

	assert_int_equal(plan(shim, "ShimStopped", "stopped"), PLUGIN_NOT_MINE);
}

static void only_a_stopped_shim_is_continued(void **state)
{
	struct fake_shim *shim = *state;

	fake_stop(shim);
	assert_int_equal(plan(shim, "ShimDeadlock", "deadlock"), PLUGIN_NOT_MINE);
	assert_int_equal(plan(shim, "ShimStopped", "deadlock"), PLUGIN_NOT_MINE);
}

static void a_shim_that_a_debugger_holds_stays_stopped(void **state)
{
	struct fake_shim *shim = *state;
	struct plugin_call *call = &shim->fixture->call;

	fake_stop(shim);
	assert_int_equal(plan(shim, "ShimStopped", "stopped"), PLUGIN_RECOGNISED);
	if (ptrace(PTRACE_SEIZE, shim->pid, NULL, NULL) < 0) {
		print_message("skipped: this machine lets nobody trace a child\n");
		skip();
	}
	assert_int_equal(call->plugin->recover(call), PLUGIN_NOT_MINE);
	assert_int_equal(plan(shim, "ShimStopped", "stopped"), PLUGIN_NOT_MINE);
	fake_wait_for(shim, 't');
}

static void it_waits_for_the_operator(void **state)
{
	const struct plugin *plugin = plugin_builtin(PLUGIN_RECOVERER, "continue-shim");

	assert_true(plugin->off_by_default);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SHIM_TEST(a_stopped_shim_runs_again_and_answers),
		SHIM_TEST(a_shim_that_runs_but_does_not_answer_is_not_cured),
		SHIM_TEST(a_shim_that_runs_is_not_signalled),
		SHIM_TEST(only_a_stopped_shim_is_continued),
		SHIM_TEST(a_shim_that_a_debugger_holds_stays_stopped),
		cmocka_unit_test(it_waits_for_the_operator),
	};

	FAKE_SHIM_MAIN(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
