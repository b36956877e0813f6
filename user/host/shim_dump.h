/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a goroutine dump of containerd's shim tells about the deadlock of its reaper (containerd issue
 * 2709): whether the loop that reaps is stuck in it, which of its known forms the other goroutines
 * show, and which containerd it is. Judged from goroutine_dump_summary(), whoever took the dump; one
 * dump is never a proof, as a busy shim passes through each of these states.
 */
#pragma once

#include "base/json.h"

/* As many groups and frames as the judgement needs of goroutine_dump_summary(). */
#define SHIM_DUMP_GROUPS 64
#define SHIM_DUMP_FRAMES 24

/* Why the others wait for the one that is stuck; bits of shim_dump_forms(). */
#define SHIM_DUMP_FORM_A (1u << 0) /* Monitor.Unsubscribe waits for the reaper's lock */
#define SHIM_DUMP_FORM_B (1u << 1) /* processExits waits for the lock of the service */
#define SHIM_DUMP_FORM_C (1u << 2) /* processExits itself waits for the runtime it has started */
#define SHIM_DUMP_FORM_D (1u << 3) /* processExits waits for the reaper's lock to start a runtime */
#define SHIM_DUMP_FORMS 4

/*
 * True if goroutine 1 is in state `chan send`, in containerd's Reap called from handleSignals: it holds the
 * reaper's lock and waits for somebody to take an exit.
 */
bool shim_dump_reaper_sends(const cJSON *summary);

unsigned shim_dump_forms(const cJSON *summary);
/* The form of bit INDEX, in words. */
const char *shim_dump_form_text(unsigned index);

/*
 * The containerd of the shim: "1.2.0" where the path of its sources tells, otherwise the range that
 * had Reap in that file ("1.2"); NULL if neither is known. The caller's to free.
 */
char *shim_dump_version(const cJSON *summary);
