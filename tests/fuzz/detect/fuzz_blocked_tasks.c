/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of the records that hung_task's iterator writes, and of what becomes of them over several
 * looks. An input is a row of steps, each a letter and what follows it:
 *   b, h    a task that waits: its age, its length in two bytes, and what it holds behind its header; h:
 *           the first half alone
 *   f       a file system that is frozen, in the same form
 *   e       the look is over; as many looks more, ten seconds apart, see the same (one byte)
 *   n       nobody of those so far is seen any more
 *   x       any bytes as records, their length first
 * No record is read beyond its end, and a finding is one that can be told.
 */
#include "../iterator_target.h"

#include "detect/hung_task.c"

#define SEEN_MAX 24
#define KERNEL UINT64_C(0xffffffff81000000)
#define FUNCTION_BYTES 0x100

/* On the kernel's stacks, each of them at its place in this list. */
static const char *const functions[] = {"schedule",
					"io_schedule",
					"schedule_timeout",
					"submit_bio_wait",
					"blkdev_direct_IO",
					"folio_wait_bit_common",
					"wait_on_buffer",
					"percpu_rwsem_wait",
					"mutex_lock",
					"__mutex_lock",
					"rwsem_down_read_slowpath",
					"rwsem_down_write_slowpath",
					"down",
					"request_wait_answer",
					"rpc_wait_bit_killable",
					"nfs_wait_bit_killable",
					"jbd2_log_wait_commit",
					"sync_inodes_sb",
					"writeback_inodes_sb",
					"xfs_log_force",
					"do_coredump",
					"wait_for_completion",
					"msleep",
					"__refrigerator",
					"kthread",
					"do_syscall_64",
					"ksys_write",
					"vfs_write",
					"ext4_file_write_iter",
					"sb_start_write",
					"mnt_want_write",
					"path_openat",
					"do_sys_openat2",
					"down_read",
					"down_write",
					"wait_on_page_writeback",
					"balance_dirty_pages",
					"blk_mq_get_tag",
					"__sched_text_start",
					"__sched_text_end"};

static struct hung_task state;
static struct hung_task_settings settings = {.threshold = 6 * NS_PER_S, .kernel_threads = true};

/* What a look sees, and those after it again. */
static struct {
	size_t size;
	char record[sizeof(struct blocked_task_event)];
} seen[SEEN_MAX];
static size_t seen_count;

static void write_symbols(void)
{
	_cleanup_buffer_ struct buffer text = BUFFER(MIB);

	for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
		claim(buffer_printf(&text, "%016" PRIx64 " T %s\n", KERNEL + i * FUNCTION_BYTES,
				    functions[i]) == 0,
		      "there is memory");
	fuzz_root_write("/proc/kallsyms", text.data, text.length);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	/* 8:0 has a request under way that never ends, 8:16 has none. */
	static const char stuck[] = "5 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0 0\n",
			  idle[] = "5 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

	fuzz_root_begin();
	fuzz_root_folder("/proc/sys/kernel");
	fuzz_root_folder("/sys/block/sda");
	fuzz_root_folder("/sys/block/sdb");
	fuzz_root_write("/sys/block/sda/dev", "8:0\n", 4);
	fuzz_root_write("/sys/block/sda/stat", stuck, strlen(stuck));
	fuzz_root_write("/sys/block/sdb/dev", "8:16\n", 5);
	fuzz_root_write("/sys/block/sdb/stat", idle, strlen(idle));
	write_symbols();
	fuzz_detect_begin("hung_task", &settings, &state);
	return 0;
}

static void look_once(void)
{
	groups_begin(state.groups);
	for (size_t i = 0; i < seen_count; i++)
		fuzz_take(take_record, &state, seen[i].record, seen[i].size);
	groups_end(state.groups, fuzz_now_ns, true, true);
	fuzz_now_ns += 10 * NS_PER_S;
}

/* Small numbers are functions. */
static void name_addresses(__u64 *stack, size_t depth)
{
	for (size_t i = 0; i < depth; i++)
		if (stack[i] < 0x10000)
			stack[i] =
				KERNEL + stack[i] % ARRAY_SIZE(functions) * FUNCTION_BYTES + 0x5a;
}

static void see_task(struct fuzz_input *input, size_t size)
{
	struct blocked_task_event event;

	fuzz_record(input, &event, sizeof(event), EVENT_BLOCKED_TASK);
	event.header.size = (uint32_t)size;
	/* The kernel tells of none that has not waited. */
	if (event.since_boot_ns < NS_PER_S)
		event.since_boot_ns = fuzz_now_ns;
	name_addresses(event.scheduler_stack, EVENT_SCHEDULER_DEPTH);
	name_addresses(event.stack, EVENT_STACK_DEPTH);
	if (seen_count == SEEN_MAX)
		return;
	memcpy(seen[seen_count].record, &event, size);
	seen[seen_count++].size = size;
}

static void see_frozen(struct fuzz_input *input)
{
	struct frozen_filesystem_event event;

	fuzz_record(input, &event, sizeof(event), EVENT_FROZEN_FILESYSTEM);
	if (seen_count == SEEN_MAX)
		return;
	memcpy(seen[seen_count].record, &event, sizeof(event));
	seen[seen_count++].size = sizeof(event);
}

static void see_raw(struct fuzz_input *input)
{
	char records[256];
	size_t size = fuzz_byte(input);

	fuzz_bytes(input, records, size);
	fuzz_take(take_record, &state, records, size);
}

static void step(struct fuzz_input *input)
{
	switch (fuzz_byte(input)) {
	case 'b':
		see_task(input, sizeof(struct blocked_task_event));
		break;
	case 'h':
		see_task(input, BLOCKED_TASK_FIRST_HALF);
		break;
	case 'f':
		see_frozen(input);
		break;
	case 'x':
		see_raw(input);
		break;
	case 'n':
		seen_count = 0;
		break;
	case 'e':
		for (size_t looks = fuzz_byte(input) % 16 + 1; looks > 0; looks--)
			look_once();
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};

	fuzz_now_ns = 100000 * NS_PER_S;
	seen_count = 0;
	state = (struct hung_task){};
	claim(start_groups(&fuzz_slot.run, true, PERIOD_MIN_NS) == 0, "there is memory");
	for (size_t steps = 0; input.size && steps < 64; steps++)
		step(&input);
	look_once();
	groups_free(state.groups);
	return 0;
}
