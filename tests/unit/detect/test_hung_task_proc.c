/* SPDX-License-Identifier: Apache-2.0 */
/* Looks by /proc: which tasks are in one wait all along, from a /proc of the test's own. */
#include "../host/fake_root.h"

#include "detect/hung_task.h"

struct fixture {
	struct fake_root *root;
	struct groups *groups;
	struct proc_look *look;
	uint64_t now_s;
	size_t told, tasks;
	bool cleared;
	char subject[128];
};

static void on_report(void *userdata, struct group *group, struct waiter *const *waiters,
		      size_t count, bool cleared, uint64_t now_ns)
{
	struct fixture *fixture = userdata;

	fixture->told++;
	fixture->tasks = count;
	fixture->cleared = cleared;
	snprintf(fixture->subject, sizeof(fixture->subject), "%s", group->subject);
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	void *root;

	fake_root_setup(&root);
	fixture->root = root;
	fixture->now_s = 100;
	struct groups_options options = {.host = fixture->root->host,
					 .threshold_ns = 6 * NS_PER_S,
					 .period_ns = NS_PER_S,
					 .report = on_report,
					 .userdata = fixture};
	fixture->groups = groups_new(&options);
	fixture->look = proc_look_new(fixture->root->host, true, 60 * NS_PER_S);
	assert_non_null(fixture->groups);
	assert_non_null(fixture->look);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;
	void *root = fixture->root;

	proc_look_free(fixture->look);
	groups_free(fixture->groups);
	fake_root_teardown(&root);
	free(fixture);
	return 0;
}

static void fake_thread(const struct fixture *fixture, int tgid, int tid, char task_state,
			unsigned switches, const char *wchan)
{
	char path[96];

	snprintf(path, sizeof(path), "proc/%d/task/%d/stat", tgid, tid);
	fake_file(fixture->root, path,
		  "%d (a) b) %c 1 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0\n", tid,
		  task_state);
	snprintf(path, sizeof(path), "proc/%d/task/%d/status", tgid, tid);
	fake_file(fixture->root, path,
		  "Name:\ta\nTgid:\t%d\nUid:\t0\t0\t0\t0\nvoluntary_ctxt_switches:\t%"
		  "u\nnonvoluntary_ctxt_switches:\t1\n",
		  tgid, switches);
	snprintf(path, sizeof(path), "proc/%d/task/%d/wchan", tgid, tid);
	fake_file(fixture->root, path, "%s", wchan);
}

static void look(struct fixture *fixture)
{
	uint64_t now_ns = fixture->now_s++ * NS_PER_S;

	groups_begin(fixture->groups);
	ssize_t waiting = proc_look_run(fixture->look, fixture->groups, 6 * NS_PER_S, now_ns);
	assert_true(waiting >= 0);
	groups_end(fixture->groups, now_ns, false, waiting > 0);
}

static void a_thread_that_sleeps_on_in_one_place_is_told_and_cleared(void **state)
{
	struct fixture *fixture = *state;

	fake_thread(fixture, 50, 51, 'D', 9, "percpu_rwsem_wait");
	fake_thread(fixture, 50, 52, 'S', 9, "futex_wait_queue");
	for (int i = 0; i < 6; i++)
		look(fixture);
	assert_int_equal(fixture->told, 0);
	look(fixture);
	assert_int_equal(fixture->told, 1);
	assert_int_equal(fixture->tasks, 1);
	assert_non_null(strstr(fixture->subject, "frozen filesystem"));
	fake_thread(fixture, 50, 51, 'R', 10, "0");
	look(fixture);
	assert_int_equal(fixture->told, 2);
	assert_true(fixture->cleared);
}

static void a_thread_that_moves_is_not_told(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < 20; i++) {
		fake_thread(fixture, 50, 50, 'D', i / 4, "percpu_rwsem_wait");
		look(fixture);
	}
	assert_int_equal(fixture->told, 0);
	assert_int_equal(groups_waiters(fixture->groups), 0);
}

static void direct_io_that_the_kernel_wakes_now_and_then_is_one_wait(void **state)
{
	struct fixture *fixture = *state;

	fake_file(fixture->root, "sys/block/sda/dev", "8:0\n");
	fake_file(fixture->root, "sys/block/sda/stat", "5 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0 0\n");
	for (unsigned i = 0; i < 14; i++) {
		fake_thread(fixture, 50, 50, 'D', i / 10, "submit_bio_wait");
		look(fixture);
	}
	assert_int_equal(fixture->told, 1);
	assert_string_equal(fixture->subject, "I/O on sda (8:0)");
}

static void processes_that_go_away_meanwhile_and_garbage_are_passed_over(void **state)
{
	struct fixture *fixture = *state;

	fake_folder(fixture->root, "proc/60/task/60");
	fake_folder(fixture->root, "proc/61");
	fake_file(fixture->root, "proc/62/task/62/stat", "62 (x");
	fake_file(fixture->root, "proc/63/task/63/stat", "63 (x) D 1 2");
	fake_file(fixture->root, "proc/64/task/64/stat", "%s", "");
	look(fixture);
	assert_int_equal(groups_waiters(fixture->groups), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_thread_that_sleeps_on_in_one_place_is_told_and_cleared),
		TEST(a_thread_that_moves_is_not_told),
		TEST(direct_io_that_the_kernel_wakes_now_and_then_is_one_wait),
		TEST(processes_that_go_away_meanwhile_and_garbage_are_passed_over),
	};

	return cmocka_run_group_tests_name("hung_task_proc", tests, NULL, NULL);
}
