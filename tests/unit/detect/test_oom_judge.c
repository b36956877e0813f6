/* SPDX-License-Identifier: Apache-2.0 */
/* Whose limit was hit: judged from the stack, the log line's text, and the counters. */
#include "../host/fake_root.h"

#include "detect/oom.h"

#define PAGE 4096
#define NO_LIMIT ((uint64_t)INT64_MAX / PAGE)

static const struct oom_symbols symbols = {
	.range =
		{
			[OOM_SYMBOL_CGROUP] = {0x1000, 0x2000},
			[OOM_SYMBOL_OUT_OF_MEMORY] = {0x3000, 0x4000},
			[OOM_SYMBOL_KILL] = {0x5000, 0x6000},
		},
};
static const struct oom_symbols hidden;

/* /top/middle/leaf, without limits, no stack. */
static struct oom_event make_event(void)
{
	struct oom_event event = {
		.hierarchy = 0, .level_count = 4, .cgroup = {.id = 1, .levels = 3}};
	static const char *const names[] = {"leaf", "middle", "top"};

	for (size_t i = 0; i < 4; i++)
		event.levels[i] = (struct oom_level){
			.cgroup_id = 100 + i,
			.usage = 1000,
			.maximum = NO_LIMIT,
			.swap_maximum = NO_LIMIT,
		};
	for (size_t i = 0; i < 3; i++)
		snprintf(event.cgroup.names[i], EVENT_CGROUP_NAME_SIZE, "%s", names[i]);
	return event;
}

static void set_stack(struct oom_event *event, bool cgroup, bool killed)
{
	event->stack_depth = 0;
	if (killed)
		event->stack[event->stack_depth++] = 0x5100;
	event->stack[event->stack_depth++] = 0x3100;
	if (cgroup)
		event->stack[event->stack_depth++] =
			0x2000; /* a call that was the function's last instruction */
	event->stack[event->stack_depth++] = 0x9000;
}

static void the_one_cgroup_at_its_limit_is_named_exactly(void **state)
{
	struct oom_event event = make_event();

	set_stack(&event, true, true);
	event.levels[0].maximum = 1000 + 65;
	event.levels[1].maximum = 1000 + 64;
	struct oom_judgement judgement = oom_judge(&event, &symbols, PAGE);

	assert_true(judgement.cgroup && judgement.exact && judgement.has_level);
	assert_int_equal(judgement.level, 1);
	assert_false(judgement.already_dying);
}

static void of_two_at_their_limits_the_lower_is_a_guess(void **state)
{
	struct oom_event event = make_event();

	set_stack(&event, true, true);
	event.levels[1].maximum = event.levels[2].maximum = 1000;
	struct oom_judgement judgement = oom_judge(&event, &symbols, PAGE);

	assert_int_equal(judgement.level, 1);
	assert_false(judgement.exact);
}

static void a_limit_that_has_room_again_is_still_named(void **state)
{
	struct oom_event event = make_event();

	set_stack(&event, true, true);
	event.levels[0].maximum = 9000;
	event.levels[2].maximum = 3000;
	struct oom_judgement judgement = oom_judge(&event, &symbols, PAGE);

	assert_true(judgement.cgroup && judgement.has_level);
	assert_int_equal(judgement.level, 2);
	assert_false(judgement.exact);
}

static void the_node_is_named_though_a_cgroup_is_full(void **state)
{
	struct oom_event event = make_event();

	set_stack(&event, false, true);
	event.levels[0].maximum = 1000;
	struct oom_judgement judgement = oom_judge(&event, &symbols, PAGE);

	assert_false(judgement.cgroup);
	assert_true(judgement.exact);
}

static void hidden_addresses_leave_a_guess(void **state)
{
	struct oom_event event = make_event();

	set_stack(&event, true, true);
	struct oom_judgement judgement = oom_judge(&event, &hidden, PAGE);

	assert_false(judgement.cgroup || judgement.exact || judgement.already_dying);
	event.levels[0].maximum = 1000;
	judgement = oom_judge(&event, &hidden, PAGE);
	assert_true(judgement.cgroup);
	assert_false(judgement.exact);
}

static void the_log_lines_text_decides_where_the_hook_is_given_it(void **state)
{
	struct oom_event event = make_event();

	event.levels[0].maximum = 1000;
	snprintf(event.message, sizeof(event.message), "Memory cgroup out of memory");
	assert_true(oom_judge(&event, &hidden, PAGE).cgroup);
	assert_true(oom_judge(&event, &hidden, PAGE).exact);
	snprintf(event.message, sizeof(event.message), "Out of memory");
	assert_false(oom_judge(&event, &hidden, PAGE).cgroup);
	assert_true(oom_judge(&event, &hidden, PAGE).exact);
}

static void a_task_that_was_dying_already_is_not_a_kill(void **state)
{
	struct oom_event event = make_event();
	struct oom_symbols without_kill = symbols;

	set_stack(&event, true, false);
	assert_true(oom_judge(&event, &symbols, PAGE).already_dying);
	without_kill.range[OOM_SYMBOL_KILL] = (struct kernel_range){};
	assert_false(oom_judge(&event, &without_kill, PAGE).already_dying);
}

static void memory_and_swap_together_count_in_v1_alone(void **state)
{
	struct oom_event event = make_event();

	set_stack(&event, true, true);
	event.levels[0].swap_usage = event.levels[0].swap_maximum = 0; /* v2: memory.swap.max=0 */
	event.levels[1].maximum = 1000;
	assert_int_equal(oom_judge(&event, &symbols, PAGE).level, 1);
	event.hierarchy = 4;
	event.levels[1].maximum = NO_LIMIT;
	event.levels[0].swap_usage = event.levels[0].swap_maximum = 2000;
	struct oom_judgement judgement = oom_judge(&event, &symbols, PAGE);

	assert_true(judgement.swap && judgement.exact);
	assert_int_equal(judgement.level, 0);
}

static void a_group_dies_together_only_inside_the_limit(void **state)
{
	struct oom_event event = make_event();

	set_stack(&event, true, true);
	event.levels[1].maximum = 1000;
	event.levels[2].oom_group = 1;
	assert_false(oom_judge(&event, &symbols, PAGE).group);
	event.levels[0].oom_group = 1;
	assert_true(oom_judge(&event, &symbols, PAGE).group);
}

static void counts_that_lie_do_no_harm(void **state)
{
	struct oom_event event;

	memset(&event, 0xff, sizeof(event));
	oom_judge(&event, &symbols, PAGE);
	memset(event.message, 0, sizeof(event.message));
	oom_judge(&event, &symbols, PAGE);
}

static void the_paths_above_are_found(void **state)
{
	struct oom_event event = make_event();
	char path[EVENT_CGROUP_PATH_SIZE];

	assert_string_equal(oom_level_path(&event.cgroup, 0, path, sizeof(path)),
			    "/top/middle/leaf");
	assert_string_equal(oom_level_path(&event.cgroup, 2, path, sizeof(path)), "/top");
	assert_string_equal(oom_level_path(&event.cgroup, 3, path, sizeof(path)), "/");
	assert_string_equal(oom_level_path(&event.cgroup, 9, path, sizeof(path)), "/");
	event.cgroup.truncated = 1;
	event.cgroup.levels = EVENT_CGROUP_LEVELS;
	assert_string_equal(
		oom_level_path(&event.cgroup, EVENT_CGROUP_LEVELS + 1, path, sizeof(path)), "/...");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_one_cgroup_at_its_limit_is_named_exactly),
		cmocka_unit_test(of_two_at_their_limits_the_lower_is_a_guess),
		cmocka_unit_test(a_limit_that_has_room_again_is_still_named),
		cmocka_unit_test(the_node_is_named_though_a_cgroup_is_full),
		cmocka_unit_test(hidden_addresses_leave_a_guess),
		cmocka_unit_test(the_log_lines_text_decides_where_the_hook_is_given_it),
		cmocka_unit_test(a_task_that_was_dying_already_is_not_a_kill),
		cmocka_unit_test(memory_and_swap_together_count_in_v1_alone),
		cmocka_unit_test(a_group_dies_together_only_inside_the_limit),
		cmocka_unit_test(counts_that_lie_do_no_harm),
		cmocka_unit_test(the_paths_above_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
