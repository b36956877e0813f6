/* SPDX-License-Identifier: Apache-2.0 */
/* A file-system root of a target's own, with proc and sys; removed when fuzzing ends well. */
#pragma once

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>

#include "fuzz.h"

#include "base/file.h"
#include "host/host.h"

static char fuzz_root_path[] = "/tmp/lifeboat-fuzz-XXXXXX";
static struct host *fuzz_host;

static int fuzz_root_remove_one(const char *path, const struct stat *status, int type,
				struct FTW *walk)
{
	return remove(path);
}

static void fuzz_root_end(void)
{
	host_free(fuzz_host);
	nftw(fuzz_root_path, fuzz_root_remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* NAME begins with a slash. */
static inline void fuzz_root_folder(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s%s", fuzz_root_path, name);
	claim(directory_make(path, 0700) == 0, "a folder can be made");
}

/* To be called once. */
static inline void fuzz_root_begin(void)
{
	claim(mkdtemp(fuzz_root_path), "a folder can be made");
	fuzz_root_folder("/proc");
	fuzz_root_folder("/sys");
	claim(host_open(fuzz_root_path, &fuzz_host) == 0, "the folder can be a root");
	atexit(fuzz_root_end);
}

/* Its folder must be there. */
static inline void fuzz_root_write(const char *name, const void *data, size_t size)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s%s", fuzz_root_path, name);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	claim(fd >= 0 && file_write_fd(fd, data, size) == 0, "the file can be written");
}

static inline void fuzz_root_remove(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s%s", fuzz_root_path, name);
	claim(remove(path) == 0, "the file can be removed");
}
