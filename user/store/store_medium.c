/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Switching the store between disk and memory. A link that is given up stays allocated until its
 * own exit is seen, so that no handler here can free what its caller still holds.
 */
#include "store/store_medium.h"

#include "base/clock.h"

/* Bytes that may wait in a worker's socket buffer; the rest stays in the queue. */
#define OUT_BYTES (256 * KIB)
#define DEATHS_WITHIN_NS (60 * NS_PER_S)
/* Without a worker nothing can be written or read, so the next one is not waited for as long. */
#define NO_WORKER_RETRY_NS NS_PER_S

static uint64_t now_monotonic(void)
{
	return clock_monotonic(clock_system());
}

static void timer_set(sd_event_source *timer, uint64_t ns)
{
	sd_event_source_set_time_relative(timer, ns / NS_PER_US);
	sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

/* The look at whether workers still answer; only while one owes an answer. */
static void tick_arm(struct store *store)
{
	int enabled = SD_EVENT_OFF;
	bool needed =
		store->queue.head || store->candidate || (store->primary && !store->primary->open);

	sd_event_source_get_enabled(store->tick, &enabled);
	if (!needed || enabled != SD_EVENT_OFF || store->stopping)
		return;
	store->tick_due_ns = now_monotonic() + store->deadline_ns / 4;
	timer_set(store->tick, store->deadline_ns / 4);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct store_link *link = userdata;

	answers_service(link->owner, link);
	return 0;
}

static int on_exit_event(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct store_link *link = userdata;

	answers_service_exit(link->owner, link);
	return 0;
}

/* Starts a worker and tells it to open its database. */
static int worker_start(struct store *store, bool disk, bool load, struct store_link **ret_link)
{
	/* A loop that has ended takes no more sources: store_stop() asks by itself. */
	struct store_link_options options = {.event = store->stopping ? NULL : store->event,
					     .program = store->worker_program,
					     .directory = disk ? store->directory : NULL,
					     .on_io = on_io,
					     .on_exit = on_exit_event,
					     .owner = store};
	struct open_request request = store->request;
	struct store_link *link = NULL;

	int r = store_link_start(&options, &link);
	if (r < 0)
		return r;
	request.load = load;
	request.standby = !disk && store->directory;
	struct frame_writer frame = frame_start(&link->channel.out, FRAME_OPEN, 0);
	open_request_put(&frame, &request);
	r = frame_finish(&frame);
	if (r < 0) {
		store_link_free(link);
		return r;
	}
	store_link_flush(link);
	*ret_link = link;
	return 0;
}

static void link_give_up(struct store *store, struct store_link **link)
{
	struct store_link *lost = TAKE_PTR(*link);

	if (!lost)
		return;
	store_link_give_up(lost);
	lost->next = store->given_up;
	store->given_up = lost;
}

static void link_forget(struct store *store, struct store_link *link)
{
	for (struct store_link **slot = &store->given_up; *slot; slot = &(*slot)->next)
		if (*slot == link) {
			*slot = link->next;
			break;
		}
	store_link_free(link);
}

/* A disk worker that was killed and lives on: stuck in the kernel, and holding the lock. */
static const struct store_link *stuck_worker(const struct store *store)
{
	for (const struct store_link *link = store->given_up; link; link = link->next)
		if (link->disk && !link->reaped)
			return link;
	return NULL;
}

/* Returns true if workers die too often to start another at once. */
static bool deaths_note(struct store *store)
{
	uint64_t now_ns = now_monotonic();

	memmove(store->deaths_ns, store->deaths_ns + 1,
		sizeof(store->deaths_ns) - sizeof(store->deaths_ns[0]));
	store->deaths_ns[MEDIUM_DEATHS - 1] = now_ns;
	return store->deaths_ns[0] && now_ns - store->deaths_ns[0] < DEATHS_WITHIN_NS;
}

static void set_reason(struct store *store, const char *text)
{
	char retry[TIME_TEXT_SIZE];

	snprintf(store->reason, sizeof(store->reason), "%s; the store tries again every %s", text,
		 duration_format(store->retry_ns, retry));
}

static void announce(struct store *store)
{
	if (store->handlers.on_medium && !store->stopping)
		store->handlers.on_medium(store->handlers.userdata, store->medium, store->reason);
}

static void announce_ready(struct store *store)
{
	if (store->ready || store->stopping)
		return;
	store->ready = true;
	loading_finish(&store->loading);
	if (store->handlers.on_ready)
		store->handlers.on_ready(store->handlers.userdata, &store->loading.loaded);
	loading_clear(&store->loading);
}

static void retry_arm(struct store *store)
{
	timer_set(store->retry,
		  store->primary ? store->retry_ns : MIN(store->retry_ns, NO_WORKER_RETRY_NS));
}

static void start_memory(struct store *store)
{
	queue_resend(&store->queue);
	store->paused = store->dumping = false;
	/* Without a worker the records wait in the queue; the retry timer starts one. */
	if (worker_start(store, false, false, &store->primary) < 0)
		store->primary = NULL;
	retry_arm(store);
	tick_arm(store);
}

/* The disk fails, because of TEXT. Last thing that a handler does. */
static void go_memory(struct store *store, const char *text)
{
	link_give_up(store, &store->primary);
	link_give_up(store, &store->candidate);
	loading_clear(&store->loading);
	if (store->stopping)
		return;
	set_reason(store, text);
	store->medium = STORE_MEMORY;
	start_memory(store);
	announce_ready(store);
	announce(store);
}

/* The worker in memory is lost, and with it what ended since the disk failed. */
static void restart_memory(struct store *store, const char *text)
{
	char reason[512];

	link_give_up(store, &store->primary);
	/* All that it held is already on its way to the disk. */
	if (store->candidate && store->paused && !store->dumping)
		return;
	link_give_up(store, &store->candidate);
	if (store->stopping)
		return;
	snprintf(reason, sizeof(reason),
		 "the store's process in memory %.400s: what ended since the disk failed is lost",
		 text);
	if (store->directory)
		set_reason(store, reason);
	if (deaths_note(store))
		retry_arm(store);
	else
		start_memory(store);
	announce(store);
}

static void candidate_failed(struct store *store, const char *text)
{
	link_give_up(store, &store->candidate);
	loading_clear(&store->loading);
	set_reason(store, text);
	store->paused = store->dumping = false;
	timer_set(store->retry, store->retry_ns);
	if (!store->primary)
		restart_memory(store, "ended while the disk took over");
	medium_feed(store);
}

static void primary_failed(struct store *store, int error, const char *text)
{
	if (!store->primary->disk) {
		char reason[512];

		snprintf(reason, sizeof(reason), "failed (%.400s)", text);
		restart_memory(store, reason);
	} else if (error == EADDRINUSE && !store->ready && store->handlers.on_refused &&
		   !store->stopping) {
		link_give_up(store, &store->primary);
		store->refused = true;
		snprintf(store->reason, sizeof(store->reason), "%s", text);
		store->handlers.on_refused(store->handlers.userdata, store->reason);
	} else {
		go_memory(store, text);
	}
}

/* The primary's process ended without a word. */
static void primary_died(struct store *store)
{
	char end[128], text[256];

	store_link_end(store->primary, end, sizeof(end));
	if (!store->primary->disk) {
		restart_memory(store, end);
		return;
	}
	link_give_up(store, &store->primary);
	if (store->stopping)
		return;
	snprintf(text, sizeof(text),
		 "the store's process ended %d times within a minute, the last %s", MEDIUM_DEATHS,
		 end);
	if (deaths_note(store)) {
		go_memory(store, text);
		return;
	}
	loading_clear(&store->loading);
	queue_resend(&store->queue);
	int r = worker_start(store, true, !store->ready, &store->primary);
	if (r < 0) {
		store->primary = NULL;
		snprintf(text, sizeof(text), "cannot start the store's process: %s", strerror(-r));
		go_memory(store, text);
		return;
	}
	tick_arm(store);
}

/*
 * Both are open: memory is dumped, and nothing more is sent to it until the disk has taken the
 * dump. The number tells this dump from one that was asked for an earlier candidate.
 */
static void merge_begin(struct store *store)
{
	if (!store->candidate || !store->candidate->open || !store->primary ||
	    !store->primary->open || store->paused)
		return;
	struct frame_writer frame =
		frame_start(&store->primary->channel.out, FRAME_DUMP, ++store->dump_number);
	if (frame_finish(&frame) < 0)
		return;
	store->paused = store->dumping = true;
	if (!queue_is_waiting(&store->queue))
		store->primary->progress_ns = now_monotonic();
	store->candidate->progress_ns = now_monotonic();
	store_link_flush(store->primary);
}

void medium_dumped(struct store *store, struct store_link *link, uint64_t number, int dump_fd)
{
	if (link != store->primary || !store->dumping || number != store->dump_number)
		return;
	store->dumping = false;
	store->candidate->progress_ns = now_monotonic();
	/* A failure shows as the candidate's end, or as its silence. */
	channel_send_fd(&store->candidate->channel, FRAME_MERGE, !store->loaded, dump_fd);
}

int medium_merged(struct store *store, struct store_link *link)
{
	if (link != store->candidate)
		return -EPROTO;
	link_give_up(store, &store->primary);
	store->primary = TAKE_PTR(store->candidate);
	store->paused = store->dumping = false;
	queue_resend(&store->queue);
	sd_event_source_set_enabled(store->retry, SD_EVENT_OFF);
	store->medium = STORE_DISK;
	snprintf(store->reason, sizeof(store->reason), "%s", link->warning);
	announce(store);
	if (!store->loaded && !store->stopping) {
		store->loaded = true;
		loading_finish(&store->loading);
		if (store->handlers.on_recovered)
			store->handlers.on_recovered(store->handlers.userdata,
						     &store->loading.loaded);
	}
	loading_clear(&store->loading);
	return 0;
}

void medium_opened(struct store *store, struct store_link *link)
{
	link->open = true;
	if (link == store->primary) {
		if (link->disk) {
			store->medium = STORE_DISK;
			snprintf(store->reason, sizeof(store->reason), "%s", link->warning);
			store->loaded = store->loaded || !store->ready;
		} else if (!store->directory) {
			store->medium = STORE_MEMORY;
		}
		announce_ready(store);
		if (*link->warning)
			announce(store);
	}
	merge_begin(store);
}

void medium_failed(struct store *store, struct store_link *link, int error, const char *text)
{
	if (link == store->candidate)
		candidate_failed(store, text);
	else
		primary_failed(store, error, text);
}

void medium_died(struct store *store, struct store_link *link)
{
	char end[128], text[256];

	if (link == store->primary) {
		primary_died(store);
	} else if (link == store->candidate) {
		snprintf(text, sizeof(text), "the store's process, trying the disk, %s",
			 store_link_end(link, end, sizeof(end)));
		candidate_failed(store, text);
	}
	link_forget(store, link);
	medium_feed(store);
}

void medium_feed(struct store *store)
{
	struct store_link *link = store->primary;

	store->counts.pending = store->queue.records;
	tick_arm(store);
	if (!link || !link->open || store->paused)
		return;
	bool idle = !queue_is_waiting(&store->queue);
	if (!queue_send(&store->queue, &link->channel.out, OUT_BYTES))
		return;
	if (idle)
		link->progress_ns = now_monotonic();
	store_link_flush(link);
}

void medium_try_disk(struct store *store)
{
	const struct store_link *stuck = stuck_worker(store);
	char text[256];
	int r;

	if (!store->directory || store->medium != STORE_MEMORY || store->candidate)
		return;
	if (stuck) {
		snprintf(text, sizeof(text),
			 "the disk under %s hangs: the store's process %d was killed and does not "
			 "die",
			 store->directory, stuck->pid);
		set_reason(store, text);
		timer_set(store->retry, store->retry_ns);
		return;
	}
	r = worker_start(store, true, false, &store->candidate);
	if (r < 0) {
		store->candidate = NULL;
		timer_set(store->retry, store->retry_ns);
		return;
	}
	tick_arm(store);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct store *store = userdata;

	if (!store->primary && !store->refused)
		start_memory(store);
	medium_try_disk(store);
	return 0;
}

static bool link_hangs(const struct store *store, const struct store_link *link)
{
	bool waiting = link == store->candidate || !link->open || queue_is_waiting(&store->queue) ||
		       store->dumping;

	return waiting && now_monotonic() - link->progress_ns > store->deadline_ns;
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct store *store = userdata;
	uint64_t now_ns = now_monotonic();
	char deadline[TIME_TEXT_SIZE], text[512];

	/* The agent itself was stopped or starved: the workers' silence tells nothing yet. */
	if (now_ns > store->tick_due_ns + store->deadline_ns / 2) {
		if (store->primary)
			store->primary->progress_ns = now_ns;
		if (store->candidate)
			store->candidate->progress_ns = now_ns;
	}
	queue_expire(&store->queue,
		     now_ns > 2 * store->deadline_ns ? now_ns - 2 * store->deadline_ns : 0);
	if (store->candidate && link_hangs(store, store->candidate))
		answers_service(store, store->candidate);
	if (store->primary && link_hangs(store, store->primary))
		answers_service(store, store->primary);
	snprintf(text, sizeof(text), "the disk under %s does not answer within %s",
		 store->directory ? store->directory : "",
		 duration_format(store->deadline_ns, deadline));
	if (store->candidate && link_hangs(store, store->candidate) && !store->dumping)
		candidate_failed(store, text);
	if (store->primary && link_hangs(store, store->primary)) {
		if (store->primary->disk)
			go_memory(store, text);
		else
			restart_memory(store, "does not answer");
	}
	/* What there was no memory for when it came. */
	medium_feed(store);
	return 0;
}

int medium_start(struct store *store)
{
	int r = sd_event_add_time_relative(store->event, &store->tick, CLOCK_MONOTONIC, 0, 0,
					   on_tick, store);

	if (r >= 0)
		r = sd_event_source_set_enabled(store->tick, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time_relative(store->event, &store->retry, CLOCK_MONOTONIC, 0, 0,
					       on_retry, store);
	if (r >= 0)
		r = sd_event_source_set_enabled(store->retry, SD_EVENT_OFF);
	if (r >= 0)
		r = worker_start(store, store->directory, true, &store->primary);
	if (r >= 0)
		tick_arm(store);
	return r < 0 ? r : 0;
}
