/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Keeps a CPU busy inside the kernel for as many nanoseconds as asked: a soft lockup and a stall of
 * RCU, for guests that are made for it. Takes bpf_loop (Linux 5.17).
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

unsigned long long busy_ns;

struct until {
	unsigned long long ns;
};

static long idle(unsigned int index, void *context)
{
	return 0;
}

static long round(unsigned int index, void *context)
{
	struct until *until = context;

	bpf_loop(1 << 10, idle, context, 0);
	return bpf_ktime_get_ns() > until->ns;
}

static long many_rounds(unsigned int index, void *context)
{
	struct until *until = context;

	bpf_loop(1 << 20, round, context, 0);
	return bpf_ktime_get_ns() > until->ns;
}

SEC("raw_tp")
int busy(void *context)
{
	struct until until = {bpf_ktime_get_ns() + busy_ns};

	bpf_loop(1 << 20, many_rounds, &until, 0);
	return 0;
}
