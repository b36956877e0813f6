/* SPDX-License-Identifier: Apache-2.0 */
/* The API's sockets, and who may use the local one. */
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include "base/problem.h"

/*
 * Reserves PATH for this process: its folder is made, and a lock file beside it (PATH.lock) is held
 * for as long as ret_lock_fd is open, so of two agents that start at once one gets the socket.
 * Returns 0, -EADDRINUSE (PROBLEM names the pid), or a negative errno.
 */
int listen_reserve(const char *path, int *ret_lock_fd, struct problem *problem);

/*
 * Makes the unix socket PATH, which must be reserved. A socket that nobody listens on is replaced.
 * Returns 0, -EADDRINUSE (PROBLEM names the pid), or a negative errno.
 */
int listen_unix(const char *path, mode_t mode, int *ret_fd, struct problem *problem);

/*
 * "127.0.0.1:9464", "[::1]:9464" or ":9464" (every address). Returns 0, -EINVAL or another negative
 * errno.
 */
int listen_tcp(const char *address, int *ret_fd, struct problem *problem);

struct peer_rules {
	const uid_t *users;
	size_t user_count;
	const gid_t *groups;
	size_t group_count;
};

/*
 * Judges the process at the other end of FD by the credentials it had when it connected: root, our
 * own effective user, an allowed user, or a member of an allowed group. Returns 0, -EACCES
 * (ret_peer is filled), or a negative errno.
 */
int peer_check(int fd, const struct peer_rules *rules, struct ucred *ret_peer);
