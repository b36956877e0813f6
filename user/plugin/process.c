/* SPDX-License-Identifier: Apache-2.0 */
/* What the plug-in's process gives up before the plug-in runs in it. */
#include "plugin/process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/file.h"
#include "plugin/artifacts.h"
#include "plugin/run.h"
#include "plugin/registry.h"
#include "plugin/script_trust.h"

#define EXIT_CANNOT_RUN 126 /* as shells say it */
#define OPEN_FILES_MAX 1024 /* select(2) in a plug-in breaks over it */

_noreturn_ static void cannot(const char *what, int error)
{
	plugin_fail(-error, "cannot %s: %s", what, strerror(error));
	_exit(EXIT_CANNOT_RUN);
}

static void signals_reset(void)
{
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL); /* fails for SIGKILL and SIGSTOP, which nobody changed */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void limit(int resource, rlim_t value)
{
	struct rlimit now;

	if (getrlimit(resource, &now) == 0) {
		struct rlimit less = {MIN(now.rlim_cur, value), MIN(now.rlim_max, value)};
		setrlimit(resource, &less);
	}
}

/*
 * The memory limit is RLIMIT_DATA, which since Linux 4.7 counts all private writable memory, and
 * not RLIMIT_AS: run times of languages (Go, Java, JavaScript) reserve a hundred times the address
 * space that they use. It is a limit of each process. Only the soft one is set, so that it can be
 * taken back when a script could not be executed and this program is to say so; it is there against
 * accidents.
 */
static struct rlimit memory_limit(const struct call_request *request)
{
	struct rlimit before = {RLIM_INFINITY, RLIM_INFINITY};

	getrlimit(RLIMIT_DATA, &before);
	if (request->memory_bytes > 0) {
		struct rlimit less = {MIN(before.rlim_max, (rlim_t)request->memory_bytes),
				      before.rlim_max};
		setrlimit(RLIMIT_DATA, &less);
	}
	return before;
}

static void limits_set(void)
{
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_FSIZE, ARTIFACTS_BYTES_MAX);
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur > OPEN_FILES_MAX) {
		files.rlim_cur = OPEN_FILES_MAX;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	/*
	 * Best effort, both: a node out of memory takes the plug-in before the workload; the agent
	 * comes first.
	 */
	_cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		file_write_fd(fd, "500", 3);
	setpriority(PRIO_PROCESS, 0, MIN(getpriority(PRIO_PROCESS, 0) + 5, 19));
}

static void descriptors_set(const struct plugin_process *process)
{
	const int wanted[] = {process->input, process->output, process->error};

	/* All three are above 2: the agent starts the supervisor with 0, 1 and 2 open. */
	for (int fd = 0; fd < 3; fd++)
		if (dup2(wanted[fd], fd) < 0)
			_exit(EXIT_CANNOT_RUN);
	/* On kernels before 5.9 this fails, and CLOEXEC does the same for scripts. */
	close_range(3, ~0U, 0);
}

/*
 * The script is executed by the path that its links lead to, not through a descriptor: the kernel
 * hands an interpreter /dev/fd/N for it, where `dirname $0` and Python's import of a neighbour find
 * nothing. That is no race: script_trust has just found that nobody but root and the agent's own
 * user could exchange any component of that path.
 */
_noreturn_ static void script_execute(const struct call_request *request)
{
	char resolved[PATH_MAX], step[64], plugin[256], directory[PATH_MAX + 32],
		root[PATH_MAX + 32], socket[PATH_MAX + 32];
	const char *step_name = plugin_step_names[request->step];
	struct problem problem = {0};
	char *environment[9];
	size_t count = 0;

	if (script_trust(request->path, NULL, resolved, &problem) < 0) {
		plugin_fail(-EPERM, "refused: %s", problem.text);
		_exit(EXIT_CANNOT_RUN);
	}
	snprintf(step, sizeof(step), "LIFEBOAT_STEP=%s", step_name);
	snprintf(plugin, sizeof(plugin), "LIFEBOAT_PLUGIN=%s", request->plugin);
	snprintf(root, sizeof(root), "LIFEBOAT_HOST_ROOT=%s",
		 request->host_root ? request->host_root : "/");
	environment[count++] =
		(char[]){"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
	environment[count++] = (char[]){"LANG=C"};
	environment[count++] = step;
	environment[count++] = plugin;
	environment[count++] = root;
	if (request->artifact_directory) {
		snprintf(directory, sizeof(directory), "LIFEBOAT_ARTIFACT_DIR=%s",
			 request->artifact_directory);
		environment[count++] = directory;
	}
	if (request->api_socket) {
		snprintf(socket, sizeof(socket), "LIFEBOAT_SOCKET=%s", request->api_socket);
		environment[count++] = socket;
	}
	environment[count] = NULL;
	struct rlimit before = memory_limit(request);
	execve(resolved, (char *[]){resolved, (char *)step_name, NULL}, environment);
	int error = errno;
	setrlimit(RLIMIT_DATA, &before);
	plugin_fail(-error, "cannot execute %s: %s%s", resolved, strerror(error),
		    error == ENOEXEC  ? " (a script begins with a line like #!/bin/sh)"
		    : error == ENOENT ? " (is the interpreter that its first line names installed?)"
				      : "");
	_exit(EXIT_CANNOT_RUN);
}

_noreturn_ void plugin_process_run(const struct plugin_process *process)
{
	const struct call_request *request = process->request;

	signals_reset();
	/*
	 * Dies with the supervisor, even if that is killed; the second look closes the gap before
	 * the first.
	 */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != process->supervisor)
		_exit(EXIT_CANNOT_RUN);
	setsid();
	descriptors_set(process);
	umask(077);
	if (chdir("/") < 0)
		cannot("change to the folder /", errno);
	limits_set();
	if (request->transport == TRANSPORT_SCRIPT)
		script_execute(request);
#ifndef __SANITIZE_ADDRESS__
	/*
	 * The sanitizer's own tables are terabytes of private memory: no limit would let it live.
	 */
	memory_limit(request);
#endif
	_exit(plugin_run(request, process->abnormal_text, process->abnormal_length));
}
