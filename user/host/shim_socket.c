/* SPDX-License-Identifier: Apache-2.0 */
/* The socket that a process listens on. */
#include "host/shim_socket.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/socket.h>

#include "base/file.h"
#include "host/shim_bundle.h"

#define UNIX_BYTES_MAX (16 * MIB)
#define LISTENERS_MAX 65536
#define DESCRIPTORS_MAX 4096 /* the socket is opened before any container's pipes */
#define SOCKETS_MAX 64

#define SO_ACCEPTCON_FLAG 0x10000 /* __SO_ACCEPTCON of include/uapi/linux/net.h */

void unix_listeners_clear(struct unix_listeners *listeners)
{
	for (size_t i = 0; i < listeners->count; i++)
		free(listeners->items[i].name);
	free(listeners->items);
	*listeners = (struct unix_listeners){0};
}

static int add_listener(struct unix_listeners *listeners, uint64_t inode, const char *name)
{
	if (listeners->count == LISTENERS_MAX)
		return -E2BIG;
	if (listeners->count == listeners->capacity) {
		size_t capacity = listeners->capacity ? listeners->capacity * 2 : 64;
		struct unix_listener *grown =
			reallocarray(listeners->items, capacity, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		listeners->items = grown;
		listeners->capacity = capacity;
	}
	char *copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	listeners->items[listeners->count++] = (struct unix_listener){inode, copy};
	return 0;
}

/* "ADDRESS: REFERENCES PROTOCOL FLAGS TYPE STATE INODE NAME", unix_seq_show() of net/unix. */
static int add_line(struct unix_listeners *listeners, const char *line)
{
	unsigned flags, type;
	uint64_t inode;
	int name = 0;

	if (sscanf(line, "%*x: %*x %*x %x %x %*x %" SCNu64 " %n", &flags, &type, &inode, &name) !=
		    3 ||
	    !name || !line[name] || !(flags & SO_ACCEPTCON_FLAG) || type != SOCK_STREAM)
		return 0;
	return add_listener(listeners, inode, line + name);
}

static int read_listeners(const struct host *host, int64_t pid, struct unix_listeners *listeners)
{
	_cleanup_free_ char *text = NULL;
	char path[64], *rest;

	snprintf(path, sizeof(path), "%" PRId64 "/net/unix", pid);
	int r = file_read(host->proc, path, UNIX_BYTES_MAX, &text, NULL);
	rest = text;
	for (const char *line; r == 0 && (line = strsep(&rest, "\n"));)
		r = add_line(listeners, line);
	return r;
}

/* Makes LISTENERS those of PID's network namespace. */
static void update_listeners(const struct host *host, int64_t pid, struct unix_listeners *listeners)
{
	char path[64], network[sizeof(listeners->network)];

	snprintf(path, sizeof(path), "%" PRId64 "/ns/net", pid);
	ssize_t length = readlinkat(host->proc, path, network, sizeof(network) - 1);
	network[MAX(length, 0)] = '\0';
	if (listeners->known && network[0] && streq(listeners->network, network))
		return;
	unix_listeners_clear(listeners);
	listeners->known = read_listeners(host, pid, listeners) == 0;
	memcpy(listeners->network, network, sizeof(network));
}

static void directory_closep(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

/* Inodes of the sockets among PID's descriptors. Returns how many, or a negative errno. */
static ssize_t read_sockets(const struct host *host, int64_t pid, uint64_t inodes[SOCKETS_MAX])
{
	_cleanup_(directory_closep) DIR *directory = NULL;
	char path[64], target[64];
	size_t count = 0, seen = 0;

	snprintf(path, sizeof(path), "%" PRId64 "/fd", pid);
	_cleanup_close_ int fd = openat(host->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	directory = fdopendir(fd);
	if (!directory)
		return -errno;
	TAKE_FD(fd);
	for (struct dirent *entry;
	     count < SOCKETS_MAX && seen < DESCRIPTORS_MAX && (entry = readdir(directory));
	     seen++) {
		ssize_t length =
			readlinkat(dirfd(directory), entry->d_name, target, sizeof(target) - 1);

		if (length < 0)
			continue;
		target[length] = '\0';
		if (sscanf(target, "socket:[%" SCNu64 "]", &inodes[count]) == 1)
			count++;
	}
	return (ssize_t)count;
}

char *shim_socket_find(const struct host *host, int64_t pid, const char *expected,
		       struct unix_listeners *listeners)
{
	uint64_t inodes[SOCKETS_MAX];
	const char *found = NULL;
	ssize_t count = read_sockets(host, pid, inodes);

	update_listeners(host, pid, listeners);
	if (count < 0 || !listeners->known)
		return expected ? strdup(expected) : NULL;
	for (size_t i = 0; i < listeners->count; i++) {
		const struct unix_listener *listener = &listeners->items[i];

		for (ssize_t s = 0; s < count; s++) {
			if (inodes[s] != listener->inode)
				continue;
			/*
			 * A shim that serves its debugger has two; and anybody can put a line of
			 * his own into net/unix, by a line break in a name.
			 */
			if (bundle_socket_equal(listener->name, expected))
				return strdup(listener->name);
			if (!found)
				found = listener->name;
		}
	}
	return found ? strdup(found) : NULL;
}
