/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking a shim for the state of a container: the connection and the question. How it is spelt is
 * ttrpc's.
 */
#include "host/shim_request.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "base/clock.h"
#include "host/ttrpc.h"

#define REQUEST_BYTES_MAX (16 * KIB)
#define READS_MAX 64 /* in one check: no shim keeps the agent's loop busy */

/* What each kind is asked by, and if it knows nothing of that, by the next. */
static const char *const v1_services[] = {"containerd.runtime.linux.shim.v1.Shim", NULL};
static const char *const v2_services[] = {"containerd.task.v2.Task", "containerd.task.v3.Task",
					  NULL};

/* Status of api/types/task/task.proto. */
static const char *const status_names[] = {"unknown", "created", "running",
					   "stopped", "paused",	 "pausing"};

struct shim_request {
	int fd;
	const char *const *service;
	uint32_t stream;
	char *id, *namespace;
	struct ttrpc_reader reader;
};

void shim_request_free(struct shim_request *request)
{
	if (!request)
		return;
	if (request->fd >= 0)
		close(request->fd);
	free(request->id);
	free(request->namespace);
	ttrpc_reader_clear(&request->reader);
	free(request);
}

/*
 * The file of a socket as the shim sees it, wherever its root is; no link leads out of there.
 * Without openat2 (Linux 5.6) links are the node's own.
 */
static int open_socket_file(const struct host *host, int64_t pid, const char *path)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
	struct stat status;
	char root_path[64];

	snprintf(root_path, sizeof(root_path), "%" PRId64 "/root", pid);
	_cleanup_close_ int root = openat(host->proc, root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		root = open(*host->root ? host->root : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	_cleanup_close_ int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		fd = openat(root, path + strspn(path, "/"), O_PATH | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &status) < 0)
		return -errno;
	return S_ISSOCK(status.st_mode) ? TAKE_FD(fd) : -ENOTSOCK;
}

/* By way of the open file, whose path is never too long for an address. */
static int connect_path(const struct host *host, int64_t pid, const char *path, int fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int file = open_socket_file(host, pid, path);

	if (file < 0)
		return file;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", file);
	return connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
}

/* True if the shim's abstract names are ours too, or this cannot be told. */
static bool shares_network(const struct host *host, int64_t pid)
{
	char path[64], its[64] = "", own[64] = "";

	snprintf(path, sizeof(path), "%" PRId64 "/ns/net", pid);
	return readlinkat(host->proc, path, its, sizeof(its) - 1) < 0 ||
	       readlink("/proc/self/ns/net", own, sizeof(own) - 1) < 0 || streq(its, own);
}

/*
 * NAME is as in net/unix, where a NUL is shown as '@': that of Go programs before 1.21 ends with
 * one.
 */
static int connect_abstract(const char *name, int fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(name);

	if (length > sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, name, length);
	address.sun_path[0] = '\0';
	if (length > 1 && address.sun_path[length - 1] == '@')
		address.sun_path[length - 1] = '\0';
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	return connect(fd, (struct sockaddr *)&address, size) < 0 ? -errno : 0;
}

/*
 * A user's program can make it look as if it listened on root's socket, by a line break in the name of
 * its own. What root has to say is not for that socket.
 */
static int check_listener(const struct shim_request *request, const struct process *process)
{
	struct ucred listener;
	socklen_t size = sizeof(listener);

	if (getsockopt(request->fd, SOL_SOCKET, SO_PEERCRED, &listener, &size) < 0)
		return -errno;
	return process->uid == 0 || (int64_t)listener.uid == process->uid ? 0 : -EPERM;
}

/* All of it at once: it is far less than a fresh socket holds. */
static int send_call(struct shim_request *request)
{
	_cleanup_buffer_ struct buffer frame = BUFFER(REQUEST_BYTES_MAX);
	const struct ttrpc_call call = {.stream = request->stream,
					.service = *request->service,
					.method = "State",
					.namespace = request->namespace,
					.id = request->id};
	int r = ttrpc_write_call(&frame, &call);

	if (r < 0)
		return r;
	ssize_t sent = send(request->fd, frame.data, frame.length, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0)
		return errno == EPIPE ? -ECONNRESET : -errno;
	return (size_t)sent == frame.length ? 0 : -EIO;
}

int shim_request_start(const struct host *host, const struct shim *shim, const char *container_id,
		       struct shim_request **ret_request)
{
	_cleanup_(shim_request_freep) struct shim_request *request = NULL;
	struct process process;
	int r;

	if (!shim->socket || !shim->socket[0] ||
	    (shim->kind != SHIM_CONTAINERD_V1 && shim->kind != SHIM_CONTAINERD_V2))
		return -EOPNOTSUPP;
	r = process_read_same(host, shim->process.pid, shim->process.start_time, &process);
	if (r < 0)
		return r;
	bool abstract = shim->socket[0] == '@';
	if (abstract && !shares_network(host, shim->process.pid))
		return -EOPNOTSUPP;
	request = calloc(1, sizeof(*request));
	if (!request)
		return -ENOMEM;
	request->reader = TTRPC_READER;
	request->stream = 1;
	request->service = shim->kind == SHIM_CONTAINERD_V1 ? v1_services : v2_services;
	request->id = strdup(container_id);
	request->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (request->fd < 0)
		return -errno;
	/* The first shims' protocol had no such field. */
	if (shim->namespace && shim->kind == SHIM_CONTAINERD_V2)
		request->namespace = strdup(shim->namespace);
	if (!request->id ||
	    (shim->namespace && shim->kind == SHIM_CONTAINERD_V2 && !request->namespace))
		return -ENOMEM;
	r = abstract ? connect_abstract(shim->socket, request->fd)
		     : connect_path(host, shim->process.pid, shim->socket, request->fd);
	if (r == 0)
		r = check_listener(request, &process);
	if (r == 0)
		r = send_call(request);
	if (r < 0)
		return r;
	*ret_request = TAKE_PTR(request);
	return 0;
}

/*
 * True if the shim knows no such service. ttrpc before 1.1 said "not found" of a service, as shims
 * say of a container.
 */
static bool is_unimplemented(const struct ttrpc_answer *answer)
{
	return answer->code == TTRPC_UNIMPLEMENTED ||
	       (answer->code == TTRPC_NOT_FOUND &&
		(startswith(answer->text, "service ") || startswith(answer->text, "method ")));
}

static int describe(const struct ttrpc_answer *answer, char **ret_text)
{
	char *text = NULL;

	if (is_unimplemented(answer))
		text = strdup("unimplemented");
	else if (answer->code == TTRPC_NOT_FOUND)
		text = strdup("not found");
	else if (answer->code != TTRPC_OK && asprintf(&text, "error: %s", answer->text) < 0)
		text = NULL;
	else if (answer->code == TTRPC_OK)
		text = strdup(
			status_names[answer->status < ARRAY_SIZE(status_names) ? answer->status
									       : 0]);
	if (!text)
		return -ENOMEM;
	*ret_text = text;
	return 0;
}

/* A whole response is there. */
static int handle_response(struct shim_request *request, char **ret_answer)
{
	struct ttrpc_answer answer;
	int r = ttrpc_read_state(&request->reader, &answer);

	if (r < 0)
		return r;
	if (!is_unimplemented(&answer) || !request->service[1])
		return describe(&answer, ret_answer);
	request->service++;
	request->stream += 2;
	ttrpc_reader_clear(&request->reader);
	r = send_call(request);
	return r < 0 ? r : -EINPROGRESS;
}

int shim_request_check(struct shim_request *request, char **ret_answer)
{
	char bytes[4 * KIB];

	for (unsigned reads = 0; reads < READS_MAX; reads++) {
		ssize_t length = recv(request->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return errno == EAGAIN ? -EINPROGRESS : -errno;
		if (length == 0)
			return -ECONNRESET;
		int r = ttrpc_read(&request->reader, request->stream, bytes, (size_t)length);
		if (r < 0)
			return r;
		if (r == 0)
			continue;
		r = handle_response(request, ret_answer);
		if (r != -EINPROGRESS)
			return r;
	}
	return -EINPROGRESS;
}

int shim_ask(const struct host *host, const struct shim *shim, const char *container_id,
	     const struct clock *clock, uint64_t within_ns, char **ret_answer)
{
	_cleanup_(shim_request_freep) struct shim_request *request = NULL;
	uint64_t now = clock_monotonic(clock), end = now + within_ns;
	int r = shim_request_start(host, shim, container_id, &request);

	if (r < 0)
		return r;
	for (;;) {
		r = shim_request_check(request, ret_answer);
		if (r != -EINPROGRESS)
			return r;
		now = clock_monotonic(clock);
		if (now >= end)
			return -ETIMEDOUT;
		struct pollfd poll_fd = {.fd = request->fd, .events = POLLIN};
		uint64_t wait_ms = MIN((end - now + NS_PER_MS - 1) / NS_PER_MS, UINT64_C(1000));
		if (poll(&poll_fd, 1, (int)wait_ms) < 0 && errno != EINTR)
			return -errno;
	}
}
