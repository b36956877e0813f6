/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups. Which hierarchy has a controller is read from mountinfo at each use: mounts
 * change, and a hybrid host has both kinds.
 */
#include "host/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "base/file.h"
#include "host/mounts.h"
#include "host/pressure.h"

#define COUNTER_BYTES_MAX (64 * KIB)
#define DEPTH_MAX 64
#define PIDS_MAX ((size_t)1 << 22)
/* v1 has no "none": an unlimited group shows the greatest number of whole pages. */
#define V1_NO_LIMIT (INT64_MAX - INT64_C(0xffff))

/* True if the comma-separated OPTIONS hold WORD. */
static bool options_contain(const char *options, const char *word)
{
	size_t length = strlen(word);

	for (const char *item = options; item; item = strchr(item, ',')) {
		if (*item == ',')
			item++;
		if (strncmp(item, word, length) == 0 && (item[length] == ',' || !item[length]))
			return true;
	}
	return false;
}

/*
 * PATH as seen below MOUNT: a mount may show a part of the hierarchy alone, as containers get it.
 * NULL when PATH is outside.
 */
static const char *path_below(const struct mount *mount, const char *path)
{
	const char *rest;

	if (streq(mount->root, "/"))
		return path;
	rest = startswith(path, mount->root);
	return rest && (*rest == '/' || !*rest) ? rest : NULL;
}

static bool path_is_plain(const char *path)
{
	if (*path != '/')
		return false;
	for (const char *dots = path; (dots = strstr(dots, "/..")); dots++)
		if (dots[3] == '/' || !dots[3])
			return false;
	return true;
}

/* Opens PATH in the hierarchy mounted at MOUNT. */
static int open_group(const struct host *host, const struct mount *mount, const char *path)
{
	_cleanup_free_ char *full = NULL;
	const char *below = path_below(mount, path);

	if (!below)
		return -ENOENT;
	if (asprintf(&full, "%s%s%s", host->root, mount->mount_point, below) < 0) {
		full = NULL;
		return -ENOMEM;
	}
	int fd = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/*
 * True if the unified hierarchy has CONTROLLER; what is not a controller there is always at hand.
 */
static bool unified_has(const struct host *host, const struct mount *mount, const char *controller)
{
	_cleanup_free_ char *text = NULL;

	if (!*controller || streq(controller, "freezer"))
		return true;
	_cleanup_close_ int fd = open_group(host, mount, mount->root);
	if (fd < 0 || file_read(fd, "cgroup.controllers", COUNTER_BYTES_MAX, &text, NULL) < 0)
		return false;
	for (char *c = text; *c; c++)
		if (*c == ' ' || *c == '\n')
			*c = ',';
	return options_contain(text, controller);
}

static bool mount_has(const struct host *host, const struct mount *mount, const char *controller,
		      enum cgroup_version version)
{
	if (version == CGROUP_V2)
		return streq(mount->fs_type, "cgroup2") && unified_has(host, mount, controller);
	return *controller && streq(mount->fs_type, "cgroup") &&
	       options_contain(mount->options, streq(controller, "io") ? "blkio" : controller);
}

static int cgroup_mounts(const struct host *host, struct mounts **ret_mounts)
{
	/* Below another root, that root's own init tells where its hierarchies are. */
	return mounts_read(host, *host->root ? 1 : 0, ret_mounts);
}

static int open_in(const struct host *host, const struct mounts *mounts, const char *controller,
		   const char *path, enum cgroup_version *ret_version)
{
	static const enum cgroup_version versions[] = {CGROUP_V1, CGROUP_V2};
	int result = -EOPNOTSUPP;

	if (!path_is_plain(path))
		return -EINVAL;
	for (size_t v = 0; v < ARRAY_SIZE(versions); v++) {
		for (size_t i = 0; i < mounts->count; i++) {
			if (!mount_has(host, &mounts->items[i], controller, versions[v]))
				continue;
			int fd = open_group(host, &mounts->items[i], path);
			if (fd >= 0) {
				*ret_version = versions[v];
				return fd;
			}
			result = fd;
		}
		if (result != -EOPNOTSUPP)
			break;
	}
	return result;
}

int cgroup_open(const struct host *host, const char *controller, const char *path,
		enum cgroup_version *ret_version)
{
	_cleanup_mounts_ struct mounts *mounts = NULL;
	int r = cgroup_mounts(host, &mounts);

	return r < 0 ? r : open_in(host, mounts, controller, path, ret_version);
}

/* The number after KEY in a flat-keyed file, or FALLBACK. */
static uint64_t keyed_number(int fd, const char *file, const char *key, uint64_t fallback)
{
	_cleanup_free_ char *text = NULL;

	if (file_read(fd, file, COUNTER_BYTES_MAX, &text, NULL) < 0)
		return fallback;
	char *rest = text;
	for (char *line; (line = strsep(&rest, "\n"));) {
		const char *value = startswith(line, key);

		if (value && *value == ' ')
			return strtoull(value + 1, NULL, 10);
	}
	return fallback;
}

int cgroup_memory_read(const struct host *host, const char *path, struct cgroup_memory *ret_memory)
{
	struct cgroup_memory memory = {.limit_bytes = UINT64_MAX};
	_cleanup_close_ int fd = cgroup_open(host, "memory", path, &memory.version);

	if (fd < 0)
		return fd;
	bool v1 = memory.version == CGROUP_V1;
	int r = file_read_u64(fd, v1 ? "memory.usage_in_bytes" : "memory.current",
			      &memory.usage_bytes);
	/*
	 * The root of v2, and a group whose parent does not delegate the controller, have no
	 * counters.
	 */
	if (r == -ENOENT && faccessat(fd, "cgroup.procs", F_OK, 0) == 0)
		return -EOPNOTSUPP;
	if (r < 0)
		return r == -ENODEV ? -ENOENT : r;
	r = file_read_u64(fd, v1 ? "memory.limit_in_bytes" : "memory.max", &memory.limit_bytes);
	if (r < 0 && r != -ENOENT)
		return r == -ENODEV ? -ENOENT : r;
	if (v1 && memory.limit_bytes > (uint64_t)V1_NO_LIMIT)
		memory.limit_bytes = UINT64_MAX;
	memory.oom_kills =
		keyed_number(fd, v1 ? "memory.oom_control" : "memory.events", "oom_kill", 0);
	if (!v1)
		memory.fail_count = keyed_number(fd, "memory.events", "max", 0);
	else if (file_read_u64(fd, "memory.failcnt", &memory.fail_count) < 0)
		memory.fail_count = 0;
	*ret_memory = memory;
	return 0;
}

struct pid_list {
	int64_t *pids;
	size_t count, capacity;
};

static int add_pids(int fd, struct pid_list *list)
{
	_cleanup_free_ char *text = NULL;
	int r = file_read(fd, "cgroup.procs", 64 * MIB, &text, NULL);

	/* A threaded group's processes are listed by the root of its threaded domain. */
	if (r == -EOPNOTSUPP)
		return 0;
	if (r < 0)
		return r;
	char *rest = text;
	for (char *line; (line = strsep(&rest, "\n"));) {
		if (!*line)
			continue;
		if (list->count == list->capacity) {
			if (list->capacity >= PIDS_MAX)
				return -E2BIG;
			list->capacity = list->capacity ? list->capacity * 2 : 64;
			int64_t *grown = reallocarray(list->pids, list->capacity, sizeof(*grown));
			if (!grown)
				return -ENOMEM;
			list->pids = grown;
		}
		list->pids[list->count++] = strtoll(line, NULL, 10);
	}
	return 0;
}

static void directory_closep(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

/* The group of FD (taken) and those below; one that vanishes on the way has no processes. */
static int walk_pids(int fd, unsigned depth, struct pid_list *list)
{
	_cleanup_(directory_closep) DIR *directory = fdopendir(fd);

	if (!directory) {
		int r = -errno;

		close(fd);
		return r;
	}
	int r = add_pids(dirfd(directory), list);
	if (r < 0)
		return r == -ENODEV ? -ENOENT : r;
	if (depth == DEPTH_MAX)
		return -ELOOP;
	for (struct dirent *entry; (entry = readdir(directory));) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		int child = openat(dirfd(directory), entry->d_name,
				   O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		r = child < 0 ? -errno : walk_pids(child, depth + 1, list);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

int cgroup_processes(const struct host *host, const char *controller, const char *path,
		     int64_t **ret_pids, size_t *ret_count)
{
	enum cgroup_version version;
	_cleanup_close_ int fd = cgroup_open(host, controller, path, &version);

	return fd < 0 ? fd : cgroup_processes_of(fd, ret_pids, ret_count);
}

int cgroup_processes_of(int group_fd, int64_t **ret_pids, size_t *ret_count)
{
	struct pid_list list = {0};
	/* Opened anew: a duplicate would share its position with other readers. */
	int fd = openat(group_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	int r = walk_pids(fd, 0, &list);
	if (r < 0) {
		free(list.pids);
		return r;
	}
	*ret_pids = list.pids;
	*ret_count = list.count;
	return 0;
}

/* The group NAME below the folder of PARENT, and first those below it. */
static void remove_group(int parent, const char *name, unsigned depth, size_t *removed,
			 size_t *left)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_(directory_closep) DIR *directory = fd < 0 ? NULL : fdopendir(fd);

	if (!directory) {
		if (fd >= 0)
			close(fd);
		return; /* it is gone */
	}
	for (struct dirent *entry; depth < DEPTH_MAX && (entry = readdir(directory));)
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			remove_group(dirfd(directory), entry->d_name, depth + 1, removed, left);
	if (unlinkat(parent, name, AT_REMOVEDIR) == 0)
		(*removed)++;
	else if (errno != ENOENT)
		(*left)++;
}

int cgroup_remove(const struct host *host, const char *path, size_t *ret_removed, size_t *ret_left)
{
	_cleanup_mounts_ struct mounts *mounts = NULL;
	_cleanup_free_ char *parent = strdup(path);
	char *slash = parent ? strrchr(parent, '/') : NULL;
	size_t removed = 0, left = 0;

	if (!parent)
		return -ENOMEM;
	if (!path_is_plain(path) || !slash || !slash[1] || slash[1] == '.')
		return -EINVAL;
	int r = cgroup_mounts(host, &mounts);

	if (r < 0)
		return r;
	*slash = '\0';
	for (size_t i = 0; i < mounts->count; i++) {
		const struct mount *mount = &mounts->items[i];

		if (!streq(mount->fs_type, "cgroup") && !streq(mount->fs_type, "cgroup2"))
			continue;
		_cleanup_close_ int fd = open_group(host, mount, slash == parent ? "/" : parent);

		if (fd >= 0)
			remove_group(fd, slash + 1, 0, &removed, &left);
	}
	*ret_removed = removed;
	*ret_left = left;
	return 0;
}

/* A counter file as JSON: a number, a word, an object of its flat keys, or else its text. */
static cJSON *parse_counter(char *text)
{
	_cleanup_json_ cJSON *object = cJSON_CreateObject();
	size_t length = strlen(text);
	char *end;

	if (!object)
		return NULL;
	while (length && text[length - 1] == '\n')
		text[--length] = '\0';
	unsigned long long number = strtoull(text, &end, 10);
	if (length && !*end)
		return cJSON_CreateNumber((double)number);
	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		char key[128];
		int used = 0;

		if (*line == '\n')
			line++;
		if (sscanf(line, "%127[^ \n] %llu%n", key, &number, &used) != 2 ||
		    (line[used] != '\n' && line[used]))
			return cJSON_CreateString(text);
		if (json_set_number(object, key, (double)number) < 0)
			return NULL;
	}
	return object->child ? TAKE_PTR(object) : cJSON_CreateString(text);
}

/* All files "PREFIX." of the group that may be read and are not long tables, into RESULT. */
static int add_counters(int fd, const char *prefix, cJSON *result)
{
	_cleanup_close_ int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(directory_closep) DIR *directory = copy < 0 ? NULL : fdopendir(copy);
	size_t length = strlen(prefix);

	if (!directory)
		return -errno;
	TAKE_FD(copy);
	for (struct dirent *entry; (entry = readdir(directory));) {
		_cleanup_free_ char *text = NULL;
		struct stat status;

		if (strncmp(entry->d_name, prefix, length) != 0 || entry->d_name[length] != '.')
			continue;
		const char *name = entry->d_name + length + 1;
		if (streq(name, "pressure") || streq(name, "numa_stat") ||
		    endswith(name, "slabinfo"))
			continue;
		if (fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(status.st_mode) || !(status.st_mode & S_IRUSR) ||
		    file_read(fd, entry->d_name, COUNTER_BYTES_MAX, &text, NULL) < 0)
			continue;
		cJSON *value = parse_counter(text);
		if (!value || json_set(result, name, value) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int add_controller(const struct host *host, const struct mounts *mounts,
			  const char *controller, const char *path, cJSON *result)
{
	static const char *const version_names[] = {"", "v1", "v2"};
	_cleanup_json_ cJSON *counters = cJSON_CreateObject();
	enum cgroup_version version = CGROUP_NONE;
	_cleanup_close_ int fd =
		open_in(host, mounts, *controller ? controller : "", path, &version);

	if (!counters)
		return -ENOMEM;
	if (fd < 0)
		return 0; /* no such controller, or no such group in its hierarchy */
	const char *prefix = !*controller				       ? "cgroup"
			     : streq(controller, "io") && version == CGROUP_V1 ? "blkio"
									       : controller;
	int r = add_counters(fd, prefix, counters);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	if (!counters->child)
		return 0;
	if (json_set_string(counters, "version", version_names[version]) < 0)
		return -ENOMEM;
	if (version == CGROUP_V2 && !cJSON_HasObjectItem(result, "pressure")) {
		cJSON *pressure = pressure_cgroup(fd);

		if (pressure && json_set(result, "pressure", pressure) < 0)
			return -ENOMEM;
	}
	return json_set(result, *controller ? controller : "cgroup", TAKE_PTR(counters));
}

cJSON *cgroup_counters(const struct host *host, const char *path)
{
	static const char *const controllers[] = {"memory",  "pids",	"cpu",	"cpuacct", "io",
						  "freezer", "hugetlb", "rdma", "misc",	   ""};
	_cleanup_json_ cJSON *result = cJSON_CreateObject();
	_cleanup_mounts_ struct mounts *mounts = NULL;

	if (!result || cgroup_mounts(host, &mounts) < 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(controllers); i++)
		if (add_controller(host, mounts, controllers[i], path, result) < 0)
			return NULL;
	return TAKE_PTR(result);
}
