/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which shims' word is taken. Anybody can call a program containerd-shim, be it on the node or in a
 * container, and in a mount namespace of his own stand in a folder called as somebody else's bundle,
 * or as one on a server that does not answer.
 */
#pragma once

#include "host/process.h"

/*
 * True if PROCESS is root's and not in a container, so that FOLDER, which it works in, is to be looked
 * for at that path on the node. Others' folders are not touched.
 */
bool shim_is_of_node(const struct host *host, const struct process *process, const char *folder);

/* True if process PID works in FOLDER as the node has it, and not in another one of that name. May block. */
bool shim_works_in(const struct host *host, int64_t pid, const char *folder);

/* True if root's runtimes have a container ID: a shim that is not the node's does not serve it. */
bool shim_id_is_taken(const struct host *host, const char *id);
