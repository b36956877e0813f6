/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goroutine dumps of real processes: of a Go program that the test builds, wherever it writes to; and
 * who is never sent the signal. Run from the repository's root, as `make check-unit` does.
 */
#include "fake_root.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "base/spawn.h"
#include "host/goroutine_capture.h"
#include "host/goroutine_dump.h"
#include "host/goroutine_stream.h"
#include "host/goroutine_text.h"
#include "../skip.h"

#define SOURCE "tests/unit/host/goroutines.go"
#define WITHIN_NS (10 * NS_PER_S)

struct fixture {
	struct host *host;
	char directory[64], program[128], ready[128];
	bool built, as_root;
	pid_t pid; /* of the process under test */
	enum goroutine_hook hook; /* to be used */
	struct goroutine_capture capture;
	struct problem problem;
};

/* --- Set up --- */

/* Named as a shim, as it can do without readers of its output. */
static void build(struct fixture *fixture)
{
	char *arguments[] = {(char *)"env",
			     (char *)"GO111MODULE=off",
			     (char *)"CGO_ENABLED=0",
			     (char *)"go",
			     (char *)"build",
			     (char *)"-o",
			     fixture->program,
			     (char *)SOURCE,
			     NULL};
	_cleanup_free_ char *output = NULL;
	int status = -1;

	if (access(SOURCE, R_OK) < 0)
		fail_msg("cannot read " SOURCE ": run this test from the repository's root");
	int r = spawn_read("/usr/bin/env", arguments, 240 * NS_PER_S, MIB, &output, &status);
	fixture->built = r == 0 && status == 0;
}

static int fixture_setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	*state = fixture;
	snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/lifeboat-test-XXXXXX");
	assert_non_null(mkdtemp(fixture->directory));
	snprintf(fixture->program, sizeof(fixture->program), "%s/containerd-shim",
		 fixture->directory);
	snprintf(fixture->ready, sizeof(fixture->ready), "%s/ready", fixture->directory);
	assert_int_equal(host_open(NULL, &fixture->host), 0);
	fixture->as_root = geteuid() == 0;
	build(fixture);
	return 0;
}

static int fixture_teardown(void **state)
{
	struct fixture *fixture = *state;

	host_free(fixture->host);
	nftw(fixture->directory, fake_remove, 16, FTW_DEPTH | FTW_PHYS);
	free(fixture);
	return 0;
}

static int test_teardown(void **state)
{
	struct fixture *fixture = *state;

	if (fixture->pid > 0) {
		kill(fixture->pid, SIGKILL);
		waitpid(fixture->pid, NULL, 0);
	}
	fixture->pid = 0;
	fixture->hook = GOROUTINE_HOOK_BEST;
	unlink(fixture->ready);
	goroutine_capture_clear(&fixture->capture);
	return 0;
}

static void wait_for_file(const char *path)
{
	for (int i = 0; access(path, F_OK) < 0; i++) {
		if (i == 3000)
			fail_msg("%s was not made within 30 s", path);
		clock_sleep(10 * NS_PER_MS);
	}
}

/* Starts PROGRAM, which writes its dump in FORM; waits until it would. */
static void start(struct fixture *fixture, const char *program, const char *form, const char *copy,
		  int in, int out, int err)
{
	fixture->pid = fork();
	assert_true(fixture->pid >= 0);
	if (fixture->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(in, STDIN_FILENO);
		dup2(out, STDOUT_FILENO);
		dup2(err, STDERR_FILENO);
		execl(program, program, fixture->ready, form, copy, NULL);
		_exit(127);
	}
	wait_for_file(fixture->ready);
}

static void start_go(struct fixture *fixture, const char *form, int err)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (!fixture->built)
		skip_because("needs Go (golang-go) to build a program that writes goroutine dumps");
	if (!fixture->as_root)
		skip_because("needs root, to watch another process's writes");
	start(fixture, fixture->program, form, NULL, null, null, err < 0 ? null : err);
}

static int take_within(struct fixture *fixture, uint64_t within_ns)
{
	const struct goroutine_capture_options options = {
		.hook = fixture->hook, .within_ns = within_ns, .bytes_max = MIB};
	struct process process;

	assert_int_equal(process_read(fixture->host, fixture->pid, &process), 0);
	goroutine_capture_clear(&fixture->capture);
	return goroutine_capture_take(fixture->host, clock_system(), fixture->pid,
				      process.start_time, &options, &fixture->capture,
				      &fixture->problem);
}

static int take(struct fixture *fixture)
{
	return take_within(fixture, WITHIN_NS);
}

static struct goroutine_dump *expect_dump(struct fixture *fixture)
{
	struct goroutine_dump *dump = NULL;
	int r = take(fixture);

	if (r < 0)
		fail_msg("%s: %s", strerror(-r), fixture->problem.text);
	assert_false(fixture->capture.truncated);
	assert_int_equal(fixture->capture.lost, 0);
	assert_int_equal(
		goroutine_dump_parse(fixture->capture.text, fixture->capture.length, &dump), 0);
	assert_false(dump->truncated);
	const struct goroutine *first = goroutine_dump_find(dump, 1);
	assert_non_null(first);
	assert_string_equal(first->frames[first->frame_count - 1].function, "main.main");
	return dump;
}

static void expect_alive(const struct fixture *fixture)
{
	assert_int_equal(waitpid(fixture->pid, NULL, WNOHANG), 0);
}

/* Five of the program's goroutines do the same. */
static void expect_senders(const struct goroutine_dump *dump)
{
	size_t senders = 0;

	for (size_t i = 0; i < dump->count; i++)
		if (streq(dump->items[i].state, "chan send") &&
		    streq(dump->items[i].frames[0].function, "main.(*waiter).sendForever"))
			senders++;
	assert_int_equal(senders, 5);
}

/* --- Where the dump is written to --- */

static void a_dump_that_is_discarded_is_seen(void **state)
{
	struct fixture *fixture = *state;

	start_go(fixture, "plain", -1);
	_cleanup_(goroutine_dump_freep) struct goroutine_dump *dump = expect_dump(fixture);
	expect_senders(dump);
	assert_false(dump->escaped);
	expect_alive(fixture);
	/* A second look. */
	_cleanup_(goroutine_dump_freep) struct goroutine_dump *again = expect_dump(fixture);
	assert_int_equal(again->count, dump->count);
}

static void each_hook_sees_a_dump(void **state)
{
	struct fixture *fixture = *state;

	start_go(fixture, "plain", -1);
	for (int hook = GOROUTINE_HOOK_TP_BTF; goroutine_hook_names[hook]; hook++) {
		fixture->hook = (enum goroutine_hook)hook;
		_cleanup_(goroutine_dump_freep) struct goroutine_dump *dump = expect_dump(fixture);
		expect_senders(dump);
		assert_int_equal(fixture->capture.hook, hook);
	}
}

static void a_dump_into_a_closed_pipe_is_seen(void **state)
{
	struct fixture *fixture = *state;
	int pipes[2];

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	_cleanup_close_ int in = pipes[0], out = pipes[1];
	start_go(fixture, "plain", out);
	close(in);
	in = -1;
	close(out);
	out = -1;
	_cleanup_(goroutine_dump_freep) struct goroutine_dump *dump = expect_dump(fixture);
	expect_senders(dump);
	expect_alive(fixture);
}

/* What is captured is seen before the kernel has written it. */
static void expect_written(const char *path, const struct goroutine_capture *capture)
{
	_cleanup_free_ char *captured = strndup(capture->text, capture->length);

	assert_true(captured && *captured);
	for (int i = 0;; i++) {
		_cleanup_free_ char *written = NULL;

		assert_int_equal(file_read(AT_FDCWD, path, MIB, &written, NULL), 0);
		if (endswith(written, captured))
			return;
		if (i == 1000)
			fail_msg("not written:\n%s\nbut:\n%s", captured, written);
		clock_sleep(10 * NS_PER_MS);
	}
}

static void a_dump_in_any_form_is_what_was_written(void **state)
{
	static const char *const forms[] = {"plain", "escaped", "lines", "unmarked"};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		char path[160];

		snprintf(path, sizeof(path), "%s/%s", fixture->directory, forms[i]);
		_cleanup_close_ int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		assert_true(file >= 0);
		start_go(fixture, forms[i], file);
		_cleanup_(goroutine_dump_freep) struct goroutine_dump *dump = expect_dump(fixture);
		expect_senders(dump);
		assert_int_equal(dump->escaped, streq(forms[i], "escaped"));
		/* A logger's words before the dump are not of it. */
		expect_written(path, &fixture->capture);
		test_teardown(state);
	}
}

/* A pipe takes 4 KiB at a time here, so that the dump is written in many calls, each for the rest. */
static void the_rest_of_a_short_write_is_not_taken_twice(void **state)
{
	struct fixture *fixture = *state;
	int pipes[2];

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	_cleanup_close_ int in = pipes[0], out = pipes[1];
	assert_true(fcntl(out, F_SETPIPE_SZ, 4096) >= 0);
	/* Go sees O_NONBLOCK, and polls. */
	assert_int_equal(fcntl(out, F_SETFL, O_NONBLOCK), 0);
	pid_t reader = fork();
	if (reader == 0) {
		char bytes[512];

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(out);
		while (read(in, bytes, sizeof(bytes)) > 0)
			clock_sleep(NS_PER_MS);
		_exit(0);
	}
	start_go(fixture, "plain", out);
	_cleanup_(goroutine_dump_freep) struct goroutine_dump *dump = expect_dump(fixture);
	expect_senders(dump);
	kill(reader, SIGKILL);
	waitpid(reader, NULL, 0);
}

/* A container's own output passes through its shim: here a dump that looks better than the shim's. */
static void a_containers_own_output_is_not_captured(void **state)
{
	static const char theirs[] =
		"goroutine 1 [chan send]:\ncontainer.secret()\n\t/x.go:1 +0x1\n";
	struct fixture *fixture = *state;
	char path[160];
	int pipes[2];

	if (!fixture->built)
		skip_because("needs Go (golang-go) to build a program that writes goroutine dumps");
	if (!fixture->as_root)
		skip_because("needs root, to watch another process's writes");
	snprintf(path, sizeof(path), "%s/c1-stdout", fixture->directory);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	_cleanup_close_ int in = pipes[0], out = pipes[1];
	_cleanup_close_ int stdout_file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t container = fork();
	if (container == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (write(out, theirs, strlen(theirs)) > 0)
			clock_sleep(NS_PER_MS / 2);
		_exit(0);
	}
	start(fixture, fixture->program, "plain", "copy", in, stdout_file, null);
	_cleanup_(goroutine_dump_freep) struct goroutine_dump *dump = expect_dump(fixture);
	expect_senders(dump);
	assert_null(memmem(fixture->capture.text, fixture->capture.length, "secret", 6));
	test_teardown(state);

	/* Nor where the shim says nothing: what is left is no dump. */
	start(fixture, fixture->program, "silent", "copy", in, stdout_file, null);
	assert_int_equal(take_within(fixture, NS_PER_S), -ETIMEDOUT);
	assert_non_null(strstr(fixture->problem.text, "wrote no goroutine dump within 1s"));
	kill(container, SIGKILL);
	waitpid(container, NULL, 0);
}

/* --- Who is asked --- */

static void expect_refusal(struct fixture *fixture, const char *reason)
{
	assert_int_equal(take(fixture), -EOPNOTSUPP);
	if (!strstr(fixture->problem.text, reason))
		fail_msg("\"%s\" does not say \"%s\"", fixture->problem.text, reason);
	expect_alive(fixture);
}

static void a_program_that_would_die_of_the_signal_is_never_sent_it(void **state)
{
	struct fixture *fixture = *state;

	fixture->pid = fork();
	if (fixture->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl("/bin/sleep", "sleep", "60", NULL);
		_exit(127);
	}
	struct process process;
	for (int i = 0; process_read(fixture->host, fixture->pid, &process) < 0 ||
			!streq(process.comm, "sleep");
	     i++) {
		if (i == 1000)
			fail_msg("sleep did not start within 10 s");
		clock_sleep(10 * NS_PER_MS);
	}
	expect_refusal(fixture, "is no Go program");
	assert_int_equal(process_is_go(fixture->host, fixture->pid), 0);
	assert_int_equal(process_is_go(fixture->host, getpid()), 0);
}

/* Go catches every signal that it may: here it was made not to, before the program began. */
static void a_go_program_that_ignores_the_signal_is_not_sent_it(void **state)
{
	const struct goroutine_capture_options options = {.within_ns = WITHIN_NS, .bytes_max = MIB};
	_cleanup_host_ struct host *host = NULL;
	struct fixture *fixture = *state;
	struct problem problem = {0};
	void *root;
	char path[64];

	if (!fixture->built)
		skip_because("needs Go (golang-go) to build a program that writes goroutine dumps");
	fake_root_setup(&root);
	struct fake_root *fake = root;
	/* The real pid of this process, in a /proc where it is a Go program that would die. */
	int pid = getpid();
	struct process process;
	assert_int_equal(process_read(fixture->host, pid, &process), 0);
	fake_process(fake, pid, 1, "containerd-shim", 'S', process.start_time, false);
	snprintf(path, sizeof(path), "proc/%d/status", pid);
	fake_file(fake, path,
		  "Name:\tx\nTgid:\t%d\nUid:\t0\t0\t0\t0\nTracerPid:\t0\n"
		  "SigCgt:\tfffffffd7fc1fcff\n",
		  pid);
	snprintf(path, sizeof(path), "proc/%d/exe", pid);
	fake_link(fake, path, fixture->program);
	assert_int_equal(process_is_go(fake->host, pid), 1);
	int r = goroutine_capture_take(fake->host, clock_system(), pid, process.start_time,
				       &options, &fixture->capture, &problem);
	fake_root_teardown(&root);
	assert_int_equal(r, -EOPNOTSUPP);
	assert_non_null(strstr(problem.text, "does not catch SIGUSR1, and would die of it"));
}

static void a_stopped_or_debugged_program_is_left_alone(void **state)
{
	struct fixture *fixture = *state;
	int status;

	start_go(fixture, "plain", -1);
	assert_int_equal(kill(fixture->pid, SIGSTOP), 0);
	assert_int_equal(waitpid(fixture->pid, &status, WUNTRACED), fixture->pid);
	expect_refusal(fixture, "is stopped");
	assert_int_equal(kill(fixture->pid, SIGCONT), 0);
	assert_int_equal(ptrace(PTRACE_SEIZE, fixture->pid, NULL, NULL), 0);
	expect_refusal(fixture, "is being debugged");
	assert_int_equal(ptrace(PTRACE_INTERRUPT, fixture->pid, NULL, NULL), 0);
	assert_int_equal(waitpid(fixture->pid, &status, __WALL), fixture->pid);
	assert_int_equal(ptrace(PTRACE_DETACH, fixture->pid, NULL, NULL), 0);
	_cleanup_(goroutine_dump_freep) struct goroutine_dump *dump = expect_dump(fixture);
}

/* Go ends a program that is no shim when it writes there. */
static void a_program_whose_output_nobody_reads_is_left_alone(void **state)
{
	struct fixture *fixture = *state;
	char other[160];
	int pipes[2];

	if (!fixture->built)
		skip_because("needs Go (golang-go) to build a program that writes goroutine dumps");
	if (!fixture->as_root)
		skip_because("needs root, to watch another process's writes");
	snprintf(other, sizeof(other), "%s/other", fixture->directory);
	assert_int_equal(symlink(fixture->program, other), 0);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	_cleanup_close_ int in = pipes[0], out = pipes[1];
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	start(fixture, other, "plain", NULL, null, null, out);
	_cleanup_(goroutine_dump_freep) struct goroutine_dump *dump = expect_dump(fixture);
	close(in);
	in = -1;
	expect_refusal(fixture, "nobody reads the output");
}

static void who_has_ended_or_is_another_is_not_found(void **state)
{
	const struct goroutine_capture_options options = {.within_ns = WITHIN_NS, .bytes_max = MIB};
	struct fixture *fixture = *state;
	struct process process;

	assert_int_equal(process_read(fixture->host, getpid(), &process), 0);
	assert_int_equal(goroutine_capture_take(fixture->host, clock_system(), getpid(),
						process.start_time + 1, &options, &fixture->capture,
						&fixture->problem),
			 -ESRCH);
	assert_true(*fixture->problem.text);
}

/* A program replaced on disk, as a shim is by an update, is still the program that runs. */
static void a_deleted_program_is_still_known(void **state)
{
	struct fixture *fixture = *state;
	char copy[160];

	start_go(fixture, "plain", -1);
	snprintf(copy, sizeof(copy), "%s.kept", fixture->program);
	assert_int_equal(rename(fixture->program, copy), 0);
	assert_int_equal(process_is_go(fixture->host, fixture->pid), 1);
	assert_int_equal(rename(copy, fixture->program), 0);
}

/* --- Putting writes together --- */

static struct goroutine_stream *stream_write(struct goroutine_streams *streams, int fd,
					     uint64_t address, const char *text, uint32_t flags)
{
	size_t length = strlen(text);
	_cleanup_free_ struct write_record *record = calloc(1, sizeof(*record) + length);
	struct goroutine_stream *stream = goroutine_stream_of(streams, fd);

	assert_non_null(stream);
	*record = (struct write_record){.address = address,
					.total = length,
					.length = (uint32_t)length,
					.fd = fd,
					.flags = flags};
	memcpy(record->data, text, length);
	assert_true(goroutine_stream_add(stream, record) >= 0);
	return stream;
}

static void nothing_is_kept_of_what_is_no_dump(void **state)
{
	_cleanup_(goroutine_streams_clear) struct goroutine_streams streams = {.bytes_max = 4096};
	struct goroutine_stream *stream =
		stream_write(&streams, 5, 0x1000, "password: goroutine 1 [hunter2]\n", 0);

	assert_false(stream->begun);
	assert_int_equal(stream->text.length, 0);
	assert_null(goroutine_streams_best(&streams));
	stream_write(&streams, 5, 0x1000, "secret; goroutine 1 [running]:\nmain.main()\n", 0);
	assert_string_equal(buffer_text(&stream->text), "goroutine 1 [running]:\nmain.main()\n");
	/* In markers, and on standard error, it is more likely the process's own. */
	stream_write(&streams, 2, 0x1000, GOROUTINES_BEGIN "\ngoroutine 1 [select]:\n", 0);
	assert_int_equal(goroutine_streams_best(&streams)->fd, 2);
	stream = stream_write(&streams, 2, 0x1000, "main.main()\n=== END goroutine st", 0);
	assert_false(stream->ended);
	stream_write(&streams, 2, 0x1000, "ack dump ===\nother\n", 0);
	assert_true(stream->ended);
	assert_true(endswith(buffer_text(&stream->text), GOROUTINES_END "\n"));
	assert_false(stream->truncated);
}

static void the_same_bytes_written_again_from_there_are_a_rest(void **state)
{
	_cleanup_(goroutine_streams_clear) struct goroutine_streams streams = {.bytes_max = 4096};
	static const char whole[] = "goroutine 1 [running]:\nmain.main()\n";
	struct goroutine_stream *stream = stream_write(&streams, 2, 0x1000, whole, 0);

	stream_write(&streams, 2, 0x1000 + 10, whole + 10, 0);
	stream_write(&streams, 2, 0x1000 + 20, whole + 20, 0);
	assert_string_equal(buffer_text(&stream->text), whole);
	/* Other bytes in the same buffer are new ones. */
	stream_write(&streams, 2, 0x1000 + strlen(whole) - 4, "abc\n", 0);
	assert_true(endswith(buffer_text(&stream->text), "abc\n"));
	assert_false(stream->truncated);
	stream_write(&streams, 2, 0x2000, "gone", WRITE_UNREADABLE);
	assert_true(stream->truncated);
}

#define CAPTURE_TEST(test) cmocka_unit_test_teardown(test, test_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CAPTURE_TEST(a_dump_that_is_discarded_is_seen),
		CAPTURE_TEST(each_hook_sees_a_dump),
		CAPTURE_TEST(a_dump_into_a_closed_pipe_is_seen),
		CAPTURE_TEST(a_dump_in_any_form_is_what_was_written),
		CAPTURE_TEST(the_rest_of_a_short_write_is_not_taken_twice),
		CAPTURE_TEST(a_containers_own_output_is_not_captured),
		CAPTURE_TEST(a_program_that_would_die_of_the_signal_is_never_sent_it),
		CAPTURE_TEST(a_go_program_that_ignores_the_signal_is_not_sent_it),
		CAPTURE_TEST(a_stopped_or_debugged_program_is_left_alone),
		CAPTURE_TEST(a_program_whose_output_nobody_reads_is_left_alone),
		CAPTURE_TEST(who_has_ended_or_is_another_is_not_found),
		CAPTURE_TEST(a_deleted_program_is_still_known),
		CAPTURE_TEST(nothing_is_kept_of_what_is_no_dump),
		CAPTURE_TEST(the_same_bytes_written_again_from_there_are_a_rest),
	};

	return cmocka_run_group_tests_name("goroutine capture", tests, fixture_setup,
					   fixture_teardown);
}
