/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of an Abnormal through collecting, diagnosing and recovering, and every end that it can
 * have.
 */
#include "pipeline_fixture.h"

static void a_recognised_fault_is_recovered_verified_and_keeps_its_diagnosis(void **state)
{
	struct bench *bench = *state;

	handle(bench, fault(bench, "Custom", "a", NULL,
			    "\"looker\":{\"collect\":\"yes\"}," KNOWN
			    ",\"gentle\":{\"plan\":\"yes\",\"recover\":\"yes\",\"verify\":\"yes\"}",
			    ""));
	assert_end(bench, "a", "Succeeded", "TestFault");
	assert_text(bench, "a", "status.diagnoser.name", "holmes");
	assert_text(bench, "a", "status.recoverer.name", "gentle");
	assert_text(bench, "a", "status.context.looker", "evidence");
	assert_action(bench, "a", 0, "gentle", "Done", "Verified");
	assert_string_equal(json_string(action(bench, "a", 0), "target"), "the target");
	assert_string_equal(json_string(action(bench, "a", 0), "message"), "pulled the lever");
	assert_non_null(strstr(seen_text(bench, "a", "status.message"), "the cause, by holmes"));
	assert_true(json_bool(seen(bench, "a", "status"), "identifiable", false));
	assert_true(json_bool(seen(bench, "a", "status"), "recoverable", false));
	assert_int_equal(calls(bench, "gentle.recover"), 1);
	assert_int_equal(pipeline_counts(bench->pipeline)->succeeded, 1);
	assert_int_equal(pipeline_counts(bench->pipeline)->actions_done, 1);
	assert_int_equal(pipeline_counts(bench->pipeline)->live, 0);
	/* Created, Start, Collected, Identified, Recovered. */
	assert_int_equal(pipeline_counts(bench->pipeline)->transitions, 5);
}

static void a_new_abnormal_gets_name_namespace_uid_node_and_times(void **state)
{
	struct bench *bench = *state;
	struct submitted submitted =
		submit(bench, fault(bench, "KernelEvent", NULL, "disk", "", ""));
	const char *name = submitted.name;

	assert_int_equal(submitted.result, 0);
	assert_non_null(startswith(name, "test-"));
	assert_text(bench, name, "metadata.namespace", "default");
	assert_text(bench, name, "spec.nodeName", "n1");
	assert_int_equal(strlen(seen_text(bench, name, "metadata.uid")), 36);
	assert_true(strlen(seen_text(bench, name, "metadata.creationTimestamp")) > 0);
	assert_text(bench, name, "status.occurrences.firstTime", "2026-11-23T10:00:00Z");
	wait_ended(bench, name);
}

static void a_fault_that_nobody_recognises_is_troubleshot_and_left_to_a_person(void **state)
{
	struct bench *bench = *state;

	handle(bench, fault(bench, "Custom", "a", NULL,
			    "\"looker\":{\"collect\":\"yes\"},\"shooter\":{\"collect\":\"yes\"},"
			    "\"holmes\":{\"diagnose\":\"no:it went away by itself\"}",
			    ""));
	assert_end(bench, "a", "Failed", "NotIdentified");
	assert_text(bench, "a", "status.context.shooter", "evidence");
	const char *message = seen_text(bench, "a", "status.message");
	assert_non_null(strstr(message, "holmes"));
	assert_non_null(strstr(message, "Evidence: holmes: it went away by itself; collected by "));
	assert_non_null(strstr(message, "looker, "));
	assert_non_null(strstr(message, "person"));
	assert_string_equal(reason_of(bench, "a", "Identified"), "NotIdentified");
	assert_int_equal(calls(bench, "looker.collect"), 1);
	assert_int_equal(pipeline_counts(bench->pipeline)->failed, 1);
}

static void a_failing_diagnoser_is_noted_and_the_next_is_asked(void **state)
{
	struct bench *bench = *state;

	handle(bench,
	       fault(bench, "Custom", "a", NULL,
		     "\"holmes\":{\"diagnose\":\"error\"},\"watson\":{\"diagnose\":\"yes\"}", ""));
	assert_text(bench, "a", "status.diagnoser.name", "watson");
	const cJSON *noted =
		cJSON_GetArrayItem(seen(bench, "a", "status.context.diagnosisErrors"), 0);
	assert_string_equal(json_string(noted, "diagnoser"), "holmes");
	assert_non_null(strstr(json_string(noted, "error"), "told to fail"));
}

static void a_failing_collector_leaves_its_reason_and_the_rest_goes_on(void **state)
{
	struct bench *bench = *state;

	handle(bench,
	       fault(bench, "Custom", "a", NULL,
		     "\"looker\":{\"collect\":\"error\"},\"peeker\":{\"collect\":\"yes\"}," KNOWN,
		     ""));
	const cJSON *first = cJSON_GetArrayItem(seen(bench, "a", "status.information"), 0);
	assert_string_equal(json_string(first, "collector"), "looker");
	assert_string_equal(json_string(first, "state"), "Failed");
	assert_non_null(strstr(json_string(first, "reason"), "told to fail"));
	assert_text(bench, "a", "status.context.peeker", "evidence");
	assert_text(bench, "a", "status.diagnoser.name", "holmes");
}

static void a_required_collector_that_fails_ends_it(void **state)
{
	struct bench *bench = *state;

	bench_stop(bench);
	bench->collectors = parsed("{\"looker\":{\"required\":true}}");
	bench_start(bench);
	handle(bench,
	       fault(bench, "Custom", "a", NULL, "\"looker\":{\"collect\":\"error\"}," KNOWN, ""));
	assert_end(bench, "a", "Failed", "InformationNotCollected");
	assert_non_null(strstr(seen_text(bench, "a", "status.message"), "looker"));
	assert_int_equal(calls(bench, "holmes.diagnose"), 0);
}

static void only_what_is_assigned_runs_and_an_unknown_name_is_told(void **state)
{
	struct bench *bench = *state;

	handle(bench, fault(bench, "Custom", "a", NULL,
			    "\"looker\":{\"collect\":\"yes\"},\"peeker\":{\"collect\":\"yes\"},"
			    "\"holmes\":{\"diagnose\":\"yes\"},\"watson\":{\"diagnose\":\"yes\"}",
			    "\"assignedInformationCollectors\":[{\"name\":\"peeker\"},{\"name\":"
			    "\"nobody\"}],"
			    "\"assignedDiagnosers\":[{\"name\":\"watson\"}]"));
	assert_text(bench, "a", "status.diagnoser.name", "watson");
	assert_int_equal(calls(bench, "looker.collect"), 0);
	assert_int_equal(calls(bench, "peeker.collect"), 1);
	const cJSON *first = cJSON_GetArrayItem(seen(bench, "a", "status.information"), 0);
	assert_string_equal(json_string(first, "collector"), "nobody");
	assert_string_equal(json_string(first, "state"), "Failed");
}

static void skip_recovery_ends_after_the_diagnosis(void **state)
{
	struct bench *bench = *state;

	handle(bench,
	       fault(bench, "Custom", "a", NULL,
		     KNOWN ",\"gentle\":{\"plan\":\"yes\",\"recover\":\"yes\",\"verify\":\"yes\"}",
		     "\"skipRecovery\":true"));
	assert_end(bench, "a", "Succeeded", "RecoverySkipped");
	assert_int_equal(calls(bench, "gentle.plan"), 0);
}

static void skip_diagnosis_goes_straight_to_recovery(void **state)
{
	struct bench *bench = *state;

	handle(bench,
	       fault(bench, "Custom", "a", NULL,
		     KNOWN ",\"gentle\":{\"plan\":\"yes\",\"recover\":\"yes\",\"verify\":\"yes\"}",
		     "\"skipDiagnosis\":true"));
	assert_text(bench, "a", "status.phase", "Succeeded");
	assert_int_equal(calls(bench, "holmes.diagnose"), 0);
}

/* --- Recovery --- */

static void what_is_not_verified_escalates_to_the_next_recoverer(void **state)
{
	struct bench *bench = *state;

	handle(bench,
	       fault(bench, "Custom", "a", NULL,
		     KNOWN ",\"gentle\":{\"plan\":\"yes\",\"recover\":\"yes\",\"verify\":"
			   "\"no:3 of 5 tasks still wait\"},"
			   "\"rough\":{\"plan\":\"yes\",\"recover\":\"yes\",\"verify\":\"yes\"}",
		     ""));
	assert_end(bench, "a", "Succeeded", "TestFault");
	assert_action(bench, "a", 0, "gentle", "Done", "NotVerified");
	assert_non_null(strstr(json_string(action(bench, "a", 0), "message"),
			       "still there 800ms later: 3 of 5 tasks still wait"));
	assert_action(bench, "a", 1, "rough", "Done", "Verified");
	assert_text(bench, "a", "status.recoverer.name", "rough");
	/* It was looked at again and again before it was given up. */
	assert_true(calls(bench, "gentle.verify") >= 3);
}

static void the_same_applied_twice_at_once_is_acknowledged_when_it_is_durable(void **state)
{
	struct bench *bench = *state;
	struct submitted first = {0}, second = {0};

	assert_int_equal(pipeline_submit(bench->pipeline,
					 fault(bench, "Custom", "a", NULL, KNOWN, ""), on_submitted,
					 &first),
			 0);
	assert_int_equal(pipeline_submit(bench->pipeline,
					 fault(bench, "Custom", "a", NULL, KNOWN, ""), on_submitted,
					 &second),
			 0);
	while (!second.times) {
		assert_true(sd_event_run(bench->base.event, 10000) >= 0);
		assert_true(first.times >= second.times);
	}
	assert_int_equal(first.how, SUBMIT_CREATED);
	assert_int_equal(second.result, 0);
	assert_int_equal(second.how, SUBMIT_FOLDED);
	assert_int_equal(pipeline_counts(bench->pipeline)->created, 1);
}

static void the_greatest_that_is_taken_from_outside_is_handled_to_its_end(void **state)
{
	struct bench *bench = *state;
	size_t size = ABNORMAL_BYTES_MAX - 8 * KIB;
	_cleanup_free_ char *filler = malloc(size + 1), *words = NULL;

	memset(filler, 'x', size);
	filler[size] = '\0';
	assert_true(asprintf(&words,
			     KNOWN ",\"looker\":{\"collect\":\"yes\"},\"gentle\":{\"plan\":\"yes\","
				   "\"recover\":\"yes\",\"verify\":\"yes\"},\"filler\":\"%s\"",
			     filler) > 0);
	handle(bench, fault(bench, "Custom", "a", NULL, words, ""));
	assert_end(bench, "a", "Succeeded", "TestFault");
	assert_action(bench, "a", 0, "gentle", "Done", "Verified");
	assert_text(bench, "a", "status.context.looker", "evidence");
}

static void a_failing_action_escalates_and_the_end_tells_what_was_tried(void **state)
{
	struct bench *bench = *state;

	handle(bench,
	       fault(bench, "Custom", "a", NULL,
		     KNOWN ",\"gentle\":{\"plan\":\"yes\",\"recover\":\"error\"},"
			   "\"rough\":{\"plan\":\"yes\",\"recover\":\"yes\",\"verify\":\"no\"}",
		     ""));
	assert_end(bench, "a", "Failed", "TestFault");
	assert_action(bench, "a", 0, "gentle", "Failed", "");
	assert_action(bench, "a", 1, "rough", "Done", "NotVerified");
	assert_string_equal(reason_of(bench, "a", "Recovered"), "NotVerified");
	const char *message = seen_text(bench, "a", "status.message");
	assert_non_null(startswith(message, "the cause, by holmes"));
	assert_non_null(strstr(message, "gentle on the target: failed"));
	assert_non_null(strstr(message, "rough on the target"));
	assert_int_equal(pipeline_counts(bench->pipeline)->actions_failed, 1);
}

static void a_fault_that_no_recoverer_takes_fails_with_the_diagnosis(void **state)
{
	struct bench *bench = *state;

	handle(bench, fault(bench, "Custom", "a", NULL, KNOWN, ""));
	assert_end(bench, "a", "Failed", "TestFault");
	assert_string_equal(reason_of(bench, "a", "Recovered"), "NoRecoverer");
	assert_non_null(
		startswith(seen_text(bench, "a", "status.message"), "the cause, by holmes"));
	assert_null(action(bench, "a", 0));
}

static void a_recoverer_whose_plan_fails_is_noted_and_the_next_is_asked(void **state)
{
	struct bench *bench = *state;

	handle(bench,
	       fault(bench, "Custom", "a", NULL,
		     KNOWN ",\"gentle\":{\"plan\":\"error\"},"
			   "\"rough\":{\"plan\":\"yes\",\"recover\":\"yes\",\"verify\":\"yes\"}",
		     ""));
	assert_text(bench, "a", "status.phase", "Succeeded");
	const cJSON *noted =
		cJSON_GetArrayItem(seen(bench, "a", "status.context.recoveryErrors"), 0);
	assert_string_equal(json_string(noted, "recoverer"), "gentle");
	assert_action(bench, "a", 0, "rough", "Done", "Verified");
}

static void a_planned_target_that_is_gone_is_left_alone(void **state)
{
	struct bench *bench = *state;

	handle(bench, fault(bench, "Custom", "a", NULL,
			    KNOWN ",\"gentle\":{\"plan\":\"yes\",\"recover\":\"no\"}", ""));
	assert_end(bench, "a", "Failed", "TestFault");
	assert_action(bench, "a", 0, "gentle", "Refused", "");
}

static void a_script_without_plan_that_says_not_mine_leaves_no_action(void **state)
{
	struct bench *bench = *state;

	handle(bench, fault(bench, "Custom", "a", NULL,
			    KNOWN ",\"blind\":{\"recover\":\"no:well again\"}", ""));
	assert_string_equal(reason_of(bench, "a", "Recovered"), "NoRecoverer");
	assert_int_equal(calls(bench, "blind.recover"), 1);
	assert_null(action(bench, "a", 0));
	/* Why it was left alone is what a person asks first. */
	assert_non_null(strstr(seen_text(bench, "a", "status.message"), "; blind: well again"));
}

static void without_verify_step_and_detector_an_action_is_not_verified_and_says_what_to_do(
	void **state)
{
	struct bench *bench = *state;

	handle(bench,
	       fault(bench, "Custom", "a", NULL, KNOWN ",\"blind\":{\"recover\":\"yes\"}", ""));
	assert_end(bench, "a", "Failed", "TestFault");
	assert_action(bench, "a", 0, "blind", "Done", "NotVerified");
	assert_non_null(strstr(json_string(action(bench, "a", 0), "message"), "verify=yes"));
}

static void one_that_only_confirms_needs_no_limit_and_acts_in_no_dry_run(void **state)
{
	struct bench *bench = *state;

	bench->settings.dry_run = true;
	pipeline_reconfigure(bench->pipeline, &bench->settings);
	handle(bench, fault(bench, "Custom", "a", NULL,
			    KNOWN ",\"settled\":{\"plan\":\"yes\",\"verify\":\"yes\"}", ""));
	assert_end(bench, "a", "Succeeded", "TestFault");
	assert_action(bench, "a", 0, "settled", "Done", "Verified");
	assert_int_equal(pipeline_counts(bench->pipeline)->actions_done, 0);
}

static void a_dry_run_tells_the_target_and_does_nothing(void **state)
{
	struct bench *bench = *state;

	bench->settings.dry_run = true;
	pipeline_reconfigure(bench->pipeline, &bench->settings);
	handle(bench,
	       fault(bench, "Custom", "a", NULL,
		     KNOWN ",\"gentle\":{\"plan\":\"yes\",\"recover\":\"yes\",\"verify\":\"yes\"}",
		     ""));
	assert_end(bench, "a", "Failed", "TestFault");
	assert_action(bench, "a", 0, "gentle", "DryRun", "");
	assert_non_null(strstr(seen_text(bench, "a", "status.message"), "the target"));
	assert_non_null(strstr(seen_text(bench, "a", "status.message"), "the cause, by holmes"));
	assert_int_equal(calls(bench, "gentle.recover"), 0);
	assert_int_equal(pipeline_counts(bench->pipeline)->actions_dry_run, 1);
}

/* --- Cleared --- */

static void clear_fault(struct bench *bench, const char *subject)
{
	char fingerprint[FINGERPRINT_SIZE];

	pipeline_cleared(bench->pipeline,
			 fingerprint_of("KernelEvent", "test", subject, fingerprint),
			 clock_realtime(&bench->clock));
}

/* A named Abnormal's label would hide the fingerprint of its detector's subject. */
static const char *begin_kernel_fault(struct bench *bench, const char *words)
{
	static char name[128];
	struct submitted submitted =
		submit(bench, fault(bench, "KernelEvent", NULL, "disk", words, ""));

	assert_int_equal(submitted.result, 0);
	snprintf(name, sizeof(name), "%s", submitted.name);
	return name;
}

static void cleared_while_collecting_it_is_still_diagnosed_and_not_recovered(void **state)
{
	struct bench *bench = *state;
	const char *name =
		begin_kernel_fault(bench, "\"looker\":{\"collect\":\"yes\"}," KNOWN
					  ",\"gentle\":{\"plan\":\"yes\",\"recover\":\"yes\"}");

	clear_fault(bench, "disk");
	wait_ended(bench, name);
	assert_end(bench, name, "Succeeded", "TestFault");
	assert_string_equal(reason_of(bench, name, "Recovered"), "FaultCleared");
	assert_text(bench, name, "status.context.looker", "evidence");
	assert_non_null(strstr(seen_text(bench, name, "status.message"), "went away by itself"));
	assert_int_equal(calls(bench, "gentle.recover"), 0);
}

static void cleared_and_not_recognised_is_over_too(void **state)
{
	struct bench *bench = *state;
	const char *name = begin_kernel_fault(bench, "");

	clear_fault(bench, "disk");
	wait_ended(bench, name);
	assert_end(bench, name, "Succeeded", "FaultCleared");
}

static void cleared_during_verification_is_verified(void **state)
{
	struct bench *bench = *state;
	const char *name = begin_kernel_fault(bench, KNOWN ",\"blind\":{\"recover\":\"yes\"}");

	WAIT_FOR(&bench->base, "the action",
		 action(bench, name, 0) && json_string(action(bench, name, 0), "outcome"));
	clear_fault(bench, "disk");
	wait_ended(bench, name);
	assert_end(bench, name, "Succeeded", "TestFault");
	assert_action(bench, name, 0, "blind", "Done", "Verified");
	assert_non_null(strstr(json_string(action(bench, name, 0), "message"), "detector"));
}

static void cleared_proves_nothing_where_only_verify_can(void **state)
{
	struct bench *bench = *state;
	const char *name = begin_kernel_fault(
		bench,
		KNOWN ",\"strict\":{\"plan\":\"yes\",\"recover\":\"yes\",\"verify\":\"if:go\"}");

	WAIT_FOR(&bench->base, "the first look", calls(bench, "strict.verify") > 0);
	clear_fault(bench, "disk");
	WAIT_FOR(&bench->base, "another look", calls(bench, "strict.verify") > 2);
	assert_false(has_ended(bench, name));
	touch(bench, "go");
	wait_ended(bench, name);
	assert_end(bench, name, "Succeeded", "TestFault");
	assert_action(bench, name, 0, "strict", "Done", "Verified");
	assert_null(strstr(json_string(action(bench, name, 0), "message"), "detector"));
}

static void a_fault_that_is_seen_again_is_not_cleared(void **state)
{
	struct bench *bench = *state;
	const char *name = begin_kernel_fault(bench, "\"looker\":{\"collect\":\"if:go\"}");

	clear_fault(bench, "disk");
	assert_int_equal(submit(bench, fault(bench, "KernelEvent", NULL, "disk", "", "")).how,
			 SUBMIT_FOLDED);
	wait_ended(bench, name);
	assert_end(bench, name, "Failed", "NotIdentified");
	assert_null(seen(bench, name, "status.context.cleared"));
}

static void a_failed_one_that_clears_later_says_so_and_stays_failed(void **state)
{
	struct bench *bench = *state;
	const char *name = begin_kernel_fault(bench, KNOWN);

	wait_ended(bench, name);
	clear_fault(bench, "disk");
	WAIT_FOR(&bench->base, "the note", seen(bench, name, "status.context.cleared.time"));
	assert_end(bench, name, "Failed", "TestFault");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		UNIT(a_recognised_fault_is_recovered_verified_and_keeps_its_diagnosis),
		UNIT(a_new_abnormal_gets_name_namespace_uid_node_and_times),
		UNIT(a_fault_that_nobody_recognises_is_troubleshot_and_left_to_a_person),
		UNIT(a_failing_diagnoser_is_noted_and_the_next_is_asked),
		UNIT(a_failing_collector_leaves_its_reason_and_the_rest_goes_on),
		UNIT(a_required_collector_that_fails_ends_it),
		UNIT(only_what_is_assigned_runs_and_an_unknown_name_is_told),
		UNIT(skip_recovery_ends_after_the_diagnosis),
		UNIT(skip_diagnosis_goes_straight_to_recovery),
		UNIT(what_is_not_verified_escalates_to_the_next_recoverer),
		UNIT(the_same_applied_twice_at_once_is_acknowledged_when_it_is_durable),
		UNIT(the_greatest_that_is_taken_from_outside_is_handled_to_its_end),
		UNIT(a_failing_action_escalates_and_the_end_tells_what_was_tried),
		UNIT(a_fault_that_no_recoverer_takes_fails_with_the_diagnosis),
		UNIT(a_recoverer_whose_plan_fails_is_noted_and_the_next_is_asked),
		UNIT(a_planned_target_that_is_gone_is_left_alone),
		UNIT(a_script_without_plan_that_says_not_mine_leaves_no_action),
		UNIT(without_verify_step_and_detector_an_action_is_not_verified_and_says_what_to_do),
		UNIT(one_that_only_confirms_needs_no_limit_and_acts_in_no_dry_run),
		UNIT(a_dry_run_tells_the_target_and_does_nothing),
		UNIT(cleared_while_collecting_it_is_still_diagnosed_and_not_recovered),
		UNIT(cleared_and_not_recognised_is_over_too),
		UNIT(cleared_during_verification_is_verified),
		UNIT(cleared_proves_nothing_where_only_verify_can),
		UNIT(a_fault_that_is_seen_again_is_not_cleared),
		UNIT(a_failed_one_that_clears_later_says_so_and_stays_failed),
	};

	WORKER_OR_RETURN(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
