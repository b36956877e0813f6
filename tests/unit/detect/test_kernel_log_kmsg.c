/* SPDX-License-Identifier: Apache-2.0 */
/* Records of /dev/kmsg as the kernel writes them, and the device itself. */
#include "../host/fake_root.h"

#include "detect/kernel_log.h"

static void a_record_gives_its_line_level_writer_and_number(void **state)
{
	char record[] = "3,1201,5140900,-;EXT4-fs error (device dm-0): x\n SUBSYSTEM=block\n";
	uint64_t time_us, sequence;
	struct kernel_line line;

	assert_int_equal(kmsg_parse(record, strlen(record), &line, &time_us, &sequence), 0);
	assert_int_equal(line.length, strlen("EXT4-fs error (device dm-0): x"));
	assert_memory_equal(line.text, "EXT4-fs error (device dm-0): x", line.length);
	assert_int_equal(line.level, 3);
	assert_int_equal(line.origin, ORIGIN_KERNEL);
	assert_int_equal(time_us, 5140900);
	assert_int_equal(sequence, 1201);

	/* Facility 1, user; with the caller's id of CONFIG_PRINTK_CALLER; a continued line. */
	char other[] = "14,1202,5140901,c,caller=T1;BUG: x\n";

	assert_int_equal(kmsg_parse(other, strlen(other), &line, &time_us, NULL), 0);
	assert_int_equal(line.level, 6);
	assert_int_equal(line.origin, ORIGIN_PROGRAM);
}

static void what_the_device_escapes_is_read_as_it_was_logged(void **state)
{
	char record[] = "6,1,2,-;two\\x0alines \\x5cx41 \\xzz \\x4 z\n";
	uint64_t time_us;
	struct kernel_line line;

	assert_int_equal(kmsg_parse(record, strlen(record), &line, &time_us, NULL), 0);
	assert_int_equal(line.length, strlen("two\nlines \\x41 \\xzz \\x4 z"));
	assert_memory_equal(line.text, "two\nlines \\x41 \\xzz \\x4 z", line.length);
}

static void what_is_no_record_is_refused_and_a_long_line_is_cut(void **state)
{
	static const char *const wrong[] = {
		"", ";", "6,1,2 text", "x,1,2,-;text", "6,1;text", " SUBSYSTEM=block"};
	uint64_t time_us;
	struct kernel_line line;
	char record[2048];

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		snprintf(record, sizeof(record), "%s", wrong[i]);
		assert_int_equal(kmsg_parse(record, strlen(record), &line, &time_us, NULL),
				 -EBADMSG);
	}
	memset(record, 'x', sizeof(record));
	memcpy(record, "6,1,2,-;", 8);
	record[1500] = '\0';
	assert_int_equal(kmsg_parse(record, 1500, &line, &time_us, NULL), 0);
	assert_int_equal(line.length, KERNEL_LINE_SIZE);
	assert_true(line.cut);
}

struct taken {
	size_t count;
	char last[64];
};

static void take(void *userdata, const struct kernel_line *line)
{
	struct taken *taken = userdata;

	taken->count++;
	snprintf(taken->last, sizeof(taken->last), "%.*s", (int)MIN(line->length, 63u), line->text);
}

/* A FIFO gives what it has in one read, so each line is written when the last one has been read. */
static void only_new_records_are_read_and_those_in_between_are_counted(void **state)
{
	struct fake_root *root = *state;
	char path[128], reason[256] = "";
	struct taken taken = {};
	struct kmsg *kmsg;
	uint64_t lost;

	fake_folder(root, "dev");
	snprintf(path, sizeof(path), "%s/dev/kmsg", root->path);
	assert_int_equal(mkfifo(path, 0600), 0);
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);

	dprintf(fd, "6,7,100,-;old\n");
	assert_int_equal(kmsg_open(root->host, &kmsg, reason, sizeof(reason)), 0);
	assert_int_equal(kmsg_read(kmsg, clock_system(), 10, take, &taken, &lost), 0);
	assert_int_equal(taken.count, 0);
	dprintf(fd, "6,8,100,-;first\n");
	assert_int_equal(kmsg_read(kmsg, clock_system(), 10, take, &taken, &lost), 0);
	assert_int_equal(lost, 0);
	assert_string_equal(taken.last, "first");
	dprintf(fd, "6,12,100,-;after a gap\n");
	assert_int_equal(kmsg_read(kmsg, clock_system(), 1, take, &taken, &lost), 1);
	assert_int_equal(lost, 3);
	assert_int_equal(taken.count, 2);
	assert_string_equal(taken.last, "after a gap");
	kmsg_free(kmsg);
}

static void no_device_is_told_with_its_path(void **state)
{
	const struct fake_root *root = *state;
	char reason[256] = "";
	struct kmsg *kmsg;

	assert_int_equal(kmsg_open(root->host, &kmsg, reason, sizeof(reason)), -ENOENT);
	assert_non_null(strstr(reason, "/dev/kmsg"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_gives_its_line_level_writer_and_number),
		cmocka_unit_test(what_the_device_escapes_is_read_as_it_was_logged),
		cmocka_unit_test(what_is_no_record_is_refused_and_a_long_line_is_cut),
		cmocka_unit_test_setup_teardown(
			only_new_records_are_read_and_those_in_between_are_counted, fake_root_setup,
			fake_root_teardown),
		cmocka_unit_test_setup_teardown(no_device_is_told_with_its_path, fake_root_setup,
						fake_root_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
