/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the recoverer chain: status.actions, an Abnormal's journal of what was done to it and
 * what was meant to be. It is changed in memory; writing it is the caller's part.
 */
#pragma once

#include "chain/handling.h"

/* Entries of one Abnormal, well below what the codec accepts. */
#define JOURNAL_MAXIMUM 256

/* The last entry, or NULL. */
struct action *journal_last(const struct handling *handling);

/* What the recoverer at work acts on: its plan's target, else the Abnormal's subject. Borrowed. */
const char *journal_target(const struct handling *handling);

/*
 * An entry of the recoverer at work, with its WORDS (NULL: none): all of it or nothing, as one
 * without its recoverer would be taken up as an action of before. Returns 0 or -ENOMEM.
 */
int journal_append(struct handling *handling, enum action_outcome outcome, const char *words);

/* The last entry is as if it had never been made. */
void journal_take_back(struct handling *handling);

/* The last entry's outcome is known. Returns 0, or -ENOMEM if only WORDS are missing in it. */
int journal_finish(struct handling *handling, enum action_outcome outcome, const char *words);

/* Adds WORDS to what an entry says, if it does not say just that. Returns 0 or -ENOMEM. */
int journal_say(struct action *action, const char *words);
