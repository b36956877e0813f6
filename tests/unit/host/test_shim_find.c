/* SPDX-License-Identifier: Apache-2.0 */
/* The shim of a container and of a process, and all of a node. */
#include "shim_fixture.h"

static void a_containers_shim_is_found_also_without_any_process(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim full = {0}, prefix = {0}, short_name = {0};

	fake_pod(root);
	fake_shim(root, 700, "/usr/bin/containerd-shim", "/" V1_FOLDER "/lb/web");
	assert_int_equal(shim_of_container(root->host, APP_ID, &full), 0);
	assert_int_equal(full.process.pid, 500);
	assert_int_equal(shim_of_container(root->host, "376f103c056c", &prefix), 0);
	assert_int_equal(prefix.process.pid, 500);
	assert_int_equal(shim_of_container(root->host, "web", &short_name), 0);
	assert_int_equal(short_name.process.pid, 700);
	/* Too short a beginning could be anybody's. */
	assert_int_equal(shim_of_container(root->host, "376f103c056", &full), -ESRCH);
	assert_int_equal(shim_of_container(root->host, "we", &full), -ESRCH);
	assert_int_equal(shim_of_container(root->host, "", &full), -ESRCH);
	assert_int_equal(shim_of_container(root->host, DB_ID, &full), -ESRCH);
}

static void the_same_name_in_two_namespaces_is_not_guessed(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim shim = {0};

	fake_shim(root, 700, "/usr/bin/containerd-shim", "/" V1_FOLDER "/one/web");
	fake_shim(root, 710, "/usr/bin/containerd-shim-runc-v2", "/" V2_FOLDER "/two/web");
	assert_int_equal(shim_of_container(root->host, "web", &shim), -ENOTUNIQ);
}

static void a_process_leads_to_the_shim_above_it(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim above = {0}, itself = {0};

	fake_process(root, 1, 0, "systemd", 'S', 1, false);
	fake_v1(root, 1010, APP_ID);
	fake_process(root, 1015, 1010, "web", 'S', 20000, false);
	fake_process(root, 1017, 1015, "worker", 'S', 20001, false);
	assert_int_equal(shim_of_process(root->host, 1017, &above), 0);
	assert_int_equal(above.process.pid, 1010);
	assert_int_equal(shim_of_process(root->host, 1010, &itself), 0);
	assert_int_equal(itself.process.pid, 1010);
	assert_int_equal(shim_of_process(root->host, 1, &above), -ESRCH);
	assert_int_equal(shim_of_process(root->host, 4711, &above), -ESRCH);
}

static void all_shims_are_listed_and_nothing_else(void **state)
{
	const struct fake_root *root = *state;
	struct shim *shims;
	size_t count;
	bool seen[3] = {false};

	fake_process(root, 2, 0, "kthreadd", 'S', 1, true);
	fake_shim(root, 20, "/usr/bin/containerd", NULL);
	fake_v1(root, 1010, APP_ID);
	fake_shim(root, 700, "/usr/bin/containerd-shim", "/" V1_FOLDER "/one/web");
	fake_shim(root, 710, "/usr/bin/conmon", NULL);
	assert_int_equal(shim_list(root->host, &shims, &count), 0);
	assert_int_equal(count, 3);
	for (size_t i = 0; i < count; i++)
		seen[shims[i].process.pid == 1010 ? 0 : shims[i].process.pid == 700 ? 1 : 2] = true;
	assert_true(seen[0] && seen[1] && seen[2]);
	shims_free(shims, count);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SHIM_TEST(a_containers_shim_is_found_also_without_any_process),
		SHIM_TEST(the_same_name_in_two_namespaces_is_not_guessed),
		SHIM_TEST(a_process_leads_to_the_shim_above_it),
		SHIM_TEST(all_shims_are_listed_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
