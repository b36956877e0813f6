/* SPDX-License-Identifier: Apache-2.0 */
/* The state machine: each (phase, transition, flags) there is, legal or not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/phase.h"

#define PHASES (PHASE_UNKNOWN + 1)
#define ILLEGAL (-1)

/*
 * Where each transition leads, without flags; written out, so that the table under test is not its
 * own judge.
 */
static const int expected[PHASES][TRANSITION_COUNT] = {
	[PHASE_CREATED] =
		{
			[TRANSITION_START] = PHASE_INFORMATION_COLLECTING,
			[TRANSITION_COLLECTED] = ILLEGAL,
			[TRANSITION_NOT_COLLECTED] = ILLEGAL,
			[TRANSITION_IDENTIFIED] = ILLEGAL,
			[TRANSITION_NOT_IDENTIFIED] = ILLEGAL,
			[TRANSITION_RECOVERED] = ILLEGAL,
			[TRANSITION_NOT_RECOVERED] = ILLEGAL,
			[TRANSITION_CLEARED] = PHASE_SUCCEEDED,
		},
	[PHASE_INFORMATION_COLLECTING] =
		{
			[TRANSITION_START] = ILLEGAL,
			[TRANSITION_COLLECTED] = PHASE_DIAGNOSING,
			[TRANSITION_NOT_COLLECTED] = PHASE_FAILED,
			[TRANSITION_IDENTIFIED] = ILLEGAL,
			[TRANSITION_NOT_IDENTIFIED] = ILLEGAL,
			[TRANSITION_RECOVERED] = ILLEGAL,
			[TRANSITION_NOT_RECOVERED] = ILLEGAL,
			[TRANSITION_CLEARED] = PHASE_SUCCEEDED,
		},
	[PHASE_DIAGNOSING] =
		{
			[TRANSITION_START] = ILLEGAL,
			[TRANSITION_COLLECTED] = ILLEGAL,
			[TRANSITION_NOT_COLLECTED] = ILLEGAL,
			[TRANSITION_IDENTIFIED] = PHASE_RECOVERING,
			[TRANSITION_NOT_IDENTIFIED] = PHASE_FAILED,
			[TRANSITION_RECOVERED] = ILLEGAL,
			[TRANSITION_NOT_RECOVERED] = ILLEGAL,
			[TRANSITION_CLEARED] = PHASE_SUCCEEDED,
		},
	[PHASE_RECOVERING] =
		{
			[TRANSITION_START] = ILLEGAL,
			[TRANSITION_COLLECTED] = ILLEGAL,
			[TRANSITION_NOT_COLLECTED] = ILLEGAL,
			[TRANSITION_IDENTIFIED] = ILLEGAL,
			[TRANSITION_NOT_IDENTIFIED] = ILLEGAL,
			[TRANSITION_RECOVERED] = PHASE_SUCCEEDED,
			[TRANSITION_NOT_RECOVERED] = PHASE_FAILED,
			[TRANSITION_CLEARED] = PHASE_SUCCEEDED,
		},
	[PHASE_SUCCEEDED] = {ILLEGAL, ILLEGAL, ILLEGAL, ILLEGAL, ILLEGAL, ILLEGAL, ILLEGAL,
			     ILLEGAL},
	[PHASE_FAILED] = {ILLEGAL, ILLEGAL, ILLEGAL, ILLEGAL, ILLEGAL, ILLEGAL, ILLEGAL, ILLEGAL},
	[PHASE_UNKNOWN] = {ILLEGAL, ILLEGAL, ILLEGAL, ILLEGAL, ILLEGAL, ILLEGAL, ILLEGAL,
			   PHASE_SUCCEEDED},
};

/* What the flags change. */
static int expected_with(int from, int transition, bool skip_diagnosis, bool skip_recovery)
{
	if (from == PHASE_INFORMATION_COLLECTING && transition == TRANSITION_COLLECTED &&
	    skip_diagnosis)
		return skip_recovery ? PHASE_SUCCEEDED : PHASE_RECOVERING;
	if (from == PHASE_DIAGNOSING && transition == TRANSITION_IDENTIFIED && skip_recovery)
		return PHASE_SUCCEEDED;
	return expected[from][transition];
}

static const struct {
	enum condition_type condition;
	enum condition_status status;
	const char *reason;
} expected_condition[TRANSITION_COUNT] = {
	[TRANSITION_START] = {CONDITION_NONE, CONDITION_ABSENT, NULL},
	[TRANSITION_COLLECTED] = {CONDITION_INFORMATION_COLLECTED, CONDITION_TRUE,
				  "InformationCollected"},
	[TRANSITION_NOT_COLLECTED] = {CONDITION_INFORMATION_COLLECTED, CONDITION_FALSE,
				      "InformationNotCollected"},
	[TRANSITION_IDENTIFIED] = {CONDITION_IDENTIFIED, CONDITION_TRUE, "Identified"},
	[TRANSITION_NOT_IDENTIFIED] = {CONDITION_IDENTIFIED, CONDITION_FALSE, "NotIdentified"},
	[TRANSITION_RECOVERED] = {CONDITION_RECOVERED, CONDITION_TRUE, "Recovered"},
	[TRANSITION_NOT_RECOVERED] = {CONDITION_RECOVERED, CONDITION_FALSE, "NotRecovered"},
	[TRANSITION_CLEARED] = {CONDITION_RECOVERED, CONDITION_TRUE, "FaultCleared"},
};

static void each_combination_leads_where_it_should_or_is_refused(void **state)
{
	int legal = 0;

	for (int i = 0; i < PHASES * TRANSITION_COUNT * 4; i++) {
		int from = i / (TRANSITION_COUNT * 4), transition = i / 4 % TRANSITION_COUNT;
		bool skip_diagnosis = i & 1, skip_recovery = i & 2;
		int to = expected_with(from, transition, skip_diagnosis, skip_recovery);
		struct phase_step step = {.reason = "untouched"};
		int r = phase_step((enum abnormal_phase)from, (enum transition)transition,
				   skip_diagnosis, skip_recovery, &step);

		if (to == ILLEGAL) {
			assert_int_equal(r, -EPROTO);
			assert_string_equal(step.reason, "untouched");
			continue;
		}
		legal++;
		assert_int_equal(r, 0);
		assert_int_equal(step.from, from);
		assert_int_equal(step.to, to);
		assert_int_equal(step.condition, expected_condition[transition].condition);
		assert_int_equal(step.status, expected_condition[transition].status);
		assert_true(streq_ptr(step.reason, expected_condition[transition].reason));
	}
	/* 12 pairs of phase and transition, each under 4 settings of the flags. */
	assert_int_equal(legal, 12 * 4);
}

static void a_phase_or_transition_out_of_range_is_refused(void **state)
{
	struct phase_step step;

	assert_int_equal(
		phase_step((enum abnormal_phase)PHASES, TRANSITION_CLEARED, false, false, &step),
		-EPROTO);
	assert_int_equal(phase_step(PHASE_CREATED, TRANSITION_COUNT, false, false, &step), -EPROTO);
}

static void no_transition_leaves_a_final_phase(void **state)
{
	struct phase_step step;

	for (int from = 0; from < PHASES; from++)
		for (int transition = 0; transition < TRANSITION_COUNT; transition++)
			if (phase_is_final((enum abnormal_phase)from))
				assert_int_equal(phase_step((enum abnormal_phase)from,
							    (enum transition)transition, false,
							    false, &step),
						 -EPROTO);
}

static void each_transition_has_a_name(void **state)
{
	for (int i = 0; i < TRANSITION_COUNT; i++)
		assert_non_null(transition_names[i]);
	assert_null(transition_names[TRANSITION_COUNT]);
}

static void the_whole_way_sets_conditions_and_start_time(void **state)
{
	_cleanup_abnormal_ struct abnormal *abnormal = abnormal_new();

	assert_int_equal(abnormal_transition(abnormal, TRANSITION_START, NULL, NULL, 10), 0);
	assert_int_equal(abnormal->status.phase, PHASE_INFORMATION_COLLECTING);
	assert_int_equal(abnormal->status.start_time, 10);
	assert_int_equal(abnormal->status.conditions.count, 0);

	assert_int_equal(abnormal_transition(abnormal, TRANSITION_COLLECTED, NULL, "2 of 2", 20),
			 0);
	const struct condition *condition =
		abnormal_condition(abnormal, CONDITION_INFORMATION_COLLECTED);
	assert_int_equal(condition->status, CONDITION_TRUE);
	assert_int_equal(condition->last_transition_time, 20);
	assert_string_equal(condition->reason, "InformationCollected");
	assert_string_equal(condition->message, "2 of 2");

	assert_int_equal(
		abnormal_transition(abnormal, TRANSITION_IDENTIFIED, "FilesystemFrozen", NULL, 30),
		0);
	assert_string_equal(abnormal_condition(abnormal, CONDITION_IDENTIFIED)->reason,
			    "FilesystemFrozen");

	assert_int_equal(abnormal_transition(abnormal, TRANSITION_RECOVERED, NULL, NULL, 40), 0);
	assert_int_equal(abnormal->status.phase, PHASE_SUCCEEDED);
	assert_int_equal(abnormal_condition(abnormal, CONDITION_RECOVERED)->status, CONDITION_TRUE);
	assert_int_equal(abnormal->status.start_time, 10);
	/* The reason of the whole is the caller's. */
	assert_null(abnormal->status.reason);
}

static void an_illegal_transition_changes_nothing(void **state)
{
	_cleanup_abnormal_ struct abnormal *abnormal = abnormal_new();
	_cleanup_free_ char *before = NULL, *after = NULL;

	assert_int_equal(abnormal_print(abnormal, &before), 0);
	assert_int_equal(abnormal_transition(abnormal, TRANSITION_RECOVERED, "A", "b", 10),
			 -EPROTO);
	assert_int_equal(abnormal_print(abnormal, &after), 0);
	assert_string_equal(before, after);
}

static void skipped_recovery_ends_succeeded_with_that_reason(void **state)
{
	_cleanup_abnormal_ struct abnormal *abnormal = abnormal_new();

	abnormal->spec.skip_recovery = true;
	assert_int_equal(string_set(&abnormal->status.reason, "FilesystemFrozen"), 0);
	assert_int_equal(abnormal_transition(abnormal, TRANSITION_START, NULL, NULL, 1), 0);
	assert_int_equal(abnormal_transition(abnormal, TRANSITION_COLLECTED, NULL, NULL, 2), 0);
	assert_int_equal(
		abnormal_transition(abnormal, TRANSITION_IDENTIFIED, "FilesystemFrozen", NULL, 3),
		0);
	assert_int_equal(abnormal->status.phase, PHASE_SUCCEEDED);
	assert_string_equal(abnormal->status.reason, "RecoverySkipped");
	assert_string_equal(abnormal_condition(abnormal, CONDITION_IDENTIFIED)->reason,
			    "FilesystemFrozen");
	assert_null(abnormal_condition(abnormal, CONDITION_RECOVERED));
}

static void with_both_stages_skipped_collecting_is_all(void **state)
{
	_cleanup_abnormal_ struct abnormal *abnormal = abnormal_new();

	abnormal->spec.skip_diagnosis = abnormal->spec.skip_recovery = true;
	assert_int_equal(abnormal_transition(abnormal, TRANSITION_START, NULL, NULL, 1), 0);
	assert_int_equal(abnormal_transition(abnormal, TRANSITION_COLLECTED, NULL, NULL, 2), 0);
	assert_int_equal(abnormal->status.phase, PHASE_SUCCEEDED);
	assert_string_equal(abnormal->status.reason, "RecoverySkipped");
}

static void a_fault_that_clears_before_its_turn_succeeds(void **state)
{
	_cleanup_abnormal_ struct abnormal *abnormal = abnormal_new();

	assert_int_equal(abnormal_transition(abnormal, TRANSITION_CLEARED, NULL, "moving again", 5),
			 0);
	assert_int_equal(abnormal->status.phase, PHASE_SUCCEEDED);
	assert_int_equal(abnormal->status.start_time, 5);
	assert_string_equal(abnormal_condition(abnormal, CONDITION_RECOVERED)->reason,
			    "FaultCleared");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_combination_leads_where_it_should_or_is_refused),
		cmocka_unit_test(a_phase_or_transition_out_of_range_is_refused),
		cmocka_unit_test(no_transition_leaves_a_final_phase),
		cmocka_unit_test(each_transition_has_a_name),
		cmocka_unit_test(the_whole_way_sets_conditions_and_start_time),
		cmocka_unit_test(an_illegal_transition_changes_nothing),
		cmocka_unit_test(skipped_recovery_ends_succeeded_with_that_reason),
		cmocka_unit_test(with_both_stages_skipped_collecting_is_all),
		cmocka_unit_test(a_fault_that_clears_before_its_turn_succeeds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
