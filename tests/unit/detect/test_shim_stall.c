/* SPDX-License-Identifier: Apache-2.0 */
/* Shims that do not reap or are stopped: when that is told, and how often. */
#include "shim_stall_fixture.h"

/* --- Zombies --- */

static void a_zombie_is_told_when_it_is_as_old_as_the_threshold(void **state)
{
	struct fixture *fixture = *state;

	zombie(fixture, THRESHOLD_S);
	assert_int_equal(fixture->count, 0);
	zombie(fixture, 1);
	assert_int_equal(fixture->count, 1);
	assert_told(fixture, 0, SHIM, STALL_UNREAPED, false);
	assert_string_equal(stall_type(fixture->told[0].findings), "ShimUnreapedChild");
}

static void a_zombie_that_is_reaped_in_time_is_nothing(void **state)
{
	struct fixture *fixture = *state;

	zombie(fixture, THRESHOLD_S - 1);
	healthy(fixture, 3 * THRESHOLD_S);
	assert_int_equal(fixture->count, 0);
}

/* A new zombie at each look, each reaped some looks later, and one that has to wait its turn. */
static void a_shim_that_reaps_slowly_is_not_stalled(void **state)
{
	struct fixture *fixture = *state;

	for (uint32_t i = 0; i < 40; i++) {
		shim(fixture, SHIM);
		for (uint32_t pid = CHILD + i / 4; pid < CHILD + 20; pid++)
			task(fixture, SHIM, pid, SHIM_TASK_ZOMBIE);
		look(fixture);
	}
	assert_int_equal(fixture->count, 0);
}

static void a_shim_that_stops_reaping_is_told_a_threshold_later(void **state)
{
	struct fixture *fixture = *state;

	for (uint32_t i = 0; i < 5 + THRESHOLD_S; i++) {
		shim(fixture, SHIM);
		for (uint32_t pid = CHILD + MIN(i, 5U); pid < CHILD + 20; pid++)
			task(fixture, SHIM, pid, SHIM_TASK_ZOMBIE);
		look(fixture);
		assert_int_equal(fixture->count, 0);
	}
	for (uint32_t pid = CHILD + 5; pid < CHILD + 20; pid++)
		task(fixture, SHIM, pid, SHIM_TASK_ZOMBIE);
	shim(fixture, SHIM);
	look(fixture);
	assert_told(fixture, 0, SHIM, STALL_UNREAPED, false);
}

static void reaping_after_all_clears_what_was_told(void **state)
{
	struct fixture *fixture = *state;

	zombie(fixture, THRESHOLD_S + 1);
	healthy(fixture, 2);
	assert_int_equal(fixture->count, 2);
	assert_told(fixture, 1, SHIM, 0, true);
}

static void a_zombie_of_a_reused_pid_is_another(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < 3 * THRESHOLD_S; i++) {
		shim(fixture, SHIM);
		task(fixture, SHIM, CHILD, SHIM_TASK_ZOMBIE)->start_boot_ns = i / 8;
		look(fixture);
	}
	assert_int_equal(fixture->count, 0);
}

static void a_look_that_left_some_out_takes_nothing_for_reaped_or_ended(void **state)
{
	struct fixture *fixture = *state;

	zombie(fixture, THRESHOLD_S - 2);
	fixture->look.left_out_from = 1;
	look(fixture);
	fixture->look.left_out_from = 1;
	shim(fixture, SHIM);
	task(fixture, SHIM, CHILD, 0);
	look(fixture);
	zombie(fixture, 1);
	assert_told(fixture, 0, SHIM, STALL_UNREAPED, false);
	assert_int_equal(fixture->forgotten, 0);
}

/* A node that slept, or had no CPU for the agent: its shims had none either. */
static void time_in_which_nobody_looked_does_not_count(void **state)
{
	struct fixture *fixture = *state;

	fixture->ask_check = -EINPROGRESS;
	zombie(fixture, 3);
	fixture->now_s += 3600;
	zombie(fixture, 2);
	fixture->ask_check = 0;
	healthy(fixture, 2 * THRESHOLD_S);
	assert_int_equal(fixture->count, 0);
}

/* More zombies than a look has room for: those that come first are seen to go. */
static void a_look_without_room_for_all_still_sees_a_shim_reap(void **state)
{
	struct fixture *fixture = *state;

	for (uint32_t i = 0; i < 4 * THRESHOLD_S; i++) {
		fixture->look.left_out_from = CHILD + i + 50;
		shim(fixture, SHIM);
		for (uint32_t pid = CHILD + i; pid < CHILD + i + 50; pid++)
			task(fixture, SHIM, pid, SHIM_TASK_ZOMBIE);
		look(fixture);
	}
	assert_int_equal(fixture->count, 0);
}

static void what_looks_without_room_leave_out_is_not_kept_for_ever(void **state)
{
	struct fixture *fixture = *state;

	fixture->ask_check = -EINPROGRESS;
	for (uint32_t i = 0; i < 3; i++) {
		fixture->look.left_out_from = 1;
		shim(fixture, SHIM);
		for (uint32_t pid = 0; pid < SHIM_TASK_RECORDS_MAX; pid++)
			task(fixture, SHIM, CHILD + i * SHIM_TASK_RECORDS_MAX + pid,
			     SHIM_TASK_ZOMBIE);
		look(fixture);
	}
	assert_int_equal(fixture->child_count, SHIM_TASK_RECORDS_MAX);
}

/* --- Telling --- */

static void what_lasts_is_told_again_every_ten_thresholds(void **state)
{
	struct fixture *fixture = *state;

	zombie(fixture, THRESHOLD_S + 1 + 10 * THRESHOLD_S);
	assert_int_equal(fixture->count, 2);
	assert_int_equal(fixture->told[1].now_s - fixture->told[0].now_s, 10 * THRESHOLD_S);
	assert_told(fixture, 1, SHIM, STALL_UNREAPED, false);
}

static void a_shim_that_ends_clears_what_was_told(void **state)
{
	struct fixture *fixture = *state;

	zombie(fixture, THRESHOLD_S + 1);
	look(fixture);
	assert_told(fixture, 1, SHIM, 0, true);
	assert_int_equal(fixture->forgotten, 1);
}

static void a_shim_of_a_reused_pid_starts_anew(void **state)
{
	struct fixture *fixture = *state;

	zombie(fixture, THRESHOLD_S + 1);
	for (unsigned i = 0; i < THRESHOLD_S; i++) {
		shim(fixture, SHIM)->task.start_boot_ns = 1;
		task(fixture, SHIM, CHILD + 1, SHIM_TASK_ZOMBIE)->shim_start_boot_ns = 1;
		look(fixture);
	}
	assert_int_equal(fixture->count, 2);
	assert_told(fixture, 1, SHIM, 0, true);
	shim(fixture, SHIM)->task.start_boot_ns = 1;
	task(fixture, SHIM, CHILD + 1, SHIM_TASK_ZOMBIE)->shim_start_boot_ns = 1;
	look(fixture);
	assert_told(fixture, 2, SHIM, STALL_UNREAPED, false);
}

static void each_of_three_hundred_shims_is_judged_by_itself(void **state)
{
	struct fixture *fixture = *state;

	fixture->ask_check = 0; /* all answer */
	for (unsigned i = 0; i <= THRESHOLD_S; i++) {
		for (uint32_t pid = 300; pid > 0; pid--) {
			shim(fixture, 1000 + pid);
			task(fixture, 1000 + pid, 10000 + pid, 0);
			if (pid % 3 == 0)
				task(fixture, 1000 + pid, 20000 + pid, SHIM_TASK_ZOMBIE);
		}
		look(fixture);
	}
	assert_int_equal(fixture->count, 100);
	for (size_t i = 0; i < fixture->count; i++)
		assert_told(fixture, i, 1000 + 3 * (i + 1), STALL_UNREAPED, false);
	assert_int_equal(fixture->identified, 300);
}

static void another_finding_that_joins_is_told_at_once_and_one_that_leaves_is_not(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < 2 * THRESHOLD_S; i++) {
		shim(fixture, SHIM)->stopped = i >= 5;
		task(fixture, SHIM, CHILD, 0);
		task(fixture, SHIM, CHILD + 1, SHIM_TASK_ZOMBIE);
		look(fixture);
	}
	assert_int_equal(fixture->count, 2);
	assert_told(fixture, 0, SHIM, STALL_UNREAPED, false);
	assert_told(fixture, 1, SHIM, STALL_STOPPED | STALL_UNREAPED, false);
	assert_string_equal(stall_type(fixture->told[1].findings), "ShimStopped");
	zombie(fixture, 3);
	assert_int_equal(fixture->count, 2);
	healthy(fixture, 1);
	assert_told(fixture, 2, SHIM, 0, true);
}

/* --- Stopped --- */

static void a_stopped_shim_is_told_and_nothing_is_asked_of_it(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i <= THRESHOLD_S; i++) {
		assert_int_equal(fixture->count, 0);
		shim(fixture, SHIM)->stopped = true;
		look(fixture);
	}
	assert_told(fixture, 0, SHIM, STALL_STOPPED, false);
	assert_int_equal(fixture->asked, 0);
	healthy(fixture, 1);
	assert_told(fixture, 1, SHIM, 0, true);
}

static void a_traced_shim_that_moves_is_not_stopped(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < 3 * THRESHOLD_S; i++) {
		struct seen_shim *seen = shim(fixture, SHIM);

		seen->tracer_pid = 50;
		seen->stopped = i % 4 != 0; /* between two system calls, or in one */
		seen->switches = i;
		look(fixture);
	}
	for (unsigned i = 0; i < 3 * THRESHOLD_S; i++) {
		struct seen_shim *seen = shim(fixture, SHIM);

		seen->tracer_pid = 50;
		seen->stopped = true; /* caught so at every look, but it ran in between */
		seen->switches = 1000 + i;
		look(fixture);
	}
	assert_int_equal(fixture->count, 0);
	assert_int_equal(fixture->asked, 0);
}

static void a_traced_shim_that_stands_still_is_stopped(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i <= THRESHOLD_S; i++) {
		struct seen_shim *seen = shim(fixture, SHIM);

		seen->tracer_pid = 50;
		seen->stopped = true;
		seen->switches = 7;
		look(fixture);
	}
	assert_told(fixture, 0, SHIM, STALL_STOPPED, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STALL_TEST(a_zombie_is_told_when_it_is_as_old_as_the_threshold),
		STALL_TEST(a_zombie_that_is_reaped_in_time_is_nothing),
		STALL_TEST(a_shim_that_reaps_slowly_is_not_stalled),
		STALL_TEST(a_shim_that_stops_reaping_is_told_a_threshold_later),
		STALL_TEST(reaping_after_all_clears_what_was_told),
		STALL_TEST(a_zombie_of_a_reused_pid_is_another),
		STALL_TEST(a_look_that_left_some_out_takes_nothing_for_reaped_or_ended),
		STALL_TEST(time_in_which_nobody_looked_does_not_count),
		STALL_TEST(a_look_without_room_for_all_still_sees_a_shim_reap),
		STALL_TEST(what_looks_without_room_leave_out_is_not_kept_for_ever),
		STALL_TEST(what_lasts_is_told_again_every_ten_thresholds),
		STALL_TEST(a_shim_that_ends_clears_what_was_told),
		STALL_TEST(a_shim_of_a_reused_pid_starts_anew),
		STALL_TEST(each_of_three_hundred_shims_is_judged_by_itself),
		STALL_TEST(another_finding_that_joins_is_told_at_once_and_one_that_leaves_is_not),
		STALL_TEST(a_stopped_shim_is_told_and_nothing_is_asked_of_it),
		STALL_TEST(a_traced_shim_that_moves_is_not_stopped),
		STALL_TEST(a_traced_shim_that_stands_still_is_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
