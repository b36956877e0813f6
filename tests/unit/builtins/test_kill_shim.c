/* SPDX-License-Identifier: Apache-2.0 */
/* kill-shim on a process that passes for a shim: what it kills, and all that it leaves alone. */
#include "fake_shim.h"

struct victim {
	struct fake_shim *shim;
	void *settings;
};

static int setup(void **state)
{
	struct victim *victim = calloc(1, sizeof(*victim));
	void *shim;

	fake_shim_setup(&shim);
	victim->shim = shim;
	*state = victim;
	return 0;
}

static const struct plugin *kill_shim(void)
{
	return plugin_builtin(PLUGIN_RECOVERER, "kill-shim");
}

static int teardown(void **state)
{
	struct victim *victim = *state;
	void *shim = victim->shim;

	if (victim->settings)
		schema_free(kill_shim()->settings, victim->settings);
	free(victim);
	return fake_shim_teardown(&shim);
}

/* The settings of a configuration with these REASONS ("[…]"; NULL: not set), as the chain reads them. */
static int configure(struct victim *victim, const char *reasons, struct problem *problem)
{
	const struct schema *schema = kill_shim()->settings;
	_cleanup_json_ cJSON *json = NULL;
	void *defaults = schema_new(schema);
	int r;

	assert_non_null(defaults);
	kill_shim()->defaults(defaults);
	assert_int_equal(schema_encode(schema, defaults, &json), 0);
	schema_free(schema, defaults);
	if (reasons)
		assert_int_equal(json_set(json, "reasons", cJSON_Parse(reasons)), 0);
	if (victim->settings)
		schema_free(schema, victim->settings);
	victim->settings = NULL;
	r = schema_decode(schema, json, &victim->settings, problem);
	return r;
}

/* Of a shim that was diagnosed AGE_S ago. */
static int plan_of_old(struct victim *victim, const char *reason, const char *verdict,
		       const char *shim_text, int64_t age_s)
{
	int64_t diagnosed = clock_realtime(clock_system()) - age_s * (int64_t)NS_PER_S;
	char time[TIME_TEXT_SIZE];
	struct plugin_fixture *fixture = victim->shim->fixture;
	_cleanup_free_ char *text = NULL;
	struct problem problem;

	time_format(diagnosed, time);
	if (!victim->settings)
		assert_int_equal(configure(victim, NULL, &problem), 0);
	assert_true(asprintf(&text,
			     "{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\","
			     "\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"},\"spec\":{"
			     "\"source\":\"Custom\"},\"status\":{\"reason\":\"%s\",\"context\":{"
			     "\"shim-deadlock\":{\"verdict\":\"%s\",\"time\":\"%s\","
			     "\"shim\":%s}}}}",
			     reason, verdict, time, shim_text) > 0);
	fixture_call(fixture, PLUGIN_RECOVERER, "kill-shim", text);
	fixture->call.host = fixture->real;
	fixture->call.settings = victim->settings;
	return fixture->call.plugin->plan(&fixture->call);
}

static int plan_as(struct victim *victim, const char *reason, const char *verdict,
		   const char *shim_text)
{
	return plan_of_old(victim, reason, verdict, shim_text, 0);
}

static int plan(struct victim *victim)
{
	_cleanup_free_ char *json = fake_shim_json(victim->shim);

	return plan_as(victim, "ShimDeadlock", "deadlock", json);
}

static bool is_alive(const struct victim *victim)
{
	struct process process;

	return process_read(victim->shim->fixture->real, victim->shim->pid, &process) == 0 &&
	       process.state != 'Z';
}

static int recover(struct victim *victim)
{
	struct plugin_call *call = &victim->shim->fixture->call;

	return call->plugin->recover(call);
}

static int verify(struct victim *victim)
{
	struct plugin_call *call = &victim->shim->fixture->call;

	return call->plugin->verify(call);
}

/* What containerd does when a shim has died. */
static void clean_up_after(const struct victim *victim)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/config.json", victim->shim->bundle);
	unlink(path);
	snprintf(path, sizeof(path), "%s/address", victim->shim->bundle);
	unlink(path);
	assert_int_equal(rmdir(victim->shim->bundle), 0);
}

/* Orphans go to the nearest subreaper, which is this test: it reaps what the shim has not. */
static void wait_until_reaped(const struct victim *victim)
{
	waitpid(victim->shim->pid, NULL, 0);
	for (int i = 0; i < 500 && verify((struct victim *)victim) == PLUGIN_NOT_MINE &&
			waitpid(-1, NULL, WNOHANG) >= 0;
	     i++)
		usleep(10000);
}

static void a_deadlocked_shim_is_killed_and_all_it_served_is_named_before(void **state)
{
	struct victim *victim = *state;
	struct plugin_fixture *fixture = victim->shim->fixture;
	char target[192];

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	assert_int_equal(plan(victim), PLUGIN_RECOGNISED);
	snprintf(target, sizeof(target),
		 "shim containerd-shim (pid %d) of " FAKE_NAMESPACE "/" FAKE_ID
		 ", with container web of pod shop/cart-1 (0 running processes)",
		 (int)victim->shim->pid);
	assert_string_equal(fixture_context(fixture, "target")->valuestring, target);
	assert_string_equal(
		json_string(cJSON_GetArrayItem(fixture_context(fixture, "containers"), 0), "pod"),
		"cart-1");
	assert_int_equal(fixture_context(fixture, "zombieCount")->valueint, FAKE_ZOMBIES);
	assert_int_equal(verify(victim), PLUGIN_NOT_MINE);
	assert_true(is_alive(victim));
	assert_int_equal(recover(victim), PLUGIN_RECOGNISED);
	fake_wait_for(victim->shim, 'Z');
	wait_until_reaped(victim);
	/* The process is gone, but the runtime still has the container. */
	assert_int_equal(verify(victim), PLUGIN_NOT_MINE);
	clean_up_after(victim);
	assert_int_equal(verify(victim), PLUGIN_RECOGNISED);
	fixture_expect_message(fixture, "the shim is gone, its 3 dead children are reaped, no shim "
					"listens on its socket, its bundle is removed");
	/* A second time it finds nothing to kill. */
	assert_int_equal(recover(victim), PLUGIN_RECOGNISED);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static void a_sentence_names_some_of_many_containers_and_a_target_all(void **state)
{
	_cleanup_json_ cJSON *list = cJSON_CreateArray();
	_cleanup_buffer_ struct buffer some = BUFFER(KIB), all = BUFFER(KIB);

	(void)state;
	for (int i = 0; i < 6; i++) {
		char id[16];
		cJSON *item = cJSON_CreateObject();

		snprintf(id, sizeof(id), "web-%d", i);
		assert_int_equal(json_set_string(item, "id", id), 0);
		assert_true(cJSON_AddItemToArray(list, item));
	}
	shim_containers_text(list, 6, SHIM_CONTAINERS_SHOWN, &some);
	shim_containers_text(list, 6, SHIM_CONTAINERS_TOLD, &all);
	assert_string_equal(buffer_text(&some),
			    "container web-0, container web-1, container web-2, "
			    "container web-3 and 2 more");
	assert_non_null(strstr(buffer_text(&all), "container web-5"));
}

static void a_shim_that_answers_by_then_is_left_alone(void **state)
{
	struct victim *victim = *state;

	assert_int_equal(plan(victim), PLUGIN_RECOGNISED);
	fake_heal(victim->shim);
	assert_int_equal(recover(victim), PLUGIN_NOT_MINE);
	assert_true(is_alive(victim));
}

/* As when another Abnormal of the same shim is repaired at that moment. */
static void a_shim_that_ends_meanwhile_has_not_recovered(void **state)
{
	struct victim *victim = *state;
	pid_t other;

	assert_int_equal(plan(victim), PLUGIN_RECOGNISED);
	other = fork();
	if (other == 0) {
		usleep(500000);
		kill(victim->shim->pid, SIGKILL);
		_exit(0);
	}
	int r = recover(victim);
	waitpid(other, NULL, 0);
	assert_int_equal(r, PLUGIN_RECOGNISED);
	fixture_expect_message(victim->shim->fixture, "the shim has ended already");
}

static void a_shim_that_somebody_debugs_is_left_alone(void **state)
{
	struct victim *victim = *state;

	assert_int_equal(plan(victim), PLUGIN_RECOGNISED);
	if (ptrace(PTRACE_SEIZE, victim->shim->pid, NULL, NULL) < 0) {
		print_message("skipped: this machine lets nobody trace a child\n");
		skip();
	}
	assert_int_equal(recover(victim), PLUGIN_NOT_MINE);
	assert_int_equal(plan(victim), PLUGIN_NOT_MINE);
	assert_true(is_alive(victim));
}

static void a_stopped_shim_is_left_alone(void **state)
{
	struct victim *victim = *state;

	assert_int_equal(plan(victim), PLUGIN_RECOGNISED);
	fake_stop(victim->shim);
	assert_int_equal(recover(victim), PLUGIN_NOT_MINE);
	assert_int_equal(plan(victim), PLUGIN_NOT_MINE);
	assert_true(is_alive(victim));
}

static void another_process_with_that_pid_is_left_alone(void **state)
{
	struct victim *victim = *state;
	_cleanup_free_ char *text = fake_shim_json(victim->shim);
	_cleanup_json_ cJSON *json = cJSON_Parse(text);
	_cleanup_free_ char *reused = NULL;

	json_set_number(json, "startTime", (double)victim->shim->process.start_time + 1);
	reused = json_print(json);
	assert_int_equal(plan_as(victim, "ShimDeadlock", "deadlock", reused), PLUGIN_NOT_MINE);
}

static void another_program_or_bundle_is_left_alone(void **state)
{
	static const char *const members[] = {"program", "bundle"};
	struct victim *victim = *state;

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		_cleanup_free_ char *text = fake_shim_json(victim->shim), *other = NULL;
		_cleanup_json_ cJSON *json = cJSON_Parse(text);

		json_set_string(json, members[i], "/usr/bin/other");
		other = json_print(json);
		assert_int_equal(plan_as(victim, "ShimDeadlock", "deadlock", other),
				 PLUGIN_NOT_MINE);
	}
}

/* Whoever may write an Abnormal may name any process in it. */
static void a_process_that_is_no_shim_is_left_alone(void **state)
{
	struct victim *victim = *state;
	_cleanup_free_ char *exe = NULL, *text = NULL;
	struct process other;
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	assert_int_equal(process_read(victim->shim->fixture->real, pid, &other), 0);
	exe = process_exe(victim->shim->fixture->real, pid);
	assert_true(asprintf(&text,
			     "{\"pid\":%d,\"startTime\":%llu,\"kind\":\"containerd-v1\","
			     "\"program\":\"%s\"}",
			     (int)pid, (unsigned long long)other.start_time, exe) > 0);
	int r = plan_as(victim, "ShimDeadlock", "deadlock", text);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(r, PLUGIN_NOT_MINE);
}

static void only_a_proven_deadlock_is_killed_unless_the_operator_says_more(void **state)
{
	struct victim *victim = *state;
	_cleanup_free_ char *json = fake_shim_json(victim->shim);
	struct problem problem;

	assert_false(kill_shim()->off_by_default);
	assert_int_equal(plan_as(victim, "ShimStalled", "stalled", json), PLUGIN_NOT_MINE);
	assert_int_equal(plan_as(victim, "ShimStopped", "stopped", json), PLUGIN_NOT_MINE);
	/* A reason without the diagnoser's own verdict is somebody's word. */
	assert_int_equal(plan_as(victim, "ShimDeadlock", "stalled", json), PLUGIN_NOT_MINE);
	assert_int_equal(plan_as(victim, "BlockedOnIO", "deadlock", json), PLUGIN_NOT_MINE);
	assert_int_equal(configure(victim, "[\"ShimDeadlock\",\"ShimStalled\"]", &problem), 0);
	assert_int_equal(plan_as(victim, "ShimStalled", "stalled", json), PLUGIN_RECOGNISED);
	assert_int_equal(configure(victim, "[]", &problem), 0);
	assert_int_equal(plan_as(victim, "ShimDeadlock", "deadlock", json), PLUGIN_NOT_MINE);
}

/* What is slow may have moved since, and a deadlock has not. */
static void a_stall_of_unknown_cause_is_not_acted_on_later(void **state)
{
	struct victim *victim = *state;
	_cleanup_free_ char *json = fake_shim_json(victim->shim);
	struct problem problem;

	assert_int_equal(configure(victim, "[\"ShimDeadlock\",\"ShimStalled\"]", &problem), 0);
	assert_int_equal(plan_of_old(victim, "ShimStalled", "stalled", json, 900), PLUGIN_NOT_MINE);
	assert_int_equal(plan_of_old(victim, "ShimDeadlock", "deadlock", json, 900),
			 PLUGIN_RECOGNISED);
}

static void a_shim_whose_bundle_is_not_the_one_there_is_left_alone(void **state)
{
	struct victim *victim = *state;

	assert_int_equal(plan(victim), PLUGIN_RECOGNISED);
	clean_up_after(victim);
	assert_int_equal(recover(victim), PLUGIN_NOT_MINE);
	assert_int_equal(plan(victim), PLUGIN_NOT_MINE);
	/* One of the same name, as a container's own root may have. */
	assert_int_equal(mkdir(victim->shim->bundle, 0755), 0);
	fake_write(victim->shim, victim->shim->bundle, "config.json", "{}");
	assert_int_equal(plan(victim), PLUGIN_NOT_MINE);
	assert_true(is_alive(victim));
}

static void any_answer_shows_that_it_lives(void **state)
{
	struct victim *victim = *state;

	fake_write(victim->shim, victim->shim->folder, "http", "");
	assert_int_equal(plan(victim), PLUGIN_RECOGNISED);
	fake_heal(victim->shim);
	assert_int_equal(plan(victim), PLUGIN_RECOGNISED);
	assert_int_equal(recover(victim), PLUGIN_NOT_MINE);
	assert_true(is_alive(victim));
}

static void a_socket_that_nobody_listens_on_shows_nothing(void **state)
{
	struct victim *victim = *state;
	char path[300];

	fake_heal(victim->shim);
	snprintf(path, sizeof(path), "%s/socket", victim->shim->folder);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(plan(victim), PLUGIN_RECOGNISED);
	assert_int_equal(recover(victim), PLUGIN_NOT_MINE);
	assert_true(is_alive(victim));
}

static void set_runtime(const struct victim *victim, const char *address)
{
	assert_int_equal(
		json_set_string(plugin_context(&victim->shim->fixture->call), "runtime", address),
		0);
}

static void without_a_runtime_to_clean_up_nothing_is_killed(void **state)
{
	struct victim *victim = *state;

	assert_int_equal(plan(victim), PLUGIN_RECOGNISED);
	set_runtime(victim, "/nonexistent/containerd.sock");
	assert_int_equal(recover(victim), PLUGIN_NOT_MINE);
	assert_true(is_alive(victim));
}

/* The id is another's too, in a namespace of its own. */
static void a_bundle_that_is_left_is_told_though_another_shim_serves_that_id(void **state)
{
	struct victim *victim = *state;
	void *other;

	assert_int_equal(plan(victim), PLUGIN_RECOGNISED);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	kill(victim->shim->pid, SIGKILL);
	wait_until_reaped(victim);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	fake_shim_setup(&other);
	int r = verify(victim);
	fake_shim_teardown(&other);
	assert_int_equal(r, PLUGIN_NOT_MINE);
}

static void a_bundle_that_was_never_seen_is_not_said_to_be_removed(void **state)
{
	struct victim *victim = *state;
	cJSON *container;

	assert_int_equal(plan(victim), PLUGIN_RECOGNISED);
	cJSON_ArrayForEach (container, fixture_context(victim->shim->fixture, "containers"))
		cJSON_DeleteItemFromObject(container, "bundle");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	kill(victim->shim->pid, SIGKILL);
	wait_until_reaped(victim);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	assert_int_equal(verify(victim), PLUGIN_RECOGNISED);
	fixture_expect_message(victim->shim->fixture,
			       "the shim is gone, its 3 dead children are reaped, no shim listens "
			       "on its socket");
}

static void a_stopped_shim_cannot_be_configured_to_be_killed(void **state)
{
	struct problem problem = {0};

	assert_int_equal(configure(*state, "[\"ShimStopped\"]", &problem), -EINVAL);
	assert_non_null(strstr(problem.text, "continue-shim"));
	assert_int_equal(configure(*state, "[\"OutOfCoffee\"]", &problem), -EINVAL);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_deadlocked_shim_is_killed_and_all_it_served_is_named_before),
		cmocka_unit_test(a_sentence_names_some_of_many_containers_and_a_target_all),
		TEST(a_shim_that_answers_by_then_is_left_alone),
		TEST(a_shim_that_ends_meanwhile_has_not_recovered),
		TEST(a_shim_that_somebody_debugs_is_left_alone),
		TEST(a_stopped_shim_is_left_alone),
		TEST(another_process_with_that_pid_is_left_alone),
		TEST(another_program_or_bundle_is_left_alone),
		TEST(a_process_that_is_no_shim_is_left_alone),
		TEST(only_a_proven_deadlock_is_killed_unless_the_operator_says_more),
		TEST(a_stall_of_unknown_cause_is_not_acted_on_later),
		TEST(a_shim_whose_bundle_is_not_the_one_there_is_left_alone),
		TEST(any_answer_shows_that_it_lives),
		TEST(a_socket_that_nobody_listens_on_shows_nothing),
		TEST(without_a_runtime_to_clean_up_nothing_is_killed),
		TEST(a_bundle_that_is_left_is_told_though_another_shim_serves_that_id),
		TEST(a_bundle_that_was_never_seen_is_not_said_to_be_removed),
		TEST(a_stopped_shim_cannot_be_configured_to_be_killed),
	};

	FAKE_SHIM_MAIN(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
