/* SPDX-License-Identifier: Apache-2.0 */
/* A file-system root of a test's own, with proc and sys, removed at the end. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/file.h"
#include "host/host.h"

struct fake_root {
	char path[64];
	struct host *host;
};

/* Writes ROOT/PATH, with the folders above it. */
__attribute__((unused, format(printf, 3, 4))) static void fake_file(const struct fake_root *root,
								    const char *path,
								    const char *format, ...)
{
	char full[PATH_MAX], folder[PATH_MAX];
	va_list arguments;

	snprintf(full, sizeof(full), "%s/%s", root->path, path);
	snprintf(folder, sizeof(folder), "%s", full);
	*strrchr(folder, '/') = '\0';
	assert_int_equal(directory_make(folder, 0755), 0);
	FILE *file = fopen(full, "we");
	assert_non_null(file);
	va_start(arguments, format);
	assert_true(vfprintf(file, format, arguments) >= 0);
	va_end(arguments);
	assert_int_equal(fclose(file), 0);
}

__attribute__((unused)) static void fake_folder(const struct fake_root *root, const char *path)
{
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s/%s", root->path, path);
	assert_int_equal(directory_make(full, 0755), 0);
}

__attribute__((unused)) static void fake_link(const struct fake_root *root, const char *path,
					      const char *target)
{
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s/%s", root->path, path);
	assert_int_equal(symlink(target, full), 0);
}

/* A process (or thread) in ROOT/proc. */
__attribute__((unused)) static void fake_process(const struct fake_root *root, int pid, int ppid,
						 const char *comm, char state,
						 unsigned long long start_time, bool kernel_thread)
{
	char path[64];

	snprintf(path, sizeof(path), "proc/%d/stat", pid);
	fake_file(root, path,
		  "%d (%s) %c %d %d %d 0 -1 %u 0 0 0 0 0 0 0 0 20 0 1 0 %llu 1000000 100 "
		  "18446744073709551615 0 0 0 0\n",
		  pid, comm, state, ppid, pid, pid, kernel_thread ? 0x00200000u : 0x00400000u,
		  start_time);
	snprintf(path, sizeof(path), "proc/%d/status", pid);
	fake_file(root, path, "Name:\t%s\nTgid:\t%d\nPid:\t%d\nUid:\t0\t0\t0\t0\n", comm, pid, pid);
}

__attribute__((unused)) static int fake_root_setup(void **state)
{
	struct fake_root *root = calloc(1, sizeof(*root));

	snprintf(root->path, sizeof(root->path), "/tmp/lifeboat-test-XXXXXX");
	assert_non_null(mkdtemp(root->path));
	fake_folder(root, "proc");
	fake_folder(root, "sys");
	assert_int_equal(host_open(root->path, &root->host), 0);
	*state = root;
	return 0;
}

static int fake_remove(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	return remove(path);
}

__attribute__((unused)) static int fake_root_teardown(void **state)
{
	struct fake_root *root = *state;

	host_free(root->host);
	nftw(root->path, fake_remove, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	free(root);
	return 0;
}
