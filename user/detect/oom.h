/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oom detector's parts: what a kill means (oom_judge.c), and the poor man's rung (oom_poll.c).
 */
#pragma once

#include "detect/detector.h"
#include "host/kallsyms.h"

/* Kernel functions whose place on the stack tells what kind of kill it was. */
enum oom_symbol { OOM_SYMBOL_CGROUP, OOM_SYMBOL_OUT_OF_MEMORY, OOM_SYMBOL_KILL, OOM_SYMBOL_COUNT };
extern const char *const oom_symbol_names[];

struct oom_symbols {
	struct kernel_range range[OOM_SYMBOL_COUNT]; /* 0, 0: not known */
};

struct oom_judgement {
	/* Nobody was killed: a task that was dying already was let through to the reserves. */
	bool already_dying;
	bool cgroup; /* a cgroup's limit was hit; else the node ran out */
	bool exact; /* it is known, not concluded */
	bool swap; /* the limit hit is that of memory and swap together (v1) */
	bool group; /* all tasks of a cgroup die together */
	bool has_level; /* LEVEL says whose limit */
	size_t level; /* in the event's levels */
};

/* Pure. EVENT's counts are bounded by it, whatever they say. */
struct oom_judgement oom_judge(const struct oom_event *event, const struct oom_symbols *symbols,
			       uint64_t page_bytes);

/* The finding of one kill. Returns 0 or -ENOMEM. */
int oom_finding(const struct detector_run *run, const struct oom_event *event,
		const struct oom_judgement *judgement, struct finding *ret_finding);

/* Text of the path LEVEL levels above CGROUP. Returns PATH. */
const char *oom_level_path(const struct event_cgroup *cgroup, size_t level, char *path,
			   size_t size);

/* details.node: what /proc/meminfo says now, or NULL. */
cJSON *oom_node_json(const struct host *host);

struct oom_poll;

/* Takes the counters as they are. Returns 0 or a negative errno with REASON filled. */
int oom_poll_new(struct detector_run *run, struct oom_poll **ret_poll, char *reason,
		 size_t reason_size);
void oom_poll_free(struct oom_poll *poll);
/* Reports the kills since the last look. */
void oom_poll_look(struct oom_poll *poll);
