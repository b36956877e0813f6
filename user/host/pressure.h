/* SPDX-License-Identifier: Apache-2.0 */
/* Pressure stall information, of the node or of a cgroup. */
#pragma once

#include "base/json.h"
#include "host/host.h"

/* {cpu|memory|io: {some|full: {avg10, avg60, avg300, totalMicroseconds}}} of the node; NULL if PSI is off. */
cJSON *pressure_node(const struct host *host);

/* The same from an open cgroup folder (*.pressure), or NULL. */
cJSON *pressure_cgroup(int cgroup_fd);
