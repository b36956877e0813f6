/* SPDX-License-Identifier: Apache-2.0 */
/* Names and ranges of kernel functions, from a table of the test's own. */
#include "fake_root.h"

#include "host/kallsyms.h"
#include "../skip.h"

static void fake_table(const struct fake_root *root)
{
	/* Modules come after the kernel, and not by address. */
	fake_file(root, "proc/kallsyms",
		  "ffffffff81000000 T _stext\n"
		  "ffffffff81000100 t percpu_rwsem_wait\n"
		  "ffffffff81000200 D some_data\n"
		  "ffffffff81000300 W schedule\n"
		  "ffffffffc0002000 t fuse_dev_read\t[fuse]\n"
		  "ffffffffc0001000 t request_wait_answer\t[fuse]\n"
		  "ffffffffc0001400 t fuse_simple_request\t[fuse]\n");
}

static void an_address_is_named_by_the_function_it_is_in(void **state)
{
	const struct fake_root *root = *state;
	const uint64_t addresses[] = {0xffffffffc00011bb, 0xffffffff8100015a, 0xffffffff81000300,
				      0x1234};
	char *names[ARRAY_SIZE(addresses)];

	fake_table(root);
	assert_int_equal(kallsyms_resolve(root->host, addresses, ARRAY_SIZE(addresses), names), 0);
	assert_string_equal(names[0], "request_wait_answer+0x1bb [fuse]");
	assert_string_equal(names[1], "percpu_rwsem_wait+0x5a");
	assert_string_equal(names[2], "schedule+0x0");
	assert_string_equal(names[3], "0x1234");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		free(names[i]);
}

static void a_function_ends_where_the_next_begins_also_in_a_module(void **state)
{
	const struct fake_root *root = *state;
	uint64_t start, end;

	fake_table(root);
	assert_int_equal(kallsyms_range(root->host, "request_wait_answer", &start, &end), 0);
	assert_int_equal(start, 0xffffffffc0001000);
	assert_int_equal(end, 0xffffffffc0001400);
	assert_int_equal(kallsyms_range(root->host, "percpu_rwsem_wait", &start, &end), 0);
	assert_int_equal(end, 0xffffffff81000300); /* data is passed over */
	assert_int_equal(kallsyms_range(root->host, "percpu_rwsem", &start, &end), -ENOENT);
}

static void the_last_function_ends_with_the_address_space(void **state)
{
	const struct fake_root *root = *state;
	uint64_t start, end;

	fake_file(root, "proc/kallsyms",
		  "ffffffffffff0000 T last\n"
		  "ffffffffffffffff T beyond\n");
	assert_int_equal(kallsyms_range(root->host, "last", &start, &end), 0);
	assert_true(start == 0xffffffffffff0000 && end == UINT64_MAX);
	assert_int_equal(kallsyms_range(root->host, "beyond", &start, &end), -ENOENT);
}

static void hidden_addresses_are_told_apart_from_missing_ones(void **state)
{
	const struct fake_root *root = *state;
	const uint64_t address = 0xffffffff81000000;
	char *name;

	fake_file(root, "proc/kallsyms",
		  "0000000000000000 T _stext\n0000000000000000 T schedule\n");
	assert_int_equal(kallsyms_resolve(root->host, &address, 1, &name), -EPERM);
}

static void garbage_lines_are_passed_over(void **state)
{
	const struct fake_root *root = *state;
	uint64_t start, end;

	fake_file(root, "proc/kallsyms",
		  "\n \nzzzz T x\nffffffff81000000 T\nffffffff81000010 T "
		  "a\n%0300d\nffffffff81000020 t b\n",
		  0);
	assert_int_equal(kallsyms_range(root->host, "a", &start, &end), 0);
	assert_int_equal(end - start, 0x10);
}

static void the_running_kernels_own_table_can_be_read(void **state)
{
	_cleanup_host_ struct host *host = NULL;
	uint64_t start, end;
	char *name;

	assert_int_equal(host_open(NULL, &host), 0);
	int r = kallsyms_range(host, "do_exit", &start, &end);
	if (r == -EPERM || r == -EACCES || r == -ENOENT)
		skip_because("needs root, or kernel.kptr_restrict=0");
	assert_int_equal(r, 0);
	assert_true(end > start);
	start += 4;
	assert_int_equal(kallsyms_resolve(host, &start, 1, &name), 0);
	assert_string_equal(name, "do_exit+0x4");
	free(name);
}

#define WITH_ROOT(test) cmocka_unit_test_setup_teardown(test, fake_root_setup, fake_root_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_ROOT(an_address_is_named_by_the_function_it_is_in),
		WITH_ROOT(a_function_ends_where_the_next_begins_also_in_a_module),
		WITH_ROOT(the_last_function_ends_with_the_address_space),
		WITH_ROOT(hidden_addresses_are_told_apart_from_missing_ones),
		WITH_ROOT(garbage_lines_are_passed_over),
		cmocka_unit_test(the_running_kernels_own_table_can_be_read),
	};

	return cmocka_run_group_tests_name("kallsyms", tests, NULL, NULL);
}
