/* SPDX-License-Identifier: Apache-2.0 */
/* Killing and removing real groups, v1 and v2, with one beside them that must not be touched. */
#include "fake_root.h"

#include <signal.h>
#include <sys/wait.h>

#include "host/cgroup_kill.h"
#include "host/mounts.h"
#include "../skip.h"

#define WITHIN_NS (5 * NS_PER_S)

struct group {
	char folder[PATH_MAX];
	const char *path; /* in FOLDER */
};

/* Where a hierarchy of FS_TYPE is mounted; false if none is. */
static bool find_hierarchy(const struct host *host, const char *fs_type, char *folder, size_t size)
{
	_cleanup_mounts_ struct mounts *mounts = NULL;

	assert_int_equal(mounts_read(host, 0, &mounts), 0);
	for (size_t i = 0; i < mounts->count; i++) {
		const struct mount *mount = &mounts->items[i];

		if (!streq(mount->fs_type, fs_type) || !streq(mount->root, "/") ||
		    (streq(fs_type, "cgroup") && !strstr(mount->options, "pids")))
			continue;
		snprintf(folder, size, "%s", mount->mount_point);
		return true;
	}
	return false;
}

static void make_group(const char *root, const char *name, struct group *group)
{
	snprintf(group->folder, sizeof(group->folder), "%s/lifeboat-test-%d-%s", root,
		 (int)getpid(), name);
	group->path = group->folder + strlen(root);
	assert_int_equal(mkdir(group->folder, 0755), 0);
}

static void join(const char *folder, const char *below)
{
	char path[PATH_MAX + 64];
	int fd;

	snprintf(path, sizeof(path), "%s%s/cgroup.procs", folder, below);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		_exit(1);
	close(fd);
}

/* A process in the group (and BELOW it) that ignores what can be ignored, and is there when this returns. */
static pid_t put_into(const struct group *group, const char *below)
{
	int ready[2];
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid_t child = fork();

	if (child == 0) {
		signal(SIGTERM, SIG_IGN);
		join(group->folder, below);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	bool is_ready = read(ready[0], &byte, 1) == 1;
	close(ready[0]);
	assert_true(is_ready);
	return child;
}

static bool was_killed(pid_t child)
{
	int status;

	return waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
	       WTERMSIG(status) == SIGKILL;
}

static void check(const char *fs_type)
{
	_cleanup_host_ struct host *host = NULL;
	struct group group, beside;
	struct cgroup_killed killed;
	char root[PATH_MAX], below[PATH_MAX + 16];
	size_t removed = 0, left = 0;

	assert_int_equal(host_open(NULL, &host), 0);
	if (geteuid() != 0 || !find_hierarchy(host, fs_type, root, sizeof(root)))
		skip_because("needs root and a mounted hierarchy of type %s (v1: with pids)",
			     fs_type);
	make_group(root, "group", &group);
	make_group(root, "beside", &beside);
	snprintf(below, sizeof(below), "%s/below", group.folder);
	assert_int_equal(mkdir(below, 0755), 0);
	pid_t other = put_into(&beside, "");
	pid_t first = put_into(&group, ""), second = put_into(&group, "/below");
	_cleanup_close_ int fd = open(group.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int refused = cgroup_remove(host, group.path, &removed, &left);
	bool kept = left > 0 && access(below, F_OK) == 0;
	int r = cgroup_kill(host, clock_system(), fd, WITHIN_NS, &killed);
	bool ended = was_killed(first) && was_killed(second);
	bool alive = kill(other, 0) == 0 && waitpid(other, NULL, WNOHANG) == 0;
	int removal = cgroup_remove(host, group.path, &removed, &left);

	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	size_t beside_removed, beside_left = 1;
	for (int i = 0; i < 200 && beside_left; i++) {
		cgroup_remove(host, beside.path, &beside_removed, &beside_left);
		usleep(10000);
	}
	assert_int_equal(refused, 0);
	assert_true(kept);
	assert_int_equal(r, 0);
	assert_int_equal(killed.found, 2);
	assert_int_equal(killed.left, 0);
	assert_true(ended);
	assert_true(alive);
	assert_int_equal(removal, 0);
	assert_int_equal(left, 0);
	assert_int_equal(access(group.folder, F_OK), -1);
	assert_int_equal(beside_left, 0);
}

static void all_in_a_v1_group_is_killed_and_nothing_else(void **state)
{
	check("cgroup");
}

static void all_in_a_v2_group_is_killed_and_nothing_else(void **state)
{
	check("cgroup2");
}

static void what_is_no_group_is_not_removed(void **state)
{
	_cleanup_host_ struct host *host = NULL;
	size_t removed, left;

	assert_int_equal(host_open(NULL, &host), 0);
	assert_int_equal(cgroup_remove(host, "/", &removed, &left), -EINVAL);
	assert_int_equal(cgroup_remove(host, "/a/../b", &removed, &left), -EINVAL);
	assert_int_equal(cgroup_remove(host, "/a/.", &removed, &left), -EINVAL);
	assert_int_equal(cgroup_remove(host, "a", &removed, &left), -EINVAL);
	assert_int_equal(cgroup_remove(host, "/lifeboat-test-none", &removed, &left), 0);
	assert_int_equal(removed + left, 0);
}

/* A process that is listed, and is init's number or of nobody here, is no target. */
static void init_is_never_held(void **state)
{
	const struct fake_root *root = *state;
	struct cgroup_killed killed;
	char path[PATH_MAX];

	fake_file(root, "group/cgroup.procs", "1\n");
	snprintf(path, sizeof(path), "%s/group", root->path);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(cgroup_kill(root->host, clock_system(), fd, WITHIN_NS, &killed), -EXDEV);
	fake_file(root, "group/cgroup.procs", "0\n");
	assert_int_equal(cgroup_kill(root->host, clock_system(), fd, WITHIN_NS, &killed), -EXDEV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_in_a_v1_group_is_killed_and_nothing_else),
		cmocka_unit_test(all_in_a_v2_group_is_killed_and_nothing_else),
		cmocka_unit_test(what_is_no_group_is_not_removed),
		cmocka_unit_test_setup_teardown(init_is_never_held, fake_root_setup,
						fake_root_teardown),
	};

	return cmocka_run_group_tests_name("cgroup_kill", tests, NULL, NULL);
}
