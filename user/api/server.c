/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API's place in the agent's event loop. libmicrohttpd runs in its external epoll mode: its
 * epoll descriptor is one source of the loop, its next deadline a timer. Connections are accepted
 * here, so that a peer is judged before the library reads a byte of it.
 */
#include "api/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "api/listen.h"

#define ACCEPTS_PER_TURN 16
#define SWEEP_NS (1 * NS_PER_S)
/* Of one connection, for its request line, headers and answer's buffer. */
#define CONNECTION_MEMORY ((size_t)16 * KIB)

/* --- The daemon in the loop --- */

static void daemon_run(struct api *api);

static int kick_handler(_unused_ sd_event_source *source, void *userdata)
{
	daemon_run(userdata);
	return 0;
}

void api_kick(struct api *api)
{
	sd_event_source_set_enabled(api->kick, SD_EVENT_ONESHOT);
}

static int timer_handler(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata)
{
	daemon_run(userdata);
	return 0;
}

static int daemon_handler(_unused_ sd_event_source *source, _unused_ int fd,
			  _unused_ uint32_t events, void *userdata)
{
	daemon_run(userdata);
	return 0;
}

static void daemon_run(struct api *api)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms;

	MHD_run(api->daemon);
	if (MHD_get_timeout(api->daemon, &timeout_ms) != MHD_YES) {
		sd_event_source_set_enabled(api->timer, SD_EVENT_OFF);
	} else if (timeout_ms == 0) {
		api_kick(api);
	} else {
		sd_event_source_set_time_relative(api->timer, timeout_ms * 1000);
		sd_event_source_set_enabled(api->timer, SD_EVENT_ONESHOT);
	}
}

/* --- Connections --- */

static void sweep_arm(struct api *api)
{
	sd_event_source_set_time_relative(api->sweep, SWEEP_NS / NS_PER_US);
	sd_event_source_set_enabled(api->sweep, SD_EVENT_ONESHOT);
}

static void listeners_enable(struct api *api, int enabled)
{
	sd_event_source_set_enabled(api->socket_source, enabled);
	if (api->metrics_source)
		sd_event_source_set_enabled(api->metrics_source, enabled);
}

/*
 * The library's own time-out starts anew with every byte, so a peer that sends one now and then
 * could hold a connection for good. Streams are meant to last and are left alone.
 */
static int sweep_handler(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata)
{
	struct api *api = userdata;
	uint64_t now = clock_monotonic(api->options.clock);
	bool again = false;

	listeners_enable(api, SD_EVENT_ON);
	for (struct connection *connection = api->connections; connection;
	     connection = connection->next) {
		struct request *request = connection->request;
		uint64_t waited = now - connection->waiting_since_ns;

		if (request && request->stream)
			continue;
		again = true;
		if (request && request->suspended) {
			if (waited <= ANSWER_TIMEOUT_S * NS_PER_S || request->response)
				continue;
			api->counts.timeouts++;
			request_answer_error(
				request, MHD_HTTP_GATEWAY_TIMEOUT,
				"no answer came within %d s; `lifeboat top` shows what is running",
				ANSWER_TIMEOUT_S);
		} else if (waited > REQUEST_TIMEOUT_S * NS_PER_S &&
			   !(request && request->response)) {
			api->counts.timeouts++;
			shutdown(connection->fd, SHUT_RDWR);
			api_kick(api);
		}
	}
	if (again)
		sweep_arm(api);
	return 0;
}

static void connection_opened(struct api *api, struct MHD_Connection *http, void **state)
{
	const union MHD_ConnectionInfo *address =
		MHD_get_connection_info(http, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const union MHD_ConnectionInfo *fd =
		MHD_get_connection_info(http, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct connection *connection = calloc(1, sizeof(*connection));

	*state = connection;
	if (!connection)
		return;
	connection->api = api;
	connection->fd = fd->connect_fd;
	connection->local = address->client_addr->sa_family == AF_UNIX;
	connection->waiting_since_ns = clock_monotonic(api->options.clock);
	connection->next = api->connections;
	if (connection->next)
		connection->next->previous = connection;
	api->connections = connection;
	api->connection_count++;
	api->metrics_connection_count += !connection->local;
	sweep_arm(api);
}

static void connection_closed(struct api *api, void **state)
{
	struct connection *connection = TAKE_PTR(*state);

	if (!connection)
		return;
	if (connection->previous)
		connection->previous->next = connection->next;
	else
		api->connections = connection->next;
	if (connection->next)
		connection->next->previous = connection->previous;
	sd_event_source_unref(connection->hangup);
	api->connection_count--;
	api->metrics_connection_count -= !connection->local;
	free(connection);
}

static void connection_notify(void *userdata, struct MHD_Connection *http, void **state,
			      enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		connection_opened(userdata, http, state);
	else
		connection_closed(userdata, state);
}

/* A best effort, so that the other end can tell this from a crash. */
static void connection_refuse_full(int fd)
{
	static const char answer[] =
		"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
		"Content-Length: 64\r\nConnection: close\r\n\r\n"
		"{\"error\":{\"message\":\"too many connections at once: try again\"}}\n";

	send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* A peer that is not allowed gets no answer at all. */
static void peer_refuse(struct api *api, int error, const struct ucred *peer)
{
	uint32_t suppressed;

	api->counts.refused_peer++;
	if (!log_limit_pass(&api->refusal_log, 5, 60 * NS_PER_S, &suppressed))
		return;
	if (error != -EACCES)
		log_warning("a connection to the API was refused, as the kernel did not tell who "
			    "made it: %s",
			    strerror(-error));
	else
		log_warning("a connection to the API was refused: pid %d of user %u is not among "
			    "api.allowedUsers and api.allowedGroups "
			    "(%" PRIu32 " more since the last such message)",
			    (int)peer->pid, peer->uid, suppressed);
}

static void connection_add(struct api *api, int fd, const struct sockaddr_storage *address,
			   socklen_t length)
{
	api->counts.connections_accepted++;
	if (api->connection_count >= CONNECTIONS_MAX ||
	    (address->ss_family != AF_UNIX &&
	     api->metrics_connection_count >= METRICS_CONNECTIONS_MAX)) {
		api->counts.refused_full++;
		connection_refuse_full(fd);
		close(fd);
		return;
	}
	/* The library owns the descriptor now, and closes it on failure too. */
	if (MHD_add_connection(api->daemon, fd, (const struct sockaddr *)address, length) !=
	    MHD_YES)
		api->counts.refused_full++;
	api_kick(api);
}

static int listener_handler(_unused_ sd_event_source *source, int listener,
			    _unused_ uint32_t events, void *userdata)
{
	struct api *api = userdata;
	const struct peer_rules rules = {api->allowed_users, api->options.allowed_user_count,
					 api->allowed_groups, api->options.allowed_group_count};

	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct sockaddr_storage address = {0};
		socklen_t length = sizeof(address);
		_cleanup_close_ int fd = accept4(listener, (struct sockaddr *)&address, &length,
						 SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct ucred peer = {0};
		uint32_t suppressed;

		if (fd < 0) {
			bool scarce = errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
				      errno == ENOBUFS;

			/* The loop would come back for it at once, and turn without a pause. */
			if (scarce) {
				listeners_enable(api, SD_EVENT_OFF);
				sweep_arm(api);
			}
			if (scarce &&
			    log_limit_pass(&api->refusal_log, 5, 60 * NS_PER_S, &suppressed))
				log_warning("cannot accept a connection to the API: %s; it waits, "
					    "and is tried again in a second",
					    strerror(errno));
			break;
		}
		if (listener == api->socket_fd) {
			int r = peer_check(fd, &rules, &peer);

			if (r < 0) {
				peer_refuse(api, r, &peer);
				continue;
			}
		}
		connection_add(api, TAKE_FD(fd), &address, length);
	}
	return 0;
}

/* --- Endings, for the metrics --- */

static void ending_watch(void *userdata, const char *type, const struct abnormal *abnormal)
{
	struct api *api = userdata;

	if (phase_is_final((enum abnormal_phase)abnormal->status.phase) &&
	    !streq(type, "DELETED") &&
	    metrics_endings_add(&api->ended, abnormal, api->start_realtime_ns) < 0)
		api->ended.other++;
}

/* --- Beginning and end --- */

static const char no_memory_text[] =
	"{\"error\":{\"message\":\"the agent is out of memory for this answer: try again, and see "
	"with `lifeboat doctor` and the node's free memory why\"}}\n";

static int daemon_start(struct api *api, struct problem *problem)
{
	api->no_memory = MHD_create_response_from_buffer(
		sizeof(no_memory_text) - 1, (void *)no_memory_text, MHD_RESPMEM_PERSISTENT);
	if (!api->no_memory || MHD_add_response_header(api->no_memory, MHD_HTTP_HEADER_CONTENT_TYPE,
						       "application/json") != MHD_YES)
		return problem_set(problem, -ENOMEM, NULL, "cannot start the HTTP server: %s",
				   strerror(ENOMEM));
	/*
	 * Without MHD_USE_ERROR_LOG: on a unix socket the library complains for every answer that
	 * TCP_NODELAY and TCP_CORK cannot be set (0.9.75), and what else it tells is the peer's
	 * fault.
	 */
	api->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
		request_handle, api, MHD_OPTION_NOTIFY_COMPLETED, request_completed, api,
		MHD_OPTION_NOTIFY_CONNECTION, connection_notify, api, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned)REQUEST_TIMEOUT_S, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)CONNECTIONS_MAX + 1, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		CONNECTION_MEMORY, MHD_OPTION_END);
	if (!api->daemon)
		return problem_set(problem, -ENOMEM, NULL, "cannot start the HTTP server: %s",
				   strerror(errno));
	return 0;
}

static int sources_add(struct api *api)
{
	sd_event *event = api->options.event;
	int epoll_fd = MHD_get_daemon_info(api->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;

	int r = sd_event_add_io(event, &api->socket_source, api->socket_fd, EPOLLIN,
				listener_handler, api);
	if (r >= 0 && api->metrics_fd >= 0)
		r = sd_event_add_io(event, &api->metrics_source, api->metrics_fd, EPOLLIN,
				    listener_handler, api);
	if (r >= 0)
		r = sd_event_add_io(event, &api->daemon_source, epoll_fd, EPOLLIN, daemon_handler,
				    api);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &api->timer, CLOCK_MONOTONIC, 0, 0,
					       timer_handler, api);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &api->sweep, CLOCK_MONOTONIC, 0,
					       SWEEP_NS / NS_PER_US / 2, sweep_handler, api);
	if (r >= 0)
		r = sd_event_add_defer(event, &api->kick, kick_handler, api);
	return r < 0 ? r : 0;
}

static int options_copy(struct api *api, const struct api_options *options)
{
	api->options = *options;
	api->start_ns = clock_monotonic(options->clock);
	api->start_realtime_ns = clock_realtime(options->clock);
	api->allowed_users = calloc(options->allowed_user_count + 1, sizeof(uid_t));
	api->allowed_groups = calloc(options->allowed_group_count + 1, sizeof(gid_t));
	if (!api->allowed_users || !api->allowed_groups)
		return -ENOMEM;
	for (size_t i = 0; i < options->allowed_user_count; i++)
		api->allowed_users[i] = options->allowed_users[i];
	for (size_t i = 0; i < options->allowed_group_count; i++)
		api->allowed_groups[i] = options->allowed_groups[i];
	return 0;
}

int api_reserve(const char *socket_path, int *ret_lock_fd, struct problem *problem)
{
	return listen_reserve(socket_path, ret_lock_fd, problem);
}

int api_start(const struct api_options *options, struct api **ret_api, struct problem *problem)
{
	_cleanup_(api_freep) struct api *api = calloc(1, sizeof(*api));
	bool others = options->allowed_user_count || options->allowed_group_count;

	if (!api)
		return -ENOMEM;
	api->socket_fd = api->lock_fd = api->metrics_fd = -1;
	int r = options_copy(api, options);
	if (options->lock_fd > 0)
		api->lock_fd = options->lock_fd;
	else if (r >= 0)
		r = listen_reserve(options->socket_path, &api->lock_fd, problem);
	if (r < 0)
		return r;
	/* With others allowed the mode lets everybody connect, and the credentials decide. */
	r = listen_unix(options->socket_path, others ? 0666 : 0660, &api->socket_fd, problem);
	if (r < 0)
		return r;
	api->socket_path = strdup(options->socket_path);
	if (!api->socket_path)
		return -ENOMEM;
	if (options->metrics_address)
		r = listen_tcp(options->metrics_address, &api->metrics_fd, problem);
	if (r >= 0)
		r = daemon_start(api, problem);
	if (r < 0)
		return r;
	r = sources_add(api);
	if (r >= 0)
		r = pipeline_watch(options->pipeline, ending_watch, api, &api->endings);
	if (r < 0)
		return problem_set(problem, r, NULL, "cannot start the API: %s", strerror(-r));
	*ret_api = TAKE_PTR(api);
	return 0;
}

void api_free(struct api *api)
{
	if (!api)
		return;
	if (api->endings)
		pipeline_unwatch(api->endings);
	for (struct connection *connection = api->connections; connection;
	     connection = connection->next)
		if (connection->request)
			request_abandon(connection->request);
	if (api->daemon)
		MHD_stop_daemon(api->daemon);
	if (api->no_memory)
		MHD_destroy_response(api->no_memory);
	sd_event_source_unref(api->socket_source);
	sd_event_source_unref(api->metrics_source);
	sd_event_source_unref(api->daemon_source);
	sd_event_source_unref(api->timer);
	sd_event_source_unref(api->sweep);
	sd_event_source_unref(api->kick);
	if (api->socket_path)
		unlink(api->socket_path);
	closep(&api->socket_fd);
	closep(&api->metrics_fd);
	closep(&api->lock_fd);
	metrics_endings_clear(&api->ended);
	free(api->socket_path);
	free(api->allowed_users);
	free(api->allowed_groups);
	free(api);
}
