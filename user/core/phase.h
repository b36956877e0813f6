/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state machine over an Abnormal's phase, as a pure function: no clock, no I/O, no memory.
 *
 *     (created) → InformationCollecting → Diagnosing → Recovering → Succeeded
 *                         │                    │            │
 *                         └──── Failed ◄───────┴────────────┘
 */
#pragma once

#include "core/abnormal.h"

/* What happened to an Abnormal that may move it on. */
enum transition {
	TRANSITION_START, /* its turn has come: collecting begins */
	TRANSITION_COLLECTED, /* all needed information is in */
	TRANSITION_NOT_COLLECTED, /* a required collector failed */
	TRANSITION_IDENTIFIED, /* a diagnoser recognised it */
	TRANSITION_NOT_IDENTIFIED, /* none did */
	TRANSITION_RECOVERED, /* a recoverer acted (or found it over) and the effect is verified */
	TRANSITION_NOT_RECOVERED, /* no recoverer is left */
	TRANSITION_CLEARED, /* the fault went away by itself, seen by its detector */
	TRANSITION_COUNT,
};
extern const char *const transition_names[];

/* What a transition does besides moving the phase. */
struct phase_step {
	enum abnormal_phase from, to;
	enum condition_type condition; /* CONDITION_NONE: none changes */
	enum condition_status status;
	const char *reason; /* of the condition, when the caller has no better one */
};

/*
 * The step that TRANSITION takes an Abnormal of phase FROM. skipDiagnosis takes COLLECTED straight
 * to Recovering; skipRecovery takes IDENTIFIED straight to Succeeded with reason RecoverySkipped;
 * with both, COLLECTED ends Succeeded with RecoverySkipped.
 * Returns 0, or -EPROTO if the transition is illegal there (ret_step is not written).
 */
int phase_step(enum abnormal_phase from, enum transition transition, bool skip_diagnosis,
	       bool skip_recovery, struct phase_step *ret_step);

/*
 * Takes the step in ABNORMAL: phase, condition (REASON and MESSAGE; NULL for the step's own), and
 * startTime on the first. status.reason and status.message are the caller's, except that
 * RecoverySkipped is set here. Returns 0, -EPROTO or -ENOMEM; on error ABNORMAL is unchanged.
 */
int abnormal_transition(struct abnormal *abnormal, enum transition transition, const char *reason,
			const char *message, int64_t now_realtime_ns);
