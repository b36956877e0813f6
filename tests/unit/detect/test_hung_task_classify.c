/* SPDX-License-Identifier: Apache-2.0 */
/* What stacks wait for, and for how long that is normal. The stacks are real ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "detect/hung_task.h"

#define CLASSIFY(io_wait, ...)                                                      \
	({                                                                          \
		const char *const names_[] = {__VA_ARGS__};                         \
		struct wait_class class_;                                           \
		wait_classify(names_, ARRAY_SIZE(names_), io_wait, false, &class_); \
		class_;                                                             \
	})

static void a_writer_on_a_frozen_filesystem_waits_for_the_freeze(void **state)
{
	struct wait_class class =
		CLASSIFY(false, "__schedule+0x3cc", "schedule+0x23", "percpu_rwsem_wait+0x15f",
			 "vfs_write+0x3f0", "ksys_write+0x66");

	assert_int_equal(class.kind, WAIT_FREEZE);
	assert_string_equal(class.function, "percpu_rwsem_wait+0x15f");
	assert_false(class.percpu_other);
	class = CLASSIFY(false, "percpu_rwsem_wait+0x15f", "__percpu_down_read+0x2",
			 "cgroup_attach_lock+0x10");
	assert_true(class.percpu_other);
}

static void one_request_is_told_from_an_amount_of_io(void **state)
{
	assert_int_equal(CLASSIFY(true, "io_schedule+0x3f", "bit_wait_io+0xd", "__wait_on_bit+0x29",
				  "out_of_line_wait_on_bit+0x93", "ext4_read_bh+0x1",
				  "__ext4_find_entry+0x1")
				 .kind,
			 WAIT_IO_SINGLE);
	assert_int_equal(CLASSIFY(true, "folio_wait_bit_common+0x1", "filemap_get_pages+0x1",
				  "filemap_read+0x1")
				 .kind,
			 WAIT_IO_SINGLE);
	assert_int_equal(CLASSIFY(true, "io_schedule+0x3f", "folio_wait_bit+0xd6",
				  "folio_wait_writeback+0x2a", "__filemap_fdatawait_range+0x7c")
				 .kind,
			 WAIT_IO_BULK);
	assert_int_equal(
		CLASSIFY(false, "jbd2_log_wait_commit+0xc2", "__jbd2_journal_force_commit+0x53")
			.kind,
		WAIT_IO_BULK);
	assert_int_equal(CLASSIFY(false, "wb_wait_for_completion+0x5a", "sync_inodes_sb+0x1").kind,
			 WAIT_IO_BULK);
	assert_int_equal(CLASSIFY(true, "io_schedule+0x1", "rq_qos_wait+0x1", "wbt_wait+0x1",
				  "blk_mq_submit_bio+0x1")
				 .kind,
			 WAIT_IO_BULK);
	assert_int_equal(
		CLASSIFY(true, "submit_bio_wait+0x74", "__blkdev_direct_IO_simple+0x113").kind,
		WAIT_IO_SINGLE);
	assert_int_equal(CLASSIFY(true, "__iomap_dio_rw+0x5ea", "iomap_dio_rw+0xe",
				  "ext4_file_write_iter+0x1")
				 .kind,
			 WAIT_IO_DIRECT);
}

static void the_parent_of_a_vfork_is_no_fault(void **state)
{
	assert_int_equal(CLASSIFY(false, "schedule+0x1", "schedule_timeout+0x1",
				  "wait_for_completion_state+0x1", "kernel_clone+0x4a7",
				  "__x64_sys_vfork+0x1")
				 .kind,
			 WAIT_NORMAL);
	assert_int_equal(CLASSIFY(false, "kernel_clone+0x4a7", "__do_sys_clone+0x1").kind,
			 WAIT_NORMAL);
	/* A fork that waits for a lock does not get there. */
	assert_int_equal(CLASSIFY(false, "__mutex_lock.constprop.0+0x1", "copy_process+0x1",
				  "kernel_clone+0x1")
				 .kind,
			 WAIT_LOCK);
}

static void a_fuse_request_counts_but_a_lock_held_by_another_client_does_not(void **state)
{
	assert_int_equal(CLASSIFY(false, "request_wait_answer+0x1bb [fuse]",
				  "fuse_simple_request+0x1 [fuse]", "fuse_readahead+0x4a0 [fuse]",
				  "read_pages+0x1")
				 .kind,
			 WAIT_FUSE);
	assert_int_equal(CLASSIFY(false, "request_wait_answer+0x1bb", "__fuse_simple_request+0x1",
				  "fuse_setlk+0x1", "fuse_file_flock+0x1", "__x64_sys_flock+0x1")
				 .kind,
			 WAIT_NORMAL);
}

static void nfs_and_locks_are_known_by_their_functions(void **state)
{
	assert_int_equal(CLASSIFY(false, "rpc_wait_bit_killable+0xd [sunrpc]", "__wait_on_bit+0x1",
				  "nfs4_proc_getattr+0x1")
				 .kind,
			 WAIT_NFS);
	struct wait_class class = CLASSIFY(false, "schedule_preempt_disabled+0x1",
					   "rwsem_down_write_slowpath+0x1", "do_unlinkat+0x1");
	assert_int_equal(class.kind, WAIT_LOCK);
	assert_string_equal(class.caller, "do_unlinkat+0x1");
	assert_int_equal(CLASSIFY(false, "some_driver_wait+0x1", "kthread+0x1").kind, WAIT_UNKNOWN);
	assert_int_equal(CLASSIFY(true, "some_driver_wait+0x1", "vfs_read+0x1").kind,
			 WAIT_IO_SINGLE);
	assert_int_equal(CLASSIFY(false, "schedule+0x1", "msleep+0x1", "kthread+0x1").kind,
			 WAIT_NORMAL);
}

static void no_stack_at_all_is_an_unknown_wait(void **state)
{
	struct wait_class class;

	wait_classify(NULL, 0, false, false, &class);
	assert_int_equal(class.kind, WAIT_UNKNOWN);
	assert_string_equal(class.function, "");
}

static void a_functions_name_comes_without_offset_suffix_and_module(void **state)
{
	char text[64];

	assert_string_equal(function_name("lo_rw_aio.isra.0+0x33c [loop]", text, sizeof(text)),
			    "lo_rw_aio");
	assert_string_equal(function_name("schedule", text, sizeof(text)), "schedule");
	assert_string_equal(function_name("", text, sizeof(text)), "");
	assert_string_equal(function_name("0xffffffffc0001000", text, sizeof(text)),
			    "0xffffffffc0001000");
}

static struct wait_facts facts(enum wait_kind kind, uint64_t age_s, uint64_t threshold_s,
			       uint64_t quiet_s)
{
	return (struct wait_facts){.kind = kind,
				   .age_ns = age_s * NS_PER_S,
				   .threshold_ns = threshold_s * NS_PER_S,
				   .period_ns = 125 * NS_PER_MS,
				   .device_known = true,
				   .device_quiet_ns = quiet_s * NS_PER_S};
}

static bool stuck(enum wait_kind kind, uint64_t age_s, uint64_t threshold_s, uint64_t quiet_s)
{
	struct wait_facts all = facts(kind, age_s, threshold_s, quiet_s);

	return wait_is_stuck(&all);
}

static void nothing_is_stuck_before_the_threshold(void **state)
{
	for (int kind = WAIT_NORMAL; kind <= WAIT_UNKNOWN; kind++)
		assert_false(stuck(kind, 119, 120, 1000));
	assert_false(stuck(WAIT_NORMAL, 100000, 1, 100000));
}

static void busy_io_is_never_stuck_while_its_disk_completes_requests(void **state)
{
	assert_false(stuck(WAIT_IO_SINGLE, 4, 1, 0));
	assert_false(stuck(WAIT_IO_DIRECT, 60, 1, 1));
	assert_false(stuck(WAIT_IO_BULK, 3600, 1, 30));
	/* One request that takes half a minute is lost, whatever else the disk does. */
	assert_true(stuck(WAIT_IO_SINGLE, 30, 1, 0));
}

static void io_on_a_disk_that_completes_nothing_is_stuck(void **state)
{
	assert_false(stuck(WAIT_IO_BULK, 4, 1, 4)); /* a flush may take that long */
	assert_true(stuck(WAIT_IO_BULK, 5, 1, 5));
	assert_true(stuck(WAIT_IO_SINGLE, 120, 120, 0));
	struct wait_facts suspended = facts(WAIT_IO_BULK, 1, 1, 0);
	suspended.device_suspended = true;
	assert_true(wait_is_stuck(&suspended));
	struct wait_facts loop = facts(WAIT_IO_SINGLE, 9, 1, 9);
	loop.device_stacked = true;
	assert_false(wait_is_stuck(&loop));
	loop.age_ns = loop.device_quiet_ns = 10 * NS_PER_S;
	assert_true(wait_is_stuck(&loop));
}

static void locks_and_servers_get_more_time_than_a_short_threshold(void **state)
{
	assert_false(stuck(WAIT_LOCK, 29, 1, 0));
	assert_true(stuck(WAIT_LOCK, 30, 1, 0));
	assert_true(stuck(WAIT_FREEZE, 1, 1, 0));
	assert_true(stuck(WAIT_FUSE, 5, 1, 0));
	assert_true(stuck(WAIT_NFS, 10, 1, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_writer_on_a_frozen_filesystem_waits_for_the_freeze),
		cmocka_unit_test(one_request_is_told_from_an_amount_of_io),
		cmocka_unit_test(the_parent_of_a_vfork_is_no_fault),
		cmocka_unit_test(a_fuse_request_counts_but_a_lock_held_by_another_client_does_not),
		cmocka_unit_test(nfs_and_locks_are_known_by_their_functions),
		cmocka_unit_test(no_stack_at_all_is_an_unknown_wait),
		cmocka_unit_test(a_functions_name_comes_without_offset_suffix_and_module),
		cmocka_unit_test(nothing_is_stuck_before_the_threshold),
		cmocka_unit_test(busy_io_is_never_stuck_while_its_disk_completes_requests),
		cmocka_unit_test(io_on_a_disk_that_completes_nothing_is_stuck),
		cmocka_unit_test(locks_and_servers_get_more_time_than_a_short_threshold),
	};

	return cmocka_run_group_tests_name("hung_task_classify", tests, NULL, NULL);
}
