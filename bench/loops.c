/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two workloads that the agent must not slow down: fork+exec+wait of a program that does
 * nothing, and one-byte reads and writes of a pipe. Runs one for a time, in windows of 10 ms, and
 * prints how often it went in a second: in all of them, and in the hundredth that were fastest.
 *
 * What else the machine does (and a hypervisor's other guests) only ever makes a window slower, and
 * by far more than what is looked for here; the fastest are those that nobody disturbed.
 *
 *   loops fork|pipe MILLISECONDS
 */
#define _GNU_SOURCE
#include <errno.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WINDOW_SECONDS 0.01
#define MOST_WINDOWS 10000

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

static int descending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x < y) - (x > y);
}

int main(int argc, char **argv)
{
	static double rates[MOST_WINDOWS];
	unsigned long windows = 0, total = 0;
	int ends[2], r = 0;

	if (argc == 1)
		return 0; /* the program that does nothing */
	if (argc != 3 || pipe(ends) < 0)
		return 64;
	bool forks = strcmp(argv[1], "fork") == 0;
	double begin = now_seconds(), end = begin + strtod(argv[2], NULL) / 1e3, now = begin;

	while (r == 0 && now < end && windows < MOST_WINDOWS) {
		double since = now;
		unsigned long count = 0, batch = forks ? 1 : 256;

		for (; r == 0 && now < since + WINDOW_SECONDS; now = now_seconds(), count += batch)
			for (unsigned long i = 0; i < batch && r == 0; i++)
				r = forks ? fork_once("/proc/self/exe") : pipe_once(ends);
		rates[windows++] = (double)count / (now - since);
		total += count;
	}
	if (r < 0) {
		fprintf(stderr, "loops: %s\n", strerror(-r));
		return 1;
	}
	qsort(rates, windows, sizeof(*rates), descending);
	printf("%.1f %.1f\n", (double)total / (now - begin), rates[windows / 100]);
	return 0;
}
