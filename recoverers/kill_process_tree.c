/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recoverer kill-process-tree: kills the processes that hang, with everything below them, where
 * SIGKILL can end their wait. The tree is stopped before it is killed, so that nothing is forked in
 * between; each process is signalled by a pidfd that was checked against its start time. It kills
 * only what hangs at that very moment: the Abnormal is some seconds old, and may have been written
 * by anybody who may use the API. It refuses what SIGKILL cannot end, what the node stands on, what
 * would take another container along, and what it cannot name in full.
 */
#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <signal.h>

#include "plugin/subject.h"
#include "host/container.h"
#include "host/process_set.h"

#define SHOWN_MAX 256 /* in the plan; verification needs those that hang, and they come first */
/* Well below the time of a call: whoever is killed while it stops a tree leaves it stopped. */
#define STOP_NS (2 * NS_PER_S)
#define SECOND_LOOK_NS (200 * NS_PER_MS)

struct settings {
	struct strings processes;
};

static const struct field settings_fields[] = {
	SCHEMA_FIELD(struct settings, processes, "processes", FIELD_STRINGS, .maximum = 256),
};
static const struct schema settings_schema = SCHEMA("kill-process-tree", struct settings,
						    settings_fields, .extra_offset = SCHEMA_STRICT);

/*
 * What carries others, by name or by program; init, kernel threads and this program's own ancestors
 * are told apart by pid.
 */
static const char *const never[] = {
	"systemd", "systemd-*", "(sd-pam)",	 "init",      "dbus-daemon", "dbus-broker*",
	"sshd*",   "login",	"containerd*",	 "dockerd",   "docker-*",    "cri-dockerd",
	"crio",	   "conmon*",	"runc",		 "crun",      "kubelet",     "kube-*",
	"etcd",	   "k3s*",	"rke2*",	 "lifeboat*", "libvirtd",    "virtqemud",
	"qemu-*",  "iscsid",	"multipathd",	 "dmeventd",  "mdmon",	     "rpcbind",
	"rpc.*",   "nfsdcld",	"NetworkManager"};

static bool matches(const char *const *patterns, size_t count, const char *name)
{
	for (size_t i = 0; name && i < count; i++)
		if (fnmatch(patterns[i], name, 0) == 0)
			return true;
	return false;
}

/* The file name of EXE, which may have been replaced on disk while it runs; NULL if not known. */
static const char *program_of(char *exe)
{
	char *deleted = exe ? strstr(exe, " (deleted)") : NULL;
	const char *slash = exe ? strrchr(exe, '/') : NULL;

	if (deleted && !deleted[strlen(" (deleted)")])
		*deleted = '\0';
	return slash ? slash + 1 : exe;
}

/* Says why PROCESS may not be killed, or returns 0. */
static int check_process(const struct plugin_call *call, const struct process *process, bool root)
{
	const struct settings *settings = call->settings;
	_cleanup_free_ char *exe = process_exe(call->host, process->pid);
	const char *program = program_of(exe);

	if (process->pid == 1 || process->kernel_thread)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "%s (pid %" PRId64 ") is %s, which is never killed",
				   process->comm, process->pid,
				   process->pid == 1 ? "init" : "a kernel thread");
	if (subject_is_above_this(call->host, process->pid))
		return plugin_fail(PLUGIN_NOT_MINE,
				   "%s (pid %" PRId64 ") is lifeboat itself or what it runs under",
				   process->comm, process->pid);
	if (matches(never, ARRAY_SIZE(never), process->comm) ||
	    matches(never, ARRAY_SIZE(never), program))
		return plugin_fail(PLUGIN_NOT_MINE,
				   "%s (pid %" PRId64 ") is never killed: too much depends on it",
				   process->comm, process->pid);
	if (!root || !settings || !settings->processes.count)
		return 0;
	if (matches((const char *const *)settings->processes.items, settings->processes.count,
		    process->comm) ||
	    matches((const char *const *)settings->processes.items, settings->processes.count, exe))
		return 0;
	return plugin_fail(
		PLUGIN_NOT_MINE,
		"%s (pid %" PRId64
		") is not in the list `processes` of the settings of recoverer kill-process-tree",
		process->comm, process->pid);
}

static bool is_killable_waiter(const struct subject_thread *waiters, size_t count, int64_t pid)
{
	for (size_t i = 0; i < count; i++)
		if (waiters[i].pid == pid && waiters[i].killable)
			return true;
	return false;
}

static void directory_closep(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

/* A thread of PID in uninterruptible sleep that the Abnormal does not call killable, or 0. */
static int64_t find_stuck_thread(const struct host *host, int64_t pid,
				 const struct subject_thread *waiters, size_t waiter_count)
{
	char path[64];

	snprintf(path, sizeof(path), "%" PRId64 "/task", pid);
	int fd = openat(host->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(directory_closep) DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	if (!directory)
		return 0; /* it has ended */
	for (struct dirent *entry; (entry = readdir(directory));) {
		int64_t tid = strtoll(entry->d_name, NULL, 10);
		struct process thread;

		if (tid > 0 && process_read(host, tid, &thread) == 0 && thread.state == 'D' &&
		    !is_killable_waiter(waiters, waiter_count, tid))
			return tid;
	}
	return 0;
}

/*
 * SIGKILL is only taken by a task that wakes up, so one that does not is neither killed nor called
 * killed.
 */
static int check_stuck(const struct plugin_call *call, const struct process_set *members,
		       const struct subject_thread *waiters, size_t waiter_count)
{
	for (size_t i = 0; i < members->count; i++) {
		int64_t pid = members->items[i].pid;
		int64_t stuck = find_stuck_thread(call->host, pid, waiters, waiter_count);

		if (!stuck)
			continue;
		clock_sleep(
			SECOND_LOOK_NS); /* whoever reads a disk is in that state for an instant */
		if (find_stuck_thread(call->host, pid, waiters, waiter_count) == stuck)
			return plugin_fail(
				PLUGIN_NOT_MINE,
				"task %" PRId64 " of process %" PRId64
				" is in uninterruptible sleep, which SIGKILL does not end",
				stuck, pid);
	}
	return 0;
}

/* Says why one of the waiting tasks may not be killed, or returns 0. */
static int check_waiters(const struct plugin_call *call, const struct subject_thread *waiters,
			 size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct process thread, process;

		if (!waiters[i].killable)
			return plugin_fail(
				PLUGIN_NOT_MINE,
				"%s (pid %" PRId64
				") is in uninterruptible sleep, which SIGKILL does not end",
				waiters[i].comm, waiters[i].pid);
		if (process_read_same(call->host, waiters[i].pid, waiters[i].start_time, &thread) <
			    0 ||
		    process_read(call->host, thread.tgid, &process) < 0)
			continue; /* it has ended */
		int r = check_process(call, &process, true);
		if (r != 0)
			return r;
	}
	return 0;
}

/* The processes of those of the waiting tasks that still hang. */
static int add_roots(const struct plugin_call *call, const struct subject_thread *waiters,
		     size_t count, struct process_set *members)
{
	bool hung[SUBJECT_WAITERS_MAX];

	subject_find_hung(call, waiters, count, hung);
	for (size_t i = 0; i < count; i++) {
		struct process thread, process;

		if (!hung[i] ||
		    process_read_same(call->host, waiters[i].pid, waiters[i].start_time, &thread) <
			    0 ||
		    process_read(call->host, thread.tgid, &process) < 0)
			continue;
		int r = process_set_add(members, process.pid, process.start_time, true);
		if (r < 0)
			return r;
	}
	return members->count
		       ? 0
		       : plugin_fail(PLUGIN_NOT_MINE, "none of the waiting tasks hangs any more");
}

/* The container of a process; false if it is in none. */
static bool container_of(const struct host *host, int64_t pid, struct container *ret_container)
{
	_cleanup_free_ char *path = process_cgroup(host, pid);

	return path && container_from_cgroup(path, ret_container) && ret_container->id[0];
}

/*
 * True if PID is in a container in which nothing hangs: what started it is a runtime, whatever its
 * name, and the container is not ours to end.
 */
static bool is_in_other_container(const struct host *host, const struct process_set *members,
				  int64_t pid)
{
	struct container container, root;

	if (!container_of(host, pid, &container))
		return false;
	for (size_t i = 0; i < members->count; i++)
		if (members->items[i].root && container_of(host, members->items[i].pid, &root) &&
		    streq(root.id, container.id))
			return false;
	return true;
}

static int check_members(const struct plugin_call *call, const struct process_set *members)
{
	for (size_t i = 0; i < members->count; i++) {
		const struct process_set_member *member = &members->items[i];
		struct process process;

		if (process_read_same(call->host, member->pid, member->start_time, &process) < 0)
			continue;
		int r = check_process(call, &process, false);
		if (r != 0)
			return r;
		if (!member->root && is_in_other_container(call->host, members, member->pid))
			return plugin_fail(PLUGIN_NOT_MINE,
					   "%s (pid %" PRId64
					   ") below it belongs to a container in which nothing "
					   "hangs",
					   process.comm, process.pid);
	}
	return 0;
}

/* The first COUNT members, by which they are found again. */
static cJSON *members_json(const struct process_set *members, size_t count)
{
	_cleanup_json_ cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; list && i < MIN(count, (size_t)SHOWN_MAX); i++) {
		cJSON *item = cJSON_CreateObject();

		if (!item || json_set_number(item, "pid", (double)members->items[i].pid) < 0 ||
		    json_set_number(item, "startTime", (double)members->items[i].start_time) < 0) {
			cJSON_Delete(item);
			return NULL;
		}
		cJSON_AddItemToArray(list, item);
	}
	return TAKE_PTR(list);
}

/* The threads that wait, by which it is seen whether they still do. */
static cJSON *waiters_json(const struct subject_thread *waiters, size_t count)
{
	_cleanup_json_ cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; list && i < count; i++) {
		cJSON *item = cJSON_CreateObject();

		if (!item || json_set_number(item, "pid", (double)waiters[i].pid) < 0 ||
		    json_set_number(item, "startTime", (double)waiters[i].start_time) < 0) {
			cJSON_Delete(item);
			return NULL;
		}
		cJSON_AddItemToArray(list, item);
	}
	return TAKE_PTR(list);
}

static int make_plan(struct plugin_call *call, const struct process_set *members,
		     const struct subject_thread *waiters, size_t waiter_count)
{
	_cleanup_json_ cJSON *plan = cJSON_CreateObject();
	struct process first = {.comm = "?"};
	size_t root_count = 0;
	char target[192];

	for (size_t i = 0; i < members->count; i++)
		root_count += members->items[i].root;
	process_read(call->host, members->items[0].pid, &first);
	if (root_count == 1)
		snprintf(target, sizeof(target),
			 "%s (pid %" PRId64 ") and the %zu processes below it", first.comm,
			 members->items[0].pid, members->count - root_count);
	else
		snprintf(target, sizeof(target),
			 "%zu hung processes, %s (pid %" PRId64 ") first, and the %zu below them",
			 root_count, first.comm, members->items[0].pid,
			 members->count - root_count);
	if (!plan || json_set_string(plan, "target", target) < 0 ||
	    json_set(plan, "waiters", waiters_json(waiters, waiter_count)) < 0 ||
	    json_set(plan, "roots", members_json(members, root_count)) < 0 ||
	    json_set(plan, "processes", members_json(members, members->count)) < 0)
		return -ENOMEM;
	return plugin_answer(call, TAKE_PTR(plan));
}

static int plan(struct plugin_call *call)
{
	_cleanup_free_ struct process_set *members = calloc(1, sizeof(*members));
	struct subject_thread waiters[SUBJECT_WAITERS_MAX];
	size_t count = subject_waiters(call, waiters);
	const char *reason = call->abnormal->status.reason;

	if (!members)
		return -ENOMEM;
	/*
	 * A frozen filesystem wants thawing, and FUSE takes SIGKILL for a request to wait on
	 * (fs/fuse/dev.c).
	 */
	if (!streq_ptr(reason, "BlockedOnNFS") && !streq_ptr(reason, "BlockedOnLock") &&
	    !streq_ptr(reason, "BlockedOnIO"))
		return PLUGIN_NOT_MINE;
	if (count == 0 || json_number(plugin_details(call), "tasks", (double)count) > (double)count)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "more tasks hang than the Abnormal names: that is for a person");
	int r = check_waiters(call, waiters, count);
	if (r == 0)
		r = add_roots(call, waiters, count, members);
	if (r != 0)
		return r;
	r = process_set_add_descendants(call->host, members);
	if (r < 0)
		return plugin_fail(r, "cannot list the processes below: %s", strerror(-r));
	r = check_members(call, members);
	if (r == 0)
		r = check_stuck(call, members, waiters, count);
	return r != 0 ? r : make_plan(call, members, waiters, count);
}

/* Those of the planned roots that have a planned thread which still hangs. */
static int add_planned_roots(const struct plugin_call *call, const cJSON *plan,
			     struct process_set *members)
{
	struct subject_thread threads[SUBJECT_WAITERS_MAX] = {0};
	bool hung[SUBJECT_WAITERS_MAX];
	const cJSON *item;
	size_t count = 0;
	int r = 0;

	cJSON_ArrayForEach (item, json_at(plan, "waiters"))
		if (count < SUBJECT_WAITERS_MAX)
			threads[count++] = (struct subject_thread){
				.pid = (int64_t)json_u64(item, "pid"),
				.start_time = json_u64(item, "startTime"),
			};
	subject_find_hung(call, threads, count, hung);
	for (size_t i = 0; i < count && r == 0; i++) {
		struct process thread, process;

		if (!hung[i] ||
		    process_read_same(call->host, threads[i].pid, threads[i].start_time, &thread) <
			    0 ||
		    process_read(call->host, thread.tgid, &process) < 0)
			continue;
		cJSON_ArrayForEach (item, json_at(plan, "roots")) {
			if (process.pid != (int64_t)json_u64(item, "pid") ||
			    process.start_time != json_u64(item, "startTime"))
				continue;
			r = check_process(call, &process, true);
			if (r == 0)
				r = process_set_add(members, process.pid, process.start_time, true);
			break;
		}
	}
	return r;
}

static int recover(struct plugin_call *call)
{
	_cleanup_free_ struct process_set *members = calloc(1, sizeof(*members));
	cJSON *plan = plugin_context(call);
	int64_t failed = 0;
	size_t killed;

	if (!members || !plan)
		return -ENOMEM;
	int r = add_planned_roots(call, plan, members);
	if (r != 0)
		return r;
	if (members->count == 0) {
		r = subject_report(call, "none of the hung processes hangs any more; nothing was "
					 "killed");
		return r < 0 ? r : PLUGIN_RECOGNISED;
	}
	r = process_set_stop(call->host, call->clock, STOP_NS, members);
	if (r >= 0)
		r = check_members(call, members); /* of those forked since the plan */
	if (r != 0) {
		process_set_resume(call->host, members);
		return r < 0 ? plugin_fail(r, "cannot stop the processes: %s; none was killed",
					   strerror(-r))
			     : r;
	}
	r = process_set_kill(call->host, members, &killed, &failed);
	if (r < 0)
		return plugin_fail(r, "cannot kill process %" PRId64 ": %s", failed, strerror(-r));
	if (json_set(plan, "processes", members_json(members, members->count)) < 0)
		return -ENOMEM;
	r = subject_report(call, "sent SIGKILL to %zu process%s", killed, killed == 1 ? "" : "es");
	return r < 0 ? r : PLUGIN_RECOGNISED;
}

static int verify(struct plugin_call *call)
{
	const cJSON *list = json_at(plugin_context_of(call, call->plugin->name), "processes"),
		    *item;
	int all = cJSON_GetArraySize(list), left = 0;
	int64_t example = 0;

	if (all == 0)
		return plugin_fail(-EINVAL,
				   "status.context.%s.processes is missing: there is no plan",
				   call->plugin->name);
	cJSON_ArrayForEach (item, list) {
		struct process process;
		int64_t pid = (int64_t)json_u64(item, "pid");

		/* A zombie is ended; it waits for its parent alone. */
		if (process_read_same(call->host, pid, json_u64(item, "startTime"), &process) < 0 ||
		    process.state == 'Z' || process.state == 'X')
			continue;
		left++;
		example = pid;
	}
	if (left)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "%d of %d processes are still there (pid %" PRId64 ")", left,
				   all, example);
	int r = all == 1 ? subject_report(call, "the process has ended")
			 : subject_report(call, "all %d processes have ended", all);
	return r < 0 ? r : PLUGIN_RECOGNISED;
}

static const char *const detectors[] = {"hung_task", NULL};

PLUGIN(kill_process_tree_recoverer) = {
	.name = "kill-process-tree",
	.summary = "kills hung processes with all below them, where SIGKILL can end their wait",
	.kind = PLUGIN_RECOVERER,
	.order = 40,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.detectors = detectors,
	.disturbs = DISTURBS_PROCESS,
	.off_by_default = true,
	.idempotent = true, /* (pid, start time) are gone for good once killed */
	.settings = &settings_schema,
	.plan = plan,
	.recover = recover,
	.verify = verify,
};
