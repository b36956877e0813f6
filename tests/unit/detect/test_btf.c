/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks are chosen by what a kernel's BTF says: here kernels that are made up. */
#include "../host/fake_root.h"

#include "detect/detect.h"

/* A kernel whose tracepoint mark_victim gives the task, or the pid as before Linux 6.9. */
static struct btf *make_kernel(bool gives_task)
{
	struct btf *btf = btf__new_empty();
	int number = btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
	int inner = btf__add_struct(btf, NULL, 4);

	btf__add_field(btf, "inner_field", number, 0, 0);
	int task = btf__add_struct(btf, "task_struct", 8);

	btf__add_field(btf, "pid", number, 0, 0);
	btf__add_field(btf, NULL, inner, 32, 0);
	int task_pointer = btf__add_ptr(btf, btf__add_const(btf, task));
	int data = btf__add_ptr(btf, 0);
	int prototype = btf__add_func_proto(btf, 0);

	btf__add_func_param(btf, "__data", data);
	btf__add_func_param(btf, "victim", gives_task ? task_pointer : number);
	assert_true(btf__add_typedef(btf, "btf_trace_mark_victim", btf__add_ptr(btf, prototype)) >
		    0);
	assert_true(btf__add_func(btf, "bpf_iter_task", BTF_FUNC_GLOBAL, prototype) > 0);
	return btf;
}

static void a_tracepoint_is_judged_by_its_arguments(void **state)
{
	struct btf *with_task = make_kernel(true), *with_pid = make_kernel(false);

	assert_int_equal(btf_tracepoint_arguments(with_task, "mark_victim"), 1);
	assert_int_equal(btf_tracepoint_arguments(with_task, "no_such"), -ENOENT);
	assert_true(btf_tracepoint_argument_is(with_task, "mark_victim", 0, "task_struct"));
	assert_false(btf_tracepoint_argument_is(with_task, "mark_victim", 0, "mm_struct"));
	assert_false(btf_tracepoint_argument_is(with_task, "mark_victim", 1, "task_struct"));
	assert_false(btf_tracepoint_argument_is(with_task, "mark_victim", -1, "task_struct"));
	assert_false(btf_tracepoint_argument_is(with_pid, "mark_victim", 0, "task_struct"));
	btf__free(with_task);
	btf__free(with_pid);
}

static void functions_iterators_and_members_are_found(void **state)
{
	struct btf *btf = make_kernel(true);

	assert_true(btf_has_function(btf, "bpf_iter_task"));
	assert_false(btf_has_function(btf, "task_struct"));
	assert_true(btf_has_iterator(btf, "task"));
	assert_false(btf_has_iterator(btf, "cgroup"));
	assert_true(btf_has_member(btf, "task_struct", "pid"));
	assert_true(btf_has_member(btf, "task_struct", "inner_field"));
	assert_false(btf_has_member(btf, "task_struct", "tgid"));
	assert_false(btf_has_member(btf, "mm_struct", "pid"));
	btf__free(btf);
}

static const struct detector *oom_detector(void)
{
	FOREACH_REGISTERED (detectors, struct detector, detector)
		if (streq(detector->name, "oom"))
			return detector;
	fail_msg("the oom detector is not registered");
	return NULL;
}

static void oom_takes_the_tracepoint_only_where_it_gives_the_task(void **state)
{
	const struct fake_root *root = *state;
	const struct hook *hook = &oom_detector()->hooks[0];
	struct btf *with_task = make_kernel(true), *with_pid = make_kernel(false),
		   *empty = btf__new_empty();
	char reason[512] = "";

	assert_string_equal(hook->name, "tp_btf/mark_victim");
	assert_int_equal(hook->probe(with_task, root->host, reason, sizeof(reason)), 0);
	assert_int_equal(hook->probe(with_pid, root->host, reason, sizeof(reason)), -EOPNOTSUPP);
	assert_non_null(strstr(reason, "gives a pid"));
	assert_int_equal(hook->probe(empty, root->host, reason, sizeof(reason)), -ENOENT);
	assert_non_null(strstr(reason, "no tracepoint mark_victim"));
	btf__free(with_task);
	btf__free(with_pid);
	btf__free(empty);
}

static void a_host_without_btf_offers_polling_alone(void **state)
{
	const struct fake_root *root = *state;

	fake_file(root, "proc/vmstat", "oom_kill 0\n");
	cJSON *list = detect_status(NULL, root->host), *item, *hook;
	bool seen = false;

	cJSON_ArrayForEach (item, list) {
		if (!streq(json_string(item, "name"), "oom"))
			continue;
		seen = true;
		assert_string_equal(json_string(item, "status"), "degraded");
		assert_string_equal(json_string(item, "hook"), "poll/vmstat");
		cJSON_ArrayForEach (hook, cJSON_GetObjectItem(item, "hooks")) {
			bool polls = startswith(json_string(hook, "name"), HOOK_POLL);

			assert_int_equal(json_bool(hook, "available", false), polls);
			if (!polls && geteuid() == 0)
				assert_non_null(strstr(json_string(hook, "reason"),
						       "CONFIG_DEBUG_INFO_BTF"));
		}
	}
	assert_true(seen);
	cJSON_Delete(list);
}

#define FAKE(test) cmocka_unit_test_setup_teardown(test, fake_root_setup, fake_root_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tracepoint_is_judged_by_its_arguments),
		cmocka_unit_test(functions_iterators_and_members_are_found),
		FAKE(oom_takes_the_tracepoint_only_where_it_gives_the_task),
		FAKE(a_host_without_btf_offers_polling_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
