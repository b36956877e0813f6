/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's file-system roots: everything in host/ reads through them, so that tests can lay a
 * tree of their own, and the agent in a container can look at the host's.
 */
#pragma once

#include "base/cleanup.h"
#include "base/macro.h"

struct host {
	char *root; /* "" for the real one: "" + "/proc" */
	int proc, sys; /* directory descriptors of ROOT/proc and ROOT/sys */
};

/* ROOT NULL means "/". Returns 0 or a negative errno. */
int host_open(const char *root, struct host **ret_host);
void host_free(struct host *host);
DEFINE_CLEANUP(struct host, host_free);
#define _cleanup_host_ _cleanup_(host_freep)

/* True if it is certain that PATH, below the root, is not there: what cannot be looked at may be. */
bool host_lacks(const struct host *host, const char *path);
