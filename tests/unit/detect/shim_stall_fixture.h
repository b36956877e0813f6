/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of what is said of a shim, and when: looks made up by hand, with a clock and shims of
 * the test's own. The threshold is ten seconds, and a look comes every second.
 */
#pragma once

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

static inline int on_identify(void *userdata, struct stalled_shim *shim, bool *ret_misses_init)
{
	struct fixture *fixture = userdata;

	fixture->identified++;
	*ret_misses_init = fixture->misses_init;
	return fixture->identify;
}

static inline int on_ask_start(void *userdata, struct stalled_shim *shim, void **ret_request)
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

static inline int on_ask_check(void *userdata, struct stalled_shim *shim, void *request)
{
	assert_ptr_equal(request, userdata);
	((struct fixture *)userdata)->child_count = shim->child_count;
	return ((struct fixture *)userdata)->ask_check;
}

static inline void on_ask_end(void *userdata, void *request)
{
	assert_ptr_equal(request, userdata);
	((struct fixture *)userdata)->open--;
}

static inline void on_forget(void *userdata, struct stalled_shim *shim)
{
	((struct fixture *)userdata)->forgotten++;
}

static inline void on_report(void *userdata, struct stalled_shim *shim, bool cleared,
			     uint64_t now_ns)
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

static inline int setup(void **state)
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

static inline int teardown(void **state)
{
	struct fixture *fixture = *state;

	stall_watch_free(fixture->watch);
	assert_int_equal(fixture->open, 0);
	shim_look_clear(&fixture->look);
	free(fixture);
	return 0;
}

/* --- What a look sees --- */

static inline struct seen_shim *shim(struct fixture *fixture, uint32_t pid)
{
	struct seen_shim seen = {.task = {.pid = pid,
					  .tgid = pid,
					  .start_boot_ns = pid * NS_PER_S,
					  .comm = "containerd-shim"}};

	assert_int_equal(shim_look_add_shim(&fixture->look, &seen), 0);
	return &fixture->look.shims[fixture->look.shim_count - 1];
}

static inline struct seen_task *task(struct fixture *fixture, uint32_t shim_pid, uint32_t pid,
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

static inline struct seen_task *dying(struct fixture *fixture, uint32_t pid)
{
	struct seen_task *seen = task(fixture, SHIM, pid, SHIM_TASK_DYING_INIT);

	seen->pid_namespace = 4026532000;
	return seen;
}

static inline struct seen_task *holder(struct fixture *fixture, uint32_t shim_pid, uint32_t pid,
				       uint32_t flags)
{
	struct seen_task *seen = task(fixture, shim_pid, pid, SHIM_TASK_HOLDER | flags);

	seen->pid_namespace = 4026532000;
	return seen;
}

static inline void look(struct fixture *fixture)
{
	assert_int_equal(
		stall_watch_look(fixture->watch, &fixture->look, fixture->now_s * NS_PER_S), 0);
	shim_look_clear(&fixture->look);
	fixture->now_s++;
}

/* A shim with a living child, at each look for SECONDS. */
static inline void healthy(struct fixture *fixture, unsigned seconds)
{
	for (unsigned i = 0; i < seconds; i++) {
		shim(fixture, SHIM);
		task(fixture, SHIM, CHILD, 0);
		look(fixture);
	}
}

/* The same, and a zombie. */
static inline void zombie(struct fixture *fixture, unsigned seconds)
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

#define STALL_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
