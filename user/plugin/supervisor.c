/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process between the agent and a plug-in. It owns the plug-in's process, pipes and deadline,
 * and every process that comes of it; what the answer means is the agent's business
 * (call_result.c).
 */
#include "plugin/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "plugin/artifacts.h"
#include "plugin/call_wire.h"
#include "plugin/descendants.h"
#include "plugin/plugin.h"
#include "plugin/process.h"

#define REAP_WITHIN_NS NS_PER_S
#define STUCK_LOOK_AGAIN_MS 500
/* Where the agent's lock is (generation.h); a plug-in must not get it. */
#define GENERATION_FD 4

struct supervision {
	int socket;
	struct call_request *request;
	char *abnormal_text;
	size_t abnormal_length;
	uint64_t deadline_ns;
	struct host *host; /* this process's own view, for its own descendants */

	pid_t child;
	int child_fd, output_fd, error_fd;
	struct buffer output, error, artifacts;
	uint64_t error_bytes;
	struct call_reply reply;
};

static void supervision_clear(struct supervision *supervision)
{
	call_request_free(supervision->request);
	free(supervision->abnormal_text);
	if (supervision->host)
		host_free(supervision->host);
	closep(&supervision->child_fd);
	closep(&supervision->output_fd);
	closep(&supervision->error_fd);
	closep(&supervision->socket);
	buffer_free(&supervision->output);
	buffer_free(&supervision->error);
	buffer_free(&supervision->artifacts);
}

static uint64_t now_ns(void)
{
	return clock_monotonic(clock_system());
}

/*
 * The agent's end is learnt from the socket alone. A terminal's Ctrl-C and systemd's SIGTERM to the
 * whole cgroup reach this process too, and must not end it before what it has to clean up.
 */
static void signals_ignore(void)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
	sigset_t none;

	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/*
 * The Abnormal as a file in memory: a plug-in that never reads it keeps nobody waiting, as a pipe
 * would.
 */
static int input_open(const struct supervision *supervision)
{
	_cleanup_close_ int fd = memfd_create("abnormal", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	int r = file_write_fd(fd, supervision->abnormal_text, supervision->abnormal_length);
	if (r < 0)
		return r;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int pipe_open(int *ret_read, int *ret_write)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	fcntl(ends[0], F_SETFL, O_NONBLOCK); /* this end alone: a plug-in expects to block */
	*ret_read = ends[0];
	*ret_write = ends[1];
	return 0;
}

/*
 * On a full disk a collector still has what it can put into its answer: it runs without a folder.
 */
static void artifacts_prepare(struct supervision *supervision)
{
	char **directory = &supervision->request->artifact_directory;
	int r = *directory ? directory_make(*directory, 0700) : 0;

	if (r == 0)
		return;
	supervision->reply.artifacts_error = -r;
	free(TAKE_PTR(*directory));
}

static int plugin_start(struct supervision *supervision)
{
	_cleanup_close_ int input = input_open(supervision), output = -1, error = -1;

	if (input < 0)
		return input;
	artifacts_prepare(supervision);
	int r = pipe_open(&supervision->output_fd, &output);
	if (r == 0)
		r = pipe_open(&supervision->error_fd, &error);
	if (r < 0)
		return r;
	struct plugin_process process = {
		.request = supervision->request,
		.abnormal_text = supervision->abnormal_text,
		.abnormal_length = supervision->abnormal_length,
		.input = input,
		.output = output,
		.error = error,
		.supervisor = getpid(),
	};
	supervision->child = fork();
	if (supervision->child < 0)
		return -errno;
	if (supervision->child == 0)
		plugin_process_run(&process);
	supervision->child_fd = pidfd_open(supervision->child, 0);
	return supervision->child_fd < 0 ? -errno : 0;
}

/*
 * Reads what is there. Returns false if the plug-in is to be ended for it (reply.ending says why).
 */
static bool pipe_read(struct supervision *supervision, int *fd, struct buffer *buffer)
{
	ssize_t length = buffer_read(buffer, *fd);

	if (length == -EAGAIN || length == -EINTR)
		return true;
	if (length <= 0) {
		close(TAKE_FD(*fd));
		return true;
	}
	if (buffer == &supervision->output) {
		if (buffer->cut)
			supervision->reply.ending = ENDING_OUTPUT_OVER;
		return !buffer->cut;
	}
	/* Of standard error the end is what tells. */
	if (buffer->length > CALL_STDERR_BYTES_KEPT)
		buffer_consume(buffer, buffer->length - CALL_STDERR_BYTES_KEPT);
	supervision->error_bytes += (uint64_t)length;
	if (supervision->error_bytes > CALL_STDERR_BYTES_MAX)
		supervision->reply.ending = ENDING_STDERR_OVER;
	return supervision->error_bytes <= CALL_STDERR_BYTES_MAX;
}

/* Sees to the plug-in until it ends or has to be ended. Returns false if the agent went away. */
static bool plugin_watch(struct supervision *supervision)
{
	for (;;) {
		struct pollfd polled[] = {
			{.fd = supervision->socket, .events = POLLIN},
			{.fd = supervision->child_fd, .events = POLLIN},
			{.fd = supervision->output_fd, .events = POLLIN},
			{.fd = supervision->error_fd, .events = POLLIN},
		};
		uint64_t now = now_ns();

		if (now >= supervision->deadline_ns) {
			supervision->reply.ending = ENDING_DEADLINE;
			return true;
		}
		uint64_t left_ms = (supervision->deadline_ns - now) / NS_PER_MS + 1;
		if (poll(polled, ARRAY_SIZE(polled), (int)MIN(left_ms, (uint64_t)3600000)) < 0 &&
		    errno != EINTR)
			return false;
		if (polled[0].revents)
			return false;
		if (polled[2].revents &&
		    !pipe_read(supervision, &supervision->output_fd, &supervision->output))
			return true;
		if (polled[3].revents &&
		    !pipe_read(supervision, &supervision->error_fd, &supervision->error))
			return true;
		if (polled[1].revents) {
			siginfo_t ended = {0};

			/*
			 * It stays a zombie, so that its process group cannot become somebody
			 * else's yet.
			 */
			waitid(P_PIDFD, (id_t)supervision->child_fd, &ended, WEXITED | WNOWAIT);
			supervision->reply.ending =
				ended.si_code == CLD_EXITED ? ENDING_EXITED : ENDING_SIGNALLED;
			supervision->reply.code = ended.si_status;
			return true;
		}
	}
}

/* The whole group at once, which a forking process cannot outrun, then whatever left the group. */
static void plugin_end(struct supervision *supervision)
{
	unsigned reaped;

	if (supervision->child > 0) {
		kill(-supervision->child, SIGKILL);
		kill(supervision->child, SIGKILL); /* it may not have come to make its group */
	}
	descendants_end(supervision->host, REAP_WITHIN_NS, &reaped, &supervision->reply.stuck);
	if (supervision->child > 0 && supervision->reply.ending <= ENDING_SIGNALLED && reaped > 1)
		supervision->reply.left_behind = reaped - 1;
}

/* What was written before the end and not read yet: no more than the pipes hold. */
static void pipes_drain(struct supervision *supervision)
{
	for (int i = 0; i < 64 && supervision->output_fd >= 0; i++)
		if (!pipe_read(supervision, &supervision->output_fd, &supervision->output))
			break;
	for (int i = 0; i < 64 && supervision->error_fd >= 0; i++)
		if (!pipe_read(supervision, &supervision->error_fd, &supervision->error))
			break;
}

static void artifacts_find(struct supervision *supervision)
{
	const char *directory = supervision->request->artifact_directory;
	_cleanup_json_ cJSON *files = NULL;

	int r = directory ? artifacts_list(directory, &files, &supervision->reply.artifacts_removed)
			  : 0;
	if (r == 0 && files && files->child)
		r = json_print_to(files, &supervision->artifacts);
	if (r < 0)
		supervision->reply.artifacts_error = -r;
}

static int reply_send(struct supervision *supervision)
{
	struct call_reply *reply = &supervision->reply;

	reply->output_bytes = (uint32_t)supervision->output.length;
	reply->error_bytes = (uint32_t)supervision->error.length;
	reply->artifacts_bytes = (uint32_t)supervision->artifacts.length;
	int r = file_write_fd(supervision->socket, reply, sizeof(*reply));
	if (r == 0)
		r = file_write_fd(supervision->socket, supervision->output.data,
				  supervision->output.length);
	if (r == 0)
		r = file_write_fd(supervision->socket, supervision->error.data,
				  supervision->error.length);
	if (r == 0)
		r = file_write_fd(supervision->socket, supervision->artifacts.data,
				  supervision->artifacts.length);
	return r;
}

/*
 * What SIGKILL has not ended yet keeps this process here as its reaper, so that the agent sees by it
 * that something is stuck, and when it no longer is. The agent's own end ends it too, but for a
 * recovery: what is stuck in the middle of that may still do its deed, and the next agent must not
 * judge before.
 */
static void stuck_wait(struct supervision *supervision)
{
	struct pollfd polled = {.fd = supervision->socket, .events = POLLIN};
	unsigned reaped, left = supervision->reply.stuck;

	while (left) {
		if (poll(&polled, 1, STUCK_LOOK_AGAIN_MS) > 0) {
			if (supervision->request->step != STEP_RECOVER)
				return;
			polled.fd = -1; /* the agent is gone: from here on this only waits */
		}
		descendants_end(supervision->host, 0, &reaped, &left);
	}
}

/* The agent that asked is gone, perhaps since before this process came to read the request. */
static bool agent_is_gone(const struct supervision *supervision)
{
	struct pollfd polled = {.fd = supervision->socket, .events = POLLIN};

	return poll(&polled, 1, 0) > 0;
}

static int supervise(struct supervision *supervision)
{
	int r = call_request_read(supervision->socket, &supervision->request,
				  &supervision->abnormal_text, &supervision->abnormal_length);

	if (r < 0)
		return r == -EPIPE ? 0 : r;
	if (agent_is_gone(supervision))
		return 0;
	supervision->deadline_ns = now_ns() + (uint64_t)supervision->request->timeout_ns;
	r = plugin_start(supervision);
	if (r < 0) {
		supervision->reply.ending = ENDING_NOT_STARTED;
		supervision->reply.code = -r;
	} else if (!plugin_watch(supervision)) {
		plugin_end(supervision);
		stuck_wait(supervision);
		return 0;
	}
	plugin_end(supervision);
	pipes_drain(supervision);
	artifacts_find(supervision);
	r = reply_send(supervision);
	stuck_wait(supervision);
	return r;
}

int supervisor_run(int socket_fd)
{
	_cleanup_(supervision_clear) struct supervision supervision = {
		.socket = socket_fd,
		.child_fd = -1,
		.output_fd = -1,
		.error_fd = -1,
		.output = BUFFER(CALL_OUTPUT_BYTES_MAX),
		.error = BUFFER(CALL_STDERR_BYTES_KEPT + 64 * KIB),
		.artifacts = BUFFER(CALL_ARTIFACTS_TEXT_BYTES_MAX),
	};

	signals_ignore();
	setsid();
	fcntl(GENERATION_FD, F_SETFD, FD_CLOEXEC); /* fails where the call has none */
	int r = fcntl(socket_fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : descendants_adopt();
	if (r == 0)
		r = host_open(NULL, &supervision.host);
	if (r == 0)
		r = supervise(&supervision);
	if (r < 0)
		log_error("plugin-supervisor: cannot supervise a plug-in: %s", strerror(-r));
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
