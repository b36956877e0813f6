/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stuck tasks by /proc alone, for kernels where the iterator cannot be had: states, context
 * switches and the function slept in (wchan). Not /proc/PID/stack, syscall or io: these take the
 * task's exec_update_lock, which may be what a hung task holds.
 */
#include "detect/hung_task.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>

#include "base/file.h"

#define WAITS_MAX 8192
#define BUCKETS 1024 /* a power of two */
#define CAP_WARNING_INTERVAL_NS (600 * NS_PER_S)
#define STAT_BYTES_MAX (4 * KIB)
#define STATUS_BYTES_MAX (64 * KIB)
#define PF_KTHREAD UINT64_C(0x00200000) /* include/linux/sched.h */
#define TASK_UNINTERRUPTIBLE 2

struct proc_wait {
	struct proc_wait *next;
	uint32_t pid;
	uint64_t start_ticks, since_ns, switches, look;
	char function[64];
};

struct proc_look {
	const struct host *host;
	bool kernel_threads;
	uint64_t tick_ns, look;
	struct proc_wait *buckets[BUCKETS];
	size_t count;
	uint64_t over_cap;
	struct log_limit cap_limit;
};

struct proc_look *proc_look_new(const struct host *host, bool kernel_threads, uint64_t tick_ns)
{
	struct proc_look *look = calloc(1, sizeof(*look));

	if (look)
		*look = (struct proc_look){
			.host = host, .kernel_threads = kernel_threads, .tick_ns = tick_ns};
	return look;
}

void proc_look_free(struct proc_look *look)
{
	if (!look)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct proc_wait *wait = look->buckets[i], *next; wait; wait = next) {
			next = wait->next;
			free(wait);
		}
	free(look);
}

static void directory_closep(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

static DIR *open_directory(int parent, const char *path)
{
	int fd = openat(parent, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);

	if (!directory && fd >= 0)
		close(fd);
	return directory;
}

struct stat_line {
	char state;
	char comm[EVENT_COMM_SIZE];
	uint64_t parent, flags, start_ticks;
};

/* proc_pid_stat(5). The name may hold anything, brackets too: the last one ends it. */
static bool parse_stat(const char *text, struct stat_line *ret_line)
{
	const char *open = strchr(text, '('), *close = strrchr(text, ')');
	struct stat_line line = {0};

	if (!open || !close || close < open || close[1] != ' ' || !close[2])
		return false;
	snprintf(line.comm, sizeof(line.comm), "%.*s",
		 (int)MIN(close - open - 1, EVENT_COMM_SIZE - 1), open + 1);
	line.state = close[2];
	const char *next = close + 3;
	for (int field = 4; field <= 22; field++) {
		char *end;
		uint64_t number = strtoull(next, &end, 10);

		if (end == next)
			return false;
		if (field == 4)
			line.parent = number;
		if (field == 9)
			line.flags = number;
		if (field == 22)
			line.start_ticks = number;
		next = end;
	}
	*ret_line = line;
	return true;
}

static uint64_t status_number(const char *text, const char *key)
{
	const char *found = strstr(text, key);

	return found ? strtoull(found + strlen(key), NULL, 10) : 0;
}

static struct proc_wait *wait_obtain(struct proc_look *look, uint32_t pid)
{
	struct proc_wait **bucket = &look->buckets[pid & (BUCKETS - 1)];

	for (struct proc_wait *wait = *bucket; wait; wait = wait->next)
		if (wait->pid == pid)
			return wait;
	struct proc_wait *wait = look->count < WAITS_MAX ? calloc(1, sizeof(*wait)) : NULL;
	if (!wait) {
		look->over_cap++;
		return NULL;
	}
	wait->pid = pid;
	wait->next = *bucket;
	*bucket = wait;
	look->count++;
	return wait;
}

/*
 * The same wait as at the last look, or one that only the kernel's tick went through (see
 * hung_task.bpf.c).
 */
static bool is_same_wait(const struct proc_look *look, const struct proc_wait *wait,
			 uint64_t start_ticks, uint64_t switches, const char *function,
			 uint64_t now_ns)
{
	if (wait->look != look->look - 1 || wait->start_ticks != start_ticks ||
	    !streq(wait->function, function))
		return false;
	if (wait->switches == switches)
		return true;
	return look->tick_ns && wait_is_ticking(function) &&
	       switches - wait->switches <= (now_ns - wait->since_ns) / look->tick_ns + 1;
}

static void report(struct groups *groups, const struct proc_wait *wait,
		   const struct stat_line *line, const char *status)
{
	struct blocked_task_event event = {
		.header = {.type = EVENT_BLOCKED_TASK,
			   .version = EVENTS_VERSION,
			   .size = sizeof(event)},
		.task = {.pid = wait->pid,
			 .tgid = (uint32_t)status_number(status, "\nTgid:"),
			 .start_boot_ns =
				 line->start_ticks * (NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK)),
			 .uid = (uint32_t)status_number(status, "\nUid:"),
			 .parent_tgid = (uint32_t)line->parent},
		.since_boot_ns = wait->since_ns,
		.state = TASK_UNINTERRUPTIBLE,
		.flags = BLOCKED_DETAILED | (line->flags & PF_KTHREAD ? BLOCKED_KERNEL_THREAD : 0),
		.syscall = -1,
		.fd = -1,
	};

	memcpy(event.task.comm, line->comm, sizeof(event.task.comm));
	groups_see_task(groups, &event, wait->function);
}

/* Returns 1 if the thread was in the same wait before, 0 if not; it may be gone at any time. */
static int look_at(struct proc_look *look, struct groups *groups, int task, const char *thread,
		   uint64_t threshold_ns, uint64_t now_ns)
{
	_cleanup_free_ char *stat = NULL, *status = NULL, *wchan = NULL;
	char path[NAME_MAX + 16];
	struct stat_line line;

	snprintf(path, sizeof(path), "%s/stat", thread);
	if (file_read(task, path, STAT_BYTES_MAX, &stat, NULL) < 0 || !parse_stat(stat, &line) ||
	    line.state != 'D' || (line.flags & PF_KTHREAD && !look->kernel_threads))
		return 0;
	snprintf(path, sizeof(path), "%s/status", thread);
	if (file_read(task, path, STATUS_BYTES_MAX, &status, NULL) < 0)
		return 0;
	snprintf(path, sizeof(path), "%s/wchan", thread);
	if (file_read(task, path, 256, &wchan, NULL) < 0)
		return 0;
	/* "0": awake by now, or hidden; "…voluntary_ctxt_switches" is found by its line's start. */
	const char *function = streq(wchan, "0") ? "" : wchan;
	uint64_t switches = status_number(status, "\nvoluntary_ctxt_switches:") +
			    status_number(status, "\nnonvoluntary_ctxt_switches:");
	struct proc_wait *wait = wait_obtain(look, (uint32_t)strtoul(thread, NULL, 10));
	if (!wait)
		return 0;
	if (!is_same_wait(look, wait, line.start_ticks, switches, function, now_ns)) {
		wait->start_ticks = line.start_ticks;
		wait->since_ns = now_ns;
		wait->switches = switches;
		snprintf(wait->function, sizeof(wait->function), "%.63s", function);
	}
	wait->look = look->look;
	if (now_ns - wait->since_ns >= threshold_ns)
		report(groups, wait, &line, status);
	return wait->since_ns != now_ns;
}

static void sweep(struct proc_look *look)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct proc_wait **place = &look->buckets[i], *wait; (wait = *place);) {
			if (wait->look == look->look) {
				place = &wait->next;
				continue;
			}
			*place = wait->next;
			free(wait);
			look->count--;
		}
}

ssize_t proc_look_run(struct proc_look *look, struct groups *groups, uint64_t threshold_ns,
		      uint64_t now_ns)
{
	_cleanup_(directory_closep) DIR *proc = open_directory(look->host->proc, ".");
	const struct dirent *process, *thread;
	ssize_t waiting = 0;

	if (!proc)
		return -errno;
	look->look++;
	while ((process = readdir(proc))) {
		char path[NAME_MAX + 8];

		if (process->d_name[0] < '1' || process->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "%s/task", process->d_name);
		_cleanup_(directory_closep) DIR *task = open_directory(look->host->proc, path);
		while (task && (thread = readdir(task)))
			if (thread->d_name[0] != '.')
				waiting += look_at(look, groups, dirfd(task), thread->d_name,
						   threshold_ns, now_ns);
	}
	sweep(look);
	uint32_t suppressed;
	if (look->over_cap &&
	    log_limit_pass(&look->cap_limit, 1, CAP_WARNING_INTERVAL_NS, &suppressed))
		log_warning("looking for hung tasks: over %d tasks wait at once; the others are "
			    "not timed (left out %llu times so far)",
			    WAITS_MAX, (unsigned long long)look->over_cap);
	return waiting;
}
