/* SPDX-License-Identifier: Apache-2.0 */
/* Walks over hierarchies, freezers, and whose a group is, on trees of the test's own. */
#include "fake_root.h"

#include "host/cgroup_freezer.h"
#include "host/cgroup_owner.h"
#include "host/cgroup_walk.h"

#define V2 "30 20 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
#define V1 "31 20 0:28 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n"

static struct cgroup_walk *begin(const struct fake_root *root, const char *mounts)
{
	struct cgroup_walk *walk;

	fake_file(root, "proc/1/mountinfo", "%s", mounts);
	fake_file(root, "sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n");
	assert_int_equal(cgroup_walk_new(root->host, "freezer", &walk), 0);
	return walk;
}

static void expect_rest(struct cgroup_walk *walk, const char *skipped, const char *expected)
{
	struct cgroup_walk_group group;
	char seen[256] = "";
	int r;

	/* readdir has no order: brothers are not laid into these trees. */
	while ((r = cgroup_walk_next(walk, &group)) == 0) {
		size_t length = strlen(seen);
		struct stat status;

		assert_int_equal(fstat(group.fd, &status), 0);
		assert_int_equal(status.st_ino, group.id);
		snprintf(seen + length, sizeof(seen) - length, "%s ", group.path);
		if (skipped && streq(group.path, skipped))
			cgroup_walk_skip(walk);
	}
	assert_int_equal(r, -ENODATA);
	assert_string_equal(seen, expected);
}

static void every_group_is_given_after_its_parent_round_after_round(void **state)
{
	const struct fake_root *root = *state;

	fake_folder(root, "sys/fs/cgroup/a/b/c");
	struct cgroup_walk *walk = begin(root, V2);

	assert_int_equal(cgroup_walk_version(walk), CGROUP_V2);
	expect_rest(walk, NULL, "/ /a /a/b /a/b/c ");
	expect_rest(walk, "/a", "/ /a ");
	expect_rest(walk, "/", "/ ");
	expect_rest(walk, NULL, "/ /a /a/b /a/b/c ");
	cgroup_walk_free(walk);
}

static void what_is_removed_on_the_way_is_left_out(void **state)
{
	const struct fake_root *root = *state;
	struct cgroup_walk_group group;
	char path[128];

	fake_folder(root, "sys/fs/cgroup/freezer/a/b");
	struct cgroup_walk *walk = begin(root, V1);

	assert_int_equal(cgroup_walk_version(walk), CGROUP_V1);
	assert_int_equal(cgroup_walk_next(walk, &group), 0);
	assert_int_equal(cgroup_walk_next(walk, &group), 0);
	assert_string_equal(group.path, "/a");
	snprintf(path, sizeof(path), "%s/sys/fs/cgroup/freezer/a/b", root->path);
	assert_int_equal(rmdir(path), 0);
	expect_rest(walk, NULL, "");
	cgroup_walk_free(walk);
}

static void a_walk_that_is_given_up_half_way_leaves_nothing_open(void **state)
{
	const struct fake_root *root = *state;
	struct cgroup_walk_group group;

	fake_folder(root, "sys/fs/cgroup/a/b");
	int before = dup(0);
	close(before);
	struct cgroup_walk *walk = begin(root, V2);

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(cgroup_walk_next(walk, &group), 0);
	cgroup_walk_free(walk);
	int after = dup(0);
	close(after);
	assert_int_equal(after, before);
}

static void no_hierarchy_is_told(void **state)
{
	const struct fake_root *root = *state;
	struct cgroup_walk *walk;

	fake_file(root, "proc/1/mountinfo", "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n");
	assert_int_equal(cgroup_walk_new(root->host, "freezer", &walk), -EOPNOTSUPP);
}

/* --- Freezers --- */

static int open_folder(const struct fake_root *root, const char *path)
{
	char full[PATH_MAX];

	fake_folder(root, path);
	snprintf(full, sizeof(full), "%s/%s", root->path, path);
	int fd = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void a_v1_freezer_is_read(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_close_ int fd = open_folder(root, "g");
	struct cgroup_freezer freezer;

	/* A root. */
	assert_int_equal(cgroup_freezer_read(fd, CGROUP_V1, &freezer), 0);
	assert_false(freezer.asked);
	/* Frozen by a parent alone. */
	fake_file(root, "g/freezer.self_freezing", "0\n");
	fake_file(root, "g/freezer.state", "FROZEN\n");
	assert_int_equal(cgroup_freezer_read(fd, CGROUP_V1, &freezer), 0);
	assert_false(freezer.asked);
	assert_int_equal(cgroup_freezer_runs(fd, CGROUP_V1), 0);
	fake_file(root, "g/freezer.self_freezing", "1\n");
	fake_file(root, "g/freezer.state", "FREEZING\n");
	assert_int_equal(cgroup_freezer_read(fd, CGROUP_V1, &freezer), 0);
	assert_true(freezer.asked && !freezer.complete);
	assert_string_equal(cgroup_freezer_state(&freezer, CGROUP_V1), "FREEZING");
	assert_int_equal(cgroup_freezer_thaw(fd, CGROUP_V1), 0);
	/* A file of the test's own is overwritten from its start. */
	assert_int_equal(cgroup_freezer_runs(fd, CGROUP_V1), 1);
}

static void a_v2_freezer_is_read(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_close_ int fd = open_folder(root, "g");
	struct cgroup_freezer freezer;

	assert_int_equal(cgroup_freezer_read(fd, CGROUP_V2, &freezer), 0);
	assert_false(freezer.asked);
	fake_file(root, "g/cgroup.freeze", "1\n");
	fake_file(root, "g/cgroup.events", "populated 0\nfrozen 1\n");
	assert_int_equal(cgroup_freezer_read(fd, CGROUP_V2, &freezer), 0);
	assert_true(freezer.asked && freezer.complete && !freezer.populated);
	fake_file(root, "g/cgroup.events", "populated 1\nfrozen 0\n");
	assert_int_equal(cgroup_freezer_read(fd, CGROUP_V2, &freezer), 0);
	assert_true(freezer.asked && !freezer.complete && freezer.populated);
	assert_int_equal(cgroup_freezer_runs(fd, CGROUP_V2), 1);
	assert_int_equal(cgroup_freezer_thaw(fd, CGROUP_V2), 0);
	assert_int_equal(cgroup_freezer_read(fd, CGROUP_V2, &freezer), 0);
	assert_false(freezer.asked);
}

/* --- Owners --- */

#define ID "3f4e8c1b2a7d3f4e8c1b2a7d3f4e8c1b2a7d3f4e8c1b2a7d3f4e8c1b2a7d3f4e"
#define POD "/kubepods/pod11111111-2222-3333-4444-555555555555"

static void only_a_containers_own_group_is_its_runtimes_to_answer_for(void **state)
{
	const struct fake_root *root = *state;
	static const struct {
		const char *path;
		bool own;
	} cases[] = {
		{POD "/" ID, true},
		{"/docker/" ID, true},
		{"/system.slice/docker-" ID ".scope", true},
		{"/kubepods.slice/crio-" ID ".scope/container", true},
		{POD, false},
		{"/docker/" ID "/inner", false},
		{"/docker/" ID "/kubepods/" ID ID, false},
		{"/lifeboat", false},
		{"/", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_cgroup_owner_ struct cgroup_owner owner = {0};

		assert_int_equal(
			cgroup_owner_find(root->host, NULL, cases[i].path, NULL, 0, &owner), 0);
		if (cases[i].own)
			assert_string_equal(owner.container, ID);
		else
			assert_null(owner.container);
		/* No process is there that a shim would be above. */
		assert_non_null(owner.why_not);
		assert_int_equal(owner.shim.process.pid, 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_root_setup, fake_root_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_group_is_given_after_its_parent_round_after_round),
		TEST(what_is_removed_on_the_way_is_left_out),
		TEST(a_walk_that_is_given_up_half_way_leaves_nothing_open),
		TEST(no_hierarchy_is_told),
		TEST(a_v1_freezer_is_read),
		TEST(a_v2_freezer_is_read),
		TEST(only_a_containers_own_group_is_its_runtimes_to_answer_for),
	};

	return cmocka_run_group_tests_name("cgroup_walk", tests, NULL, NULL);
}
