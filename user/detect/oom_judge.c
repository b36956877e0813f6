/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kill for memory means: a cgroup's limit or the whole node, and whose limit. No hook tells
 * the cgroup that ran out, but it is one of the victim's, and the charge that failed leaves its
 * counter within a batch of its limit.
 */
#include "detect/oom.h"

/*
 * MEMCG_CHARGE_BATCH of the kernel: a charge is first tried with this many pages at once, and no
 * allocation that calls the OOM killer asks for more.
 */
#define CHARGE_BATCH_PAGES 64

const char *const oom_symbol_names[] = {
	[OOM_SYMBOL_CGROUP] = "mem_cgroup_out_of_memory",
	[OOM_SYMBOL_OUT_OF_MEMORY] = "out_of_memory",
	[OOM_SYMBOL_KILL] = "__oom_kill_process",
};

static size_t level_count(const struct oom_event *event)
{
	return MIN(event->level_count, (uint32_t)EVENT_CGROUP_LEVELS);
}

static bool on_stack(const struct oom_event *event, const struct oom_symbols *symbols,
		     enum oom_symbol symbol)
{
	size_t depth = MIN(event->stack_depth, (uint32_t)OOM_STACK_DEPTH);

	/*
	 * What is on a stack are return addresses: behind the first byte, and perhaps at the end.
	 */
	for (size_t i = 0; i < depth; i++)
		if (event->stack[i] > symbols->range[symbol].start &&
		    event->stack[i] <= symbols->range[symbol].end)
			return true;
	return false;
}

/* PAGE_COUNTER_MAX is LONG_MAX / PAGE_SIZE: no limit. */
static bool is_limit(uint64_t maximum, uint64_t page_bytes)
{
	return maximum < (uint64_t)INT64_MAX / page_bytes;
}

static uint64_t headroom(uint64_t usage, uint64_t maximum)
{
	return usage < maximum ? maximum - usage : 0;
}

/* Pages left to the nearest of the level's limits; UINT64_MAX: it has none. */
static uint64_t level_headroom(const struct oom_event *event, size_t i, uint64_t page_bytes,
			       bool *ret_swap)
{
	const struct oom_level *level = &event->levels[i];
	uint64_t memory = is_limit(level->maximum, page_bytes)
				  ? headroom(level->usage, level->maximum)
				  : UINT64_MAX;
	/*
	 * In v2 the swap counter has a limit of its own, whose end stops swapping and kills nobody.
	 */
	uint64_t swap = event->hierarchy != 0 && is_limit(level->swap_maximum, page_bytes)
				? headroom(level->swap_usage, level->swap_maximum)
				: UINT64_MAX;

	*ret_swap = swap < memory;
	return MIN(memory, swap);
}

/* Picks the lowest level at its limit, or else the one nearest to one; counts those at theirs. */
static size_t find_level(const struct oom_event *event, uint64_t page_bytes,
			 struct oom_judgement *judgement)
{
	uint64_t nearest = UINT64_MAX;
	size_t at_limit = 0;

	for (size_t i = 0; i < level_count(event); i++) {
		bool swap;
		uint64_t left = level_headroom(event, i, page_bytes, &swap);
		bool hit = left <= CHARGE_BATCH_PAGES;

		if (left == UINT64_MAX)
			continue;
		if (hit ? at_limit++ == 0 : at_limit == 0 && left < nearest) {
			judgement->has_level = true;
			judgement->level = i;
			judgement->swap = swap;
		}
		nearest = MIN(nearest, left);
	}
	return at_limit;
}

/* memory.oom.group counts from the victim's cgroup up to the one that ran out. */
static bool dies_as_group(const struct oom_event *event, const struct oom_judgement *judgement)
{
	size_t last = judgement->has_level ? judgement->level : level_count(event);

	for (size_t i = 0; i <= last && i < level_count(event); i++)
		if (event->levels[i].oom_group)
			return true;
	return false;
}

struct oom_judgement oom_judge(const struct oom_event *event, const struct oom_symbols *symbols,
			       uint64_t page_bytes)
{
	struct oom_judgement judgement = {};
	bool stack_tells = on_stack(event, symbols, OOM_SYMBOL_OUT_OF_MEMORY);
	bool cgroup = on_stack(event, symbols, OOM_SYMBOL_CGROUP), known = stack_tells;

	if (startswith(event->message, "Memory cgroup"))
		cgroup = known = true;
	else if (event->message[0])
		known = true, cgroup = false;
	else if (stack_tells && symbols->range[OOM_SYMBOL_KILL].end)
		judgement.already_dying = !on_stack(event, symbols, OOM_SYMBOL_KILL);
	size_t at_limit = find_level(event, page_bytes, &judgement);

	judgement.cgroup = known ? cgroup : at_limit > 0;
	judgement.exact = known && (!judgement.cgroup || at_limit == 1);
	if (!judgement.cgroup)
		judgement.has_level = judgement.swap = false;
	judgement.group = dies_as_group(event, &judgement);
	return judgement;
}

const char *oom_level_path(const struct event_cgroup *cgroup, size_t level, char *path, size_t size)
{
	event_cgroup_path(cgroup, path, size);
	/* Above the names that the record had room for. */
	const char *top = startswith(path, "/...") ? "/..." : "/";

	for (; level > 0; level--) {
		char *slash = strrchr(path, '/');

		if (!slash || slash == path || streq(path, top)) {
			snprintf(path, size, "%s", top);
			break;
		}
		*slash = '\0';
	}
	return path;
}
