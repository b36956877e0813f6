/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line's end of the agent's API: HTTP/1.1 over its unix socket, blocking, as a command
 * has nothing else to do.
 *
 * Why not libcurl: agent and command line are one binary, and linking libcurl brings 25 further
 * libraries (TLS, LDAP, Kerberos …) that cost the idle agent 3.8 MiB of resident memory (measured,
 * Debian 12), for one local peer that we also write. Requests to other hosts will be made by
 * processes that load it when needed.
 */
#pragma once

#include "base/buffer.h"
#include "base/json.h"

#define DEFAULT_SOCKET "/run/lifeboat/lifeboat.sock"
#define SOCKET_VARIABLE "LIFEBOAT_SOCKET"

/* The socket that --socket or LIFEBOAT_SOCKET names, or the default one. */
const char *client_socket(void);

struct client;

/*
 * Sends a request (BODY NULL: none) and reads the head of the answer.
 * Returns 0, -ECONNREFUSED if no agent answers on the socket, -EACCES if it may not be used, or
 * another negative errno. PROBLEM says what to do.
 */
int client_open(const char *method, const char *path, const char *body, struct client **ret_client,
		struct problem *problem);
void client_free(struct client *client);
DEFINE_CLEANUP(struct client, client_free);

/* To wait for more of a stream. */
int client_fd(const struct client *client);

/*
 * Appends what has come of the body to OUT, waiting for at most TIMEOUT_MS (-1: for good) while
 * there is nothing. Returns the bytes appended, 0 at the end of the body, -ETIMEDOUT, or another
 * negative errno.
 */
ssize_t client_read(struct client *client, struct buffer *out, int timeout_ms);

/*
 * One whole exchange of JSON. An answer of 400 and over is an error with the agent's own words in
 * PROBLEM: -ENOENT for 404, else -EREMOTEIO. ret_status and ret_json may be NULL.
 */
int client_call(const char *method, const char *path, const cJSON *body, int *ret_status,
		cJSON **ret_json, struct problem *problem);

#define URL_BYTES_MAX (4 * KIB)

/*
 * Appends FORMAT to URL; each {} in it stands for the next text, percent-encoded as one path segment
 * or query value. Returns 0, -ENAMETOOLONG (with which text is too long in PROBLEM) or -ENOMEM.
 */
int url_append(struct buffer *url, struct problem *problem, const char *format, ...);

/* A stream of objects, each on a line of its own, that goes on until the agent ends. */
struct client_lines {
	struct client *client;
	struct buffer pending;
};
int client_lines_open(const char *path, struct client_lines *lines, struct problem *problem);
void client_lines_close(struct client_lines *lines);
#define _cleanup_lines_ _cleanup_(client_lines_close)
/*
 * The next object, the caller's to delete. Returns 0; -ETIMEDOUT when there is none after TIMEOUT_MS (-1:
 * for ever); -ECONNREFUSED when the agent has ended; -EREMOTEIO when it says why it ends the stream;
 * -EBADMSG or another negative errno. But for -ETIMEDOUT, PROBLEM tells.
 */
int client_lines_next(struct client_lines *lines, int timeout_ms, cJSON **ret_object,
		      struct problem *problem);
