/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the memory_stall detector, for one another alone:
 *   memory_stall.c          settings, ladder
 *   memory_stall_look.c     the looks at the kernel's tables, or at pressure alone
 *   memory_stall_tasks.c    who was in reclaim for how long within the window; pure
 *   memory_stall_limits.c   limits of memory, and what their counters did within the window
 *   memory_stall_judge.c    whether that is a stall; pure
 *   memory_stall_finding.c  what is told of it
 */
#pragma once

#include "detect/detector.h"
#include "host/cgroup_walk.h"

#include "../../bpf/memory_stall.h"

/*
 * A window is as many looks as this. What happens between two looks is one slot of a ring, in which
 * a new slot takes the place of the oldest.
 */
#define STALL_SLOTS 10

/* --- Who reclaims --- */

struct stall_limit;

struct stall_share {
	uint64_t ns[STALL_SLOTS];
	uint64_t reclaims[STALL_SLOTS];
};

struct stall_task {
	uint32_t pid;
	struct reclaiming_task seen; /* at the last look */
	struct stall_share share;
	uint64_t look; /* that saw it last */
};

/* A group that tasks which reclaim are in. */
struct stall_group {
	struct cgroup_counters_key key;
	char *path; /* NULL: not known yet */
	struct stall_share all;
	struct stall_share gone; /* of threads that have ended */
	size_t tasks; /* of the table, in this group */
	const struct stall_limit
		*limit; /* that makes its tasks reclaim, as of this look; or NULL */
};

struct stall_tasks {
	struct stall_task *tasks;
	size_t count, capacity, next;
	struct stall_group *groups;
	size_t group_count, group_capacity;
	uint64_t look; /* number of the one that is under way, or was the last */
	uint64_t boot_ns, slot_began_ns;
};

void stall_tasks_clear(struct stall_tasks *tasks);

/* A new look: the slot that is a window old is emptied. */
void stall_tasks_begin(struct stall_tasks *tasks, uint64_t boot_ns);
/* What was seen up to now is not of the window. */
void stall_tasks_forget_past(struct stall_tasks *tasks);
/* What the kernel knows of thread PID. 0 or -ENOMEM. */
int stall_tasks_see(struct stall_tasks *tasks, uint32_t pid, const struct reclaiming_task *seen);
/* The thread has ended: what it did counts as its group's. */
void stall_tasks_end(struct stall_tasks *tasks, size_t index);
/* The index of a group in which nothing has happened for a window and no thread is; or -1. */
ssize_t stall_tasks_idle_group(const struct stall_tasks *tasks);
void stall_tasks_forget_group(struct stall_tasks *tasks, size_t index);

uint64_t stall_share_ns(const struct stall_share *share);
uint64_t stall_share_reclaims(const struct stall_share *share);

/* --- Limits --- */

/* What a limit's files say. Numbers that only grow are since the group was made. */
struct limit_counters {
	enum cgroup_version version;
	uint64_t id;
	uint64_t usage_bytes, limit_bytes, high_bytes; /* UINT64_MAX: none */
	uint64_t limit_hits, high_hits; /* charges that met them */
	bool refaults_known;
	uint64_t file_refaults,
		anon_refaults; /* pages that came back soon after they were evicted */
	uint64_t evicted; /* pages; v2 alone */
	uint64_t major_faults;
	bool pressure_known; /* v2, and PSI is on */
	uint64_t some_ns, full_ns; /* that some, or all, tasks waited for memory */
	uint64_t anon_bytes, file_bytes, shmem_bytes, kernel_bytes, dirty_bytes, writeback_bytes;
};

/* Returns 0, -ENOENT if the group is gone or has no counters, or a negative errno. */
int limit_counters_read(const struct host *host, const char *path,
			struct limit_counters *ret_counters);
/* The same from the folder of a group. */
int limit_counters_read_at(int fd, enum cgroup_version version,
			   struct limit_counters *ret_counters);

bool limit_counters_limited(const struct limit_counters *counters);

/* A limit, and its counters at the looks of a window. */
struct stall_limit {
	char *path;
	struct limit_counters samples[STALL_SLOTS + 1]; /* oldest first */
	uint64_t sample_ns[STALL_SLOTS + 1]; /* boot time */
	size_t sample_count;
	uint64_t look; /* that sampled it last */
	uint64_t wanted_look; /* that wanted it last */
	uint64_t told_ns; /* boot time; 0: not told */
};

/* Takes a sample; an older one than a window gives way. Another group of that name begins anew. */
void stall_limit_add(struct stall_limit *limit, const struct limit_counters *counters,
		     uint64_t boot_ns);
const struct limit_counters *stall_limit_first(const struct stall_limit *limit);
const struct limit_counters *stall_limit_last(const struct stall_limit *limit);
/* Usage is within a tenth of the limit, or of high. */
bool stall_limit_is_near(const struct stall_limit *limit);
/* A charge met it within the window. */
bool stall_limit_was_hit(const struct stall_limit *limit);

/* --- Judgement --- */

/* What the tasks below a limit did within the window. */
struct stall_work {
	uint64_t
		worst_ns; /* of the thread that was in reclaim for longest, or of those that have ended */
	uint64_t reclaim_ns, reclaims; /* of all */
	uint64_t longest_ns; /* of the reclaims that are going on */
};

struct stall_judgement {
	bool stalled;
	bool over; /* a stall that was told is over */
	bool stuck; /* one reclaim goes on for the whole threshold */
	double reclaim_percent; /* of the window, by worst_ns */
	double full_percent; /* below 0: not known */
	double returned_percent; /* of what was evicted, how much came back; below 0: not known */
};

struct stall_judgement stall_judge(const struct stall_limit *limit, const struct stall_work *work,
				   uint64_t threshold_ns, unsigned percent);

/* --- Findings --- */

#define STALL_TASKS_TOLD 8

/* TASKS below it, COUNT of them, those that were in reclaim for longest first. */
struct stall_subject {
	const struct stall_limit *limit;
	const struct stall_work *work;
	struct stall_judgement judgement;
	const struct stall_task *const *tasks;
	size_t count;
	uint64_t threshold_ns, boot_ns;
};
int stall_finding(const struct detector_run *run, const struct stall_subject *subject, bool cleared,
		  struct finding *ret_finding);

/* --- Looks --- */

#define STALL_LIMITS_MAX 512

struct stall_settings {
	uint64_t threshold_ns;
	int64_t percent;
};

struct stall_state {
	struct memory_stall_bpf *skeleton;
	struct bpf_link *on_begin, *on_end;
	int tasks_fd, groups_fd; /* the skeleton's maps */
	const __u64 *lost; /* of threads and groups that found no room */
	struct stall_tasks tasks;
	struct stall_limit *limits; /* STALL_LIMITS_MAX of them */
	size_t limit_count;
	struct cgroup_walk *walk; /* by pressure alone */
	uint64_t round_began_ns; /* of the walk; boot time */
	bool under_way;
	struct log_limit full_limit;
};

/* As detector.look. */
/* Before the first look: what a former agent's programs counted is where counting begins. */
void stall_take_over(struct detector_run *run);
uint64_t stall_look_at_reclaim(struct detector_run *run);
uint64_t stall_look_at_pressure(struct detector_run *run);
