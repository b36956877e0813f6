/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnoser hung-task: what tasks that do not move are waiting for, and whose fault that is. The
 * detector tells the kind of wait; here, in a process that may itself hang, the rest is looked up:
 * mount points, device-mapper names, backing files, the owner of a lock and what it does. What
 * remains unknown is not called anything: a person gets the evidence. docs/diagnosers.md has the
 * table.
 */
#include <inttypes.h>
#include <limits.h>

#include "base/buffer.h"
#include "base/file.h"
#include "plugin/subject.h"
#include "host/mounts.h"

#define MESSAGE_BYTES_MAX (16 * KIB)
#define FREEZE_COMPLETE 4 /* SB_FREEZE_COMPLETE of include/linux/fs.h */
#define FRAMES_SHOWN 4

/* Programs that freeze filesystems, or through which others do. */
static const struct {
	const char *comm, *what;
} freezers[] = {
	{"fsfreeze", "freezes by hand or from a script"},
	{"xfs_freeze", "freezes by hand or from a script"},
	{"qemu-ga", "lets backups of this virtual machine freeze its filesystems"},
	{"vmtoolsd", "lets VMware snapshots of this machine freeze its filesystems"},
	{"hv_vss_daemon", "lets Hyper-V backups of this machine freeze its filesystems"},
	{"xe-daemon", "lets snapshots of this machine freeze its filesystems"},
	{"lvcreate", "freezes while it takes an LVM snapshot"},
	{"lvconvert", "freezes while it merges an LVM snapshot"},
	{"dmsetup", "freezes while it suspends a device"},
	{"veeamagent", "takes snapshots for backups"},
	{"vzdump", "takes snapshots for backups"},
};

struct evidence {
	struct plugin_call *call;
	const cJSON *details, *filesystem, *device;
	struct subject_thread waiters[SUBJECT_WAITERS_MAX];
	size_t waiter_count;
	char mount[PATH_MAX + 64]; /* " mounted at /mnt/a", or why it is not known */
	char mount_point[PATH_MAX]; /* "" when not known */
	char source[256];
	struct buffer out;
};

static void evidence_clear(struct evidence *evidence)
{
	buffer_free(&evidence->out);
}

/* A file in the folder of a block device in sysfs, without its newline; NULL when there is none. */
static char *device_attribute(const struct evidence *evidence, unsigned major, unsigned minor,
			      const char *name)
{
	char path[128], *text;

	snprintf(path, sizeof(path), "dev/block/%u:%u/%s", major, minor, name);
	if (file_read(evidence->call->host->sys, path, 4096, &text, NULL) < 0)
		return NULL;
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static void find_mount(struct evidence *evidence, unsigned major, unsigned minor)
{
	_cleanup_mounts_ struct mounts *mounts = NULL;
	int64_t pids[SUBJECT_WAITERS_MAX], pid;

	for (size_t i = 0; i < evidence->waiter_count; i++)
		pids[i] = evidence->waiters[i].pid;
	if (mounts_locate(evidence->call->host, major, minor, pids, evidence->waiter_count, &pid,
			  &mounts) < 0) {
		snprintf(evidence->mount, sizeof(evidence->mount),
			 ", not mounted where this node or the waiting tasks can see it,");
		return;
	}
	const struct mount *mount = mounts_find_device(mounts, major, minor);
	if (pid > 1)
		snprintf(evidence->mount_point, sizeof(evidence->mount_point),
			 "/proc/%" PRId64 "/root%s", pid, mount->mount_point);
	else
		snprintf(evidence->mount_point, sizeof(evidence->mount_point), "%s",
			 mount->mount_point);
	snprintf(evidence->mount, sizeof(evidence->mount), " mounted at %s", evidence->mount_point);
	snprintf(evidence->source, sizeof(evidence->source), "%s", mount->source);
}

/*
 * "dd (pid 12) has been waiting for 2m5s in openat", "3 tasks have been waiting for up to 2m5s, the
 * longest …"
 */
static void write_tasks(struct evidence *evidence)
{
	const struct kernel_event *event = evidence->call->abnormal->spec.kernel_event;
	const cJSON *first = cJSON_GetArrayItem(json_at(evidence->details, "waiters"), 0);
	double tasks = json_number(evidence->details, "tasks", 1);
	double seconds = json_number(evidence->details, "longestSeconds", 0);
	const char *call = json_string(first, "syscall");
	const char *comm = event->process && event->process->comm ? event->process->comm : "a task";
	bool kernel_threads = json_bool(evidence->details, "kernelThreads", false);
	char duration[TIME_TEXT_SIZE], who[96];

	if (event->process && event->process->pid)
		snprintf(who, sizeof(who), "%s (pid %" PRId64 ")", comm, event->process->pid);
	else
		snprintf(who, sizeof(who), "%s", comm);
	duration_format_seconds(seconds, duration);
	if (tasks > 1)
		buffer_printf(&evidence->out,
			      "%.0f %s have been waiting for up to %s, the longest %s", tasks,
			      kernel_threads ? "kernel threads" : "tasks", duration, who);
	else
		buffer_printf(&evidence->out, "%s%s has been waiting for %s",
			      kernel_threads ? "Kernel thread " : "", who, duration);
	if (call)
		buffer_printf(&evidence->out, " in %s", call);
}

static void write_killable(struct evidence *evidence)
{
	size_t killable = 0;

	for (size_t i = 0; i < evidence->waiter_count; i++)
		killable += evidence->waiters[i].killable;
	if (evidence->waiter_count == 0)
		return;
	if (killable == 0)
		buffer_printf(&evidence->out, " SIGKILL does not end %s: the wait must end first.",
			      evidence->waiter_count == 1 ? "it" : "them");
	else if (killable == evidence->waiter_count)
		buffer_printf(&evidence->out, " SIGKILL would end %s, though not the cause.",
			      evidence->waiter_count == 1 ? "it" : "them");
}

/* Who might have frozen it: what tells a running snapshot from a forgotten freeze. */
static void write_freezers(struct evidence *evidence)
{
	_cleanup_free_ struct process *processes = NULL;
	size_t count, found = 0;

	if (process_list(evidence->call->host, &processes, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++)
		for (size_t f = 0; f < ARRAY_SIZE(freezers); f++)
			if (streq(processes[i].comm, freezers[f].comm) && found++ < 4)
				buffer_printf(&evidence->out,
					      " %s (pid %" PRId64 ") runs here, which %s.",
					      processes[i].comm, processes[i].pid,
					      freezers[f].what);
	if (found)
		buffer_append_text(
			&evidence->out,
			" Ask it, or its log, whether a snapshot is being taken right now.");
	else
		buffer_append_text(
			&evidence->out,
			" No snapshot or backup tool that is known to freeze runs here now, so a "
			"forgotten fsfreeze, or a tool that died before it thawed, is likely.");
}

static int diagnose_frozen(struct evidence *evidence)
{
	const cJSON *filesystem = evidence->filesystem;
	unsigned major = json_u32(filesystem, "major"), minor = json_u32(filesystem, "minor");
	const char *id = json_string(filesystem, "id"), *type = json_string(filesystem, "type");
	unsigned level = json_at(filesystem, "freezeLevel") ? json_u32(filesystem, "freezeLevel")
							    : FREEZE_COMPLETE;
	int frozen = cJSON_GetArraySize(json_at(evidence->details, "frozenFilesystems"));

	write_tasks(evidence);
	if (!filesystem) {
		if (frozen)
			buffer_printf(
				&evidence->out,
				" on a frozen filesystem.\nEvidence: %d filesystems are frozen, "
				"and it cannot be told which of them holds the tasks.",
				frozen);
		else
			buffer_append_text(&evidence->out,
					   " on a frozen filesystem.\nEvidence: which one, this "
					   "detector cannot tell without BPF.");
		write_killable(evidence);
		write_freezers(evidence);
		buffer_append_text(&evidence->out, "\nAdvice: thaw each that no snapshot needs "
						   "(fsfreeze --unfreeze MOUNTPOINT).");
		return plugin_identify(evidence->call, "FilesystemFrozen", "%s",
				       buffer_text(&evidence->out));
	}
	find_mount(evidence, major, minor);
	_cleanup_free_ char *suspended = device_attribute(evidence, major, minor, "dm/suspended");
	_cleanup_free_ char *dm_name = device_attribute(evidence, major, minor, "dm/name");
	buffer_printf(&evidence->out,
		      " because filesystem %s on %s%s is frozen: whatever writes to it waits until "
		      "it is thawed.\nEvidence:",
		      type ? type : "(type unknown)", id ? id : "an unknown device",
		      evidence->mount);
	write_killable(evidence);
	if (suspended && streq(suspended, "1")) {
		buffer_printf(
			&evidence->out,
			" Its device-mapper device %s is suspended, which froze it (dmsetup "
			"suspend, or an LVM command that did not finish).\nAdvice: dmsetup resume "
			"%s, when no LVM command is running; thawing alone would not help.",
			dm_name ? dm_name : id, dm_name ? dm_name : "NAME");
	} else if (level < FREEZE_COMPLETE) {
		buffer_append_text(&evidence->out,
				   " The freeze itself is not complete: it is still writing back "
				   "what was dirty, and cannot be thawed before it is "
				   "through.\nAdvice: look at the device below it (is its I/O "
				   "completing?) and at whoever runs fsfreeze.");
	} else {
		write_freezers(evidence);
		buffer_printf(
			&evidence->out,
			"\nRepair: the recoverer thaw-filesystem thaws it, where the operator "
			"has turned that on.\n"
			"Advice: once no snapshot is being taken, fsfreeze --unfreeze %s",
			*evidence->mount_point ? evidence->mount_point : "MOUNTPOINT");
	}
	return plugin_identify(evidence->call, "FilesystemFrozen", "%s",
			       buffer_text(&evidence->out));
}

/* The mount that PATH lies in, by the table alone: nothing is opened. */
static const struct mount *mount_of_path(const struct mounts *mounts, const char *path)
{
	const struct mount *found = NULL;

	for (size_t i = 0; i < mounts->count; i++) {
		const struct mount *mount = &mounts->items[i];
		const char *rest = streq(mount->mount_point, "/")
					   ? path
					   : startswith(path, mount->mount_point);

		if (rest && (*rest == '/' || !*rest) &&
		    (!found || strlen(mount->mount_point) >= strlen(found->mount_point)))
			found = mount; /* of equals the later one, which covers the earlier */
	}
	return found;
}

static void write_backing_file(struct evidence *evidence, const char *device, const char *backing)
{
	_cleanup_mounts_ struct mounts *mounts = NULL;

	buffer_printf(&evidence->out, " %s is a loop device over the file %s", device, backing);
	const struct mount *mount = mounts_read(evidence->call->host, 0, &mounts) < 0
					    ? NULL
					    : mount_of_path(mounts, backing);
	if (mount)
		buffer_printf(&evidence->out,
			      ", in %s (%s) at %s: if that is frozen, full or hung, so is the loop "
			      "device",
			      mount->fs_type, mount->source, mount->mount_point);
	buffer_append_text(&evidence->out, ".");
}

static int diagnose_io(struct evidence *evidence)
{
	const cJSON *device = evidence->device, *filesystem = evidence->filesystem;
	const cJSON *place = device ? device : filesystem;
	unsigned major = json_u32(place, "major"), minor = json_u32(place, "minor");
	const char *name = json_string(device, "name");
	double in_flight = json_number(device, "inFlight", -1);
	const char *advice = "see kernel-log.txt for errors and timeouts of the device, and its "
			     "health (smartctl -a, nvme smart-log, the storage system's own log).";

	if (!name)
		name = json_string(filesystem, "id");
	write_tasks(evidence);
	if (!place) {
		buffer_append_text(&evidence->out,
				   " for I/O.\nEvidence: which device is not known.");
		write_killable(evidence);
		buffer_printf(&evidence->out, "\nAdvice: %s", advice);
		return plugin_identify(evidence->call, "BlockedOnIO", "%s",
				       buffer_text(&evidence->out));
	}
	find_mount(evidence, major, minor);
	_cleanup_free_ char *suspended = device_attribute(evidence, major, minor, "dm/suspended");
	_cleanup_free_ char *dm_name = device_attribute(evidence, major, minor, "dm/name");
	_cleanup_free_ char *backing =
		device_attribute(evidence, major, minor, "loop/backing_file");
	buffer_printf(&evidence->out, " for I/O on %s", name ? name : "a device");
	if (dm_name)
		buffer_printf(&evidence->out, " (device-mapper %s)", dm_name);
	if (*evidence->mount_point)
		buffer_printf(&evidence->out, ",%s", evidence->mount);
	buffer_append_text(&evidence->out, ".\nEvidence:");
	if (in_flight >= 0)
		buffer_printf(&evidence->out, " %.0f request%s in flight there.", in_flight,
			      in_flight == 1 ? " is" : "s are");
	if ((suspended && streq(suspended, "1")) || json_bool(device, "suspended", false)) {
		buffer_append_text(&evidence->out,
				   " The device is suspended (dmsetup suspend, or an LVM or "
				   "multipath command that did not finish): it keeps every request "
				   "until it is resumed.");
		write_killable(evidence);
		buffer_printf(
			&evidence->out,
			"\nAdvice: dmsetup resume %s, when no LVM or multipath command is running.",
			dm_name ? dm_name : "NAME");
		return plugin_identify(evidence->call, "BlockedOnIO", "%s",
				       buffer_text(&evidence->out));
	}
	if (json_bool(device, "completing", false))
		buffer_append_text(&evidence->out, " The device still completes requests: it is "
						   "overloaded or slow, not dead, and these tasks "
						   "may go on by themselves.");
	else if (device)
		buffer_append_text(&evidence->out, " The device completes nothing.");
	write_killable(evidence);
	if (backing)
		write_backing_file(evidence, name ? name : "It", backing);
	if (name && startswith(name, "nbd"))
		advice = "see whether the nbd server answers; nbd-client -d ends its requests with "
			 "errors.";
	else if (name && startswith(name, "md"))
		advice = "see mdadm --detail and /proc/mdstat, and the member disks.";
	else if (backing)
		advice = "look at the filesystem that holds the backing file first.";
	else if (dm_name)
		advice = "see dmsetup table and status (multipath with queue_if_no_path keeps "
			 "requests while it has no path: multipath -ll), and the devices below "
			 "(lsblk -s).";
	buffer_printf(&evidence->out, "\nAdvice: %s", advice);
	return plugin_identify(evidence->call, "BlockedOnIO", "%s", buffer_text(&evidence->out));
}

/* The innermost frames of a task's stack, as one line. */
static void write_frames(struct evidence *evidence, int64_t pid)
{
	_cleanup_free_ char *stack = NULL;
	char path[64], name[128];
	unsigned shown = 0;

	snprintf(path, sizeof(path), "%" PRId64 "/stack", pid);
	if (file_read(evidence->call->host->proc, path, 16 * KIB, &stack, NULL) < 0)
		return;
	char *rest = stack;
	for (char *line; (line = strsep(&rest, "\n")) && shown < FRAMES_SHOWN;)
		if (sscanf(line, "[<%*[^>]>] %127[^+ ]", name) == 1)
			buffer_printf(&evidence->out, "%s%s", shown++ ? " < " : " in ", name);
}

static int diagnose_lock(struct evidence *evidence)
{
	const cJSON *lock = json_at(evidence->details, "lock"), *owner = json_at(lock, "owner");
	const char *kind = json_string(lock, "kind"), *address = json_string(lock, "address");
	const char *comm = json_string(owner, "comm");
	int64_t pid = (int64_t)json_u64(owner, "pid");
	struct process process;

	write_tasks(evidence);
	buffer_printf(&evidence->out, " for a lock of the kernel (%s%s%s).\nEvidence:",
		      kind ? kind : "kind unknown", address ? " at " : "", address ? address : "");
	write_killable(evidence);
	if (!pid) {
		buffer_append_text(
			&evidence->out,
			" The kernel does not tell who holds it.\nAdvice: look for the one task in "
			"kernel-stacks.txt or /proc/*/stack that is inside the same code and waits "
			"for something else; that is the holder.");
		return plugin_identify(evidence->call, "BlockedOnLock", "%s",
				       buffer_text(&evidence->out));
	}
	buffer_printf(&evidence->out, " It is held by %s (pid %" PRId64 ")", comm ? comm : "a task",
		      pid);
	int r = process_read_same(evidence->call->host, pid, json_u64(owner, "startTime"),
				  &process);
	if (r < 0) {
		buffer_append_text(
			&evidence->out,
			", which has ended since: either the lock is free now, or a task died "
			"holding it, which only a reboot repairs.\nAdvice: see whether the tasks "
			"move again.");
		return plugin_identify(evidence->call, "BlockedOnLock", "%s",
				       buffer_text(&evidence->out));
	}
	switch (process.state) {
	case 'D':
		buffer_append_text(&evidence->out, ", which itself waits");
		break;
	case 'R':
		buffer_append_text(&evidence->out, ", which is running");
		break;
	case 'T':
	case 't':
		buffer_append_text(&evidence->out, ", which is stopped");
		break;
	default:
		buffer_append_text(&evidence->out, ", which sleeps");
	}
	write_frames(evidence, pid);
	buffer_printf(&evidence->out,
		      ". The others only queue behind it.\nAdvice: find out what %s (pid %" PRId64
		      ") is waiting for or doing, and help or end that; ending the tasks in the "
		      "queue frees nothing.",
		      comm ? comm : "the holder", pid);
	return plugin_identify(evidence->call, "BlockedOnLock", "%s", buffer_text(&evidence->out));
}

static int diagnose_nfs(struct evidence *evidence)
{
	const cJSON *line;
	const char *telling = NULL;

	if (evidence->filesystem)
		find_mount(evidence, json_u32(evidence->filesystem, "major"),
			   json_u32(evidence->filesystem, "minor"));
	cJSON_ArrayForEach (line,
			    json_at(plugin_context_of(evidence->call, "kernel-log"), "telling"))
		if (cJSON_IsString(line) && strstr(line->valuestring, "nfs: server"))
			telling = line->valuestring;
	write_tasks(evidence);
	buffer_printf(&evidence->out, " for %s%s",
		      *evidence->source ? "the NFS server of " : "an NFS server", evidence->source);
	if (*evidence->mount_point)
		buffer_printf(&evidence->out, ",%s", evidence->mount);
	buffer_append_text(&evidence->out,
			   ".\nEvidence: a hard mount waits for its server for ever.");
	if (telling)
		buffer_printf(&evidence->out, " The kernel says: \"%s\".", telling);
	write_killable(evidence);
	buffer_printf(&evidence->out,
		      "\nAdvice: bring the server or the way to it back, and the tasks go on where "
		      "they were. To give it up: kill the tasks, then umount -f -l %s",
		      *evidence->mount_point ? evidence->mount_point : "MOUNTPOINT");
	return plugin_identify(evidence->call, "BlockedOnNFS", "%s", buffer_text(&evidence->out));
}

static int diagnose_fuse(struct evidence *evidence)
{
	unsigned minor = json_u32(evidence->filesystem, "minor");
	const char *type = json_string(evidence->filesystem, "type");
	uint64_t waiting;
	char path[96];

	if (evidence->filesystem)
		find_mount(evidence, json_u32(evidence->filesystem, "major"), minor);
	write_tasks(evidence);
	buffer_printf(&evidence->out, " for the process behind a FUSE filesystem%s%s%s",
		      type ? " (" : "", type ? type : "", type ? ")" : "");
	if (*evidence->mount_point)
		buffer_printf(&evidence->out, ",%s", evidence->mount);
	buffer_append_text(&evidence->out, ", which does not answer.\nEvidence:");
	/* A connection is named after the minor number of its device (fs/fuse/control.c). */
	snprintf(path, sizeof(path), "fs/fuse/connections/%u/waiting", minor);
	if (minor && file_read_u64(evidence->call->host->sys, path, &waiting) == 0)
		buffer_printf(&evidence->out, " %" PRIu64 " request%s unanswered.", waiting,
			      waiting == 1 ? " is" : "s are");
	buffer_append_text(&evidence->out,
			   " SIGKILL does not end such a wait once the request has been read.");
	buffer_append_text(
		&evidence->out,
		"\nAdvice: look at the filesystem's own process (is it stopped, hung, waiting for "
		"its network?). To give it up: ");
	if (minor)
		buffer_printf(&evidence->out,
			      "echo 1 > /sys/fs/fuse/connections/%u/abort ends every request with "
			      "an error.",
			      minor);
	else
		buffer_append_text(&evidence->out, "echo 1 > /sys/fs/fuse/connections/N/abort, "
						   "with N whose `waiting` is not 0, ends every "
						   "request with an error.");
	return plugin_identify(evidence->call, "BlockedOnFUSE", "%s", buffer_text(&evidence->out));
}

static int diagnose(struct plugin_call *call)
{
	static const struct {
		const char *kind;
		int (*diagnose)(struct evidence *evidence);
	} kinds[] = {
		{"frozen-filesystem", diagnose_frozen},
		{"io", diagnose_io},
		{"lock", diagnose_lock},
		{"nfs", diagnose_nfs},
		{"fuse", diagnose_fuse},
	};
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	const cJSON *details = plugin_details(call);
	const char *kind = json_string(details, "kind");
	_cleanup_(evidence_clear) struct evidence evidence = {
		.call = call,
		.details = details,
		.filesystem = json_at(details, "filesystem"),
		.device = json_at(details, "device"),
		.out = BUFFER(MESSAGE_BYTES_MAX),
	};

	if (!event || !kind || !event->type ||
	    (!streq(event->type, "HungTask") && !streq(event->type, "HungKernelThread")))
		return PLUGIN_NOT_MINE;
	evidence.waiter_count = subject_waiters(call, evidence.waiters);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (streq(kind, kinds[i].kind))
			return kinds[i].diagnose(&evidence);
	/*
	 * Calling it "hung" would add nothing; unrecognised, it gets the troubleshooting collectors
	 * and a person.
	 */
	return PLUGIN_NOT_MINE;
}

static const char *const detectors[] = {"hung_task", NULL};

PLUGIN(hung_task_diagnoser) = {
	.name = "hung-task",
	.summary = "what hung tasks wait for: a frozen filesystem, a device, a lock, NFS, FUSE",
	.kind = PLUGIN_DIAGNOSER,
	.order = 10,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.detectors = detectors,
	.diagnose = diagnose,
};
