/* SPDX-License-Identifier: Apache-2.0 */
/* thaw-filesystem on a real ext4 that is really frozen. */
#include "builtin_fixture.h"

#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "host/process.h"
#include "../skip.h"

struct filesystem {
	struct plugin_fixture *fixture;
	char image[96], mount[96];
	bool mounted;
	dev_t device;
	pid_t writer;
	struct process waiter;
};

static int run(const char *const *arguments)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		dup2(null, 1);
		dup2(null, 2);
		execvp(arguments[0], (char *const *)arguments);
		_exit(127);
	}
	return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static int freeze(const struct filesystem *filesystem, unsigned long request)
{
	_cleanup_close_ int fd = open(filesystem->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || ioctl(fd, request, 0) < 0 ? -errno : 0;
}

static int setup(void **state)
{
	struct filesystem *filesystem = calloc(1, sizeof(*filesystem));
	void *fixture;
	struct stat status;

	plugin_fixture_setup(&fixture);
	filesystem->fixture = fixture;
	*state = filesystem;
	snprintf(filesystem->image, sizeof(filesystem->image), "%s/image",
		 filesystem->fixture->root.path);
	snprintf(filesystem->mount, sizeof(filesystem->mount), "%s/mnt",
		 filesystem->fixture->root.path);
	fake_folder(&filesystem->fixture->root, "mnt");
	fake_file(&filesystem->fixture->root, "image", "%s", "");
	if (geteuid() != 0 || truncate(filesystem->image, 16 * 1024 * 1024) < 0 ||
	    RUN("mkfs.ext4", "-q", filesystem->image) != 0 ||
	    RUN("mount", "-o", "loop", filesystem->image, filesystem->mount) != 0)
		return 0; /* the test says that it is skipped */
	filesystem->mounted = true;
	assert_int_equal(stat(filesystem->mount, &status), 0);
	filesystem->device = status.st_dev;
	return 0;
}

static int teardown(void **state)
{
	struct filesystem *filesystem = *state;
	void *fixture = filesystem->fixture;

	if (filesystem->mounted)
		freeze(filesystem, FITHAW);
	if (filesystem->writer) {
		kill(filesystem->writer, SIGKILL);
		waitpid(filesystem->writer, NULL, 0);
	}
	if (filesystem->mounted && RUN("umount", filesystem->mount) != 0)
		RUN("umount", "-l", filesystem->mount);
	free(filesystem);
	return plugin_fixture_teardown(&fixture);
}

/* A task that hangs on the frozen filesystem. */
static void hang(struct filesystem *filesystem)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/file", filesystem->mount);
	assert_int_equal(freeze(filesystem, FIFREEZE), 0);
	filesystem->writer = fork();
	if (filesystem->writer == 0)
		_exit(open(path, O_CREAT | O_WRONLY, 0644) < 0);
	for (int i = 0; i < 500; i++) {
		assert_int_equal(process_read(filesystem->fixture->real, filesystem->writer,
					      &filesystem->waiter),
				 0);
		if (filesystem->waiter.state == 'D')
			return;
		usleep(10000);
	}
	fail_msg("the writer is in state %c after 5 s, not hung", filesystem->waiter.state);
}

static void plan(struct filesystem *filesystem, int level, int expected)
{
	struct plugin_fixture *fixture = filesystem->fixture;
	_cleanup_free_ char *text = NULL;

	assert_true(asprintf(&text,
			     "{\"apiVersion\":\"lifeboat.dev/"
			     "v1alpha1\",\"kind\":\"Abnormal\",\"metadata\":{\"name\":\"a\","
			     "\"namespace\":\"default\"},"
			     "\"spec\":{\"source\":\"KernelEvent\",\"kernelEvent\":{\"detector\":"
			     "\"hung_task\",\"type\":\"HungTask\","
			     "\"time\":\"2026-11-23T18:00:00Z\",\"details\":{\"kind\":\"frozen-"
			     "filesystem\",\"tasks\":1,\"filesystem\":"
			     "{\"major\":%u,\"minor\":%u,\"id\":\"loopX\",\"type\":\"ext4\","
			     "\"freezeLevel\":%d},\"waiters\":[{\"pid\":%d,\"tgid\":%d,"
			     "\"startTime\":%llu,\"comm\":\"x\",\"killable\":false,\"function\":"
			     "\"percpu_rwsem_wait\"}]}}},"
			     "\"status\":{\"reason\":\"FilesystemFrozen\",\"message\":\"the "
			     "diagnosis\"}}",
			     major(filesystem->device), minor(filesystem->device), level,
			     (int)filesystem->writer, (int)filesystem->writer,
			     (unsigned long long)filesystem->waiter.start_time) > 0);
	fixture_call(fixture, PLUGIN_RECOVERER, "thaw-filesystem", text);
	fixture->call.host = fixture->real;
	assert_int_equal(fixture->call.plugin->plan(&fixture->call), expected);
}

#define NEED(filesystem)                                                      \
	if (!(filesystem)->mounted) {                                         \
		skip_because("needs root, mkfs.ext4 and a free loop device"); \
	}

static void a_frozen_filesystem_is_thawed_and_the_tasks_go_on(void **state)
{
	struct filesystem *filesystem = *state;
	struct plugin_call *call = &filesystem->fixture->call;
	char expected[192];
	int status;

	NEED(filesystem);
	hang(filesystem);
	plan(filesystem, 4, PLUGIN_RECOGNISED);
	snprintf(expected, sizeof(expected), "ext4 on loopX at %s", filesystem->mount);
	assert_string_equal(fixture_context(filesystem->fixture, "target")->valuestring, expected);
	assert_string_equal(call->abnormal->status.message, "the diagnosis");
	assert_int_equal(call->plugin->verify(call), PLUGIN_NOT_MINE);
	assert_int_equal(call->plugin->recover(call), PLUGIN_RECOGNISED);
	snprintf(expected, sizeof(expected),
		 "thawed %s; a snapshot that was being taken of it is not consistent",
		 filesystem->mount);
	assert_string_equal(call->abnormal->status.message, expected);
	assert_int_equal(waitpid(filesystem->writer, &status, 0), filesystem->writer);
	filesystem->writer = 0;
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(call->plugin->verify(call), PLUGIN_RECOGNISED);
	assert_string_equal(call->abnormal->status.message, "the task that waited has moved on");
	/* Doing it again does no more than doing it once. */
	assert_int_equal(call->plugin->recover(call), PLUGIN_RECOGNISED);
	assert_string_equal(call->abnormal->status.message,
			    "no task waits there any more; nothing was thawed");
}

static void a_thawed_filesystem_is_no_error(void **state)
{
	struct filesystem *filesystem = *state;
	struct plugin_call *call = &filesystem->fixture->call;

	NEED(filesystem);
	hang(filesystem);
	plan(filesystem, 4, PLUGIN_RECOGNISED);
	kill(filesystem->writer, SIGSTOP); /* taken when the wait ends: the task is then not in D,
					      but not gone either */
	assert_int_equal(freeze(filesystem, FITHAW), 0);
	for (int i = 0; i < 500 && call->plugin->verify(call) != PLUGIN_RECOGNISED; i++)
		usleep(10000);
	assert_int_equal(call->plugin->verify(call), PLUGIN_RECOGNISED);
}

static void another_filesystem_at_the_mount_point_is_left_alone(void **state)
{
	struct filesystem *filesystem = *state;
	struct plugin_call *call = &filesystem->fixture->call;

	NEED(filesystem);
	hang(filesystem);
	plan(filesystem, 4, PLUGIN_RECOGNISED);
	assert_int_equal(json_set_string(plugin_context(call), "mountPoint", "/tmp"), 0);
	assert_int_equal(call->plugin->recover(call), -ESTALE);
	struct process process;
	assert_int_equal(process_read(filesystem->fixture->real, filesystem->writer, &process), 0);
	assert_int_equal(process.state, 'D');
}

/*
 * A container may lay a link where its mount point was. It would lead through our own tree, even to
 * the right filesystem: what is not reached the way that was planned is not touched.
 */
static void a_link_at_the_mount_point_is_not_followed(void **state)
{
	struct filesystem *filesystem = *state;
	struct plugin_call *call = &filesystem->fixture->call;
	char link[128];

	NEED(filesystem);
	hang(filesystem);
	snprintf(link, sizeof(link), "%s/link", filesystem->fixture->root.path);
	assert_int_equal(symlink(filesystem->mount, link), 0);
	for (int pid = 0; pid < 2; pid++) {
		plan(filesystem, 4, PLUGIN_RECOGNISED);
		assert_int_equal(json_set_string(plugin_context(call), "mountPoint", link), 0);
		assert_int_equal(json_set_number(plugin_context(call), "mountNamespaceOf",
						 pid ? getpid() : 0),
				 0);
		assert_int_equal(call->plugin->recover(call), -ELOOP);
	}
	unlink(link);
	/* By another process's root the planned way leads there as well. */
	plan(filesystem, 4, PLUGIN_RECOGNISED);
	assert_int_equal(json_set_number(plugin_context(call), "mountNamespaceOf", getpid()), 0);
	assert_int_equal(call->plugin->recover(call), PLUGIN_RECOGNISED);
}

static void what_thawing_cannot_help_is_refused(void **state)
{
	struct filesystem *filesystem = *state;

	NEED(filesystem);
	hang(filesystem);
	plan(filesystem, 2, PLUGIN_NOT_MINE); /* the freeze is not complete */
	filesystem->device = makedev(7, 250); /* mounted nowhere */
	plan(filesystem, 4, PLUGIN_NOT_MINE);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_frozen_filesystem_is_thawed_and_the_tasks_go_on),
		TEST(a_thawed_filesystem_is_no_error),
		TEST(another_filesystem_at_the_mount_point_is_left_alone),
		TEST(a_link_at_the_mount_point_is_not_followed),
		TEST(what_thawing_cannot_help_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
