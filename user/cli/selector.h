/* SPDX-License-Identifier: Apache-2.0 */
/* Label selectors in kubectl's words: a=b,c!=d,e in (x,y),f notin (z),g,!h. */
#pragma once

#include "base/json.h"

struct selector;

/* Returns 0, -EINVAL (PROBLEM says what is wrong) or -ENOMEM. */
int selector_parse(const char *text, struct selector **ret_selector, struct problem *problem);
void selector_free(struct selector *selector);
DEFINE_CLEANUP(struct selector, selector_free);

/*
 * True if LABELS (an object of strings, or NULL) fit all of SELECTOR; a NULL selector fits
 * everything.
 */
bool selector_matches(const struct selector *selector, const cJSON *labels);
