// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Lines of the kernel's log, told while they are written: before the log can wrap, whatever the
 * console's level, in whatever context (interrupts and NMIs too).
 *
 * Of a hundred thousand lines a second few matter, so what is sent is chosen here: lines that
 * have the needles of one of the agent's rules. One pass over the line shifts its bytes through a
 * window, whose hash is looked up in a filter that fits a cache, and in the map only where that
 * says yes.
 *
 * The tracepoint is called for each record as it is stored since Linux 5.19; before, it was where
 * consoles were written ("printk, tracing: fix console tracepoint"), with lines left out. The
 * agent does not use it there.
 */
#include "generation.bpf.h"

#include "kernel_log.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set before loading. */
const volatile __u64 needle_filter[NEEDLE_WORDS];
/* The code that writes of programs to /dev/kmsg pass through; all 0: not known. */
const volatile struct kernel_code program_code[PROGRAM_CODE_COUNT];

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, NEEDLES_MAX);
	__type(key, __u64);
	__type(value, struct needle_rules);
} needles SEC(".maps");

struct kernel_line_scratch {
	struct kernel_line_event event;
	__u64 stack[KERNEL_LINE_STACK_DEPTH];
};

/* The kernel runs a program once at a time on a CPU (6.1), so that an NMI cannot get in between. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kernel_line_scratch);
} kernel_line_scratch SEC(".maps");

/* The second that is counted in, and lines sent in it. Two CPUs may get it wrong by some. */
static __u64 second, lines;

/* Whether the line has both needles of some rule. */
static __always_inline bool has_needles(const struct kernel_line_event *event, __u32 length)
{
	struct needle_rules seen = {};
	__u64 window = '\n';

	for (__u32 i = 0; i <= KERNEL_LINE_SIZE; i++) {
		struct needle_rules *rules;
		__u64 byte;
		__u32 hash;

		if (i > length)
			break;
		byte = i < length ? (__u8)event->text[i & (KERNEL_LINE_SIZE - 1)] : '\n';
		window = (window << 8 | byte) & NEEDLE_MASK;
		hash = needle_hash(window);
		if (!(needle_filter[hash / 64 & (NEEDLE_WORDS - 1)] >> (hash % 64) & 1))
			continue;
		rules = bpf_map_lookup_elem(&needles, &window);
		if (!rules)
			continue;
		for (int j = 0; j < NEEDLE_RULES_MAX / 64; j++) {
			seen.first[j] |= rules->first[j];
			seen.second[j] |= rules->second[j];
			if (seen.first[j] & seen.second[j])
				return true;
		}
	}
	return false;
}

static __always_inline bool is_program_code(__u64 address)
{
	/* Return addresses: behind the first byte, and perhaps at the end. */
	for (__u32 i = 0; i < PROGRAM_CODE_COUNT; i++)
		if (address > program_code[i].start && address <= program_code[i].end)
			return true;
	return false;
}

static __always_inline __u32 origin(void *ctx, struct kernel_line_scratch *scratch)
{
	long bytes;

	if (!program_code[0].start)
		return 0;
	bytes = bpf_get_stack(ctx, scratch->stack, sizeof(scratch->stack), 0);
	if (bytes <= 0)
		return 0;
	for (__u32 i = 0; i < KERNEL_LINE_STACK_DEPTH; i++) {
		if (i * sizeof(__u64) >= (__u64)bytes)
			break;
		if (is_program_code(scratch->stack[i]))
			return KERNEL_LINE_PROGRAM;
	}
	return KERNEL_LINE_KERNEL;
}

static __always_inline bool over_the_rate(__u64 boot_ns)
{
	__u64 now = boot_ns / 1000000000;

	if (second != now) {
		second = now;
		lines = 0;
	}
	return __sync_fetch_and_add(&lines, 1) >= KERNEL_LINES_A_SECOND;
}

SEC("tp_btf/console")
int BPF_PROG(kernel_line, const char *text, size_t length)
{
	__u32 zero = 0, size = length < KERNEL_LINE_SIZE ? length : KERNEL_LINE_SIZE;
	struct kernel_line_scratch *scratch = bpf_map_lookup_elem(&kernel_line_scratch, &zero);
	struct kernel_line_event *event;

	if (!scratch)
		return 0;
	event = &scratch->event;
	barrier_var(size);
	if (size > KERNEL_LINE_SIZE || bpf_probe_read_kernel(event->text, size, text) < 0 ||
	    !has_needles(event, size) || !is_current(EVENT_KERNEL_LINE))
		return 0;
	event_fill_header(&event->header, EVENT_KERNEL_LINE,
			  sizeof(*event) - KERNEL_LINE_SIZE + size);
	if (over_the_rate(event->header.boot_ns)) {
		event_count_lost(EVENT_KERNEL_LINE);
		return 0;
	}
	event->length = size;
	event->flags = origin(ctx, scratch) | (length > KERNEL_LINE_SIZE ? KERNEL_LINE_CUT : 0);
	barrier_var(size);
	if (size <= KERNEL_LINE_SIZE &&
	    bpf_ringbuf_output(&events, event, sizeof(*event) - KERNEL_LINE_SIZE + size,
			       BPF_RB_FORCE_WAKEUP) < 0)
		event_count_lost(EVENT_KERNEL_LINE);
	return 0;
}
