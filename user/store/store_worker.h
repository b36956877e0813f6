/* SPDX-License-Identifier: Apache-2.0 */
/* The process behind the store: it alone touches the database. */
#pragma once

/*
 * Runs the worker on the socket SOCKET_FD until the other end closes it, then commits what it has
 * been sent and returns. DIRECTORY NULL: an in-memory database. Returns the exit status.
 */
int store_worker_run(int socket_fd, const char *directory);

/*
 * The same for the command line that store.c executes: "store-worker --fd N [--directory DIR]",
 * with argv[0] "store-worker". A test program with a store calls it from its main.
 */
int store_worker_main(int argc, char **argv);
