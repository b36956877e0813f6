/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recoverer thaw-filesystem: thaws (FITHAW) the frozen filesystem that tasks hang on. A freeze can
 * be a snapshot that is being taken right now, and a snapshot of a filesystem that moves is worth
 * nothing: so it is off until the operator turns it on. What it never does is thaw another
 * filesystem than the one that was found: device and mount are compared on the opened mount point
 * itself.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "base/file.h"
#include "plugin/subject.h"
#include "host/mounts.h"

#define FREEZE_COMPLETE 4 /* SB_FREEZE_COMPLETE of include/linux/fs.h: what FITHAW can end */

static bool is_suspended(const struct plugin_call *call, unsigned major, unsigned minor)
{
	char path[64];
	uint64_t suspended;

	snprintf(path, sizeof(path), "dev/block/%u:%u/dm/suspended", major, minor);
	return file_read_u64(call->host->sys, path, &suspended) == 0 && suspended;
}

static int add_waiters(const struct plugin_call *call, cJSON *plan)
{
	struct subject_thread waiters[SUBJECT_WAITERS_MAX];
	size_t count = subject_waiters(call, waiters), index = 0;
	const cJSON *item;
	cJSON *list = cJSON_CreateArray();

	if (json_set(plan, "waiters", list) < 0)
		return -ENOMEM;
	cJSON_ArrayForEach (item, json_at(plugin_details(call), "waiters")) {
		if (index++ >= count)
			break;
		cJSON *waiter = cJSON_CreateObject();

		if (!waiter || json_set_number(waiter, "pid", json_number(item, "pid", 0)) < 0 ||
		    json_set_number(waiter, "startTime", json_number(item, "startTime", 0)) < 0 ||
		    json_set_string(waiter, "function", json_string(item, "function")) < 0) {
			cJSON_Delete(waiter);
			return -ENOMEM;
		}
		cJSON_AddItemToArray(list, waiter);
	}
	return 0;
}

static int make_plan(struct plugin_call *call, const cJSON *filesystem)
{
	unsigned major = json_u32(filesystem, "major"), minor = json_u32(filesystem, "minor");
	struct subject_thread waiters[SUBJECT_WAITERS_MAX];
	size_t count = subject_waiters(call, waiters);
	int64_t pids[SUBJECT_WAITERS_MAX], pid;
	_cleanup_mounts_ struct mounts *mounts = NULL;
	_cleanup_json_ cJSON *plan = cJSON_CreateObject();
	const char *type = json_string(filesystem, "type"), *id = json_string(filesystem, "id");
	char target[PATH_MAX + 192], name[32];

	for (size_t i = 0; i < count; i++)
		pids[i] = waiters[i].pid;
	if (mounts_locate(call->host, major, minor, pids, count, &pid, &mounts) < 0)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "device %u:%u is not mounted where this node or the waiting "
				   "tasks can see it",
				   major, minor);
	const struct mount *mount = mounts_find_device(mounts, major, minor);
	snprintf(name, sizeof(name), "%u:%u", major, minor);
	snprintf(target, sizeof(target), "%s on %s at %s", type ? type : mount->fs_type,
		 id ? id : name, mount->mount_point);
	if (!plan || json_set_string(plan, "target", target) < 0 ||
	    json_set_number(plan, "major", major) < 0 ||
	    json_set_number(plan, "minor", minor) < 0 ||
	    json_set_string(plan, "mountPoint", mount->mount_point) < 0 ||
	    json_set_number(plan, "mountNamespaceOf", (double)pid) < 0 ||
	    add_waiters(call, plan) < 0)
		return -ENOMEM;
	return plugin_answer(call, TAKE_PTR(plan));
}

static int plan(struct plugin_call *call)
{
	const cJSON *details = plugin_details(call), *filesystem = json_at(details, "filesystem");

	if (!streq_ptr(call->abnormal->status.reason, "FilesystemFrozen") ||
	    !streq_ptr(json_string(details, "kind"), "frozen-filesystem"))
		return PLUGIN_NOT_MINE;
	if (!filesystem)
		return plugin_fail(PLUGIN_NOT_MINE, "several filesystems are frozen, and which of "
						    "them holds the tasks is not known");
	if (json_number(filesystem, "freezeLevel", FREEZE_COMPLETE) < FREEZE_COMPLETE)
		return plugin_fail(
			PLUGIN_NOT_MINE,
			"the freeze is still under way, and only a complete one can be thawed");
	if (is_suspended(call, json_u32(filesystem, "major"), json_u32(filesystem, "minor")))
		return plugin_fail(
			PLUGIN_NOT_MINE,
			"its device is suspended (dmsetup resume): thawing would not help");
	return make_plan(call, filesystem);
}

/* True if the kernel's wait that was seen is the one that THREAD is in. */
static bool in_same_wait(const struct host *host, int64_t pid, const char *function)
{
	_cleanup_free_ char *stack = NULL;
	char path[64];

	if (!function)
		return true;
	snprintf(path, sizeof(path), "%" PRId64 "/stack", pid);
	if (file_read(host->proc, path, 64 * KIB, &stack, NULL) < 0)
		return true; /* in D, and nothing says that it moved */
	return strstr(stack, function);
}

/* How many of the planned waiters still sit there, same thread, same wait. */
static size_t count_waiting(const struct plugin_call *call, const cJSON *plan)
{
	const cJSON *waiter;
	size_t waiting = 0;

	cJSON_ArrayForEach (waiter, json_at(plan, "waiters")) {
		int64_t pid = (int64_t)json_u64(waiter, "pid");

		waiting += subject_waits(call, pid, json_u64(waiter, "startTime")) &&
			   in_same_wait(call->host, pid, json_string(waiter, "function"));
	}
	return waiting;
}

/*
 * The mount that FD lies in, by its id in the namespace's table; for filesystems (btrfs) whose
 * files show another device number than the mount table does.
 */
static bool is_of_mount(const struct plugin_call *call, int fd, int64_t pid, unsigned major,
			unsigned minor)
{
	_cleanup_mounts_ struct mounts *mounts = NULL;
	_cleanup_free_ char *text = NULL;
	char path[64];
	int64_t id;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	if (file_read(AT_FDCWD, path, 4096, &text, NULL) < 0)
		return false;
	const char *line = strstr(text, "mnt_id:");
	if (!line || sscanf(line, "mnt_id: %" SCNd64, &id) != 1 ||
	    mounts_read(call->host, pid, &mounts) < 0)
		return false;
	for (size_t i = 0; i < mounts->count; i++)
		if (mounts->items[i].id == id)
			return mounts->items[i].major == major && mounts->items[i].minor == minor;
	return false;
}

/*
 * Finds a mount point in the mount namespace of PID (0: ours), as a handle that opens nothing. The
 * processes in there may move what lies on the way, or lay symbolic links: those would be resolved
 * in our own tree, so there may be none. A mount table shows paths without any.
 */
static int find_mount_point(const struct host *host, int64_t pid, const char *mount_point)
{
	const struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
				     .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS |
						RESOLVE_NO_MAGICLINKS};
	char path[64];

	if (pid)
		snprintf(path, sizeof(path), "%" PRId64 "/root", pid);
	_cleanup_close_ int root = pid ? openat(host->proc, path, O_PATH | O_DIRECTORY | O_CLOEXEC)
				       : open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	const char *below = mount_point + strspn(mount_point, "/");
	int fd = (int)syscall(SYS_openat2, root, *below ? below : ".", &how, sizeof(how));
	if (fd < 0 && errno == ENOSYS) /* before Linux 5.6: the device is compared all the same */
		fd = openat(root, *below ? below : ".",
			    O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

/*
 * Opens a mount point, after it is proven to be of the planned device: opening a folder of another
 * filesystem could hang there (FUSE).
 */
static int open_mount(const struct plugin_call *call, const cJSON *plan)
{
	unsigned major = json_u32(plan, "major"), minor = json_u32(plan, "minor");
	int64_t pid = (int64_t)json_u64(plan, "mountNamespaceOf");
	const char *path = json_string(plan, "mountPoint");
	char handle[64];
	struct stat status;

	if (!path)
		return plugin_fail(-EINVAL,
				   "status.context.%s.mountPoint is missing: there is no plan",
				   call->plugin->name);
	_cleanup_close_ int place = find_mount_point(call->host, pid, path);
	if (place < 0)
		return plugin_fail(place, "cannot open mount point %s: %s", path, strerror(-place));
	if (fstat(place, &status) < 0)
		return plugin_fail(-errno, "cannot look at mount point %s: %s", path,
				   strerror(errno));
	if (status.st_dev != makedev(major, minor) && !is_of_mount(call, place, pid, major, minor))
		return plugin_fail(-ESTALE,
				   "%s is now of device %u:%u, not of %u:%u; nothing was thawed",
				   path, major(status.st_dev), minor(status.st_dev), major, minor);
	snprintf(handle, sizeof(handle), "/proc/self/fd/%d", place);
	int fd = open(handle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? plugin_fail(-errno, "cannot open mount point %s: %s", path, strerror(errno))
		      : fd;
}

static int recover(struct plugin_call *call)
{
	const cJSON *plan = plugin_context_of(call, call->plugin->name);
	const char *mount_point = json_string(plan, "mountPoint");

	if (count_waiting(call, plan) == 0) {
		int r = subject_report(call, "no task waits there any more; nothing was thawed");

		return r < 0 ? r : PLUGIN_RECOGNISED;
	}
	_cleanup_close_ int fd = open_mount(call, plan);
	if (fd < 0)
		return fd;
	if (ioctl(fd, FITHAW, 0) < 0) {
		if (errno != EINVAL) /* EINVAL: it is not frozen; somebody thawed it since */
			return plugin_fail(-errno, "cannot thaw %s (FITHAW): %s", mount_point,
					   strerror(errno));
		int r = subject_report(call, "%s was thawed already", mount_point);
		return r < 0 ? r : PLUGIN_RECOGNISED;
	}
	int r = subject_report(call,
			       "thawed %s; a snapshot that was being taken of it is not consistent",
			       mount_point);
	return r < 0 ? r : PLUGIN_RECOGNISED;
}

static int verify(struct plugin_call *call)
{
	const cJSON *plan = plugin_context_of(call, call->plugin->name);
	int all = cJSON_GetArraySize(json_at(plan, "waiters"));
	size_t waiting = count_waiting(call, plan);

	if (all == 0)
		return plugin_fail(-EINVAL,
				   "status.context.%s.waiters is missing: there is no plan",
				   call->plugin->name);
	if (waiting)
		return plugin_fail(PLUGIN_NOT_MINE, "%zu of %d tasks still wait", waiting, all);
	int r = all == 1 ? subject_report(call, "the task that waited has moved on")
			 : subject_report(call, "all %d tasks that waited have moved on", all);
	return r < 0 ? r : PLUGIN_RECOGNISED;
}

static const char *const detectors[] = {"hung_task", NULL};

PLUGIN(thaw_filesystem_recoverer) = {
	.name = "thaw-filesystem",
	.summary = "thaws a frozen filesystem that tasks hang on (breaks a snapshot that is being "
		   "taken of it)",
	.kind = PLUGIN_RECOVERER,
	.order = 20,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.detectors = detectors,
	.disturbs = DISTURBS_PROCESS,
	.off_by_default = true,
	.idempotent = true,
	.plan = plan,
	.recover = recover,
	.verify = verify,
};
