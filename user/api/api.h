/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local HTTP API on a unix socket. Who connects is judged by the kernel's peer credentials:
 * root, the agent's own user, and the users and groups that the configuration allows; all others
 * are closed at once. docs/operations.md lists the paths.
 */
#pragma once

#include <sys/types.h>

#include "chain/pipeline.h"
#include "detect/detect.h"

struct api;

/* What the API shows and acts on; all borrowed. */
struct api_options {
	sd_event *event;
	const struct clock *clock;
	const struct host *host;
	const char *socket_path; /* made with mode 0660; a stale one is replaced, a live one is an
				    error */
	const char *metrics_address; /* "127.0.0.1:9464": read-only TCP listener for /metrics alone;
					NULL: none */
	const uid_t *allowed_users;
	size_t allowed_user_count;
	const gid_t *allowed_groups;
	size_t allowed_group_count;
	struct store *store;
	struct pipeline *pipeline;
	struct registry *registry;
	struct call_pool *pool;
	struct detect *detect;
	const char *node_name, *version;
	int lock_fd; /* of api_reserve; taken, also when api_start fails. 0: api_start reserves the
			socket itself */
};

/*
 * Reserves the socket before anything is done that could disturb an agent that has it; nobody can
 * connect yet. The reservation is over when ret_lock_fd is closed. Returns 0, -EADDRINUSE if an
 * agent has the socket already (PROBLEM says which pid), or a negative errno.
 */
int api_reserve(const char *socket_path, int *ret_lock_fd, struct problem *problem);

/*
 * Returns 0, -EADDRINUSE if an agent answers on the socket already (PROBLEM says which pid), or a
 * negative errno.
 */
int api_start(const struct api_options *options, struct api **ret_api, struct problem *problem);
void api_free(struct api *api);
DEFINE_CLEANUP(struct api, api_free);

/* Shows one kernel finding to whoever follows /api/v1/events. */
void api_publish_finding(struct api *api, const struct finding *finding);
