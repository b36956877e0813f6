/* SPDX-License-Identifier: Apache-2.0 */
/* A group of waiters as spec.kernelEvent; docs/detectors.md lists the members of `details`. */
#include "detect/hung_task.h"

#include <inttypes.h>
#include <sys/syscall.h>

#include "host/process.h"

#define WAITERS_TOLD_MAX 32
#define TASK_WAKEKILL 0x100

static const struct {
	int number;
	const char *name;
} syscalls[] = {
	{SYS_read, "read"},
	{SYS_write, "write"},
	{SYS_readv, "readv"},
	{SYS_writev, "writev"},
	{SYS_pread64, "pread64"},
	{SYS_pwrite64, "pwrite64"},
	{SYS_preadv, "preadv"},
	{SYS_pwritev, "pwritev"},
	{SYS_preadv2, "preadv2"},
	{SYS_pwritev2, "pwritev2"},
	{SYS_openat, "openat"},
	{SYS_openat2, "openat2"},
	{SYS_close, "close"},
	{SYS_fstat, "fstat"},
	{SYS_newfstatat, "newfstatat"},
	{SYS_statx, "statx"},
	{SYS_statfs, "statfs"},
	{SYS_fstatfs, "fstatfs"},
	{SYS_getdents64, "getdents64"},
	{SYS_fsync, "fsync"},
	{SYS_fdatasync, "fdatasync"},
	{SYS_sync, "sync"},
	{SYS_syncfs, "syncfs"},
	{SYS_sync_file_range, "sync_file_range"},
	{SYS_ftruncate, "ftruncate"},
	{SYS_truncate, "truncate"},
	{SYS_fallocate, "fallocate"},
	{SYS_lseek, "lseek"},
	{SYS_ioctl, "ioctl"},
	{SYS_fcntl, "fcntl"},
	{SYS_flock, "flock"},
	{SYS_unlinkat, "unlinkat"},
	{SYS_mkdirat, "mkdirat"},
	{SYS_renameat, "renameat"},
	{SYS_renameat2, "renameat2"},
	{SYS_linkat, "linkat"},
	{SYS_symlinkat, "symlinkat"},
	{SYS_mknodat, "mknodat"},
	{SYS_readlinkat, "readlinkat"},
	{SYS_faccessat, "faccessat"},
	{SYS_faccessat2, "faccessat2"},
	{SYS_fchmod, "fchmod"},
	{SYS_fchmodat, "fchmodat"},
	{SYS_fchown, "fchown"},
	{SYS_fchownat, "fchownat"},
	{SYS_utimensat, "utimensat"},
	{SYS_getxattr, "getxattr"},
	{SYS_setxattr, "setxattr"},
	{SYS_sendfile, "sendfile"},
	{SYS_splice, "splice"},
	{SYS_copy_file_range, "copy_file_range"},
	{SYS_mount, "mount"},
	{SYS_umount2, "umount2"},
	{SYS_chdir, "chdir"},
	{SYS_execve, "execve"},
	{SYS_execveat, "execveat"},
	{SYS_mmap, "mmap"},
	{SYS_munmap, "munmap"},
	{SYS_mprotect, "mprotect"},
	{SYS_msync, "msync"},
	{SYS_madvise, "madvise"},
	{SYS_brk, "brk"},
	{SYS_exit, "exit"},
	{SYS_exit_group, "exit_group"},
	{SYS_clone, "clone"},
	{SYS_clone3, "clone3"},
	{SYS_io_uring_enter, "io_uring_enter"},
	{SYS_io_submit, "io_submit"},
	{SYS_init_module, "init_module"},
	{SYS_finit_module, "finit_module"},
	{SYS_delete_module, "delete_module"},
#ifdef SYS_open
	{SYS_open, "open"},
	{SYS_stat, "stat"},
	{SYS_lstat, "lstat"},
	{SYS_access, "access"},
	{SYS_creat, "creat"},
	{SYS_unlink, "unlink"},
	{SYS_rename, "rename"},
	{SYS_mkdir, "mkdir"},
	{SYS_rmdir, "rmdir"},
	{SYS_link, "link"},
	{SYS_symlink, "symlink"},
	{SYS_readlink, "readlink"},
	{SYS_chmod, "chmod"},
	{SYS_chown, "chown"},
	{SYS_getdents, "getdents"},
	{SYS_utime, "utime"},
	{SYS_utimes, "utimes"},
	{SYS_vfork, "vfork"},
	{SYS_fork, "fork"},
#endif
};

static int set_seconds(cJSON *json, const char *name, uint64_t ns)
{
	return json_set_number(json, name, (double)(ns / NS_PER_MS) / 1000);
}

static int set_syscall(cJSON *json, int number)
{
	if (number < 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(syscalls); i++)
		if (syscalls[i].number == number)
			return json_set_string(json, "syscall", syscalls[i].name);
	return json_set_number(json, "syscall", number);
}

static cJSON *waiter_json(const struct waiter *waiter, uint64_t now_ns)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	const struct event_task *task = &waiter->event.task;
	_cleanup_free_ char *comm = event_text(task->comm, sizeof(task->comm));
	char function[96];

	if (!json || !comm || json_set_number(json, "pid", task->pid) < 0 ||
	    json_set_number(json, "tgid", task->tgid) < 0 ||
	    json_set_number(json, "startTime", (double)event_start_time(task->start_boot_ns)) < 0 ||
	    json_set_string(json, "comm", comm) < 0 ||
	    json_set_bool(json, "killable",
			  waiter->event.state & TASK_WAKEKILL || !(waiter->event.state & 2)) < 0 ||
	    set_seconds(json, "blockedSeconds", now_ns - MIN(now_ns, waiter->event.since_boot_ns)) <
		    0 ||
	    json_set_string(json, "function",
			    function_name(waiter->class.function, function, sizeof(function))) <
		    0 ||
	    set_syscall(json, waiter->event.syscall) < 0 ||
	    json_set_string(json, "via", waiter->via_lock ? "lock" : "direct") < 0)
		return NULL;
	return TAKE_PTR(json);
}

static cJSON *filesystem_json(const struct event_filesystem *filesystem)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	_cleanup_free_ char *id = event_text(filesystem->id, sizeof(filesystem->id));
	_cleanup_free_ char *type = event_text(filesystem->type, sizeof(filesystem->type));

	if (!json || !id || !type || json_set_number(json, "major", filesystem->major) < 0 ||
	    json_set_number(json, "minor", filesystem->minor) < 0 ||
	    json_set_string(json, "id", id) < 0 || json_set_string(json, "type", type) < 0 ||
	    json_set_number(json, "freezeLevel", filesystem->freeze_level) < 0)
		return NULL;
	return TAKE_PTR(json);
}

/*
 * Whether it has completed anything of late, and since the wait that began at SINCE_NS. What the
 * first look at a disk finds is its first sample, which comes up to two looks after that begin.
 */
static bool device_completes(const struct device_progress *progress, uint64_t since_ns,
			     uint64_t period_ns, uint64_t now_ns)
{
	uint64_t quiet_since = MIN(now_ns, progress->quiet_since_ns);

	return now_ns - quiet_since < 5 * NS_PER_S && quiet_since > since_ns + 2 * period_ns;
}

static cJSON *device_json(const struct groups *groups, const struct group *group, uint64_t since_ns,
			  uint64_t now_ns)
{
	const struct device_progress *progress =
		devices_find(groups_devices(groups), group->device_major, group->device_minor);
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (!json || json_set_number(json, "major", group->device_major) < 0 ||
	    json_set_number(json, "minor", group->device_minor) < 0)
		return NULL;
	if (progress &&
	    (json_set_string(json, "name", progress->device.name) < 0 ||
	     json_set_number(json, "inFlight", (double)progress->device.in_flight) < 0 ||
	     json_set_bool(json, "suspended", progress->device.suspended) < 0 ||
	     json_set_bool(json, "completing",
			   device_completes(progress, since_ns, groups_period_ns(groups), now_ns)) <
		     0))
		return NULL;
	return TAKE_PTR(json);
}

/* Who holds the lock, of the first waiter behind it whose lock has an owner that still lives. */
static cJSON *owner_json(const struct host *host, const struct waiter *waiter)
{
	const struct blocked_task_event *event = &waiter->event;
	uint64_t start_time = event_start_time(event->owner_start_boot_ns);
	struct process process;

	if (!event->owner_pid ||
	    process_read_same(host, event->owner_pid, start_time, &process) < 0)
		return NULL;
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	_cleanup_free_ char *comm = event_text(event->owner_comm, sizeof(event->owner_comm));
	char state[2] = {process.state, '\0'};
	if (!json || !comm || json_set_number(json, "pid", event->owner_pid) < 0 ||
	    json_set_number(json, "tgid", event->owner_tgid) < 0 ||
	    json_set_number(json, "startTime", (double)start_time) < 0 ||
	    json_set_string(json, "comm", comm) < 0 || json_set_string(json, "state", state) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static int set_lock(const struct detector_run *run, cJSON *details, const struct group *group,
		    struct waiter *const *waiters, size_t count)
{
	_cleanup_json_ cJSON *lock = cJSON_CreateObject();
	char address[32];

	if (!lock)
		return -ENOMEM;
	if (group->lock_kind && json_set_string(lock, "kind", group->lock_kind) < 0)
		return -ENOMEM;
	snprintf(address, sizeof(address), "%#" PRIx64, group->lock);
	if (group->lock && json_set_string(lock, "address", address) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		cJSON *owner = owner_json(run->host, waiters[i]);

		if (owner)
			return json_set(lock, "owner", owner) < 0
				       ? -ENOMEM
				       : json_set(details, "lock", TAKE_PTR(lock));
	}
	return json_set(details, "lock", TAKE_PTR(lock));
}

static int set_waiters(cJSON *details, struct waiter *const *waiters, size_t count, uint64_t now_ns)
{
	_cleanup_json_ cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; list && i < MIN(count, (size_t)WAITERS_TOLD_MAX); i++) {
		cJSON *waiter = waiter_json(waiters[i], now_ns);

		if (!waiter || !cJSON_AddItemToArray(list, waiter)) {
			cJSON_Delete(waiter);
			return -ENOMEM;
		}
	}
	return list ? json_set(details, "waiters", TAKE_PTR(list)) : -ENOMEM;
}

/* Candidates, where the one cannot be told. */
static int set_frozen_candidates(cJSON *details, const struct groups *groups)
{
	_cleanup_json_ cJSON *list = cJSON_CreateArray();
	size_t count;
	const struct event_filesystem *frozen = groups_frozen(groups, &count);

	for (size_t i = 0; list && i < count; i++) {
		cJSON *filesystem = filesystem_json(&frozen[i]);

		if (!filesystem || !cJSON_AddItemToArray(list, filesystem)) {
			cJSON_Delete(filesystem);
			return -ENOMEM;
		}
	}
	if (!list || count == 0)
		return list ? 0 : -ENOMEM;
	return json_set(details, "frozenFilesystems", TAKE_PTR(list));
}

static cJSON *details_json(const struct detector_run *run, const struct groups *groups,
			   const struct group *group, struct waiter *const *waiters, size_t count,
			   uint64_t threshold_ns, uint64_t now_ns)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	uint64_t since = count ? MIN(now_ns, waiters[0]->event.since_boot_ns) : now_ns;

	if (!json || json_set_string(json, "kind", group->kind) < 0 ||
	    set_seconds(json, "thresholdSeconds", threshold_ns) < 0 ||
	    set_seconds(json, "longestSeconds", now_ns - since) < 0 ||
	    json_set_number(json, "tasks", (double)count) < 0 ||
	    json_set_bool(json, "kernelThreads", group->kernel_threads) < 0 ||
	    set_waiters(json, waiters, count, now_ns) < 0)
		return NULL;
	if (group->filesystem.known &&
	    json_set(json, "filesystem", filesystem_json(&group->filesystem)) < 0)
		return NULL;
	if (streq(group->kind, "frozen-filesystem") && !group->filesystem.known &&
	    set_frozen_candidates(json, groups) < 0)
		return NULL;
	if (group->device_known &&
	    json_set(json, "device", device_json(groups, group, since, now_ns)) < 0)
		return NULL;
	if (streq(group->kind, "lock") && set_lock(run, json, group, waiters, count) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static int set_stack(cJSON *event, const struct waiter *waiter)
{
	_cleanup_json_ cJSON *stack = cJSON_CreateObject(),
			     *kernel = cJSON_CreateStringArray(waiter->names, (int)waiter->depth);

	if (!stack || !kernel || json_set(stack, "kernel", TAKE_PTR(kernel)) < 0)
		return -ENOMEM;
	return json_set(event, "stack", TAKE_PTR(stack));
}

cJSON *group_event(const struct detector_run *run, const struct groups *groups,
		   const struct group *group, struct waiter *const *waiters, size_t count,
		   bool cleared, uint64_t threshold_ns, uint64_t now_ns)
{
	const char *type = cleared		   ? "Cleared"
			   : group->kernel_threads ? "HungKernelThread"
						   : "HungTask";
	_cleanup_json_ cJSON *event =
		event_json(run, type, now_ns, count ? waiters[0]->event.header.cpu : 0);

	if (!event)
		return NULL;
	if (group->process && json_set(event, "process", cJSON_Duplicate(group->process, true)) < 0)
		return NULL;
	if (count) {
		if (set_stack(event, waiters[0]) < 0)
			return NULL;
		/* The poll rung does not know the cgroup. */
		if (waiters[0]->event.cgroup.id &&
		    json_set(event, "container",
			     event_container_json(run->containers, &waiters[0]->event.cgroup)) < 0)
			return NULL;
	}
	if (json_set(event, "details",
		     details_json(run, groups, group, waiters, count, threshold_ns, now_ns)) < 0)
		return NULL;
	return TAKE_PTR(event);
}
