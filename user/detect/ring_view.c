/* SPDX-License-Identifier: Apache-2.0 */
#include "detect/ring_view.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/macro.h"

/* Of records that go through the ring; any other type is told by its number. */
static const char *const type_names[EVENT_TYPE_COUNT] = {
	[EVENT_OOM_KILL] = "oom_kill",
	[EVENT_PROCESS_CRASH] = "process_crash",
	[EVENT_KERNEL_LINE] = "kernel_line",
};

int ring_view_open(int fd, bool writable, struct ring_view *ret_view)
{
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
		return -errno;
	if (info.type != BPF_MAP_TYPE_RINGBUF)
		return -EPROTO;
	/* The kernel allows writing to the consumer's page alone. */
	void *consumer =
		mmap(NULL, page, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);

	if (consumer == MAP_FAILED)
		return -errno;
	uint8_t *producer = mmap(NULL, page + 2 * (size_t)info.max_entries, PROT_READ, MAP_SHARED,
				 fd, (off_t)page);

	if (producer == MAP_FAILED) {
		int error = -errno;

		munmap(consumer, page);
		return error;
	}
	*ret_view = (struct ring_view){
		.bytes = info.max_entries,
		.page_bytes = page,
		.consumer = consumer,
		.producer = (const unsigned long *)producer,
		.data = producer + page,
	};
	return 0;
}

void ring_view_close(struct ring_view *view)
{
	if (!view->consumer)
		return;
	munmap(view->consumer, view->page_bytes);
	munmap((void *)view->producer, view->page_bytes + 2 * view->bytes);
	*view = (struct ring_view){};
}

uint64_t ring_view_consumed(const struct ring_view *view)
{
	return __atomic_load_n(view->consumer, __ATOMIC_ACQUIRE);
}

void ring_view_consume(struct ring_view *view, uint64_t position)
{
	__atomic_store_n(view->consumer, (unsigned long)position, __ATOMIC_RELEASE);
}

bool ring_view_next(const struct ring_view *view, uint64_t *position, const void **ret_record,
		    size_t *ret_length)
{
	unsigned long produced = __atomic_load_n(view->producer, __ATOMIC_ACQUIRE);

	while (*position < produced) {
		const uint8_t *at = view->data + (*position & (view->bytes - 1));
		uint32_t length = __atomic_load_n((const uint32_t *)at, __ATOMIC_ACQUIRE);

		if (length & BPF_RINGBUF_BUSY_BIT)
			return false;
		uint32_t bytes = length & ~(uint32_t)BPF_RINGBUF_DISCARD_BIT;

		/* The header, and the whole rounded up (ringbuf_process_ring() of libbpf). */
		*position += (bytes + BPF_RINGBUF_HDR_SZ + 7) & ~UINT64_C(7);
		if (length & BPF_RINGBUF_DISCARD_BIT)
			continue;
		*ret_record = at + BPF_RINGBUF_HDR_SZ;
		*ret_length = bytes;
		return true;
	}
	return false;
}

int ring_left_count(int fd, struct ring_left *ret_left)
{
	struct ring_view view;
	const void *record;
	size_t length;
	int r = ring_view_open(fd, false, &view);

	if (r < 0)
		return r;
	uint64_t position = ring_view_consumed(&view);

	*ret_left = (struct ring_left){};
	while (ring_view_next(&view, &position, &record, &length)) {
		const struct event_header *header = record;
		bool known = length >= sizeof(*header) && header->type < EVENT_TYPE_COUNT;

		ret_left->records++;
		ret_left->by_type[known ? header->type : EVENT_NONE]++;
	}
	ring_view_close(&view);
	return 0;
}

const char *ring_left_text(const struct ring_left *left, char *text, size_t size)
{
	size_t length = 0;

	*text = '\0';
	for (size_t i = 0; i < EVENT_TYPE_COUNT && length < size; i++) {
		char number[24];

		if (!left->by_type[i])
			continue;
		snprintf(number, sizeof(number), "of type %zu", i);
		length += (size_t)snprintf(text + length, size - length, "%s%" PRIu64 " %s",
					   length ? ", " : "", left->by_type[i],
					   type_names[i] ?: number);
	}
	return text;
}
