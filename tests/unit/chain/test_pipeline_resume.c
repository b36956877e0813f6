/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restarts. The store is given an Abnormal exactly as a killed agent leaves it at each durable
 * point, and the next agent must go on from there, losing nothing and doing nothing twice.
 */
#include "pipeline_fixture.h"

#include "plugin/generation.h"

#define FRESH(test) cmocka_unit_test_setup_teardown(test, bench_new, bench_teardown)
#define WORKS "{\"plan\":\"yes\",\"recover\":\"yes\",\"verify\":\"yes\"}"

static void on_written(void *userdata, int result)
{
	assert_int_equal(result, 0);
	*(bool *)userdata = true;
}

static void on_loaded(void *userdata, struct store_loaded *loaded)
{
	*(bool *)userdata = true;
}

/* What a killed agent left: NAME with STATUS, told WORDS. */
static void left_behind(struct bench *bench, const char *name, const char *source,
			const char *words, const char *status)
{
	_cleanup_abnormal_ struct abnormal *abnormal =
						   fault(bench, source, name, "disk", words, ""),
					   *whole = NULL;
	_cleanup_json_ cJSON *json = NULL;
	struct problem problem = {0};
	bool ready = false, written = false;
	struct store_options options = {.event = bench->base.event, .directory = bench->node};
	struct store_handlers handlers = {.on_ready = on_loaded, .userdata = &ready};
	struct store *store;

	assert_int_equal(string_set(&abnormal->metadata.namespace, "default"), 0);
	assert_int_equal(
		string_set(&abnormal->metadata.uid, "00000000-0000-4000-8000-000000000000"), 0);
	abnormal->metadata.creation_timestamp = clock_realtime(clock_system());
	assert_int_equal(abnormal_encode(abnormal, &json), 0);
	assert_int_equal(json_set(json, "status", parsed(status)), 0);
	if (abnormal_decode(json, &whole, &problem) < 0)
		fail_msg("%s: %s", problem.field, problem.text);
	assert_int_equal(store_start(&options, &handlers, &store), 0);
	WAIT_FOR(&bench->base, "the store", ready);
	struct store_record record = {.abnormal = whole};
	assert_int_equal(store_write(store, &record, on_written, &written), 0);
	WAIT_FOR(&bench->base, "the write", written);
	store_stop(store, NS_PER_S);
}

static void resume(struct bench *bench)
{
	bench_start(bench);
	wait_ended(bench, "a");
}

#define STARTED "\"startTime\":\"2026-11-23T10:00:00Z\""
#define RECOVERING                                                       \
	"\"phase\":\"Recovering\"," STARTED                              \
	",\"reason\":\"TestFault\",\"message\":\"the cause, by holmes\"" \
	",\"diagnoser\":{\"name\":\"holmes\"},\"identifiable\":true"
#define ACTION(recoverer, more)                                                    \
	"\"actions\":[{\"recoverer\":\"" recoverer "\",\"target\":\"the target\"," \
	"\"intentTime\":\"2026-11-23T10:00:01Z\"" more "}],"                       \
	"\"context\":{\"" recoverer "\":{\"target\":\"the target\"}}"
#define DONE ",\"finishTime\":\"2026-11-23T10:00:02Z\",\"outcome\":\"Done\""

static void created_it_starts(void **state)
{
	struct bench *bench = *state;

	left_behind(bench, "a", "Custom", KNOWN ",\"gentle\":" WORKS, "{}");
	resume(bench);
	assert_end(bench, "a", "Succeeded", "TestFault");
	assert_int_equal(calls(bench, "gentle.recover"), 1);
}

static void collecting_it_collects_again_and_tells_each_collector_once(void **state)
{
	struct bench *bench = *state;

	left_behind(bench, "a", "Custom", "\"looker\":{\"collect\":\"yes\"}," KNOWN,
		    "{\"phase\":\"InformationCollecting\"," STARTED
		    ",\"information\":[{\"collector\":\"looker\",\"state\":\"Failed\",\"reason\":"
		    "\"before\"}]}");
	resume(bench);
	assert_end(bench, "a", "Failed", "TestFault");
	const cJSON *first = cJSON_GetArrayItem(seen(bench, "a", "status.information"), 0);
	assert_string_equal(json_string(first, "collector"), "looker");
	assert_string_equal(json_string(first, "state"), "Collected");
	assert_int_equal(calls(bench, "looker.collect"), 1);
}

static void diagnosing_it_diagnoses_again(void **state)
{
	struct bench *bench = *state;

	left_behind(bench, "a", "Custom", "\"looker\":{\"collect\":\"yes\"}," KNOWN,
		    "{\"phase\":\"Diagnosing\"," STARTED
		    ",\"context\":{\"diagnosisErrors\":[{\"diagnoser\":\"holmes\",\"error\":"
		    "\"killed\"}]}}");
	resume(bench);
	assert_end(bench, "a", "Failed", "TestFault");
	assert_int_equal(calls(bench, "looker.collect"), 0);
	assert_null(seen(bench, "a", "status.context.diagnosisErrors"));
}

static void recovering_before_any_intent_it_recovers(void **state)
{
	struct bench *bench = *state;

	left_behind(bench, "a", "Custom", "\"gentle\":" WORKS, "{" RECOVERING "}");
	resume(bench);
	assert_end(bench, "a", "Succeeded", "TestFault");
	assert_int_equal(calls(bench, "gentle.recover"), 1);
}

static void an_intent_whose_effect_is_there_is_done_and_not_run_again(void **state)
{
	struct bench *bench = *state;

	left_behind(bench, "a", "Custom", "\"gentle\":" WORKS,
		    "{" RECOVERING "," ACTION("gentle", "") "}");
	resume(bench);
	assert_end(bench, "a", "Succeeded", "TestFault");
	assert_action(bench, "a", 0, "gentle", "Done", "Verified");
	assert_int_equal(calls(bench, "gentle.recover"), 0);
	assert_int_equal(calls(bench, "gentle.plan"), 0);
}

static void an_intent_without_effect_is_never_run_again_unless_idempotent(void **state)
{
	struct bench *bench = *state;

	left_behind(bench, "a", "Custom",
		    "\"gentle\":{\"plan\":\"yes\",\"recover\":\"yes\",\"verify\":\"no\"},"
		    "\"rough\":" WORKS,
		    "{" RECOVERING "," ACTION("gentle", "") "}");
	resume(bench);
	assert_action(bench, "a", 0, "gentle", "Unknown", "NotVerified");
	assert_int_equal(calls(bench, "gentle.recover"), 0);
	assert_true(calls(bench, "gentle.verify") >= 2);
	/* And recovery escalates. */
	assert_action(bench, "a", 1, "rough", "Done", "Verified");
	assert_end(bench, "a", "Succeeded", "TestFault");
}

static void an_idempotent_intent_without_effect_is_run_again_after_a_look(void **state)
{
	struct bench *bench = *state;

	left_behind(bench, "a", "Custom",
		    "\"rough\":{\"plan\":\"yes\",\"recover\":\"yes\",\"verify\":\"no\"}",
		    "{" RECOVERING "," ACTION("rough", "") "}");
	resume(bench);
	assert_int_equal(calls(bench, "rough.recover"), 1);
	assert_action(bench, "a", 0, "rough", "Done", "NotVerified");
	assert_null(action(bench, "a", 1));
	assert_string_equal(reason_of(bench, "a", "Recovered"), "NotVerified");
}

static void an_idempotent_intent_whose_effect_is_there_is_not_run_again(void **state)
{
	struct bench *bench = *state;

	left_behind(bench, "a", "Custom", "\"rough\":" WORKS,
		    "{" RECOVERING "," ACTION("rough", "") "}");
	resume(bench);
	assert_int_equal(calls(bench, "rough.recover"), 0);
	assert_action(bench, "a", 0, "rough", "Done", "Verified");
}

static void in_a_dry_run_not_even_an_idempotent_intent_is_run_again(void **state)
{
	struct bench *bench = *state;

	bench->settings.dry_run = true;
	left_behind(bench, "a", "Custom",
		    "\"rough\":{\"plan\":\"yes\",\"recover\":\"yes\",\"verify\":\"no\"}",
		    "{" RECOVERING "," ACTION("rough", "") "}");
	resume(bench);
	assert_int_equal(calls(bench, "rough.recover"), 0);
	assert_action(bench, "a", 0, "rough", "Unknown", "NotVerified");
}

static void an_intent_of_a_recoverer_that_is_gone_is_unknown(void **state)
{
	struct bench *bench = *state;

	left_behind(bench, "a", "Custom", "\"rough\":" WORKS,
		    "{" RECOVERING "," ACTION("vanished", "") "}");
	resume(bench);
	assert_action(bench, "a", 0, "vanished", "Unknown", "NotVerified");
	assert_action(bench, "a", 1, "rough", "Done", "Verified");
}

static void an_intent_that_only_the_detector_can_prove_waits_for_it(void **state)
{
	struct bench *bench = *state;

	left_behind(bench, "a", "KernelEvent", "\"blind\":{\"recover\":\"yes\"}",
		    "{" RECOVERING "," ACTION("blind", "") "}");
	resume(bench);
	assert_int_equal(calls(bench, "blind.recover"), 0);
	assert_action(bench, "a", 0, "blind", "Unknown", "NotVerified");
}

static void a_fault_that_cleared_before_the_restart_proves_an_intent(void **state)
{
	struct bench *bench = *state;

	left_behind(bench, "a", "KernelEvent", "\"blind\":{\"recover\":\"yes\"}",
		    "{" RECOVERING
		    ",\"actions\":[{\"recoverer\":\"blind\",\"target\":\"t\",\"intentTime\":"
		    "\"2026-11-23T10:00:01Z\"}],\"context\":{\"cleared\":{\"time\":\"2026-11-23T10:"
		    "00:03Z\"}}}");
	resume(bench);
	assert_int_equal(calls(bench, "blind.recover"), 0);
	assert_action(bench, "a", 0, "blind", "Done", "Verified");
	assert_end(bench, "a", "Succeeded", "TestFault");
}

static void an_outcome_without_verification_is_verified(void **state)
{
	struct bench *bench = *state;

	left_behind(bench, "a", "Custom", "\"gentle\":" WORKS,
		    "{" RECOVERING "," ACTION("gentle", DONE) "}");
	resume(bench);
	assert_end(bench, "a", "Succeeded", "TestFault");
	assert_action(bench, "a", 0, "gentle", "Done", "Verified");
	assert_int_equal(calls(bench, "gentle.recover"), 0);
}

static void after_an_attempt_that_failed_the_next_recoverer_is_tried(void **state)
{
	struct bench *bench = *state;

	left_behind(bench, "a", "Custom", "\"gentle\":" WORKS ",\"rough\":" WORKS,
		    "{" RECOVERING
		    "," ACTION("gentle", DONE ",\"verification\":\"NotVerified\"") "}");
	resume(bench);
	assert_int_equal(calls(bench, "gentle.recover"), 0);
	assert_action(bench, "a", 1, "rough", "Done", "Verified");
}

static void an_action_by_hand_that_was_cut_off_is_told_and_not_run_again(void **state)
{
	struct bench *bench = *state;

	left_behind(bench, "a", "Custom", "\"rough\":" WORKS,
		    "{\"phase\":\"Failed\",\"conditions\":[{\"type\":\"Recovered\",\"status\":"
		    "\"False\","
		    "\"lastTransitionTime\":\"2026-11-23T10:00:00Z\",\"reason\":\"NoRecoverer\"}]"
		    "," ACTION("rough", "") "}");
	bench->history_ns = 3650 * 24 * 3600 * NS_PER_S;
	bench_start(bench);
	WAIT_FOR(&bench->base, "the note", action(bench, "a", 0));
	assert_action(bench, "a", 0, "rough", "Unknown", "");
	assert_int_equal(calls(bench, "rough.recover"), 0);
}

static void killed_in_the_middle_of_an_action_it_goes_on(void **state)
{
	struct bench *bench = *state;

	bench_start(bench);
	submit(bench,
	       fault(bench, "Custom", "a", NULL,
		     KNOWN
		     ",\"gentle\":{\"plan\":\"yes\",\"recover\":\"hang\",\"verify\":\"if:healed\"}",
		     ""));
	WAIT_FOR(&bench->base, "the action", calls(bench, "gentle.recover") == 1);
	touch(bench, "healed");
	bench_restart(bench);
	wait_ended(bench, "a");
	assert_end(bench, "a", "Succeeded", "TestFault");
	assert_int_equal(calls(bench, "gentle.recover"), 1);
	assert_action(bench, "a", 0, "gentle", "Done", "Verified");
}

static void loop_for(struct bench *bench, uint64_t duration_ns)
{
	uint64_t end = test_now() + duration_ns;

	while (test_now() < end)
		assert_true(sd_event_run(bench->base.event, 10000) >= 0);
}

static void an_intent_is_not_judged_while_the_former_recovery_may_still_act(void **state)
{
	struct bench *bench = *state;
	int former = -1;

	left_behind(bench, "a", "Custom", "\"rough\":" WORKS,
		    "{" RECOVERING "," ACTION("rough", "") "}");
	assert_int_equal(generation_begin(bench->generation, &former), 0);
	bench_start(bench);
	loop_for(bench, 500 * NS_PER_MS);
	assert_int_equal(calls(bench, "rough.verify"), 0);
	close(former);
	wait_ended(bench, "a");
	assert_int_equal(calls(bench, "rough.recover"), 0);
	assert_action(bench, "a", 0, "rough", "Done", "Verified");
}

static void only_a_recovery_keeps_the_next_agent_waiting_and_only_while_it_lives(void **state)
{
	struct bench *bench = *state;
	int next = -1;

	bench_start(bench);
	submit(bench, fault(bench, "Custom", "a", NULL,
			    KNOWN ",\"gentle\":{\"plan\":\"yes\",\"recover\":\"hang\"}", ""));
	WAIT_FOR(&bench->base, "the action", calls(bench, "gentle.recover") == 1);
	assert_true(call_pool_is_alone(bench->base.pool));
	/* As the next agent sees it: the lock of the agent that lives, then of its supervisor. */
	assert_int_equal(generation_begin(bench->generation, &next), 0);
	assert_false(generation_is_alone(next));
	bench_stop(bench);
	WAIT_FOR(&bench->base, "the former recovery to end", generation_is_alone(next));
	close(next);
}

static void what_is_in_phase_unknown_is_kept_and_not_handled(void **state)
{
	struct bench *bench = *state;

	left_behind(bench, "a", "Custom", KNOWN ",\"gentle\":" WORKS, "{\"phase\":\"Unknown\"}");
	bench_start(bench);
	loop_for(bench, 300 * NS_PER_MS);
	assert_int_equal(pipeline_counts(bench->pipeline)->live, 0);
	assert_int_equal(calls(bench, "holmes.diagnose"), 0);
	assert_int_equal(submit(bench, fault(bench, "Custom", "a", NULL, "", "")).result, -EEXIST);
}

static void what_only_confirms_spends_no_limit_after_a_restart(void **state)
{
	struct bench *bench = *state;

	bench->settings.actions_per_hour = 1;
	bench->history_ns = 3650 * 24 * 3600 * NS_PER_S;
	left_behind(bench, "b", "Custom", "",
		    "{\"phase\":\"Succeeded\",\"actions\":[{\"recoverer\":\"settled\","
		    "\"target\":\"t\",\"intentTime\":\"2099-11-23T10:00:01Z\",\"outcome\":"
		    "\"Done\",\"verification\":\"Verified\"}]}");
	left_behind(bench, "a", "Custom", "\"gentle\":" WORKS, "{" RECOVERING "}");
	resume(bench);
	assert_end(bench, "a", "Succeeded", "TestFault");
	assert_action(bench, "a", 0, "gentle", "Done", "Verified");
}

static void those_that_were_begun_go_before_those_that_waited(void **state)
{
	struct bench *bench = *state;

	left_behind(bench, "b", "Custom", "", "{}");
	left_behind(bench, "a", "Custom", "\"gentle\":{\"plan\":\"hang\"}", "{" RECOVERING "}");
	bench_start(bench);
	WAIT_FOR(&bench->base, "the one that was begun", calls(bench, "gentle.plan") == 1);
	assert_text(bench, "b", "status.phase", "");
	assert_int_equal(pipeline_counts(bench->pipeline)->waiting, 1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		FRESH(created_it_starts),
		FRESH(collecting_it_collects_again_and_tells_each_collector_once),
		FRESH(diagnosing_it_diagnoses_again),
		FRESH(recovering_before_any_intent_it_recovers),
		FRESH(an_intent_whose_effect_is_there_is_done_and_not_run_again),
		FRESH(an_intent_without_effect_is_never_run_again_unless_idempotent),
		FRESH(an_idempotent_intent_without_effect_is_run_again_after_a_look),
		FRESH(an_idempotent_intent_whose_effect_is_there_is_not_run_again),
		FRESH(in_a_dry_run_not_even_an_idempotent_intent_is_run_again),
		FRESH(an_intent_of_a_recoverer_that_is_gone_is_unknown),
		FRESH(an_intent_that_only_the_detector_can_prove_waits_for_it),
		FRESH(a_fault_that_cleared_before_the_restart_proves_an_intent),
		FRESH(an_outcome_without_verification_is_verified),
		FRESH(after_an_attempt_that_failed_the_next_recoverer_is_tried),
		FRESH(an_action_by_hand_that_was_cut_off_is_told_and_not_run_again),
		FRESH(killed_in_the_middle_of_an_action_it_goes_on),
		FRESH(an_intent_is_not_judged_while_the_former_recovery_may_still_act),
		FRESH(only_a_recovery_keeps_the_next_agent_waiting_and_only_while_it_lives),
		FRESH(what_is_in_phase_unknown_is_kept_and_not_handled),
		FRESH(what_only_confirms_spends_no_limit_after_a_restart),
		FRESH(those_that_were_begun_go_before_those_that_waited),
	};

	WORKER_OR_RETURN(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
