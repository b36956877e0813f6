/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits for the same thing. Owns the waiters and the groups they form, look by look, and
 * decides when a group is worth a word: when it appears, when it has doubled or ten thresholds have
 * gone by, and when the last one has moved on. Who is stuck, and in which group, is
 * hung_task_judge.c's.
 *
 * A waiter that was judged stuck stays in its group until that very wait is over, and a group keeps
 * its subject for its life: so nothing flaps while the wait goes on, whatever else changes.
 */
#include "detect/hung_task_group.h"

#include <stdarg.h>

#include "base/plain.h"

#define WAITERS_MAX 4096
#define GROUPS_MAX 256
#define TELL_AGAIN_THRESHOLDS 10
#define CAP_WARNING_INTERVAL_NS (600 * NS_PER_S)

struct groups *groups_new(const struct groups_options *options)
{
	_cleanup_(groups_freep) struct groups *groups = calloc(1, sizeof(*groups));

	if (!groups)
		return NULL;
	groups->options = *options;
	groups->symbols = symbols_new();
	return groups->symbols ? TAKE_PTR(groups) : NULL;
}

static void group_free(struct group *group)
{
	free(group->subject);
	cJSON_Delete(group->process);
	free(group);
}

void groups_free(struct groups *groups)
{
	if (!groups)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct waiter *waiter = groups->buckets[i], *next; waiter; waiter = next) {
			next = waiter->next;
			free(waiter);
		}
	for (struct group *group = groups->list, *next; group; group = next) {
		next = group->next;
		group_free(group);
	}
	devices_clear(&groups->devices);
	symbols_free(groups->symbols);
	free(groups);
}

size_t groups_waiters(const struct groups *groups)
{
	return groups->waiters;
}

const struct event_filesystem *groups_frozen(const struct groups *groups, size_t *ret_count)
{
	*ret_count = groups->frozen_count;
	return groups->frozen;
}

const struct devices *groups_devices(const struct groups *groups)
{
	return &groups->devices;
}

uint64_t groups_period_ns(const struct groups *groups)
{
	return groups->options.period_ns;
}

/* --- What a look sees --- */

void groups_begin(struct groups *groups)
{
	groups->look++;
	groups->frozen_new_count = 0;
}

struct waiter *waiter_find(const struct groups *groups, uint32_t pid, uint64_t start_boot_ns)
{
	for (struct waiter *waiter = groups->buckets[pid & (BUCKETS - 1)]; waiter;
	     waiter = waiter->next)
		if (waiter->event.task.pid == pid &&
		    waiter->event.task.start_boot_ns == start_boot_ns)
			return waiter;
	return NULL;
}

void groups_see_task(struct groups *groups, const struct blocked_task_event *event,
		     const char *wchan)
{
	struct waiter *waiter = waiter_find(groups, event->task.pid, event->task.start_boot_ns);
	struct waiter **bucket = &groups->buckets[event->task.pid & (BUCKETS - 1)];

	if (waiter && waiter->event.since_boot_ns == event->since_boot_ns) {
		uint32_t detailed = waiter->event.flags & BLOCKED_DETAILED;

		memcpy(&waiter->event, event, BLOCKED_TASK_FIRST_HALF);
		waiter->event.flags |= detailed;
		waiter->look = groups->look;
		return;
	}
	/*
	 * Another wait of the same task has its own second half in one of its first looks, or is
	 * not known.
	 */
	if (!(event->flags & BLOCKED_DETAILED))
		return;
	if (groups->waiters >= WAITERS_MAX || !(waiter = calloc(1, sizeof(*waiter)))) {
		groups->waiters_over_cap++; /* seen again at the next look */
		return;
	}
	waiter->event = *event;
	waiter->event.stack_depth = MIN(event->stack_depth, (uint32_t)EVENT_STACK_DEPTH);
	waiter->event.scheduler_depth =
		MIN(event->scheduler_depth, (uint32_t)EVENT_SCHEDULER_DEPTH);
	waiter->look = groups->look;
	if (wchan) {
		snprintf(waiter->wchan, sizeof(waiter->wchan), "%.63s", wchan);
		waiter->names[waiter->depth++] = waiter->wchan;
	}
	waiter->next = *bucket;
	*bucket = waiter;
	groups->waiters++;
}

void groups_see_frozen(struct groups *groups, const struct event_filesystem *filesystem)
{
	/* The walk may pass one twice when the list changes under it. */
	for (size_t i = 0; i < groups->frozen_new_count; i++)
		if (same_filesystem(&groups->frozen_new[i], filesystem))
			return;
	if (groups->frozen_new_count < FROZEN_MAX)
		groups->frozen_new[groups->frozen_new_count++] = *filesystem;
}

void groups_abandon(struct groups *groups)
{
	FOREACH_WAITER(groups, waiter)
	waiter->look = groups->look;
}

static void drop_gone(struct groups *groups)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct waiter **place = &groups->buckets[i], *waiter; (waiter = *place);) {
			if (waiter->look == groups->look) {
				place = &waiter->next;
				continue;
			}
			*place = waiter->next;
			if (waiter->group)
				waiter->group->waiters--;
			free(waiter);
			groups->waiters--;
		}
}

/* --- What it waits for --- */

static bool on_fuse_or_nfs(const struct blocked_task_event *event)
{
	const struct event_filesystem *filesystem =
		event->file_filesystem.known ? &event->file_filesystem : &event->stack_filesystem;

	return is_network_filesystem(filesystem, "fuse") ||
	       is_network_filesystem(filesystem, "nfs");
}

static void want_names(struct groups *groups)
{
	FOREACH_WAITER(groups, waiter)
	{
		if (waiter->named || waiter->depth)
			continue;
		for (size_t i = 0; i < waiter->event.scheduler_depth; i++)
			symbols_want(groups->symbols, waiter->event.scheduler_stack[i]);
		for (size_t i = 0; i < waiter->event.stack_depth; i++)
			symbols_want(groups->symbols, waiter->event.stack[i]);
	}
}

static void add_name(struct groups *groups, struct waiter *waiter, uint64_t address, bool scheduler)
{
	const char *name = symbols_name(groups->symbols, address);

	/*
	 * No call returns to a function's first byte: that was a function's pointer, on the stack
	 * by itself.
	 */
	if (!name || (scheduler && strstr(name, "+0x0")))
		return;
	waiter->names[waiter->depth++] = name;
}

static void name_waiters(struct groups *groups)
{
	FOREACH_WAITER(groups, waiter)
	{
		const struct blocked_task_event *event = &waiter->event;

		if (waiter->named)
			continue;
		if (!waiter->depth) {
			for (size_t i = 0; i < event->scheduler_depth; i++)
				add_name(groups, waiter, event->scheduler_stack[i], true);
			for (size_t i = 0; i < event->stack_depth; i++)
				add_name(groups, waiter, event->stack[i], false);
		}
		wait_classify(waiter->names, waiter->depth, event->flags & BLOCKED_IO_WAIT,
			      on_fuse_or_nfs(event), &waiter->class);
		if (event->lock) {
			if (waiter->class.kind != WAIT_LOCK)
				waiter->class.caller = waiter->class.function;
			waiter->class.kind = WAIT_LOCK;
		}
		waiter->named = true;
	}
}

/* --- Groups --- */

struct group *group_find(const struct groups *groups, const char *subject)
{
	for (struct group *group = groups->list; group; group = group->next)
		if (streq(group->subject, subject))
			return group;
	return NULL;
}

struct group *group_obtain(struct groups *groups, bool kernel_threads, const char *kind,
			   uint64_t now_ns, const char *format, ...)
{
	char text[256] = "";
	va_list arguments;

	if (kernel_threads)
		snprintf(text, sizeof(text), KERNEL_PREFIX);
	size_t length = strlen(text);
	va_start(arguments, format);
	vsnprintf(text + length, sizeof(text) - length, format, arguments);
	va_end(arguments);
	/* A name of several bytes a character may have been cut within one. */
	plain_copy(text, text, strlen(text));
	struct group *group = group_find(groups, text);
	if (group || groups->count >= GROUPS_MAX)
		return group;
	group = calloc(1, sizeof(*group));
	char *subject = strdup(text);
	if (!group || !subject) {
		free(group);
		free(subject);
		return NULL;
	}
	*group = (struct group){.next = groups->list,
				.subject = subject,
				.kernel_threads = kernel_threads,
				.kind = kind,
				.opened_ns = now_ns};
	groups->list = group;
	groups->count++;
	return group;
}

struct group *group_for(struct groups *groups, struct group *model, bool kernel_threads,
			uint64_t now_ns)
{
	if (model->kernel_threads == kernel_threads)
		return model;
	const char *base =
		model->kernel_threads ? model->subject + strlen(KERNEL_PREFIX) : model->subject;
	struct group *group = group_obtain(groups, kernel_threads, model->kind, now_ns, "%s", base);
	if (group && !group->told) {
		group->filesystem = model->filesystem;
		group->device_known = model->device_known;
		group->device_major = model->device_major;
		group->device_minor = model->device_minor;
		group->lock = model->lock;
		group->lock_kind = model->lock_kind;
	}
	return group;
}

void group_join(struct group *group, struct waiter *waiter, bool via_lock)
{
	if (!group)
		return;
	waiter->group = group;
	waiter->via_lock = via_lock;
	group->waiters++;
}

/* --- Telling --- */

static int compare_waiters(const void *a, const void *b)
{
	const struct waiter *left = *(struct waiter *const *)a, *right = *(struct waiter *const *)b;

	if (left->event.since_boot_ns != right->event.since_boot_ns)
		return left->event.since_boot_ns < right->event.since_boot_ns ? -1 : 1;
	/* Those that wait for the thing itself before those behind a lock. */
	if (left->via_lock != right->via_lock)
		return left->via_lock - right->via_lock;
	return (left->event.task.pid > right->event.task.pid) -
	       (left->event.task.pid < right->event.task.pid);
}

static void tell(struct groups *groups, struct group *group, bool cleared, uint64_t now_ns)
{
	_cleanup_free_ struct waiter **waiters =
		calloc(MAX(group->waiters, (size_t)1), sizeof(*waiters));
	size_t count = 0;

	if (!waiters)
		return;
	FOREACH_WAITER(groups, waiter)
	if (waiter->group == group && count < group->waiters)
		waiters[count++] = waiter;
	qsort(waiters, count, sizeof(*waiters), compare_waiters);
	if (count) {
		cJSON_Delete(group->process);
		group->process = event_task_json(&waiters[0]->event.task);
	}
	groups->options.report(groups->options.userdata, group, waiters, count, cleared, now_ns);
	group->told = true;
	group->told_ns = now_ns;
	group->waiters_told = MAX(group->waiters_told, count);
}

static void tell_groups(struct groups *groups, uint64_t now_ns)
{
	for (struct group **place = &groups->list, *group; (group = *place);) {
		if (group->waiters == 0) {
			if (group->told)
				tell(groups, group, true, now_ns);
			*place = group->next;
			group_free(group);
			groups->count--;
			continue;
		}
		if (!group->told || group->waiters >= 2 * group->waiters_told ||
		    now_ns - group->told_ns >= TELL_AGAIN_THRESHOLDS * groups->options.threshold_ns)
			tell(groups, group, false, now_ns);
		place = &group->next;
	}
}

/* Those for whom there was no room are not told of: at least that is. */
static void warn_of_cap(struct groups *groups)
{
	uint32_t suppressed;

	if (groups->waiters_over_cap &&
	    log_limit_pass(&groups->cap_limit, 1, CAP_WARNING_INTERVAL_NS, &suppressed))
		log_warning("looking for hung tasks: over %d wait too long; the others are not "
			    "told of (left out %llu times so far)",
			    WAITERS_MAX, (unsigned long long)groups->waiters_over_cap);
}

void groups_end(struct groups *groups, uint64_t now_ns, bool frozen_known, bool sample)
{
	if (frozen_known) {
		memcpy(groups->frozen, groups->frozen_new, sizeof(groups->frozen));
		groups->frozen_count = groups->frozen_new_count;
	}
	groups->frozen_known = frozen_known || (groups->frozen_known && groups->waiters);
	/* Without counters no disk is taken for quiet. */
	if (sample && devices_sample(&groups->devices, groups->options.host, now_ns) < 0)
		devices_clear(&groups->devices);
	drop_gone(groups);
	warn_of_cap(groups);
	if (groups->waiters) {
		want_names(groups);
		if (symbols_fill(groups->symbols, groups->options.host, now_ns))
			name_waiters(groups);
		groups_judge(groups, now_ns);
	} else {
		symbols_flush(groups->symbols, now_ns);
	}
	tell_groups(groups, now_ns);
}
