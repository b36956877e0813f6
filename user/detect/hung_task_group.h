/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hung_task_group.c, which keeps waiters and groups, and hung_task_judge.c share, and nobody
 * else.
 */
#pragma once

#include "detect/hung_task.h"

#define BUCKETS 1024 /* a power of two */
#define FROZEN_MAX 64
#define KERNEL_PREFIX "kernel threads: "

struct groups {
	struct groups_options options;
	struct symbols *symbols;
	struct devices devices;
	struct event_filesystem frozen[FROZEN_MAX], frozen_new[FROZEN_MAX];
	size_t frozen_count, frozen_new_count;
	bool frozen_known;
	uint64_t look;
	struct waiter *buckets[BUCKETS];
	size_t waiters;
	uint64_t waiters_over_cap;
	struct log_limit cap_limit;
	struct group *list;
	size_t count;
};

#define FOREACH_WAITER(groups, waiter)                                           \
	for (size_t bucket_ = 0; bucket_ < BUCKETS; bucket_++)                   \
		for (struct waiter *waiter = (groups)->buckets[bucket_]; waiter; \
		     waiter = waiter->next)

static inline bool same_filesystem(const struct event_filesystem *a,
				   const struct event_filesystem *b)
{
	return a->known && b->known && a->major == b->major && a->minor == b->minor;
}

static inline bool is_network_filesystem(const struct event_filesystem *filesystem,
					 const char *prefix)
{
	return filesystem->known && strncmp(filesystem->type, prefix, strlen(prefix)) == 0;
}

static inline bool is_kernel_thread(const struct waiter *waiter)
{
	return waiter->event.flags & BLOCKED_KERNEL_THREAD;
}

static inline uint64_t waiter_age(const struct waiter *waiter, uint64_t now_ns)
{
	return now_ns > waiter->event.since_boot_ns ? now_ns - waiter->event.since_boot_ns : 0;
}

/* The waiter of that thread, or NULL. */
struct waiter *waiter_find(const struct groups *groups, uint32_t pid, uint64_t start_boot_ns);

struct group *group_find(const struct groups *groups, const char *subject);
/*
 * The group of that subject (KERNEL_PREFIX comes by itself), made if there is none; NULL if there
 * is no room.
 */
struct group *group_obtain(struct groups *groups, bool kernel_threads, const char *kind,
			   uint64_t now_ns, const char *format, ...) _printf_(5, 6);
/* The group like MODEL for waiters of this sort: kernel threads and others are kept apart. */
struct group *group_for(struct groups *groups, struct group *model, bool kernel_threads,
			uint64_t now_ns);
/* GROUP may be NULL: then the waiter stays without one, and is judged again at the next look. */
void group_join(struct group *group, struct waiter *waiter, bool via_lock);

/* Puts every waiter that is stuck, and in no group so far, into one. */
void groups_judge(struct groups *groups, uint64_t now_ns);
