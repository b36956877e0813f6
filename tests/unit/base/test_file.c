/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers and small files keep to their caps, and a replaced file is whole or untouched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/file.h"

static char directory[] = "/tmp/lifeboat-test-file.XXXXXX";

static int make_directory(void **state)
{
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	static const char *const names[] = {"file", "fifo", "a/b/c", "a/b", "a"};
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		remove(path);
	}
	return rmdir(directory);
}

static const char *in_directory(const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static void write_text(const char *path, const char *text)
{
	assert_int_equal(file_write_atomic(path, text, strlen(text), 0600), 0);
}

static void a_buffer_takes_all_or_nothing_up_to_its_cap(void **state)
{
	_cleanup_buffer_ struct buffer buffer = BUFFER(5);

	assert_string_equal(buffer_text(&buffer), "");
	assert_int_equal(buffer_append_text(&buffer, "abc"), 0);
	assert_int_equal(buffer_append_text(&buffer, "def"), -ENOBUFS);
	assert_int_equal(buffer_printf(&buffer, "%d", 123), -ENOBUFS);
	assert_string_equal(buffer_text(&buffer), "abc");
	assert_int_equal(buffer.cut, 6);
	assert_int_equal(buffer_printf(&buffer, "%d", 12), 0);
	assert_string_equal(buffer_text(&buffer), "abc12");
	assert_int_equal(buffer_append(&buffer, "", 0), 0);
}

static void a_buffer_can_take_what_fits_and_count_the_rest(void **state)
{
	_cleanup_buffer_ struct buffer buffer = BUFFER(5);

	assert_int_equal(buffer_append_some(&buffer, "abcdefg", 7), 0);
	assert_string_equal(buffer_text(&buffer), "abcde");
	assert_int_equal(buffer_append_some(&buffer, "x", 1), 0);
	assert_int_equal(buffer.cut, 3);
}

static void a_buffer_is_consumed_from_the_front_and_handed_over(void **state)
{
	_cleanup_buffer_ struct buffer buffer = BUFFER(100);

	buffer_consume(&buffer, 1);
	assert_int_equal(buffer_append_text(&buffer, "line 1\nline 2"), 0);
	buffer_consume(&buffer, 7);
	assert_string_equal(buffer_text(&buffer), "line 2");
	_cleanup_free_ char *taken = buffer_take(&buffer);
	assert_string_equal(taken, "line 2");
	assert_int_equal(buffer.length, 0);
	_cleanup_free_ char *nothing = buffer_take(&buffer);
	assert_string_equal(nothing, "");
	assert_int_equal(buffer_append_text(&buffer, "again"), 0);
	buffer_consume(&buffer, 1000);
	assert_string_equal(buffer_text(&buffer), "");
}

static void a_buffer_grows_to_its_cap_and_holds_every_byte(void **state)
{
	_cleanup_buffer_ struct buffer buffer = BUFFER(100000);

	for (int i = 0; i < 100000; i++)
		assert_int_equal(buffer_append(&buffer, "\0a" + i % 2, 1), 0);
	assert_int_equal(buffer_append(&buffer, "b", 1), -ENOBUFS);
	assert_int_equal(buffer.length, 100000);
	for (int i = 0; i < 100000; i++)
		assert_int_equal(buffer.data[i], i % 2 ? 'a' : '\0');
}

static void reading_beyond_the_cap_drains_the_source_and_counts(void **state)
{
	_cleanup_buffer_ struct buffer buffer = BUFFER(4);
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(file_write_fd(ends[1], "abcdef", 6), 0);
	assert_int_equal(buffer_read(&buffer, ends[0]), 6);
	assert_string_equal(buffer_text(&buffer), "abcd");
	assert_int_equal(buffer.cut, 2);
	assert_int_equal(buffer_read(&buffer, ends[0]), -EAGAIN);
	close(ends[1]);
	assert_int_equal(buffer_read(&buffer, ends[0]), 0);
	close(ends[0]);
}

static void a_file_is_read_whole_or_not_at_all(void **state)
{
	_cleanup_free_ char *text = NULL;
	char *untouched = NULL;
	size_t length;

	write_text(in_directory("file"), "12345");
	assert_int_equal(file_read(AT_FDCWD, in_directory("file"), 5, &text, &length), 0);
	assert_string_equal(text, "12345");
	assert_int_equal(length, 5);
	assert_int_equal(file_read(AT_FDCWD, in_directory("file"), 4, &untouched, NULL), -EFBIG);
	assert_int_equal(file_read(AT_FDCWD, in_directory("none"), 4, &untouched, NULL), -ENOENT);
	assert_int_equal(file_read(AT_FDCWD, directory, 4, &untouched, NULL), -EISDIR);
	assert_null(untouched);
}

static void a_file_of_proc_is_read_whole_though_its_size_is_0(void **state)
{
	_cleanup_free_ char *text = NULL;

	assert_int_equal(file_read(AT_FDCWD, "/proc/self/status", 64 * KIB, &text, NULL), 0);
	assert_non_null(strstr(text, "Pid:"));
}

static void a_fifo_in_the_place_of_a_file_does_not_block(void **state)
{
	_cleanup_free_ char *text = NULL;

	assert_int_equal(mkfifo(in_directory("fifo"), 0600), 0);
	alarm(10);
	assert_int_equal(file_read(AT_FDCWD, in_directory("fifo"), 100, &text, NULL), 0);
	alarm(0);
	assert_string_equal(text, "");
}

static void only_a_regular_file_is_read_where_strangers_choose(void **state)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];

	write_text(in_directory("file"), "text");
	assert_int_equal(file_read_regular(in_directory("file"), 3, &text, NULL), -EFBIG);
	assert_int_equal(file_read_regular(in_directory("file"), 4, &text, NULL), 0);
	assert_string_equal(text, "text");
	snprintf(path, sizeof(path), "%s", in_directory("a"));
	assert_int_equal(file_read_regular(path, 4, &text, NULL), -ENOENT);
	assert_int_equal(symlink(in_directory("file"), path), 0);
	assert_int_equal(file_read_regular(path, 4, &text, NULL), -ELOOP);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(file_read_regular(directory, 4, &text, NULL), -EISDIR);
	assert_int_equal(file_read_regular("/dev/null", 4, &text, NULL), -ENXIO);
}

static void a_number_of_proc_is_read_strictly(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint64_t value;
	} cases[] = {
		{"0\n", 0, 0},
		{"42", 0, 42},
		{"max\n", 0, UINT64_MAX},
		{"18446744073709551615\n", 0, UINT64_MAX},
		{"18446744073709551616\n", -EINVAL, 0},
		{"-1\n", -EINVAL, 0},
		{"", -EINVAL, 0},
		{"12 kB\n", -EINVAL, 0},
		{"maximum", -EINVAL, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t value = 0;

		write_text(in_directory("file"), cases[i].text);
		if (file_read_u64(AT_FDCWD, in_directory("file"), &value) != cases[i].result ||
		    value != cases[i].value)
			fail_msg("\"%s\"", cases[i].text);
	}
}

static void a_file_is_replaced_with_its_mode_and_nothing_left_beside_it(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct stat status;

	write_text(in_directory("file"), "old");
	assert_int_equal(file_write_atomic(in_directory("file"), "new", 3, 0640), 0);
	assert_int_equal(stat(in_directory("file"), &status), 0);
	assert_int_equal(status.st_mode & 07777, 0640);
	assert_int_equal(file_read(AT_FDCWD, in_directory("file"), 100, &text, NULL), 0);
	assert_string_equal(text, "new");
	/*
	 * A folder of that name cannot be replaced; the temporary file must be gone (see
	 * remove_directory).
	 */
	assert_int_equal(mkdir(in_directory("a"), 0700), 0);
	assert_int_equal(file_write_atomic(in_directory("a"), "x", 1, 0600), -EISDIR);
	assert_int_equal(rmdir(in_directory("a")), 0);
	assert_int_equal(file_write_atomic(in_directory("none/file"), "x", 1, 0600), -ENOENT);
}

static void folders_are_made_with_their_parents(void **state)
{
	struct stat status;

	assert_int_equal(directory_make(in_directory("a/b/c"), 0750), 0);
	assert_int_equal(directory_make(in_directory("a/b/c"), 0750), 0);
	assert_int_equal(directory_make(in_directory("a/b/c/"), 0750), 0);
	assert_int_equal(stat(in_directory("a/b/c"), &status), 0);
	assert_true(S_ISDIR(status.st_mode));
	assert_int_equal(directory_make("/", 0750), 0);
	assert_int_equal(directory_make("", 0750), -ENOENT);
	write_text(in_directory("file"), "x");
	assert_int_equal(directory_make(in_directory("file"), 0750), -ENOTDIR);
	assert_int_equal(directory_make(in_directory("file/sub"), 0750), -ENOTDIR);
}

static void a_lock_is_waited_for_as_long_as_was_said(void **state)
{
	const char *path = in_directory("lock");
	uint64_t long_ns = 60 * NS_PER_S;

	write_text(path, "");
	int mine = open(path, O_RDONLY | O_CLOEXEC), holders = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(mine >= 0 && holders >= 0);
	assert_int_equal(file_lock(holders, 0), 0);
	assert_int_equal(file_lock(mine, 0), -EWOULDBLOCK);
	assert_int_equal(file_lock(mine, 50 * NS_PER_MS), -EWOULDBLOCK);
	/* As a child that is about to execute has what its parent had open. */
	pid_t child = fork();
	if (child == 0) {
		clock_sleep(100 * NS_PER_MS);
		_exit(0);
	}
	close(holders);
	assert_int_equal(file_lock(mine, 0), -EWOULDBLOCK);
	assert_int_equal(file_lock(mine, long_ns), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	close(mine);
	assert_int_equal(file_lock(mine, long_ns), -EBADF);
	assert_int_equal(unlink(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_buffer_takes_all_or_nothing_up_to_its_cap),
		cmocka_unit_test(a_buffer_can_take_what_fits_and_count_the_rest),
		cmocka_unit_test(a_buffer_is_consumed_from_the_front_and_handed_over),
		cmocka_unit_test(a_buffer_grows_to_its_cap_and_holds_every_byte),
		cmocka_unit_test(reading_beyond_the_cap_drains_the_source_and_counts),
		cmocka_unit_test(a_file_is_read_whole_or_not_at_all),
		cmocka_unit_test(a_file_of_proc_is_read_whole_though_its_size_is_0),
		cmocka_unit_test(a_fifo_in_the_place_of_a_file_does_not_block),
		cmocka_unit_test(only_a_regular_file_is_read_where_strangers_choose),
		cmocka_unit_test(a_number_of_proc_is_read_strictly),
		cmocka_unit_test(a_file_is_replaced_with_its_mode_and_nothing_left_beside_it),
		cmocka_unit_test(a_lock_is_waited_for_as_long_as_was_said),
		cmocka_unit_test(folders_are_made_with_their_parents),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
