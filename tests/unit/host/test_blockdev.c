/* SPDX-License-Identifier: Apache-2.0 */
/* Whether disks make progress, from a sysfs of the test's own. */
#include "fake_root.h"

#include "host/blockdev.h"

static const struct blockdev *find(const struct blockdev *devices, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (streq(devices[i].name, name))
			return &devices[i];
	return NULL;
}

static void disks_tell_what_they_completed_and_what_is_in_flight(void **state)
{
	const struct fake_root *root = *state;
	struct blockdev *devices;
	size_t count;

	fake_file(root, "sys/block/sda/dev", "8:0\n");
	fake_file(root, "sys/block/sda/stat", " 100 2 3 4 200 6 7 8 5 10 11 30 13 14 15 4 17\n");
	fake_file(root, "sys/block/dm-0/dev", "254:0\n");
	fake_file(root, "sys/block/dm-0/stat", "1 0 0 0 2 0 0 0 0 0 0\n"); /* as before 4.19 */
	fake_file(root, "sys/block/dm-0/inflight", "       3        4\n");
	fake_file(root, "sys/block/dm-0/dm/suspended", "1\n");
	fake_file(root, "sys/block/gone/dev",
		  "9:0\n"); /* no counters: taken away while being read */
	assert_int_equal(blockdev_list(root->host, &devices, &count), 0);
	assert_int_equal(count, 2);
	const struct blockdev *disk = find(devices, count, "sda"),
			      *mapped = find(devices, count, "dm-0");
	assert_int_equal(disk->completed, 334);
	assert_int_equal(disk->in_flight, 5);
	assert_false(disk->suspended);
	assert_int_equal(disk->major, 8);
	assert_int_equal(mapped->completed, 3);
	assert_int_equal(mapped->in_flight, 7);
	assert_true(mapped->suspended);
	free(devices);
}

static void a_partition_belongs_to_its_disk(void **state)
{
	const struct fake_root *root = *state;
	unsigned major = 0, minor = 0;

	fake_file(root, "sys/block/sda/dev", "8:0\n");
	fake_file(root, "sys/block/sda/sda1/partition", "1\n");
	fake_folder(root, "sys/dev/block");
	fake_link(root, "sys/dev/block/8:1", "../../block/sda/sda1");
	fake_link(root, "sys/dev/block/8:0", "../../block/sda");
	assert_int_equal(blockdev_whole(root->host, 8, 1, &major, &minor), 0);
	assert_int_equal(major, 8);
	assert_int_equal(minor, 0);
	assert_int_equal(blockdev_whole(root->host, 8, 0, &major, &minor), 0);
	assert_int_equal(minor, 0);
	assert_int_equal(blockdev_whole(root->host, 8, 9, &major, &minor), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			disks_tell_what_they_completed_and_what_is_in_flight, fake_root_setup,
			fake_root_teardown),
		cmocka_unit_test_setup_teardown(a_partition_belongs_to_its_disk, fake_root_setup,
						fake_root_teardown),
	};

	return cmocka_run_group_tests_name("blockdev", tests, NULL, NULL);
}
