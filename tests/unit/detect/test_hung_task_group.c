/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is told of, when, and under which subject: looks made up by hand, with a clock of the test's
 * own.
 */
#include "../host/fake_root.h"

#include "detect/hung_task.h"

#define THRESHOLD_S 2
#define TOLD_MAX 64

struct told {
	char subject[128], kind[32];
	size_t tasks, via_lock;
	bool cleared, kernel_threads;
};

struct fixture {
	struct fake_root *root;
	struct groups *groups;
	struct told told[TOLD_MAX];
	size_t count;
	uint64_t now_s;
	unsigned completed;
};

static void on_report(void *userdata, struct group *group, struct waiter *const *waiters,
		      size_t count, bool cleared, uint64_t now_ns)
{
	struct fixture *fixture = userdata;
	struct told *told = &fixture->told[fixture->count++];

	assert_in_range(fixture->count, 1, TOLD_MAX);
	snprintf(told->subject, sizeof(told->subject), "%s", group->subject);
	snprintf(told->kind, sizeof(told->kind), "%s", group->kind);
	told->tasks = count;
	told->cleared = cleared;
	told->kernel_threads = group->kernel_threads;
	for (size_t i = 0; i < count; i++)
		told->via_lock += waiters[i]->via_lock;
	for (size_t i = 1; i < count; i++)
		assert_true(waiters[i - 1]->event.since_boot_ns <= waiters[i]->event.since_boot_ns);
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	void *root;

	fake_root_setup(&root);
	fixture->root = root;
	fixture->now_s = 1000;
	fake_file(root, "sys/block/loop0/dev", "7:0\n");
	fake_file(root, "sys/block/sda/dev", "8:0\n");
	fake_folder(root, "sys/dev/block");
	fake_link(root, "sys/dev/block/7:0", "../../block/loop0");
	fake_link(root, "sys/dev/block/8:0", "../../block/sda");
	fake_file(root, "proc/kallsyms",
		  "ffffffff81001000 t percpu_rwsem_wait\nffffffff81002000 t "
		  "vfs_write\nffffffff81003000 t bit_wait_io\n"
		  "ffffffff81004000 t rwsem_down_write_slowpath\nffffffff81005000 t do_unlinkat\n"
		  "ffffffff81006000 t request_wait_answer\nffffffff81007000 t "
		  "jbd2_log_wait_commit\n");
	struct groups_options options = {.host = fixture->root->host,
					 .threshold_ns = THRESHOLD_S * NS_PER_S,
					 .period_ns = NS_PER_S / 4,
					 .iterator = true,
					 .report = on_report,
					 .userdata = fixture};
	fixture->groups = groups_new(&options);
	assert_non_null(fixture->groups);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;
	void *root = fixture->root;

	groups_free(fixture->groups);
	fake_root_teardown(&root);
	free(fixture);
	return 0;
}

enum {
	AT_FREEZE = 0x1000,
	AT_WRITE = 0x2000,
	AT_IO = 0x3000,
	AT_LOCK = 0x4000,
	AT_UNLINK = 0x5000,
	AT_FUSE = 0x6000,
	AT_COMMIT = 0x7000
};

static struct blocked_task_event blocked(const struct fixture *fixture, uint32_t pid,
					 uint64_t age_s, unsigned inner, unsigned outer)
{
	return (struct blocked_task_event){
		.header = {.type = EVENT_BLOCKED_TASK,
			   .version = EVENTS_VERSION,
			   .size = sizeof(struct blocked_task_event)},
		.task = {.pid = pid, .tgid = pid, .start_boot_ns = 10 * NS_PER_S, .comm = "worker"},
		.since_boot_ns = (fixture->now_s - age_s) * NS_PER_S,
		.state = 2,
		.flags = BLOCKED_DETAILED | (inner == AT_IO ? BLOCKED_IO_WAIT : 0),
		.syscall = -1,
		.fd = -1,
		.stack_depth = 2,
		.stack = {0xffffffff81000010 + inner, 0xffffffff81000010 + outer}};
}

static struct event_filesystem filesystem(unsigned major, unsigned minor, unsigned level)
{
	return (struct event_filesystem){.known = 1,
					 .major = major,
					 .minor = minor,
					 .device_major = major,
					 .device_minor = minor,
					 .freeze_level = level,
					 .id = "loop0",
					 .type = "ext4"};
}

static void begin(struct fixture *fixture)
{
	groups_begin(fixture->groups);
}

static void end(struct fixture *fixture)
{
	groups_end(fixture->groups, fixture->now_s * NS_PER_S, true, true);
	fixture->now_s++;
}

/* The disks' counters as they are from now on. */
static void disks(struct fixture *fixture, unsigned sda, unsigned loop0)
{
	fake_file(fixture->root, "sys/block/sda/stat", "%u 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0 0\n", sda);
	fake_file(fixture->root, "sys/block/loop0/stat", "%u 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0 0\n",
		  loop0);
}

static void writers_of_one_frozen_filesystem_are_one_group_until_the_last_moves_on(void **state)
{
	struct fixture *fixture = *state;
	struct event_filesystem frozen = filesystem(7, 0, 4);

	for (int look = 0; look < 3; look++) {
		begin(fixture);
		for (uint32_t pid = 100; pid < 103; pid++) {
			struct blocked_task_event event =
				blocked(fixture, pid, 3 + (unsigned)look, AT_FREEZE, AT_WRITE);

			if (look < 2 || pid != 100) /* the first is gone at the last look */
				groups_see_task(fixture->groups, &event, NULL);
		}
		groups_see_frozen(fixture->groups, &frozen);
		end(fixture);
	}
	assert_int_equal(fixture->count, 1);
	assert_string_equal(fixture->told[0].subject, "frozen filesystem ext4 on loop0 (7:0)");
	assert_string_equal(fixture->told[0].kind, "frozen-filesystem");
	assert_int_equal(fixture->told[0].tasks, 3);
	begin(fixture);
	end(fixture);
	assert_int_equal(fixture->count, 2);
	assert_true(fixture->told[1].cleared);
	assert_string_equal(fixture->told[1].subject, fixture->told[0].subject);
	begin(fixture);
	end(fixture);
	assert_int_equal(fixture->count, 2);
}

static void of_two_frozen_filesystems_the_one_on_the_stack_is_taken_or_none(void **state)
{
	struct fixture *fixture = *state;
	struct event_filesystem one = filesystem(7, 0, 4), two = filesystem(8, 0, 4);
	struct blocked_task_event known = blocked(fixture, 100, 3, AT_FREEZE, AT_WRITE),
				  unknown = blocked(fixture, 101, 3, AT_FREEZE, AT_WRITE);

	known.frozen_filesystem = two;
	begin(fixture);
	groups_see_task(fixture->groups, &known, NULL);
	groups_see_task(fixture->groups, &unknown, NULL);
	groups_see_frozen(fixture->groups, &one);
	groups_see_frozen(fixture->groups, &two);
	groups_see_frozen(fixture->groups, &two);
	end(fixture);
	assert_int_equal(fixture->count, 2);
	size_t count;
	groups_frozen(fixture->groups, &count);
	assert_int_equal(count, 2);
	for (size_t i = 0; i < 2; i++)
		assert_true(
			streq(fixture->told[i].subject, "frozen filesystem ext4 on loop0 (8:0)") ||
			streq(fixture->told[i].subject,
			      "a frozen filesystem, which of several is not known"));
	assert_string_not_equal(fixture->told[0].subject, fixture->told[1].subject);
}

static void a_lock_whose_owner_is_stuck_joins_the_owners_group(void **state)
{
	struct fixture *fixture = *state;
	struct event_filesystem frozen = filesystem(7, 0, 4);
	struct blocked_task_event owner = blocked(fixture, 100, 3, AT_FREEZE, AT_WRITE);
	struct blocked_task_event second = blocked(fixture, 50, 3, AT_LOCK, AT_UNLINK),
				  third = blocked(fixture, 40, 2, AT_LOCK, AT_UNLINK);

	second.lock = 0xffff888000001000;
	second.owner_pid = second.owner_tgid = 100;
	second.owner_start_boot_ns = owner.task.start_boot_ns;
	third.lock = 0xffff888000002000; /* held by the second: a chain */
	third.owner_pid = third.owner_tgid = 50;
	third.owner_start_boot_ns = second.task.start_boot_ns;
	begin(fixture);
	groups_see_task(fixture->groups, &third, NULL);
	groups_see_task(fixture->groups, &second, NULL);
	groups_see_task(fixture->groups, &owner, NULL);
	groups_see_frozen(fixture->groups, &frozen);
	end(fixture);
	assert_int_equal(fixture->count, 1);
	assert_int_equal(fixture->told[0].tasks, 3);
	assert_int_equal(fixture->told[0].via_lock, 2);
}

static void a_lock_whose_owner_is_alive_is_told_after_half_a_minute(void **state)
{
	struct fixture *fixture = *state;

	fake_process(fixture->root, 77, 1, "mysqld", 'R', 1000, false);
	for (unsigned age = 2; age <= 31; age++) {
		struct blocked_task_event event = blocked(fixture, 50, age, AT_LOCK, AT_UNLINK);

		event.lock = 0xffff888000001000;
		event.owner_pid = event.owner_tgid = 77;
		event.owner_start_boot_ns = 10 * NS_PER_S;
		snprintf(event.owner_comm, sizeof(event.owner_comm), "mysqld");
		begin(fixture);
		groups_see_task(fixture->groups, &event, NULL);
		end(fixture);
		assert_int_equal(fixture->count, age >= 30);
	}
	assert_string_equal(fixture->told[0].subject, "lock held by mysqld[77:1000]");
}

static void io_is_told_only_when_its_own_disk_completes_nothing(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned age = 0; age <= 12; age++) {
		struct blocked_task_event busy = blocked(fixture, 60, age, AT_IO, AT_WRITE),
					  hung = blocked(fixture, 61, age, AT_IO, AT_WRITE);

		busy.file_filesystem = filesystem(8, 0, 0);
		hung.file_filesystem = filesystem(7, 0, 0);
		disks(fixture, age, 5);
		begin(fixture);
		groups_see_task(fixture->groups, &busy, NULL);
		groups_see_task(fixture->groups, &hung, NULL);
		end(fixture);
	}
	assert_int_equal(fixture->count, 1);
	assert_string_equal(fixture->told[0].subject, "I/O on loop0 (7:0)");
	assert_int_equal(fixture->told[0].tasks, 1);
}

static void io_on_an_unknown_disk_is_not_told_while_any_disk_works(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned age = 0; age <= 20; age++) {
		struct blocked_task_event event = blocked(fixture, 60, age, AT_IO, AT_WRITE);

		disks(fixture, age, 5);
		begin(fixture);
		groups_see_task(fixture->groups, &event, NULL);
		end(fixture);
	}
	assert_int_equal(fixture->count, 0);
}

static void a_journal_waiter_on_a_frozen_filesystem_belongs_to_the_freeze(void **state)
{
	struct fixture *fixture = *state;
	struct blocked_task_event event = blocked(fixture, 60, 3, AT_COMMIT, AT_WRITE);

	event.file_filesystem = filesystem(7, 0, 4);
	disks(fixture, 1, 1);
	begin(fixture);
	groups_see_task(fixture->groups, &event, NULL);
	end(fixture);
	assert_int_equal(fixture->count, 1);
	assert_string_equal(fixture->told[0].kind, "frozen-filesystem");
}

static void kernel_threads_are_a_group_of_their_own(void **state)
{
	struct fixture *fixture = *state;
	struct event_filesystem frozen = filesystem(7, 0, 4);
	struct blocked_task_event user = blocked(fixture, 60, 3, AT_FREEZE, AT_WRITE),
				  kernel = blocked(fixture, 61, 3, AT_FREEZE, AT_WRITE);

	kernel.flags |= BLOCKED_KERNEL_THREAD;
	begin(fixture);
	groups_see_task(fixture->groups, &user, NULL);
	groups_see_task(fixture->groups, &kernel, NULL);
	groups_see_frozen(fixture->groups, &frozen);
	end(fixture);
	assert_int_equal(fixture->count, 2);
	const struct told *own =
		fixture->told[0].kernel_threads ? &fixture->told[0] : &fixture->told[1];
	assert_string_equal(own->subject, "kernel threads: frozen filesystem ext4 on loop0 (7:0)");
}

static void a_group_is_told_again_only_when_it_doubles_or_after_long(void **state)
{
	struct fixture *fixture = *state;
	struct event_filesystem frozen = filesystem(7, 0, 4);
	uint64_t begin_s = fixture->now_s;

	/*
	 * One waiter, then two, three, and four: told at one, two and four; and after ten
	 * thresholds.
	 */
	for (unsigned look = 0; look < 30; look++) {
		begin(fixture);
		for (uint32_t pid = 0; pid < MIN(look / 2 + 1, 4u); pid++) {
			struct blocked_task_event event =
				blocked(fixture, 100 + pid, 0, AT_FREEZE, AT_WRITE);

			event.since_boot_ns = (begin_s - 3) * NS_PER_S;
			groups_see_task(fixture->groups, &event, NULL);
		}
		groups_see_frozen(fixture->groups, &frozen);
		end(fixture);
	}
	assert_int_equal(fixture->count, 4);
	assert_int_equal(fixture->told[0].tasks, 1);
	assert_int_equal(fixture->told[1].tasks, 2);
	assert_int_equal(fixture->told[2].tasks, 4);
	assert_int_equal(fixture->told[3].tasks, 4);
}

static void a_look_that_fails_clears_nobody(void **state)
{
	struct fixture *fixture = *state;
	struct event_filesystem frozen = filesystem(7, 0, 4);
	struct blocked_task_event event = blocked(fixture, 60, 3, AT_FREEZE, AT_WRITE);

	begin(fixture);
	groups_see_task(fixture->groups, &event, NULL);
	groups_see_frozen(fixture->groups, &frozen);
	end(fixture);
	begin(fixture);
	groups_abandon(fixture->groups);
	end(fixture);
	assert_int_equal(fixture->count, 1);
	assert_int_equal(groups_waiters(fixture->groups), 1);
}

static void a_short_record_of_a_wait_that_is_not_known_is_passed_over(void **state)
{
	struct fixture *fixture = *state;
	struct blocked_task_event event = blocked(fixture, 60, 3, AT_FREEZE, AT_WRITE);

	event.flags &= ~(uint32_t)BLOCKED_DETAILED;
	begin(fixture);
	groups_see_task(fixture->groups, &event, NULL);
	end(fixture);
	assert_int_equal(groups_waiters(fixture->groups), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(writers_of_one_frozen_filesystem_are_one_group_until_the_last_moves_on),
		TEST(of_two_frozen_filesystems_the_one_on_the_stack_is_taken_or_none),
		TEST(a_lock_whose_owner_is_stuck_joins_the_owners_group),
		TEST(a_lock_whose_owner_is_alive_is_told_after_half_a_minute),
		TEST(io_is_told_only_when_its_own_disk_completes_nothing),
		TEST(io_on_an_unknown_disk_is_not_told_while_any_disk_works),
		TEST(a_journal_waiter_on_a_frozen_filesystem_belongs_to_the_freeze),
		TEST(kernel_threads_are_a_group_of_their_own),
		TEST(a_group_is_told_again_only_when_it_doubles_or_after_long),
		TEST(a_look_that_fails_clears_nobody),
		TEST(a_short_record_of_a_wait_that_is_not_known_is_passed_over),
	};

	return cmocka_run_group_tests_name("hung_task_group", tests, NULL, NULL);
}
