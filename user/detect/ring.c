/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the ring from the event loop a portion at a time, and what of it is kept. */
#include "detect/ring.h"

#include <bpf/bpf.h>
#include <inttypes.h>
#include <sys/epoll.h>

#include "base/file.h"
#include "detect/ring_view.h"

/* Records read before the loop gets its turn again: a storm must not starve timers and the API. */
#define RECORDS_PER_TURN 256
/* Records that are kept at once; of more, the oldest is let go. */
#define KEPT_MAX 4096

struct kept {
	uint64_t begin, end;
	unsigned times; /* that it is kept; 0: it waits for those before it */
};

struct ring {
	struct ring_options options;
	struct ring_view view;
	uint64_t next; /* where the next record begins that is to be read */
	uint64_t current_begin, current; /* of the record at hand; current 0: none */
	/* Ordered by position, the oldest at kept[kept_first]. */
	struct kept *kept;
	size_t kept_first, kept_count;
	sd_event_source *readable, *more;
	char id[32];
	int cpus;
	uint64_t *cpu_values; /* scratch of CPUS values */
	uint64_t malformed, let_go;
	struct log_limit log_limit, let_go_limit;
};

/* --- What is kept --- */

static struct kept *kept_at(const struct ring *ring, size_t index)
{
	return &ring->kept[(ring->kept_first + index) % KEPT_MAX];
}

static struct kept *kept_find(const struct ring *ring, uint64_t record)
{
	size_t low = 0, high = ring->kept_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct kept *kept = kept_at(ring, middle);

		if (kept->end == record)
			return kept;
		if (kept->end < record)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static void kept_drop_first(struct ring *ring)
{
	ring->kept_first = (ring->kept_first + 1) % KEPT_MAX;
	ring->kept_count--;
}

/* Gives room back as far as nothing is kept. */
static void give_back(struct ring *ring)
{
	while (ring->kept_count && !kept_at(ring, 0)->times)
		kept_drop_first(ring);
	ring_view_consume(&ring->view, ring->kept_count ? kept_at(ring, 0)->begin
				       : ring->current	? ring->current_begin
							: ring->next);
}

static void let_go_oldest(struct ring *ring)
{
	uint32_t suppressed;

	kept_drop_first(ring);
	ring->let_go++;
	if (log_limit_pass(&ring->let_go_limit, 1, 600 * NS_PER_S, &suppressed))
		log_warning(
			"Events come faster than they become durable: of those that are on "
			"their way, the oldest would be forgotten if this agent were killed now");
}

uint64_t ring_current(const struct ring *ring)
{
	return ring->current;
}

void ring_keep(struct ring *ring, uint64_t record)
{
	struct kept *kept = kept_find(ring, record);

	if (kept) {
		kept->times++;
		return;
	}
	if (!record || record != ring->current)
		return;
	if (ring->kept_count == KEPT_MAX)
		let_go_oldest(ring);
	ring->kept_count++;
	*kept_at(ring, ring->kept_count - 1) =
		(struct kept){.begin = ring->current_begin, .end = record, .times = 1};
}

void ring_release(struct ring *ring, uint64_t record)
{
	struct kept *kept = kept_find(ring, record);

	if (!kept || !kept->times)
		return;
	kept->times--;
	give_back(ring);
}

const char *ring_record_text(const struct ring *ring, uint64_t record,
			     char text[RING_RECORD_TEXT_SIZE])
{
	snprintf(text, RING_RECORD_TEXT_SIZE, "%s:%" PRIu64, ring->id, record);
	return text;
}

/* --- Reading --- */

void ring_take(struct ring *ring, const void *record, size_t length)
{
	const struct event_header *header = record;
	uint16_t type = length >= sizeof(*header) ? header->type : EVENT_NONE;
	size_t size_min = ring->options.size_of(ring->options.userdata, type);
	int r = size_min == 0 ? -ENOTSUP : event_check(record, length, size_min);
	uint32_t suppressed;

	if (r == 0) {
		ring->options.on_record(ring->options.userdata, header);
		return;
	}
	ring->malformed++;
	if (log_limit_pass(&ring->log_limit, 5, 60 * NS_PER_S, &suppressed))
		log_warning("dropped a ring record of type %u and %zu bytes: %s; the detectors "
			    "loaded are not those of this agent (%u such messages were left out)",
			    type, length,
			    r == -EPROTO    ? "it has another version"
			    : r == -ENOTSUP ? "no detector reads that type"
					    : "it is shorter than it should be",
			    suppressed);
}

/* Returns false if there was none. */
static bool read_one(struct ring *ring)
{
	uint64_t begin = ring->next;
	const void *record;
	size_t length;

	if (!ring_view_next(&ring->view, &ring->next, &record, &length)) {
		give_back(ring); /* discarded ones */
		return false;
	}
	ring->current_begin = begin;
	ring->current = ring->next;
	ring_take(ring, record, length);
	ring->current = 0;
	while (ring->kept_count && ring->next - kept_at(ring, 0)->begin > ring->view.bytes / 2)
		let_go_oldest(ring);
	give_back(ring);
	return true;
}

void ring_read(struct ring *ring)
{
	for (unsigned i = 0; i < RECORDS_PER_TURN; i++)
		if (!read_one(ring))
			return;
	/* The kernel tells of each new record once: what is left comes after the others' turn. */
	if (ring->more)
		sd_event_source_set_enabled(ring->more, SD_EVENT_ONESHOT);
}

static int on_readable(sd_event_source *source _unused_, int fd _unused_, uint32_t events _unused_,
		       void *userdata)
{
	ring_read(userdata);
	return 0;
}

static int on_more(sd_event_source *source _unused_, void *userdata)
{
	ring_read(userdata);
	return 0;
}

/* --- The ring itself --- */

/* Ids of maps are not used again until the next boot, or nearly never. */
static int name_ring(struct ring *ring)
{
	_cleanup_free_ char *boot = NULL;
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info);

	if (bpf_obj_get_info_by_fd(ring->options.events_fd, &info, &size) < 0)
		return -errno;
	int r = file_read(ring->options.host->proc, "sys/kernel/random/boot_id", 64, &boot, NULL);

	snprintf(ring->id, sizeof(ring->id), "%.8s-%u", r == 0 ? boot : "", info.id);
	return 0;
}

/*
 * The kernel wakes for every record, whatever has been read (BPF_RB_FORCE_WAKEUP); the ring itself stays
 * readable for as long as something is kept.
 */
static int watch(struct ring *ring)
{
	int r = sd_event_add_io(ring->options.event, &ring->readable, ring->options.events_fd,
				EPOLLIN | EPOLLET, on_readable, ring);

	if (r >= 0)
		r = sd_event_add_defer(ring->options.event, &ring->more, on_more, ring);
	if (r < 0)
		return r;
	sd_event_source_set_description(ring->readable, "bpf-ring");
	sd_event_source_set_description(ring->more, "bpf-ring-more");
	return sd_event_source_set_enabled(ring->more, SD_EVENT_OFF);
}

int ring_new(const struct ring_options *options, struct ring **ret_ring, char *reason,
	     size_t reason_size)
{
	_cleanup_(ring_freep) struct ring *ring = calloc(1, sizeof(*ring));

	if (!ring)
		return detector_fail(reason, reason_size, -ENOMEM, "reading the BPF ring");
	ring->options = *options;
	ring->cpus = libbpf_num_possible_cpus();
	if (ring->cpus < 0)
		return detector_fail(reason, reason_size, ring->cpus, "counting the possible CPUs");
	ring->cpu_values = calloc((size_t)ring->cpus, sizeof(*ring->cpu_values));
	ring->kept = calloc(KEPT_MAX, sizeof(*ring->kept));
	if (!ring->cpu_values || !ring->kept)
		return detector_fail(reason, reason_size, -ENOMEM, "reading the BPF ring");
	int r = ring_view_open(options->events_fd, true, &ring->view);

	if (r == 0)
		r = name_ring(ring);
	if (r < 0)
		return detector_fail(reason, reason_size, r, "mapping the BPF ring");
	ring->next = ring_view_consumed(&ring->view);
	r = options->event ? watch(ring) : 0;
	if (r < 0)
		return detector_fail(reason, reason_size, r, "watching the BPF ring");
	*ret_ring = TAKE_PTR(ring);
	return 0;
}

void ring_free(struct ring *ring)
{
	if (!ring)
		return;
	sd_event_source_disable_unref(ring->readable);
	sd_event_source_disable_unref(ring->more);
	ring_view_close(&ring->view);
	free(ring->kept);
	free(ring->cpu_values);
	free(ring);
}

uint64_t ring_lost(const struct ring *ring, uint16_t type)
{
	uint32_t key = type;
	uint64_t sum = 0;

	if (bpf_map_lookup_elem(ring->options.lost_fd, &key, ring->cpu_values) < 0)
		return 0;
	for (int i = 0; i < ring->cpus; i++)
		sum += ring->cpu_values[i];
	return sum;
}

uint64_t ring_malformed(const struct ring *ring)
{
	return ring->malformed;
}
