/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's hold on one worker process: its socket, its pidfd, and whether it still answers. A
 * link is never waited for: one that is given up is killed, and freed when its process is gone,
 * which for a process stuck in the kernel may be never. Private to store/.
 */
#pragma once

#include <systemd/sd-event.h>

#include "store/store_protocol.h"

struct store_link {
	struct store_link *next; /* in the owner's list of those given up */
	void *owner;
	pid_t pid;
	int pidfd;
	struct channel channel;
	sd_event_source *io, *exit;
	bool disk; /* not in memory */
	bool open; /* FRAME_OPENED came */
	bool ended; /* its end of the socket is closed */
	bool given_up; /* killed; nothing it says counts any more */
	bool reaped; /* its process is gone … */
	int exit_status; /* … and this is why, as of waitpid(2) */
	bool exit_signal; /* exit_status is a signal */
	char warning[512]; /* of FRAME_OPENED, or "" */
	uint64_t progress_ns; /* monotonic; when it last said something, or was first asked */
};

struct store_link_options {
	sd_event *event; /* NULL: the owner polls the link itself */
	const char *program; /* NULL: /proc/self/exe */
	const char *directory; /* NULL: in memory */
	sd_event_io_handler_t on_io;
	/* The process ended: the owner reads what it had said, and frees a link that it gave up. */
	sd_event_io_handler_t on_exit;
	void *owner;
};

/* Starts a worker. The handlers' userdata is the link. Returns 0 or a negative errno. */
int store_link_start(const struct store_link_options *options, struct store_link **ret_link);
void store_link_free(struct store_link *link);
DEFINE_CLEANUP(struct store_link, store_link_free);

/* Kills the worker and closes its socket; the link stays until it is freed. */
void store_link_give_up(struct store_link *link);
/* No more will be sent: the worker commits what it has, and ends. */
void store_link_finish(struct store_link *link);

/* Sends what waits, and watches for room if not all went. Failures show as the worker's end. */
void store_link_flush(struct store_link *link);
/* Takes note of the process's end if it has come. Returns true then. */
bool store_link_reap(struct store_link *link);
/* "was killed by signal 9 (Killed)", "exited with status 1". Returns TEXT. */
const char *store_link_end(const struct store_link *link, char *text, size_t size);
