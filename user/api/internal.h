/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the API share. One daemon of libmicrohttpd runs inside the agent's event loop;
 * server.c owns it and the connections, request.c one request from its first byte to its answer,
 * routes.c and routes_abnormals.c what each path does, stream.c answers without an end, metrics.c
 * the numbers, and listen.c the sockets and who may use them.
 *
 * A request whose answer comes later (from the store, the pipeline, a plug-in) is suspended. What
 * is waiting for that answer holds a ticket, never the request: a client that goes away takes
 * its request with it, and the ticket then leads nowhere.
 */
#pragma once

#include <microhttpd.h>

#include "api/api.h"
#include "api/metrics.h"
#include "base/buffer.h"
#include "base/log.h"

#define CONNECTIONS_MAX 64
/* Of these, on the metrics listener, where anybody may connect: the operator must not be shut out. */
#define METRICS_CONNECTIONS_MAX 16
#define WATCHERS_MAX 32
/* What may wait for one slow watcher before it is told so and closed. */
#define WATCH_BYTES_MAX (4 * MIB)
/* A request must be complete within this time of its connection's begin or last answer. */
#define REQUEST_TIMEOUT_S 30
/* An answer that others owe must come within this time. */
#define ANSWER_TIMEOUT_S 600

struct request;
struct stream;

struct connection {
	struct connection *previous, *next;
	struct api *api;
	int fd; /* borrowed from the daemon */
	bool local; /* on the unix socket, not the metrics listener */
	uint64_t waiting_since_ns; /* for a complete request or for an answer */
	struct request *request;
	sd_event_source *hangup; /* while suspended: the daemon does not look at the socket then */
};

struct api {
	struct api_options options;
	uid_t *allowed_users;
	gid_t *allowed_groups;
	uint64_t start_ns;
	int64_t start_realtime_ns;
	char *socket_path; /* set once the socket is ours to remove */
	int socket_fd, lock_fd, metrics_fd;
	struct MHD_Daemon *daemon;
	/* What is answered when there is no memory for an answer: made at the start, for all. */
	struct MHD_Response *no_memory;
	sd_event_source *socket_source, *metrics_source, *daemon_source, *timer, *kick, *sweep;
	struct connection *connections;
	unsigned connection_count, metrics_connection_count;
	struct stream *streams;
	struct pipeline_watch *endings;
	struct metrics_endings ended;
	struct api_counts counts;
	struct log_limit refusal_log;
};

/*
 * server.c: lets the daemon run once more from the loop, as it does not see what happens outside
 * it.
 */
void api_kick(struct api *api);

/* --- One request (request.c) --- */

#define PATH_PARAMETERS_MAX 2

struct route {
	const char *method;
	const char *path; /* "/api/v1/namespaces/{}/abnormals/{}" */
	const char *queries[4]; /* names it knows; others are refused, as a misspelt dryRun must not
				   act */
	void (*handle)(struct request *request);
	bool on_metrics_listener;
};

struct ticket {
	struct request *request; /* NULL once the client is gone */
};

struct request {
	struct api *api;
	struct connection *connection;
	struct MHD_Connection *http;
	const struct route *route;
	char *parameters[PATH_PARAMETERS_MAX];
	struct buffer body;
	bool suspended, abandoned;
	struct MHD_Response *response;
	unsigned status;
	struct ticket *ticket;
	struct stream *stream;
};

enum MHD_Result request_handle(void *userdata, struct MHD_Connection *http, const char *path,
			       const char *method, const char *version, const char *data,
			       size_t *data_size, void **state);
void request_completed(void *userdata, struct MHD_Connection *http, void **state,
		       enum MHD_RequestTerminationCode how);

/* Ends a suspended request without an answer: its client is gone, or the agent ends. */
void request_abandon(struct request *request);

/* Exactly one of these answers a request, from its handler or later. */
void request_answer(struct request *request, unsigned status,
		    struct MHD_Response *response); /* takes RESPONSE; NULL: out of memory */
void request_answer_json(struct request *request, unsigned status,
			 cJSON *json); /* takes JSON; NULL: out of memory */
void request_answer_text(struct request *request, unsigned status, const char *content_type,
			 struct buffer *text); /* takes its content */
void request_answer_problem(struct request *request, unsigned status,
			    const struct problem *problem);
void request_answer_error(struct request *request, unsigned status, const char *format, ...)
	_printf_(3, 4);
void request_answer_errno(struct request *request, int error, const char *format, ...)
	_printf_(3, 4);

/* A ticket for an answer that comes later, or NULL when out of memory. */
struct ticket *request_ticket(struct request *request);
/* Redeems it: frees it and returns the request, or NULL if the client is gone. */
struct request *ticket_redeem(struct ticket *ticket);

/* Suspends an answered request from within its stream's reader, until request_wake. */
void request_wait(struct request *request);
void request_wake(struct request *request);

/* A query parameter, or NULL. */
const char *request_query(struct request *request, const char *name);
/* Returns 0, or -EINVAL after having answered. */
int request_query_bool(struct request *request, const char *name, bool *ret_value);

/* --- Answers without an end (stream.c) --- */

/*
 * Answers with a stream: lines of Abnormals as they change (NAMESPACE NULL: of all), or of
 * findings.
 */
void stream_abnormals(struct request *request, const char *namespace);
void stream_findings(struct request *request);
void stream_free(struct stream *stream);
unsigned stream_count(const struct api *api);

/* --- What each path does (routes.c) --- */

extern const struct route routes[];
extern const size_t route_count;
