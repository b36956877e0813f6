/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel's records look like as JSON, hostile ones too. */
#include "../host/fake_root.h"

#include "detect/detector.h"

static struct event_cgroup make_cgroup(size_t count, const char *const *names_leaf_first)
{
	struct event_cgroup cgroup = {.id = 77, .levels = (unsigned)count};

	for (size_t i = 0; i < count; i++)
		snprintf(cgroup.names[i], sizeof(cgroup.names[i]), "%s", names_leaf_first[i]);
	return cgroup;
}

static void a_cgroup_path_reads_from_the_root(void **state)
{
	static const char *const names[] = {"leaf", "middle", "top"};
	struct event_cgroup cgroup = make_cgroup(3, names), root = {};
	char path[EVENT_CGROUP_PATH_SIZE], tiny[8];

	assert_string_equal(event_cgroup_path(&cgroup, path, sizeof(path)), "/top/middle/leaf");
	assert_string_equal(event_cgroup_path(&root, path, sizeof(path)), "/");
	assert_int_equal(strlen(event_cgroup_path(&cgroup, tiny, sizeof(tiny))), sizeof(tiny) - 1);
}

static void a_cgroup_path_that_was_cut_says_so(void **state)
{
	struct event_cgroup cgroup = {.levels = EVENT_CGROUP_LEVELS, .truncated = 1};
	char path[EVENT_CGROUP_PATH_SIZE];

	for (size_t i = 0; i < EVENT_CGROUP_LEVELS; i++)
		memset(cgroup.names[i], 'a' + (int)i, EVENT_CGROUP_NAME_SIZE); /* without a NUL */
	assert_non_null(startswith(event_cgroup_path(&cgroup, path, sizeof(path)), "/.../lll"));
	assert_int_equal(strlen(path), 4 + EVENT_CGROUP_LEVELS * (EVENT_CGROUP_NAME_SIZE + 1));
	cgroup.levels = UINT32_MAX;
	assert_non_null(startswith(event_cgroup_path(&cgroup, path, sizeof(path)), "/.../lll"));
}

static void a_container_is_told_from_the_path(void **state)
{
	static const char *const names[] = {
		"cri-containerd-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef."
		"scope",
		"kubepods-burstable-podf47ac10b_58cc_4372_a567_0e02b2c3d479.slice",
		"kubepods-burstable.slice",
		"kubepods.slice",
	};
	struct event_cgroup cgroup = make_cgroup(4, names);
	cJSON *json = event_container_json(NULL, &cgroup);

	assert_string_equal(json_string(json, "runtime"), "containerd");
	assert_string_equal(json_string(json, "id"),
			    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
	assert_string_equal(json_string(json, "podUid"), "f47ac10b-58cc-4372-a567-0e02b2c3d479");
	assert_null(json_string(json, "pod"));
	assert_int_equal(json_number(json, "cgroupId", 0), 77);
	cJSON_Delete(json);
}

static void a_container_has_the_names_that_its_runtime_wrote_down(void **state)
{
	static const char *const id =
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	const struct fake_root *root = *state;
	struct container_registry *containers;
	char path[256];

	snprintf(path, sizeof(path),
		 "run/containerd/io.containerd.runtime.v2.task/k8s.io/%s/config.json", id);
	fake_file(root, path, "%s",
		  "{\"ociVersion\": \"1.1.0\", \"annotations\": {"
		  "\"io.kubernetes.cri.container-type\": \"container\","
		  "\"io.kubernetes.cri.sandbox-name\": \"cart-1\","
		  "\"io.kubernetes.cri.sandbox-namespace\": \"shop\","
		  "\"io.kubernetes.cri.container-name\": \"web\","
		  "\"io.kubernetes.cri.image-name\": \"docker.io/library/nginx:1.25\"}}");
	assert_int_equal(container_registry_new(root->host, &containers), 0);
	snprintf(path, sizeof(path),
		 "/kubepods/burstable/podf47ac10b-58cc-4372-a567-0e02b2c3d479/%s", id);
	cJSON *json = event_container_json_of_path(containers, path, 77);

	assert_string_equal(json_string(json, "runtime"), "containerd");
	assert_string_equal(json_string(json, "id"), id);
	assert_string_equal(json_string(json, "pod"), "cart-1");
	assert_string_equal(json_string(json, "podUid"), "f47ac10b-58cc-4372-a567-0e02b2c3d479");
	assert_string_equal(json_string(json, "namespace"), "shop");
	assert_string_equal(json_string(json, "name"), "web");
	assert_string_equal(json_string(json, "image"), "docker.io/library/nginx:1.25");
	assert_null(json_at(json, "sandbox"));
	assert_string_equal(json_string(json, "cgroupPath"), path);
	cJSON_Delete(json);
	/* A user calls a group of his own as that of the pod. */
	snprintf(path, sizeof(path),
		 "/user.slice/user-1000.slice/user@1000.service/cri-containerd-%s.scope", id);
	json = event_container_json_of_path(containers, path, 78);
	assert_string_equal(json_string(json, "cgroupPath"), path);
	assert_null(json_string(json, "pod"));
	assert_null(json_string(json, "namespace"));
	cJSON_Delete(json);
	container_registry_free(containers);
}

static void a_group_that_is_no_containers_is_told_by_its_path(void **state)
{
	const struct fake_root *root = *state;
	struct container_registry *containers;

	assert_int_equal(container_registry_new(root->host, &containers), 0);
	cJSON *json = event_container_json_of_path(containers, "/system.slice/ssh.service", 5);

	assert_null(json_string(json, "id"));
	assert_null(json_string(json, "runtime"));
	assert_string_equal(json_string(json, "cgroupPath"), "/system.slice/ssh.service");
	cJSON_Delete(json);
	container_registry_free(containers);
}

static void an_id_that_no_abnormal_can_hold_is_left_out(void **state)
{
	_cleanup_json_ cJSON *json = event_container_json_of_path(NULL, "/a", UINT64_MAX);

	assert_string_equal(json_string(json, "cgroupPath"), "/a");
	assert_null(json_at(json, "cgroupId"));
}

static void a_process_may_call_itself_anything(void **state)
{
	struct event_task task = {.pid = 12,
				  .tgid = 10,
				  .start_boot_ns = 1234567890123,
				  .uid = 1000,
				  .parent_tgid = 1};

	memcpy(task.comm, "a\x1b[31m\xff\xc3\xa9\"\n45678", sizeof(task.comm)); /* no NUL inside */
	memcpy(task.parent_comm, "init", 5);
	cJSON *json = event_task_json(&task);

	assert_string_equal(json_string(json, "comm"), "a?[31m?\xc3\xa9\"?45678");
	assert_int_equal(json_number(json, "startTime", 0), 123456);
	assert_int_equal(json_number(json, "uid", 0), 1000);
	assert_string_equal(json_string(cJSON_GetObjectItem(json, "parent"), "comm"), "init");
	cJSON_Delete(json);
	task.parent_tgid = 0;
	json = event_task_json(&task);
	assert_null(cJSON_GetObjectItem(json, "parent"));
	cJSON_Delete(json);
}

static void a_record_is_checked_before_it_is_read(void **state)
{
	struct oom_event event = {.header = {.type = EVENT_OOM_KILL,
					     .version = EVENTS_VERSION,
					     .size = sizeof(event)}};

	assert_int_equal(event_check(&event, sizeof(event), sizeof(event)), 0);
	assert_int_equal(event_check(&event, sizeof(event) - 1, sizeof(event)), -EBADMSG);
	assert_int_equal(event_check(&event, sizeof(event.header) - 1, 0), -EBADMSG);
	assert_int_equal(event_check(&event, sizeof(event), sizeof(event) + 8), -EBADMSG);
	event.header.size = 4;
	assert_int_equal(event_check(&event, sizeof(event), 0), -EBADMSG);
	event.header.size = sizeof(event);
	event.header.version++;
	assert_int_equal(event_check(&event, sizeof(event), sizeof(event)), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cgroup_path_reads_from_the_root),
		cmocka_unit_test(a_cgroup_path_that_was_cut_says_so),
		cmocka_unit_test(a_container_is_told_from_the_path),
		cmocka_unit_test_setup_teardown(
			a_container_has_the_names_that_its_runtime_wrote_down, fake_root_setup,
			fake_root_teardown),
		cmocka_unit_test_setup_teardown(a_group_that_is_no_containers_is_told_by_its_path,
						fake_root_setup, fake_root_teardown),
		cmocka_unit_test(an_id_that_no_abnormal_can_hold_is_left_out),
		cmocka_unit_test(a_process_may_call_itself_anything),
		cmocka_unit_test(a_record_is_checked_before_it_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
