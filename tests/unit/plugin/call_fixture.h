/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the chain share: a folder of their own, an event loop, a pool of calls whose
 * supervisors are this very test program, and waiting for something with a deadline.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "plugin/call.h"
#include "plugin/entry.h"
#include "plugin/supervisor.h"

#define TEST_DEADLINE_NS (15 * NS_PER_S)

struct fixture {
	char directory[64];
	sd_event *event;
	struct call_pool *pool;
	struct plugin_entry *entry; /* the one that the test calls last; freed at its end */
};

/* `main` of a test that makes calls: the agent starts this program as the supervisor. */
#define SUPERVISOR_OR_RETURN(argc, argv)                                 \
	do {                                                             \
		if ((argc) > 1 && streq((argv)[1], "plugin-supervisor")) \
			return supervisor_run(3);                        \
	} while (0)

static inline uint64_t test_now(void)
{
	return clock_monotonic(clock_system());
}

static inline const char *test_path(const struct fixture *fixture, const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", fixture->directory, name);
	return path;
}

static inline int fixture_setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/lifeboat-chain-XXXXXX");
	assert_non_null(mkdtemp(fixture->directory));
	assert_true(sd_event_new(&fixture->event) >= 0);
	struct call_pool_options options = {.event = fixture->event, .clock = clock_system()};
	assert_int_equal(call_pool_new(&options, &fixture->pool), 0);
	*state = fixture;
	return 0;
}

static inline void directory_remove(const char *path)
{
	char command[512];
	pid_t pid;

	snprintf(command, sizeof(command), "%s", path);
	pid = fork();
	if (pid == 0) {
		execl("/bin/rm", "rm", "-rf", command, NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static inline int fixture_teardown(void **state)
{
	struct fixture *fixture = *state;

	if (fixture->pool)
		call_pool_free(fixture->pool);
	if (fixture->entry)
		plugin_entry_unref(fixture->entry);
	sd_event_unref(fixture->event);
	directory_remove(fixture->directory);
	free(fixture);
	return 0;
}

static inline void write_file(const char *path, const char *text, mode_t mode)
{
	assert_int_equal(file_write_atomic(path, text, strlen(text), mode), 0);
}

/* Runs the loop until CONDITION, or fails the test at the deadline, saying WHAT was waited for. */
#define WAIT_FOR(fixture, what, condition)                                       \
	do {                                                                     \
		uint64_t end_ = test_now() + TEST_DEADLINE_NS;                   \
		while (!(condition)) {                                           \
			if (test_now() > end_)                                   \
				fail_msg("waited in vain for: %s", what);        \
			assert_true(sd_event_run((fixture)->event, 20000) >= 0); \
		}                                                                \
	} while (0)

/* A script of the fixture as an entry; it must be fit to run. */
static inline struct plugin_entry *script(struct fixture *fixture, enum plugin_kind kind,
					  const char *text)
{
	write_file(test_path(fixture, "subject.sh"), text, 0700);
	if (fixture->entry)
		plugin_entry_unref(TAKE_PTR(fixture->entry));
	assert_int_equal(plugin_entry_new_script(kind, fixture->directory, "subject.sh", NULL,
						 &fixture->entry),
			 0);
	if (fixture->entry->refusal)
		fail_msg("refused: %s", fixture->entry->refusal);
	return fixture->entry;
}

static inline struct abnormal *custom_abnormal(void)
{
	static const char text[] =
		"{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\","
		"\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"},"
		"\"spec\":{\"source\":\"Custom\",\"nodeName\":\"n1\",\"context\":{\"question\":"
		"\"why\"}},"
		"\"status\":{\"phase\":\"Diagnosing\",\"context\":{\"before\":{\"x\":1}}}}";
	struct abnormal *abnormal = NULL;
	struct problem problem = {0};

	if (abnormal_parse(text, strlen(text), &abnormal, &problem) < 0)
		fail_msg("%s: %s", problem.field, problem.text);
	return abnormal;
}

struct called {
	unsigned times;
	struct call_result result;
};

static inline void on_called(void *userdata, struct call_result *result)
{
	struct called *called = userdata;

	called->times++;
	called->result = *result;
	*result = (struct call_result){0};
}

/* One call from beginning to end. RESULT is the caller's to clear. */
static inline void call_with(struct fixture *fixture, struct plugin_entry *entry,
			     enum plugin_step step, const struct abnormal *abnormal,
			     const char *artifacts, struct call_result *ret_result)
{
	struct called called = {0};

	assert_int_equal(call_start(fixture->pool, entry, step, abnormal, artifacts, on_called,
				    &called, NULL),
			 0);
	assert_int_equal(called.times, 0);
	WAIT_FOR(fixture, "the answer of a call", called.times > 0);
	assert_int_equal(called.times, 1);
	*ret_result = called.result;
}

static inline void call_once(struct fixture *fixture, struct plugin_entry *entry,
			     enum plugin_step step, struct call_result *ret_result)
{
	_cleanup_abnormal_ struct abnormal *abnormal = custom_abnormal();

	call_with(fixture, entry, step, abnormal, NULL, ret_result);
}

#define assert_error_has(result, text)                                                         \
	do {                                                                                   \
		assert_int_equal((result).verdict, CALL_ERROR);                                \
		assert_non_null((result).error);                                               \
		if (!strstr((result).error, text))                                             \
			fail_msg("the error is \"%s\", without \"%s\"", (result).error, text); \
	} while (0)

static inline bool process_is_gone(pid_t pid)
{
	return kill(pid, 0) < 0 && errno == ESRCH;
}

/* The pid that a script wrote to the file NAME, or 0 if it has not. */
static inline pid_t pid_in(const struct fixture *fixture, const char *name)
{
	uint64_t pid;

	return file_read_u64(AT_FDCWD, test_path(fixture, name), &pid) == 0 ? (pid_t)pid : 0;
}
