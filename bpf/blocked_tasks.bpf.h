/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The waits that hung_task.bpf.c follows, which the tables of triage.bpf.c read. */
#pragma once

#include "common.bpf.h"
#include "hung_task.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BLOCKED_TASKS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32); /* thread id */
	__type(value, struct blocked_wait);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} blocked_tasks SEC(".maps");
