/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables that a person can `cat` when no agent answers (bpf/triage.bpf.c): pinned iterators that run
 * when they are read, and need nothing else.
 */
#pragma once

#include "detect/pins.h"

/*
 * Pins the tables in the folder of PINS, in place of those that a former agent left. Nothing is done
 * without a folder. Returns 0 or a negative errno with REASON filled.
 */
int triage_pin(struct pins *pins, char *reason, size_t reason_size);
