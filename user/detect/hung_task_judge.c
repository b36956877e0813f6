/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is stuck, and on what: the filesystem, disk, lock or server of each waiter, and so its group.
 * What is normal for how long is hung_task_classify.c's to say.
 */
#include "detect/hung_task_group.h"

#include <inttypes.h>

#include "host/process.h"

#define JOIN_PASSES_MAX 16
/*
 * A lock's owner that sleeps too gets this much longer to be judged, so that its waiters can join
 * it.
 */
#define OWNER_PATIENCE 2
#define LOCK_PATIENCE_NS (30 * NS_PER_S)

static bool find_device(const struct groups *groups, const struct event_filesystem *filesystem,
			unsigned major, unsigned minor, unsigned *ret_major, unsigned *ret_minor)
{
	if (filesystem) {
		major = filesystem->known ? filesystem->device_major : 0;
		minor = filesystem->device_minor;
	}
	return major &&
	       blockdev_whole(groups->options.host, major, minor, ret_major, ret_minor) == 0 &&
	       devices_find(&groups->devices, *ret_major, *ret_minor);
}

/* The disk that a waiter's I/O goes to, surest source first. */
static bool waiter_device(const struct groups *groups, const struct waiter *waiter,
			  unsigned *ret_major, unsigned *ret_minor)
{
	const struct blocked_task_event *event = &waiter->event;

	return find_device(groups, NULL, event->file_device_major, event->file_device_minor,
			   ret_major, ret_minor) ||
	       find_device(groups, &event->file_filesystem, 0, 0, ret_major, ret_minor) ||
	       find_device(groups, NULL, event->stack_device_major, event->stack_device_minor,
			   ret_major, ret_minor) ||
	       find_device(groups, &event->stack_filesystem, 0, 0, ret_major, ret_minor);
}

static const struct event_filesystem *find_frozen(const struct groups *groups,
						  const struct event_filesystem *filesystem)
{
	for (size_t i = 0; i < groups->frozen_count; i++)
		if (same_filesystem(&groups->frozen[i], filesystem))
			return &groups->frozen[i];
	return NULL;
}

/* The frozen file system that stops a waiter, as far as it can be told; NULL if it cannot. */
static const struct event_filesystem *waiter_frozen(const struct groups *groups,
						    const struct waiter *waiter)
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

static struct wait_facts facts_of(const struct groups *groups, const struct waiter *waiter,
				  uint64_t now_ns)
{
	return (struct wait_facts){.kind = waiter->class.kind,
				   .age_ns = waiter_age(waiter, now_ns),
				   .threshold_ns = groups->options.threshold_ns,
				   .period_ns = groups->options.period_ns,
				   .guessed = !groups->options.iterator};
}

static void join_frozen(struct groups *groups, struct waiter *waiter,
			const struct event_filesystem *frozen, uint64_t now_ns)
{
	struct group *group;

	if (frozen)
		group = group_obtain(groups, is_kernel_thread(waiter), "frozen-filesystem", now_ns,
				     "frozen filesystem %.15s on %.31s (%u:%u)", frozen->type,
				     frozen->id, frozen->major, frozen->minor);
	else
		group = group_obtain(groups, is_kernel_thread(waiter), "frozen-filesystem", now_ns,
				     "a frozen filesystem, which of several is not known");
	if (group && frozen)
		group->filesystem = *frozen;
	group_join(group, waiter, false);
}

static void judge_freeze(struct groups *groups, struct waiter *waiter, uint64_t now_ns)
{
	const struct event_filesystem *frozen = waiter_frozen(groups, waiter);
	struct wait_facts facts = facts_of(groups, waiter, now_ns);
	bool other = waiter->class.percpu_other && !waiter->event.frozen_filesystem.known;

	if (!groups->options.iterator) {
		if (wait_is_stuck(&facts))
			group_join(group_obtain(groups, is_kernel_thread(waiter),
						"frozen-filesystem", now_ns,
						"a frozen filesystem, which one is not known"),
				   waiter, false);
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
	struct group *group = group_obtain(
		groups, is_kernel_thread(waiter), "lock", now_ns, "lock taken by %s",
		waiter->depth > 1 ? function_name(waiter->names[waiter->depth > 2 ? 2 : 1],
						  function, sizeof(function))
				  : "an unknown function");
	if (group)
		group->lock_kind = "percpu-rwsem";
	group_join(group, waiter, false);
}

static void judge_io(struct groups *groups, struct waiter *waiter, uint64_t now_ns)
{
	struct wait_facts facts = facts_of(groups, waiter, now_ns);
	const struct device_progress *progress = NULL;
	const struct event_filesystem *filesystem = waiter->event.file_filesystem.known
							    ? &waiter->event.file_filesystem
							    : &waiter->event.stack_filesystem;
	unsigned major = 0, minor = 0;
	struct group *group;

	/* A frozen file system stops its journal too (start_this_handle). */
	if (waiter->class.kind == WAIT_IO_BULK && facts.age_ns >= facts.threshold_ns &&
	    filesystem->known && filesystem->freeze_level) {
		join_frozen(groups, waiter, filesystem, now_ns);
		return;
	}
	if (waiter_device(groups, waiter, &major, &minor))
		progress = devices_find(&groups->devices, major, minor);
	uint64_t quiet_since =
		progress ? progress->quiet_since_ns : devices_all_quiet_since(&groups->devices);
	facts.device_known = progress;
	facts.device_quiet_ns = now_ns > quiet_since ? now_ns - quiet_since : 0;
	facts.device_suspended = progress && progress->device.suspended;
	facts.device_stacked = progress && startswith(progress->device.name, "loop");

	bool stuck = wait_is_stuck(&facts);
	if (!progress)
		progress = devices_stalled(&groups->devices,
					   waiter->event.since_boot_ns + 2 * facts.period_ns);
	if (progress) {
		char subject[96];

		snprintf(subject, sizeof(subject), "%sI/O on %s (%u:%u)",
			 is_kernel_thread(waiter) ? KERNEL_PREFIX : "", progress->device.name,
			 progress->device.major, progress->device.minor);
		/* Others hang on this very disk: then it is not merely busy. */
		if (!stuck && facts.device_known && facts.age_ns >= facts.threshold_ns &&
		    waiter->class.kind == WAIT_IO_BULK && group_find(groups, subject))
			stuck = true;
		if (!stuck)
			return;
		group = group_obtain(groups, is_kernel_thread(waiter), "io", now_ns,
				     "I/O on %s (%u:%u)", progress->device.name,
				     progress->device.major, progress->device.minor);
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
			group = group_obtain(groups, is_kernel_thread(waiter), "io", now_ns,
					     "I/O on %.15s %u:%u", filesystem->type,
					     filesystem->major, filesystem->minor);
		else
			group = group_obtain(
				groups, is_kernel_thread(waiter), "io", now_ns, "I/O in %s",
				function_name(waiter->class.function, function, sizeof(function)));
	}
	if (group && filesystem->known && !group->filesystem.known &&
	    (!facts.device_known || filesystem->device_major))
		group->filesystem = *filesystem;
	group_join(group, waiter, false);
}

static void judge_server(struct groups *groups, struct waiter *waiter, const char *kind,
			 const char *title, const char *type, uint64_t now_ns)
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
		group = group_obtain(groups, is_kernel_thread(waiter), kind, now_ns, "%s %u:%u",
				     title, filesystem->major, filesystem->minor);
	else
		group = group_obtain(
			groups, is_kernel_thread(waiter), kind, now_ns, "%s in %s", title,
			function_name(waiter->class.function, function, sizeof(function)));
	if (group && filesystem)
		group->filesystem = *filesystem;
	group_join(group, waiter, false);
}

static void judge_unknown(struct groups *groups, struct waiter *waiter, uint64_t now_ns)
{
	struct wait_facts facts = facts_of(groups, waiter, now_ns);
	char function[96];

	if (wait_is_stuck(&facts))
		group_join(group_obtain(groups, is_kernel_thread(waiter), "unknown", now_ns,
					"function %s",
					*waiter->class.function
						? function_name(waiter->class.function, function,
								sizeof(function))
						: "not known"),
			   waiter, false);
}

/* --- Locks --- */

static const char *lock_kind_name(const struct waiter *waiter)
{
	static const char *const names[] = {"mutex", "semaphore", "rwsem-read", "rwsem-write"};

	return waiter->event.lock ? names[waiter->event.lock_kind & 3] : NULL;
}

/*
 * The group that the same lock, or its owner, or without a known owner the same file system, is in.
 */
static struct group *lock_group(const struct groups *groups, const struct waiter *waiter,
				bool *ret_via)
{
	const struct blocked_task_event *event = &waiter->event;
	const struct waiter *owner =
		event->owner_pid ? waiter_find(groups, event->owner_pid, event->owner_start_boot_ns)
				 : NULL;

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
	if (event->owner_pid &&
	    process_read_same(groups->options.host, event->owner_pid, start_time, &owner) == 0) {
		_cleanup_free_ char *comm =
			event_text(event->owner_comm, sizeof(event->owner_comm));

		group = group_obtain(groups, is_kernel_thread(waiter), "lock", now_ns,
				     "lock held by %s[%u:%" PRIu64 "]", comm ? comm : "?",
				     event->owner_pid, start_time);
	} else {
		const char *caller =
			*waiter->class.caller ? waiter->class.caller : waiter->class.function;
		char function[96];

		group = group_obtain(groups, is_kernel_thread(waiter), "lock", now_ns,
				     "lock taken by %s",
				     *caller ? function_name(caller, function, sizeof(function))
					     : "an unknown function");
	}
	if (group && !group->lock) {
		group->lock = event->lock;
		group->lock_kind = lock_kind_name(waiter);
	}
	group_join(group, waiter, false);
}

static bool join_owners(struct groups *groups, uint64_t now_ns)
{
	bool any = false;

	FOREACH_WAITER(groups, waiter)
	{
		bool via = false;

		if (waiter->group || waiter->class.kind != WAIT_LOCK ||
		    waiter_age(waiter, now_ns) < groups->options.threshold_ns)
			continue;
		struct group *model = lock_group(groups, waiter, &via);
		struct group *group =
			model ? group_for(groups, model, is_kernel_thread(waiter), now_ns) : NULL;
		if (!group)
			continue;
		group_join(group, waiter, via);
		any = true;
	}
	return any;
}

void groups_judge(struct groups *groups, uint64_t now_ns)
{
	FOREACH_WAITER(groups, waiter)
	{
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
