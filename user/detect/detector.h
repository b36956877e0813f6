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
#include "base/log.h"
#include "base/schema.h"
#include "host/container_names.h"
#include "host/host.h"

/* For finding.record: of no record, also while one is at hand. */
#define FINDING_NO_RECORD UINT64_MAX

/* Something a detector saw. */
struct finding {
	const char *detector; /* static strings */
	const char *type; /* "OOMKill", "HungTask", "Cleared" … */
	bool cleared; /* the fault of this subject is over */
	/*
	 * What it is about, for a person and for the fingerprint: the same subject is the same
	 * fault.
	 */
	char *subject;
	cJSON *event; /* spec.kernelEvent of an Abnormal */
	/*
	 * The last ring record that it was made of (detector_record); 0: the one at hand, or none. By it a
	 * finding is known that was told before: what no record tells of must not claim one.
	 */
	uint64_t record;
	/*
	 * Set by detector_report: what of the ring is kept until the finding is durable; 0: nothing.
	 * on_finding may take it (and leave 0), and then owes detect_settle().
	 */
	uint64_t receipt;
};
void finding_clear(struct finding *finding);

struct detector_run;

/* Hooks whose name starts so need neither BTF nor the right to load BPF programs; all others do. */
#define HOOK_POLL "poll/"

/* One way to see the fault. */
struct hook {
	const char *name; /* "tp_btf/mark_victim", "iter/task", "poll/proc" */
	bool degraded; /* sees less than the first; SHORTFALL says what */
	const char *shortfall;
	/*
	 * Whether the running kernel offers it, judged from its BTF and /proc, never from its
	 * version. BTF is NULL when the kernel has none (only HOOK_POLL hooks are asked then).
	 * Returns 0, or a negative errno with REASON filled.
	 */
	int (*probe)(const struct btf *btf, const struct host *host, char *reason,
		     size_t reason_size);
	/*
	 * Loads and attaches. On error REASON tells why (detector_fail), stop is called with
	 * whatever state there is, the state is zeroed, and the next hook is tried.
	 */
	int (*start)(struct detector_run *run, char *reason, size_t reason_size);
};

struct detector {
	const char *name; /* as in the configuration: "hung_task" */
	const char *summary; /* one line for `lifeboat get detectors` */
	const struct hook *hooks; /* ended by a NULL name */
	const struct schema *settings; /* strict; of the detector's own settings, or NULL */
	/*
	 * Fills a fresh settings object. A switch that is on unless told has the kind FIELD_TRISTATE:
	 * FIELD_BOOL does not write false, and the settings that are shown would say something else.
	 */
	void (*defaults)(void *settings);
	size_t state_size; /* of run->state, zeroed before start */
	/* Releases what is in run->state; called after a start that failed half-way, too. */
	void (*stop)(struct detector_run *run);
	/* A ring record of one of EVENT_TYPES, whose header and least size are checked already. */
	void (*event)(struct detector_run *run, const struct event_header *header);
	const uint16_t *event_types; /* ended by EVENT_NONE, or NULL; no two detectors share one */
	size_t event_size; /* least bytes of such a record */
	/*
	 * A look, the first as soon as the loop runs. Returns ns until the next one (0: no more,
	 * until detector_look_in). NULL if there is none.
	 */
	uint64_t (*look)(struct detector_run *run);
};

#define DETECTOR(symbol) REGISTER(detectors, struct detector, symbol)
DECLARE_REGISTRY(detectors, struct detector);

/* One started detector. */
struct detector_run {
	const struct detector *detector;
	const struct hook *hook;
	void *settings; /* decoded by detector->settings, or NULL */
	void *state; /* the detector's own */
	const struct host *host;
	const struct clock *clock;
	struct container_registry
		*containers; /* who the containers are; never NULL in a started run */
	uint64_t lost; /* what was lost elsewhere than in the ring; only grows */
	uint64_t held; /* the oldest record that detector_hold keeps; 0: none */
	struct detect *detect;
};

/* Hands a finding over; taken whole (finding_clear is not needed after). */
void detector_report(struct detector_run *run, struct finding *finding);

/* The next look comes in DELAY_NS, whatever the last one returned. */
void detector_look_in(struct detector_run *run, uint64_t delay_ns);

/*
 * Fills REASON with "WHAT: error text", and what libbpf and the verifier said last, which is then
 * forgotten. Returns CODE (a negative errno), so that a start can `return detector_fail(...)`.
 */
int detector_fail(char *reason, size_t reason_size, int code, const char *what_format, ...)
	_printf_(4, 5);

/*
 * The ring record at hand, by which findings made of it later can be told to be of it; 0 outside of
 * detector.event.
 */
uint64_t detector_record(const struct detector_run *run);
/*
 * The record at hand says something that is not told yet: it stays in the ring, so that the next agent
 * reads it again if this one is killed before detector_told().
 */
void detector_hold(struct detector_run *run);
/* All that was held back has been reported. */
void detector_told(struct detector_run *run);

/* --- Loading and attaching. What they attach outlives the agent where it can be pinned (pins.h) --- */

/*
 * Loads an opened SKELETON (the `skeleton` of what bpftool generates), whose maps `events` and `lost`,
 * where it has them, are the ring and the loss counters of all; takes over what of its pinned maps a
 * former agent left, and gives its programs their generation (bpf/generation.bpf.h). WHAT names what is
 * loaded, for REASON. Returns 0 or detector_fail's error.
 */
int detector_load(struct detector_run *run, struct bpf_object_skeleton *skeleton, const char *what,
		  char *reason, size_t reason_size);
/*
 * Of one that is loaded, and whose variables are NULL yet: before Linux 5.5 maps can't be mapped, and
 * libbpf takes a kernel for such a one, for the process's whole life, if its trial of that failed once.
 */
int detector_fail_unmapped(char *reason, size_t reason_size);
/* Attaches PROGRAM. It is silent until detector.start has succeeded. Returns 0 or a negative errno. */
int detector_attach(struct detector_run *run, struct bpf_program *program,
		    struct bpf_link **ret_link);
/* Lets go of LINK (may be NULL): what is pinned stays attached. */
void detector_detach(const struct detector_run *run, struct bpf_link *link);

/* --- Judging a kernel by its BTF --- */

/* Parameters of a tracepoint without the leading void *; -ENOENT if there is no such tracepoint. */
int btf_tracepoint_arguments(const struct btf *btf, const char *name);
/* True if parameter INDEX (0: the first after void *) is a pointer to struct TYPE_NAME. */
bool btf_tracepoint_argument_is(const struct btf *btf, const char *name, int index,
				const char *type_name);
bool btf_has_function(const struct btf *btf, const char *name);
bool btf_has_iterator(const struct btf *btf, const char *target); /* "task" */
bool btf_has_member(const struct btf *btf, const char *type_name, const char *member);

/* --- Judging a kernel by trying. 0, or a negative errno with REASON filled --- */

/* Loads a program that does nothing and attaches it to FUNCTION for an instant, as fentry. */
int probe_fentry(const struct btf *btf, const char *function, char *reason, size_t reason_size);
/* Whether there is a kprobe PMU or a kprobe_events file, and FUNCTION. */
int probe_kprobe(const struct btf *btf, const struct host *host, const char *function, char *reason,
		 size_t reason_size);
/* Whether this process may load tracing programs. */
int probe_capabilities(char *reason, size_t reason_size);

/* --- From records to JSON --- */

/*
 * Checks the header of a record of LENGTH bytes, from the ring or an iterator: 0, -EBADMSG if it is
 * shorter than it says or than SIZE_MIN, -EPROTO if it is of another version.
 */
int event_check(const void *record, size_t length, size_t size_min);

/* Clock ticks since boot (field 22 of proc_pid_stat(5)) of a kernel's start_boottime. */
uint64_t event_start_time(uint64_t start_boot_ns);

/*
 * A copy of TEXT (at most SIZE bytes, or up to its NUL) that is UTF-8 without control characters:
 * others are '?'.
 */
char *event_text(const char *text, size_t size);

/* {pid, tgid, startTime (clock ticks), comm, uid, parent} of spec.kernelEvent.process, or NULL. */
cJSON *event_task_json(const struct event_task *task);
/* Text of the path, root first, "/" for the root. Returns PATH. */
#define EVENT_CGROUP_PATH_SIZE (EVENT_CGROUP_LEVELS * (EVENT_CGROUP_NAME_SIZE + 1) + 8)
const char *event_cgroup_path(const struct event_cgroup *cgroup, char *path, size_t size);
/*
 * {runtime, id, pod, podUid, namespace, name, image, sandbox, cgroupPath, cgroupId} of
 * spec.kernelEvent.container, or NULL. The last two always; the others as far as the path tells them,
 * and what CONTAINERS (may be NULL) knows of it.
 */
cJSON *event_container_json(struct container_registry *containers,
			    const struct event_cgroup *cgroup);
cJSON *event_container_json_of_path(struct container_registry *containers, const char *path,
				    uint64_t cgroup_id);
/* The event object with detector, type, time (RFC 3339), cpu and count 1, or NULL. */
cJSON *event_json(const struct detector_run *run, const char *type, uint64_t boot_ns, uint32_t cpu);
