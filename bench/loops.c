/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two workloads that the agent must not slow down: fork+exec+wait of a program that does
 * nothing, and one-byte reads and writes of a pipe. Runs one for a time and prints how often it went.
 *
 *   loops fork|pipe MILLISECONDS
 */
#define _GNU_SOURCE
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int fork_once(char *self)
{
	char *arguments[] = {self, NULL};
	pid_t pid;
	int status, r = posix_spawn(&pid, self, NULL, NULL, arguments, environ);

	if (r != 0)
		return -r;
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -ECHILD;
}

static int pipe_once(const int ends[2])
{
	char byte = 0;

	return write(ends[1], &byte, 1) == 1 && read(ends[0], &byte, 1) == 1 ? 0 : -EIO;
}

int main(int argc, char **argv)
{
	int ends[2], r = 0;

	if (argc == 1)
		return 0; /* the program that does nothing */
	if (argc != 3 || pipe(ends) < 0)
		return 64;
	double begin = now_seconds(), end = begin + strtod(argv[2], NULL) / 1e3;
	unsigned long count = 0, batch = strcmp(argv[1], "fork") == 0 ? 8 : 4096;

	while (r == 0 && now_seconds() < end)
		for (unsigned long i = 0; i < batch && r == 0; i++, count++)
			r = batch == 8 ? fork_once("/proc/self/exe") : pipe_once(ends);
	if (r < 0) {
		fprintf(stderr, "loops: %s\n", strerror(-r));
		return 1;
	}
	printf("%.1f\n", (double)count / (now_seconds() - begin));
	return 0;
}
