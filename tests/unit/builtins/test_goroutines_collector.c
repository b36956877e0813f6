/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collector goroutines, on real processes. Run from the repository's root, as `make check-unit` does.
 * How a dump is taken and read is tested in tests/unit/host.
 */
#include "builtin_fixture.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "../skip.h"

#include "base/spawn.h"
#include "host/process.h"

#define SOURCE "tests/unit/host/goroutines.go"

static void about(struct plugin_fixture *fixture, pid_t pid)
{
	_cleanup_free_ char *text = NULL;
	struct process process;

	assert_int_equal(process_read(fixture->real, pid, &process), 0);
	assert_true(asprintf(&text,
			     "{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\","
			     "\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"},"
			     "\"spec\":{\"source\":\"KernelEvent\",\"kernelEvent\":{"
			     "\"detector\":\"shim_stall\",\"type\":\"ShimUnresponsive\","
			     "\"time\":\"2026-11-23T18:00:00Z\",\"process\":{\"pid\":%d,"
			     "\"tgid\":%d,\"startTime\":%" PRIu64 ",\"comm\":\"x\"}}}}",
			     (int)pid, (int)pid, process.start_time) > 0);
	fixture_call(fixture, PLUGIN_COLLECTOR, "goroutines", text);
	fixture->call.host = fixture->real;
}

static pid_t start(const char *program, const char *argument, const char *form)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(open("/dev/null", O_RDWR | O_CLOEXEC), STDERR_FILENO);
		execl(program, program, argument, form, NULL);
		_exit(127);
	}
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void wait_for_file(const char *path)
{
	for (int i = 0; access(path, F_OK) < 0; i++) {
		if (i == 3000)
			fail_msg("%s was not made within 30 s", path);
		clock_sleep(10 * NS_PER_MS);
	}
}

static void a_shims_goroutines_are_told_and_kept_as_lines(void **state)
{
	struct plugin_fixture *fixture = *state;
	char program[128], ready[128];
	int status = -1;

	snprintf(program, sizeof(program), "%s/containerd-shim", fixture->root.path);
	snprintf(ready, sizeof(ready), "%s/ready", fixture->root.path);
	char *arguments[] = {(char *)"env",
			     (char *)"GO111MODULE=off",
			     (char *)"CGO_ENABLED=0",
			     (char *)"go",
			     (char *)"build",
			     (char *)"-o",
			     program,
			     (char *)SOURCE,
			     NULL};
	_cleanup_free_ char *output = NULL;
	if (spawn_read("/usr/bin/env", arguments, 240 * NS_PER_S, MIB, &output, &status) < 0 ||
	    status != 0)
		skip_because("needs Go (golang-go) to build a program that writes goroutine dumps");
	if (geteuid() != 0)
		skip_because("needs root, to watch another process's writes");
	pid_t pid = start(program, ready, "escaped");
	wait_for_file(ready);
	about(fixture, pid);
	int r = fixture->call.plugin->collect(&fixture->call);
	int gone = waitpid(pid, NULL, WNOHANG);
	end(pid);
	assert_int_equal(r, PLUGIN_RECOGNISED);
	assert_int_equal(gone, 0);
	assert_int_equal(json_u64(fixture_context(fixture, "process"), "pid"), pid);
	assert_true(cJSON_IsFalse(fixture_context(fixture, "truncated")));
	assert_true(cJSON_IsTrue(fixture_context(fixture, "summary.escaped")));
	assert_int_equal(json_u64(fixture_context(fixture, "summary.main"), "id"), 1);
	const cJSON *largest = cJSON_GetArrayItem(fixture_context(fixture, "summary.groups"), 0);
	assert_int_equal(json_u64(largest, "count"), 5);
	assert_string_equal(json_string(largest, "state"), "chan send");
	assert_true(cJSON_IsString(fixture_context(fixture, "time")));
	assert_string_equal(fixture_context(fixture, "hook")->valuestring, "tp_btf/sys_enter");
	assert_string_equal(fixture_context(fixture, "artifact")->valuestring, "goroutines.txt");
	_cleanup_free_ char *text = fixture_artifact(fixture, "goroutines.txt");
	assert_non_null(strstr(text, "\n\ngoroutine "));
	assert_non_null(strstr(text, "]:\nmain.(*waiter).sendForever(...)\n\t/"));
}

static void a_process_that_must_not_be_asked_is_explained_and_no_error(void **state)
{
	struct plugin_fixture *fixture = *state;
	pid_t pid = start("/bin/sleep", "60", NULL);

	about(fixture, pid);
	assert_int_equal(fixture->call.plugin->collect(&fixture->call), PLUGIN_NOT_MINE);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid);
	assert_int_equal(fixture->call.plugin->collect(&fixture->call), PLUGIN_NOT_MINE);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	end(pid);
	assert_int_equal(fixture->call.plugin->collect(&fixture->call), PLUGIN_NOT_MINE);
	assert_null(plugin_context_of(&fixture->call, "goroutines"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLUGIN_TEST(a_shims_goroutines_are_told_and_kept_as_lines),
		PLUGIN_TEST(a_process_that_must_not_be_asked_is_explained_and_no_error),
	};

	return cmocka_run_group_tests_name("goroutines collector", tests, NULL, NULL);
}
