/* SPDX-License-Identifier: Apache-2.0 */
/* Who reclaims for how long, what the counters of limits say, and which of that is a stall. */
#include "../host/fake_root.h"

#include "detect/memory_stall.h"

#define SLOT_NS NS_PER_S
#define WINDOW_NS (STALL_SLOTS * SLOT_NS)
#define GROUP "sys/fs/cgroup/memory/web"

/* --- Tasks --- */

static struct reclaiming_task task_in(uint64_t group, uint64_t total_ns, uint64_t since_ns,
				      uint64_t reclaims)
{
	return (struct reclaiming_task){.start_boot_ns = 7,
					.group = {.cgroup_id = group, .hierarchy = 4},
					.total_ns = total_ns,
					.since_ns = since_ns,
					.reclaims = reclaims};
}

static void see(struct stall_tasks *tasks, uint32_t pid, struct reclaiming_task seen)
{
	assert_int_equal(stall_tasks_see(tasks, pid, &seen), 0);
}

static void what_a_task_spends_within_the_window_counts_and_older_does_not(void **state)
{
	struct stall_tasks tasks = {};

	for (unsigned i = 1; i <= 30; i++) {
		/* Half of each second, and nothing after 20 s. */
		uint64_t busy = MIN(i, 20u);

		stall_tasks_begin(&tasks, i * SLOT_NS);
		see(&tasks, 1, task_in(5, busy * SLOT_NS / 2, 0, busy * 100));
		if (i == 20) {
			assert_int_equal(stall_share_ns(&tasks.tasks[0].share), WINDOW_NS / 2);
			assert_int_equal(stall_share_reclaims(&tasks.tasks[0].share), 1000);
		}
		if (i == 25)
			assert_int_equal(stall_share_ns(&tasks.groups[0].all), WINDOW_NS / 4);
	}
	assert_int_equal(stall_share_ns(&tasks.tasks[0].share), 0);
	assert_int_equal(stall_share_reclaims(&tasks.groups[0].all), 0);
	stall_tasks_clear(&tasks);
}

static void a_reclaim_that_does_not_end_counts_all_the_time_and_once(void **state)
{
	struct stall_tasks tasks = {};

	for (unsigned i = 1; i <= 20; i++) {
		stall_tasks_begin(&tasks, i * SLOT_NS);
		see(&tasks, 1, task_in(5, 0, SLOT_NS / 2, 0));
		assert_int_equal(stall_share_ns(&tasks.tasks[0].share),
				 MIN(i * SLOT_NS - SLOT_NS / 2, WINDOW_NS));
	}
	/* It ends, and another one is under way: nothing of the first is counted again. */
	stall_tasks_begin(&tasks, 21 * SLOT_NS);
	see(&tasks, 1, task_in(5, 20 * SLOT_NS, 0, 1));
	assert_int_equal(stall_share_ns(&tasks.tasks[0].share), 9 * SLOT_NS + SLOT_NS / 2);
	stall_tasks_clear(&tasks);
}

static void threads_that_have_ended_count_as_their_group(void **state)
{
	struct stall_tasks tasks = {};

	for (unsigned i = 1; i <= 8; i++) {
		stall_tasks_begin(&tasks, i * SLOT_NS);
		see(&tasks, i, task_in(5, SLOT_NS / 2, 0, 10));
		stall_tasks_end(&tasks, 0);
	}
	assert_int_equal(tasks.count, 0);
	assert_int_equal(stall_share_ns(&tasks.groups[0].gone), 4 * SLOT_NS);
	assert_int_equal(stall_share_ns(&tasks.groups[0].all), 4 * SLOT_NS);
	assert_int_equal(stall_tasks_idle_group(&tasks), -1);
	for (unsigned i = 9; i <= 18; i++)
		stall_tasks_begin(&tasks, i * SLOT_NS);
	assert_int_equal(stall_tasks_idle_group(&tasks), 0);
	stall_tasks_forget_group(&tasks, 0);
	assert_int_equal(tasks.group_count, 0);
	stall_tasks_clear(&tasks);
}

static void a_pid_that_is_used_again_is_another_thread(void **state)
{
	struct stall_tasks tasks = {};
	struct reclaiming_task other = task_in(6, SLOT_NS / 4, 0, 3);

	other.start_boot_ns = 8;
	stall_tasks_begin(&tasks, SLOT_NS);
	see(&tasks, 1, task_in(5, SLOT_NS / 2, 0, 10));
	stall_tasks_begin(&tasks, 2 * SLOT_NS);
	see(&tasks, 1, other);
	assert_int_equal(tasks.count, 1);
	assert_int_equal(stall_share_ns(&tasks.tasks[0].share), SLOT_NS / 4);
	assert_int_equal(stall_share_reclaims(&tasks.tasks[0].share), 3);
	assert_int_equal(stall_share_ns(&tasks.groups[0].gone), SLOT_NS / 2);
	assert_int_equal(tasks.groups[0].tasks, 0);
	assert_int_equal(tasks.groups[1].tasks, 1);
	stall_tasks_clear(&tasks);
}

static void a_thread_that_moves_counts_where_it_is(void **state)
{
	struct stall_tasks tasks = {};

	stall_tasks_begin(&tasks, SLOT_NS);
	see(&tasks, 1, task_in(5, SLOT_NS / 2, 0, 10));
	stall_tasks_begin(&tasks, 2 * SLOT_NS);
	see(&tasks, 1, task_in(6, SLOT_NS, 0, 20));
	assert_int_equal(stall_share_ns(&tasks.groups[0].all), SLOT_NS / 2);
	assert_int_equal(stall_share_ns(&tasks.groups[1].all), SLOT_NS / 2);
	assert_int_equal(tasks.groups[0].tasks, 0);
	assert_int_equal(tasks.groups[1].tasks, 1);
	stall_tasks_clear(&tasks);
}

/* --- Limits --- */

static void the_files_of_v1_are_read(void **state)
{
	struct fake_root *root = *state;
	struct limit_counters counters;

	fake_file(root, "proc/1/mountinfo",
		  "30 20 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
	fake_file(root, GROUP "/memory.usage_in_bytes", "19000000\n");
	fake_file(root, GROUP "/memory.limit_in_bytes", "20000000\n");
	fake_file(root, GROUP "/memory.failcnt", "55\n");
	fake_file(root, GROUP "/memory.kmem.usage_in_bytes", "4096\n");
	fake_file(root, GROUP "/memory.stat",
		  "cache 1\nrss 2\nworkingset_refault_anon 1\nworkingset_refault_file 2\n"
		  "total_cache 9000000\ntotal_rss 8000000\ntotal_shmem 1000000\n"
		  "total_pgmajfault 12\ntotal_dirty 3\ntotal_writeback 4\n"
		  "total_workingset_refault_anon 30\ntotal_workingset_refault_file 400\n");
	assert_int_equal(limit_counters_read(root->host, "/web", &counters), 0);
	assert_true(limit_counters_limited(&counters) && counters.version == CGROUP_V1);
	assert_int_equal(counters.usage_bytes, 19000000);
	assert_int_equal(counters.limit_bytes, 20000000);
	assert_int_equal(counters.high_bytes, UINT64_MAX);
	assert_int_equal(counters.limit_hits, 55);
	assert_true(counters.refaults_known && !counters.pressure_known);
	assert_int_equal(counters.file_refaults, 400);
	assert_int_equal(counters.anon_refaults, 30);
	assert_int_equal(counters.major_faults, 12);
	assert_int_equal(counters.anon_bytes, 8000000);
	assert_int_equal(counters.file_bytes, 8000000);
	assert_int_equal(counters.dirty_bytes, 3);
	assert_int_equal(counters.writeback_bytes, 4);
	assert_int_equal(counters.kernel_bytes, 4096);
	/* What v1 shows where there is no limit. */
	fake_file(root, GROUP "/memory.limit_in_bytes", "9223372036854771712\n");
	assert_int_equal(limit_counters_read(root->host, "/web", &counters), 0);
	assert_false(limit_counters_limited(&counters));
	assert_int_equal(limit_counters_read(root->host, "/gone", &counters), -ENOENT);
}

static void the_files_of_v2_are_read(void **state)
{
	struct fake_root *root = *state;
	struct limit_counters counters;

	fake_file(root, "proc/1/mountinfo",
		  "30 20 0:27 / /sys/fs/cgroup/memory rw - cgroup2 cgroup2 rw\n");
	fake_file(root, "sys/fs/cgroup/memory/cgroup.controllers", "memory\n");
	fake_file(root, GROUP "/memory.current", "19000000\n");
	fake_file(root, GROUP "/memory.max", "max\n");
	fake_file(root, GROUP "/memory.high", "18000000\n");
	fake_file(root, GROUP "/memory.events", "low 0\nhigh 90\nmax 91\noom 0\n");
	fake_file(root, GROUP "/memory.events.local", "low 0\nhigh 9\nmax 8\noom 0\n");
	fake_file(root, GROUP "/memory.pressure",
		  "some avg10=1.00 avg60=2.00 avg300=3.00 total=5000\n"
		  "full avg10=1.00 avg60=2.00 avg300=3.00 total=4000\n");
	fake_file(root, GROUP "/memory.stat",
		  "anon 8000000\nfile 9000000\nkernel 4096\nshmem 1000000\nfile_dirty 3\n"
		  "file_writeback 4\npgmajfault 12\nworkingset_refault_anon 30\n"
		  "workingset_refault_file 400\npgsteal 900\npgsteal_kswapd 1\n");
	assert_int_equal(limit_counters_read(root->host, "/web", &counters), 0);
	assert_true(limit_counters_limited(&counters) && counters.version == CGROUP_V2);
	assert_int_equal(counters.limit_bytes, UINT64_MAX);
	assert_int_equal(counters.high_bytes, 18000000);
	assert_int_equal(counters.limit_hits, 8);
	assert_int_equal(counters.high_hits, 9);
	assert_true(counters.pressure_known && counters.refaults_known);
	assert_int_equal(counters.some_ns, 5000000);
	assert_int_equal(counters.full_ns, 4000000);
	assert_int_equal(counters.file_refaults, 400);
	assert_int_equal(counters.anon_refaults, 30);
	assert_int_equal(counters.evicted, 900);
	assert_int_equal(counters.file_bytes, 8000000);
	assert_int_equal(counters.kernel_bytes, 4096);
}

static void samples_are_of_one_window_and_of_one_group(void **state)
{
	struct stall_limit limit = {};
	struct limit_counters counters = {.id = 3, .limit_bytes = 100, .high_bytes = UINT64_MAX};

	for (unsigned i = 1; i <= 20; i++) {
		counters.limit_hits = i;
		counters.usage_bytes = i == 9 ? 90 : 50;
		stall_limit_add(&limit, &counters, i * SLOT_NS);
		/* Near at any of its looks. */
		assert_int_equal(stall_limit_is_near(&limit), i >= 9 && i <= 9 + STALL_SLOTS);
	}
	assert_int_equal(stall_limit_last(&limit)->limit_hits, 20);
	assert_int_equal(stall_limit_first(&limit)->limit_hits, 10);
	assert_true(stall_limit_was_hit(&limit));
	/* Removed and made again under the same name. */
	counters.id = 4;
	stall_limit_add(&limit, &counters, 21 * SLOT_NS);
	assert_int_equal(limit.sample_count, 1);
	assert_false(stall_limit_was_hit(&limit));
}

/* --- Judgement --- */

struct scene {
	struct stall_limit limit;
	struct limit_counters *last;
	struct stall_work work;
};

/* A window at the limit, of which a thread spent PERCENT in 1,000 reclaims: 32,000 pages at least. */
static void make(struct scene *scene, enum cgroup_version version, unsigned percent)
{
	struct limit_counters counters = {
		.version = version,
		.id = 3,
		.limit_bytes = 1000,
		.high_bytes = UINT64_MAX,
		.usage_bytes = 990,
		.refaults_known = true,
		.pressure_known = version == CGROUP_V2,
	};

	*scene = (struct scene){};
	stall_limit_add(&scene->limit, &counters, SLOT_NS);
	counters.limit_hits = 1000;
	counters.evicted = 32000;
	stall_limit_add(&scene->limit, &counters, SLOT_NS + WINDOW_NS);
	scene->last = &scene->limit.samples[1];
	scene->work = (struct stall_work){.worst_ns = WINDOW_NS * percent / 100,
					  .reclaim_ns = WINDOW_NS * percent / 100,
					  .reclaims = 1000};
}

static struct stall_judgement judge(const struct scene *scene)
{
	return stall_judge(&scene->limit, &scene->work, WINDOW_NS, 30);
}

static void reclaim_of_what_comes_back_is_a_stall(void **state)
{
	struct scene scene;

	for (enum cgroup_version version = CGROUP_V1; version <= CGROUP_V2; version++) {
		make(&scene, version, 31);
		scene.last->file_refaults = 16000;
		struct stall_judgement judgement = judge(&scene);

		assert_true(judgement.stalled && !judgement.over && !judgement.stuck);
		assert_int_equal(judgement.reclaim_percent, 31);
		assert_int_equal(judgement.returned_percent, 50);
		assert_int_equal(judgement.full_percent, version == CGROUP_V2 ? 0 : -1);
		/* Less than the share; and less than half of it, which ends one. */
		make(&scene, version, 29);
		scene.last->file_refaults = 16000;
		assert_true(!judge(&scene).stalled && !judge(&scene).over);
		make(&scene, version, 14);
		scene.last->file_refaults = 16000;
		assert_true(judge(&scene).over);
	}
}

static void reclaim_of_what_nobody_needs_again_is_none(void **state)
{
	struct scene scene;

	/* As a writer has it, that waits for its own pages. */
	make(&scene, CGROUP_V1, 95);
	scene.last->file_refaults = 7000;
	assert_false(judge(&scene).stalled);
	make(&scene, CGROUP_V2, 95);
	scene.last->full_ns = WINDOW_NS;
	assert_false(judge(&scene).stalled);
	assert_int_equal(judge(&scene).full_percent, 100);
}

static void away_from_the_limit_there_is_none(void **state)
{
	struct scene scene;

	make(&scene, CGROUP_V1, 95);
	scene.last->file_refaults = 32000;
	scene.last->usage_bytes = scene.limit.samples[0].usage_bytes = 890;
	assert_false(judge(&scene).stalled);
	assert_true(judge(&scene).over);
}

static void a_reclaim_that_does_not_end_is_one_whatever_the_counters_say(void **state)
{
	struct scene scene;

	make(&scene, CGROUP_V1, 100);
	scene.last->limit_hits = 0;
	scene.work.longest_ns = WINDOW_NS;
	assert_true(judge(&scene).stalled && judge(&scene).stuck);
	scene.work.longest_ns = WINDOW_NS - 1;
	assert_false(judge(&scene).stalled);
}

static void where_nothing_is_known_of_what_comes_back_faults_tell(void **state)
{
	struct scene scene;

	make(&scene, CGROUP_V1, 60);
	scene.last->refaults_known = scene.limit.samples[0].refaults_known = false;
	scene.last->major_faults = 10 * WINDOW_NS / NS_PER_S - 1;
	assert_false(judge(&scene).stalled);
	scene.last->major_faults++;
	assert_true(judge(&scene).stalled);
	assert_int_equal(judge(&scene).returned_percent, -1);
}

static void pressure_tells_where_no_reclaim_does(void **state)
{
	struct scene scene;

	/* Slept off above memory.high: pages that come back are not needed for that. */
	make(&scene, CGROUP_V2, 0);
	scene.last->full_ns = WINDOW_NS / 2;
	assert_false(judge(&scene).stalled);
	scene.last->high_bytes = scene.limit.samples[0].high_bytes = 980;
	scene.last->high_hits = 5;
	assert_true(judge(&scene).stalled);
	assert_int_equal(judge(&scene).full_percent, 50);
	/* Waits for pages of files that are read again. */
	make(&scene, CGROUP_V2, 5);
	scene.last->full_ns = WINDOW_NS / 2;
	scene.last->file_refaults = 30000;
	assert_true(judge(&scene).stalled);
}

#define ROOT(test) cmocka_unit_test_setup_teardown(test, fake_root_setup, fake_root_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_task_spends_within_the_window_counts_and_older_does_not),
		cmocka_unit_test(a_reclaim_that_does_not_end_counts_all_the_time_and_once),
		cmocka_unit_test(threads_that_have_ended_count_as_their_group),
		cmocka_unit_test(a_pid_that_is_used_again_is_another_thread),
		cmocka_unit_test(a_thread_that_moves_counts_where_it_is),
		ROOT(the_files_of_v1_are_read),
		ROOT(the_files_of_v2_are_read),
		cmocka_unit_test(samples_are_of_one_window_and_of_one_group),
		cmocka_unit_test(reclaim_of_what_comes_back_is_a_stall),
		cmocka_unit_test(reclaim_of_what_nobody_needs_again_is_none),
		cmocka_unit_test(away_from_the_limit_there_is_none),
		cmocka_unit_test(a_reclaim_that_does_not_end_is_one_whatever_the_counters_say),
		cmocka_unit_test(where_nothing_is_known_of_what_comes_back_faults_tell),
		cmocka_unit_test(pressure_tells_where_no_reclaim_does),
	};

	return cmocka_run_group_tests_name("memory_stall", tests, NULL, NULL);
}
