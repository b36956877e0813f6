/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process between the agent and a plug-in: subreaper of everything that the plug-in starts, so
 * that nothing outlives the call, whether the plug-in forks a daemon or the agent is killed.
 */
#pragma once

/* Runs the one call that the request on SOCKET_FD describes. Returns the exit status. */
int supervisor_run(int socket_fd);

/*
 * For the agent: executes PROGRAM as `PROGRAM plugin-supervisor --fd 3` with one end of a socket,
 * GENERATION_FD (generation.h; -1: none) and nothing else of the agent's. The other end, non-blocking, and the process are the caller's,
 * who also reaps it. Does not wait for the exec. Returns 0 or a negative errno.
 */
int supervisor_start(const char *program, int generation_fd, int *ret_socket, int *ret_pidfd);
