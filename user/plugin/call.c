/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's side of calls: the queue, the supervisors' processes and sockets, the agent's own
 * deadline. Nothing here blocks but call_pool_free. What a reply means is call_result.c's.
 */
#include "plugin/call.h"

#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "plugin/call_result.h"
#include "plugin/generation.h"
#include "plugin/supervisor.h"

#define PARALLEL_DEFAULT 4
#define WAITING_MAX 4096
/*
 * The supervisor keeps the time limit and needs up to a second to clean up; this is for when it
 * fails to.
 */
#define GRACE_NS (3 * NS_PER_S)
/* Calls of one plug-in that are stuck in the kernel, before it is not called any more. */
#define ABANDONED_MAX 4
#define REPLY_BYTES_MAX                                                                          \
	(sizeof(struct call_reply) + CALL_OUTPUT_BYTES_MAX + CALL_STDERR_BYTES_KEPT + 64 * KIB + \
	 CALL_ARTIFACTS_TEXT_BYTES_MAX)
#define REQUEST_BYTES_MAX (CALL_REQUEST_HEAD_BYTES_MAX + ABNORMAL_HANDLED_BYTES_MAX + 64)
#define TIMER_ACCURACY_US 10000

enum call_state {
	CALL_WAITING,
	CALL_RUNNING,
	CALL_LEAVING, /* called back or cancelled; its supervisor is still to be reaped */
	CALL_ABANDONED, /* leaving, and something of it cannot be killed */
};

struct call {
	struct call *next, **previous; /* in the pool's list of its state */
	struct call_pool *pool;
	enum call_state state;
	struct plugin_entry *entry;
	enum plugin_step step;
	struct abnormal *sent;
	char *artifact_directory;
	call_done callback;
	void *userdata;

	int pidfd, socket; /* the supervisor's; -1: none */
	sd_event_source *socket_source, *exit_source, *timer;
	struct buffer request, reply;
	size_t request_sent;
	struct call_result result;
	uint64_t start_ns;
};

struct call_pool {
	struct call_pool_options options;
	char *worker_program, *host_root, *api_socket;
	int generation; /* -1: none */
	sd_event_source *pump;
	struct call *waiting, **waiting_end; /* first in, first out */
	struct call *running, *leaving;
	struct call_counts counts;
};

/* --- Lists --- */

static void call_link(struct call *call, struct call **head)
{
	call->next = *head;
	call->previous = head;
	if (call->next)
		call->next->previous = &call->next;
	*head = call;
}

static void call_unlink(struct call *call)
{
	struct call_pool *pool = call->pool;

	if (pool->waiting_end == &call->next)
		pool->waiting_end = call->previous;
	if (call->next)
		call->next->previous = call->previous;
	*call->previous = call->next;
}

static void call_count(struct call *call, int difference)
{
	struct call_counts *counts = &call->pool->counts;
	uint64_t *const count[] = {
		[CALL_WAITING] = &counts->waiting,
		[CALL_RUNNING] = &counts->running,
		[CALL_LEAVING] = NULL,
		[CALL_ABANDONED] = &counts->abandoned,
	};

	if (count[call->state])
		*count[call->state] += (uint64_t)(int64_t)difference;
}

static void call_move(struct call *call, enum call_state state)
{
	struct call_pool *pool = call->pool;

	call_unlink(call);
	call_count(call, -1);
	call->state = state;
	call_count(call, 1);
	call_link(call, state == CALL_RUNNING ? &pool->running : &pool->leaving);
}

static void call_free(struct call *call)
{
	call_unlink(call);
	call_count(call, -1);
	sd_event_source_disable_unref(call->socket_source);
	sd_event_source_disable_unref(call->exit_source);
	sd_event_source_disable_unref(call->timer);
	closep(&call->pidfd);
	closep(&call->socket);
	buffer_free(&call->request);
	buffer_free(&call->reply);
	call_result_clear(&call->result);
	abnormal_free(call->sent);
	free(call->artifact_directory);
	plugin_entry_unref(call->entry);
	free(call);
}

static unsigned calls_abandoned(const struct call_pool *pool, const struct plugin_entry *entry)
{
	unsigned count = 0;

	for (const struct call *call = pool->leaving; call; call = call->next)
		if (call->state == CALL_ABANDONED && call->entry->kind == entry->kind &&
		    streq(call->entry->name, entry->name))
			count++;
	return count;
}

/* --- The end of a call --- */

static void pump_schedule(struct call_pool *pool)
{
	sd_event_source_set_enabled(pool->pump, SD_EVENT_ONESHOT);
}

/* Lets go of the socket: the supervisor, if it lives, kills what it has and ends. */
static void call_hang_up(struct call *call)
{
	call->socket_source = sd_event_source_disable_unref(call->socket_source);
	closep(&call->socket);
	call->socket = -1;
	buffer_free(&call->request);
	buffer_free(&call->reply);
}

/*
 * Tells the caller, once. The supervisor may have to be reaped still: then the call stays as
 * LEAVING, or as ABANDONED if something of it is stuck. The pool may be freed by the callback.
 */
static void call_finish(struct call *call, bool stuck)
{
	struct call_pool *pool = call->pool;
	struct call_counts *counts = &pool->counts;
	struct call_result result = call->result;
	call_done callback = call->callback;
	void *userdata = call->userdata;

	call->result = (struct call_result){0};
	result.duration_ns = clock_monotonic(pool->options.clock) - call->start_ns;
	if (result.verdict == CALL_ERROR && !result.error)
		result.error = strdup("out of memory");
	counts->recognised += result.verdict == CALL_RECOGNISED;
	counts->not_mine += result.verdict == CALL_NOT_MINE;
	counts->errors += result.verdict == CALL_ERROR;
	if (call->pidfd < 0)
		call_free(call);
	else
		call_move(call, stuck ? CALL_ABANDONED : CALL_LEAVING);
	pump_schedule(pool);
	callback(userdata, &result);
	call_result_clear(&result);
}

/* --- Events of a running call --- */

static void reply_done(struct call *call, const struct call_reply *reply)
{
	const char *rest = call->reply.data + sizeof(*reply);
	struct call_reply_view view = {
		.reply = reply,
		.output = rest,
		.error = rest + reply->output_bytes,
		.artifacts = rest + reply->output_bytes + reply->error_bytes,
	};
	const char *name = call->entry->name, *step = plugin_step_names[call->step];

	if (reply->error_bytes)
		log_debug("%s %s said on standard error: %.*s", step, name, (int)reply->error_bytes,
			  view.error);
	if (reply->left_behind)
		log_debug("%s %s left %u processes behind, which were killed", step, name,
			  reply->left_behind);
	call->pool->counts.timeouts += reply->ending == ENDING_DEADLINE;
	if (call_result_read(&call->result, &view, call->entry, call->sent) < 0) {
		call_result_clear(&call->result);
		call->result.verdict = CALL_ERROR;
	}
	/*
	 * While something is stuck the socket stays, as its end would end the supervisor that
	 * waits for it.
	 */
	bool stuck = reply->stuck;
	call->socket_source = sd_event_source_disable_unref(call->socket_source);
	buffer_free(&call->reply);
	if (!stuck)
		call_hang_up(call);
	else
		call->timer = sd_event_source_disable_unref(call->timer);
	call_finish(call, stuck);
}

/* Returns true if the reply is complete, and the call then finished. */
static bool reply_look(struct call *call)
{
	struct call_reply reply;

	if (call->reply.length < sizeof(reply))
		return false;
	memcpy(&reply, call->reply.data, sizeof(reply));
	uint64_t total = sizeof(reply) + (uint64_t)reply.output_bytes + reply.error_bytes +
			 reply.artifacts_bytes;
	if (call->reply.length < total)
		return false;
	reply_done(call, &reply);
	return true;
}

static int on_socket(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct call *call = userdata;

	if (events & EPOLLOUT) {
		ssize_t sent = send(fd, call->request.data + call->request_sent,
				    call->request.length - call->request_sent, MSG_NOSIGNAL);
		bool failed = sent < 0 && errno != EAGAIN && errno != EINTR;

		if (sent > 0)
			call->request_sent += (size_t)sent;
		/* It ends over a request that is cut short, which its exit then tells. */
		if (failed)
			shutdown(fd, SHUT_WR);
		if (failed || call->request_sent == call->request.length) {
			buffer_free(&call->request);
			call->request_sent = 0;
			sd_event_source_set_io_events(source, EPOLLIN);
		}
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		ssize_t length = buffer_read(&call->reply, fd);

		if (length > 0 && call->reply.cut == 0 && reply_look(call))
			return 0;
		if (length == -EAGAIN || length == -EINTR || (length > 0 && call->reply.cut == 0))
			return 0;
		/*
		 * It ended without a reply; how, its exit tells in a moment
		 * (on_exit_of_supervisor).
		 */
		call->socket_source = sd_event_source_disable_unref(call->socket_source);
	}
	return 0;
}

/* The supervisor has ended: reaped here, in whatever state its call is. */
static int on_exit_of_supervisor(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct call *call = userdata;
	siginfo_t ended = {0};

	if (waitid(P_PIDFD, (id_t)fd, &ended, WEXITED | WNOHANG) == 0 && ended.si_pid == 0)
		return 0;
	call->exit_source = sd_event_source_disable_unref(call->exit_source);
	close(TAKE_FD(call->pidfd));
	if (call->state != CALL_RUNNING) {
		call_free(call);
		return 0;
	}
	/* The reply may lie in the socket still. */
	while (call->socket_source && buffer_read(&call->reply, call->socket) > 0)
		;
	if (call->socket_source && reply_look(call))
		return 0;
	call_result_fail(&call->result, "its supervisor %s %d without an answer",
			 ended.si_code == CLD_EXITED ? "ended with status" : "died of signal",
			 ended.si_status);
	call_finish(call, false);
	return 0;
}

static int on_overdue(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct call *call = userdata;
	char limit[TIME_TEXT_SIZE];

	call->timer = sd_event_source_disable_unref(call->timer);
	if (call->pidfd >= 0)
		pidfd_send_signal(call->pidfd, SIGKILL, NULL, 0);
	call_hang_up(call);
	if (call->state != CALL_RUNNING) {
		call_move(call, CALL_ABANDONED);
		return 0;
	}
	call->pool->counts.timeouts++;
	call_result_fail(&call->result,
			 "did not end within its time limit of %s, nor did its supervisor",
			 duration_format(call->entry->timeout_ns, limit));
	call_finish(call, true);
	return 0;
}

/* --- The start of a call --- */

static int request_write(struct call *call)
{
	const struct plugin_entry *entry = call->entry;
	const struct call_pool *pool = call->pool;
	struct call_request request = {
		.plugin = entry->name,
		.kind = entry->kind,
		.transport = entry->transport,
		.step = call->step,
		.path = entry->path,
		.artifact_directory = call->artifact_directory,
		.host_root = pool->host_root,
		.api_socket = pool->api_socket ? pool->api_socket : getenv("LIFEBOAT_SOCKET"),
		.timeout_ns = (int64_t)entry->timeout_ns,
		.memory_bytes = (int64_t)entry->memory_bytes,
		.settings = entry->settings,
	};
	_cleanup_free_ char *text = NULL;
	int r = abnormal_print(call->sent, &text);

	return r < 0 ? r : call_request_write(&request, text, &call->request);
}

static int call_watch(struct call *call)
{
	sd_event *event = call->pool->options.event;
	uint64_t limit_us = (call->entry->timeout_ns + GRACE_NS) / NS_PER_US;
	int r = sd_event_add_io(event, &call->socket_source, call->socket, EPOLLIN | EPOLLOUT,
				on_socket, call);

	/*
	 * Not sd_event_add_child: that asks the whole agent to block SIGCHLD, and a pidfd says the
	 * same.
	 */
	if (r >= 0)
		r = sd_event_add_io(event, &call->exit_source, call->pidfd, EPOLLIN,
				    on_exit_of_supervisor, call);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &call->timer, CLOCK_MONOTONIC, limit_us,
					       TIMER_ACCURACY_US, on_overdue, call);
	return r < 0 ? r : 0;
}

static void call_run(struct call *call)
{
	struct call_pool *pool = call->pool;

	call_move(call, CALL_RUNNING);
	pool->counts.started++;
	call->start_ns = clock_monotonic(pool->options.clock);
	call->result.start_realtime_ns = (uint64_t)clock_realtime(pool->options.clock);
	if (calls_abandoned(pool, call->entry) >= ABANDONED_MAX) {
		call_result_fail(&call->result,
				 "not called: %d earlier calls of it are stuck in the kernel and "
				 "cannot be killed",
				 ABANDONED_MAX);
		call_finish(call, false);
		return;
	}
	int r = request_write(call);
	if (r == 0)
		r = supervisor_start(pool->worker_program,
				     call->step == STEP_RECOVER ? pool->generation : -1,
				     &call->socket, &call->pidfd);
	if (r == 0)
		r = call_watch(call);
	if (r == 0)
		return;
	call_result_fail(&call->result, "could not be started: %s",
			 r == -ENOBUFS ? "the Abnormal is over 2 MiB" : strerror(-r));
	if (call->pidfd >= 0)
		pidfd_send_signal(call->pidfd, SIGKILL, NULL, 0);
	call_hang_up(call);
	/*
	 * If the loop cannot watch it, it is reaped here or never: it was just killed, before it
	 * had a child, but may wait for a disk in its exec.
	 */
	if (call->pidfd >= 0 && !call->exit_source) {
		waitid(P_PIDFD, (id_t)call->pidfd, &(siginfo_t){0}, WEXITED | WNOHANG);
		close(TAKE_FD(call->pidfd));
	}
	call_finish(call, false);
}

static int on_pump(sd_event_source *source, void *userdata)
{
	struct call_pool *pool = userdata;

	/*
	 * One a round: a callback on the way may free the pool. It is scheduled again while some
	 * wait.
	 */
	if (!pool->waiting || pool->counts.running >= pool->options.parallel)
		return 0;
	if (pool->waiting->next)
		pump_schedule(pool);
	call_run(pool->waiting);
	return 0;
}

int call_start(struct call_pool *pool, struct plugin_entry *entry, enum plugin_step step,
	       const struct abnormal *abnormal, const char *artifact_directory, call_done callback,
	       void *userdata, struct call **ret_call)
{
	if (pool->counts.waiting >= WAITING_MAX)
		return -ENOBUFS;
	struct call *call = malloc(sizeof(*call));
	if (!call)
		return -ENOMEM;
	*call = (struct call){
		.pool = pool,
		.state = CALL_WAITING,
		.entry = plugin_entry_ref(entry),
		.step = step,
		.sent = abnormal_copy(abnormal),
		.artifact_directory = artifact_directory ? strdup(artifact_directory) : NULL,
		.callback = callback,
		.userdata = userdata,
		.pidfd = -1,
		.socket = -1,
		.request = BUFFER(REQUEST_BYTES_MAX),
		.reply = BUFFER(REPLY_BYTES_MAX),
	};
	call_link(call, pool->waiting_end);
	pool->waiting_end = &call->next;
	call_count(call, 1);
	if (!call->sent || (artifact_directory && !call->artifact_directory)) {
		call_free(call);
		return -ENOMEM;
	}
	pump_schedule(pool);
	if (ret_call)
		*ret_call = call;
	return 0;
}

void call_cancel(struct call *call)
{
	struct call_pool *pool = call->pool;

	pump_schedule(pool);
	if (call->pidfd < 0) {
		call_free(call);
		return;
	}
	call_hang_up(call);
	sd_event_source_set_time_relative(call->timer, GRACE_NS / NS_PER_US);
	call_move(call, CALL_LEAVING);
}

bool call_pool_is_alone(const struct call_pool *pool)
{
	return pool->generation < 0 || generation_is_alone(pool->generation);
}

const struct call_counts *call_pool_counts(const struct call_pool *pool)
{
	return &pool->counts;
}

int call_pool_new(const struct call_pool_options *options, struct call_pool **ret_pool)
{
	_cleanup_(call_pool_freep) struct call_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return -ENOMEM;
	pool->options = *options;
	pool->waiting_end = &pool->waiting;
	pool->generation = -1;
	if (!pool->options.parallel)
		pool->options.parallel = PARALLEL_DEFAULT;
	if (!pool->options.clock)
		pool->options.clock = clock_system();
	pool->worker_program =
		strdup(options->worker_program ? options->worker_program : "/proc/self/exe");
	pool->host_root = strdup(options->host_root ? options->host_root : "/");
	pool->api_socket = options->api_socket ? strdup(options->api_socket) : NULL;
	if (!pool->worker_program || !pool->host_root || (options->api_socket && !pool->api_socket))
		return -ENOMEM;
	int r = options->generation_path
			? generation_begin(options->generation_path, &pool->generation)
			: 0;
	if (r < 0)
		log_warning("Locking %s failed: %s; should the agent end in the middle of a "
			    "recovery, the next one can't wait until that is over",
			    options->generation_path, strerror(-r));
	r = sd_event_add_defer(options->event, &pool->pump, on_pump, pool);
	if (r < 0)
		return r;
	sd_event_source_set_enabled(pool->pump, SD_EVENT_OFF);
	*ret_pool = TAKE_PTR(pool);
	return 0;
}

/* Waits until CALL's supervisor ended or END_NS came, then kills it. */
static void supervisor_wait(struct call *call, uint64_t end_ns)
{
	struct pollfd polled = {.fd = call->pidfd, .events = POLLIN};
	uint64_t now = clock_monotonic(clock_system());
	int wait_ms = now < end_ns ? (int)((end_ns - now) / NS_PER_MS) : 0;

	if (poll(&polled, 1, wait_ms) <= 0) {
		/* What is stuck in a recovery has to be waited for by the next agent. */
		if (call->step == STEP_RECOVER && call->pool->generation >= 0)
			return;
		pidfd_send_signal(call->pidfd, SIGKILL, NULL, 0);
		poll(&polled, 1, 10);
	}
	waitid(P_PIDFD, (id_t)call->pidfd, &(siginfo_t){0}, WEXITED | WNOHANG);
}

void call_pool_free(struct call_pool *pool)
{
	uint64_t end = clock_monotonic(clock_system()) + NS_PER_S;

	while (pool->waiting)
		call_free(pool->waiting);
	while (pool->running)
		call_cancel(pool->running);
	for (struct call *call = pool->leaving; call; call = call->next)
		call_hang_up(call); /* abandoned ones hold their sockets still */
	while (pool->leaving) {
		supervisor_wait(pool->leaving, end);
		call_free(pool->leaving);
	}
	sd_event_source_disable_unref(pool->pump);
	closep(&pool->generation);
	free(pool->worker_program);
	free(pool->host_root);
	free(pool->api_socket);
	free(pool);
}
