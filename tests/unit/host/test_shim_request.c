/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a shim for the state of a container, against a shim of the test's own. */
#include "fake_root.h"

#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "host/shim_request.h"

#define DEADLINE_NS (10 * NS_PER_S)
#define SHIM_PID 4711
#define V1 "containerd.runtime.linux.shim.v1.Shim"
#define V2 "containerd.task.v2.Task"
#define V3 "containerd.task.v3.Task"

struct fixture {
	struct fake_root *root;
	int listener, connection;
	struct shim shim;
	struct shim_request *request;
	char socket[64];
};

/* Listens as the fake shim does; the path is below the root that the shim has. */
static void listen_on(struct fixture *fixture, const struct sockaddr_un *address, socklen_t size)
{
	fixture->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fixture->listener >= 0);
	assert_int_equal(bind(fixture->listener, (const struct sockaddr *)address, size), 0);
	assert_int_equal(listen(fixture->listener, 1), 0);
}

static void listen_at(struct fixture *fixture, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", fixture->root->path, path);
	listen_on(fixture, &address, sizeof(address));
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	void *root;

	assert_int_equal(fake_root_setup(&root), 0);
	fixture->root = root;
	fixture->connection = -1;
	fake_process(fixture->root, SHIM_PID, 1, "containerd-shim", 'S', 99, false);
	listen_at(fixture, "s");
	snprintf(fixture->socket, sizeof(fixture->socket), "/s");
	fixture->shim = (struct shim){.process = {.pid = SHIM_PID, .start_time = 99},
				      .kind = SHIM_CONTAINERD_V2,
				      .namespace = (char *)"k8s.io",
				      .socket = fixture->socket};
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;
	void *root = fixture->root;

	shim_request_free(fixture->request);
	close(fixture->listener);
	if (fixture->connection >= 0)
		close(fixture->connection);
	fake_root_teardown(&root);
	free(fixture);
	return 0;
}

static void start(struct fixture *fixture)
{
	assert_int_equal(
		shim_request_start(fixture->root->host, &fixture->shim, "web", &fixture->request),
		0);
	fixture->connection = accept4(fixture->listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fixture->connection >= 0);
}

static void receive(int fd, void *bytes, size_t length)
{
	assert_int_equal(recv(fd, bytes, length, MSG_WAITALL), length);
}

/* Reads the next call and asserts that it is of STREAM, to SERVICE, for "web". */
static void expect_call(const struct fixture *fixture, unsigned stream, const char *service)
{
	unsigned char header[10], message[4096];
	_cleanup_buffer_ struct buffer wanted = BUFFER(sizeof(message));

	receive(fixture->connection, header, sizeof(header));
	size_t length = (size_t)header[2] << 8 | header[3];
	assert_int_equal(header[0] | header[1], 0);
	assert_int_equal(header[7], stream);
	assert_int_equal(header[8], 1);
	assert_int_equal(header[9], 0);
	assert_in_range(length, 1, sizeof(message));
	receive(fixture->connection, message, length);
	/* service = 1, method = 2, payload = 3 { id = 1 } */
	buffer_printf(&wanted, "\x0a%c%s\x12\x05State\x1a\x05\x0a\x03web", (int)strlen(service),
		      service);
	assert_true(length >= wanted.length);
	assert_memory_equal(message, wanted.data, wanted.length);
}

/* What the shim writes: a frame of MESSAGE. */
static void add_frame(struct buffer *out, unsigned stream, unsigned type, const void *message,
		      size_t length)
{
	const unsigned char header[10] = {(unsigned char)(length >> 24),
					  (unsigned char)(length >> 16),
					  (unsigned char)(length >> 8),
					  (unsigned char)length,
					  0,
					  0,
					  0,
					  (unsigned char)stream,
					  (unsigned char)type,
					  0};

	assert_int_equal(buffer_append(out, header, sizeof(header)), 0);
	assert_int_equal(buffer_append(out, message, length), 0);
}

/* A StateResponse: id = 1, bundle = 2, pid = 3, status = 4, exited_at = 10. */
static void add_state(struct buffer *out, unsigned stream, int status)
{
	char message[] = "\x12\x13\x0a\x03web\x12\x04/run\x18\x80\x01\x20S\x52\x01x";

	*strchr(message, 'S') = (char)status;
	add_frame(out, stream, 2, message, sizeof(message) - 1);
}

/* A failure: status = 1 { code = 1, message = 2 }. */
static void add_error(struct buffer *out, unsigned stream, int code, const char *text)
{
	_cleanup_buffer_ struct buffer message = BUFFER(KIB);
	int length = (int)strlen(text);

	buffer_printf(&message, "\x0a%c\x08%c\x12%c%s", length + 4, code, length, text);
	add_frame(out, stream, 2, message.data, message.length);
}

static void answer(const struct fixture *fixture, const struct buffer *bytes)
{
	assert_int_equal(send(fixture->connection, bytes->data, bytes->length, MSG_NOSIGNAL),
			 bytes->length);
}

static void expect_answer(struct fixture *fixture, const char *expected)
{
	_cleanup_free_ char *text = NULL;

	assert_int_equal(shim_request_check(fixture->request, &text), 0);
	assert_string_equal(text, expected);
}

static void expect_none(struct fixture *fixture, int error)
{
	char *text = NULL;

	assert_int_equal(shim_request_check(fixture->request, &text), error);
	assert_null(text);
}

static void the_state_is_asked_as_containerd_asks_it(void **state)
{
	_cleanup_buffer_ struct buffer bytes = BUFFER(KIB);
	struct fixture *fixture = *state;

	start(fixture);
	expect_none(fixture, -EINPROGRESS);
	expect_call(fixture, 1, V2);
	add_state(&bytes, 1, 2);
	answer(fixture, &bytes);
	expect_answer(fixture, "running");
}

static void each_status_has_its_name(void **state)
{
	static const char *const names[] = {"unknown", "created", "running", "stopped",
					    "paused",  "pausing", "unknown"};
	struct fixture *fixture = *state;

	fixture->shim.kind = SHIM_CONTAINERD_V1;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_buffer_ struct buffer bytes = BUFFER(KIB);

		start(fixture);
		expect_call(fixture, 1, V1);
		add_state(&bytes, 1, (int)i);
		answer(fixture, &bytes);
		expect_answer(fixture, names[i]);
		shim_request_free(TAKE_PTR(fixture->request));
		close(TAKE_FD(fixture->connection));
	}
}

static void an_answer_may_come_in_pieces_after_others(void **state)
{
	_cleanup_buffer_ struct buffer bytes = BUFFER(KIB);
	struct fixture *fixture = *state;

	start(fixture);
	add_frame(&bytes, 3, 2, "\xff\xff", 2);
	add_frame(&bytes, 1, 3, "data", 4);
	add_frame(&bytes, 5, 2, "", 0);
	add_state(&bytes, 1, 4);
	for (size_t i = 0; i < bytes.length; i++) {
		expect_none(fixture, -EINPROGRESS);
		assert_int_equal(send(fixture->connection, bytes.data + i, 1, MSG_NOSIGNAL), 1);
	}
	expect_answer(fixture, "paused");
}

static void an_error_is_an_answer(void **state)
{
	static const struct {
		int code;
		const char *text, *expected;
	} errors[] = {
		{5, "process id web does not exist", "not found"},
		{2, "runc did not \x1b[31mterminate", "error: runc did not ?[31mterminate"},
		{14, "", "error: "},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		_cleanup_buffer_ struct buffer bytes = BUFFER(KIB);

		start(fixture);
		add_error(&bytes, 1, errors[i].code, errors[i].text);
		answer(fixture, &bytes);
		expect_answer(fixture, errors[i].expected);
		shim_request_free(TAKE_PTR(fixture->request));
		close(TAKE_FD(fixture->connection));
	}
}

static void a_newer_shim_is_asked_by_its_own_service(void **state)
{
	_cleanup_buffer_ struct buffer unknown = BUFFER(KIB), state_bytes = BUFFER(KIB);
	struct fixture *fixture = *state;

	start(fixture);
	expect_call(fixture, 1, V2);
	add_error(&unknown, 1, 12, "service " V2);
	answer(fixture, &unknown);
	expect_none(fixture, -EINPROGRESS);
	/* The namespace that goes with the call stands after what expect_call looked at. */
	expect_call(fixture, 3, V3);
	add_state(&state_bytes, 3, 3);
	answer(fixture, &state_bytes);
	expect_answer(fixture, "stopped");
}

static void a_shim_that_knows_no_service_is_alive_too(void **state)
{
	_cleanup_buffer_ struct buffer bytes = BUFFER(KIB);
	struct fixture *fixture = *state;

	/* In the words of ttrpc before 1.1. */
	start(fixture);
	add_error(&bytes, 1, 5, "service " V2);
	add_error(&bytes, 3, 5, "service " V3);
	assert_int_equal(send(fixture->connection, bytes.data, bytes.length / 2, MSG_NOSIGNAL),
			 bytes.length / 2);
	expect_none(fixture, -EINPROGRESS);
	assert_int_equal(send(fixture->connection, bytes.data + bytes.length / 2,
			      bytes.length - bytes.length / 2, MSG_NOSIGNAL),
			 bytes.length - bytes.length / 2);
	expect_answer(fixture, "unimplemented");
}

static void an_answer_that_is_too_long_is_cut_not_refused(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_buffer_ struct buffer message = BUFFER(8 * MIB), bytes = BUFFER(8 * MIB);
	static const char filler[MIB];
	_cleanup_free_ char *text = NULL;
	int r = -EINPROGRESS;

	/* payload { status, bundle of a MiB }: the length of each in four bytes */
	buffer_append(&message, "\x12\x87\x80\xc0\x00\x20\x02\x12\x80\x80\xc0\x00", 12);
	buffer_append(&message, filler, sizeof(filler));
	add_frame(&bytes, 1, 2, message.data, message.length);
	start(fixture);
	for (size_t sent = 0; sent < bytes.length;) {
		ssize_t length = send(fixture->connection, bytes.data + sent, bytes.length - sent,
				      MSG_NOSIGNAL | MSG_DONTWAIT);

		sent += (size_t)MAX(length, 0);
		assert_int_equal(r, -EINPROGRESS);
		r = shim_request_check(fixture->request, &text);
	}
	for (unsigned i = 0; r == -EINPROGRESS && i < 100; i++)
		r = shim_request_check(fixture->request, &text);
	assert_int_equal(r, 0);
	assert_string_equal(text, "running");
}

static void what_is_not_the_protocol_is_told(void **state)
{
	static const struct {
		const char *bytes;
		size_t length;
	} wrong[] = {
		{"HTTP/1.1 400 Bad Request\r\n\r\n", 28},
		/* The settings of an HTTP/2 server, which a gRPC shim sends at once. */
		{"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00", 15},
		/* Longer than any message may be. */
		{"\x00\x40\x00\x01\x00\x00\x00\x01\x02\x00", 10},
		/* Messages that end within a field, or are of no field. */
		{"\x00\x00\x00\x02\x00\x00\x00\x01\x02\x00\x12\x05", 12},
		{"\x00\x00\x00\x01\x00\x00\x00\x01\x02\x00\x80", 11},
		{"\x00\x00\x00\x02\x00\x00\x00\x01\x02\x00\x00\x00", 12},
		{"\x00\x00\x00\x02\x00\x00\x00\x01\x02\x00\x0b\x0c", 12},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		start(fixture);
		assert_int_equal(
			send(fixture->connection, wrong[i].bytes, wrong[i].length, MSG_NOSIGNAL),
			wrong[i].length);
		expect_none(fixture, -EBADMSG);
		shim_request_free(TAKE_PTR(fixture->request));
		close(TAKE_FD(fixture->connection));
	}
}

static void a_connection_that_is_closed_is_told(void **state)
{
	struct fixture *fixture = *state;

	start(fixture);
	assert_int_equal(send(fixture->connection, "\x00", 1, MSG_NOSIGNAL), 1);
	close(TAKE_FD(fixture->connection));
	expect_none(fixture, -ECONNRESET);
}

static void nobody_there_is_refused(void **state)
{
	struct fixture *fixture = *state;
	const struct host *host = fixture->root->host;
	struct shim_request *request;

	close(fixture->listener);
	assert_int_equal(shim_request_start(host, &fixture->shim, "web", &request), -ECONNREFUSED);
	listen_at(fixture, "t");
	snprintf(fixture->socket, sizeof(fixture->socket), "/gone");
	assert_int_equal(shim_request_start(host, &fixture->shim, "web", &request), -ENOENT);
	snprintf(fixture->socket, sizeof(fixture->socket), "/proc/%d/stat", SHIM_PID);
	assert_int_equal(shim_request_start(host, &fixture->shim, "web", &request), -ENOTSOCK);
	snprintf(fixture->socket, sizeof(fixture->socket), "/t");
	fixture->shim.process.start_time = 98;
	assert_int_equal(shim_request_start(host, &fixture->shim, "web", &request), -ESRCH);
}

static void who_has_no_such_socket_is_not_asked(void **state)
{
	struct fixture *fixture = *state;
	struct shim_request *request;

	fixture->shim.kind = SHIM_CONMON;
	assert_int_equal(shim_request_start(fixture->root->host, &fixture->shim, "web", &request),
			 -EOPNOTSUPP);
	fixture->shim.kind = SHIM_CONTAINERD_V1;
	fixture->shim.socket = NULL;
	assert_int_equal(shim_request_start(fixture->root->host, &fixture->shim, "web", &request),
			 -EOPNOTSUPP);
}

static void a_users_shim_does_not_lead_to_roots_socket(void **state)
{
	struct fixture *fixture = *state;

	fake_file(fixture->root, "proc/4711/status", "Tgid:\t4711\nUid:\t%u\t0\t0\t0\n",
		  geteuid() + 1);
	assert_int_equal(
		shim_request_start(fixture->root->host, &fixture->shim, "web", &fixture->request),
		-EPERM);
	assert_null(fixture->request);
}

static void a_full_queue_is_told_at_once(void **state)
{
	struct fixture *fixture = *state;
	struct shim_request *requests[16] = {NULL};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(requests) && r == 0; i++)
		r = shim_request_start(fixture->root->host, &fixture->shim, "web", &requests[i]);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		shim_request_free(requests[i]);
	assert_int_equal(r, -EAGAIN);
}

static void no_link_leads_out_of_the_shims_root(void **state)
{
	struct fixture *fixture = *state;
	struct shim_request *request;
	char outside[PATH_MAX];

	/* From the root that the shim has, this is a link to itself of another name. */
	snprintf(outside, sizeof(outside), "%s/s", fixture->root->path);
	fake_link(fixture->root, "link", outside);
	snprintf(fixture->socket, sizeof(fixture->socket), "/link");
	assert_int_equal(shim_request_start(fixture->root->host, &fixture->shim, "web", &request),
			 -ENOENT);
	fake_link(fixture->root, "inside", "/s");
	snprintf(fixture->socket, sizeof(fixture->socket), "/inside");
	start(fixture);
}

static void an_abstract_socket_is_found_with_and_without_the_last_nul(void **state)
{
	struct fixture *fixture = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t size;

	for (unsigned nul = 0; nul < 2; nul++) {
		close(fixture->listener);
		int length = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1,
				      "/containerd-shim/test/%d/shim.sock", (int)getpid());
		size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length +
				   nul);
		listen_on(fixture, &address, size);
		snprintf(fixture->socket, sizeof(fixture->socket),
			 "@/containerd-shim/test/%d/shim.sock%s", (int)getpid(), nul ? "@" : "");
		start(fixture);
		expect_call(fixture, 1, V2);
		shim_request_free(TAKE_PTR(fixture->request));
		close(TAKE_FD(fixture->connection));
	}
}

static void whoever_may_wait_is_answered_or_told_that_nothing_came(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_free_ char *text = NULL;
	char *none = NULL;
	int status;

	assert_int_equal(shim_ask(fixture->root->host, &fixture->shim, "web", clock_system(),
				  20 * NS_PER_MS, &none),
			 -ETIMEDOUT);
	close(accept4(fixture->listener, NULL, NULL, SOCK_CLOEXEC));
	pid_t child = fork();
	if (child == 0) {
		_cleanup_buffer_ struct buffer bytes = BUFFER(KIB);

		fixture->connection = accept4(fixture->listener, NULL, NULL, SOCK_CLOEXEC);
		expect_call(fixture, 1, V2);
		add_state(&bytes, 1, 1);
		answer(fixture, &bytes);
		/* Until the other side has read and closed. */
		_exit(recv(fixture->connection, bytes.data, 1, 0) > 0);
	}
	int r = shim_ask(fixture->root->host, &fixture->shim, "web", clock_system(), DEADLINE_NS,
			 &text);
	if (r < 0)
		kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(r, 0);
	assert_string_equal(text, "created");
}

#define CLAIM(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLAIM(the_state_is_asked_as_containerd_asks_it),
		CLAIM(each_status_has_its_name),
		CLAIM(an_answer_may_come_in_pieces_after_others),
		CLAIM(an_error_is_an_answer),
		CLAIM(a_newer_shim_is_asked_by_its_own_service),
		CLAIM(a_shim_that_knows_no_service_is_alive_too),
		CLAIM(an_answer_that_is_too_long_is_cut_not_refused),
		CLAIM(what_is_not_the_protocol_is_told),
		CLAIM(a_connection_that_is_closed_is_told),
		CLAIM(nobody_there_is_refused),
		CLAIM(who_has_no_such_socket_is_not_asked),
		CLAIM(a_users_shim_does_not_lead_to_roots_socket),
		CLAIM(a_full_queue_is_told_at_once),
		CLAIM(no_link_leads_out_of_the_shims_root),
		CLAIM(an_abstract_socket_is_found_with_and_without_the_last_nul),
		CLAIM(whoever_may_wait_is_answered_or_told_that_nothing_came),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
