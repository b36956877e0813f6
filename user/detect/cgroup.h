/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the cgroup detector, for one another alone:
 *   cgroup.c            settings, ladder, the looks over the hierarchies
 *   cgroup_frozen.c     groups that are frozen, for how long, and on whose behalf
 *   cgroup_pids.c       limits of pids that refuse forks
 *   cgroup_throttled.c  CPU quotas that run out in most periods
 *   cgroup_leftover.c   containers that are gone, and whose processes are not
 *   cgroup_finding.c    what all faults of a group tell of it
 */
#pragma once

#include "detect/detector.h"
#include "host/cgroup_walk.h"

/* --- What all findings have --- */

/*
 * spec.kernelEvent of TYPE with `container` and details {fault, thresholdSeconds, cgroup: {path, id,
 * version, hierarchy}}; FAULT and HIERARCHY are static. ret_details belongs to the event. NULL when
 * out of memory.
 */
struct cgroup_subject {
	const char *fault; /* "frozen", "pids", "throttled", "leftover" */
	const char *hierarchy; /* "freezer", "pids", "cpu", "memory", "unified" */
	enum cgroup_version version;
	const char *path;
	uint64_t id;
	uint64_t threshold_ns;
};
cJSON *cgroup_event_json(const struct detector_run *run, const char *type,
			 const struct cgroup_subject *subject, cJSON **ret_details);

/*
 * {processes, looked, threads, families: [{comm, processes, threads}]}: how many processes there are,
 * and of the first 256 of them the threads and the largest groups of those with the same name, at most
 * 8. NULL when out of memory.
 */
cJSON *cgroup_processes_json(const struct host *host, const int64_t *pids, size_t count);

int cgroup_set_seconds(cJSON *json, const char *name, uint64_t ns);

/* --- Frozen groups --- */

#define FROZEN_GROUPS_MAX 256

struct frozen_groups;

/* Findings go to RUN. 0 or -ENOMEM. */
int frozen_groups_new(struct detector_run *run, uint64_t threshold_ns,
		      struct frozen_groups **ret_frozen);
void frozen_groups_free(struct frozen_groups *frozen);

/* A group of a walk. True if it is frozen: then what is below it is a part of it. */
bool frozen_groups_visit(struct frozen_groups *frozen, enum cgroup_version version,
			 const struct cgroup_walk_group *group, uint64_t boot_ns);

/* Every group was visited: one that was frozen before and was not found so now goes on. */
void frozen_groups_round_end(struct frozen_groups *frozen, uint64_t boot_ns);

/*
 * Goes on with the questions to runtimes. Returns ns until it wants to be called again, 0 when none
 * is under way.
 */
uint64_t frozen_groups_look(struct frozen_groups *frozen, uint64_t boot_ns);

/* --- Limits of pids --- */

#define PIDS_GROUPS_MAX 1024 /* that ever refused a fork */

struct pids_groups;

/* A limit that refuses nothing for CLEAR_AFTER_NS is over. 0 or -ENOMEM. */
int pids_groups_new(struct detector_run *run, uint64_t clear_after_ns,
		    struct pids_groups **ret_pids);
void pids_groups_free(struct pids_groups *pids);

/* A group of a walk. In the first round its counter is only taken. */
void pids_groups_visit(struct pids_groups *pids, enum cgroup_version version,
		       const struct cgroup_walk_group *group, uint64_t boot_ns);
/* COMPLETE: every group was visited, so that what was not seen is gone. */
void pids_groups_round_end(struct pids_groups *pids, bool complete, uint64_t boot_ns);

/* --- CPU quotas --- */

#define THROTTLED_GROUPS_MAX 4096 /* with a quota */
#define THROTTLED_SAMPLES_PER_WINDOW 5

struct throttled_groups;

/* Told when SHARE_PERCENT of the periods of THRESHOLD_NS were throttled. 0 or -ENOMEM. */
int throttled_groups_new(struct detector_run *run, uint64_t threshold_ns, uint64_t share_percent,
			 struct throttled_groups **ret_throttled);
void throttled_groups_free(struct throttled_groups *throttled);
/* A group of a walk. */
void throttled_groups_visit(struct throttled_groups *throttled, enum cgroup_version version,
			    const struct cgroup_walk_group *group, uint64_t boot_ns);
/* Every group was visited: one that was not seen has no quota any more, or is gone. */
void throttled_groups_round_end(struct throttled_groups *throttled, uint64_t boot_ns);

/* --- Containers that are gone --- */

#define LEFTOVER_GROUPS_MAX 4096 /* of containers */

struct leftover_groups;

/* 0 or -ENOMEM. */
int leftover_groups_new(struct detector_run *run, uint64_t threshold_ns,
			struct leftover_groups **ret_leftover);
void leftover_groups_free(struct leftover_groups *leftover);
/* A group of a walk over the hierarchy of CONTROLLER, which is static. */
void leftover_groups_visit(struct leftover_groups *leftover, enum cgroup_version version,
			   const char *controller, const struct cgroup_walk_group *group,
			   uint64_t boot_ns);
/* Every group was visited: one that was not seen is gone. */
void leftover_groups_round_end(struct leftover_groups *leftover, uint64_t boot_ns);
