/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sleeping task waits for, by the functions on its stack, and for how long such a wait can
 * be part of normal life. Pure. docs/detectors.md tells the same rules in prose.
 */
#include "detect/hung_task.h"

/* Waits that say nothing of what makes them end: these many frames are looked at for who waits. */
#define CALLERS_LOOKED_AT 8

/*
 * An owner that runs, a busy queue or a remote server may keep a waiter for this long with nothing
 * being wrong.
 */
#define LOCK_FLOOR_NS (30 * NS_PER_S)
#define UNKNOWN_FLOOR_NS (30 * NS_PER_S)
#define SINGLE_FLOOR_NS (30 * NS_PER_S)
#define DIRECT_FLOOR_NS (120 * NS_PER_S)
#define NFS_FLOOR_NS (10 * NS_PER_S)
#define FUSE_FLOOR_NS (5 * NS_PER_S)
#define GUESS_FLOOR_NS (5 * NS_PER_S)
/* A disk that is only busy (a flush, an erase cycle) may complete nothing for this long. */
#define QUIET_FLOOR_NS (5 * NS_PER_S)
#define STACKED_QUIET_FLOOR_NS (10 * NS_PER_S)

struct known {
	const char *function; /* "…*" matches a prefix */
	enum wait_kind kind;
};

/*
 * The scheduler's own, which every sleep goes through. What they were called by decides; the kinds
 * here are for when nothing else does.
 */
static const struct known primitives[] = {
	{"__schedule", WAIT_UNKNOWN},
	{"schedule", WAIT_UNKNOWN},
	{"schedule_timeout", WAIT_UNKNOWN},
	{"schedule_preempt_disabled", WAIT_UNKNOWN},
	{"io_schedule", WAIT_IO_SINGLE},
	{"io_schedule_timeout", WAIT_IO_SINGLE},
	{"blk_io_schedule", WAIT_IO_SINGLE},
	{"bit_wait_io", WAIT_IO_SINGLE},
	{"bit_wait_io_timeout", WAIT_IO_SINGLE},
	{"bit_wait", WAIT_UNKNOWN},
	{"__wait_on_bit", WAIT_UNKNOWN},
	{"__wait_on_bit_lock", WAIT_UNKNOWN},
	{"out_of_line_wait_on_bit", WAIT_UNKNOWN},
	{"out_of_line_wait_on_bit_lock", WAIT_UNKNOWN},
	{"wait_for_completion*", WAIT_UNKNOWN},
	{"__wait_for_common", WAIT_UNKNOWN},
	{"do_wait_for_common", WAIT_UNKNOWN},
	{"rcuwait_wait_event", WAIT_UNKNOWN},
	{"folio_wait_bit*", WAIT_IO_SINGLE},
	{"wait_on_page_bit*", WAIT_IO_SINGLE},
	{"__folio_lock*", WAIT_IO_SINGLE},
	{"__lock_page*", WAIT_IO_SINGLE},
	{"__wait_on_buffer", WAIT_IO_SINGLE},
};

static const struct known table[] = {
	/*
	 * Not a fault. The parent of a vfork, and a process that dumps core, wait for another to
	 * live on.
	 */
	{"kernel_clone", WAIT_NORMAL},
	{"_do_fork", WAIT_NORMAL},
	{"wait_for_vfork_done", WAIT_NORMAL},
	{"coredump_wait", WAIT_NORMAL},
	{"coredump_task_exit", WAIT_NORMAL},
	{"exit_mm", WAIT_NORMAL},
	{"msleep", WAIT_NORMAL},
	{"usleep_range*", WAIT_NORMAL},
	{"schedule_timeout_uninterruptible", WAIT_NORMAL},
	{"schedule_timeout_killable", WAIT_NORMAL},
	{"schedule_hrtimeout*", WAIT_NORMAL},
	{"io_ring_exit_work", WAIT_NORMAL}, /* until the last request ends, whenever that is */
	{"__refrigerator", WAIT_NORMAL},
	{"do_freezer_trap", WAIT_NORMAL},
	{"ptrace_stop", WAIT_NORMAL},
	{"ptrace_check_attach", WAIT_NORMAL},
	{"wait_task_inactive", WAIT_NORMAL},

	{"percpu_rwsem_wait", WAIT_FREEZE},

	/*
	 * A client of a FUSE server; a lock that another client holds and a CUSE device may take
	 * for ever.
	 */
	{"fuse_setlk", WAIT_NORMAL},
	{"fuse_file_lock", WAIT_NORMAL},
	{"fuse_file_flock", WAIT_NORMAL},
	{"cuse_*", WAIT_NORMAL},
	{"request_wait_answer", WAIT_FUSE},
	{"fuse_*", WAIT_FUSE},
	{"rpc_wait_bit_killable", WAIT_NFS},
	{"nfs_wait_bit_killable", WAIT_NFS},
	{"nfs4_*", WAIT_NFS},
	{"nfs_*", WAIT_NFS},

	{"__mutex_lock*", WAIT_LOCK},
	{"mutex_lock*", WAIT_LOCK},
	{"rwsem_down_*", WAIT_LOCK},
	{"down_read*", WAIT_LOCK},
	{"down_write*", WAIT_LOCK},
	{"__down*", WAIT_LOCK},
	{"___down*", WAIT_LOCK},
	{"down", WAIT_LOCK},
	{"down_killable", WAIT_LOCK},
	{"down_timeout", WAIT_LOCK},
	{"rt_mutex_*", WAIT_LOCK},
	{"__rt_mutex_*", WAIT_LOCK},
	{"percpu_down_write", WAIT_LOCK},
	{"__inode_wait_for_writeback", WAIT_IO_BULK},
	{"inode_wait_for_writeback", WAIT_IO_BULK},

	{"wb_wait_for_completion", WAIT_IO_BULK},
	{"sync_inodes_sb", WAIT_IO_BULK},
	{"folio_wait_writeback*", WAIT_IO_BULK},
	{"folio_wait_stable", WAIT_IO_BULK},
	{"wait_on_page_writeback*", WAIT_IO_BULK},
	{"wait_for_stable_page", WAIT_IO_BULK},
	{"__filemap_fdatawait_range", WAIT_IO_BULK},
	{"jbd2_log_wait_commit", WAIT_IO_BULK},
	{"jbd2_complete_transaction", WAIT_IO_BULK},
	{"jbd2_journal_lock_updates", WAIT_IO_BULK},
	{"jbd2_log_do_checkpoint", WAIT_IO_BULK},
	{"__jbd2_log_wait_for_space", WAIT_IO_BULK},
	{"add_transaction_credits", WAIT_IO_BULK},
	{"wait_transaction_*", WAIT_IO_BULK},
	{"start_this_handle", WAIT_IO_BULK},
	{"do_get_write_access", WAIT_IO_BULK},
	{"xfs_log_*", WAIT_IO_BULK},
	{"xlog_*", WAIT_IO_BULK},
	{"xfs_ail_*", WAIT_IO_BULK},
	{"btrfs_commit_transaction*", WAIT_IO_BULK},
	{"btrfs_wait_*", WAIT_IO_BULK},
	{"btrfs_sync_log", WAIT_IO_BULK},
	{"wait_current_trans", WAIT_IO_BULK},
	{"wait_for_commit", WAIT_IO_BULK},
	{"balance_dirty_pages*", WAIT_IO_BULK},
	{"rq_qos_wait", WAIT_IO_BULK},
	{"wbt_wait", WAIT_IO_BULK},
	{"blk_mq_get_tag", WAIT_IO_BULK},
	{"blk_mq_freeze_queue*", WAIT_IO_BULK},
	{"blk_queue_enter", WAIT_IO_BULK},
	{"__bio_queue_enter", WAIT_IO_BULK},
	{"blkdev_issue_discard", WAIT_IO_BULK},
	{"blkdev_issue_zeroout", WAIT_IO_BULK},
	{"blkdev_issue_secure_erase", WAIT_IO_BULK},
	{"blk_ioctl_discard", WAIT_IO_BULK},
	{"md_super_wait", WAIT_IO_BULK},
	{"shrink_*", WAIT_IO_BULK},
	{"throttle_direct_reclaim", WAIT_IO_BULK},

	{"__blkdev_direct_IO_simple", WAIT_IO_SINGLE}, /* one bio, on the caller's stack */
	{"__iomap_dio_rw", WAIT_IO_DIRECT},
	{"blkdev_direct_IO*", WAIT_IO_DIRECT},
	{"__blkdev_direct_IO*", WAIT_IO_DIRECT},
	{"do_blockdev_direct_IO", WAIT_IO_DIRECT},
	{"__blockdev_direct_IO", WAIT_IO_DIRECT},
	{"dio_await_*", WAIT_IO_DIRECT},
	{"submit_bio_wait", WAIT_IO_SINGLE},
	{"bio_await*", WAIT_IO_SINGLE},
	{"blk_execute_rq", WAIT_IO_SINGLE},
	{"xfs_buf_iowait", WAIT_IO_SINGLE},
	{"read_extent_buffer_pages*", WAIT_IO_SINGLE},
};

/* percpu_rw_semaphores that have nothing to do with a file system being frozen. */
static const char *const percpu_others[] = {"cpus_read_lock",
					    "cpus_write_lock",
					    "cgroup_*",
					    "copy_process",
					    "exit_signals",
					    "uprobe_*",
					    "dup_mmap",
					    "locks_*",
					    "posix_lock_inode",
					    "flock_lock_inode",
					    "register_for_each_vma",
					    "static_key_*",
					    "mem_cgroup_*",
					    "css_*",
					    "threadgroup_*"};

const char *const ticking_functions[] = {"submit_bio_wait", "bio_await", "blk_io_schedule",
					 "bio_wait_end_io", NULL};

const char *function_name(const char *name, char *text, size_t size)
{
	size_t length = strcspn(name, "+ ");
	const char *dot = memchr(name + (length ? 1 : 0), '.', length ? length - 1 : 0);

	if (dot)
		length = (size_t)(dot - name);
	snprintf(text, size, "%.*s", (int)length, name);
	return text;
}

static bool matches(const char *function, const char *pattern)
{
	size_t length = strlen(pattern);

	if (length && pattern[length - 1] == '*')
		return strncmp(function, pattern, length - 1) == 0;
	return streq(function, pattern);
}

static const struct known *find(const struct known *known, size_t count, const char *name)
{
	char function[128];

	function_name(name, function, sizeof(function));
	for (size_t i = 0; i < count; i++)
		if (matches(function, known[i].function))
			return &known[i];
	return NULL;
}

bool wait_is_ticking(const char *name)
{
	char function[128];

	function_name(name, function, sizeof(function));
	for (size_t i = 0; ticking_functions[i]; i++)
		if (streq(function, ticking_functions[i]))
			return true;
	return streq(function, "__blkdev_direct_IO_simple");
}

static bool is_percpu_other(const char *const *names, size_t depth)
{
	char function[128];

	for (size_t i = 0; i < depth; i++) {
		function_name(names[i], function, sizeof(function));
		for (size_t other = 0; other < ARRAY_SIZE(percpu_others); other++)
			if (matches(function, percpu_others[other]))
				return true;
	}
	return false;
}

/*
 * Of the kinds that the innermost callers have, the one that decides: what is never a fault, then
 * the nearest that is not merely "one request", as those are what every kind of I/O comes down to.
 */
static bool is_stronger(enum wait_kind kind, enum wait_kind than)
{
	if (than == WAIT_NORMAL || kind == than)
		return false;
	if (kind == WAIT_NORMAL || than == WAIT_UNKNOWN)
		return true;
	if (than == WAIT_IO_SINGLE)
		return kind == WAIT_IO_BULK || kind == WAIT_IO_DIRECT || kind == WAIT_NFS ||
		       kind == WAIT_FUSE;
	return false;
}

void wait_classify(const char *const *names, size_t depth, bool io_wait, bool fuse_or_nfs,
		   struct wait_class *ret_class)
{
	struct wait_class class = {
		.kind = WAIT_UNKNOWN, .function = depth ? names[0] : "", .caller = ""};
	size_t first = 0;

	while (first < depth && find(primitives, ARRAY_SIZE(primitives), names[first])) {
		const struct known *known = find(primitives, ARRAY_SIZE(primitives), names[first]);

		if (class.kind == WAIT_UNKNOWN)
			class.kind = known->kind;
		if (known->kind != WAIT_UNKNOWN || first == 0)
			class.function = names[first];
		first++;
	}
	if (class.kind == WAIT_UNKNOWN && first < depth)
		class.function = names[first];
	for (size_t i = first; i < MIN(depth, first + CALLERS_LOOKED_AT); i++) {
		const struct known *known = find(table, ARRAY_SIZE(table), names[i]);

		if (!known) {
			if (class.kind == WAIT_LOCK && !*class.caller)
				class.caller = names[i];
			continue;
		}
		/*
		 * Whoever wants a lock may be doing anything: nobody further out decides, but for
		 * vfork.
		 */
		if (known->kind == WAIT_NORMAL && class.kind == WAIT_LOCK)
			continue;
		/*
		 * These are of a wait only as its direct caller; a whole program runs below them
		 * otherwise.
		 */
		if (known->kind == WAIT_NORMAL && i > first + 2 && class.kind != WAIT_FUSE)
			continue;
		/*
		 * Below the first caller the names of a file system alone tell nothing of the wait.
		 */
		if ((known->kind == WAIT_FUSE || known->kind == WAIT_NFS) && i > first + 2)
			continue;
		if (known->kind == WAIT_LOCK && class.kind == WAIT_UNKNOWN && i > first)
			continue;
		if (!is_stronger(known->kind, class.kind))
			continue;
		class.kind = known->kind;
		class.function = names[i];
	}
	if (class.kind == WAIT_UNKNOWN && io_wait)
		class.kind = WAIT_IO_SINGLE;
	if (class.kind == WAIT_IO_BULK && fuse_or_nfs) /* no disk whose progress would tell */
		class.kind = WAIT_UNKNOWN;
	if (class.kind == WAIT_FREEZE)
		class.percpu_other = is_percpu_other(names, depth);
	*ret_class = class;
}

/* Nothing was completed since the wait began, give or take the first looks. */
static bool is_quiet(const struct wait_facts *facts)
{
	uint64_t floor = !facts->device_known || facts->device_stacked ? STACKED_QUIET_FLOOR_NS
								       : QUIET_FLOOR_NS;

	if (facts->device_suspended)
		return true;
	return facts->age_ns >= floor &&
	       facts->device_quiet_ns + 2 * facts->period_ns >= facts->age_ns;
}

bool wait_is_stuck(const struct wait_facts *facts)
{
	uint64_t age = facts->age_ns;

	if (age < facts->threshold_ns)
		return false;
	switch (facts->kind) {
	case WAIT_NORMAL:
		return false;
	case WAIT_FREEZE:
		return !facts->guessed || age >= GUESS_FLOOR_NS;
	case WAIT_IO_SINGLE:
		return age >= SINGLE_FLOOR_NS || is_quiet(facts);
	case WAIT_IO_DIRECT:
		return age >= DIRECT_FLOOR_NS || is_quiet(facts);
	case WAIT_IO_BULK:
		return is_quiet(facts);
	case WAIT_LOCK:
		return age >= LOCK_FLOOR_NS;
	case WAIT_NFS:
		return age >= NFS_FLOOR_NS;
	case WAIT_FUSE:
		return age >= FUSE_FLOOR_NS;
	case WAIT_UNKNOWN:
		return age >= UNKNOWN_FLOOR_NS;
	}
	return false;
}
