/* SPDX-License-Identifier: Apache-2.0 */
/* Processes, as /proc tells of them. */
#include "host/process.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <sys/pidfd.h>
#include <sys/vfs.h>

#include "base/file.h"
#include "base/plain.h"

#define STAT_BYTES_MAX (4 * KIB)
#define STATUS_BYTES_MAX (64 * KIB) /* Cpus_allowed and Mems_allowed grow with the machine */
#define CGROUP_BYTES_MAX (64 * KIB)
#define PROCESSES_MAX ((size_t)1 << 22) /* PID_MAX_LIMIT of 64-bit kernels */

#define PF_KTHREAD UINT64_C(0x00200000) /* include/linux/sched.h, shown in stat field 9 */

/* A file of /proc/PID; a process that is gone is -ESRCH however the kernel says it. */
static int read_process_file(const struct host *host, int64_t pid, const char *name, size_t maximum,
			     char **ret_text)
{
	char path[64];

	if (pid <= 0)
		return -ESRCH;
	snprintf(path, sizeof(path), "%" PRId64 "/%s", pid, name);
	int r = file_read(host->proc, path, maximum, ret_text, NULL);

	return r == -ENOENT ? -ESRCH : r;
}

/*
 * Fields of proc_pid_stat(5) from the third on. The name before them may hold any character, a
 * closing bracket too, so the last one ends it.
 */
static int parse_stat(const char *text, struct process *process)
{
	const char *open = strchr(text, '('), *close = strrchr(text, ')');
	unsigned long long numbers[25] = {0};

	if (!open || !close || close < open || close[1] != ' ' || !close[2])
		return -EINVAL;
	plain_copy(process->comm, open + 1,
		   MIN((size_t)(close - open - 1), sizeof(process->comm) - 1));
	process->state = close[2];
	if (!isalpha((unsigned char)process->state))
		return -EINVAL;
	const char *next = close + 3;
	for (int field = 4; field <= 24; field++) {
		char *end;

		numbers[field] =
			strtoull(next, &end, 10); /* negative ones wrap and are cast back */
		if (end == next)
			return -EINVAL;
		next = end;
	}
	process->ppid = (int64_t)numbers[4];
	process->kernel_thread = numbers[9] & PF_KTHREAD;
	process->threads = (int64_t)numbers[20];
	process->start_time = numbers[22];
	process->rss_bytes = numbers[24] * (uint64_t)sysconf(_SC_PAGESIZE);
	return 0;
}

/* The first number after "KEY:" at the start of a line. */
static int status_number(const char *text, const char *key, int64_t *ret_value)
{
	for (const char *line = text; line; line = strchr(line, '\n')) {
		if (*line == '\n')
			line++;
		const char *value = startswith(line, key);
		char *end;

		if (!value)
			continue;
		long long number = strtoll(value, &end, 10);
		if (end == value)
			return -EINVAL;
		*ret_value = number;
		return 0;
	}
	return -EINVAL;
}

/* "NSpid:	4711	17	1": the pid in each pid namespace from the reader's to the innermost. */
static bool is_namespace_init(const char *text)
{
	const char *line = strstr(text, "\nNSpid:");
	long long pid = 0;
	unsigned levels = 0;

	if (!line)
		return false;
	for (const char *next = line + strlen("\nNSpid:"); *next && *next != '\n'; levels++) {
		char *end;

		next += strspn(next, " \t");
		pid = strtoll(next, &end, 10);
		if (end == next)
			break;
		next = end;
	}
	return levels > 1 && pid == 1;
}

static uint64_t read_switches(const char *status)
{
	int64_t voluntary = 0, forced = 0;

	status_number(status, "voluntary_ctxt_switches:", &voluntary);
	status_number(status, "nonvoluntary_ctxt_switches:", &forced);
	return (uint64_t)voluntary + (uint64_t)forced;
}

int process_read(const struct host *host, int64_t pid, struct process *ret_process)
{
	_cleanup_free_ char *stat = NULL, *status = NULL;
	struct process process = {.pid = pid};
	int r = read_process_file(host, pid, "stat", STAT_BYTES_MAX, &stat);

	if (r == 0)
		r = parse_stat(stat, &process);
	if (r == 0)
		r = read_process_file(host, pid, "status", STATUS_BYTES_MAX, &status);
	if (r == 0)
		r = status_number(status, "Tgid:", &process.tgid);
	if (r == 0)
		r = status_number(status, "Uid:", &process.uid);
	if (r < 0)
		return r;
	process.namespace_init = is_namespace_init(status);
	process.switches = read_switches(status);
	*ret_process = process;
	return 0;
}

int process_read_same(const struct host *host, int64_t pid, uint64_t start_time,
		      struct process *ret_process)
{
	struct process process;
	int r = process_read(host, pid, &process);

	if (r < 0)
		return r;
	if (process.start_time != start_time)
		return -ESRCH;
	*ret_process = process;
	return 0;
}

/*
 * True if a pid that HOST's /proc shows is the same pid to system calls. It is not in a container
 * that looks at the node's /proc from a pid namespace of its own; and a file tree of a test, which
 * is no procfs, has no namespace.
 */
static bool shows_our_pids(const struct host *host)
{
	struct statfs filesystem;
	char own[32], target[32];

	if (fstatfs(host->proc, &filesystem) < 0 || filesystem.f_type != PROC_SUPER_MAGIC)
		return true;
	ssize_t length = readlinkat(host->proc, "self", target, sizeof(target) - 1);
	if (length < 0) /* we do not exist in there */
		return false;
	target[length] = '\0';
	snprintf(own, sizeof(own), "%d", (int)getpid());
	return streq(own, target);
}

int process_open(const struct host *host, int64_t pid, uint64_t start_time)
{
	struct process process;

	if (pid <= 0 || pid > INT_MAX)
		return -ESRCH;
	if (!shows_our_pids(host))
		return -EXDEV;
	_cleanup_close_ int fd = pidfd_open((pid_t)pid, 0);
	if (fd < 0)
		return -errno;
	/*
	 * In this order: the descriptor holds the pid, so the start time read now is of its
	 * process.
	 */
	int r = process_read_same(host, pid, start_time, &process);
	if (r < 0)
		return r;
	return TAKE_FD(fd);
}

static int64_t parse_pid(const char *name)
{
	char *end;

	if (*name < '1' || *name > '9')
		return 0;
	errno = 0;
	long long pid = strtoll(name, &end, 10);
	return errno || *end ? 0 : pid;
}

static void directory_closep(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

int process_list(const struct host *host, struct process **ret_processes, size_t *ret_count)
{
	_cleanup_(directory_closep) DIR *directory = NULL;
	_cleanup_free_ struct process *processes = NULL;
	size_t count = 0, capacity = 0;
	/* Opened anew: a duplicate would share its position with other readers of host->proc. */
	_cleanup_close_ int fd = openat(host->proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	directory = fdopendir(fd);
	if (!directory)
		return -errno;
	TAKE_FD(fd);
	for (struct dirent *entry; (entry = readdir(directory));) {
		int64_t pid = parse_pid(entry->d_name);
		struct process process;

		if (!pid || process_read(host, pid, &process) < 0)
			continue; /* it has ended since the folder was read */
		if (count == capacity) {
			if (capacity >= PROCESSES_MAX)
				return -E2BIG;
			capacity = capacity ? capacity * 2 : 256;
			struct process *grown = reallocarray(processes, capacity, sizeof(*grown));
			if (!grown)
				return -ENOMEM;
			processes = grown;
		}
		processes[count++] = process;
	}
	*ret_processes = TAKE_PTR(processes);
	*ret_count = count;
	return 0;
}

int process_tree(const struct host *host, int64_t pid, struct process **ret_processes,
		 size_t *ret_count)
{
	_cleanup_free_ struct process *all = NULL, *tree = NULL;
	size_t all_count, count = 0;
	int r = process_list(host, &all, &all_count);

	if (r < 0)
		return r;
	tree = reallocarray(NULL, all_count + 1, sizeof(*tree));
	if (!tree)
		return -ENOMEM;
	for (size_t i = 0; i < all_count && count == 0; i++)
		if (all[i].pid == pid)
			tree[count++] = all[i];
	if (count == 0)
		return -ESRCH;
	/*
	 * A pid has one parent, so none is found twice; the root is kept from being its own child.
	 */
	for (size_t next = 0; next < count; next++)
		for (size_t i = 0; i < all_count && count < all_count; i++)
			if (all[i].ppid == tree[next].pid && all[i].pid != pid)
				tree[count++] = all[i];
	*ret_processes = TAKE_PTR(tree);
	*ret_count = count;
	return 0;
}

int process_pid_namespace(const struct host *host, int64_t pid, uint64_t *ret_namespace)
{
	char path[64], target[64];

	snprintf(path, sizeof(path), "%" PRId64 "/ns/pid", pid);
	ssize_t length = readlinkat(host->proc, path, target, sizeof(target) - 1);
	if (length < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	target[length] = '\0';
	return sscanf(target, "pid:[%" SCNu64 "]", ret_namespace) == 1 ? 0 : -EINVAL;
}

char *process_exe(const struct host *host, int64_t pid)
{
	char path[64], target[PATH_MAX];

	snprintf(path, sizeof(path), "%" PRId64 "/exe", pid);
	ssize_t length = readlinkat(host->proc, path, target, sizeof(target) - 1);
	if (length < 0)
		return NULL;
	target[length] = '\0';
	return strdup(target);
}

/* True if the comma-separated LIST of LENGTH bytes holds WORD. */
static bool list_has_word(const char *list, size_t length, const char *word)
{
	size_t word_length = strlen(word);
	const char *end = list + length;

	while (list < end) {
		const char *comma = memchr(list, ',', (size_t)(end - list));
		size_t item = (size_t)((comma ? comma : end) - list);

		if (item == word_length && memcmp(list, word, item) == 0)
			return true;
		list += item + 1;
	}
	return false;
}

char *process_cgroup(const struct host *host, int64_t pid)
{
	_cleanup_free_ char *text = NULL, *unified = NULL;
	char *next;

	if (read_process_file(host, pid, "cgroup", CGROUP_BYTES_MAX, &text) < 0)
		return NULL;
	/* Lines of ID:CONTROLLERS:PATH; the unified hierarchy's is 0::PATH (cgroups(7)). */
	for (char *line = text; *line; line = next) {
		char *end = strchrnul(line, '\n');

		next = *end ? end + 1 : end;
		*end = '\0';
		char *controllers = strchr(line, ':');
		char *path = controllers ? strchr(controllers + 1, ':') : NULL;
		if (!path || path[1] != '/')
			continue;
		controllers++;
		/* The cgroup was removed while its zombie remains. */
		if (endswith(path, " (deleted)"))
			path[strlen(path) - strlen(" (deleted)")] = '\0';
		if (list_has_word(controllers, (size_t)(path - controllers), "memory"))
			return strdup(path + 1);
		if (path == controllers && !unified) {
			unified = strdup(path + 1);
			if (!unified)
				return NULL;
		}
	}
	return TAKE_PTR(unified);
}

cJSON *process_json(const struct process *process)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	const char state[2] = {process->state, '\0'};

	if (!json || json_set_number(json, "pid", (double)process->pid) < 0 ||
	    json_set_number(json, "tgid", (double)process->tgid) < 0 ||
	    json_set_number(json, "ppid", (double)process->ppid) < 0 ||
	    json_set_number(json, "startTime", (double)process->start_time) < 0 ||
	    json_set_string(json, "comm", process->comm) < 0 ||
	    json_set_string(json, "state", state) < 0 ||
	    json_set_number(json, "uid", (double)process->uid) < 0 ||
	    json_set_number(json, "threads", (double)process->threads) < 0 ||
	    json_set_number(json, "rssBytes", (double)process->rss_bytes) < 0)
		return NULL;
	if (process->kernel_thread && json_set_bool(json, "kernelThread", true) < 0)
		return NULL;
	return TAKE_PTR(json);
}
