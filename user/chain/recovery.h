/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the recoverer chain: one attempt of one recoverer at one Abnormal.
 *
 *   plan ── not mine ──────────────────────────────────────────► next
 *    │ target
 *   limits ── refused ── journalled ───────────────────────────► next
 *    │     ── dry run ── journalled ───────────────────────────► end
 *   intent, durable
 *    │
 *   recover ── error ── outcome, durable ──────────────────────► next
 *    │
 *   outcome, durable
 *    │
 *   verify, again and again, or the detector sees it gone ──────► verified: end
 *    └─ verify_within is over ── not verified, durable ─────────► next
 */
#pragma once

#include "chain/handling.h"

enum attempt_end {
	ATTEMPT_NOT_MINE, /* nothing was done, nothing is journalled */
	ATTEMPT_REFUSED,
	ATTEMPT_DRY_RUN,
	ATTEMPT_FAILED,
	ATTEMPT_NOT_VERIFIED,
	ATTEMPT_VERIFIED,
};

/* Begins an attempt; it ends in recoverer_chain_go_on, or by hand in the answer to the person. */
int recovery_attempt(struct handling *handling, struct plugin_entry *entry);
/* The last action has an intent and no outcome: the agent died in between. */
int recovery_take_up(struct handling *handling);
/* The last action is done, and the agent died while it was verified. */
int recovery_verify_again(struct handling *handling);

/* What the chain does after an attempt that ended so. */
int recoverer_chain_go_on(struct handling *handling, enum attempt_end end);
