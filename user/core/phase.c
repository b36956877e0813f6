/* SPDX-License-Identifier: Apache-2.0 */
/* The state machine: a table of every legal step, and how an Abnormal takes one. */
#include "core/phase.h"

/* What a row asks of spec.skipDiagnosis or spec.skipRecovery. */
enum skip { ANY, NO, YES };

#define REASON_RECOVERY_SKIPPED "RecoverySkipped"

const char *const transition_names[] = {
	[TRANSITION_START] = "Start",
	[TRANSITION_COLLECTED] = "Collected",
	[TRANSITION_NOT_COLLECTED] = "NotCollected",
	[TRANSITION_IDENTIFIED] = "Identified",
	[TRANSITION_NOT_IDENTIFIED] = "NotIdentified",
	[TRANSITION_RECOVERED] = "Recovered",
	[TRANSITION_NOT_RECOVERED] = "NotRecovered",
	[TRANSITION_CLEARED] = "Cleared",
	[TRANSITION_COUNT] = NULL,
};

/*
 * A phase that skipDiagnosis or skipRecovery would have left out goes on as without the flag: the
 * flag was set after the phase began, and finishing what runs is what a person would expect.
 */
static const struct row {
	enum abnormal_phase from;
	enum transition transition;
	enum skip diagnosis, recovery;
	enum abnormal_phase to;
	enum condition_type condition;
	enum condition_status status;
	const char *reason;
} rows[] = {
	{PHASE_CREATED, TRANSITION_START, ANY, ANY, PHASE_INFORMATION_COLLECTING, CONDITION_NONE,
	 CONDITION_ABSENT, NULL},
	{PHASE_CREATED, TRANSITION_CLEARED, ANY, ANY, PHASE_SUCCEEDED, CONDITION_RECOVERED,
	 CONDITION_TRUE, "FaultCleared"},

	{PHASE_INFORMATION_COLLECTING, TRANSITION_COLLECTED, NO, ANY, PHASE_DIAGNOSING,
	 CONDITION_INFORMATION_COLLECTED, CONDITION_TRUE, "InformationCollected"},
	{PHASE_INFORMATION_COLLECTING, TRANSITION_COLLECTED, YES, NO, PHASE_RECOVERING,
	 CONDITION_INFORMATION_COLLECTED, CONDITION_TRUE, "InformationCollected"},
	{PHASE_INFORMATION_COLLECTING, TRANSITION_COLLECTED, YES, YES, PHASE_SUCCEEDED,
	 CONDITION_INFORMATION_COLLECTED, CONDITION_TRUE, "InformationCollected"},
	{PHASE_INFORMATION_COLLECTING, TRANSITION_NOT_COLLECTED, ANY, ANY, PHASE_FAILED,
	 CONDITION_INFORMATION_COLLECTED, CONDITION_FALSE, "InformationNotCollected"},
	{PHASE_INFORMATION_COLLECTING, TRANSITION_CLEARED, ANY, ANY, PHASE_SUCCEEDED,
	 CONDITION_RECOVERED, CONDITION_TRUE, "FaultCleared"},

	{PHASE_DIAGNOSING, TRANSITION_IDENTIFIED, ANY, NO, PHASE_RECOVERING, CONDITION_IDENTIFIED,
	 CONDITION_TRUE, "Identified"},
	{PHASE_DIAGNOSING, TRANSITION_IDENTIFIED, ANY, YES, PHASE_SUCCEEDED, CONDITION_IDENTIFIED,
	 CONDITION_TRUE, "Identified"},
	{PHASE_DIAGNOSING, TRANSITION_NOT_IDENTIFIED, ANY, ANY, PHASE_FAILED, CONDITION_IDENTIFIED,
	 CONDITION_FALSE, "NotIdentified"},
	{PHASE_DIAGNOSING, TRANSITION_CLEARED, ANY, ANY, PHASE_SUCCEEDED, CONDITION_RECOVERED,
	 CONDITION_TRUE, "FaultCleared"},

	{PHASE_RECOVERING, TRANSITION_RECOVERED, ANY, ANY, PHASE_SUCCEEDED, CONDITION_RECOVERED,
	 CONDITION_TRUE, "Recovered"},
	{PHASE_RECOVERING, TRANSITION_NOT_RECOVERED, ANY, ANY, PHASE_FAILED, CONDITION_RECOVERED,
	 CONDITION_FALSE, "NotRecovered"},
	{PHASE_RECOVERING, TRANSITION_CLEARED, ANY, ANY, PHASE_SUCCEEDED, CONDITION_RECOVERED,
	 CONDITION_TRUE, "FaultCleared"},

	{PHASE_UNKNOWN, TRANSITION_CLEARED, ANY, ANY, PHASE_SUCCEEDED, CONDITION_RECOVERED,
	 CONDITION_TRUE, "FaultCleared"},
};

static bool skip_matches(enum skip asked, bool skipped)
{
	return asked == ANY || (asked == YES) == skipped;
}

static const struct row *find_row(enum abnormal_phase from, enum transition transition,
				  bool skip_diagnosis, bool skip_recovery)
{
	for (const struct row *row = rows; row < rows + ARRAY_SIZE(rows); row++)
		if (row->from == from && row->transition == transition &&
		    skip_matches(row->diagnosis, skip_diagnosis) &&
		    skip_matches(row->recovery, skip_recovery))
			return row;
	return NULL;
}

int phase_step(enum abnormal_phase from, enum transition transition, bool skip_diagnosis,
	       bool skip_recovery, struct phase_step *ret_step)
{
	const struct row *row = find_row(from, transition, skip_diagnosis, skip_recovery);

	if (!row)
		return -EPROTO;
	*ret_step = (struct phase_step){
		.from = from,
		.to = row->to,
		.condition = row->condition,
		.status = row->status,
		.reason = row->reason,
	};
	return 0;
}

/* Of the ways to succeed, the one where recovery was left out. */
static bool skipped_recovery(const struct phase_step *step, enum transition transition)
{
	return step->to == PHASE_SUCCEEDED &&
	       (transition == TRANSITION_COLLECTED || transition == TRANSITION_IDENTIFIED);
}

int abnormal_transition(struct abnormal *abnormal, enum transition transition, const char *reason,
			const char *message, int64_t now_realtime_ns)
{
	struct abnormal_status *status = &abnormal->status;
	_cleanup_free_ char *skipped = NULL;
	struct phase_step step;
	int r = phase_step((enum abnormal_phase)status->phase, transition,
			   abnormal->spec.skip_diagnosis, abnormal->spec.skip_recovery, &step);

	/* All that can fail comes before the first change. */
	if (r == 0 && skipped_recovery(&step, transition))
		r = string_set(&skipped, REASON_RECOVERY_SKIPPED);
	if (r == 0 && step.condition != CONDITION_NONE)
		r = abnormal_set_condition(abnormal, step.condition, step.status,
					   reason ? reason : step.reason, message, now_realtime_ns);
	if (r < 0)
		return r;
	status->phase = (int)step.to;
	if (status->start_time == TIME_ABSENT)
		status->start_time = now_realtime_ns;
	if (skipped) {
		free(status->reason);
		status->reason = TAKE_PTR(skipped);
	}
	return 0;
}
