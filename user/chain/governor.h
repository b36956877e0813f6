/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps recovery within its limits: cooldown of a recoverer on one subject, rate of a recoverer,
 * and actions of the whole node in an hour. It remembers what was begun; whoever acts notes it here
 * when the intent is journalled, so that two at once can't both slip through.
 */
#pragma once

#include "plugin/registry.h"

struct governor;

/* Actions remembered; the oldest goes when there are more. */
#define GOVERNOR_MAXIMUM 4096

int governor_new(struct governor **ret_governor);
void governor_free(struct governor *governor);
DEFINE_CLEANUP(struct governor, governor_free);

/*
 * An action of RECOVERER on SUBJECT, begun at BOOT_NS (before the boot: negative). A HARMLESS one
 * (it disturbs nothing) counts for the recoverer's own limits only. Returns 0 or -ENOMEM.
 */
int governor_note(struct governor *governor, const char *recoverer, const char *subject,
		  bool harmless, int64_t boot_ns);
/* The last such action turned out not to have been one. */
void governor_forget(struct governor *governor, const char *recoverer, const char *subject);

/*
 * May ENTRY act on SUBJECT now? ACTIONS_PER_HOUR, of all recoverers that disturb something, 0: no
 * such limit. Returns 0, or -EAGAIN with
 * REASON telling a person which limit, and when it is over.
 */
int governor_check(const struct governor *governor, const struct plugin_entry *entry,
		   const char *subject, uint64_t actions_per_hour, int64_t now_boot_ns,
		   char *reason, size_t reason_size);
