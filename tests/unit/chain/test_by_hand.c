/* SPDX-License-Identifier: Apache-2.0 */
/* Plug-ins that a person runs by hand, and who is answered when the pipeline ends meanwhile. */
#include "pipeline_fixture.h"

struct answered {
	unsigned times;
	int result;
	cJSON *abnormal;
	char explanation[512];
};

static void on_answered(void *userdata, int result, const struct abnormal *abnormal,
			const char *explanation)
{
	struct answered *answered = userdata;

	answered->times++;
	answered->result = result;
	if (abnormal)
		assert_int_equal(abnormal_encode(abnormal, &answered->abnormal), 0);
	snprintf(answered->explanation, sizeof(answered->explanation), "%s",
		 explanation ? explanation : "");
}

static struct answered run_by_hand(struct bench *bench, enum plugin_kind kind, const char *plugin,
				   struct abnormal *abnormal, bool dry_run)
{
	struct answered answered = {0};
	int r = pipeline_run_plugin(bench->pipeline, kind, plugin, abnormal, dry_run, on_answered,
				    &answered);

	abnormal_free(abnormal);
	answered.result = r;
	if (r < 0)
		return answered;
	assert_int_equal(answered.times, 0);
	WAIT_FOR(&bench->base, plugin, answered.times);
	return answered;
}

static struct abnormal *reference(const char *name)
{
	struct abnormal *abnormal = abnormal_new();

	assert_int_equal(string_set(&abnormal->metadata.name, name), 0);
	assert_int_equal(string_set(&abnormal->metadata.namespace, "default"), 0);
	return abnormal;
}

static void a_collector_by_hand_answers_and_keeps_nothing(void **state)
{
	struct bench *bench = *state;
	struct answered answered = run_by_hand(
		bench, PLUGIN_COLLECTOR, "looker",
		fault(bench, "Custom", "x", NULL, "\"looker\":{\"collect\":\"yes\"}", ""), false);

	assert_int_equal(answered.result, 0);
	assert_string_equal(json_string(json_at(answered.abnormal, "status.context"), "looker"),
			    "evidence");
	assert_int_equal(bench->added, 0);
	cJSON_Delete(answered.abnormal);
}

static void a_diagnoser_by_hand_says_whether_it_is_its_own(void **state)
{
	struct bench *bench = *state;
	struct answered yes = run_by_hand(bench, PLUGIN_DIAGNOSER, "holmes",
					  fault(bench, "Custom", "x", NULL, KNOWN, ""), false);
	struct answered no = run_by_hand(bench, PLUGIN_DIAGNOSER, "watson",
					 fault(bench, "Custom", "x", NULL, KNOWN, ""), false);
	struct answered broken = run_by_hand(
		bench, PLUGIN_DIAGNOSER, "holmes",
		fault(bench, "Custom", "x", NULL, "\"holmes\":{\"diagnose\":\"error\"}", ""),
		false);

	assert_int_equal(yes.result, 0);
	assert_true(json_bool(json_at(yes.abnormal, "status"), "identifiable", false));
	assert_int_equal(no.result, 0);
	assert_false(json_bool(json_at(no.abnormal, "status"), "identifiable", false));
	assert_string_equal(no.explanation, "the plug-in says that this Abnormal is not for it");
	assert_int_equal(broken.result, -EIO);
	assert_non_null(strstr(broken.explanation, "told to fail"));
	assert_int_equal(
		run_by_hand(bench, PLUGIN_DIAGNOSER, "nobody", reference("x"), false).result,
		-ENOENT);
	cJSON_Delete(yes.abnormal);
	cJSON_Delete(no.abnormal);
	cJSON_Delete(broken.abnormal);
}

/* An ended one, whose `rough` was not asked for by the chain. */
#define NOT_REPAIRED KNOWN ",\"rough\":{\"plan\":\"if:now\",\"recover\":\"yes\",\"verify\":\"yes\"}"

static void a_recoverer_by_hand_joins_the_journal_and_keeps_the_phase(void **state)
{
	struct bench *bench = *state;

	handle(bench, fault(bench, "Custom", "a", NULL, NOT_REPAIRED, ""));
	struct answered not_mine =
		run_by_hand(bench, PLUGIN_RECOVERER, "rough", reference("a"), false);
	assert_int_equal(not_mine.result, -EOPNOTSUPP);
	touch(bench, "now");
	struct answered dry = run_by_hand(bench, PLUGIN_RECOVERER, "rough", reference("a"), true);
	assert_int_equal(dry.result, 0);
	assert_int_equal(calls(bench, "rough.recover"), 0);
	struct answered done = run_by_hand(bench, PLUGIN_RECOVERER, "rough", reference("a"), false);
	assert_int_equal(done.result, 0);
	assert_end(bench, "a", "Failed", "TestFault");
	assert_action(bench, "a", 0, "rough", "DryRun", "");
	assert_action(bench, "a", 1, "rough", "Done", "Verified");
	assert_non_null(strstr(seen_text(bench, "a", "status.message"), "By hand, rough"));
	struct answered again =
		run_by_hand(bench, PLUGIN_RECOVERER, "rough", reference("a"), false);
	assert_int_equal(again.result, -EPERM);
	assert_non_null(strstr(again.explanation, "cooldown"));
	cJSON_Delete(not_mine.abnormal);
	cJSON_Delete(dry.abnormal);
	cJSON_Delete(done.abnormal);
	cJSON_Delete(again.abnormal);
}

static void a_recoverer_by_hand_works_on_one_that_ended_long_ago(void **state)
{
	struct bench *bench = *state;

	handle(bench, fault(bench, "Custom", "a", NULL, NOT_REPAIRED, ""));
	touch(bench, "now");
	bench_stop(bench);
	bench->history_ns = 1;
	bench_start(bench);
	struct answered done = run_by_hand(bench, PLUGIN_RECOVERER, "rough", reference("a"), false);
	assert_int_equal(done.result, 0);
	assert_action(bench, "a", 0, "rough", "Done", "Verified");
	cJSON_Delete(done.abnormal);
	struct answered nobody =
		run_by_hand(bench, PLUGIN_RECOVERER, "rough", reference("nobody"), false);
	assert_int_equal(nobody.times, 1);
	assert_non_null(strstr(nobody.explanation, "no such Abnormal"));
}

/* Also to what was packed meanwhile. */
static void an_error_by_hand_is_added_to_those_before(void **state)
{
	struct bench *bench = *state;

	handle(bench,
	       fault(bench, "Custom", "a", NULL, KNOWN ",\"rough\":{\"plan\":\"error\"}", ""));
	for (int times = 1; times <= 3; times++) {
		assert_int_equal(
			cJSON_GetArraySize(seen(bench, "a", "status.context.recoveryErrors")),
			times);
		cJSON_Delete(run_by_hand(bench, PLUGIN_RECOVERER, "rough", reference("a"), false)
				     .abnormal);
	}
}

static void nothing_is_recovered_by_hand_while_it_is_handled(void **state)
{
	struct bench *bench = *state;

	submit(bench, fault(bench, "Custom", "a", NULL, HANGS, ""));
	assert_int_equal(
		run_by_hand(bench, PLUGIN_RECOVERER, "rough", reference("a"), false).result,
		-EBUSY);
}

static void whoever_waits_at_the_end_is_told(void **state)
{
	struct bench *bench = *state;
	_cleanup_abnormal_ struct abnormal *abnormal = fault(bench, "Custom", "x", NULL, HANGS, "");
	struct answered answered = {0};

	assert_int_equal(pipeline_run_plugin(bench->pipeline, PLUGIN_DIAGNOSER, "holmes", abnormal,
					     false, on_answered, &answered),
			 0);
	WAIT_FOR(&bench->base, "the call", calls(bench, "holmes.diagnose") == 1);
	struct submitted named = {0}, nameless = {0};
	assert_int_equal(pipeline_submit(bench->pipeline, fault(bench, "Custom", "a", NULL, "", ""),
					 on_submitted, &named),
			 0);
	assert_int_equal(pipeline_submit(bench->pipeline,
					 fault(bench, "KernelEvent", NULL, "disk", "", ""),
					 on_submitted, &nameless),
			 0);
	bench_restart(bench);
	assert_int_equal(answered.times, 1);
	assert_int_equal(answered.result, -ECANCELED);
	assert_int_equal(named.times, 1);
	assert_int_equal(named.result, -ECANCELED);
	/* This one had been sent to the store, which may have kept it in time. */
	assert_int_equal(nameless.times, 1);
	if (nameless.result == 0)
		assert_int_equal(pipeline_counts(bench->pipeline)->live, 1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		UNIT(a_collector_by_hand_answers_and_keeps_nothing),
		UNIT(a_diagnoser_by_hand_says_whether_it_is_its_own),
		UNIT(a_recoverer_by_hand_joins_the_journal_and_keeps_the_phase),
		UNIT(a_recoverer_by_hand_works_on_one_that_ended_long_ago),
		UNIT(an_error_by_hand_is_added_to_those_before),
		UNIT(nothing_is_recovered_by_hand_while_it_is_handled),
		UNIT(whoever_waits_at_the_end_is_told),
	};

	WORKER_OR_RETURN(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
