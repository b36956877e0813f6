/* SPDX-License-Identifier: Apache-2.0 */
/* Collected files go when their Abnormal goes, and nothing else does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>

#include "agent/artifacts.h"
#include "base/clock.h"
#include "base/file.h"

#define FIRST "11111111-1111-4111-8111-111111111111"
#define SECOND "22222222-2222-4222-8222-222222222222"

struct place {
	char root[64];
	sd_event *event;
	struct artifact_cleaner *cleaner;
};

static const char *path_of(const struct place *place, const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", place->root, name);
	return path;
}

static void leave(const struct place *place, const char *folder, const char *file)
{
	assert_int_equal(directory_make(path_of(place, folder), 0700), 0);
	assert_int_equal(file_write_atomic(path_of(place, file), "x", 1, 0600), 0);
}

static int setup(void **state)
{
	struct place *place = calloc(1, sizeof(*place));
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	snprintf(place->root, sizeof(place->root), "/tmp/lifeboat-artifacts-XXXXXX");
	assert_non_null(mkdtemp(place->root));
	assert_true(sd_event_new(&place->event) >= 0);
	assert_int_equal(artifact_cleaner_new(place->event, place->root, &place->cleaner), 0);
	*state = place;
	return 0;
}

static int teardown(void **state)
{
	struct place *place = *state;

	artifact_cleaner_free(place->cleaner);
	sd_event_unref(place->event);
	unlink(path_of(place, "keep/file"));
	rmdir(path_of(place, "keep"));
	assert_int_equal(rmdir(place->root), 0);
	free(place);
	return 0;
}

static void wait_gone(struct place *place, const char *name)
{
	uint64_t end = clock_monotonic(clock_system()) + 10 * NS_PER_S;

	while (access(path_of(place, name), F_OK) == 0) {
		if (clock_monotonic(clock_system()) > end)
			fail_msg("%s is still there", name);
		assert_true(sd_event_run(place->event, 10000) >= 0);
	}
}

static void folders_of_removed_abnormals_go_and_others_stay(void **state)
{
	struct place *place = *state;

	leave(place, FIRST "/host", FIRST "/host/mounts.txt");
	leave(place, SECOND, SECOND "/file");
	leave(place, "keep", "keep/file");
	artifact_cleaner_remove(place->cleaner, FIRST);
	artifact_cleaner_remove(place->cleaner, SECOND);
	wait_gone(place, FIRST);
	wait_gone(place, SECOND);
	assert_int_equal(access(path_of(place, "keep/file"), F_OK), 0);
}

/* With the agent's sockets it would keep supervisors and the store's worker alive after the agent. */
static void whoever_removes_holds_nothing_of_the_agents(void **state)
{
	struct place *place = *state;
	int ends[2];
	char name[64];

	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), FIRST "/host/%d", i);
		directory_make(path_of(place, FIRST "/host"), 0700);
		int fd = open(path_of(place, name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		assert_true(fd >= 0);
		close(fd);
	}
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	artifact_cleaner_remove(place->cleaner, FIRST);
	close(ends[1]);
	struct pollfd polled = {.fd = ends[0], .events = POLLIN};
	assert_int_equal(poll(&polled, 1, 10000), 1);
	assert_int_equal(access(path_of(place, FIRST "/host"), F_OK), 0);
	close(ends[0]);
	wait_gone(place, FIRST);
}

static void what_is_no_uid_is_never_a_path(void **state)
{
	struct place *place = *state;

	leave(place, "keep", "keep/file");
	artifact_cleaner_remove(place->cleaner, "keep");
	artifact_cleaner_remove(place->cleaner, "../../../../../../../../../../../etc");
	artifact_cleaner_remove(place->cleaner, "");
	artifact_cleaner_remove(place->cleaner, FIRST);
	for (int i = 0; i < 20; i++)
		assert_true(sd_event_run(place->event, 10000) >= 0);
	assert_int_equal(access(path_of(place, "keep/file"), F_OK), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(folders_of_removed_abnormals_go_and_others_stay,
						setup, teardown),
		cmocka_unit_test_setup_teardown(whoever_removes_holds_nothing_of_the_agents, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_is_no_uid_is_never_a_path, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
