/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that is a container shim to whoever looks: this test's own program under the name
 * containerd-shim, in a bundle, with dead children that it does not reap and a socket that it does not
 * answer. SIGUSR1 makes it write a goroutine dump, as Go's shims do; SIGUSR2 makes it well again
 * (it speaks HTTP from then on where there is a file "http" in its folder).
 */
#pragma once

#include "builtin_fixture.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "plugin/subject_shim.h"

/* What Go's linker leaves in each program. */
__asm__(".pushsection .note.go.buildid,\"a\",@note\n"
	".balign 4\n"
	".long 4, 4, 4\n"
	".ascii \"Go\\0\\0\"\n"
	".ascii \"test\"\n"
	".popsection\n");

#define FAKE_NAMESPACE "lifeboat-test"
#define FAKE_ID "3f4e8c1b2a7d"
#define FAKE_ZOMBIES 3

struct fake_shim {
	struct plugin_fixture *fixture;
	char folder[160], bundle[320], program[192];
	pid_t pid;
	struct process process;
};

/* --- In the shim --- */

static volatile sig_atomic_t fake_dumps_wanted, fake_well;
static char fake_http[300]; /* a file's path */

__attribute__((unused)) static void fake_on_signal(int signal)
{
	if (signal == SIGUSR1)
		fake_dumps_wanted++;
	else
		fake_well = 1;
}

/* "not found", in ttrpc, to whatever is asked. */
__attribute__((unused)) static void fake_answer(int client)
{
	unsigned char request[4096], answer[] = {0, 0, 0, 4, 0, 0, 0, 0, 2, 0, 0x0a, 2, 8, 5};
	static const char http[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";

	if (recv(client, request, sizeof(request), 0) < 10)
		return;
	if (access(fake_http, F_OK) == 0) {
		send(client, http, strlen(http), MSG_NOSIGNAL);
		return;
	}
	memcpy(answer + 4, request + 4, 4); /* the stream's number */
	send(client, answer, sizeof(answer), MSG_NOSIGNAL);
}

__attribute__((unused)) static void *fake_serve(void *argument)
{
	int listener = *(int *)argument;

	for (;;) {
		usleep(10000);
		if (!fake_well)
			continue;
		int client = accept(listener, NULL, NULL);
		if (client < 0)
			continue;
		fake_answer(client);
		close(client);
	}
	return NULL;
}

/* The n-th dump that was asked for: file n, or the last there is. */
__attribute__((unused)) static void fake_dump(const char *folder, int number)
{
	_cleanup_close_ int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	size_t length;
	char path[300];

	for (; number > 0; number--) {
		snprintf(path, sizeof(path), "%s/dump%d", folder, number);
		if (file_read(AT_FDCWD, path, MIB, &text, &length) == 0)
			break;
	}
	if (text && write(null, text, length) < 0)
		_exit(1);
}

__attribute__((unused)) static _Noreturn void fake_shim_main(char **argv)
{
	const char *folder = argv[2];
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct sigaction action = {.sa_handler = fake_on_signal};
	int dumped = 0, listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pthread_t thread;
	char ready[300];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(fake_http, sizeof(fake_http), "%s/http", folder);
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", folder);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, 8) < 0 || pthread_create(&thread, NULL, fake_serve, &listener) != 0)
		_exit(1);
	for (int i = 0; i < FAKE_ZOMBIES; i++)
		if (fork() == 0)
			_exit(0);
	snprintf(ready, sizeof(ready), "%s/ready", folder);
	close(open(ready, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	for (;;) {
		usleep(10000);
		if (dumped < fake_dumps_wanted)
			fake_dump(folder, ++dumped);
		if (fake_well)
			while (waitpid(-1, NULL, WNOHANG) > 0)
				;
	}
}

/* To be called first in main(). */
#define FAKE_SHIM_MAIN(argc, argv)                                \
	do {                                                      \
		if ((argc) == 3 && streq((argv)[1], "fake-shim")) \
			fake_shim_main(argv);                     \
	} while (0)

/* --- In the test --- */

__attribute__((unused)) static void fake_copy_program(const struct fake_shim *shim)
{
	_cleanup_close_ int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int to = open(shim->program, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	char chunk[64 * 1024];
	ssize_t length;

	assert_true(from >= 0 && to >= 0);
	while ((length = read(from, chunk, sizeof(chunk))) > 0)
		assert_int_equal(write(to, chunk, (size_t)length), length);
}

__attribute__((unused)) static void fake_wait_for(const struct fake_shim *shim, char state)
{
	struct process process = {0};

	for (int i = 0; i < 500 && process.state != state; i++, usleep(10000))
		process_read(shim->fixture->real, shim->pid, &process);
	assert_int_equal(process.state, state);
}

/* In the pid's threads too: the state of each is its own. */
__attribute__((unused)) static void fake_stop(const struct fake_shim *shim)
{
	struct shim seen = {.process = shim->process};
	struct shim_look look = {0};

	kill(shim->pid, SIGSTOP);
	for (int i = 0; i < 500 && !look.stopped; i++, usleep(10000))
		shim_look(shim->fixture->real, &seen, &look);
	assert_true(look.stopped);
}

/* Well again, and has reaped. */
__attribute__((unused)) static void fake_heal(const struct fake_shim *shim)
{
	struct shim seen = {.process = shim->process};
	size_t count = 1;

	kill(shim->pid, SIGUSR2);
	for (int i = 0; i < 500 && count; i++, usleep(10000)) {
		struct process *zombies = NULL;

		assert_int_equal(shim_zombies(shim->fixture->real, &seen, &zombies, &count), 0);
		free(zombies);
	}
	assert_int_equal(count, 0);
}

__attribute__((unused)) static void fake_write(const struct fake_shim *shim, const char *folder,
					       const char *name, const char *text)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	assert_int_equal(file_write_atomic(path, text, strlen(text), 0644), 0);
	(void)shim;
}

__attribute__((unused)) static int fake_shim_setup(void **state)
{
	struct fake_shim *shim = calloc(1, sizeof(*shim));
	char text[400], ready[256];
	void *fixture;

	plugin_fixture_setup(&fixture);
	shim->fixture = fixture;
	snprintf(shim->folder, sizeof(shim->folder), "%s/shim", shim->fixture->root.path);
	snprintf(shim->bundle, sizeof(shim->bundle), "%s/io.containerd.runtime.v1.linux/%s/%s",
		 shim->folder, FAKE_NAMESPACE, FAKE_ID);
	snprintf(shim->program, sizeof(shim->program), "%s/containerd-shim", shim->folder);
	assert_int_equal(directory_make(shim->bundle, 0755), 0);
	fake_copy_program(shim);
	fake_write(shim, shim->bundle, "config.json",
		   "{\"ociVersion\":\"1.0.2\",\"annotations\":{"
		   "\"io.kubernetes.cri.container-type\":\"container\","
		   "\"io.kubernetes.cri.container-name\":\"web\","
		   "\"io.kubernetes.cri.sandbox-name\":\"cart-1\","
		   "\"io.kubernetes.cri.sandbox-namespace\":\"shop\","
		   "\"io.kubernetes.cri.sandbox-uid\":\"f7a1c2d3-0000-4000-8000-1234567890ab\"}}");
	snprintf(text, sizeof(text), "unix://%s/socket", shim->folder);
	fake_write(shim, shim->bundle, "address", text);
	shim->pid = fork();
	if (shim->pid == 0) {
		if (chdir(shim->bundle) == 0)
			execl(shim->program, "containerd-shim", "fake-shim", shim->folder, NULL);
		_exit(1);
	}
	snprintf(ready, sizeof(ready), "%s/ready", shim->folder);
	for (int i = 0; i < 500 && access(ready, F_OK) < 0; i++)
		usleep(10000);
	assert_int_equal(access(ready, F_OK), 0);
	assert_int_equal(process_read(shim->fixture->real, shim->pid, &shim->process), 0);
	*state = shim;
	return 0;
}

__attribute__((unused)) static int fake_shim_teardown(void **state)
{
	struct fake_shim *shim = *state;
	void *fixture = shim->fixture;

	kill(shim->pid, SIGKILL);
	waitpid(shim->pid, NULL, 0);
	free(shim);
	return plugin_fixture_teardown(&fixture);
}

/* What shim_json() says of it; the caller's to free. */
__attribute__((unused)) static char *fake_shim_json(const struct fake_shim *shim)
{
	_cleanup_shim_ struct shim seen = {0};
	_cleanup_json_ cJSON *json = NULL;

	assert_int_equal(shim_read(shim->fixture->real, shim->pid, NULL, 0, &seen), 0);
	json = shim_json(&seen);
	assert_non_null(json);
	return json_print(json);
}

#define SHIM_TEST(test) cmocka_unit_test_setup_teardown(test, fake_shim_setup, fake_shim_teardown)
