/* SPDX-License-Identifier: Apache-2.0 */
/* What lifeboat wants from a host, one check each: what was found, what that means, what to do. */
#pragma once

#include "base/json.h"
#include "host/host.h"

enum check_state {
	CHECK_FINE,
	CHECK_NOTE, /* works, with less; or worth knowing */
	CHECK_MISSING, /* something that is needed */
};
extern const char *const check_state_names[]; /* "ok", "note", "missing" */

struct check {
	char name[32];
	enum check_state state;
	char found[256];
	char next[320]; /* what to do; "" if nothing */
};

/* All checks of the host itself. Returns how many were filled in; at most CHECKS_MAX. */
#define CHECKS_MAX 16
size_t host_checks(const struct host *host, struct check checks[CHECKS_MAX]);

/* The check that a detector's entry of detect_status() gives. */
void detector_check(const cJSON *detector, struct check *ret_check);
