/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a detector is: one file in bpf/, its half here, registered by DETECTOR(). It names a ladder
 * of hooks, best first; the framework (detect.h) takes the best that the running kernel offers,
 * loads nothing that is not needed, and gives the detector its ring records and its looks.
 */
#pragma once

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "../../bpf/events_types.h"
#include "base/clock.h"
#include "base/schema.h"
#include "host/host.h"

/* Something a detector saw. */
struct finding {
	const char *detector; /* static strings */
	const char *type;     /* "OOMKill", "HungTask", "Cleared" … */
	bool cleared;	      /* the fault of this subject is over */
	/* What it is about, for a person and for the fingerprint: the same subject is the same fault. */
	char *subject;
	cJSON *event; /* spec.kernelEvent of an Abnormal */
};
void finding_clear(struct finding *finding);

struct detector_run;

/* One way to see the fault. */
struct hook {
	const char *name; /* "tp_btf/mark_victim", "iter/task", "poll/proc" */
	bool degraded;	  /* sees less than the first; SHORTFALL says what */
	const char *shortfall;
	/*
	 * Whether the running kernel offers it, judged from its BTF and /proc, never from its version.
	 * BTF is NULL when the kernel has none. Returns 0, or a negative errno with REASON filled.
	 */
	int (*probe)(const struct btf *btf, const struct host *host, char *reason, size_t reason_size);
	/* Loads and attaches. On error REASON tells why, and the next hook is tried. */
	int (*start)(struct detector_run *run, char *reason, size_t reason_size);
};

struct detector {
	const char *name;    /* as in the configuration: "hung_task" */
	const char *summary; /* one line for `lifeboat get detectors` */
	const struct hook *hooks; /* ended by a NULL name */
	const struct schema *settings; /* strict; of the detector's own settings, or NULL */
	/* A fresh settings object has this many bytes and these defaults. */
	void (*defaults)(void *settings);
	size_t state_size; /* of run->state, zeroed before start */
	void (*stop)(struct detector_run *run);
	/* A ring record of one of EVENT_TYPES; checked for header, version and minimal size already. */
	void (*event)(struct detector_run *run, const struct event_header *header);
	const uint16_t *event_types; /* ended by EVENT_NONE, or NULL */
	/* A periodic look. Returns ns until the next one (0: no more). NULL if there is none. */
	uint64_t (*look)(struct detector_run *run);
};

#define DETECTOR(symbol) REGISTER(detectors, struct detector, symbol)
DECLARE_REGISTRY(detectors, struct detector);

/* One started detector. */
struct detector_run {
	const struct detector *detector;
	const struct hook *hook;
	void *settings; /* decoded by detector->settings, or NULL */
	void *state;	/* the detector's own */
	const struct host *host;
	const struct clock *clock;
	int ring_fd; /* map to share as the object's `events` ring (bpf_map__reuse_fd) */
	int lost_fd; /* per-CPU map [EVENT_TYPE_COUNT] of u64, to share as `lost` */
	struct detect *detect;
};

/* Hands a finding over; taken whole (finding_clear is not needed after). */
void detector_report(struct detector_run *run, struct finding *finding);

/*
 * Shares ring and loss counters with OBJECT's maps `events` and `lost`, where it has them. To be
 * called between open and load.
 */
int detector_share_maps(const struct detector_run *run, struct bpf_object *object);

/* --- Judging a kernel by its BTF --- */

/* Parameters of a tracepoint without the leading void *; -ENOENT if there is no such tracepoint. */
int btf_tracepoint_arguments(const struct btf *btf, const char *name);
/* True if parameter INDEX (0: the first after void *) is a pointer to struct TYPE_NAME. */
bool btf_tracepoint_argument_is(const struct btf *btf, const char *name, int index, const char *type_name);
bool btf_has_function(const struct btf *btf, const char *name);
bool btf_has_iterator(const struct btf *btf, const char *target); /* "task" */
bool btf_has_member(const struct btf *btf, const char *type_name, const char *member);

/* --- From records to JSON --- */

/* {pid, tgid, startTime (clock ticks), comm, uid, parent} of spec.kernelEvent.process, or NULL. */
cJSON *event_task_json(const struct event_task *task);
/* Text of the path, root first, "/" for the root. Returns PATH. */
const char *event_cgroup_path(const struct event_cgroup *cgroup, char *path, size_t size);
/* {runtime, id, pod, cgroupPath, cgroupId} of spec.kernelEvent.container, or NULL. */
cJSON *event_container_json(const struct event_cgroup *cgroup);
/* The event object with detector, type, time (RFC 3339), cpu and count 1, or NULL. */
cJSON *event_json(const struct detector_run *run, const char *type, uint64_t boot_ns, uint32_t cpu);
