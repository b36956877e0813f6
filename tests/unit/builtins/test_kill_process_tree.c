/* SPDX-License-Identifier: Apache-2.0 */
/* kill-process-tree on this test's own children. */
#include "builtin_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "host/process.h"

/*
 * A child with a child and a grandchild; the pids are shared. The first really hangs, where SIGKILL
 * ends it: clone(2) with CLONE_VFORK sleeps uninterruptibly but killably until the new process
 * executes or ends.
 */
struct family {
	struct plugin_fixture *fixture;
	volatile pid_t *pids;
	pid_t root;
};

/* In a child: tells its pid, and dies with its parent, so that nothing outlives this test. */
static void begin_child(const char *name, volatile pid_t *pid)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, name);
	if (pid)
		*pid = getpid();
}

static void sleep_on(void)
{
	for (;;)
		pause();
}

/* Like fork(), and the parent hangs until the child ends. */
static pid_t fork_and_hang(void)
{
	return (pid_t)syscall(SYS_clone, CLONE_VFORK | SIGCHLD, NULL, NULL, NULL, NULL);
}

static void wait_until_hung(const struct family *family, pid_t pid)
{
	struct process process = {0};

	for (int i = 0; i < 500 && process.state != 'D'; i++, usleep(10000))
		process_read(family->fixture->real, pid, &process);
	assert_int_equal(process.state, 'D');
}

static int setup(void **state)
{
	struct family *family = calloc(1, sizeof(*family));
	void *fixture;

	plugin_fixture_setup(&fixture);
	family->fixture = fixture;
	family->pids = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(family->pids, MAP_FAILED);
	family->root = fork();
	if (family->root == 0) {
		begin_child("hungry", NULL);
		if (fork_and_hang() == 0) {
			begin_child("hungry", &family->pids[0]);
			if (fork() == 0)
				begin_child("hungry", &family->pids[1]);
			sleep_on();
		}
		sleep_on();
	}
	for (int i = 0; i < 500 && !(family->pids[0] && family->pids[1]); i++)
		usleep(10000);
	assert_true(family->pids[1] > 0);
	wait_until_hung(family, family->root);
	*state = family;
	return 0;
}

static int teardown(void **state)
{
	struct family *family = *state;
	void *fixture = family->fixture;

	for (int i = 1; i >= 0; i--)
		if (family->pids[i] > 0)
			kill(family->pids[i], SIGKILL);
	kill(family->root, SIGKILL);
	waitpid(family->root, NULL, 0);
	munmap((void *)family->pids, 4096);
	free(family);
	return plugin_fixture_teardown(&fixture);
}

static int plan(struct family *family, pid_t pid, const char *reason, bool killable, int tasks)
{
	struct plugin_fixture *fixture = family->fixture;
	_cleanup_free_ char *text = NULL;
	struct process process = {0};

	process_read(fixture->real, pid, &process);
	assert_true(asprintf(&text,
			     "{\"apiVersion\":\"lifeboat.dev/"
			     "v1alpha1\",\"kind\":\"Abnormal\",\"metadata\":{\"name\":\"a\","
			     "\"namespace\":\"default\"},"
			     "\"spec\":{\"source\":\"KernelEvent\",\"kernelEvent\":{\"detector\":"
			     "\"hung_task\",\"type\":\"HungTask\","
			     "\"time\":\"2026-11-23T18:00:00Z\",\"details\":{\"kind\":\"nfs\","
			     "\"tasks\":%d,\"waiters\":[{\"pid\":%d,\"tgid\":%d,"
			     "\"startTime\":%llu,\"comm\":\"x\",\"killable\":%s}]}}},\"status\":{"
			     "\"reason\":\"%s\"}}",
			     tasks, (int)pid, (int)pid, (unsigned long long)process.start_time,
			     killable ? "true" : "false", reason) > 0);
	fixture_call(fixture, PLUGIN_RECOVERER, "kill-process-tree", text);
	fixture->call.host = fixture->real;
	return fixture->call.plugin->plan(&fixture->call);
}

static bool is_gone(const struct family *family, pid_t pid)
{
	struct process process;

	return process_read(family->fixture->real, pid, &process) < 0 || process.state == 'Z';
}

static void a_hung_process_goes_with_all_below_it(void **state)
{
	struct family *family = *state;
	struct plugin_call *call = &family->fixture->call;
	char target[96];
	int status;

	assert_int_equal(plan(family, family->root, "BlockedOnNFS", true, 1), PLUGIN_RECOGNISED);
	snprintf(target, sizeof(target), "hungry (pid %d) and the 2 processes below it",
		 (int)family->root);
	assert_string_equal(fixture_context(family->fixture, "target")->valuestring, target);
	assert_int_equal(call->plugin->verify(call), PLUGIN_NOT_MINE);
	assert_int_equal(call->plugin->recover(call), PLUGIN_RECOGNISED);
	assert_string_equal(call->abnormal->status.message, "sent SIGKILL to 3 processes");
	assert_int_equal(waitpid(family->root, &status, 0), family->root);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	int r = PLUGIN_NOT_MINE;
	for (int i = 0; i < 500 && r != PLUGIN_RECOGNISED; i++, usleep(10000))
		r = call->plugin->verify(call);
	assert_int_equal(r, PLUGIN_RECOGNISED);
	assert_string_equal(call->abnormal->status.message, "all 3 processes have ended");
	assert_true(is_gone(family, family->pids[0]) && is_gone(family, family->pids[1]));
	assert_int_equal(call->plugin->recover(call), PLUGIN_RECOGNISED);
	assert_string_equal(call->abnormal->status.message,
			    "none of the hung processes hangs any more; nothing was killed");
}

static void *hang_thread(void *tid)
{
	*(volatile pid_t *)tid = gettid();
	if (fork_and_hang() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sleep_on();
	}
	return NULL;
}

static void a_tree_that_forks_all_the_time_goes_too(void **state)
{
	struct family *family = *state;
	struct plugin_call *call = &family->fixture->call;

	family->pids[2] = 0;
	pid_t forker = fork();
	if (forker == 0) {
		pthread_t thread;

		begin_child("forker", NULL);
		pthread_create(&thread, NULL, hang_thread, (void *)&family->pids[2]);
		for (;;) {
			if (fork() == 0) {
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				usleep(20000);
				_exit(0);
			}
			usleep(2000);
			while (waitpid(-1, NULL, WNOHANG) > 0)
				;
		}
	}
	for (int i = 0; i < 500 && !family->pids[2]; i++)
		usleep(10000);
	wait_until_hung(family, family->pids[2]);
	int planned = plan(family, family->pids[2], "BlockedOnNFS", true, 1);
	int recovered = planned == PLUGIN_RECOGNISED ? call->plugin->recover(call) : planned;
	kill(forker, SIGKILL); /* in case it was not, so that the wait ends */
	waitpid(forker, NULL, 0);
	int r = PLUGIN_NOT_MINE;
	for (int i = 0; i < 500 && r == PLUGIN_NOT_MINE; i++, usleep(10000))
		r = call->plugin->verify(call);
	assert_int_equal(planned, PLUGIN_RECOGNISED);
	assert_int_equal(recovered, PLUGIN_RECOGNISED);
	assert_int_equal(r, PLUGIN_RECOGNISED);
	_cleanup_free_ struct process *processes = NULL;
	size_t count;
	assert_int_equal(process_list(family->fixture->real, &processes, &count), 0);
	for (size_t i = 0; i < count; i++)
		assert_false(streq(processes[i].comm, "forker") && processes[i].state != 'Z');
}

static void what_sigkill_cannot_end_is_refused(void **state)
{
	struct family *family = *state;

	assert_int_equal(plan(family, family->root, "BlockedOnIO", false, 1), PLUGIN_NOT_MINE);
	assert_int_equal(plan(family, family->root, "BlockedOnFUSE", true, 1), PLUGIN_NOT_MINE);
	assert_int_equal(plan(family, family->root, "FilesystemFrozen", true, 1), PLUGIN_NOT_MINE);
	assert_int_equal(plan(family, family->root, "BlockedOnNFS", true, 40), PLUGIN_NOT_MINE);
	assert_false(is_gone(family, family->root));
}

/* The Abnormal says so; the process says otherwise. */
static void what_does_not_hang_is_not_killed(void **state)
{
	struct family *family = *state;
	struct plugin_call *call = &family->fixture->call;

	assert_int_equal(plan(family, family->pids[0], "BlockedOnNFS", true, 1), PLUGIN_NOT_MINE);
	assert_int_equal(plan(family, family->root, "BlockedOnNFS", true, 1), PLUGIN_RECOGNISED);
	kill(family->pids[1], SIGKILL);
	kill(family->pids[0], SIGKILL); /* ends the wait of the root */
	struct process process = {.state = 'D'};
	for (int i = 0; i < 500 && process.state == 'D'; i++, usleep(10000))
		assert_int_equal(process_read(family->fixture->real, family->root, &process), 0);
	assert_int_equal(call->plugin->recover(call), PLUGIN_RECOGNISED);
	assert_string_equal(call->abnormal->status.message,
			    "none of the hung processes hangs any more; nothing was killed");
	usleep(100000);
	assert_false(is_gone(family, family->root));
	assert_int_equal(process_read(family->fixture->real, family->root, &process), 0);
	assert_int_equal(process.state, 'S');
}

/* The init of a pid namespace takes along what is not below it: that is named, and looked at. */
static void the_init_of_a_pid_namespace_takes_all_of_it_along(void **state)
{
	struct family *family = *state;
	struct plugin_call *call = &family->fixture->call;
	struct process process;

	family->pids[2] = family->pids[3] = 0;
	pid_t outer = fork();
	if (outer == 0) {
		begin_child("outer", NULL);
		if (unshare(CLONE_NEWPID) < 0)
			_exit(1);
		pid_t init = fork();
		if (init == 0) {
			begin_child("initlike", NULL);
			if (fork_and_hang() == 0)
				sleep_on();
			sleep_on();
		}
		family->pids[2] = init;
		/* As `docker exec` does: in the namespace, but not below its init. */
		pid_t guest = fork();
		if (guest == 0) {
			begin_child("guest", NULL);
			sleep_on();
		}
		family->pids[3] = guest;
		sleep_on();
	}
	for (int i = 0; i < 500 && !family->pids[3]; i++)
		usleep(10000);
	if (family->pids[3] > 0)
		wait_until_hung(family, family->pids[2]);
	int r = plan(family, family->pids[2], "BlockedOnNFS", true, 1);
	int read = process_read(call->host, family->pids[2], &process);
	kill(family->pids[3], SIGKILL);
	kill(family->pids[2], SIGKILL);
	kill(outer, SIGKILL);
	waitpid(outer, NULL, 0);
	assert_int_equal(read, 0);
	assert_true(process.namespace_init);
	assert_int_equal(r, PLUGIN_RECOGNISED);
	const cJSON *item, *processes = fixture_context(family->fixture, "processes");
	bool found = false;
	cJSON_ArrayForEach (item, processes)
		found |= json_number(item, "pid", 0) == family->pids[3];
	assert_true(found);
}

static void what_carries_the_node_is_refused(void **state)
{
	struct family *family = *state;

	assert_int_equal(plan(family, 1, "BlockedOnNFS", true, 1), PLUGIN_NOT_MINE);
	assert_int_equal(plan(family, getpid(), "BlockedOnNFS", true, 1), PLUGIN_NOT_MINE);
	assert_int_equal(plan(family, getppid(), "BlockedOnNFS", true, 1), PLUGIN_NOT_MINE);
	assert_int_equal(plan(family, 2, "BlockedOnNFS", true, 1), PLUGIN_NOT_MINE);
}

static void only_listed_programs_are_killed_when_there_is_a_list(void **state)
{
	struct family *family = *state;
	struct plugin_fixture *fixture = family->fixture;
	const struct schema *schema =
		plugin_builtin(PLUGIN_RECOVERER, "kill-process-tree")->settings;
	struct problem problem;
	void *settings;

	for (int listed = 0; listed < 2; listed++) {
		const char *text = listed ? "{\"processes\":[\"hun*\"]}"
					  : "{\"processes\":[\"tar\",\"/usr/bin/rsync\"]}";
		_cleanup_json_ cJSON *json = cJSON_Parse(text);

		assert_int_equal(plan(family, family->root, "BlockedOnNFS", true, 1),
				 PLUGIN_RECOGNISED);
		assert_int_equal(schema_decode(schema, json, &settings, &problem), 0);
		fixture->call.settings = settings;
		int r = fixture->call.plugin->plan(&fixture->call);
		schema_free(schema, settings);
		assert_int_equal(r, listed ? PLUGIN_RECOGNISED : PLUGIN_NOT_MINE);
	}
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_hung_process_goes_with_all_below_it),
		TEST(a_tree_that_forks_all_the_time_goes_too),
		TEST(what_sigkill_cannot_end_is_refused),
		TEST(what_does_not_hang_is_not_killed),
		TEST(the_init_of_a_pid_namespace_takes_all_of_it_along),
		TEST(what_carries_the_node_is_refused),
		TEST(only_listed_programs_are_killed_when_there_is_a_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
