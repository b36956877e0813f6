/* SPDX-License-Identifier: Apache-2.0 */
/* Shims that are asked whether they answer, and inits that cannot end. */
#include "shim_stall_fixture.h"

/* --- Asking --- */

static void a_shim_whose_children_live_is_not_asked(void **state)
{
	struct fixture *fixture = *state;

	healthy(fixture, 5 * THRESHOLD_S);
	assert_int_equal(fixture->asked, 0);
	assert_int_equal(fixture->identified, 1);
}

static void a_helper_of_a_moment_is_no_reason_to_ask(void **state)
{
	struct fixture *fixture = *state;

	healthy(fixture, 2);
	for (uint32_t i = 0; i < 5 * THRESHOLD_S; i++) {
		shim(fixture, SHIM);
		task(fixture, SHIM, CHILD, 0);
		task(fixture, SHIM, CHILD + 1 + i, 0);
		look(fixture);
	}
	assert_int_equal(fixture->asked, 0);
}

static void a_child_that_is_gone_is_asked_about_and_silence_is_told(void **state)
{
	struct fixture *fixture = *state;

	fixture->ask_check = -EINPROGRESS;
	healthy(fixture, 3);
	for (unsigned i = 0; i < THRESHOLD_S; i++) {
		shim(fixture, SHIM);
		look(fixture);
		assert_int_equal(fixture->asked, 1);
	}
	assert_int_equal(fixture->count, 0);
	shim(fixture, SHIM);
	look(fixture);
	assert_told(fixture, 0, SHIM, STALL_UNRESPONSIVE, false);
	assert_int_equal(fixture->asked, 1);

	fixture->ask_check = 0; /* late, but an answer */
	shim(fixture, SHIM);
	look(fixture);
	assert_told(fixture, 1, SHIM, 0, true);
	assert_int_equal(fixture->open, 0);
}

static void what_is_answered_is_asked_again_only_when_something_else_ends(void **state)
{
	struct fixture *fixture = *state;

	healthy(fixture, 3);
	for (unsigned i = 0; i < 5 * THRESHOLD_S; i++) {
		shim(fixture, SHIM);
		task(fixture, SHIM, CHILD + 1, 0);
		look(fixture);
	}
	assert_int_equal(fixture->asked, 1);
	for (unsigned i = 0; i < 5 * THRESHOLD_S; i++) {
		shim(fixture, SHIM);
		look(fixture);
	}
	assert_int_equal(fixture->asked, 2);
	assert_int_equal(fixture->count, 0);
}

/* The wedge was there before the agent: no zombie, no child, and nobody saw them go. */
static void a_shim_without_children_is_asked_at_the_second_look(void **state)
{
	struct fixture *fixture = *state;

	fixture->ask_check = -EINPROGRESS;
	shim(fixture, SHIM);
	look(fixture);
	assert_int_equal(fixture->asked, 0);
	for (unsigned i = 0; i <= THRESHOLD_S; i++) {
		shim(fixture, SHIM);
		look(fixture);
	}
	assert_int_equal(fixture->asked, 1);
	assert_told(fixture, 0, SHIM, STALL_UNRESPONSIVE, false);
}

static void a_shim_that_lost_one_of_its_inits_before_the_first_look_is_asked(void **state)
{
	struct fixture *fixture = *state;

	fixture->misses_init = true;
	healthy(fixture, 2 * THRESHOLD_S);
	assert_int_equal(fixture->asked, 1);
	assert_int_equal(fixture->count, 0);
}

static void a_shim_that_refuses_connections_is_told_as_unresponsive(void **state)
{
	static const int errors[] = {-ECONNREFUSED, -EAGAIN};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		fixture->ask_start = errors[i];
		fixture->count = 0;
		for (unsigned j = 0; j < THRESHOLD_S + 2; j++) {
			assert_int_equal(fixture->count, 0);
			shim(fixture, SHIM + (uint32_t)i);
			look(fixture);
			/* The end of the one before is not what is looked for. */
			if (j == 0)
				fixture->count = 0;
		}
		assert_int_equal(fixture->count, 1);
		assert_told(fixture, 0, SHIM + i, STALL_UNRESPONSIVE, false);
	}
}

static void a_shim_that_closes_the_connection_is_asked_again(void **state)
{
	struct fixture *fixture = *state;

	fixture->ask_check = -ECONNRESET;
	for (unsigned i = 0; i < THRESHOLD_S + 2; i++) {
		shim(fixture, SHIM);
		look(fixture);
	}
	assert_told(fixture, 0, SHIM, STALL_UNRESPONSIVE, false);
	assert_int_equal(fixture->asked, THRESHOLD_S + 1);
	assert_int_equal(fixture->open, 1);
}

static void a_shim_that_cannot_be_asked_is_not_asked_twice(void **state)
{
	struct fixture *fixture = *state;

	fixture->ask_start = -EOPNOTSUPP;
	for (unsigned i = 0; i < 3 * THRESHOLD_S; i++) {
		shim(fixture, SHIM);
		look(fixture);
	}
	assert_int_equal(fixture->asked, 1);
	assert_int_equal(fixture->count, 0);
}

static void silence_of_a_shim_that_reaps_is_not_told(void **state)
{
	struct fixture *fixture = *state;

	fixture->ask_check = -EINPROGRESS;
	for (uint32_t i = 0; i < 4 * THRESHOLD_S; i++) {
		shim(fixture, SHIM);
		for (uint32_t pid = CHILD + i; pid < CHILD + 100; pid++)
			task(fixture, SHIM, pid, 0);
		look(fixture);
	}
	assert_int_equal(fixture->asked, 1);
	assert_int_equal(fixture->count, 0);
}

static void stopping_a_shim_withdraws_the_question(void **state)
{
	struct fixture *fixture = *state;

	fixture->ask_check = -EINPROGRESS;
	for (unsigned i = 0; i < THRESHOLD_S; i++) {
		shim(fixture, SHIM);
		look(fixture);
	}
	assert_int_equal(fixture->open, 1);
	for (unsigned i = 0; i <= THRESHOLD_S; i++) {
		shim(fixture, SHIM)->stopped = true;
		look(fixture);
		assert_int_equal(fixture->open, 0);
	}
	assert_int_equal(fixture->count, 1);
	assert_told(fixture, 0, SHIM, STALL_STOPPED, false);
	shim(fixture, SHIM);
	look(fixture);
	assert_int_equal(fixture->asked, 2);
	assert_told(fixture, 1, SHIM, 0, true);
}

static void what_only_has_the_name_of_a_shim_is_left_alone(void **state)
{
	struct fixture *fixture = *state;

	fixture->identify = -ENOTTY;
	for (unsigned i = 0; i < 3 * THRESHOLD_S; i++) {
		shim(fixture, SHIM)->stopped = true;
		task(fixture, SHIM, CHILD, SHIM_TASK_ZOMBIE);
		look(fixture);
	}
	assert_int_equal(fixture->count, 0);
	assert_int_equal(fixture->asked, 0);
	assert_int_equal(fixture->identified, 1);
}

/* --- Dying inits --- */

static void an_init_held_by_what_the_shim_must_reap_is_told_with_it(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i <= THRESHOLD_S; i++) {
		assert_int_equal(fixture->count, 0);
		shim(fixture, SHIM);
		dying(fixture, CHILD);
		holder(fixture, SHIM, CHILD + 1, SHIM_TASK_ZOMBIE);
		look(fixture);
	}
	assert_told(fixture, 0, SHIM, STALL_INIT_HELD | STALL_UNREAPED, false);
	assert_string_equal(stall_type(fixture->told[0].findings), "ContainerInitHeld");
	assert_int_equal(fixture->held_by, HELD_BY_SHIM);
	assert_int_equal(fixture->holder_count, 1);
}

static void an_init_held_by_a_task_is_told_even_if_the_shim_reaps_others(void **state)
{
	struct fixture *fixture = *state;

	for (uint32_t i = 0; i <= THRESHOLD_S; i++) {
		shim(fixture, SHIM);
		dying(fixture, CHILD);
		holder(fixture, 0, CHILD + 1, 0)->state = 'D';
		task(fixture, SHIM, CHILD + 2 + i, SHIM_TASK_ZOMBIE);
		look(fixture);
	}
	assert_told(fixture, 0, SHIM, STALL_INIT_HELD, false);
	assert_int_equal(fixture->held_by, HELD_BY_TASK);
}

static void holders_of_another_namespace_do_not_count(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i <= THRESHOLD_S; i++) {
		shim(fixture, SHIM);
		dying(fixture, CHILD);
		holder(fixture, 0, CHILD + 1, 0)->pid_namespace = 1;
		look(fixture);
	}
	assert_int_equal(fixture->held_by, HELD_BY_UNKNOWN);
	assert_int_equal(fixture->holder_count, 0);
}

static void an_init_that_sleeps_uninterruptibly_holds_itself(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i <= THRESHOLD_S; i++) {
		shim(fixture, SHIM);
		dying(fixture, CHILD)->state = 'D';
		look(fixture);
	}
	assert_told(fixture, 0, SHIM, STALL_INIT_HELD, false);
	assert_int_equal(fixture->held_by, HELD_BY_TASK);
}

static void an_init_that_is_still_at_work_ending_is_nothing(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i < 4 * THRESHOLD_S; i++) {
		shim(fixture, SHIM);
		dying(fixture, CHILD)->state = i % 6 ? 'S' : 'R';
		look(fixture);
	}
	assert_int_equal(fixture->count, 0);
}

static void more_holders_than_there_is_room_for_are_cut(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned i = 0; i <= THRESHOLD_S; i++) {
		shim(fixture, SHIM);
		dying(fixture, CHILD);
		for (uint32_t pid = 1; pid <= 100; pid++)
			holder(fixture, SHIM, CHILD + pid, SHIM_TASK_ZOMBIE);
		look(fixture);
	}
	assert_int_equal(fixture->holder_count, SHIM_HOLDERS_MAX);
	assert_int_equal(fixture->held_by, HELD_BY_SHIM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STALL_TEST(a_shim_whose_children_live_is_not_asked),
		STALL_TEST(a_helper_of_a_moment_is_no_reason_to_ask),
		STALL_TEST(a_child_that_is_gone_is_asked_about_and_silence_is_told),
		STALL_TEST(what_is_answered_is_asked_again_only_when_something_else_ends),
		STALL_TEST(a_shim_without_children_is_asked_at_the_second_look),
		STALL_TEST(a_shim_that_lost_one_of_its_inits_before_the_first_look_is_asked),
		STALL_TEST(a_shim_that_refuses_connections_is_told_as_unresponsive),
		STALL_TEST(a_shim_that_closes_the_connection_is_asked_again),
		STALL_TEST(a_shim_that_cannot_be_asked_is_not_asked_twice),
		STALL_TEST(silence_of_a_shim_that_reaps_is_not_told),
		STALL_TEST(stopping_a_shim_withdraws_the_question),
		STALL_TEST(what_only_has_the_name_of_a_shim_is_left_alone),
		STALL_TEST(an_init_held_by_what_the_shim_must_reap_is_told_with_it),
		STALL_TEST(an_init_held_by_a_task_is_told_even_if_the_shim_reaps_others),
		STALL_TEST(holders_of_another_namespace_do_not_count),
		STALL_TEST(an_init_that_sleeps_uninterruptibly_holds_itself),
		STALL_TEST(an_init_that_is_still_at_work_ending_is_nothing),
		STALL_TEST(more_holders_than_there_is_room_for_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
