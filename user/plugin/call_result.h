/* SPDX-License-Identifier: Apache-2.0 */
/* What a supervisor's reply means. Pure. */
#pragma once

#include "plugin/call.h"
#include "plugin/call_wire.h"

/* One reply as it came; the texts are not ended by a NUL. */
struct call_reply_view {
	const struct call_reply *reply;
	const char *output, *error, *artifacts;
};

/*
 * Fills RESULT's verdict, error, answer, artifacts and note from the reply to a call of ENTRY on
 * SENT. Returns 0 or -ENOMEM.
 */
int call_result_read(struct call_result *result, const struct call_reply_view *view,
		     const struct plugin_entry *entry, const struct abnormal *sent);

/* Makes RESULT an error with that text; a text that was there is replaced. */
int call_result_fail(struct call_result *result, const char *format, ...) _printf_(2, 3);
