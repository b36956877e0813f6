/* SPDX-License-Identifier: Apache-2.0 */
/* Who comes in, what is folded, whose turn it is, limits, and deletion. */
#include "pipeline_fixture.h"

#define REPAIR "\"gentle\":{\"plan\":\"yes\",\"recover\":\"yes\",\"verify\":\"yes\"}"
#define HOUR_NS ((int64_t)(3600 * NS_PER_S))

/* --- Coming in --- */

static void the_same_name_and_spec_again_changes_nothing(void **state)
{
	struct bench *bench = *state;

	handle(bench, fault(bench, "Custom", "a", NULL, KNOWN, ""));
	struct submitted again = submit(bench, fault(bench, "Custom", "a", NULL, KNOWN, ""));
	assert_int_equal(again.result, 0);
	assert_int_equal(again.how, SUBMIT_FOLDED);
	assert_string_equal(again.name, "a");
	assert_int_equal(json_number(seen(bench, "a", "status.occurrences"), "count", 0), 1);
}

static void another_spec_under_a_name_that_is_taken_is_an_error_also_after_a_restart(void **state)
{
	struct bench *bench = *state;

	handle(bench, fault(bench, "Custom", "a", NULL, KNOWN, ""));
	assert_int_equal(submit(bench, fault(bench, "Custom", "a", NULL, "", "")).result, -EEXIST);
	bench_stop(bench);
	bench->history_ns = 1; /* the store no longer counts it as recent */
	bench_start(bench);
	assert_int_equal(submit(bench, fault(bench, "Custom", "a", NULL, "", "")).result, -EEXIST);
	assert_int_equal(submit(bench, fault(bench, "Custom", "a", NULL, KNOWN, "")).how,
			 SUBMIT_FOLDED);
}

static struct submitted submit_named_event(struct bench *bench, const char *details)
{
	struct abnormal *abnormal = fault(bench, "KernelEvent", "k", "disk", KNOWN, "");

	abnormal->spec.kernel_event->details = cJSON_Parse(details);
	assert_non_null(abnormal->spec.kernel_event->details);
	return submit(bench, abnormal);
}

/* Though an ended one is packed. */
static void the_same_spec_under_its_name_changes_nothing_after_the_end_either(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(submit_named_event(bench, "{\"a\":{\"b\":1},\"c\":2}").how,
			 SUBMIT_CREATED);
	wait_ended(bench, "k");
	assert_int_equal(submit_named_event(bench, "{\"c\":2,\"a\":{\"b\":1}}").how, SUBMIT_FOLDED);
	assert_int_equal(submit_named_event(bench, "{\"c\":2,\"a\":{\"b\":3}}").result, -EEXIST);
}

static void another_nodes_abnormal_is_refused(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(
		submit(bench, fault(bench, "Custom", "a", NULL, "", "\"nodeName\":\"n2\"")).result,
		-EXDEV);
	assert_int_equal(
		submit(bench, fault(bench, "Custom", "b", NULL, "", "\"nodeName\":\"n1\"")).result,
		0);
	wait_ended(bench, "b");
}

static void a_status_that_is_submitted_is_dropped(void **state)
{
	struct bench *bench = *state;
	struct abnormal *abnormal = fault(bench, "Custom", "a", NULL, KNOWN, "");

	abnormal->status.phase = PHASE_SUCCEEDED;
	assert_int_equal(string_set(&abnormal->status.reason, "Forged"), 0);
	handle(bench, abnormal);
	assert_end(bench, "a", "Failed", "TestFault");
}

static void without_a_name_the_same_words_are_the_same_fault(void **state)
{
	struct bench *bench = *state;
	struct submitted first = submit(bench, fault(bench, "Custom", NULL, NULL, "\"x\":1", ""));
	struct submitted other = submit(bench, fault(bench, "Custom", NULL, NULL, "\"x\":2", ""));
	struct submitted again = submit(bench, fault(bench, "Custom", NULL, NULL, "\"x\":1", ""));

	assert_string_not_equal(first.name, other.name);
	assert_string_equal(first.name, again.name);
	wait_ended(bench, first.name);
	wait_ended(bench, other.name);
}

/* --- Folding --- */

static int64_t count_of(struct bench *bench, const char *name)
{
	return (int64_t)json_number(seen(bench, name, "status.occurrences"), "count", 0);
}

static void ten_thousand_repeats_are_one_abnormal_with_that_count_and_few_writes(void **state)
{
	struct bench *bench = *state;
	struct submitted first = submit(bench, fault(bench, "KernelEvent", NULL, "disk", "", ""));

	for (int i = 1; i < 9999; i++)
		assert_int_equal(pipeline_submit(bench->pipeline,
						 fault(bench, "KernelEvent", NULL, "disk", "", ""),
						 NULL, NULL),
				 0);
	struct submitted last = submit(bench, fault(bench, "KernelEvent", NULL, "disk", "", ""));
	assert_string_equal(last.name, first.name);
	WAIT_FOR(&bench->base, "all to be written", count_of(bench, first.name) == 10000);
	wait_ended(bench, first.name);
	assert_int_equal(bench->added, 1);
	assert_true(bench->modified < 20);
	assert_int_equal(pipeline_counts(bench->pipeline)->created, 1);
	const struct pipeline_counts *counts = pipeline_counts(bench->pipeline);
	assert_int_equal(counts->folded + counts->in_cooldown, 9999);
	bench_restart(bench);
	last = submit(bench, fault(bench, "KernelEvent", NULL, "disk", "", ""));
	assert_int_equal(last.how, SUBMIT_COOLDOWN);
	assert_int_equal(count_of(bench, first.name), 10001);
}

static struct abnormal *of_record(struct bench *bench, const char *record)
{
	struct abnormal *abnormal = fault(bench, "KernelEvent", NULL, "disk", "", "");

	assert_int_equal(string_set(&abnormal->spec.kernel_event->record, record), 0);
	return abnormal;
}

static void a_record_of_the_kernel_that_is_read_again_counts_once_also_after_a_restart(void **state)
{
	struct bench *bench = *state;
	struct submitted first = submit(bench, of_record(bench, "ring:40"));
	struct submitted again = submit(bench, of_record(bench, "ring:40"));

	assert_int_equal(again.result, 0);
	assert_string_equal(again.name, first.name);
	submit(bench, of_record(bench, "ring:80"));
	assert_int_equal(count_of(bench, first.name), 2);
	wait_ended(bench, first.name);
	bench_restart(bench);
	assert_int_equal(submit(bench, of_record(bench, "ring:40")).how, SUBMIT_COOLDOWN);
	assert_int_equal(submit(bench, of_record(bench, "ring:80")).how, SUBMIT_COOLDOWN);
	assert_int_equal(count_of(bench, first.name), 2);
	submit(bench, of_record(bench, "ring:120"));
	assert_int_equal(count_of(bench, first.name), 3);
	/* Another ring counts anew. */
	submit(bench, of_record(bench, "other:40"));
	assert_int_equal(count_of(bench, first.name), 4);
}

/* Without a process of any plug-in. */
static void end_others(struct bench *bench, unsigned from, unsigned to)
{
	char name[32];

	for (unsigned i = from; i < to; i++) {
		snprintf(name, sizeof(name), "other-%u", i);
		handle(bench, fault(bench, "Custom", name, NULL, "",
				    "\"skipDiagnosis\":true,\"skipRecovery\":true,"
				    "\"assignedInformationCollectors\":[{\"name\":\"none\"}]"));
	}
}

static enum submit_result hear(struct bench *bench, const char *record)
{
	struct abnormal *abnormal = of_record(bench, record);

	abnormal->spec.kernel_event->time = bench_realtime(bench);
	return submit(bench, abnormal).how;
}

static void what_is_heard_of_stays_at_hand_however_many_end_meanwhile(void **state)
{
	struct bench *bench = *state;
	struct submitted first = submit(bench, of_record(bench, "ring:40"));
	unsigned i = STORE_RECENT_MAXIMUM - 8;

	wait_ended(bench, first.name);
	end_others(bench, 0, i);
	assert_int_equal(hear(bench, "ring:80"), SUBMIT_COOLDOWN);
	end_others(bench, i, i + 32);
	assert_int_equal(hear(bench, "ring:80"), SUBMIT_COOLDOWN);
	end_others(bench, i + 32, i + 64);
	bench_restart(bench);
	end_others(bench, i + 64, i + 72);
	assert_int_equal(hear(bench, "ring:80"), SUBMIT_COOLDOWN);
	assert_int_equal(count_of(bench, first.name), 2);
}

static void in_the_cooldown_a_fault_is_counted_and_after_it_it_is_a_new_one(void **state)
{
	struct bench *bench = *state;
	struct submitted first = submit(bench, fault(bench, "KernelEvent", NULL, "disk", "", ""));

	wait_ended(bench, first.name);
	bench->skew_ns = 299 * (int64_t)NS_PER_S;
	struct abnormal *again = fault(bench, "KernelEvent", NULL, "disk", "", "");
	again->spec.kernel_event->process = schema_new(&process_identity_schema);
	assert_non_null(again->spec.kernel_event->process);
	again->spec.kernel_event->process->pid = 4242;
	struct submitted within = submit(bench, again);
	assert_int_equal(within.how, SUBMIT_COOLDOWN);
	/* Who waits now is who a repair must look at. */
	assert_int_equal(seen(bench, first.name, "spec.kernelEvent.process.pid")->valueint, 4242);
	assert_string_equal(within.name, first.name);
	assert_int_equal(count_of(bench, first.name), 2);
	bench->skew_ns = 301 * (int64_t)NS_PER_S;
	struct submitted after = submit(bench, fault(bench, "KernelEvent", NULL, "disk", "", ""));
	assert_int_equal(after.how, SUBMIT_CREATED);
	assert_string_not_equal(after.name, first.name);
	assert_int_equal(pipeline_counts(bench->pipeline)->in_cooldown, 1);
	wait_ended(bench, after.name);
}

/* --- Turns and limits --- */

static void one_subject_is_handled_one_at_a_time_and_others_in_parallel(void **state)
{
	struct bench *bench = *state;

	submit(bench, fault(bench, "Custom", "a", "same", HANGS, ""));
	submit(bench, fault(bench, "Custom", "b", "same", "", "\"skipDiagnosis\":true"));
	submit(bench, fault(bench, "Custom", "c", "other", "", "\"skipDiagnosis\":true"));
	wait_ended(bench, "c");
	assert_text(bench, "b", "status.phase", "");
	assert_int_equal(pipeline_counts(bench->pipeline)->waiting, 1);
	assert_int_equal(pipeline_delete(bench->pipeline, "default", "a", NULL, NULL), 0);
	wait_ended(bench, "b");
}

static void no_more_than_parallel_are_handled_at_once(void **state)
{
	struct bench *bench = *state;

	bench->settings.parallel = 2;
	pipeline_reconfigure(bench->pipeline, &bench->settings);
	submit(bench, fault(bench, "Custom", "a", NULL, HANGS, ""));
	submit(bench, fault(bench, "Custom", "b", NULL, HANGS, ""));
	submit(bench, fault(bench, "Custom", "c", NULL, "", ""));
	WAIT_FOR(&bench->base, "both", calls(bench, "holmes.diagnose") == 2);
	assert_text(bench, "c", "status.phase", "");
	bench->settings.parallel = 3;
	pipeline_reconfigure(bench->pipeline, &bench->settings);
	wait_ended(bench, "c");
}

static void over_live_maximum_a_fault_is_refused_and_counted(void **state)
{
	struct bench *bench = *state;

	bench->settings.live_maximum = 1;
	pipeline_reconfigure(bench->pipeline, &bench->settings);
	submit(bench, fault(bench, "Custom", "a", NULL, HANGS, ""));
	assert_int_equal(submit(bench, fault(bench, "Custom", "b", NULL, "", "")).result, -EDQUOT);
	assert_int_equal(submit(bench, fault(bench, "KernelEvent", NULL, "disk", "", "")).result,
			 -EDQUOT);
	assert_int_equal(pipeline_counts(bench->pipeline)->refused, 2);
}

static void a_recoverer_that_found_its_target_gone_has_not_acted_and_has_no_cooldown(void **state)
{
	struct bench *bench = *state;

	bench->recoverers = NULL;

	handle(bench, fault(bench, "Custom", "a", "same",
			    KNOWN ",\"gentle\":{\"plan\":\"yes\",\"recover\":\"no\"}", ""));
	assert_action(bench, "a", 0, "gentle", "Refused", "");
	bench->skew_ns = 301 * (int64_t)NS_PER_S; /* the pipeline's cooldown is over */
	handle(bench, fault(bench, "Custom", "b", "same", KNOWN "," REPAIR, ""));
	assert_action(bench, "b", 0, "gentle", "Done", "Verified");
}

static void within_its_cooldown_a_recoverer_is_held_back_and_says_so(void **state)
{
	struct bench *bench = *state;

	bench->recoverers = NULL;
	handle(bench, fault(bench, "Custom", "a", "same", KNOWN "," REPAIR, ""));
	bench->skew_ns = 301 * (int64_t)NS_PER_S; /* the pipeline's cooldown is over, the
						     recoverer's 10 min are not */
	handle(bench, fault(bench, "Custom", "b", "same", KNOWN "," REPAIR, ""));
	assert_end(bench, "b", "Failed", "TestFault");
	assert_action(bench, "b", 0, "gentle", "Refused", "");
	assert_non_null(strstr(json_string(action(bench, "b", 0), "message"), "cooldown"));
	assert_string_equal(reason_of(bench, "b", "Recovered"), "Refused");
	assert_int_equal(pipeline_counts(bench->pipeline)->actions_refused, 1);
	/* What was done is known after a restart too. */
	bench_restart(bench);
	bench->skew_ns = 550 * (int64_t)NS_PER_S;
	handle(bench, fault(bench, "Custom", "c", "same", KNOWN "," REPAIR, ""));
	assert_action(bench, "c", 0, "gentle", "Refused", "");
	bench->skew_ns = 700 * (int64_t)NS_PER_S;
	handle(bench, fault(bench, "Custom", "d", "same", KNOWN "," REPAIR, ""));
	assert_action(bench, "d", 0, "gentle", "Done", "Verified");
}

static void over_its_rate_a_recoverer_is_held_back_and_the_next_is_tried(void **state)
{
	struct bench *bench = *state;

	bench_stop(bench);
	bench->recoverers = parsed("{\"gentle\":{\"rate\":\"1/h\"}}");
	bench_start(bench);
	handle(bench, fault(bench, "Custom", "a", NULL, KNOWN "," REPAIR, ""));
	handle(bench,
	       fault(bench, "Custom", "b", NULL,
		     KNOWN "," REPAIR
			   ",\"rough\":{\"plan\":\"yes\",\"recover\":\"yes\",\"verify\":\"yes\"}",
		     ""));
	assert_action(bench, "b", 0, "gentle", "Refused", "");
	assert_action(bench, "b", 1, "rough", "Done", "Verified");
	assert_text(bench, "b", "status.phase", "Succeeded");
}

static void the_nodes_actions_in_an_hour_are_limited(void **state)
{
	struct bench *bench = *state;

	bench->settings.actions_per_hour = 2;
	pipeline_reconfigure(bench->pipeline, &bench->settings);
	handle(bench, fault(bench, "Custom", "a", NULL, KNOWN "," REPAIR, ""));
	handle(bench, fault(bench, "Custom", "b", NULL, KNOWN "," REPAIR, ""));
	handle(bench, fault(bench, "Custom", "c", NULL, KNOWN "," REPAIR, ""));
	assert_action(bench, "c", 0, "gentle", "Refused", "");
	bench->skew_ns = HOUR_NS;
	handle(bench, fault(bench, "Custom", "d", NULL, KNOWN "," REPAIR, ""));
	assert_action(bench, "d", 0, "gentle", "Done", "Verified");
}

/* --- Deletion --- */

struct deleted {
	unsigned times;
	int result;
};

static void on_deleted(void *userdata, int result)
{
	struct deleted *deleted = userdata;

	deleted->times++;
	deleted->result = result;
}

static int delete_one(struct bench *bench, const char *name)
{
	struct deleted deleted = {0};

	assert_int_equal(pipeline_delete(bench->pipeline, "default", name, on_deleted, &deleted),
			 0);
	assert_int_equal(deleted.times, 0);
	WAIT_FOR(&bench->base, "the deletion", deleted.times);
	return deleted.result;
}

static void deleting_a_live_one_ends_its_plug_in(void **state)
{
	struct bench *bench = *state;

	submit(bench, fault(bench, "Custom", "a", NULL, HANGS, ""));
	WAIT_FOR(&bench->base, "the call", calls(bench, "holmes.diagnose") == 1);
	assert_int_equal(delete_one(bench, "a"), 0);
	assert_int_equal(bench->deleted, 1);
	assert_int_equal(pipeline_counts(bench->pipeline)->live, 0);
	WAIT_FOR(&bench->base, "the end of the call",
		 call_pool_counts(bench->base.pool)->running == 0);
	bench_restart(bench);
	assert_int_equal(pipeline_counts(bench->pipeline)->live, 0);
}

static void an_ended_one_is_deleted_at_hand_or_not(void **state)
{
	struct bench *bench = *state;

	handle(bench, fault(bench, "Custom", "a", NULL, "", ""));
	handle(bench, fault(bench, "Custom", "b", NULL, "", ""));
	assert_int_equal(delete_one(bench, "a"), 0);
	bench_stop(bench);
	bench->history_ns = 1;
	bench_start(bench);
	assert_int_equal(delete_one(bench, "b"), 0);
	assert_int_equal(delete_one(bench, "b"), -ENOENT);
	assert_int_equal(bench->deleted, 2);
}

static void a_name_is_free_once_it_is_deleted(void **state)
{
	struct bench *bench = *state;

	handle(bench, fault(bench, "Custom", "a", NULL, "", ""));
	assert_int_equal(delete_one(bench, "a"), 0);
	handle(bench, fault(bench, "Custom", "a", NULL, KNOWN, ""));
	assert_end(bench, "a", "Failed", "TestFault");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		UNIT(the_same_name_and_spec_again_changes_nothing),
		UNIT(another_spec_under_a_name_that_is_taken_is_an_error_also_after_a_restart),
		UNIT(the_same_spec_under_its_name_changes_nothing_after_the_end_either),
		UNIT(another_nodes_abnormal_is_refused),
		UNIT(a_status_that_is_submitted_is_dropped),
		UNIT(without_a_name_the_same_words_are_the_same_fault),
		UNIT(ten_thousand_repeats_are_one_abnormal_with_that_count_and_few_writes),
		UNIT(a_record_of_the_kernel_that_is_read_again_counts_once_also_after_a_restart),
		UNIT(what_is_heard_of_stays_at_hand_however_many_end_meanwhile),
		UNIT(in_the_cooldown_a_fault_is_counted_and_after_it_it_is_a_new_one),
		UNIT(one_subject_is_handled_one_at_a_time_and_others_in_parallel),
		UNIT(no_more_than_parallel_are_handled_at_once),
		UNIT(over_live_maximum_a_fault_is_refused_and_counted),
		UNIT(a_recoverer_that_found_its_target_gone_has_not_acted_and_has_no_cooldown),
		UNIT(within_its_cooldown_a_recoverer_is_held_back_and_says_so),
		UNIT(over_its_rate_a_recoverer_is_held_back_and_the_next_is_tried),
		UNIT(the_nodes_actions_in_an_hour_are_limited),
		UNIT(deleting_a_live_one_ends_its_plug_in),
		UNIT(an_ended_one_is_deleted_at_hand_or_not),
		UNIT(a_name_is_free_once_it_is_deleted),
	};

	WORKER_OR_RETURN(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
