// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The maps that all detectors share, and no program: made once, with their types, and pinned so that
 * they outlive the agent.
 */
#include "generation.bpf.h"
#include "shared.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct agent_record);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} agent SEC(".maps");
