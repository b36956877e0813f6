/* SPDX-License-Identifier: Apache-2.0 */
/* Which containers are known, also when they are gone. */
#include "fake_root.h"

#include "host/container_names.h"

#define ID "3f4e8c1b2a7d9e0f1c2b3a495867d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9"
#define TASKS "run/containerd/io.containerd.runtime.v2.task/"
#define STORAGE "run/containers/storage/overlay-containers/"

struct fixture {
	struct fake_root *root;
	struct container_registry *registry;
};

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	void *root;

	fake_root_setup(&root);
	fixture->root = root;
	assert_int_equal(container_registry_new(fixture->root->host, &fixture->registry), 0);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;
	void *root = fixture->root;

	container_registry_free(fixture->registry);
	fake_root_teardown(&root);
	free(fixture);
	return 0;
}

/* FOLDER/config.json of a container called NAME with the control group CGROUP. */
static void bundle(const struct fixture *fixture, const char *folder, const char *name,
		   const char *cgroup)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/config.json", folder);
	fake_file(fixture->root, path,
		  "{\"ociVersion\":\"1.1.0\",\"annotations\":{\"nerdctl/name\":\"%s\"},"
		  "\"linux\":{\"cgroupsPath\":\"%s\"}}",
		  name, cgroup);
}

static void remove_bundle(const struct fixture *fixture, const char *folder)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/%s/config.json", fixture->root->path, folder);
	assert_int_equal(unlink(path), 0);
	*strrchr(path, '/') = '\0';
	assert_int_equal(rmdir(path), 0);
}

static const char *name_of(const struct fixture *fixture, const char *id)
{
	const struct container_names *names = container_registry_get(fixture->registry, id);

	return names ? names->name : NULL;
}

static const char *name_in_group(const struct fixture *fixture, const char *path)
{
	const struct container_names *names = container_registry_of_cgroup(fixture->registry, path);

	return names ? names->name : NULL;
}

static void a_container_that_is_gone_is_still_known(void **state)
{
	const struct fixture *fixture = *state;

	bundle(fixture, TASKS "default/a", "alpha", "/default/a");
	bundle(fixture, STORAGE ID "/userdata", "", "machine.slice:libpod:" ID);
	assert_int_equal(container_registry_refresh(fixture->registry), 1);
	remove_bundle(fixture, TASKS "default/a");
	remove_bundle(fixture, STORAGE ID "/userdata");
	assert_int_equal(container_registry_refresh(fixture->registry), 1);
	assert_string_equal(name_of(fixture, "a"), "alpha");
	assert_string_equal(name_in_group(fixture, "/default/a/sub"), "alpha");
	assert_string_equal(container_registry_get(fixture->registry, ID)->id, ID);
}

static void a_container_is_known_before_the_next_refresh(void **state)
{
	const struct fixture *fixture = *state;

	assert_null(name_of(fixture, "b"));
	bundle(fixture, TASKS "batch/b", "beta", "/batch/b");
	assert_string_equal(name_of(fixture, "b"), "beta");
	bundle(fixture, TASKS "batch/c", "gamma", "/batch/c");
	assert_string_equal(name_in_group(fixture, "/batch/c"), "gamma");
}

static void a_node_without_runtimes_has_nothing_to_list(void **state)
{
	const struct fixture *fixture = *state;

	assert_int_equal(container_registry_refresh(fixture->registry), 0);
	fake_folder(fixture->root, TASKS "default");
	assert_int_equal(container_registry_refresh(fixture->registry), 1);
}

static void a_name_that_is_used_again_is_read_again(void **state)
{
	const struct fixture *fixture = *state;

	bundle(fixture, TASKS "default/a", "first", "/default/a");
	container_registry_refresh(fixture->registry);
	/* the new folder is there before the old one goes: it has another inode */
	bundle(fixture, TASKS "default/.new", "second", "/default/a");
	remove_bundle(fixture, TASKS "default/a");
	char from[PATH_MAX], to[PATH_MAX];

	snprintf(from, sizeof(from), "%s/" TASKS "default/.new", fixture->root->path);
	snprintf(to, sizeof(to), "%s/" TASKS "default/a", fixture->root->path);
	assert_int_equal(rename(from, to), 0);
	container_registry_refresh(fixture->registry);
	assert_string_equal(name_of(fixture, "a"), "second");
}

static void of_two_with_one_name_the_one_that_is_there_is_meant(void **state)
{
	const struct fixture *fixture = *state;

	bundle(fixture, TASKS "one/web", "first", "/one/web");
	bundle(fixture, TASKS "two/web", "second", "/two/web");
	container_registry_refresh(fixture->registry);
	assert_null(name_of(fixture, "web"));
	assert_string_equal(name_in_group(fixture, "/one/web"), "first");
	assert_string_equal(name_in_group(fixture, "/two/web/sub"), "second");
	remove_bundle(fixture, TASKS "one/web");
	container_registry_refresh(fixture->registry);
	assert_string_equal(name_of(fixture, "web"), "second");
	remove_bundle(fixture, TASKS "two/web");
	container_registry_refresh(fixture->registry);
	assert_string_equal(name_of(fixture, "web"), "second");
}

static void a_group_of_somebodys_own_leads_to_its_container(void **state)
{
	const struct fixture *fixture = *state;

	bundle(fixture, TASKS "default/a", "alpha", "/tenants/blue/a");
	container_registry_refresh(fixture->registry);
	assert_string_equal(name_in_group(fixture, "/tenants/blue/a"), "alpha");
	assert_string_equal(name_in_group(fixture, "/tenants/blue/a/init.scope"), "alpha");
	assert_null(name_in_group(fixture, "/tenants/blue"));
	assert_null(name_in_group(fixture, "/tenants/blue/ab"));
	assert_null(name_in_group(fixture, "/"));
	assert_null(name_in_group(fixture, ""));
}

static const char *bundle_of_own_group(const struct fixture *fixture, const char *path)
{
	const struct container_names *names =
		container_registry_of_own_group(fixture->registry, path);

	return names ? names->bundle : NULL;
}

static void a_group_of_its_own_is_known_also_when_the_container_is_gone(void **state)
{
	const struct fixture *fixture = *state;

	bundle(fixture, TASKS "default/a", "alpha", "/batch/a");
	/* It looks nowhere. */
	assert_null(bundle_of_own_group(fixture, "/batch/a"));
	container_registry_refresh(fixture->registry);
	assert_string_equal(bundle_of_own_group(fixture, "/batch/a"), "/" TASKS "default/a");
	assert_null(bundle_of_own_group(fixture, "/batch/a/below"));
	assert_null(bundle_of_own_group(fixture, "/batch"));
	remove_bundle(fixture, TASKS "default/a");
	container_registry_refresh(fixture->registry);
	assert_string_equal(bundle_of_own_group(fixture, "/batch/a"), "/" TASKS "default/a");
	/* One that is there is meant before one that was. */
	bundle(fixture, TASKS "other/b", "beta", "/batch/a");
	container_registry_refresh(fixture->registry);
	assert_string_equal(bundle_of_own_group(fixture, "/batch/a"), "/" TASKS "other/b");
}

static void a_bundle_being_written_is_read_later(void **state)
{
	const struct fixture *fixture = *state;

	fake_file(fixture->root, TASKS "default/a/config.json", "{\"ociVersion\":\"1.");
	assert_int_equal(container_registry_refresh(fixture->registry), 1);
	assert_null(name_of(fixture, "a"));
	bundle(fixture, TASKS "default/a", "alpha", "/default/a");
	assert_int_equal(container_registry_refresh(fixture->registry), 1);
	remove_bundle(fixture, TASKS "default/a");
	assert_string_equal(name_of(fixture, "a"), "alpha");
}

static void a_folder_that_a_shim_told_of_is_looked_at_from_then_on(void **state)
{
	const struct fixture *fixture = *state;

	bundle(fixture, "own/io.containerd.runtime.v1.linux/ns/a", "alpha", "/ns/a");
	assert_null(name_of(fixture, "a"));
	assert_int_equal(container_registry_learn(fixture->registry,
						  "/own/io.containerd.runtime.v1.linux/ns/a"),
			 0);
	assert_string_equal(name_of(fixture, "a"), "alpha");
	bundle(fixture, "own/io.containerd.runtime.v1.linux/other/b", "beta", "/other/b");
	assert_int_equal(container_registry_refresh(fixture->registry), 1);
	assert_string_equal(name_of(fixture, "b"), "beta");
	assert_int_equal(container_registry_learn(fixture->registry, "/home/somebody"), -ENOENT);
}

static void a_folder_on_disk_is_left_to_workers(void **state)
{
	const struct fixture *fixture = *state;
	static const char folder[] =
		"/var/lib/containers/storage/overlay-containers/" ID "/userdata";

	bundle(fixture, folder + 1, "podman", "");
	assert_int_equal(container_registry_learn(fixture->registry, folder), -EXDEV);
	assert_null(container_registry_get(fixture->registry, ID));
}

static void a_folder_of_somebody_else_is_not_believed(void **state)
{
	const struct fixture *fixture = *state;
	char path[PATH_MAX + 64];

	if (geteuid() != 0) {
		print_message("only root can give a folder away\n");
		skip();
	}
	bundle(fixture, "home/io.containerd.runtime.v2.task/ns/a", "alpha", "/ns/a");
	snprintf(path, sizeof(path), "%s/home/io.containerd.runtime.v2.task/ns/a",
		 fixture->root->path);
	assert_int_equal(chown(path, 1000, 1000), 0);
	assert_int_equal(container_registry_learn(fixture->registry,
						  "/home/io.containerd.runtime.v2.task/ns/a"),
			 -EPERM);
	assert_null(name_of(fixture, "a"));
}

static void the_longest_gone_give_way(void **state)
{
	const struct fixture *fixture = *state;
	char folder[PATH_MAX], id[32];

	bundle(fixture, TASKS "default/first", "first", "/default/first");
	container_registry_refresh(fixture->registry);
	remove_bundle(fixture, TASKS "default/first");
	bundle(fixture, TASKS "default/second", "second", "/default/second");
	container_registry_refresh(fixture->registry);
	remove_bundle(fixture, TASKS "default/second");
	container_registry_refresh(fixture->registry);
	for (size_t i = 0; i < CONTAINER_REGISTRY_MAX - 1; i++) {
		snprintf(folder, sizeof(folder), TASKS "default/c%zu", i);
		snprintf(id, sizeof(id), "/default/c%zu", i);
		bundle(fixture, folder, "many", id);
	}
	assert_int_equal(container_registry_refresh(fixture->registry), 1);
	assert_null(name_of(fixture, "first"));
	assert_string_equal(name_of(fixture, "second"), "second");
	bundle(fixture, TASKS "k8s.io/more", "more", "/k8s.io/more");
	assert_int_equal(container_registry_refresh(fixture->registry), 1);
	bundle(fixture, TASKS "k8s.io/toomany", "toomany", "/k8s.io/toomany");
	assert_int_equal(container_registry_refresh(fixture->registry), -ENOSPC);
	assert_string_equal(name_of(fixture, "c0"), "many");
}

#define WITH_REGISTRY(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_REGISTRY(a_container_that_is_gone_is_still_known),
		WITH_REGISTRY(a_container_is_known_before_the_next_refresh),
		WITH_REGISTRY(a_node_without_runtimes_has_nothing_to_list),
		WITH_REGISTRY(a_name_that_is_used_again_is_read_again),
		WITH_REGISTRY(of_two_with_one_name_the_one_that_is_there_is_meant),
		WITH_REGISTRY(a_group_of_somebodys_own_leads_to_its_container),
		WITH_REGISTRY(a_group_of_its_own_is_known_also_when_the_container_is_gone),
		WITH_REGISTRY(a_bundle_being_written_is_read_later),
		WITH_REGISTRY(a_folder_that_a_shim_told_of_is_looked_at_from_then_on),
		WITH_REGISTRY(a_folder_on_disk_is_left_to_workers),
		WITH_REGISTRY(a_folder_of_somebody_else_is_not_believed),
		WITH_REGISTRY(the_longest_gone_give_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
