/* SPDX-License-Identifier: Apache-2.0 */
/* The limits of recovery, judged by what was done before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "chain/governor.h"

#define SECOND ((int64_t)NS_PER_S)
#define NOW (10000 * SECOND)

static struct plugin_entry entry = {
	.name = (char *)"gentle", .disturbs = DISTURBS_PROCESS, .cooldown_ns = 600 * NS_PER_S};
static char reason[512];

static int check(const struct governor *governor, const char *subject, uint64_t per_hour,
		 int64_t now_ns)
{
	reason[0] = '\0';
	return governor_check(governor, &entry, subject, per_hour, now_ns, reason, sizeof(reason));
}

static void nothing_done_nothing_is_held_back(void **state)
{
	_cleanup_(governor_freep) struct governor *governor = NULL;

	assert_int_equal(governor_new(&governor), 0);
	assert_int_equal(check(governor, "disk", 1, NOW), 0);
}

static void the_cooldown_is_of_one_recoverer_on_one_subject(void **state)
{
	_cleanup_(governor_freep) struct governor *governor = NULL;

	assert_int_equal(governor_new(&governor), 0);
	assert_int_equal(governor_note(governor, "gentle", "disk", false, NOW), 0);
	assert_int_equal(governor_note(governor, "rough", "other", false, NOW), 0);
	assert_int_equal(check(governor, "disk", 0, NOW + 599 * SECOND), -EAGAIN);
	assert_non_null(strstr(reason, "wait another 1s"));
	assert_int_equal(check(governor, "other", 0, NOW + 1), 0);
	assert_int_equal(check(governor, "disk", 0, NOW + 600 * SECOND), 0);
}

static void what_was_done_before_the_boot_counts(void **state)
{
	_cleanup_(governor_freep) struct governor *governor = NULL;

	assert_int_equal(governor_new(&governor), 0);
	assert_int_equal(governor_note(governor, "gentle", "disk", false, -300 * SECOND), 0);
	assert_int_equal(check(governor, "disk", 0, 100 * SECOND), -EAGAIN);
	assert_int_equal(check(governor, "disk", 0, 300 * SECOND), 0);
}

static void a_deed_that_was_none_is_forgotten(void **state)
{
	_cleanup_(governor_freep) struct governor *governor = NULL;

	assert_int_equal(governor_new(&governor), 0);
	assert_int_equal(governor_note(governor, "gentle", "disk", false, NOW), 0);
	governor_forget(governor, "gentle", "disk");
	governor_forget(governor, "gentle", "never");
	assert_int_equal(check(governor, "disk", 1, NOW + 1), 0);
}

static void the_rate_is_over_all_subjects(void **state)
{
	_cleanup_(governor_freep) struct governor *governor = NULL;

	entry.rate_count = 2;
	entry.rate_period_ns = 60 * NS_PER_S;
	assert_int_equal(governor_new(&governor), 0);
	assert_int_equal(governor_note(governor, "gentle", "a", false, NOW), 0);
	assert_int_equal(check(governor, "c", 0, NOW + SECOND), 0);
	assert_int_equal(governor_note(governor, "gentle", "b", false, NOW + SECOND), 0);
	assert_int_equal(check(governor, "c", 0, NOW + 2 * SECOND), -EAGAIN);
	assert_non_null(strstr(reason, "2 times in 1m"));
	assert_int_equal(check(governor, "c", 0, NOW + 60 * SECOND), 0);
	entry.rate_count = 0;
}

static void the_nodes_limit_counts_all_recoverers(void **state)
{
	_cleanup_(governor_freep) struct governor *governor = NULL;

	assert_int_equal(governor_new(&governor), 0);
	assert_int_equal(governor_note(governor, "rough", "a", false, NOW), 0);
	assert_int_equal(governor_note(governor, "gentle", "b", false, NOW), 0);
	assert_int_equal(check(governor, "c", 2, NOW + SECOND), -EAGAIN);
	assert_non_null(strstr(reason, "actionsPerHour"));
	assert_int_equal(check(governor, "c", 3, NOW + SECOND), 0);
	assert_int_equal(check(governor, "c", 2, NOW + 3600 * SECOND), 0);
}

static void what_disturbs_nothing_spends_none_of_the_nodes_limit(void **state)
{
	_cleanup_(governor_freep) struct governor *governor = NULL;

	assert_int_equal(governor_new(&governor), 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(governor_note(governor, "thaw", "disk", true, NOW), 0);
	assert_int_equal(check(governor, "c", 1, NOW + SECOND), 0);
	assert_int_equal(governor_note(governor, "rough", "a", false, NOW), 0);
	assert_int_equal(check(governor, "c", 1, NOW + SECOND), -EAGAIN);
	entry.disturbs = DISTURBS_NONE;
	assert_int_equal(check(governor, "c", 1, NOW + SECOND), 0);
	assert_int_equal(governor_note(governor, "gentle", "c", true, NOW), 0);
	assert_int_equal(check(governor, "c", 1, NOW + SECOND), -EAGAIN);
	assert_non_null(strstr(reason, "cooldown"));
	entry.disturbs = DISTURBS_PROCESS;
}

static void its_memory_is_bounded_and_keeps_the_newest(void **state)
{
	_cleanup_(governor_freep) struct governor *governor = NULL;

	assert_int_equal(governor_new(&governor), 0);
	for (int i = 0; i < GOVERNOR_MAXIMUM + 1; i++)
		assert_int_equal(
			governor_note(governor, "gentle", i ? "later" : "first", false, NOW), 0);
	assert_int_equal(check(governor, "first", 0, NOW + 1), 0);
	assert_int_equal(check(governor, "later", 0, NOW + 1), -EAGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_done_nothing_is_held_back),
		cmocka_unit_test(the_cooldown_is_of_one_recoverer_on_one_subject),
		cmocka_unit_test(what_was_done_before_the_boot_counts),
		cmocka_unit_test(a_deed_that_was_none_is_forgotten),
		cmocka_unit_test(the_rate_is_over_all_subjects),
		cmocka_unit_test(the_nodes_limit_counts_all_recoverers),
		cmocka_unit_test(what_disturbs_nothing_spends_none_of_the_nodes_limit),
		cmocka_unit_test(its_memory_is_bounded_and_keeps_the_newest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
