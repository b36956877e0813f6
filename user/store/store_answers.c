/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store's workers say: reading their frames and taking each to whom it concerns, the
 * queue, the state being loaded, or the choice of the medium. A link that is given up meanwhile
 * stays allocated until its own exit is seen, so that nothing here holds what was freed.
 */
#include <signal.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/store_medium.h"

/* Receives between two turns of the event loop. */
#define SERVICE_ROUNDS 16

static int handle_dumped(struct store *store, struct store_link *link, struct frame *frame)
{
	_cleanup_close_ int fd = TAKE_FD(link->channel.received_fd);
	uint64_t number = frame_number(frame);

	if (fd < 0 || frame_check(frame) < 0)
		return -EPROTO;
	medium_dumped(store, link, number, fd);
	return 0;
}

static void counts_get(struct store *store, struct frame *frame)
{
	uint64_t abnormals = frame_number(frame), bytes = frame_number(frame);

	if (frame_check(frame) == 0) {
		store->counts.abnormals = abnormals;
		store->counts.bytes = bytes;
	}
}

static int handle_opened(struct store *store, struct store_link *link, struct frame *frame)
{
	const char *warning = frame_text(frame, NULL);

	snprintf(link->warning, sizeof(link->warning), "%s", warning ? warning : "");
	if (link == store->primary)
		counts_get(store, frame);
	medium_opened(store, link);
	return 0;
}

static int handle_state(struct store *store, struct frame *frame)
{
	struct problem problem = {0};
	char line[768];
	size_t length = 0;
	const char *text = frame_text(frame, &length);

	if (!text)
		return -EPROTO;
	if (frame->header.type == FRAME_ACTED) {
		struct store_action action = {.recoverer = text,
					      .subject = frame_text(frame, NULL)};

		action.intent_time = (int64_t)frame_number(frame);
		return action.subject ? loading_add_action(&store->loading, &action) : -EPROTO;
	}
	if (frame->header.type == FRAME_POSITION) {
		const char *position = frame_text(frame, NULL);

		return position ? loading_add_position(&store->loading, text, position) : -EPROTO;
	}
	int r = loading_add(&store->loading, frame->header.type == FRAME_LIVE, text, length,
			    &problem);
	if (r < 0 && r != -ENOMEM) {
		log_warning("loading an Abnormal from %s: %s; it stays there and is not handled: "
			    "delete it, or upgrade lifeboat",
			    store->directory, problem_line(&problem, line, sizeof(line)));
		r = 0;
	}
	return r;
}

static int handle_removed(struct store *store, struct frame *frame)
{
	const char *uid = frame_text(frame, NULL);

	if (!uid)
		return -EPROTO;
	if (store->handlers.on_removed && !store->stopping)
		store->handlers.on_removed(store->handlers.userdata, uid);
	return 0;
}

static int handle_failed(struct store *store, struct store_link *link, struct frame *frame)
{
	uint64_t error = frame_number(frame);
	const char *text = frame_text(frame, NULL);

	medium_failed(store, link, (int)error, text && *text ? text : "the store's process failed");
	return 0;
}

static int handle_frame(struct store *store, struct store_link *link, struct frame *frame)
{
	uint64_t sequence = frame->header.sequence;
	size_t length = 0;
	const char *text;

	switch ((enum frame_type)frame->header.type) {
	case FRAME_PROGRESS:
		return 0;
	case FRAME_LIVE:
	case FRAME_RECENT:
	case FRAME_ACTED:
	case FRAME_POSITION:
		return handle_state(store, frame);
	case FRAME_OPENED:
		return handle_opened(store, link, frame);
	case FRAME_COMMITTED:
		store->counts.commits++;
		counts_get(store, frame);
		return queue_committed(&store->queue, sequence, &store->counts);
	case FRAME_REJECTED:
		return queue_rejected(&store->queue, sequence, -(int)frame_number(frame));
	case FRAME_PART:
		text = frame_text(frame, &length);
		return text ? queue_part(&store->queue, sequence, text, length) : -EPROTO;
	case FRAME_END:
		return queue_end(&store->queue, sequence, -(int)frame_number(frame));
	case FRAME_REMOVED:
		return handle_removed(store, frame);
	case FRAME_DUMPED:
		return handle_dumped(store, link, frame);
	case FRAME_MERGED:
		counts_get(store, frame);
		return medium_merged(store, link);
	case FRAME_FAILED:
		return handle_failed(store, link, frame);
	default:
		return -EPROTO;
	}
}

/* Handles what came in. Returns false when there is nothing more to read, now or ever. */
static bool receive(struct store *store, struct store_link *link)
{
	struct frame frame;
	int r;

	ssize_t length = channel_receive(&link->channel);
	/* The end of the stream comes before the process's: that one is acted upon. */
	if (length <= 0 && length != -EAGAIN) {
		link->ended = true;
		sd_event_source_set_enabled(link->io, SD_EVENT_OFF);
		/* What there was no memory for is lost, so no more of it makes sense. */
		if (length < 0 && !link->reaped)
			kill(link->pid, SIGKILL);
	}
	if (length <= 0)
		return false;
	link->progress_ns = clock_monotonic(clock_system());
	while (!link->given_up && (r = channel_next(&link->channel, &frame)) != 0) {
		if (r > 0)
			r = handle_frame(store, link, &frame);
		if (r < 0) {
			/* It talks nonsense: as good as dead, and handled so when it is. */
			link->ended = true;
			sd_event_source_set_enabled(link->io, SD_EVENT_OFF);
			kill(link->pid, SIGKILL);
			return false;
		}
	}
	return !link->given_up;
}

void answers_service(struct store *store, struct store_link *link)
{
	int rounds = SERVICE_ROUNDS;

	while (!link->given_up && rounds-- > 0 && receive(store, link))
		;
	if (!link->given_up)
		store_link_flush(link);
	medium_feed(store);
}

void answers_service_exit(struct store *store, struct store_link *link)
{
	if (!store_link_reap(link))
		return;
	/* What it said before it died still counts. */
	while (!link->given_up && receive(store, link))
		;
	medium_died(store, link);
}
