/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets in, by which door, how many at once, and for how long. */
#include "api_fixture.h"

#include <grp.h>
#include <netinet/in.h>
#include <sys/stat.h>

#include "../skip.h"

#define PEOPLE ((uid_t)65534)

static void garbage_ends_its_connection_alone(void **state)
{
	struct api_bench *bench = *state;
	static const char garbage[] = "\x16\x03\x01\x02 no HTTP at all\r\n\r\n\r\n";
	int fd = dial(bench);

	say(bench, fd, garbage, sizeof(garbage) - 1);
	WAIT_FOR(&bench->bench->base, "the connection to be closed", hear(bench, fd));
	close(fd);
	assert_says(request(bench, "GET", "/healthz", ""), 200, "ok");
}

static void a_request_that_never_ends_is_given_up(void **state)
{
	struct api_bench *bench = *state;
	int fd = dial(bench);

	say(bench, fd, "GET /healthz HTTP/1.1\r\nX-Slow: ", 32);
	WAIT_FOR(&bench->bench->base, "the connection", bench->api->connection_count == 1);
	bench->skew_ns = (REQUEST_TIMEOUT_S + 1) * NS_PER_S;
	WAIT_FOR(&bench->bench->base, "the connection to be closed", hear(bench, fd));
	WAIT_FOR(&bench->bench->base, "it to be counted out", bench->api->connection_count == 0);
	assert_int_equal(bench->api->counts.timeouts, 1);
	close(fd);
}

static void watchers_and_connections_are_bounded(void **state)
{
	struct api_bench *bench = *state;
	int fds[CONNECTIONS_MAX];

	for (size_t i = 0; i < WATCHERS_MAX; i++)
		fds[i] = follow(bench, "/api/v1/events");
	assert_says(request(bench, "GET", "/api/v1/events", ""), 503, "watchers");
	for (size_t i = WATCHERS_MAX; i < CONNECTIONS_MAX; i++)
		fds[i] = dial(bench);
	WAIT_FOR(&bench->bench->base, "all connections",
		 bench->api->connection_count == CONNECTIONS_MAX);
	assert_says(request(bench, "GET", "/healthz", ""), 503, "too many connections");
	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		close(fds[i]);
	WAIT_FOR(&bench->bench->base, "all to be gone", bench->api->connection_count == 0);
	assert_says(request(bench, "GET", "/healthz", ""), 200, "ok");
}

static void the_api_ends_with_watchers_and_waiting_requests(void **state)
{
	struct api_bench *bench = *state;
	int watcher = follow(bench, "/api/v1/abnormals?watch=true"), waiting = ask_and_wait(bench);

	api_free(TAKE_PTR(bench->api));
	assert_int_equal(access(bench->socket, F_OK), -1);
	assert_true(hear(bench, watcher));
	assert_true(hear(bench, waiting));
	close(watcher);
	close(waiting);
}

static void a_second_agent_on_the_socket_is_refused_and_told_whose_it_is(void **state)
{
	struct api_bench *bench = *state;
	struct api_options options = options_of(bench);
	struct problem problem = {0};
	struct api *second = NULL;
	char pid[32];

	snprintf(pid, sizeof(pid), "pid %d", (int)getpid());
	assert_int_equal(api_start(&options, &second, &problem), -EADDRINUSE);
	assert_non_null(strstr(problem.text, pid));
	assert_non_null(strstr(problem.text, bench->socket));
	assert_null(second);
	assert_says(request(bench, "GET", "/healthz", ""), 200, "ok");
}

static void a_socket_left_behind_is_replaced_and_a_file_in_the_way_is_not(void **state)
{
	struct api_bench *bench = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct api_options options = options_of(bench);
	struct problem problem = {0};
	struct stat status;

	api_free(TAKE_PTR(bench->api));
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	memcpy(address.sun_path, bench->socket, strlen(bench->socket));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	api_begin(bench, NULL);
	assert_says(request(bench, "GET", "/healthz", ""), 200, "ok");
	assert_int_equal(stat(bench->socket, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0660);

	api_free(TAKE_PTR(bench->api));
	write_file(bench->socket, "precious", 0600);
	assert_int_equal(api_start(&options, &bench->api, &problem), -EEXIST);
	assert_non_null(strstr(problem.text, "not a socket"));
	assert_int_equal(access(bench->socket, F_OK), 0);
}

/*
 * Connects as another user with GROUP as its supplementary one. Returns 1 if it was answered, 0 if
 * not.
 */
static int ask_as(struct api_bench *bench, gid_t group)
{
	static const char health[] =
		"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		char answer[100];

		if (setgroups(1, &group) < 0 || setresgid(PEOPLE, PEOPLE, PEOPLE) < 0 ||
		    setresuid(PEOPLE, PEOPLE, PEOPLE) < 0)
			_exit(100);
		int fd = dial(bench);
		fcntl(fd, F_SETFL, 0);
		(void)!write(fd, health, sizeof(health) - 1);
		ssize_t length = read(fd, answer, sizeof(answer));
		_exit(length > 0 ? 1 : 0);
	}
	WAIT_FOR(&bench->bench->base, "the other user", waitpid(pid, &status, WNOHANG) == pid);
	return WEXITSTATUS(status);
}

static void only_those_who_are_allowed_are_answered(void **state)
{
	struct api_bench *bench = *state;
	struct api_options options = options_of(bench);
	struct problem problem = {0};
	const gid_t group = 65533;

	if (geteuid() != 0) {
		skip_because("needs root to become another user");
	}
	assert_int_equal(chmod(bench->bench->base.directory, 0755), 0);
	assert_int_equal(chmod(bench->socket, 0666), 0); /* so that only the credentials decide */
	assert_int_equal(ask_as(bench, PEOPLE), 0);
	assert_int_equal(bench->api->counts.refused_peer, 1);

	api_free(TAKE_PTR(bench->api));
	options.allowed_groups = &group;
	options.allowed_group_count = 1;
	assert_int_equal(api_start(&options, &bench->api, &problem), 0);
	assert_int_equal(ask_as(bench, group), 1);
	assert_int_equal(ask_as(bench, PEOPLE), 0);
}

static int dial_tcp(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static void the_tcp_listener_knows_metrics_alone(void **state)
{
	struct api_bench *bench = *state;
	static const char metrics[] =
		"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	static const char list[] =
		"GET /api/v1/abnormals HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	struct sockaddr_in address;
	socklen_t length = sizeof(address);

	api_free(TAKE_PTR(bench->api));
	api_begin(bench, "127.0.0.1:0");
	assert_int_equal(getsockname(bench->api->metrics_fd, (struct sockaddr *)&address, &length),
			 0);
	uint16_t port = ntohs(address.sin_port);
	const char *answer = exchange_on(bench, dial_tcp(port), metrics, sizeof(metrics) - 1);
	assert_says(answer, 200, "application/openmetrics-text");
	assert_true(endswith(answer, "# EOF\n"));
	assert_says(exchange_on(bench, dial_tcp(port), list, sizeof(list) - 1), 404, "no path");
}

static void whoever_fills_the_tcp_listener_does_not_shut_the_operator_out(void **state)
{
	struct api_bench *bench = *state;
	struct sockaddr_in address;
	socklen_t length = sizeof(address);
	int fds[CONNECTIONS_MAX];

	api_free(TAKE_PTR(bench->api));
	api_begin(bench, "127.0.0.1:0");
	assert_int_equal(getsockname(bench->api->metrics_fd, (struct sockaddr *)&address, &length),
			 0);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = dial_tcp(ntohs(address.sin_port));
		WAIT_FOR(&bench->bench->base, "the connection's acceptance",
			 bench->api->counts.connections_accepted == i + 1);
	}
	assert_int_equal(bench->api->connection_count, METRICS_CONNECTIONS_MAX);
	assert_says(request(bench, "GET", "/healthz", ""), 200, "ok");
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	WAIT_FOR(&bench->bench->base, "all to be gone", bench->api->connection_count == 0);
	assert_int_equal(bench->api->metrics_connection_count, 0);
}

int main(int argc, char **argv)
{
	WORKER_OR_RETURN(argc, argv);
	const struct CMUnitTest tests[] = {
		API_TEST(garbage_ends_its_connection_alone),
		API_TEST(a_request_that_never_ends_is_given_up),
		API_TEST(watchers_and_connections_are_bounded),
		API_TEST(the_api_ends_with_watchers_and_waiting_requests),
		API_TEST(a_second_agent_on_the_socket_is_refused_and_told_whose_it_is),
		API_TEST(a_socket_left_behind_is_replaced_and_a_file_in_the_way_is_not),
		API_TEST(only_those_who_are_allowed_are_answered),
		API_TEST(the_tcp_listener_knows_metrics_alone),
		API_TEST(whoever_fills_the_tcp_listener_does_not_shut_the_operator_out),
	};
	return cmocka_run_group_tests_name("api: server", tests, NULL, NULL);
}
