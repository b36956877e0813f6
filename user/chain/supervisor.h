/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process between the agent and a plug-in: subreaper of everything that the plug-in starts, so that
 * nothing outlives the call, whether the plug-in forks a daemon or the agent is killed.
 */
#pragma once

/* Runs one call described by the request on SOCKET_FD and answers on it. Returns the exit status. */
int supervisor_run(int socket_fd);
