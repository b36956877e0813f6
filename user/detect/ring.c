/* SPDX-License-Identifier: Apache-2.0 */
/* The ring's maps, and reading it from the event loop a portion at a time. */
#include "detect/ring.h"

#include <bpf/bpf.h>
#include <sys/epoll.h>

/* Records read before the loop gets its turn again: a storm must not starve timers and the API. */
#define RECORDS_PER_TURN 256

struct ring {
	struct ring_options options;
	int events_fd, lost_fd;
	struct ring_buffer *buffer;
	sd_event_source *source;
	unsigned budget;
	int cpus;
	uint64_t *cpu_values; /* scratch of CPUS values */
	uint64_t malformed;
	struct log_limit log_limit;
};

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

static int on_sample(void *userdata, void *data, size_t size)
{
	struct ring *ring = userdata;

	ring_take(ring, data, size);
	/* The record counts as read whatever is returned; an error only ends this turn. */
	return --ring->budget == 0 ? -EAGAIN : 0;
}

static int on_readable(sd_event_source *source _unused_, int fd _unused_, uint32_t events _unused_,
		       void *userdata)
{
	struct ring *ring = userdata;

	ring->budget = RECORDS_PER_TURN;
	ring_buffer__consume(ring->buffer);
	return 0;
}

static int make_maps(struct ring *ring, char *reason, size_t reason_size)
{
	size_t bytes = ring->options.bytes ? ring->options.bytes : RING_BYTES_DEFAULT;

	ring->events_fd =
		bpf_map_create(BPF_MAP_TYPE_RINGBUF, "events", 0, 0, (uint32_t)bytes, NULL);
	if (ring->events_fd < 0)
		return detector_fail(reason, reason_size, ring->events_fd,
				     "creating the BPF ring of %zu bytes", bytes);
	ring->lost_fd = bpf_map_create(BPF_MAP_TYPE_PERCPU_ARRAY, "lost", sizeof(uint32_t),
				       sizeof(uint64_t), EVENT_TYPE_COUNT, NULL);
	if (ring->lost_fd < 0)
		return detector_fail(reason, reason_size, ring->lost_fd,
				     "creating the BPF loss counters");
	ring->cpus = libbpf_num_possible_cpus();
	if (ring->cpus < 0)
		return detector_fail(reason, reason_size, ring->cpus, "counting the possible CPUs");
	return 0;
}

int ring_new(const struct ring_options *options, struct ring **ret_ring, char *reason,
	     size_t reason_size)
{
	_cleanup_(ring_freep) struct ring *ring = calloc(1, sizeof(*ring));
	int r;

	if (!ring)
		return detector_fail(reason, reason_size, -ENOMEM, "creating the BPF ring");
	ring->options = *options;
	ring->events_fd = ring->lost_fd = -1;
	r = make_maps(ring, reason, reason_size);
	if (r < 0)
		return r;
	ring->cpu_values = calloc((size_t)ring->cpus, sizeof(*ring->cpu_values));
	if (!ring->cpu_values)
		return detector_fail(reason, reason_size, -ENOMEM,
				     "creating the BPF loss counters");
	ring->buffer = ring_buffer__new(ring->events_fd, on_sample, ring, NULL);
	if (!ring->buffer)
		return detector_fail(reason, reason_size, -errno, "mapping the BPF ring");
	if (options->event) {
		r = sd_event_add_io(options->event, &ring->source,
				    ring_buffer__epoll_fd(ring->buffer), EPOLLIN, on_readable,
				    ring);
		if (r < 0)
			return detector_fail(reason, reason_size, r, "watching the BPF ring");
		sd_event_source_set_description(ring->source, "bpf-ring");
	}
	*ret_ring = TAKE_PTR(ring);
	return 0;
}

void ring_free(struct ring *ring)
{
	if (!ring)
		return;
	sd_event_source_disable_unref(ring->source);
	ring_buffer__free(ring->buffer);
	if (ring->events_fd >= 0)
		close(ring->events_fd);
	if (ring->lost_fd >= 0)
		close(ring->lost_fd);
	free(ring->cpu_values);
	free(ring);
}

int ring_events_fd(const struct ring *ring)
{
	return ring->events_fd;
}

int ring_lost_fd(const struct ring *ring)
{
	return ring->lost_fd;
}

uint64_t ring_lost(const struct ring *ring, uint16_t type)
{
	uint32_t key = type;
	uint64_t sum = 0;

	if (bpf_map_lookup_elem(ring->lost_fd, &key, ring->cpu_values) < 0)
		return 0;
	for (int i = 0; i < ring->cpus; i++)
		sum += ring->cpu_values[i];
	return sum;
}

uint64_t ring_malformed(const struct ring *ring)
{
	return ring->malformed;
}
