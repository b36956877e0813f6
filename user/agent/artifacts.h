/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that collectors left, one folder an Abnormal by its uid: removed when the Abnormal is.
 * A child process does the removing, as the disk may hang; at most a bounded number wait for it.
 */
#pragma once

#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "base/macro.h"

struct artifact_cleaner;

/* ROOT holds the folders. Returns 0 or a negative errno. */
int artifact_cleaner_new(sd_event *event, const char *root, struct artifact_cleaner **ret_cleaner);
void artifact_cleaner_free(struct artifact_cleaner *cleaner);
DEFINE_CLEANUP(struct artifact_cleaner, artifact_cleaner_free);

/* The Abnormal of UID is gone. One that is no uid is ignored. */
void artifact_cleaner_remove(struct artifact_cleaner *cleaner, const char *uid);
