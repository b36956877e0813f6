/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API on a real socket, over a real pipeline and store, with clients that behave and clients
 * that do not: what the tests of its parts share.
 */
#pragma once

#include "../chain/pipeline_fixture.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "api/api.h"
#include "api/internal.h"

struct api_bench {
	struct bench *bench;
	struct host *host;
	struct api *api;
	struct clock clock;
	uint64_t skew_ns;
	char socket[128];
	struct buffer answer; /* what the last exchange brought */
};

static inline uint64_t skewed_monotonic(void *userdata)
{
	const struct api_bench *bench = userdata;

	return clock_monotonic(clock_system()) + bench->skew_ns;
}

static inline struct api_options options_of(struct api_bench *bench)
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

static inline void api_begin(struct api_bench *bench, const char *metrics_address)
{
	struct api_options options = options_of(bench);
	struct problem problem = {0};

	options.metrics_address = metrics_address;
	if (api_start(&options, &bench->api, &problem) < 0)
		fail_msg("%s", problem.text);
}

static inline int api_setup(void **state)
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

static inline int api_teardown(void **state)
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

static inline int dial(struct api_bench *bench)
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
static inline void say(struct api_bench *bench, int fd, const char *text, size_t length)
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
static inline bool hear(struct api_bench *bench, int fd)
{
	ssize_t length;

	while ((length = buffer_read(&bench->answer, fd)) > 0)
		;
	return length == 0 || (length < 0 && length != -EAGAIN);
}

static inline const char *exchange_on(struct api_bench *bench, int fd, const char *text,
				      size_t length)
{
	buffer_free(&bench->answer);
	say(bench, fd, text, length);
	WAIT_FOR(&bench->bench->base, "an answer and its end", hear(bench, fd));
	close(fd);
	return buffer_text(&bench->answer);
}

static inline const char *request(struct api_bench *bench, const char *method, const char *path,
				  const char *body)
{
	_cleanup_free_ char *text = NULL;

	assert_true(asprintf(&text,
			     "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "
			     "%zu\r\n\r\n%s",
			     method, path, strlen(body), body) > 0);
	return exchange_on(bench, dial(bench), text, strlen(text));
}

static inline unsigned status_of(const char *answer)
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
static inline int follow(struct api_bench *bench, const char *path)
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

static inline void await_text(struct api_bench *bench, int fd, const char *words)
{
	WAIT_FOR(&bench->bench->base, words,
		 (hear(bench, fd), strstr(buffer_text(&bench->answer), words)));
}

/* A diagnosis that does not end, asked for and waiting. */
static inline int ask_and_wait(struct api_bench *bench)
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

#define API_TEST(name) cmocka_unit_test_setup_teardown(name, api_setup, api_teardown)
