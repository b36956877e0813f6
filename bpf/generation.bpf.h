/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How one agent's programs take over from another's without a gap and without telling a thing twice.
 * What is attached stays so when the agent is gone. The next agent attaches its own programs beside
 * them, which are silent at first, and then writes their generation into `generations`: with that one
 * store the new ones speak and the old ones are silent.
 *
 * For programs that write to the ring: each asks is_current() once, before anything else that lasts.
 */
#pragma once

#include "common.bpf.h"

/* The generation whose programs may send records of a type. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, EVENT_TYPE_COUNT);
	__type(key, __u32); /* enum event_type */
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} generations SEC(".maps");

/* This program's own, set before loading. */
const volatile __u64 generation SEC(".rodata.generation") = 0;

static __always_inline bool is_current(__u32 type)
{
	__u64 *current = bpf_map_lookup_elem(&generations, &type);

	return current && *current == generation;
}
