/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP client against peers that send what they like, and the doctor against hosts of paper. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/doctor_checks.h"
#include "cli/documents.h"

struct peer {
	char folder[64], socket[96];
	pid_t pid;
};

static int setup(void **state)
{
	struct peer *peer = calloc(1, sizeof(*peer));

	assert_non_null(peer);
	snprintf(peer->folder, sizeof(peer->folder), "/tmp/lifeboat-client-XXXXXX");
	assert_non_null(mkdtemp(peer->folder));
	snprintf(peer->socket, sizeof(peer->socket), "%s/s", peer->folder);
	setenv(SOCKET_VARIABLE, peer->socket, 1);
	*state = peer;
	return 0;
}

static int teardown(void **state)
{
	struct peer *peer = *state;

	if (peer->pid)
		waitpid(peer->pid, NULL, 0);
	unlink(peer->socket);
	rmdir(peer->folder);
	free(peer);
	return 0;
}

/* A process that answers one connection with ANSWER, STEP bytes at a time, and closes it. */
static void answer_with(struct peer *peer, const char *answer, size_t step)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, peer->socket, strlen(peer->socket));
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	peer->pid = fork();
	assert_true(peer->pid >= 0);
	if (peer->pid == 0) {
		char request[4096];
		int fd = accept(listener, NULL, NULL);

		if (read(fd, request, sizeof(request)) <= 0)
			_exit(1);
		for (size_t sent = 0, length = strlen(answer); sent < length; sent += step) {
			const struct timespec moment = {.tv_nsec = 1000000};

			if (file_write_fd(fd, answer + sent, MIN(step, length - sent)) < 0)
				break;
			nanosleep(&moment, NULL); /* so that the other end reads in pieces */
		}
		_exit(0);
	}
	close(listener);
}

static void no_agent_is_told_with_the_next_step(void **state)
{
	struct peer *peer = *state;
	struct problem problem = {0};
	char expected[256];

	assert_int_equal(client_call("GET", "/x", NULL, NULL, NULL, &problem), -ECONNREFUSED);
	snprintf(expected, sizeof(expected),
		 "no agent answers on %s: start one with `lifeboat agent` or name its socket with "
		 "--socket",
		 peer->socket);
	assert_string_equal(problem.text, expected);
}

static void a_chunked_answer_in_the_smallest_pieces_is_read_whole(void **state)
{
	struct problem problem = {0};
	_cleanup_json_ cJSON *json = NULL;
	int status = 0;

	answer_with(*state,
		    "HTTP/1.1 201 Created\r\nTRANSFER-ENCODING: chunked\r\n\r\n"
		    "3\r\n{\"a\r\n5;x=y\r\n\":[1,\r\nA\r\n2,3,4,5,6]\r\n1\r\n}\r\n0\r\n\r\n",
		    1);
	if (client_call("GET", "/x", NULL, &status, &json, &problem) < 0)
		fail_msg("%s", problem.text);
	assert_int_equal(status, 201);
	assert_int_equal(cJSON_GetArraySize(json_at(json, "a")), 6);
}

static void an_answer_until_the_end_of_the_connection_is_read_whole(void **state)
{
	struct problem problem = {0};
	_cleanup_json_ cJSON *json = NULL;

	answer_with(*state, "HTTP/1.0 200 OK\r\n\r\n[1,2]", 5);
	assert_int_equal(client_call("GET", "/x", NULL, NULL, &json, &problem), 0);
	assert_int_equal(cJSON_GetArraySize(json), 2);
}

static void an_error_has_the_agents_words(void **state)
{
	struct problem problem = {0};

	answer_with(*state,
		    "HTTP/1.1 400 Bad Request\r\nContent-Length: 60\r\n\r\n"
		    "{\"error\":{\"field\":\"spec.log.filePath\",\"message\":\"is required\"}}",
		    100);
	/* Content-Length lies by a few bytes: the answer is cut, and that is told. */
	assert_int_equal(client_call("GET", "/x", NULL, NULL, NULL, &problem), -EREMOTEIO);
	assert_non_null(strstr(problem.text, "400"));
}

static void a_named_field_comes_through(void **state)
{
	struct problem problem = {0};

	answer_with(*state,
		    "HTTP/1.1 404 Not "
		    "Found\r\n\r\n{\"error\":{\"field\":\"spec.source\",\"message\":\"is wrong\"}}",
		    100);
	assert_int_equal(client_call("GET", "/x", NULL, NULL, NULL, &problem), -ENOENT);
	assert_string_equal(problem.field, "spec.source");
	assert_string_equal(problem.text, "is wrong");
}

static void a_peer_that_closes_at_once_is_told(void **state)
{
	struct problem problem = {0};

	answer_with(*state, "", 1);
	assert_int_equal(client_call("GET", "/x", NULL, NULL, NULL, &problem), -ECONNRESET);
	assert_non_null(strstr(problem.text, "allowedUsers"));
}

static void a_bad_answer_is_an_error(const char *answer, void **state)
{
	struct problem problem = {0};
	_cleanup_json_ cJSON *json = NULL;

	answer_with(*state, answer, 1000);
	assert_true(client_call("GET", "/x", NULL, NULL, &json, &problem) < 0);
	assert_true(problem.text[0]);
}

static void another_protocol_is_an_error(void **state)
{
	a_bad_answer_is_an_error("SSH-2.0-x\r\n\r\n", state);
}

static void a_chunk_of_a_wrong_size_is_an_error(void **state)
{
	a_bad_answer_is_an_error(
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
		state);
}

static void a_cut_answer_is_an_error(void **state)
{
	a_bad_answer_is_an_error("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", state);
}

#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define LAST_CHUNK "0\r\n\r\n"

static void objects_come_one_by_one_and_the_end_is_told(void **state)
{
	_cleanup_lines_ struct client_lines lines = {0};
	struct problem problem = {0};

	answer_with(*state,
		    CHUNKED "4\r\n[1]\n\r\n6\r\n[2]\n[3\r\n3\r\n33]\r\n1\r\n\n\r\n" LAST_CHUNK, 3);
	assert_int_equal(client_lines_open("/x", &lines, &problem), 0);
	static const double expected[] = {1, 2, 333};
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		_cleanup_json_ cJSON *object = NULL;

		assert_int_equal(client_lines_next(&lines, 5000, &object, &problem), 0);
		assert_true(object->child->valuedouble == expected[i]);
	}
	cJSON *none = NULL;
	assert_int_equal(client_lines_next(&lines, 5000, &none, &problem), -ECONNREFUSED);
	assert_string_equal(problem.text, "the agent has ended");
	assert_null(none);
}

static void expect_end(void *state, const char *answer, int error, const char *text)
{
	_cleanup_lines_ struct client_lines lines = {0};
	struct problem problem = {0};
	cJSON *none = NULL;

	answer_with(state, answer, 1);
	assert_int_equal(client_lines_open("/x", &lines, &problem), 0);
	assert_int_equal(client_lines_next(&lines, 5000, &none, &problem), error);
	assert_non_null(strstr(problem.text, text));
	assert_null(none);
}

static void a_stream_of_something_else_is_an_error(void **state)
{
	expect_end(*state, "HTTP/1.0 200 OK\r\n\r\nno[]\n", -EBADMSG, "no JSON");
}

static void a_stream_that_the_agent_ends_says_why(void **state)
{
	expect_end(*state,
		   "HTTP/1.0 200 OK\r\n\r\n"
		   "{\"type\":\"ERROR\",\"object\":{\"message\":\"too slow\"}}\n",
		   -EREMOTEIO, "ended the stream: too slow");
}

static void a_stream_that_breaks_off_is_an_agent_that_ended(void **state)
{
	expect_end(*state, CHUNKED "5\r\n[1]", -ECONNREFUSED, "the agent has ended");
}

static void what_is_not_plain_is_encoded_in_a_path(void **state)
{
	_cleanup_buffer_ struct buffer url = BUFFER(100);

	struct problem problem = {0};

	assert_int_equal(url_append(&url, &problem, "{}", "a/b c?d&é-_.~"), 0);
	assert_string_equal(url.data, "a%2Fb%20c%3Fd%26%C3%A9-_.~");
}

/* --- Documents --- */

static void documents_and_lists_are_read_and_mistakes_named_by_document(void **state)
{
	struct peer *peer = *state;
	_cleanup_json_ cJSON *documents = NULL;
	struct problem problem = {0};
	char file[128];
	static const char text[] = "apiVersion: lifeboat.dev/v1alpha1\nkind: Abnormal\nspec: "
				   "{source: Custom, context: {a: 1}}\n"
				   "---\nkind: List\nitems:\n- {apiVersion: lifeboat.dev/v1alpha1, "
				   "kind: Abnormal, spec: {source: "
				   "Log, log: {filePath: x, logEntry: y}}}\n";

	snprintf(file, sizeof(file), "%s/f.yaml", peer->folder);
	assert_int_equal(file_write_atomic(file, text, strlen(text), 0600), 0);
	if (documents_read(file, &documents, &problem) < 0)
		fail_msg("%s: %s", problem.field, problem.text);
	unlink(file);
	assert_int_equal(cJSON_GetArraySize(documents), 2);
	assert_int_equal(document_check(file, documents->child, 1, &problem), 0);
	assert_true(document_check(file, documents->child->next, 2, &problem) < 0);
	assert_non_null(strstr(problem.field, "document 2"));
	assert_non_null(strstr(problem.text, "spec.log.filePath"));
	assert_true(documents_read("/nowhere/at/all", &documents, &problem) < 0);
	assert_string_equal(problem.field, "/nowhere/at/all");
}

/* --- Doctor --- */

static const struct check *check_of(const struct check *checks, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (streq(checks[i].name, name))
			return &checks[i];
	fail_msg("no check %s", name);
	return NULL;
}

static void a_bare_host_lacks_things_and_each_has_its_next_step(void **state)
{
	struct peer *peer = *state;
	_cleanup_host_ struct host *host = NULL;
	struct check checks[CHECKS_MAX];
	char path[128];

	snprintf(path, sizeof(path), "%s/proc", peer->folder);
	assert_int_equal(directory_make(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/sys", peer->folder);
	assert_int_equal(directory_make(path, 0755), 0);
	assert_int_equal(host_open(peer->folder, &host), 0);
	size_t count = host_checks(host, checks);
	assert_int_equal(check_of(checks, count, "BTF")->state, CHECK_MISSING);
	assert_int_equal(check_of(checks, count, "capabilities")->state, CHECK_MISSING);
	assert_int_equal(check_of(checks, count, "bpffs")->state, CHECK_NOTE);
	assert_int_equal(check_of(checks, count, "pressure")->state, CHECK_NOTE);
	for (size_t i = 0; i < count; i++)
		if (checks[i].state != CHECK_FINE && !checks[i].next[0])
			fail_msg("%s has no next step", checks[i].name);
	rmdir(path);
	snprintf(path, sizeof(path), "%s/proc", peer->folder);
	rmdir(path);
}

static void a_detector_that_cannot_work_is_missing_and_one_that_sees_less_is_noted(void **state)
{
	_cleanup_json_ cJSON *list =
		cJSON_Parse("[{\"name\":\"a\",\"status\":\"active\",\"hook\":\"h\"},{\"name\":"
			    "\"b\",\"status\":\"degraded\",\"hook\":\"p\","
			    "\"reason\":\"sees "
			    "less\"},{\"name\":\"c\",\"status\":\"unsupported\",\"reason\":\"no\"},"
			    "{\"name\":\"d\",\"status\":\"disabled\"},{\"name\":\"e\",\"status\":"
			    "\"active\",\"lost\":3}]");
	static const enum check_state expected[] = {CHECK_FINE, CHECK_NOTE, CHECK_MISSING,
						    CHECK_NOTE, CHECK_NOTE};

	for (int i = 0; i < cJSON_GetArraySize(list); i++) {
		struct check check;

		detector_check(cJSON_GetArrayItem(list, i), &check);
		assert_int_equal(check.state, expected[i]);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(no_agent_is_told_with_the_next_step),
		TEST(a_chunked_answer_in_the_smallest_pieces_is_read_whole),
		TEST(an_answer_until_the_end_of_the_connection_is_read_whole),
		TEST(an_error_has_the_agents_words),
		TEST(a_named_field_comes_through),
		TEST(a_peer_that_closes_at_once_is_told),
		TEST(another_protocol_is_an_error),
		TEST(a_chunk_of_a_wrong_size_is_an_error),
		TEST(a_cut_answer_is_an_error),
		TEST(objects_come_one_by_one_and_the_end_is_told),
		TEST(a_stream_of_something_else_is_an_error),
		TEST(a_stream_that_the_agent_ends_says_why),
		TEST(a_stream_that_breaks_off_is_an_agent_that_ended),
		TEST(what_is_not_plain_is_encoded_in_a_path),
		TEST(documents_and_lists_are_read_and_mistakes_named_by_document),
		TEST(a_bare_host_lacks_things_and_each_has_its_next_step),
		TEST(a_detector_that_cannot_work_is_missing_and_one_that_sees_less_is_noted),
	};
	return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
