/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits for the same thing. Owns the waiters and the groups they form; decides, look by look, who
 * is stuck and in which group, and when a group is worth a word: when it appears, when it has
 * doubled or ten thresholds have gone by, and when the last one has moved on.
 *
 * A waiter that was judged stuck stays in its group until that very wait is over, and a group keeps its
 * subject for its life: so nothing flaps while the wait goes on, whatever else changes.
 */
#include "detect/hung_task.h"

#include <inttypes.h>
#include <stdarg.h>

#include "host/process.h"

#define WAITERS_MAX 4096
#define GROUPS_MAX 256
#define BUCKETS 1024 /* a power of two */
#define FROZEN_MAX 64
#define JOIN_PASSES_MAX 16
#define TELL_AGAIN_THRESHOLDS 10
/* A lock's owner that sleeps too gets this much longer to be judged, so that its waiters can join it. */
#define OWNER_PATIENCE 2
#define LOCK_PATIENCE_NS (30 * NS_PER_S)

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
	struct group *list;
	size_t count;
};

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

#define FOREACH_WAITER(groups, waiter)                                                             \
	for (size_t bucket_ = 0; bucket_ < BUCKETS; bucket_++)                                     \
		for (struct waiter *waiter = (groups)->buckets[bucket_]; waiter; waiter = waiter->next)

/* --- What a look sees --- */

void groups_begin(struct groups *groups)
{
	groups->look++;
	groups->frozen_new_count = 0;
}

static struct waiter *waiter_find(const struct groups *groups, uint32_t pid, uint64_t start_boot_ns)
{
	for (struct waiter *waiter = groups->buckets[pid & (BUCKETS - 1)]; waiter; waiter = waiter->next)
		if (waiter->event.task.pid == pid && waiter->event.task.start_boot_ns == start_boot_ns)
			return waiter;
	return NULL;
}

void groups_see_task(struct groups *groups, const struct blocked_task_event *event, const char *wchan)
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
	/* Another wait of the same task has its own second half in one of its first looks, or is not known. */
	if (!(event->flags & BLOCKED_DETAILED))
		return;
	if (groups->waiters >= WAITERS_MAX || !(waiter = calloc(1, sizeof(*waiter)))) {
		groups->waiters_over_cap++;
		return;
	}
	waiter->event = *event;
	waiter->event.stack_depth = MIN(event->stack_depth, (uint32_t)EVENT_STACK_DEPTH);
	waiter->event.scheduler_depth = MIN(event->scheduler_depth, (uint32_t)EVENT_SCHEDULER_DEPTH);
	waiter->look = groups->look;
	if (wchan) {
		snprintf(waiter->wchan, sizeof(waiter->wchan), "%.63s", wchan);
		waiter->names[waiter->depth++] = waiter->wchan;
	}
	waiter->next = *bucket;
	*bucket = waiter;
	groups->waiters++;
}

static bool same_filesystem(const struct event_filesystem *a, const struct event_filesystem *b)
{
	return a->known && b->known && a->major == b->major && a->minor == b->minor;
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

static bool is_network_filesystem(const struct event_filesystem *filesystem, const char *prefix)
{
	return filesystem->known && strncmp(filesystem->type, prefix, strlen(prefix)) == 0;
}

static bool on_fuse_or_nfs(const struct blocked_task_event *event)
{
	const struct event_filesystem *filesystem =
		event->file_filesystem.known ? &event->file_filesystem : &event->stack_filesystem;

	return is_network_filesystem(filesystem, "fuse") || is_network_filesystem(filesystem, "nfs");
}

static void want_names(struct groups *groups)
{
	FOREACH_WAITER(groups, waiter) {
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

	/* No call returns to a function's first byte: that was a function's pointer, on the stack by itself. */
	if (!name || (scheduler && strstr(name, "+0x0")))
		return;
	waiter->names[waiter->depth++] = name;
}

static void name_waiters(struct groups *groups)
{
	FOREACH_WAITER(groups, waiter) {
		const struct blocked_task_event *event = &waiter->event;

		if (waiter->named)
			continue;
		if (!waiter->depth) {
			for (size_t i = 0; i < event->scheduler_depth; i++)
				add_name(groups, waiter, event->scheduler_stack[i], true);
			for (size_t i = 0; i < event->stack_depth; i++)
				add_name(groups, waiter, event->stack[i], false);
		}
		wait_classify(waiter->names, waiter->depth, event->flags & BLOCKED_IO_WAIT, on_fuse_or_nfs(event),
			      &waiter->class);
		if (event->lock) {
			if (waiter->class.kind != WAIT_LOCK)
				waiter->class.caller = waiter->class.function;
			waiter->class.kind = WAIT_LOCK;
		}
		waiter->named = true;
	}
}

static bool find_device(const struct groups *groups, const struct event_filesystem *filesystem, unsigned major,
			unsigned minor, unsigned *ret_major, unsigned *ret_minor)
{
	if (filesystem) {
		major = filesystem->known ? filesystem->device_major : 0;
		minor = filesystem->device_minor;
	}
	return major && blockdev_whole(groups->options.host, major, minor, ret_major, ret_minor) == 0 &&
	       devices_find(&groups->devices, *ret_major, *ret_minor);
}

/* The disk that a waiter's I/O goes to, surest source first. */
static bool waiter_device(const struct groups *groups, const struct waiter *waiter, unsigned *ret_major,
			  unsigned *ret_minor)
{
	const struct blocked_task_event *event = &waiter->event;

	return find_device(groups, NULL, event->file_device_major, event->file_device_minor, ret_major, ret_minor) ||
	       find_device(groups, &event->file_filesystem, 0, 0, ret_major, ret_minor) ||
	       find_device(groups, NULL, event->stack_device_major, event->stack_device_minor, ret_major, ret_minor) ||
	       find_device(groups, &event->stack_filesystem, 0, 0, ret_major, ret_minor);
}

static const struct event_filesystem *find_frozen(const struct groups *groups, const struct event_filesystem *filesystem)
{
	for (size_t i = 0; i < groups->frozen_count; i++)
		if (same_filesystem(&groups->frozen[i], filesystem))
			return &groups->frozen[i];
	return NULL;
}

/* The frozen file system that stops a waiter, as far as it can be told; NULL if it cannot. */
static const struct event_filesystem *waiter_frozen(const struct groups *groups, const struct waiter *waiter)
{
	const struct blocked_task_event *event = &waiter->event;

	if (event->frozen_filesystem.known)
		return &event->frozen_filesystem;
	if (find_frozen(groups, &event->file_filesystem))
		return find_frozen(groups, &event->file_filesystem);
	if (find_frozen(groups, &event->stack_filesystem))
		return find_frozen(groups, &event->stack_filesystem);
	return groups->frozen_known && groups->frozen_count == 1 ? &groups->frozen[0] : NULL;
}

/* --- Groups --- */

static struct group *group_find(const struct groups *groups, const char *subject)
{
	for (struct group *group = groups->list; group; group = group->next)
		if (streq(group->subject, subject))
			return group;
	return NULL;
}

/* The group of that subject, made if there is none; NULL if there is no room. */
static _printf_(5, 6) struct group *group_obtain(struct groups *groups, bool kernel_threads, const char *kind,
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
	*group = (struct group){
		.next = groups->list, .subject = subject, .kernel_threads = kernel_threads, .kind = kind, .opened_ns = now_ns};
	groups->list = group;
	groups->count++;
	return group;
}

/* The group like MODEL for waiters of this sort: kernel threads and others are kept apart. */
static struct group *group_for(struct groups *groups, struct group *model, bool kernel_threads, uint64_t now_ns)
{
	if (model->kernel_threads == kernel_threads)
		return model;
	const char *base = model->kernel_threads ? model->subject + strlen(KERNEL_PREFIX) : model->subject;
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

static void join(struct waiter *waiter, struct group *group, bool via_lock)
{
	if (!group)
		return;
	waiter->group = group;
	waiter->via_lock = via_lock;
	group->waiters++;
}

static bool is_kernel_thread(const struct waiter *waiter)
{
	return waiter->event.flags & BLOCKED_KERNEL_THREAD;
}

static uint64_t waiter_age(const struct waiter *waiter, uint64_t now_ns)
{
	return now_ns > waiter->event.since_boot_ns ? now_ns - waiter->event.since_boot_ns : 0;
}

static struct wait_facts facts_of(const struct groups *groups, const struct waiter *waiter, uint64_t now_ns)
{
	return (struct wait_facts){.kind = waiter->class.kind,
				   .age_ns = waiter_age(waiter, now_ns),
				   .threshold_ns = groups->options.threshold_ns,
				   .period_ns = groups->options.period_ns,
				   .guessed = !groups->options.iterator};
}

static void join_frozen(struct groups *groups, struct waiter *waiter, const struct event_filesystem *frozen,
			uint64_t now_ns)
{
	struct group *group;

	if (frozen)
		group = group_obtain(groups, is_kernel_thread(waiter), "frozen-filesystem", now_ns,
				     "frozen filesystem %.15s on %.31s (%u:%u)", frozen->type, frozen->id, frozen->major,
				     frozen->minor);
	else
		group = group_obtain(groups, is_kernel_thread(waiter), "frozen-filesystem", now_ns,
				     "a frozen filesystem, which of several is not known");
	if (group && frozen)
		group->filesystem = *frozen;
	join(waiter, group, false);
}

static void judge_freeze(struct groups *groups, struct waiter *waiter, uint64_t now_ns)
{
	const struct event_filesystem *frozen = waiter_frozen(groups, waiter);
	struct wait_facts facts = facts_of(groups, waiter, now_ns);
	bool other = waiter->class.percpu_other && !waiter->event.frozen_filesystem.known;

	if (!groups->options.iterator) {
		if (wait_is_stuck(&facts))
			join(waiter,
			     group_obtain(groups, is_kernel_thread(waiter), "frozen-filesystem", now_ns,
					  "a frozen filesystem, which one is not known"),
			     false);
		return;
	}
	if (!other && (frozen || groups->frozen_count > 1)) {
		if (wait_is_stuck(&facts))
			join_frozen(groups, waiter, frozen, now_ns);
		return;
	}
	/* Nothing is frozen: the semaphore is of another kind (CPU hotplug, cgroup migration). */
	facts.kind = WAIT_LOCK;
	if (!wait_is_stuck(&facts))
		return;
	char function[96];
	struct group *group = group_obtain(groups, is_kernel_thread(waiter), "lock", now_ns, "lock taken by %s",
					   waiter->depth > 1 ? function_name(waiter->names[waiter->depth > 2 ? 2 : 1], function,
									     sizeof(function)) :
							       "an unknown function");
	if (group)
		group->lock_kind = "percpu-rwsem";
	join(waiter, group, false);
}

static void judge_io(struct groups *groups, struct waiter *waiter, uint64_t now_ns)
{
	struct wait_facts facts = facts_of(groups, waiter, now_ns);
	const struct device_progress *progress = NULL;
	const struct event_filesystem *filesystem = waiter->event.file_filesystem.known ?
							    &waiter->event.file_filesystem :
							    &waiter->event.stack_filesystem;
	unsigned major = 0, minor = 0;
	struct group *group;

	/* A frozen file system stops its journal too (start_this_handle). */
	if (waiter->class.kind == WAIT_IO_BULK && facts.age_ns >= facts.threshold_ns && filesystem->known &&
	    filesystem->freeze_level) {
		join_frozen(groups, waiter, filesystem, now_ns);
		return;
	}
	if (waiter_device(groups, waiter, &major, &minor))
		progress = devices_find(&groups->devices, major, minor);
	uint64_t quiet_since = progress ? progress->quiet_since_ns : devices_all_quiet_since(&groups->devices);
	facts.device_known = progress;
	facts.device_quiet_ns = now_ns > quiet_since ? now_ns - quiet_since : 0;
	facts.device_suspended = progress && progress->device.suspended;
	facts.device_stacked = progress && startswith(progress->device.name, "loop");

	bool stuck = wait_is_stuck(&facts);
	if (!progress)
		progress = devices_stalled(&groups->devices, waiter->event.since_boot_ns + 2 * facts.period_ns);
	if (progress) {
		char subject[96];

		snprintf(subject, sizeof(subject), "%sI/O on %s (%u:%u)", is_kernel_thread(waiter) ? KERNEL_PREFIX : "",
			 progress->device.name, progress->device.major, progress->device.minor);
		/* Others hang on this very disk: then it is not merely busy. */
		if (!stuck && facts.device_known && facts.age_ns >= facts.threshold_ns &&
		    waiter->class.kind == WAIT_IO_BULK && group_find(groups, subject))
			stuck = true;
		if (!stuck)
			return;
		group = group_obtain(groups, is_kernel_thread(waiter), "io", now_ns, "I/O on %s (%u:%u)",
				     progress->device.name, progress->device.major, progress->device.minor);
		if (group) {
			group->device_known = true;
			group->device_major = progress->device.major;
			group->device_minor = progress->device.minor;
		}
	} else {
		char function[96];

		if (!stuck)
			return;
		if (filesystem->known)
			group = group_obtain(groups, is_kernel_thread(waiter), "io", now_ns, "I/O on %.15s %u:%u",
					     filesystem->type, filesystem->major, filesystem->minor);
		else
			group = group_obtain(groups, is_kernel_thread(waiter), "io", now_ns, "I/O in %s",
					     function_name(waiter->class.function, function, sizeof(function)));
	}
	if (group && filesystem->known && !group->filesystem.known &&
	    (!facts.device_known || filesystem->device_major))
		group->filesystem = *filesystem;
	join(waiter, group, false);
}

static void judge_server(struct groups *groups, struct waiter *waiter, const char *kind, const char *title,
			 const char *type, uint64_t now_ns)
{
	struct wait_facts facts = facts_of(groups, waiter, now_ns);
	const struct event_filesystem *filesystem = NULL;
	char function[96];
	struct group *group;

	if (!wait_is_stuck(&facts))
		return;
	if (is_network_filesystem(&waiter->event.file_filesystem, type))
		filesystem = &waiter->event.file_filesystem;
	else if (is_network_filesystem(&waiter->event.stack_filesystem, type))
		filesystem = &waiter->event.stack_filesystem;
	if (filesystem)
		group = group_obtain(groups, is_kernel_thread(waiter), kind, now_ns, "%s %u:%u", title, filesystem->major,
				     filesystem->minor);
	else
		group = group_obtain(groups, is_kernel_thread(waiter), kind, now_ns, "%s in %s", title,
				     function_name(waiter->class.function, function, sizeof(function)));
	if (group && filesystem)
		group->filesystem = *filesystem;
	join(waiter, group, false);
}

static void judge_unknown(struct groups *groups, struct waiter *waiter, uint64_t now_ns)
{
	struct wait_facts facts = facts_of(groups, waiter, now_ns);
	char function[96];

	if (wait_is_stuck(&facts))
		join(waiter,
		     group_obtain(groups, is_kernel_thread(waiter), "unknown", now_ns, "function %s",
				  *waiter->class.function ?
					  function_name(waiter->class.function, function, sizeof(function)) :
					  "not known"),
		     false);
}

/* --- Locks --- */

static const char *lock_kind_name(const struct waiter *waiter)
{
	static const char *const names[] = {"mutex", "semaphore", "rwsem-read", "rwsem-write"};

	return waiter->event.lock ? names[waiter->event.lock_kind & 3] : NULL;
}

/* The group that the same lock, or its owner, or without a known owner the same file system, is in. */
static struct group *lock_group(const struct groups *groups, const struct waiter *waiter, bool *ret_via)
{
	const struct blocked_task_event *event = &waiter->event;
	const struct waiter *owner =
		event->owner_pid ? waiter_find(groups, event->owner_pid, event->owner_start_boot_ns) : NULL;

	*ret_via = true;
	if (owner && owner->group)
		return owner->group;
	for (struct group *group = groups->list; group; group = group->next) {
		if (group->lock && group->lock == event->lock) {
			*ret_via = false;
			return group;
		}
		if (event->owner_pid || !group->filesystem.known || streq(group->kind, "lock"))
			continue;
		if (same_filesystem(&group->filesystem, &event->file_filesystem) ||
		    same_filesystem(&group->filesystem, &event->stack_filesystem))
			return group;
	}
	return NULL;
}

/* A lock that is waited for in vain, with an owner that is not stuck as far as is known. */
static void judge_lock(struct groups *groups, struct waiter *waiter, uint64_t now_ns)
{
	const struct blocked_task_event *event = &waiter->event;
	struct wait_facts facts = facts_of(groups, waiter, now_ns);
	uint64_t start_time = event_start_time(event->owner_start_boot_ns);
	struct process owner;
	struct group *group;

	facts.kind = WAIT_LOCK;
	if (!wait_is_stuck(&facts))
		return;
	/* Its owner sleeps as well, and may yet prove to be in a group that this one belongs to. */
	if (event->owner_pid && waiter_find(groups, event->owner_pid, event->owner_start_boot_ns) &&
	    facts.age_ns < OWNER_PATIENCE * MAX(facts.threshold_ns, LOCK_PATIENCE_NS))
		return;
	/* Of a semaphore for reading the kernel notes who took it last, who may be gone since. */
	if (event->owner_pid && process_read_same(groups->options.host, event->owner_pid, start_time, &owner) == 0) {
		_cleanup_free_ char *comm = event_text(event->owner_comm, sizeof(event->owner_comm));

		group = group_obtain(groups, is_kernel_thread(waiter), "lock", now_ns, "lock held by %s[%u:%" PRIu64 "]",
				     comm ? comm : "?", event->owner_pid, start_time);
	} else {
		const char *caller = *waiter->class.caller ? waiter->class.caller : waiter->class.function;
		char function[96];

		group = group_obtain(groups, is_kernel_thread(waiter), "lock", now_ns, "lock taken by %s",
				     *caller ? function_name(caller, function, sizeof(function)) : "an unknown function");
	}
	if (group && !group->lock) {
		group->lock = event->lock;
		group->lock_kind = lock_kind_name(waiter);
	}
	join(waiter, group, false);
}

static bool join_owners(struct groups *groups, uint64_t now_ns)
{
	bool any = false;

	FOREACH_WAITER(groups, waiter) {
		bool via = false;

		if (waiter->group || waiter->class.kind != WAIT_LOCK ||
		    waiter_age(waiter, now_ns) < groups->options.threshold_ns)
			continue;
		struct group *model = lock_group(groups, waiter, &via);
		struct group *group = model ? group_for(groups, model, is_kernel_thread(waiter), now_ns) : NULL;
		if (!group)
			continue;
		join(waiter, group, via);
		any = true;
	}
	return any;
}

static void judge(struct groups *groups, uint64_t now_ns)
{
	FOREACH_WAITER(groups, waiter) {
		if (waiter->group || !waiter->named)
			continue;
		switch (waiter->class.kind) {
		case WAIT_NORMAL:
		case WAIT_LOCK:
			break;
		case WAIT_FREEZE:
			judge_freeze(groups, waiter, now_ns);
			break;
		case WAIT_IO_SINGLE:
		case WAIT_IO_DIRECT:
		case WAIT_IO_BULK:
			judge_io(groups, waiter, now_ns);
			break;
		case WAIT_NFS:
			judge_server(groups, waiter, "nfs", "NFS", "nfs", now_ns);
			break;
		case WAIT_FUSE:
			judge_server(groups, waiter, "fuse", "FUSE", "fuse", now_ns);
			break;
		case WAIT_UNKNOWN:
			judge_unknown(groups, waiter, now_ns);
			break;
		}
	}
	for (int pass = 0; pass < JOIN_PASSES_MAX && join_owners(groups, now_ns); pass++)
		;
	FOREACH_WAITER(groups, waiter)
		if (!waiter->group && waiter->named && waiter->class.kind == WAIT_LOCK)
			judge_lock(groups, waiter, now_ns);
	/* Those behind the ones just judged need not wait for the next look. */
	for (int pass = 0; pass < JOIN_PASSES_MAX && join_owners(groups, now_ns); pass++)
		;
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
	return (left->event.task.pid > right->event.task.pid) - (left->event.task.pid < right->event.task.pid);
}

static void tell(struct groups *groups, struct group *group, bool cleared, uint64_t now_ns)
{
	_cleanup_free_ struct waiter **waiters = calloc(MAX(group->waiters, (size_t)1), sizeof(*waiters));
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
	if (groups->waiters) {
		want_names(groups);
		if (symbols_fill(groups->symbols, groups->options.host, now_ns))
			name_waiters(groups);
		judge(groups, now_ns);
	} else {
		symbols_flush(groups->symbols, now_ns);
	}
	tell_groups(groups, now_ns);
}
