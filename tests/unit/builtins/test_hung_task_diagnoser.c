/* SPDX-License-Identifier: Apache-2.0 */
/* What is concluded from tasks that do not move, word for word. */
#include "builtin_fixture.h"

#define EVENT(type, details)                                                                       \
	"{\"apiVersion\":\"lifeboat.dev/"                                                          \
	"v1alpha1\",\"kind\":\"Abnormal\",\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"}" \
	","                                                                                        \
	"\"spec\":{\"source\":\"KernelEvent\",\"kernelEvent\":{\"detector\":\"hung_task\","        \
	"\"type\":\"" type "\","                                                                   \
	"\"time\":\"2026-11-23T18:00:00Z\",\"process\":{\"pid\":100,\"tgid\":100,\"startTime\":"   \
	"1000,\"comm\":\"dd\"},"                                                                   \
	"\"details\":" details "}}}"

#define WAITER(pid, comm, killable)                                                           \
	"{\"pid\":" #pid ",\"tgid\":" #pid ",\"startTime\":1000,\"comm\":\"" comm             \
	"\",\"killable\":" #killable ","                                                      \
	"\"blockedSeconds\":125.4,\"function\":\"percpu_rwsem_wait\",\"syscall\":\"openat\"," \
	"\"via\":\"direct\"}"

#define MOUNTINFO                                                                              \
	"20 1 254:0 / / rw - ext4 /dev/vda rw\n40 20 7:0 / /mnt/a rw - ext4 /dev/loop0 rw\n"   \
	"41 20 0:45 / /srv rw - nfs4 filer:/export rw,hard\n42 20 0:50 / /home/u/remote rw - " \
	"fuse.sshfs u@h: rw\n"

static void diagnose(struct plugin_fixture *fixture, const char *text, const char *reason,
		     const char *message)
{
	fixture_call(fixture, PLUGIN_DIAGNOSER, "hung-task", text);
	assert_int_equal(fixture->call.plugin->diagnose(&fixture->call), PLUGIN_RECOGNISED);
	assert_string_equal(fixture->abnormal->status.reason, reason);
	fixture_expect_message(fixture, message);
}

static void mounts(const struct plugin_fixture *fixture)
{
	fake_file(&fixture->root, "proc/self/mountinfo", "%s", MOUNTINFO);
}

static void a_forgotten_freeze_is_told_with_its_mount_point(void **state)
{
	mounts(*state);
	diagnose(*state,
		 EVENT("HungTask", "{\"kind\":\"frozen-filesystem\",\"longestSeconds\":125.4,"
				   "\"tasks\":3,\"filesystem\":"
				   "{\"major\":7,\"minor\":0,\"id\":\"loop0\",\"type\":\"ext4\","
				   "\"freezeLevel\":4},"
				   "\"waiters\":[" WAITER(100, "dd", false) "," WAITER(
					   101, "cp", false) "," WAITER(102, "cp", false) "]}"),
		 "FilesystemFrozen",
		 "3 tasks have been waiting for up to 2m5s, the longest dd (pid 100) in openat "
		 "because filesystem ext4 on loop0 mounted at /mnt/a is frozen: whatever writes to "
		 "it waits until it is thawed.\n"
		 "Evidence: SIGKILL does not end them: the wait must end first. No snapshot or "
		 "backup tool that is known to freeze runs here now, so a forgotten fsfreeze, or a "
		 "tool that died before it thawed, is likely.\n"
		 "Repair: the recoverer thaw-filesystem thaws it, where the operator has turned "
		 "that on.\n"
		 "Advice: once no snapshot is being taken, fsfreeze --unfreeze /mnt/a");
}

static void a_backup_agent_is_named_as_a_possible_freezer(void **state)
{
	struct plugin_fixture *fixture = *state;

	mounts(fixture);
	fake_process(&fixture->root, 77, 1, "qemu-ga", 'S', 5, false);
	diagnose(
		fixture,
		EVENT("HungTask", "{\"kind\":\"frozen-filesystem\",\"longestSeconds\":125.4,"
				  "\"tasks\":1,\"filesystem\":"
				  "{\"major\":7,\"minor\":0,\"id\":\"loop0\",\"type\":\"ext4\","
				  "\"freezeLevel\":4},"
				  "\"waiters\":[" WAITER(100, "dd", false) "]}"),
		"FilesystemFrozen",
		"dd (pid 100) has been waiting for 2m5s in openat because filesystem ext4 on loop0 "
		"mounted at /mnt/a is frozen: whatever writes to it waits until it is thawed.\n"
		"Evidence: SIGKILL does not end it: the wait must end first. qemu-ga (pid 77) runs "
		"here, which lets backups of this virtual machine freeze its filesystems. Ask it, "
		"or its log, whether a snapshot is being taken right now.\n"
		"Repair: the recoverer thaw-filesystem thaws it, where the operator has turned "
		"that on.\n"
		"Advice: once no snapshot is being taken, fsfreeze --unfreeze /mnt/a");
}

static void a_suspended_device_is_resumed_not_thawed(void **state)
{
	struct plugin_fixture *fixture = *state;

	mounts(fixture);
	fake_file(&fixture->root, "sys/dev/block/7:0/dm/suspended", "1\n");
	fake_file(&fixture->root, "sys/dev/block/7:0/dm/name", "vg-data\n");
	diagnose(fixture,
		 EVENT("HungTask", "{\"kind\":\"frozen-filesystem\",\"longestSeconds\":125.4,"
				   "\"tasks\":1,\"filesystem\":"
				   "{\"major\":7,\"minor\":0,\"id\":\"dm-0\",\"type\":\"xfs\","
				   "\"freezeLevel\":4},"
				   "\"waiters\":[" WAITER(100, "dd", false) "]}"),
		 "FilesystemFrozen",
		 "dd (pid 100) has been waiting for 2m5s in openat because filesystem xfs on dm-0 "
		 "mounted at /mnt/a is frozen: whatever writes to it waits until it is thawed.\n"
		 "Evidence: SIGKILL does not end it: the wait must end first. Its device-mapper "
		 "device vg-data is suspended, which froze it (dmsetup suspend, or an LVM command "
		 "that did not finish).\n"
		 "Advice: dmsetup resume vg-data, when no LVM command is running; thawing alone "
		 "would not help.");
}

static void one_of_several_frozen_filesystems_is_not_guessed(void **state)
{
	diagnose(
		*state,
		EVENT("HungTask",
		      "{\"kind\":\"frozen-filesystem\",\"longestSeconds\":125.4,\"tasks\":1,"
		      "\"frozenFilesystems\":"
		      "[{\"major\":7,\"minor\":0},{\"major\":7,\"minor\":1}],\"waiters\":[" WAITER(
			      100, "dd", false) "]}"),
		"FilesystemFrozen",
		"dd (pid 100) has been waiting for 2m5s in openat on a frozen filesystem.\n"
		"Evidence: 2 filesystems are frozen, and it cannot be told which of them holds the "
		"tasks. SIGKILL does not end it: the wait must end first. No snapshot or backup "
		"tool that is known to freeze runs here now, so a forgotten fsfreeze, or a tool "
		"that died before it thawed, is likely.\n"
		"Advice: thaw each that no snapshot needs (fsfreeze --unfreeze MOUNTPOINT).");
}

static void a_filesystem_mounted_only_in_a_container_is_found(void **state)
{
	struct plugin_fixture *fixture = *state;

	fake_file(&fixture->root, "proc/self/mountinfo", "20 1 254:0 / / rw - ext4 /dev/vda rw\n");
	fake_file(&fixture->root, "proc/100/mountinfo",
		  "40 20 7:0 / /data rw - ext4 /dev/loop0 rw\n");
	diagnose(
		fixture,
		EVENT("HungTask", "{\"kind\":\"frozen-filesystem\",\"longestSeconds\":125.4,"
				  "\"tasks\":1,\"filesystem\":"
				  "{\"major\":7,\"minor\":0,\"id\":\"loop0\",\"type\":\"ext4\","
				  "\"freezeLevel\":2},"
				  "\"waiters\":[" WAITER(100, "dd", false) "]}"),
		"FilesystemFrozen",
		"dd (pid 100) has been waiting for 2m5s in openat because filesystem ext4 on loop0 "
		"mounted at /proc/100/root/data is frozen: whatever writes to it waits until it is "
		"thawed.\n"
		"Evidence: SIGKILL does not end it: the wait must end first. The freeze itself is "
		"not complete: it is still writing back what was dirty, and cannot be thawed "
		"before it is through.\n"
		"Advice: look at the device below it (is its I/O completing?) and at whoever runs "
		"fsfreeze.");
}

static void a_dead_device_is_told_from_a_slow_one(void **state)
{
	struct plugin_fixture *fixture = *state;

	mounts(fixture);
	fake_file(&fixture->root, "sys/dev/block/7:0/loop/backing_file", "/srv/disk.img\n");
	diagnose(
		fixture,
		EVENT("HungTask",
		      "{\"kind\":\"io\",\"longestSeconds\":125.4,\"tasks\":1,\"device\":{\"major\":"
		      "7,\"minor\":0,"
		      "\"name\":\"loop0\",\"inFlight\":5,\"suspended\":false,\"completing\":false},"
		      "\"waiters\":[" WAITER(100, "dd", true) "]}"),
		"BlockedOnIO",
		"dd (pid 100) has been waiting for 2m5s in openat for I/O on loop0, mounted at "
		"/mnt/a.\n"
		"Evidence: 5 requests are in flight there. The device completes nothing. SIGKILL "
		"would end it, though not the cause. loop0 is a loop device over the file "
		"/srv/disk.img, in nfs4 (filer:/export) at /srv: if that is frozen, full or hung, "
		"so is the loop device.\n"
		"Advice: look at the filesystem that holds the backing file first.");
	diagnose(fixture,
		 EVENT("HungTask",
		       "{\"kind\":\"io\",\"longestSeconds\":125.4,\"tasks\":2,\"device\":{"
		       "\"major\":8,\"minor\":0,"
		       "\"name\":\"sda\",\"inFlight\":1,\"suspended\":false,\"completing\":true},"
		       "\"waiters\":[" WAITER(100, "dd", true) "," WAITER(101, "dd", false) "]}"),
		 "BlockedOnIO",
		 "2 tasks have been waiting for up to 2m5s, the longest dd (pid 100) in openat for "
		 "I/O on sda.\n"
		 "Evidence: 1 request is in flight there. The device still completes requests: it "
		 "is overloaded or slow, not dead, and these tasks may go on by themselves.\n"
		 "Advice: see kernel-log.txt for errors and timeouts of the device, and its health "
		 "(smartctl -a, nvme smart-log, the storage system's own log).");
}

static void a_suspended_device_keeps_every_request(void **state)
{
	struct plugin_fixture *fixture = *state;

	fake_file(&fixture->root, "sys/dev/block/253:0/dm/suspended", "1\n");
	fake_file(&fixture->root, "sys/dev/block/253:0/dm/name", "stall\n");
	diagnose(fixture,
		 EVENT("HungTask",
		       "{\"kind\":\"io\",\"longestSeconds\":125.4,\"tasks\":1,\"device\":{"
		       "\"major\":253,\"minor\":0,"
		       "\"name\":\"dm-0\",\"inFlight\":1,\"suspended\":true,\"completing\":false},"
		       "\"waiters\":[" WAITER(100, "dd", true) "]}"),
		 "BlockedOnIO",
		 "dd (pid 100) has been waiting for 2m5s in openat for I/O on dm-0 (device-mapper "
		 "stall).\n"
		 "Evidence: 1 request is in flight there. The device is suspended (dmsetup "
		 "suspend, or an LVM or multipath command that did not finish): it keeps every "
		 "request until it is resumed. SIGKILL would end it, though not the cause.\n"
		 "Advice: dmsetup resume stall, when no LVM or multipath command is running.");
}

static void the_owner_of_a_lock_is_named_with_what_it_does(void **state)
{
	struct plugin_fixture *fixture = *state;

	fake_process(&fixture->root, 55, 1, "writer", 'D', 900, false);
	fake_file(&fixture->root, "proc/55/stack",
		  "[<0>] rpc_wait_bit_killable+0x1d/0x90\n[<0>] nfs_wait+0x1/0x2\n");
	diagnose(fixture,
		 EVENT("HungTask",
		       "{\"kind\":\"lock\",\"longestSeconds\":125.4,\"tasks\":2,\"lock\":{\"kind\":"
		       "\"rwsem-write\","
		       "\"address\":\"0xffff888100000000\",\"owner\":{\"pid\":55,\"tgid\":55,"
		       "\"startTime\":900,\"comm\":\"writer\"}},"
		       "\"waiters\":[" WAITER(100, "dd", false) "," WAITER(101, "dd", false) "]}"),
		 "BlockedOnLock",
		 "2 tasks have been waiting for up to 2m5s, the longest dd (pid 100) in openat for "
		 "a lock of the kernel (rwsem-write at 0xffff888100000000).\n"
		 "Evidence: SIGKILL does not end them: the wait must end first. It is held by "
		 "writer (pid 55), which itself waits in rpc_wait_bit_killable < nfs_wait. The "
		 "others only queue behind it.\n"
		 "Advice: find out what writer (pid 55) is waiting for or doing, and help or end "
		 "that; ending the tasks in the queue frees nothing.");
	diagnose(fixture,
		 EVENT("HungKernelThread", "{\"kind\":\"lock\",\"longestSeconds\":125.4,\"tasks\":"
					   "1,\"kernelThreads\":true,\"lock\":{\"kind\":\"mutex\"},"
					   "\"waiters\":[" WAITER(100, "kworker/0:1", false) "]}"),
		 "BlockedOnLock",
		 "Kernel thread dd (pid 100) has been waiting for 2m5s in openat for a lock of the "
		 "kernel (mutex).\n"
		 "Evidence: SIGKILL does not end it: the wait must end first. The kernel does not "
		 "tell who holds it.\n"
		 "Advice: look for the one task in kernel-stacks.txt or /proc/*/stack that is "
		 "inside the same code and waits for something else; that is the holder.");
}

static void nfs_and_fuse_waits_name_who_does_not_answer(void **state)
{
	struct plugin_fixture *fixture = *state;

	mounts(fixture);
	diagnose(fixture,
		 EVENT("HungTask", "{\"kind\":\"nfs\",\"longestSeconds\":125.4,\"tasks\":1,"
				   "\"filesystem\":{\"major\":0,\"minor\":45,\"type\":\"nfs4\"},"
				   "\"waiters\":[" WAITER(100, "dd", true) "]}"),
		 "BlockedOnNFS",
		 "dd (pid 100) has been waiting for 2m5s in openat for the NFS server of "
		 "filer:/export, mounted at /srv.\n"
		 "Evidence: a hard mount waits for its server for ever. SIGKILL would end it, "
		 "though not the cause.\n"
		 "Advice: bring the server or the way to it back, and the tasks go on where they "
		 "were. To give it up: kill the tasks, then umount -f -l /srv");
	fake_file(&fixture->root, "sys/fs/fuse/connections/50/waiting", "2\n");
	diagnose(fixture,
		 EVENT("HungTask", "{\"kind\":\"fuse\",\"longestSeconds\":125.4,\"tasks\":1,"
				   "\"filesystem\":{\"major\":0,\"minor\":50,\"type\":\"fuse\"},"
				   "\"waiters\":[" WAITER(100, "dd", true) "]}"),
		 "BlockedOnFUSE",
		 "dd (pid 100) has been waiting for 2m5s in openat for the process behind a FUSE "
		 "filesystem (fuse), mounted at /home/u/remote, which does not answer.\n"
		 "Evidence: 2 requests are unanswered. SIGKILL does not end such a wait once the "
		 "request has been read.\n"
		 "Advice: look at the filesystem's own process (is it stopped, hung, waiting for "
		 "its network?). To give it up: echo 1 > /sys/fs/fuse/connections/50/abort ends "
		 "every request with an error.");
}

static void an_unknown_wait_is_left_to_a_person(void **state)
{
	struct plugin_fixture *fixture = *state;

	fixture_call(fixture, PLUGIN_DIAGNOSER, "hung-task",
		     EVENT("HungTask", "{\"kind\":\"unknown\",\"tasks\":1,\"waiters\":[]}"));
	assert_int_equal(fixture->call.plugin->diagnose(&fixture->call), PLUGIN_NOT_MINE);
	assert_null(fixture->abnormal->status.reason);
	fixture_call(fixture, PLUGIN_DIAGNOSER, "hung-task", EVENT("Cleared", "{\"kind\":\"io\"}"));
	assert_int_equal(fixture->call.plugin->diagnose(&fixture->call), PLUGIN_NOT_MINE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLUGIN_TEST(a_forgotten_freeze_is_told_with_its_mount_point),
		PLUGIN_TEST(a_backup_agent_is_named_as_a_possible_freezer),
		PLUGIN_TEST(a_suspended_device_is_resumed_not_thawed),
		PLUGIN_TEST(one_of_several_frozen_filesystems_is_not_guessed),
		PLUGIN_TEST(a_filesystem_mounted_only_in_a_container_is_found),
		PLUGIN_TEST(a_dead_device_is_told_from_a_slow_one),
		PLUGIN_TEST(a_suspended_device_keeps_every_request),
		PLUGIN_TEST(the_owner_of_a_lock_is_named_with_what_it_does),
		PLUGIN_TEST(nfs_and_fuse_waits_name_who_does_not_answer),
		PLUGIN_TEST(an_unknown_wait_is_left_to_a_person),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
