/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API on a real socket, over a real pipeline and store, with clients that behave and clients
 * that do not.
 */
#include "../chain/pipeline_fixture.h"

#include <grp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "api/api.h"
#include "api/internal.h"
#include "../skip.h"

#define PEOPLE ((uid_t)65534)

struct api_bench {
	struct bench *bench;
	struct host *host;
	struct api *api;
	struct clock clock;
	uint64_t skew_ns;
	char socket[128];
	struct buffer answer; /* what the last exchange brought */
};

static uint64_t skewed_monotonic(void *userdata)
{
	const struct api_bench *bench = userdata;

	return clock_monotonic(clock_system()) + bench->skew_ns;
}

static struct api_options options_of(struct api_bench *bench)
{
	return (struct api_options){
		.event = bench->bench->base.event,
		.clock = &bench->clock,
		.host = bench->host,
		.socket_path = bench->socket,
		.store = bench->bench->store,
		.pipeline = bench->bench->pipeline,
		.registry = bench->bench->registry,
		.pool = bench->bench->base.pool,
		.node_name = "n1",
		.version = "test",
	};
}

static void api_begin(struct api_bench *bench, const char *metrics_address)
{
	struct api_options options = options_of(bench);
	struct problem problem = {0};

	options.metrics_address = metrics_address;
	if (api_start(&options, &bench->api, &problem) < 0)
		fail_msg("%s", problem.text);
}

static int setup(void **state)
{
	struct api_bench *bench = calloc(1, sizeof(*bench));
	void *inner;

	assert_non_null(bench);
	bench_setup(&inner);
	bench->bench = inner;
	bench->clock = *clock_system();
	bench->clock.monotonic_ns = skewed_monotonic;
	bench->clock.userdata = bench;
	bench->answer = BUFFER(64 * MIB);
	assert_int_equal(host_open(NULL, &bench->host), 0);
	snprintf(bench->socket, sizeof(bench->socket), "%s/run/api.sock",
		 bench->bench->base.directory);
	api_begin(bench, NULL);
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	struct api_bench *bench = *state;
	void *inner = bench->bench;

	api_free(bench->api);
	bench_teardown(&inner);
	host_free(bench->host);
	buffer_free(&bench->answer);
	free(bench);
	return 0;
}

/* --- A client without manners --- */

static int dial(struct api_bench *bench)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(address.sun_path, bench->socket, strlen(bench->socket));
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/*
 * Sends all of TEXT, letting the server run where it must; stops when the server no longer listens.
 */
static void say(struct api_bench *bench, int fd, const char *text, size_t length)
{
	uint64_t end = test_now() + TEST_DEADLINE_NS;

	while (length) {
		ssize_t sent = send(fd, text, length, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno != EAGAIN)
			return;
		text += MAX(sent, 0);
		length -= (size_t)MAX(sent, 0);
		assert_true(test_now() < end);
		assert_true(sd_event_run(bench->bench->base.event, 1000) >= 0);
	}
}

/* Reads what has come. Returns true at the end of the connection. */
static bool hear(struct api_bench *bench, int fd)
{
	ssize_t length;

	while ((length = buffer_read(&bench->answer, fd)) > 0)
		;
	return length == 0 || (length < 0 && length != -EAGAIN);
}

static const char *exchange_on(struct api_bench *bench, int fd, const char *text, size_t length)
{
	buffer_free(&bench->answer);
	say(bench, fd, text, length);
	WAIT_FOR(&bench->bench->base, "an answer and its end", hear(bench, fd));
	close(fd);
	return buffer_text(&bench->answer);
}

static const char *request(struct api_bench *bench, const char *method, const char *path,
			   const char *body)
{
	_cleanup_free_ char *text = NULL;

	assert_true(asprintf(&text,
			     "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "
			     "%zu\r\n\r\n%s",
			     method, path, strlen(body), body) > 0);
	return exchange_on(bench, dial(bench), text, strlen(text));
}

static unsigned status_of(const char *answer)
{
	unsigned status = 0;

	sscanf(answer, "HTTP/1.1 %u", &status);
	return status;
}

#define assert_says(answer, status, words)                                                      \
	do {                                                                                    \
		const char *answer_ = (answer);                                                 \
		if (status_of(answer_) != (status) || !strstr(answer_, (words)))                \
			fail_msg("expected %d and \"%s\" in:\n%s", (status), (words), answer_); \
	} while (0)

#define CUSTOM(name)                                                                        \
	"{\"apiVersion\":\"lifeboat.dev/"                                                   \
	"v1alpha1\",\"kind\":\"Abnormal\",\"metadata\":{\"name\":\"" name                   \
	"\"},\"spec\":{\"source\":\"Custom\",\"skipDiagnosis\":true,\"skipRecovery\":true," \
	"\"context\":{\"a\":1}}}"

/* A client that follows a stream; its end is the test's to close. */
static int follow(struct api_bench *bench, const char *path)
{
	char text[256];
	int fd = dial(bench);

	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
	buffer_free(&bench->answer);
	say(bench, fd, text, strlen(text));
	WAIT_FOR(&bench->bench->base, "the head of a stream",
		 hear(bench, fd) || strstr(buffer_text(&bench->answer), "\r\n\r\n"));
	return fd;
}

static void await_text(struct api_bench *bench, int fd, const char *words)
{
	WAIT_FOR(&bench->bench->base, words,
		 (hear(bench, fd), strstr(buffer_text(&bench->answer), words)));
}

/* --- Tests --- */

static void what_is_submitted_can_be_listed_read_and_deleted(void **state)
{
	struct api_bench *bench = *state;

	assert_says(request(bench, "GET", "/api/v1/abnormals", ""), 200, "\"items\":[]");
	assert_says(request(bench, "POST", "/api/v1/abnormals", CUSTOM("one")), 201,
		    "\"result\":\"created\"");
	assert_says(request(bench, "POST", "/api/v1/abnormals", CUSTOM("one")), 200,
		    "\"name\":\"one\"");
	assert_says(request(bench, "POST", "/api/v1/abnormals",
			    "{\"apiVersion\":\"lifeboat.dev/"
			    "v1alpha1\",\"kind\":\"Abnormal\",\"metadata\":{\"name\":\"one\"},"
			    "\"spec\":{\"source\":\"Custom\",\"context\":{\"b\":2}}}"),
		    409, "another Abnormal has this name");
	assert_says(request(bench, "POST", "/api/v1/abnormals",
			    "{\"apiVersion\":\"lifeboat.dev/"
			    "v1alpha1\",\"kind\":\"Abnormal\",\"spec\":{\"source\":\"Custom\","
			    "\"nodeName\":\"mars\",\"context\":{\"b\":2}}}"),
		    422, "spec.nodeName");
	assert_says(request(bench, "GET", "/api/v1/abnormals?namespace=default", ""), 200,
		    "\"name\":\"one\"");
	assert_says(request(bench, "GET", "/api/v1/abnormals?namespace=other", ""), 200,
		    "\"items\":[]");
	assert_says(request(bench, "GET", "/api/v1/namespaces/default/abnormals/one", ""), 200,
		    "\"kind\":\"Abnormal\"");
	assert_says(request(bench, "GET", "/api/v1/namespaces/default/abnormals/one/history", ""),
		    200, "\"kind\":\"List\"");
	assert_says(request(bench, "DELETE", "/api/v1/namespaces/default/abnormals/one", ""), 200,
		    "deleted");
	assert_says(request(bench, "GET", "/api/v1/namespaces/default/abnormals/one", ""), 404,
		    "no Abnormal one");
	assert_says(request(bench, "DELETE", "/api/v1/namespaces/default/abnormals/one", ""), 404,
		    "no Abnormal one");
}

static void what_the_agent_alone_writes_is_not_taken_from_a_user(void **state)
{
	struct api_bench *bench = *state;
	const char *text =
		"{\"apiVersion\":\"lifeboat.dev/"
		"v1alpha1\",\"kind\":\"Abnormal\",\"metadata\":{\"name\":\"sly\","
		"\"uid\":\"../../etc\"},\"spec\":{\"source\":\"Custom\",\"context\":{\"a\":1}},"
		"\"status\":{\"phase\":\"Succeeded\",\"reason\":\"Forged\"}}";

	assert_says(request(bench, "POST", "/api/v1/abnormals", text), 201, "created");
	const char *answer = request(bench, "GET", "/api/v1/namespaces/default/abnormals/sly", "");
	assert_says(answer, 200, "\"uid\"");
	assert_null(strstr(answer, "Forged"));
	assert_null(strstr(answer, "etc"));
	assert_says(request(bench, "POST", "/api/v1/diagnosers/holmes/diagnose", text), 400,
		    "metadata.uid");
}

static void an_unknown_path_or_method_or_parameter_is_named(void **state)
{
	struct api_bench *bench = *state;

	assert_says(request(bench, "GET", "/api/v2/abnormals", ""), 404, "/api/v2/abnormals");
	assert_says(request(bench, "PUT", "/api/v1/abnormals", ""), 405, "Allow: GET, POST");
	assert_says(request(bench, "HEAD", "/healthz", ""), 405, "Allow: GET");
	assert_says(request(bench, "GET", "/api/v1/abnormals?wach=true", ""), 400, "wach");
	assert_says(request(bench, "GET", "/api/v1/abnormals?watch=yes", ""), 400, "true or false");
	assert_says(request(bench, "POST",
			    "/api/v1/recoverers/gentle/"
			    "recover?namespace=default&abnormal=x&dryrun=true",
			    ""),
		    400, "dryrun");
	assert_says(request(bench, "POST",
			    "/api/v1/recoverers/gentle/"
			    "recover?namespace=default&abnormal=x&dryRun",
			    ""),
		    400, "dryRun has no value");
	assert_says(request(bench, "POST",
			    "/api/v1/recoverers/gentle/"
			    "recover?namespace=default&abnormal=x&dryRun=false&dryRun=true",
			    ""),
		    400, "dryRun is there more than once");
	assert_says(request(bench, "POST",
			    "/api/v1/recoverers/gentle/recover?namespace=default&abnormal=x", ""),
		    404, "no Abnormal x");
	assert_says(request(bench, "POST",
			    "/api/v1/recoverers/nobody/recover?namespace=default&abnormal=x", ""),
		    404, "no recoverer nobody");
}

static void bad_json_is_refused_with_its_place_and_a_bad_field_by_name(void **state)
{
	struct api_bench *bench = *state;

	assert_says(request(bench, "POST", "/api/v1/abnormals", "{\n \"a\": [}"), 400, "line 2");
	assert_says(request(bench, "POST", "/api/v1/abnormals", ""), 400, "error");
	assert_says(request(bench, "POST", "/api/v1/abnormals",
			    "{\"apiVersion\":\"lifeboat.dev/"
			    "v1alpha1\",\"kind\":\"Abnormal\",\"spec\":{\"source\":\"Log\","
			    "\"log\":{\"filePath\":\"/x\"}}}"),
		    400, "\"field\":\"spec.log.logEntry\"");
	assert_says(request(bench, "GET", "/api/v1/abnormals", ""), 200, "\"items\":[]");
}

static void a_body_over_the_limit_is_refused_announced_or_not(void **state)
{
	struct api_bench *bench = *state;
	size_t size = ABNORMAL_BYTES_MAX + 1;
	_cleanup_free_ char *body = malloc(size + 1);
	_cleanup_buffer_ struct buffer chunked = BUFFER(8 * MIB);

	assert_non_null(body);
	memset(body, ' ', size);
	body[size] = '\0';
	assert_says(request(bench, "POST", "/api/v1/abnormals", body), 413, "more than");
	assert_int_equal(
		buffer_printf(&chunked,
			      "POST /api/v1/abnormals HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
			      "Transfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n0\r\n\r\n",
			      size, body),
		0);
	assert_says(exchange_on(bench, dial(bench), chunked.data, chunked.length), 413,
		    "more than");
	assert_says(request(bench, "GET", "/healthz", ""), 200, "ok");
}

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

static void a_watch_tells_what_is_there_and_what_changes(void **state)
{
	struct api_bench *bench = *state;

	assert_says(request(bench, "POST", "/api/v1/abnormals", CUSTOM("before")), 201, "created");
	int fd = follow(bench, "/api/v1/abnormals?watch=true");
	await_text(bench, fd, "{\"type\":\"ADDED\"");
	await_text(bench, fd, "\"before\"");
	_cleanup_abnormal_ struct abnormal *later =
		fault(bench->bench, "Custom", "later", NULL, "",
		      "\"skipDiagnosis\":true,\"skipRecovery\":true");
	submit(bench->bench, TAKE_PTR(later));
	await_text(bench, fd, "\"later\"");
	await_text(bench, fd, "{\"type\":\"MODIFIED\"");
	await_text(bench, fd, "\"phase\":\"Succeeded\"");
	assert_int_equal(pipeline_delete(bench->bench->pipeline, "default", "later", NULL, NULL),
			 0);
	await_text(bench, fd, "{\"type\":\"DELETED\"");
	close(fd);
}

static void a_watcher_that_leaves_is_noticed_though_nothing_happens(void **state)
{
	struct api_bench *bench = *state;
	int fd = follow(bench, "/api/v1/abnormals?watch=true");

	assert_int_equal(stream_count(bench->api), 1);
	close(fd);
	WAIT_FOR(&bench->bench->base, "the stream to end", stream_count(bench->api) == 0);
	WAIT_FOR(&bench->bench->base, "the connection to end", bench->api->connection_count == 0);
}

static struct finding finding_of(size_t length)
{
	struct finding finding = {
		.detector = "test", .type = "Test", .subject = malloc(length + 1)};

	assert_non_null(finding.subject);
	memset(finding.subject, 's', length);
	finding.subject[length] = '\0';
	finding.event = cJSON_CreateObject();
	return finding;
}

static void finding_end(struct finding *finding)
{
	free(finding->subject);
	cJSON_Delete(finding->event);
}

static void findings_come_as_lines(void **state)
{
	struct api_bench *bench = *state;
	int fd = follow(bench, "/api/v1/events");
	struct finding finding = finding_of(3);

	api_publish_finding(bench->api, &finding);
	await_text(bench, fd,
		   "{\"detector\":\"test\",\"type\":\"Test\",\"cleared\":false,\"subject\":\"sss\","
		   "\"event\":{}}\n");
	finding_end(&finding);
	close(fd);
}

static void a_watcher_that_does_not_read_is_told_and_closed_and_holds_up_nobody(void **state)
{
	struct api_bench *bench = *state;
	int slow = follow(bench, "/api/v1/events");
	struct finding finding = finding_of(64 * KIB);

	for (size_t i = 0; i < 2 * WATCH_BYTES_MAX / (64 * KIB); i++) {
		api_publish_finding(bench->api, &finding);
		assert_true(sd_event_run(bench->bench->base.event, 1000) >= 0);
	}
	finding_end(&finding);
	assert_int_equal(bench->api->counts.watchers_closed, 1);
	WAIT_FOR(&bench->bench->base, "the end of the stream",
		 (hear(bench, slow), strstr(buffer_text(&bench->answer), "\r\n0\r\n\r\n")));
	assert_non_null(strstr(bench->answer.data, "{\"type\":\"ERROR\""));
	assert_true(bench->answer.length < WATCH_BYTES_MAX + MIB);
	close(slow);
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

static void a_plugin_runs_by_hand_and_its_answer_comes_back(void **state)
{
	struct api_bench *bench = *state;
	_cleanup_free_ char *body = NULL;
	_cleanup_abnormal_ struct abnormal *abnormal =
		fault(bench->bench, "Custom", "asked", NULL,
		      "\"holmes\":{\"diagnose\":\"yes\"},\"looker\":{\"collect\":\"yes\"}", "");

	assert_int_equal(abnormal_print(abnormal, &body), 0);
	assert_says(request(bench, "POST", "/api/v1/diagnosers/holmes/diagnose", body), 200,
		    "\"reason\":\"TestFault\"");
	assert_says(request(bench, "POST", "/api/v1/informationcollectors/looker/collect", body),
		    200, "\"looker\":\"evidence\"");
	assert_says(request(bench, "POST", "/api/v1/diagnosers/nobody/diagnose", body), 404,
		    "lifeboat get diagnosers");
	assert_says(request(bench, "GET", "/api/v1/abnormals", ""), 200, "\"items\":[]");
}

static int ask_and_wait(struct api_bench *bench)
{
	_cleanup_free_ char *body = NULL, *text = NULL;
	_cleanup_abnormal_ struct abnormal *abnormal = fault(
		bench->bench, "Custom", "asked", NULL, "\"holmes\":{\"diagnose\":\"hang\"}", "");
	int fd = dial(bench);

	assert_int_equal(abnormal_print(abnormal, &body), 0);
	assert_true(asprintf(&text,
			     "POST /api/v1/diagnosers/holmes/diagnose HTTP/1.1\r\nHost: "
			     "x\r\nContent-Length: %zu\r\n\r\n%s",
			     strlen(body), body) > 0);
	say(bench, fd, text, strlen(text));
	WAIT_FOR(&bench->bench->base, "the request to wait",
		 bench->api->connections && bench->api->connections->request &&
			 bench->api->connections->request->suspended);
	return fd;
}

static void a_client_that_leaves_before_its_answer_leaves_nothing_behind(void **state)
{
	struct api_bench *bench = *state;
	int fd = ask_and_wait(bench);

	close(fd);
	WAIT_FOR(&bench->bench->base, "the connection to end", bench->api->connection_count == 0);
	/* The call ends with the pipeline, in teardown, and finds nobody. */
}

static void an_answer_that_does_not_come_is_given_up(void **state)
{
	struct api_bench *bench = *state;
	int fd = ask_and_wait(bench);

	bench->skew_ns = (ANSWER_TIMEOUT_S + 1) * NS_PER_S;
	buffer_free(&bench->answer);
	await_text(bench, fd, "\"error\"");
	assert_int_equal(status_of(bench->answer.data), 504);
	close(fd);
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

static void status_and_parts_are_told(void **state)
{
	struct api_bench *bench = *state;

	assert_says(request(bench, "GET", "/api/v1/status", ""), 200, "\"medium\":\"disk\"");
	assert_says(request(bench, "GET", "/api/v1/collectors", ""), 200, "looker");
	assert_says(request(bench, "GET", "/api/v1/diagnosers", ""), 200, "holmes");
	assert_says(request(bench, "GET", "/api/v1/recoverers", ""), 200, "gentle");
	assert_says(request(bench, "GET", "/api/v1/detectors", ""), 200, "\"items\":[");
	assert_says(request(bench, "GET", "/api/v1/sources", ""), 200, "\"items\":[");
}

int main(int argc, char **argv)
{
	WORKER_OR_RETURN(argc, argv);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_is_submitted_can_be_listed_read_and_deleted),
		TEST(what_the_agent_alone_writes_is_not_taken_from_a_user),
		TEST(an_unknown_path_or_method_or_parameter_is_named),
		TEST(bad_json_is_refused_with_its_place_and_a_bad_field_by_name),
		TEST(a_body_over_the_limit_is_refused_announced_or_not),
		TEST(garbage_ends_its_connection_alone),
		TEST(a_request_that_never_ends_is_given_up),
		TEST(a_watch_tells_what_is_there_and_what_changes),
		TEST(a_watcher_that_leaves_is_noticed_though_nothing_happens),
		TEST(findings_come_as_lines),
		TEST(a_watcher_that_does_not_read_is_told_and_closed_and_holds_up_nobody),
		TEST(watchers_and_connections_are_bounded),
		TEST(a_plugin_runs_by_hand_and_its_answer_comes_back),
		TEST(a_client_that_leaves_before_its_answer_leaves_nothing_behind),
		TEST(an_answer_that_does_not_come_is_given_up),
		TEST(the_api_ends_with_watchers_and_waiting_requests),
		TEST(a_second_agent_on_the_socket_is_refused_and_told_whose_it_is),
		TEST(a_socket_left_behind_is_replaced_and_a_file_in_the_way_is_not),
		TEST(only_those_who_are_allowed_are_answered),
		TEST(the_tcp_listener_knows_metrics_alone),
		TEST(whoever_fills_the_tcp_listener_does_not_shut_the_operator_out),
		TEST(status_and_parts_are_told),
	};
	return cmocka_run_group_tests_name("api", tests, NULL, NULL);
}
