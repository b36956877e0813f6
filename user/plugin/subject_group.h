/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The very control group that an Abnormal is about, found again: {path, id, version} as
 * details.cgroup has it, and as recoverers put it into their plans.
 */
#pragma once

#include "plugin/plugin.h"
#include "host/cgroup.h"

enum cgroup_version subject_group_version(const cJSON *group);

/*
 * Opens its folder, on v1 in the hierarchy of CONTROLLER. Returns a descriptor, -EINVAL if GROUP does
 * not name one, -ENOENT if it is gone, -ESTALE if there is another one of its name now, or another
 * negative errno.
 */
int subject_group_open(const struct plugin_call *call, const cJSON *group, const char *controller);

/* Says why it could not be opened; what a recoverer returns then. */
int subject_group_refuse(int code, const cJSON *group);

/* {path, id, version} and `target` as the beginning of a plan; NULL when out of memory. */
cJSON *subject_group_plan(const cJSON *group, const char *target);
