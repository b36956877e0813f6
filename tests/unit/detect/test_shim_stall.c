/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said of a shim, and when: looks made up by hand, with a clock and shims of the test's
 * own. The threshold is ten seconds, and a look comes every second.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "detect/shim_stall.h"

#define THRESHOLD_S 10
#define LONGEST_STEP_S 5
#define TOLD_MAX 512

enum { SHIM = 100, CHILD = 200 };

struct told {
	uint32_t pid, findings;
	bool cleared;
	uint64_t now_s;
};

struct fixture {
	struct stall_watch *watch;
	struct shim_look look; /* the next one */
	uint64_t now_s;

	struct told told[TOLD_MAX];
	size_t count;
	enum held_by held_by; /* of the last dying init that was told of */
	size_t holder_count;

	/* The shim that is asked. */
	int identify, ask_start, ask_check;
	bool misses_init;
	size_t child_count; /* when something was asked of it last */
	size_t identified, asked, open, forgotten;
};

static int on_identify(void *userdata, struct stalled_shim *shim, bool *ret_misses_init)
{
	struct fixture *fixture = userdata;

	fixture->identified++;
	*ret_misses_init = fixture->misses_init;
	return fixture->identify;
}

static int on_ask_start(void *userdata, struct stalled_shim *shim, void **ret_request)
{
	struct fixture *fixture = userdata;

	fixture->asked++;
	fixture->child_count = shim->child_count;
	if (fixture->ask_start < 0)
		return fixture->ask_start;
	fixture->open++;
	*ret_request = fixture;
	return 0;
}

static int on_ask_check(void *userdata, struct stalled_shim *shim, void *request)
{
	assert_ptr_equal(request, userdata);
	((struct fixture *)userdata)->child_count = shim->child_count;
	return ((struct fixture *)userdata)->ask_check;
}

static void on_ask_end(void *userdata, void *request)
{
	assert_ptr_equal(request, userdata);
	((struct fixture *)userdata)->open--;
}

static void on_forget(void *userdata, struct stalled_shim *shim)
{
	((struct fixture *)userdata)->forgotten++;
}

static void on_report(void *userdata, struct stalled_shim *shim, bool cleared, uint64_t now_ns)
{
	struct fixture *fixture = userdata;

	assert_in_range(fixture->count, 0, TOLD_MAX - 1);
	fixture->told[fixture->count++] = (struct told){
		.pid = shim->seen.task.tgid,
		.findings = shim->findings,
		.cleared = cleared,
		.now_s = now_ns / NS_PER_S,
	};
	for (size_t i = 0; i < shim->child_count; i++)
		if (shim->children[i].dying_ns) {
			fixture->held_by = shim->children[i].held_by;
			const struct seen_task *holders[SHIM_HOLDERS_MAX];

			fixture->holder_count =
				stall_holders(&fixture->look, &shim->children[i], holders);
		}
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct stall_watch_options options = {.threshold_ns = THRESHOLD_S * NS_PER_S,
					      .longest_step_ns = LONGEST_STEP_S * NS_PER_S,
					      .identify = on_identify,
					      .ask_start = on_ask_start,
					      .ask_check = on_ask_check,
					      .ask_end = on_ask_end,
					      .report = on_report,
					      .forget = on_forget,
					      .userdata = fixture};

	assert_non_null(fixture);
	fixture->now_s = 1000;
	fixture->watch = stall_watch_new(&options);
	assert_non_null(fixture->watch);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	stall_watch_free(fixture->watch);
	assert_int_equal(fixture->open, 0);
	shim_look_clear(&fixture->look);
	free(fixture);
	return 0;
}

/* --- What a look sees --- */

static struct seen_shim *shim(struct fixture *fixture, uint32_t pid)
{
	struct seen_shim seen = {.task = {.pid = pid,
					  .tgid = pid,
					  .start_boot_ns = pid * NS_PER_S,
					  .comm = "containerd-shim"}};

	assert_int_equal(shim_look_add_shim(&fixture->look, &seen), 0);
	return &fixture->look.shims[fixture->look.shim_count - 1];
}

static struct seen_task *task(struct fixture *fixture, uint32_t shim_pid, uint32_t pid,
			      uint32_t flags)
{
	struct seen_task seen = {.start_boot_ns = pid * NS_PER_S,
				 .shim_start_boot_ns = shim_pid * NS_PER_S,
				 .pid = pid,
				 .shim_pid = shim_pid,
				 .state = flags & SHIM_TASK_ZOMBIE ? 'Z' : 'S',
				 .flags = flags,
				 .comm = "sleep"};

	assert_int_equal(shim_look_add_task(&fixture->look, &seen), 0);
	return &fixture->look.tasks[fixture->look.task_count - 1];
}

static struct seen_task *dying(struct fixture *fixture, uint32_t pid)
{
	struct seen_task *seen = task(fixture, SHIM, pid, SHIM_TASK_DYING_INIT);

	seen->pid_namespace = 4026532000;
	return seen;
}

static struct seen_task *holder(struct fixture *fixture, uint32_t shim_pid, uint32_t pid,
				uint32_t flags)
{
	struct seen_task *seen = task(fixture, shim_pid, pid, SHIM_TASK_HOLDER | flags);

	seen->pid_namespace = 4026532000;
	return seen;
}

static void look(struct fixture *fixture)
{
	assert_int_equal(
		stall_watch_look(fixture->watch, &fixture->look, fixture->now_s * NS_PER_S), 0);
	shim_look_clear(&fixture->look);
	fixture->now_s++;
}

/* A shim with a living child, at each look for SECONDS. */
static void healthy(struct fixture *fixture, unsigned seconds)
{
	for (unsigned i = 0; i < seconds; i++) {
		shim(fixture, SHIM);
		task(fixture, SHIM, CHILD, 0);
		look(fixture);
	}
}

/* The same, and a zombie. */
static void zombie(struct fixture *fixture, unsigned seconds)
{
	for (unsigned i = 0; i < seconds; i++) {
		shim(fixture, SHIM);
		task(fixture, SHIM, CHILD, 0);
		task(fixture, SHIM, CHILD + 1, SHIM_TASK_ZOMBIE);
		look(fixture);
	}
}

#define assert_told(fixture, index, pid_, findings_, cleared_)                \
	do {                                                                  \
		assert_true((fixture)->count > (index));                      \
		assert_int_equal((fixture)->told[index].pid, pid_);           \
		assert_int_equal((fixture)->told[index].findings, findings_); \
		assert_int_equal((fixture)->told[index].cleared, cleared_);   \
	} while (0)

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

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_zombie_is_told_when_it_is_as_old_as_the_threshold),
		CASE(a_zombie_that_is_reaped_in_time_is_nothing),
		CASE(a_shim_that_reaps_slowly_is_not_stalled),
		CASE(a_shim_that_stops_reaping_is_told_a_threshold_later),
		CASE(reaping_after_all_clears_what_was_told),
		CASE(a_zombie_of_a_reused_pid_is_another),
		CASE(a_look_that_left_some_out_takes_nothing_for_reaped_or_ended),
		CASE(time_in_which_nobody_looked_does_not_count),
		CASE(a_look_without_room_for_all_still_sees_a_shim_reap),
		CASE(what_looks_without_room_leave_out_is_not_kept_for_ever),
		CASE(what_lasts_is_told_again_every_ten_thresholds),
		CASE(a_shim_that_ends_clears_what_was_told),
		CASE(a_shim_of_a_reused_pid_starts_anew),
		CASE(each_of_three_hundred_shims_is_judged_by_itself),
		CASE(another_finding_that_joins_is_told_at_once_and_one_that_leaves_is_not),
		CASE(a_stopped_shim_is_told_and_nothing_is_asked_of_it),
		CASE(a_traced_shim_that_moves_is_not_stopped),
		CASE(a_traced_shim_that_stands_still_is_stopped),
		CASE(a_shim_whose_children_live_is_not_asked),
		CASE(a_helper_of_a_moment_is_no_reason_to_ask),
		CASE(a_child_that_is_gone_is_asked_about_and_silence_is_told),
		CASE(what_is_answered_is_asked_again_only_when_something_else_ends),
		CASE(a_shim_without_children_is_asked_at_the_second_look),
		CASE(a_shim_that_lost_one_of_its_inits_before_the_first_look_is_asked),
		CASE(a_shim_that_refuses_connections_is_told_as_unresponsive),
		CASE(a_shim_that_closes_the_connection_is_asked_again),
		CASE(a_shim_that_cannot_be_asked_is_not_asked_twice),
		CASE(silence_of_a_shim_that_reaps_is_not_told),
		CASE(stopping_a_shim_withdraws_the_question),
		CASE(what_only_has_the_name_of_a_shim_is_left_alone),
		CASE(an_init_held_by_what_the_shim_must_reap_is_told_with_it),
		CASE(an_init_held_by_a_task_is_told_even_if_the_shim_reaps_others),
		CASE(holders_of_another_namespace_do_not_count),
		CASE(an_init_that_sleeps_uninterruptibly_holds_itself),
		CASE(an_init_that_is_still_at_work_ending_is_nothing),
		CASE(more_holders_than_there_is_room_for_are_cut),
	};

	return cmocka_run_group_tests_name("shim_stall", tests, NULL, NULL);
}
