/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which socket a process listens on: its descriptors, matched with the unix sockets of its network
 * namespace. A table of those is kept from one shim to the next, as nearly all share a namespace.
 */
#pragma once

#include "host/host.h"

struct unix_listener {
	uint64_t inode;
	char *name; /* a path, or "@…" where abstract */
};

struct unix_listeners {
	char network[64]; /* the namespace they are of: "net:[4026531840]"; "" if not known */
	struct unix_listener *items;
	size_t count, capacity;
	bool known; /* they could be read */
};

void unix_listeners_clear(struct unix_listeners *listeners);

/*
 * The stream socket that PID listens on; EXPECTED (what its bundle says, or NULL) if it is one of
 * several, or if this cannot be seen. NULL if there is none. LISTENERS starts zeroed.
 */
char *shim_socket_find(const struct host *host, int64_t pid, const char *expected,
		       struct unix_listeners *listeners);
