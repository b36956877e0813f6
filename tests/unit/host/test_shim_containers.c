/* SPDX-License-Identifier: Apache-2.0 */
/* The containers of a shim: those its bundles name, and those its processes are in. */
#include "shim_fixture.h"

static const struct shim_container *find(const struct shim_container *containers, size_t count,
					 const char *id)
{
	for (size_t i = 0; i < count; i++)
		if (streq(containers[i].id, id))
			return &containers[i];
	fail_msg("no container %s", id);
	return NULL;
}

static void a_pods_shim_serves_all_whose_bundles_name_its_socket(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim shim = {0};
	struct shim_container *containers;
	size_t count;

	fake_pod(root);
	fake_member(root, 502, 500, 'S', POD_GROUP APP_ID);
	fake_member(root, 510, 502, 'S', POD_GROUP APP_ID);
	fake_member(root, 511, 510, 'S', POD_GROUP APP_ID);
	fake_member(root, 512, 510, 'Z', POD_GROUP APP_ID);
	/* What the shared pid namespace's init adopted, an exec, and a helper of the shim's own. */
	fake_member(root, 513, 501, 'S', POD_GROUP APP_ID);
	fake_member(root, 514, 500, 'S', POD_GROUP APP_ID);
	fake_member(root, 515, 500, 'S', "/system.slice/containerd.service");
	fake_member(root, 516, 1, 'S', POD_GROUP APP_ID);
	assert_int_equal(shim_read(root->host, 500, NULL, 0, &shim), 0);
	assert_int_equal(shim_containers(root->host, &shim, &containers, &count), 0);
	assert_int_equal(count, 2);
	assert_string_equal(containers[0].id, POD_ID);
	assert_int_equal(containers[0].init.pid, 501);
	assert_int_equal(containers[0].processes, 1);
	assert_string_equal(containers[1].id, APP_ID);
	assert_string_equal(containers[1].bundle, "/" V2_FOLDER "/k8s.io/" APP_ID);
	assert_int_equal(containers[1].init.pid, 502);
	assert_int_equal(containers[1].processes, 5);
	shim_containers_free(containers, count);
}

static void an_init_that_is_gone_is_not_the_process_that_has_its_pid_now(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim shim = {0};
	struct shim_container *containers;
	size_t count;

	fake_pod(root);
	fake_member(root, 502, 1, 'S', "/user.slice");
	assert_int_equal(shim_read(root->host, 500, NULL, 0, &shim), 0);
	assert_int_equal(shim_containers(root->host, &shim, &containers, &count), 0);
	const struct shim_container *app = find(containers, count, APP_ID);
	assert_int_equal(app->init_pid, 502);
	assert_int_equal(app->init.pid, 0);
	assert_int_equal(app->processes, 0);
	shim_containers_free(containers, count);
}

static void an_init_that_was_not_reaped_is_a_zombie(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim shim = {0};
	struct shim_container *containers;
	size_t count;

	fake_pod(root);
	fake_member(root, 502, 500, 'Z', "/");
	assert_int_equal(shim_read(root->host, 500, NULL, 0, &shim), 0);
	assert_int_equal(shim_containers(root->host, &shim, &containers, &count), 0);
	const struct shim_container *app = find(containers, count, APP_ID);
	assert_int_equal(app->init.pid, 502);
	assert_int_equal(app->init.state, 'Z');
	assert_int_equal(app->processes, 0);
	shim_containers_free(containers, count);
}

static void a_container_without_bundle_is_seen_by_its_processes(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim shim = {0};
	struct shim_container *containers;
	size_t count;

	fake_pod(root);
	fake_member(root, 520, 500, 'S', POD_GROUP DB_ID);
	assert_int_equal(shim_read(root->host, 500, NULL, 0, &shim), 0);
	assert_int_equal(shim_containers(root->host, &shim, &containers, &count), 0);
	assert_int_equal(count, 3);
	const struct shim_container *other = find(containers, count, DB_ID);
	assert_null(other->bundle);
	assert_int_equal(other->init_pid, 0);
	assert_int_equal(other->processes, 1);
	shim_containers_free(containers, count);
}

static void a_helper_of_the_shim_is_in_no_container(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim shim = {0};
	struct shim_container *containers;
	size_t count;

	fake_shim(root, 500, "/usr/bin/containerd-shim-runc-v2", "/" V2_FOLDER "/mine/web");
	fake_file(root, "proc/500/cgroup", "0::/system.slice/containerd.service\n");
	fake_member(root, 501, 500, 'S', "/system.slice/containerd.service");
	fake_member(root, 502, 500, 'S', "/mine/web");
	fake_member(root, 503, 500, 'S', "/moved/elsewhere");
	assert_int_equal(shim_read(root->host, 500, NULL, 0, &shim), 0);
	assert_int_equal(shim_containers(root->host, &shim, &containers, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(containers[0].processes, 2);
	shim_containers_free(containers, count);
}

static void a_group_may_be_called_as_no_container_is(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim shim = {0};
	struct shim_container *containers;
	size_t count;

	fake_pod(root);
	fake_member(root, 502, 500, 'S', POD_GROUP DB_ID);
	fake_member(root, 510, 502, 'S', POD_GROUP DB_ID);
	assert_int_equal(shim_read(root->host, 500, NULL, 0, &shim), 0);
	assert_int_equal(shim_containers(root->host, &shim, &containers, &count), 0);
	assert_int_equal(count, 2);
	assert_int_equal(find(containers, count, APP_ID)->processes, 2);
	shim_containers_free(containers, count);
}

static void a_shim_of_one_container_has_all_below_it_in_there(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim shim = {0};
	struct shim_container *containers;
	size_t count;

	fake_v1(root, 1010, APP_ID);
	fake_process(root, 1015, 1010, "orphan", 'S', 20000, false);
	fake_process(root, 1016, 1010, "orphan", 'Z', 20000, false);
	fake_process(root, 1017, 1015, "child", 'S', 20001, false);
	assert_int_equal(shim_read(root->host, 1010, NULL, 0, &shim), 0);
	assert_int_equal(shim_containers(root->host, &shim, &containers, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(containers[0].init_pid, 1011);
	assert_int_equal(containers[0].init.pid, 0);
	assert_int_equal(containers[0].processes, 2);
	shim_containers_free(containers, count);
}

static void conmon_is_known_by_its_group_or_by_what_it_started(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim podman = {0}, crio = {0}, plain = {0};
	struct shim_container *containers;
	size_t count;

	fake_shim(root, 60, "/usr/bin/conmon", "/root");
	fake_file(root, "proc/60/cgroup", "0::/machine.slice/libpod-conmon-" APP_ID ".scope\n");
	assert_int_equal(shim_read(root->host, 60, NULL, 0, &podman), 0);
	assert_string_equal(podman.id, APP_ID);
	assert_null(podman.bundle);
	fake_shim(root, 70, "/usr/bin/conmon",
		  "/run/containers/storage/overlay-containers/" DB_ID "/userdata");
	fake_file(root, "run/containers/storage/overlay-containers/" DB_ID "/userdata/config.json",
		  "{}");
	fake_file(root, "run/containers/storage/overlay-containers/" DB_ID "/userdata/pidfile",
		  "71");
	fake_member(root, 71, 70, 'S', "/crio-" DB_ID);
	assert_int_equal(shim_read(root->host, 70, NULL, 0, &crio), 0);
	assert_string_equal(crio.id, DB_ID);
	assert_null(crio.namespace);
	assert_int_equal(shim_containers(root->host, &crio, &containers, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(containers[0].init_pid, 71);
	assert_int_equal(containers[0].init.pid, 71);
	assert_non_null(containers[0].bundle);
	shim_containers_free(containers, count);
	fake_shim(root, 80, "/usr/bin/conmon", "/root");
	fake_file(root, "proc/80/cgroup", "0::/user.slice\n");
	fake_member(root, 81, 80, 'S', "/libpod_parent/libpod-" POD_ID);
	assert_int_equal(shim_read(root->host, 80, NULL, 0, &plain), 0);
	assert_string_equal(plain.id, POD_ID);
}

static void the_conmon_of_a_container_is_not_that_of_a_process_started_in_it(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_shim_ struct shim found = {0}, exec = {0};
	struct shim_container *containers;
	size_t count;

	fake_file(root, "run/containers/storage/overlay-containers/" APP_ID "/userdata/pidfile",
		  "91");
	/* In whatever order /proc lists them. */
	for (int pid = 90; pid <= 120; pid += 2) {
		fake_shim(root, pid, "/usr/bin/conmon", "/root");
		fake_member(root, pid + 1, pid, 'S', "/machine.slice/libpod-" APP_ID ".scope");
	}
	assert_int_equal(shim_of_container(root->host, APP_ID, &found), 0);
	assert_int_equal(found.process.pid, 90);
	assert_int_equal(shim_read(root->host, 100, NULL, 0, &exec), 0);
	assert_int_equal(shim_containers(root->host, &exec, &containers, &count), 0);
	assert_int_equal(containers[0].init.pid, 101);
	assert_int_equal(containers[0].init_pid, 0);
	shim_containers_free(containers, count);
}

static void one_survey_serves_many_shims(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_(shim_survey_freep) struct shim_survey *survey = NULL;
	struct process processes[] = {
		{.pid = 1010, .ppid = 1, .start_time = 10100, .state = 'S'},
		{.pid = 1011, .ppid = 1010, .start_time = 10110, .state = 'S'},
		{.pid = 1030, .ppid = 1011, .start_time = 10111, .state = 'S'},
		/* It lived before its parent's pid was the shim's. */
		{.pid = 1040, .ppid = 1010, .start_time = 90, .state = 'S'},
	};
	_cleanup_shim_ struct shim first = {0}, second = {0};
	struct shim_container *containers;
	size_t count;

	fake_v1(root, 1010, APP_ID);
	fake_v1(root, 1020, DB_ID);
	assert_int_equal(shim_read(root->host, 1010, NULL, 0, &first), 0);
	assert_int_equal(shim_read(root->host, 1020, NULL, 0, &second), 0);
	assert_int_equal(shim_survey_new(root->host, processes, ARRAY_SIZE(processes), &survey), 0);
	assert_int_equal(shim_survey_containers(survey, &first, &containers, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(containers[0].init.pid, 1011);
	assert_int_equal(containers[0].processes, 2);
	shim_containers_free(containers, count);
	assert_int_equal(shim_survey_containers(survey, &second, &containers, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(containers[0].processes, 0);
	shim_containers_free(containers, count);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SHIM_TEST(a_pods_shim_serves_all_whose_bundles_name_its_socket),
		SHIM_TEST(an_init_that_is_gone_is_not_the_process_that_has_its_pid_now),
		SHIM_TEST(an_init_that_was_not_reaped_is_a_zombie),
		SHIM_TEST(a_container_without_bundle_is_seen_by_its_processes),
		SHIM_TEST(a_helper_of_the_shim_is_in_no_container),
		SHIM_TEST(a_group_may_be_called_as_no_container_is),
		SHIM_TEST(a_shim_of_one_container_has_all_below_it_in_there),
		SHIM_TEST(conmon_is_known_by_its_group_or_by_what_it_started),
		SHIM_TEST(the_conmon_of_a_container_is_not_that_of_a_process_started_in_it),
		SHIM_TEST(one_survey_serves_many_shims),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
