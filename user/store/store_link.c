/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a store worker, talking to it, and letting go of it. */
#include "store/store_link.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/spawn.h"

static int worker_spawn(const char *program, const char *directory, int socket_fd, pid_t *ret_pid,
			int *ret_pidfd)
{
	char *arguments[] = {(char *)"lifeboat",
			     (char *)"store-worker",
			     (char *)"--fd",
			     (char *)"3",
			     directory ? (char *)"--directory" : NULL,
			     (char *)directory,
			     NULL};

	return spawn(program ? program : "/proc/self/exe", arguments, &socket_fd, 1, ret_pid,
		     ret_pidfd);
}

int store_link_start(const struct store_link_options *options, struct store_link **ret_link)
{
	_cleanup_(store_link_freep) struct store_link *link = calloc(1, sizeof(*link));
	_cleanup_close_ int worker_fd = -1;
	int pair[2];

	if (!link)
		return -ENOMEM;
	*link = (struct store_link){.owner = options->owner,
				    .pidfd = -1,
				    .disk = options->directory,
				    .progress_ns = clock_monotonic(clock_system())};
	channel_init(&link->channel, -1);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	link->channel.fd = pair[0];
	worker_fd = pair[1];
	/* The agent's end alone: the worker may wait for the agent, never the other way round. */
	if (fcntl(link->channel.fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	int r = worker_spawn(options->program, options->directory, worker_fd, &link->pid,
			     &link->pidfd);
	if (r < 0)
		return r;
	if (options->event)
		r = sd_event_add_io(options->event, &link->io, link->channel.fd, EPOLLIN,
				    options->on_io, link);
	if (r >= 0 && options->event)
		r = sd_event_add_io(options->event, &link->exit, link->pidfd, EPOLLIN,
				    options->on_exit, link);
	if (r < 0) {
		kill(link->pid, SIGKILL);
		return r;
	}
	*ret_link = TAKE_PTR(link);
	return 0;
}

void store_link_give_up(struct store_link *link)
{
	if (link->given_up)
		return;
	link->given_up = true;
	link->io = sd_event_source_disable_unref(link->io);
	channel_close(&link->channel);
	if (!link->reaped && link->pid > 0)
		kill(link->pid, SIGKILL);
}

void store_link_finish(struct store_link *link)
{
	shutdown(link->channel.fd, SHUT_WR);
}

void store_link_free(struct store_link *link)
{
	if (!link)
		return;
	link->io = sd_event_source_disable_unref(link->io);
	link->exit = sd_event_source_disable_unref(link->exit);
	channel_close(&link->channel);
	buffer_free(&link->channel.in);
	buffer_free(&link->channel.out);
	closep(&link->pidfd);
	free(link);
}

void store_link_flush(struct store_link *link)
{
	if (link->given_up)
		return;
	int r = channel_flush(&link->channel);
	if (r < 0 && r != -EAGAIN) {
		/* A stream that lacks something is of no use, be it for want of memory: the next
		 * worker is sent all of it. */
		buffer_consume(&link->channel.out, link->channel.out.length);
		if (!link->reaped)
			kill(link->pid, SIGKILL);
	}
	if (link->io)
		sd_event_source_set_io_events(link->io, EPOLLIN | (r == -EAGAIN ? EPOLLOUT : 0));
}

bool store_link_reap(struct store_link *link)
{
	siginfo_t information = {0};

	if (link->reaped)
		return true;
	if (waitid(P_PID, (id_t)link->pid, &information, WEXITED | WNOHANG) < 0) {
		/* Somebody else in this process reaped it: how it ended is not known. */
		link->reaped = errno == ECHILD;
		return link->reaped;
	}
	if (information.si_pid == 0)
		return false;
	link->reaped = true;
	link->exit_status = information.si_status;
	link->exit_signal = information.si_code != CLD_EXITED;
	return true;
}

const char *store_link_end(const struct store_link *link, char *text, size_t size)
{
	if (link->exit_signal)
		snprintf(text, size, "was killed by signal %d (%s)", link->exit_status,
			 strsignal(link->exit_status));
	else
		snprintf(text, size, "exited with status %d", link->exit_status);
	return text;
}
