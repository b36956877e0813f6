/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks at shims by /proc alone, for kernels where the iterator cannot be had; and the threads of
 * a stopped shim, which both rungs read here.
 */
#include "detect/shim_stall.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>

#include "base/file.h"

#define THREADS_MAX 4096
#define STAT_BYTES_MAX (4 * KIB)
#define STATUS_BYTES_MAX (64 * KIB)
#define PF_EXITING UINT64_C(0x00000004) /* include/linux/sched.h, shown in stat field 9 */
#define SIGKILL_MASK (UINT64_C(1) << 8)

static void directory_closep(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

static bool is_stopped(char state)
{
	return state == 'T' || state == 't';
}

void seen_shim_read_threads(const struct host *host, struct seen_shim *shim)
{
	_cleanup_(directory_closep) DIR *directory = NULL;
	char path[64];
	size_t count = 0;

	shim->stopped = false;
	shim->switches = 0;
	snprintf(path, sizeof(path), "%" PRIu32 "/task", shim->task.tgid);
	_cleanup_close_ int fd = openat(host->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	directory = fd < 0 ? NULL : fdopendir(fd);
	if (!directory)
		return;
	TAKE_FD(fd);
	for (const struct dirent *entry; (entry = readdir(directory)) && count < THREADS_MAX;) {
		int64_t pid = strtoll(entry->d_name, NULL, 10);
		struct process thread;

		if (pid <= 0 || process_read(host, pid, &thread) < 0)
			continue; /* it has ended since the folder was read */
		if (thread.tgid != shim->task.tgid || !is_stopped(thread.state))
			return;
		shim->switches += thread.switches;
		count++;
	}
	shim->stopped = count > 0;
}

/* --- The rung --- */

/* The value of "KEY:\tNUMBER" in BASE. */
static uint64_t status_number(const char *text, const char *key, int base)
{
	const char *line = strstr(text, key);

	return line ? strtoull(line + strlen(key), NULL, base) : 0;
}

static char *read_file(const struct host *host, int64_t pid, const char *name, size_t maximum)
{
	char path[64], *text;

	snprintf(path, sizeof(path), "%" PRId64 "/%s", pid, name);
	return file_read(host->proc, path, maximum, &text, NULL) < 0 ? NULL : text;
}

static bool is_exiting(const struct host *host, int64_t pid)
{
	_cleanup_free_ char *text = read_file(host, pid, "stat", STAT_BYTES_MAX);
	const char *after = text ? strrchr(text, ')') : NULL;
	unsigned long long flags;

	return after && sscanf(after, ") %*c %*d %*d %*d %*d %*d %llu", &flags) == 1 &&
	       flags & PF_EXITING;
}

/* Killed, or exiting by itself; not at work on a core dump, and not its first thread alone. */
static bool is_dying(const struct host *host, const struct process *process)
{
	int64_t pid = process->pid;
	_cleanup_free_ char *status = read_file(host, pid, "status", STATUS_BYTES_MAX);

	if (status && status_number(status, "\nCoreDumping:", 10))
		return false;
	if (status && (status_number(status, "\nSigPnd:", 16) & SIGKILL_MASK ||
		       status_number(status, "\nShdPnd:", 16) & SIGKILL_MASK))
		return true;
	return process->threads <= 1 && is_exiting(host, pid);
}

static uint64_t start_boot_ns(const struct process *process)
{
	return process->start_time * (NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK));
}

static bool is_zombie(const struct process *process)
{
	/* The first thread stays a zombie, that cannot be reaped, for as long as others live. */
	return process->state == 'Z' && process->threads <= 1;
}

/* Patterns are of a program's name; a comm may be the first 15 bytes of it. */
static bool is_shim(const struct process *process, const char *const *patterns, size_t count)
{
	if (process->kernel_thread || process->state == 'Z' || process->state == 'X')
		return false;
	for (size_t i = 0; i < count; i++) {
		char start[EVENT_COMM_SIZE];
		size_t literal = strcspn(patterns[i], "*?[\\");

		if (literal >= EVENT_COMM_SIZE - 1) {
			snprintf(start, sizeof(start), "%s", patterns[i]);
			if (streq(start, process->comm))
				return true;
		} else if (fnmatch(patterns[i], process->comm, 0) == 0 ||
			   (strlen(process->comm) == EVENT_COMM_SIZE - 1 &&
			    strncmp(patterns[i], process->comm, literal) == 0)) {
			return true;
		}
	}
	return false;
}

static int add_shim(const struct host *host, const struct process *process, struct shim_look *look)
{
	_cleanup_free_ char *status = read_file(host, process->pid, "status", STATUS_BYTES_MAX);
	struct process tracer;
	struct seen_shim shim = {
		.task = {.pid = (uint32_t)process->pid,
			 .tgid = (uint32_t)process->pid,
			 .start_boot_ns = start_boot_ns(process),
			 .uid = (uint32_t)process->uid,
			 .parent_tgid = (uint32_t)process->ppid},
		.tracer_pid = status ? status_number(status, "\nTracerPid:", 10) : 0,
	};

	snprintf(shim.task.comm, sizeof(shim.task.comm), "%.15s", process->comm);
	if (shim.tracer_pid && process_read(host, (int64_t)shim.tracer_pid, &tracer) == 0)
		snprintf(shim.tracer_comm, sizeof(shim.tracer_comm), "%.15s", tracer.comm);
	if (is_stopped(process->state))
		seen_shim_read_threads(host, &shim);
	return shim_look_add_shim(look, &shim);
}

static struct seen_task seen_of(const struct process *process, const struct process *shim)
{
	struct seen_task task = {
		.start_boot_ns = start_boot_ns(process),
		.pid = (uint32_t)process->pid,
		.shim_start_boot_ns = shim ? start_boot_ns(shim) : 0,
		.shim_pid = shim ? (uint32_t)shim->pid : 0,
		.state = process->state,
		.flags = is_zombie(process) ? SHIM_TASK_ZOMBIE : 0,
	};

	snprintf(task.comm, sizeof(task.comm), "%.15s", process->comm);
	return task;
}

/* The namespace's inode number, or 0. */
static uint32_t namespace_of(const struct host *host, int64_t pid)
{
	uint64_t namespace;

	return process_pid_namespace(host, pid, &namespace) < 0 ? 0 : (uint32_t) namespace;
}

/* Whoever else is in the namespace of an init that is dying: only then it is asked. */
static int add_holders(const struct host *host, const struct process *processes, size_t count,
		       struct shim_look *look)
{
	size_t task_count = look->task_count;

	for (size_t i = 0; i < count; i++) {
		uint32_t namespace = namespace_of(host, processes[i].pid);

		if (!namespace)
			continue;
		for (size_t j = 0; j < task_count; j++) {
			struct seen_task *init = &look->tasks[j];

			if (!(init->flags & SHIM_TASK_DYING_INIT) ||
			    init->pid_namespace != namespace || init->pid == processes[i].pid)
				continue;
			struct seen_task holder = seen_of(&processes[i], NULL);
			init->remaining += (uint32_t)processes[i].threads;
			holder.flags |= SHIM_TASK_HOLDER;
			holder.pid_namespace = namespace;
			/* One that is the shim's child is there already. */
			bool known = false;
			for (size_t k = 0; k < task_count; k++)
				if (look->tasks[k].pid == holder.pid) {
					look->tasks[k].flags |= SHIM_TASK_HOLDER;
					look->tasks[k].pid_namespace = namespace;
					known = true;
				}
			if (!known && shim_look_add_task(look, &holder) < 0)
				return -ENOMEM;
			break;
		}
	}
	return 0;
}

static int compare_pids(const void *a, const void *b)
{
	const struct process *left = a, *right = b;

	return (left->pid > right->pid) - (left->pid < right->pid);
}

/* They come by pid. */
static void leave_out(struct shim_look *look, const struct process *process)
{
	if (!look->left_out_from)
		look->left_out_from = (uint32_t)process->pid;
}

static int look_at_shims(const struct host *host, const struct process *processes, size_t count,
			 const char *const *patterns, size_t pattern_count, struct shim_look *look)
{
	bool dying = false;

	for (size_t i = 0; i < count; i++) {
		const struct process key = {.pid = processes[i].ppid};
		const struct process *parent =
			bsearch(&key, processes, count, sizeof(*processes), compare_pids);
		int r = 0;

		if (is_shim(&processes[i], patterns, pattern_count)) {
			if (look->shim_count < SHIM_RECORDS_MAX)
				r = add_shim(host, &processes[i], look);
			else
				leave_out(look, &processes[i]);
		}
		if (r < 0)
			return r;
		if (!parent || !is_shim(parent, patterns, pattern_count))
			continue;
		if (look->task_count >= SHIM_TASK_RECORDS_MAX) {
			leave_out(look, &processes[i]);
			continue;
		}
		struct seen_task task = seen_of(&processes[i], parent);
		if (processes[i].namespace_init && !is_zombie(&processes[i]) &&
		    is_dying(host, &processes[i])) {
			task.flags |= SHIM_TASK_DYING_INIT;
			task.pid_namespace = namespace_of(host, processes[i].pid);
			dying = true;
		}
		r = shim_look_add_task(look, &task);
		if (r < 0)
			return r;
	}
	return dying ? add_holders(host, processes, count, look) : 0;
}

int shim_look_read_proc(const struct host *host, const char *const *patterns, size_t count,
			struct shim_look *look)
{
	int r = process_list(host, &look->processes, &look->process_count);

	if (r < 0 || !look->process_count)
		return r;
	qsort(look->processes, look->process_count, sizeof(*look->processes), compare_pids);
	return look_at_shims(host, look->processes, look->process_count, patterns, count, look);
}
