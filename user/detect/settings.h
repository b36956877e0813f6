/* SPDX-License-Identifier: Apache-2.0 */
/* One detector's part of the configuration: what is common to all, and its own. */
#pragma once

#include "detect/detector.h"

struct detector_settings {
	bool enabled;
	const struct hook *hook; /* the one rung that may be used; NULL: the best */
	void *own; /* of detector->settings; NULL if it has none */
};

/*
 * Decodes JSON ({enabled, hook, …}, or NULL for the defaults). PROBLEM's field is relative to the
 * detector. Returns 0, -EINVAL or -ENOMEM.
 */
int detector_settings_read(const struct detector *detector, const cJSON *json,
			   struct detector_settings *ret_settings, struct problem *problem);
void detector_settings_clear(const struct detector *detector, struct detector_settings *settings);

/* All settings with the values in force, or NULL. */
cJSON *detector_settings_json(const struct detector *detector,
			      const struct detector_settings *settings);
