/* SPDX-License-Identifier: Apache-2.0 */
/* A small HTTP/1.1 client for one local peer: Content-Length, chunks, or until the peer closes. */
#include "cli/client.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/file.h"

#define HEAD_BYTES_MAX ((size_t)64 * KIB)
#define ANSWER_BYTES_MAX ((size_t)1024 * MIB)
#define LINE_BYTES_MAX ((size_t)64 * MIB)
/* For the head of an answer: a plug-in run by hand may take its time. */
#define ANSWER_TIMEOUT_MS (15 * 60 * 1000)

enum framing { UNTIL_CLOSE, BY_LENGTH, BY_CHUNKS };

struct client {
	int fd, status;
	enum framing framing;
	uint64_t left; /* of the body, or of the current chunk */
	bool between_chunks, ended;
	struct buffer in; /* read, not taken yet */
};

const char *client_socket(void)
{
	const char *path = getenv(SOCKET_VARIABLE);

	return path && *path ? path : DEFAULT_SOCKET;
}

void client_free(struct client *client)
{
	if (!client)
		return;
	closep(&client->fd);
	buffer_free(&client->in);
	free(client);
}

int client_fd(const struct client *client)
{
	return client->fd;
}

static int client_connect(struct problem *problem)
{
	const char *path = client_socket();
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(address.sun_path))
		return problem_set(problem, -ENAMETOOLONG, NULL,
				   "the socket's path %s is longer than the %zu characters that "
				   "the kernel allows",
				   path, sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, strlen(path));
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return problem_set(problem, -errno, NULL, "cannot make a socket: %s",
				   strerror(errno));
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return TAKE_FD(fd);
	if (errno == EACCES || errno == EPERM)
		return problem_set(
			problem, -EACCES, NULL,
			"user %u may not use the agent's socket %s: run this as root, or let the "
			"agent's configuration name you in api.allowedUsers or api.allowedGroups",
			(unsigned)geteuid(), path);
	if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR)
		return problem_set(problem, -ECONNREFUSED, NULL,
				   "no agent answers on %s: start one with `lifeboat agent` or "
				   "name its socket with --socket",
				   path);
	return problem_set(problem, -errno, NULL, "cannot connect to the agent on %s: %s", path,
			   strerror(errno));
}

/* Reads once. Returns bytes, 0 at the end of the connection, or a negative errno. */
static ssize_t client_fill(struct client *client, int timeout_ms)
{
	struct pollfd poll_fd = {.fd = client->fd, .events = POLLIN};

	for (;;) {
		int r = poll(&poll_fd, 1, timeout_ms);

		if (r == 0)
			return -ETIMEDOUT;
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r < 0)
			continue;
		ssize_t length = buffer_read(&client->in, client->fd);
		if (length == -EINTR)
			continue;
		return client->in.cut ? -EMSGSIZE : length;
	}
}

/* The value of header NAME in HEAD, or NULL; up to the end of its line. */
static const char *header_find(const char *head, const char *name)
{
	size_t length = strlen(name);

	for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
		if (strncasecmp(line + 2, name, length) == 0 && line[2 + length] == ':')
			return line + 2 + length + 1 + strspn(line + 2 + length + 1, " \t");
	return NULL;
}

static int head_read(struct client *client)
{
	const char *end;

	while (!(end = strstr(buffer_text(&client->in), "\r\n\r\n"))) {
		if (client->in.length > HEAD_BYTES_MAX)
			return -EBADMSG;
		ssize_t length = client_fill(client, ANSWER_TIMEOUT_MS);
		if (length <= 0)
			return length < 0 ? (int)length : -ECONNRESET;
	}
	size_t head_length = (size_t)(end - client->in.data) + 4;
	_cleanup_free_ char *head = strndup(client->in.data, head_length);
	if (!head)
		return -ENOMEM;
	if (sscanf(head, "HTTP/1.%*1[01] %3d", &client->status) != 1)
		return -EBADMSG;
	const char *length = header_find(head, "Content-Length"),
		   *encoding = header_find(head, "Transfer-Encoding");
	client->framing = encoding && strncasecmp(encoding, "chunked", 7) == 0 ? BY_CHUNKS
			  : length					       ? BY_LENGTH
									       : UNTIL_CLOSE;
	client->left = client->framing == BY_LENGTH ? strtoull(length, NULL, 10) : 0;
	client->between_chunks = client->framing == BY_CHUNKS;
	client->ended = client->framing == BY_LENGTH && client->left == 0;
	buffer_consume(&client->in, head_length);
	return 0;
}

static int request_send(struct client *client, const char *method, const char *path,
			const char *body)
{
	_cleanup_buffer_ struct buffer head = BUFFER(HEAD_BYTES_MAX);
	const char *parts[] = {NULL, body};

	int r = buffer_printf(
		&head,
		"%s %s HTTP/1.1\r\nHost: lifeboat\r\nUser-Agent: lifeboat\r\nConnection: close\r\n"
		"Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
		method, path, body ? strlen(body) : 0);
	if (r < 0)
		return r;
	parts[0] = head.data;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		const char *data = parts[i];
		size_t left = data ? strlen(data) : 0;

		while (left) {
			ssize_t sent = send(client->fd, data, left, MSG_NOSIGNAL);

			if (sent < 0 && errno == EINTR)
				continue;
			/* The agent has heard enough: its answer says why, if there is one. */
			if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) {
				shutdown(client->fd, SHUT_WR);
				return 0;
			}
			if (sent < 0)
				return -errno;
			data += sent;
			left -= (size_t)sent;
		}
	}
	return 0;
}

int client_open(const char *method, const char *path, const char *body, struct client **ret_client,
		struct problem *problem)
{
	_cleanup_(client_freep) struct client *client = calloc(1, sizeof(*client));

	if (!client)
		return -ENOMEM;
	client->in = BUFFER(ANSWER_BYTES_MAX);
	client->fd = client_connect(problem);
	if (client->fd < 0)
		return TAKE_FD(client->fd);
	int r = request_send(client, method, path, body);
	if (r == 0)
		r = head_read(client);
	if (r == -ECONNRESET)
		return problem_set(problem, r, NULL,
				   "the agent on %s closed the connection without an answer: it "
				   "refuses user %u (see api.allowedUsers), is ending, or is out "
				   "of memory; its log tells",
				   client_socket(), (unsigned)geteuid());
	if (r < 0)
		return problem_set(problem, r, NULL, "cannot talk to the agent on %s: %s",
				   client_socket(), strerror(-r));
	*ret_client = TAKE_PTR(client);
	return 0;
}

/*
 * Takes a chunk's size line from the input. Returns 1, 0 if more must be read first, or -EBADMSG.
 */
static int chunk_begin(struct client *client)
{
	const char *text = buffer_text(&client->in), *start = text;
	char *end;

	/* The end of the chunk before. */
	if (startswith(start, "\r\n"))
		start += 2;
	const char *line_end = strstr(start, "\r\n");
	if (!line_end)
		return client->in.length > 1024 ? -EBADMSG : 0;
	if (!isxdigit((unsigned char)*start))
		return -EBADMSG;
	client->left = strtoull(start, &end, 16);
	if (client->left > ANSWER_BYTES_MAX)
		return -EBADMSG;
	buffer_consume(&client->in, (size_t)(line_end - text) + 2);
	client->between_chunks = false;
	client->ended = client->left == 0;
	return 1;
}

/* Moves what the input holds of the body to OUT. Returns bytes, or a negative errno. */
static ssize_t body_take(struct client *client, struct buffer *out)
{
	ssize_t taken = 0;

	while (!client->ended) {
		if (client->between_chunks) {
			int r = chunk_begin(client);

			if (r <= 0)
				return r < 0 ? r : taken;
			continue;
		}
		size_t length = client->in.length;
		if (client->framing != UNTIL_CLOSE)
			length = MIN(length, client->left);
		if (!length)
			return taken;
		int r = buffer_append(out, client->in.data, length);
		if (r < 0)
			return r;
		buffer_consume(&client->in, length);
		taken += (ssize_t)length;
		if (client->framing == UNTIL_CLOSE)
			continue;
		client->left -= length;
		client->between_chunks = client->framing == BY_CHUNKS && client->left == 0;
		client->ended = client->framing == BY_LENGTH && client->left == 0;
	}
	return taken;
}

ssize_t client_read(struct client *client, struct buffer *out, int timeout_ms)
{
	for (;;) {
		ssize_t taken = body_take(client, out);

		if (taken != 0 || client->ended)
			return taken;
		ssize_t length = client_fill(client, timeout_ms);
		if (length < 0)
			return length;
		if (length == 0) {
			client->ended = true;
			return client->framing == UNTIL_CLOSE ? 0 : -ECONNRESET;
		}
	}
}

/* The agent's own words, from the body of an error. */
static int answer_problem(int status, const struct buffer *body, struct problem *problem)
{
	_cleanup_json_ cJSON *json = NULL;

	if (json_parse(buffer_text(body), body->length, &json, NULL) < 0)
		json = NULL;
	const char *field = json ? json_string(json_at(json, "error"), "field") : NULL;
	const char *message = json ? json_string(json_at(json, "error"), "message") : NULL;
	int code = status == 404 ? -ENOENT : -EREMOTEIO;
	return message ? problem_set(problem, code, field, "%s", message)
		       : problem_set(problem, code, NULL, "the agent answered with status %d",
				     status);
}

static int body_read(struct client *client, struct buffer *body, struct problem *problem)
{
	ssize_t length;

	do
		length = client_read(client, body, ANSWER_TIMEOUT_MS);
	while (length > 0);
	if (length < 0)
		return problem_set(problem, (int)length, NULL,
				   "cannot read the answer of the agent on %s: %s", client_socket(),
				   strerror((int)-length));
	return 0;
}

int client_call(const char *method, const char *path, const cJSON *body, int *ret_status,
		cJSON **ret_json, struct problem *problem)
{
	_cleanup_(client_freep) struct client *client = NULL;
	_cleanup_buffer_ struct buffer answer = BUFFER(ANSWER_BYTES_MAX);
	_cleanup_free_ char *text = body ? json_print(body) : NULL;
	struct problem inner = {0};

	if (body && !text)
		return -ENOMEM;
	int r = client_open(method, path, text, &client, problem);
	if (r == 0)
		r = body_read(client, &answer, problem);
	if (r < 0)
		return r;
	if (client->status >= 400)
		return answer_problem(client->status, &answer, problem);
	if (ret_json)
		r = json_parse(buffer_text(&answer), answer.length, ret_json, &inner);
	if (r < 0)
		return r == -ENOMEM ? r
				    : problem_set(problem, -EBADMSG, NULL,
						  "the agent's answer is no JSON: %s", inner.text);
	if (ret_status)
		*ret_status = client->status;
	return 0;
}

static int append_encoded(struct buffer *url, const char *text)
{
	int r = 0;

	for (; *text && r == 0; text++) {
		unsigned char c = (unsigned char)*text;

		if (isalnum(c) || strchr("-._~", c))
			r = buffer_append(url, text, 1);
		else
			r = buffer_printf(url, "%%%02X", c);
	}
	return r;
}

int url_append(struct buffer *url, struct problem *problem, const char *format, ...)
{
	const char *text = "", *place;
	va_list texts;
	int r = 0;

	va_start(texts, format);
	for (; r == 0 && (place = strstr(format, "{}")); format = place + 2) {
		text = va_arg(texts, const char *);
		r = buffer_append(url, format, (size_t)(place - format));
		if (r == 0)
			r = append_encoded(url, text);
	}
	va_end(texts);
	if (r == 0)
		r = buffer_append_text(url, format);
	return r == -ENOBUFS ? problem_set(problem, -ENAMETOOLONG, NULL,
					   "the name %.64s… is too long", text)
			     : r;
}

int client_lines_open(const char *path, struct client_lines *lines, struct problem *problem)
{
	_cleanup_buffer_ struct buffer answer = BUFFER(ANSWER_BYTES_MAX);

	*lines = (struct client_lines){.pending = BUFFER(LINE_BYTES_MAX)};
	int r = client_open("GET", path, NULL, &lines->client, problem);
	if (r < 0 || lines->client->status < 400)
		return r;
	r = body_read(lines->client, &answer, problem);
	return r < 0 ? r : answer_problem(lines->client->status, &answer, problem);
}

void client_lines_close(struct client_lines *lines)
{
	client_free(lines->client);
	buffer_free(&lines->pending);
	*lines = (struct client_lines){0};
}

/* The next line, the caller's to free. Returns 1, 0 at the end, or a negative errno. */
static int line_read(struct client_lines *lines, int timeout_ms, char **ret_line)
{
	for (;;) {
		char *end = lines->pending.length
				    ? memchr(lines->pending.data, '\n', lines->pending.length)
				    : NULL;

		if (end) {
			size_t length = (size_t)(end - lines->pending.data);
			char *line = strndup(lines->pending.data, length);

			if (!line)
				return -ENOMEM;
			buffer_consume(&lines->pending, length + 1);
			*ret_line = line;
			return 1;
		}
		ssize_t r = client_read(lines->client, &lines->pending, timeout_ms);
		if (r <= 0)
			return (int)r;
	}
}

int client_lines_next(struct client_lines *lines, int timeout_ms, cJSON **ret_object,
		      struct problem *problem)
{
	_cleanup_free_ char *line = NULL;
	_cleanup_json_ cJSON *object = NULL;
	struct problem inner = {0};

	int r = line_read(lines, timeout_ms, &line);
	if (r == -ETIMEDOUT)
		return r;
	if (r == 0 || r == -ECONNRESET)
		return problem_set(problem, -ECONNREFUSED, NULL, "the agent has ended");
	if (r < 0)
		return problem_set(problem, r, NULL, "cannot go on reading: %s", strerror(-r));
	r = json_parse(line, strlen(line), &object, &inner);
	if (r == -ENOMEM)
		return problem_set(problem, r, NULL, "out of memory");
	if (r < 0)
		return problem_set(problem, -EBADMSG, NULL,
				   "the agent sent a line that is no JSON: %s", inner.text);
	if (streq_ptr(json_string(object, "type"), "ERROR")) {
		const char *message = json_string(json_at(object, "object"), "message");

		return problem_set(problem, -EREMOTEIO, NULL, "the agent has ended the stream%s%s",
				   message ? ": " : "", message ? message : "");
	}
	*ret_object = TAKE_PTR(object);
	return 0;
}
