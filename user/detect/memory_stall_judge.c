/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether tasks at a limit are stalled, or only make room. Reclaim at a limit is daily business: who
 * reads or writes more files than fit has the page cache grow up to it, and drops pages that nobody
 * needs again. A writer can spend more than half of its time on that, waiting for its own pages to
 * reach the disk. What tells a stall from it is that what was evicted comes back: the group needs
 * more memory than it may have.
 */
#include "detect/memory_stall.h"

#define RETURNED_PERCENT 25
#define RECLAIM_PAGES 32 /* SWAP_CLUSTER_MAX of the kernel: what a reclaim is to free at least */
#define MAJOR_FAULTS_A_SECOND 10

static double percent_of(uint64_t part, uint64_t whole)
{
	return whole ? (double)part * 100 / (double)whole : 0;
}

static uint64_t grown(uint64_t last, uint64_t first)
{
	return last - MIN(last, first);
}

static double returned_percent(const struct stall_limit *limit, const struct stall_work *work)
{
	const struct limit_counters *first = stall_limit_first(limit),
				    *last = stall_limit_last(limit);
	uint64_t returned = grown(last->file_refaults, first->file_refaults) +
			    grown(last->anon_refaults, first->anon_refaults);
	uint64_t evicted = last->version == CGROUP_V2 ? grown(last->evicted, first->evicted)
						      : work->reclaims * RECLAIM_PAGES;

	if (!last->refaults_known)
		return -1;
	return evicted ? MIN(percent_of(returned, evicted), 100.0) : 0;
}

/* Where the kernel does not count what comes back: pages of files that are mapped come back by faults. */
static bool faults(const struct stall_limit *limit, uint64_t window_ns)
{
	uint64_t count = grown(stall_limit_last(limit)->major_faults,
			       stall_limit_first(limit)->major_faults);

	return count * NS_PER_S >= MAJOR_FAULTS_A_SECOND * window_ns;
}

/*
 * memory.high never lets a task fail, and makes it sleep instead: who stays above it is put off on
 * purpose, whatever it does.
 */
static bool above_high(const struct stall_limit *limit)
{
	const struct limit_counters *last = stall_limit_last(limit);

	return last->usage_bytes >= last->high_bytes &&
	       last->high_hits > stall_limit_first(limit)->high_hits;
}

struct stall_judgement stall_judge(const struct stall_limit *limit, const struct stall_work *work,
				   uint64_t threshold_ns, unsigned percent)
{
	const struct limit_counters *first = stall_limit_first(limit),
				    *last = stall_limit_last(limit);
	uint64_t sampled_ns = limit->sample_ns[limit->sample_count - 1] - limit->sample_ns[0],
		 window_ns = MAX(threshold_ns, sampled_ns);
	struct stall_judgement judgement = {
		.reclaim_percent = MIN(percent_of(work->worst_ns, window_ns), 100.0),
		.full_percent = -1,
		.returned_percent = returned_percent(limit, work),
		.stuck = work->longest_ns >= threshold_ns,
	};

	if (last->pressure_known)
		judgement.full_percent =
			first->pressure_known
				? MIN(percent_of(grown(last->full_ns, first->full_ns), window_ns),
				      100.0)
				: 0;
	double most = MAX(judgement.reclaim_percent, judgement.full_percent);
	bool needed = judgement.returned_percent >= 0
			      ? judgement.returned_percent >= RETURNED_PERCENT
			      : faults(limit, window_ns);
	bool at_limit = stall_limit_is_near(limit);

	judgement.stalled =
		at_limit && (judgement.stuck || (most >= percent && (needed || above_high(limit))));
	judgement.over = !at_limit || (!judgement.stuck && most < (double)percent / 2);
	return judgement;
}
