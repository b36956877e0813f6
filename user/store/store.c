/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's interface and its life: options in, requests to the queue (store_queue.c), the end.
 * Which worker the queue goes to is the business of store_medium.c.
 */
#include "store/store.h"

#include <poll.h>
#include <sys/random.h>

#include "base/clock.h"
#include "store/store_medium.h"

#define DEADLINE_NS (10 * NS_PER_S)
#define RETRY_NS (30 * NS_PER_S)
#define RETENTION_INTERVAL_NS (60 * NS_PER_S)
/* A predecessor that is dying gets this long to let go of the database. */
#define LOCK_WAIT_NS (5 * NS_PER_S)
#define DISK_AGAIN_NS (100 * NS_PER_MS) /* between two tries of the disk at the end */

const char *const store_medium_names[] = {
	[STORE_OPENING] = "opening", [STORE_DISK] = "disk", [STORE_MEMORY] = "memory", NULL};

static uint64_t or_default(uint64_t value, uint64_t fallback)
{
	return value ? value : fallback;
}

static void store_destroy(struct store *store)
{
	if (!store)
		return;
	queue_cancel(&store->queue);
	loading_clear(&store->loading);
	store->tick = sd_event_source_disable_unref(store->tick);
	store->retry = sd_event_source_disable_unref(store->retry);
	store_link_free(store->primary);
	store_link_free(store->candidate);
	while (store->given_up) {
		struct store_link *link = store->given_up;

		store->given_up = link->next;
		store_link_reap(link);
		store_link_free(link);
	}
	sd_event_unref(store->event);
	free(store->directory);
	free(store->worker_program);
	free(store);
}
DEFINE_CLEANUP(struct store, store_destroy);

int store_start(const struct store_options *options, const struct store_handlers *handlers,
		struct store **ret_store)
{
	_cleanup_(store_destroyp) struct store *store = calloc(1, sizeof(*store));

	if (!store)
		return -ENOMEM;
	store->event = sd_event_ref(options->event);
	store->handlers = *handlers;
	store->deadline_ns = or_default(options->deadline_ns, DEADLINE_NS);
	store->retry_ns = or_default(options->retry_ns, RETRY_NS);
	store->request = (struct open_request){
		.retention_age_ns = options->retention_age_ns,
		.retention_count = options->retention_count,
		.retention_interval_ns =
			or_default(options->retention_interval_ns, RETENTION_INTERVAL_NS),
		.history_ns = options->history_ns,
		.lock_wait_ns = MIN(LOCK_WAIT_NS, store->deadline_ns / 2)};
	if (getrandom(&store->request.run, sizeof(store->request.run), 0) < 0)
		return -errno;
	if (options->directory) {
		store->directory = strdup(options->directory);
		if (!store->directory)
			return -ENOMEM;
	} else {
		snprintf(store->reason, sizeof(store->reason), "no state directory is configured");
	}
	if (options->worker_program) {
		store->worker_program = strdup(options->worker_program);
		if (!store->worker_program)
			return -ENOMEM;
	}
	int r = medium_start(store);
	if (r == 0)
		*ret_store = TAKE_PTR(store);
	return r;
}

/* What poll(2) says of one worker; the order of entries is link's socket, link's process. */
static void service_polled(struct store *store, struct store_link *link,
			   const struct pollfd *polled)
{
	if (polled[0].revents && !link->given_up)
		answers_service(store, link);
	if (polled[1].revents)
		answers_service_exit(store, link);
}

/* Waits for both workers once, at most until UNTIL_NS. Returns false when the time is over. */
static bool pump(struct store *store, uint64_t until_ns)
{
	struct store_link *links[2] = {store->primary, store->candidate};
	struct pollfd polled[4];
	uint64_t now_ns = clock_monotonic(clock_system());

	if (now_ns >= until_ns)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		int events = links[i] && links[i]->channel.out.length ? POLLIN | POLLOUT : POLLIN;
		bool ended = links[i] && links[i]->ended;

		polled[2 * i] =
			(struct pollfd){.fd = links[i] && !ended ? links[i]->channel.fd : -1,
					.events = (short)events};
		polled[2 * i + 1] =
			(struct pollfd){.fd = links[i] ? links[i]->pidfd : -1, .events = POLLIN};
	}
	if (poll(polled, ARRAY_SIZE(polled),
		 (int)MIN((until_ns - now_ns) / NS_PER_MS + 1, 1000u)) <= 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		/* The first one's answer may have ended the second. */
		if (links[i] && (links[i] == store->primary || links[i] == store->candidate))
			service_polled(store, links[i], polled + 2 * i);
	return true;
}

/* Abnormals that are in memory alone, though there is to be a disk. */
static uint64_t in_memory_alone(const struct store *store)
{
	return store->medium == STORE_MEMORY && store->directory
		       ? store->counts.abnormals + store->queue.records
		       : 0;
}

/* Returns false when the time is over. */
static bool rest(uint64_t until_ns)
{
	uint64_t now_ns = clock_monotonic(clock_system());

	if (now_ns >= until_ns)
		return false;
	return poll(NULL, 0, (int)(MIN(until_ns - now_ns, DISK_AGAIN_NS) / NS_PER_MS + 1)) == 0;
}

uint64_t store_stop(struct store *store, uint64_t timeout_ns)
{
	uint64_t until_ns = clock_monotonic(clock_system()) + timeout_ns;

	if (!store)
		return 0;
	store->stopping = true;
	/* What ails the disk may pass within the time that there is. */
	do {
		medium_try_disk(store);
		medium_feed(store);
		while (store->primary && (store->queue.records || store->candidate) &&
		       pump(store, until_ns))
			;
	} while (in_memory_alone(store) && rest(until_ns));
	uint64_t lost = in_memory_alone(store);

	if (store->primary)
		store_link_finish(store->primary);
	/* On disk the worker may go on without the agent: it commits, and ends by itself. */
	while (store->primary && pump(store, until_ns))
		;
	store_destroy(store);
	return lost;
}

enum store_medium store_medium(const struct store *store, const char **ret_reason)
{
	if (ret_reason)
		*ret_reason = store->reason;
	return store->medium;
}

const struct store_counts *store_counts(const struct store *store)
{
	return &store->counts;
}

int store_write(struct store *store, const struct store_record *record, store_written callback,
		void *userdata)
{
	int r = queue_add_record(&store->queue, record, callback, userdata);

	if (r == 0)
		medium_feed(store);
	return r;
}

static int store_ask(struct store *store, enum frame_type type, const char *namespace,
		     const char *name, store_answer callback, void *userdata)
{
	int r = queue_add_question(&store->queue, type, namespace, name, callback, userdata);

	if (r == 0)
		medium_feed(store);
	return r;
}

int store_get(struct store *store, const char *namespace, const char *name, store_answer callback,
	      void *userdata)
{
	return store_ask(store, FRAME_GET, namespace, name, callback, userdata);
}

int store_list(struct store *store, const char *namespace, store_answer callback, void *userdata)
{
	return store_ask(store, FRAME_LIST, namespace, NULL, callback, userdata);
}

int store_history(struct store *store, const char *namespace, const char *name,
		  store_answer callback, void *userdata)
{
	return store_ask(store, FRAME_HISTORY, namespace, name, callback, userdata);
}
