/* SPDX-License-Identifier: Apache-2.0 */
/* A folder in a BPF file system: whose it is, and what is in it. Knows nothing of what the pins are for. */
#include "detect/pin_folder.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/macro.h"

/* What is left of a predecessor that was killed. */
#define LOCK_WITHIN_NS NS_PER_S

/* The maps of bpf/shared.bpf.c, in the order in which they are made. */
const char *const pin_shared_names[] = {"events", "lost", "generations", PIN_AGENT, NULL};

/* --- Paths --- */

const char *pin_path(char path[PIN_PATH_MAX], const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(path, PIN_PATH_MAX, format, arguments);
	va_end(arguments);
	return path;
}

int pin_folder_visit(const char *folder, int (*visit)(void *userdata, const char *name),
		     void *userdata)
{
	DIR *stream = opendir(folder);
	const struct dirent *entry;
	int sum = 0;

	while (stream && (entry = readdir(stream)))
		if (entry->d_name[0] != '.')
			sum += visit(userdata, entry->d_name);
	if (stream)
		closedir(stream);
	return sum;
}

static int remove_entry(void *userdata, const char *name)
{
	const char *folder = userdata;
	char path[PIN_PATH_MAX];

	pin_path(path, "%s/%s", folder, name);
	if (unlink(path) == 0)
		return 1;
	if (errno != EISDIR)
		return 0;
	int removed = pin_folder_visit(path, remove_entry, path);

	rmdir(path);
	return removed;
}

static int remove_content(const char *folder)
{
	return pin_folder_visit(folder, remove_entry, (void *)folder);
}

/* Whether FOLDER, or the nearest above it that there is, lies in a BPF file system. */
static bool in_bpffs(const char *folder)
{
	_cleanup_free_ char *path = strdup(folder);
	struct statfs status;

	while (path && statfs(path, &status) < 0) {
		char *slash = strrchr(path, '/');

		if (errno != ENOENT || !slash || slash == path)
			return false;
		*slash = '\0';
	}
	return path && status.f_type == BPF_FS_MAGIC;
}

/*
 * The whole file system is nobody's folder: others pin there too, and what is in an agent's folder is the
 * agent's to remove.
 */
static bool is_mount_point(const char *folder)
{
	char above[PIN_PATH_MAX];
	struct stat inside, outside;

	return stat(folder, &inside) == 0 &&
	       stat(pin_path(above, "%s/..", folder), &outside) == 0 &&
	       (inside.st_dev != outside.st_dev || inside.st_ino == outside.st_ino);
}

/* --- The folder's lock --- */

/* Returns the open and locked folder, -EBUSY or another negative errno. */
static int folder_lock(const char *folder)
{
	_cleanup_close_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	int r = file_lock(fd, LOCK_WITHIN_NS);
	if (r < 0)
		return r == -EWOULDBLOCK ? -EBUSY : r;
	return TAKE_FD(fd);
}

int pin_folder_read_record(const char *folder, struct agent_record *record)
{
	_cleanup_free_ char *value = NULL;
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info), key = 0;
	char path[PIN_PATH_MAX];
	_cleanup_close_ int fd = bpf_obj_get(pin_path(path, "%s/" PIN_AGENT, folder));

	*record = (struct agent_record){};
	if (fd < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
		return -errno;
	if (info.type != BPF_MAP_TYPE_ARRAY || info.value_size < 2 * sizeof(uint32_t))
		return -EPROTO;
	value = malloc(info.value_size);
	if (!value)
		return -ENOMEM;
	if (bpf_map_lookup_elem(fd, &key, value) < 0)
		return -errno;
	memcpy(record, value, MIN((size_t)info.value_size, sizeof(*record)));
	return TAKE_FD(fd);
}

int pin_folder_holder(const char *folder)
{
	struct agent_record record;
	_cleanup_close_ int fd = pin_folder_read_record(folder, &record);

	return fd < 0 ? 0 : (int)record.pid;
}

int pin_folder_take(const char *folder)
{
	if (!folder)
		return -ENOENT;
	if (!in_bpffs(folder))
		return -EXDEV;
	if (is_mount_point(folder))
		return -EISDIR;
	int r = directory_make(folder, 0700);

	return r < 0 ? r : folder_lock(folder);
}

/* --- Removing --- */

static int is_not_shared(void *userdata, const char *name)
{
	for (size_t i = 0; pin_shared_names[i]; i++)
		if (streq(name, pin_shared_names[i]))
			return 0;
	return 1;
}

/* An agent that was killed while it made the shared maps has not introduced itself. */
static bool is_agents(const char *folder)
{
	struct agent_record record;
	_cleanup_close_ int fd = pin_folder_read_record(folder, &record);

	return fd >= 0 || !pin_folder_visit(folder, is_not_shared, NULL);
}

int pin_folder_remove(const char *folder, int *ret_pid)
{
	_cleanup_close_ int lock = folder_lock(folder);

	*ret_pid = 0;
	if (lock == -ENOENT || lock == -ENOTDIR)
		return 0;
	if (lock == -EBUSY)
		*ret_pid = pin_folder_holder(folder);
	if (lock < 0)
		return lock;
	if (!in_bpffs(folder))
		return -EXDEV;
	if (is_mount_point(folder) || !is_agents(folder))
		return -EPROTO;
	int removed = remove_content(folder);

	return rmdir(folder) < 0 ? -errno : removed;
}
