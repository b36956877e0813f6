/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets to listen on, and the judgement of peers. */
#include "api/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"

#define BACKLOG 32
/* A predecessor that was killed is not quite gone while a child it just forked still has its lock. */
#define LOCK_WITHIN_NS NS_PER_S
#define PEER_GROUPS_MAX 65536 /* NGROUPS_MAX of the kernel */

static int parent_make(const char *path, struct problem *problem)
{
	const char *slash = strrchr(path, '/');

	if (!slash || slash == path)
		return 0;
	_cleanup_free_ char *parent = strndup(path, (size_t)(slash - path));
	if (!parent)
		return -ENOMEM;
	int r = directory_make(parent, 0755);
	if (r < 0)
		return problem_set(problem, r, NULL,
				   "cannot make the folder %s of the API's socket: %s", parent,
				   strerror(-r));
	return 0;
}

static int address_of(const char *path, struct sockaddr_un *ret_address, struct problem *problem)
{
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(ret_address->sun_path))
		return problem_set(problem, -ENAMETOOLONG, NULL,
				   "the socket's path %s is longer than the %zu characters that "
				   "the kernel allows: choose a shorter one with --socket",
				   path, sizeof(ret_address->sun_path) - 1);
	memcpy(ret_address->sun_path, path, strlen(path));
	return 0;
}

/*
 * Returns 1 if somebody listens (ret_pid: who; 0 when the kernel does not tell), 0 if nobody does.
 */
static int listener_find(const struct sockaddr_un *address, pid_t *ret_pid)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct ucred peer = {0};
	socklen_t length = sizeof(peer);

	*ret_pid = 0;
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		/* EAGAIN: its backlog is full, so there is one. */
		return errno == EAGAIN ? 1 : errno == ECONNREFUSED || errno == ENOENT ? 0 : -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0)
		*ret_pid = peer.pid;
	return 1;
}

static int in_use(const char *path, pid_t pid, struct problem *problem)
{
	char who[64] = "";

	if (pid > 0)
		snprintf(who, sizeof(who), " (pid %d)", (int)pid);
	return problem_set(problem, -EADDRINUSE, NULL,
			   "an agent%s answers on %s already: stop it first, or give this one "
			   "another place with --socket, --state-dir and --bpffs",
			   who, path);
}

static int lock_take(const char *path, const struct sockaddr_un *address, int *ret_fd,
		     struct problem *problem)
{
	char name[sizeof(address->sun_path) + 8], text[32] = "";
	pid_t pid = 0;

	snprintf(name, sizeof(name), "%s.lock", path);
	_cleanup_close_ int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return problem_set(problem, -errno, NULL, "cannot open the lock %s: %s", name,
				   strerror(errno));
	int r = file_lock(fd, LOCK_WITHIN_NS);
	if (r < 0) {
		if (r != -EWOULDBLOCK)
			return problem_set(problem, r, NULL, "cannot lock %s: %s", name,
					   strerror(-r));
		if (listener_find(address, &pid) <= 0 || pid == 0) {
			ssize_t length = pread(fd, text, sizeof(text) - 1, 0);

			text[MAX(length, 0)] = '\0';
			pid = (pid_t)strtol(text, NULL, 10);
		}
		return in_use(path, pid, problem);
	}
	int length = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)length, 0) != length)
		return problem_set(problem, -EIO, NULL, "cannot write to the lock %s: %s", name,
				   strerror(errno));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int stale_remove(const char *path, const struct sockaddr_un *address,
			struct problem *problem)
{
	struct stat status;
	pid_t pid;

	if (lstat(path, &status) < 0)
		return errno == ENOENT ? 0
				       : problem_set(problem, -errno, NULL, "cannot look at %s: %s",
						     path, strerror(errno));
	if (!S_ISSOCK(status.st_mode))
		return problem_set(problem, -EEXIST, NULL,
				   "%s is in the way of the API's socket and is not a socket: "
				   "remove it, or choose another place with --socket",
				   path);
	int r = listener_find(address, &pid);
	if (r > 0)
		return in_use(path, pid, problem);
	if (r < 0)
		return problem_set(problem, r, NULL,
				   "cannot tell whether an agent listens on %s: %s", path,
				   strerror(-r));
	if (unlink(path) < 0)
		return problem_set(problem, -errno, NULL,
				   "cannot remove the socket %s that an agent left behind: %s",
				   path, strerror(errno));
	return 0;
}

int listen_reserve(const char *path, int *ret_lock_fd, struct problem *problem)
{
	struct sockaddr_un address;
	int r = address_of(path, &address, problem);

	if (r == 0)
		r = parent_make(path, problem);
	return r < 0 ? r : lock_take(path, &address, ret_lock_fd, problem);
}

int listen_unix(const char *path, mode_t mode, int *ret_fd, struct problem *problem)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un address;
	int r = address_of(path, &address, problem);

	if (r == 0)
		r = stale_remove(path, &address, problem);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return problem_set(problem, -errno, NULL, "cannot make a socket: %s",
				   strerror(errno));
	/* Nobody can connect before listen(), so there is no moment with too wide a mode. */
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chmod(path, mode) < 0 || listen(fd, BACKLOG) < 0)
		return problem_set(problem, -errno, NULL, "cannot listen on %s: %s", path,
				   strerror(errno));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static void addressesp(struct addrinfo **addresses)
{
	if (*addresses)
		freeaddrinfo(*addresses);
}

int listen_tcp(const char *address, int *ret_fd, struct problem *problem)
{
	_cleanup_(addressesp) struct addrinfo *found = NULL;
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				       .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
	const char *colon = strrchr(address, ':');
	const int on = 1;
	char host[64];

	size_t length = colon ? (size_t)(colon - address) : sizeof(host);
	if (length >= sizeof(host) || !colon[1])
		return problem_set(
			problem, -EINVAL, "api.metricsAddress",
			"is \"%s\", but must be ADDRESS:PORT, such as 127.0.0.1:9464 or [::1]:9464",
			address);
	bool bracketed = length >= 2 && address[0] == '[' && address[length - 1] == ']';
	memcpy(host, address + bracketed, length - 2 * bracketed);
	host[length - 2 * bracketed] = '\0';
	int r = getaddrinfo(*host ? host : NULL, colon + 1, &hints, &found);
	if (r != 0)
		return problem_set(
			problem, -EINVAL, "api.metricsAddress",
			"is \"%s\", but must be a numeric ADDRESS:PORT, such as 127.0.0.1:9464: %s",
			address, gai_strerror(r));
	_cleanup_close_ int fd =
		socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
		return problem_set(problem, -errno, "api.metricsAddress", "cannot listen on %s: %s",
				   address, strerror(errno));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static bool group_allowed(const struct peer_rules *rules, gid_t group)
{
	for (size_t i = 0; i < rules->group_count; i++)
		if (rules->groups[i] == group)
			return true;
	return false;
}

/* The supplementary groups that FD's peer had when it connected. */
static int groups_allowed(int fd, const struct peer_rules *rules)
{
	socklen_t size = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) < 0 && errno != ERANGE)
		return errno == ENOPROTOOPT || errno == ENODATA ? 0 : -errno;
	if (size == 0 || size > PEER_GROUPS_MAX * sizeof(gid_t))
		return 0;
	_cleanup_free_ gid_t *groups = malloc(size);
	if (!groups)
		return -ENOMEM;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return -errno;
	for (size_t i = 0; i < size / sizeof(gid_t); i++)
		if (group_allowed(rules, groups[i]))
			return 1;
	return 0;
}

int peer_check(int fd, const struct peer_rules *rules, struct ucred *ret_peer)
{
	socklen_t length = sizeof(*ret_peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret_peer, &length) < 0)
		return -errno;
	if (ret_peer->uid == 0 || ret_peer->uid == geteuid() || group_allowed(rules, ret_peer->gid))
		return 0;
	for (size_t i = 0; i < rules->user_count; i++)
		if (rules->users[i] == ret_peer->uid)
			return 0;
	int r = rules->group_count ? groups_allowed(fd, rules) : 0;
	return r > 0 ? 0 : r < 0 ? r : -EACCES;
}
