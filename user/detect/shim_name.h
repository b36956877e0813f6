/* SPDX-License-Identifier: Apache-2.0 */
/* Names of shims as programs in the kernel compare them. */
#pragma once

#include "../../bpf/events_types.h"
#include "../../bpf/shim_stall.h"

/* PATTERN up to its first wildcard, or whole. */
struct shim_name shim_name_of_pattern(const char *pattern);
/* Fills NAMES of COUNT patterns (at most SHIM_NAMES_MAX); what is left matches nothing. */
void shim_names_fill(struct shim_name names[SHIM_NAMES_MAX], const char *const *patterns,
		     size_t count);
