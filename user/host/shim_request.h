/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One question to a shim over its own socket, as containerd asks it: the State of a container
 * (ttrpc, github.com/containerd/ttrpc/blob/main/PROTOCOL.md). It changes nothing, and takes the
 * locks that a deadlocked shim holds; a question that needs no lock would be answered by one.
 * Nothing here blocks: the agent's loop may use it.
 */
#pragma once

#include "base/clock.h"
#include "host/shim.h"

struct shim_request;

/*
 * Connects and sends. Returns 0, -ESRCH if the shim has ended, -EOPNOTSUPP if this kind of shim has
 * no such socket (or none that can be reached from here: an abstract one of another network
 * namespace), -ECONNREFUSED if nobody listens on it any more, -ENOENT if its file was removed,
 * -EAGAIN if its queue of connections is full (nobody accepts), -EPERM if another user listens there,
 * or a negative errno.
 */
int shim_request_start(const struct host *host, const struct shim *shim, const char *container_id,
		       struct shim_request **ret_request);
void shim_request_free(struct shim_request *request);
DEFINE_CLEANUP(struct shim_request, shim_request_free);

/*
 * Reads what has come. Returns -EINPROGRESS while there is no whole answer; 0 when there is one,
 * and then ret_answer, the caller's to free, is what it was ("created", "running", "stopped", "paused",
 * "pausing", "unknown", "not found", "unimplemented", "error: …"): whatever it says, the shim is
 * alive. -ECONNRESET if the shim has closed the connection, -EBADMSG if it speaks something else.
 */
int shim_request_check(struct shim_request *request, char **ret_answer);

/*
 * For workers, which may wait: the whole question, at most WITHIN_NS. Errors as above, and
 * -ETIMEDOUT if nothing came.
 */
int shim_ask(const struct host *host, const struct shim *shim, const char *container_id,
	     const struct clock *clock, uint64_t within_ns, char **ret_answer);
