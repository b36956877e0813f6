/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the detector of stalled container shims, for one another alone:
 *   shim_stall.c          settings, ladder, looks by the BPF iterator
 *   shim_stall_proc.c     looks by /proc, and what both rungs read there
 *   shim_stall_look.c     what one look saw
 *   shim_stall_watch.c    what lasts for how long, and when it is told: no I/O
 *   shim_stall_identity.c which shim and containers these are, and the question to a shim
 *   shim_stall_report.c   a shim as a finding
 */
#pragma once

#include "detect/detector.h"

#include "../../bpf/shim_stall.h"
#include "host/shim.h"
#include "host/shim_request.h"

#define SHIM_HOLDERS_MAX 8

/* --- What a look sees --- */

struct seen_shim {
	struct event_task task;
	uint64_t tracer_pid; /* 0: it is not traced */
	char tracer_comm[EVENT_COMM_SIZE];
	bool stopped; /* each of its threads, by a signal or by a tracer */
	uint64_t switches; /* of its threads together; read when it is stopped */
};

struct seen_task {
	uint64_t start_boot_ns, shim_start_boot_ns;
	uint32_t pid, shim_pid;
	char state; /* as in /proc: R S D T t Z I */
	uint32_t flags; /* enum shim_task_flags */
	uint32_t pid_namespace, remaining;
	char comm[EVENT_COMM_SIZE];
};

struct shim_look {
	struct seen_shim *shims;
	size_t shim_count;
	struct seen_task *tasks;
	size_t task_count;
	/* From this pid on some were left out: that one is not seen means nothing. 0: none were. */
	uint32_t left_out_from;
	/* Every process of the node, once something needs it; else NULL. */
	struct process *processes;
	size_t process_count;
};

/* Appends; the look may grow without end but for the caller's caps. Returns 0 or -ENOMEM. */
int shim_look_add_shim(struct shim_look *look, const struct seen_shim *shim);
int shim_look_add_task(struct shim_look *look, const struct seen_task *task);
int shim_look_add_process(struct shim_look *look, const struct process *process);
void shim_look_clear(struct shim_look *look);
#define _cleanup_shim_look_ _cleanup_(shim_look_clear)

/* --- What is remembered of a shim --- */

enum stall_finding {
	STALL_STOPPED = 1 << 0,
	STALL_UNRESPONSIVE = 1 << 1,
	STALL_INIT_HELD = 1 << 2,
	STALL_UNREAPED = 1 << 3,
};

enum held_by { HELD_BY_UNKNOWN, HELD_BY_SHIM, HELD_BY_TASK };
extern const char *const held_by_names[]; /* "unknown", "shim", "task" */

struct stall_child {
	struct seen_task seen;
	uint64_t first_ns; /* the first look that saw it */
	uint64_t zombie_ns; /* … as a zombie, or 0 */
	uint64_t dying_ns; /* … as a dying init that does not run, or 0 */
	bool counted; /* in the shim's endings */
	enum held_by held_by; /* of a dying init, anew at each look */
};

enum ask_outcome {
	ASK_NONE,
	ASK_WAITING, /* for an answer; told as "no answer" */
	ASK_REFUSED,
	ASK_CLOSED,
	ASK_NOT_ACCEPTED,
};
extern const char *const ask_outcome_names[]; /* "no answer", "connection refused" … */

struct stall_identity;

struct stalled_shim {
	struct seen_shim seen;
	uint64_t first_ns;
	struct stall_child *children; /* sorted by pid */
	size_t child_count;
	uint64_t reaped_ns; /* the last look that saw a child gone; 0: none did */

	uint64_t stopped_ns, stopped_switches;

	/* What has ended so far, and up to where an answer has covered it. */
	uint64_t endings, endings_asked, endings_answered;
	bool identified, other; /* asked who it is; it is no shim */
	bool cannot_ask;
	void *request; /* on its way, or NULL */
	enum ask_outcome outcome;
	uint64_t asked_ns; /* the first try that was not answered */
	uint64_t answered_ns;

	uint32_t findings, told_findings; /* enum stall_finding: those that hold; all told of */
	uint64_t told_ns;
	char *subject; /* when first told; it stays */

	struct stall_identity *identity; /* shim_stall_identity.c's */
};

/* For how long the finding has held; the longest if it is about several. */
uint64_t stalled_shim_age(const struct stalled_shim *shim, enum stall_finding finding,
			  uint64_t now_ns);

/* Who is left in the namespace of INIT, of what LOOK saw, at most as many as there is room for. */
size_t stall_holders(const struct shim_look *look, const struct stall_child *init,
		     const struct seen_task *holders[SHIM_HOLDERS_MAX]);

/* What the watch asks of others, so that tests can answer. */
struct stall_watch_options {
	uint64_t threshold_ns;
	uint64_t longest_step_ns; /* from one look to the next; a longer one counts as this */
	/*
	 * Reads who the shim is, at the second look that sees it, and whether the init of one of its
	 * containers is gone though its bundle is there. -ENOTTY: it is no shim, and is forgotten;
	 * -EAGAIN: not now, but at the next look; another errno: that is not known.
	 */
	int (*identify)(void *userdata, struct stalled_shim *shim, bool *ret_misses_init);
	/* As shim_request_start and shim_request_check; the request is released with ask_end. */
	int (*ask_start)(void *userdata, struct stalled_shim *shim, void **ret_request);
	int (*ask_check)(void *userdata, struct stalled_shim *shim, void *request);
	void (*ask_end)(void *userdata, void *request);
	void (*report)(void *userdata, struct stalled_shim *shim, bool cleared, uint64_t now_ns);
	/* The shim is gone: what hangs on it is to be released. */
	void (*forget)(void *userdata, struct stalled_shim *shim);
	void *userdata;
};

struct stall_watch;

struct stall_watch *stall_watch_new(const struct stall_watch_options *options);
void stall_watch_free(struct stall_watch *watch);
DEFINE_CLEANUP(struct stall_watch, stall_watch_free);

/*
 * Takes a look in (sorting it), and reports what is to be. The times that are remembered, and given
 * to report(), start at the first look's CLOCK_NS and leave out what nobody watched. Returns 0 or
 * -ENOMEM.
 */
int stall_watch_look(struct stall_watch *watch, struct shim_look *look, uint64_t clock_ns);

/* --- Who it is --- */

/* The first member of the detector's state. */
struct stall_common {
	struct stall_watch *watch;
	const char *const *patterns; /* the settings' */
	size_t pattern_count;
	uint64_t identify_ns; /* spent on it in this look */
	/* Of this look: what it saw; and, once they were needed, its children and the node. */
	struct shim_look *look;
	/* Fills in LOOK's processes; NULL where the look did. Returns 0 or a negative errno. */
	int (*list_processes)(struct detector_run *run, struct shim_look *look);
	struct process *children; /* as BRIEF needs them */
	struct shim_survey *brief, *survey;
};

/* To be called before and after each look. */
void stall_identity_begin(struct stall_common *common, struct shim_look *look);
void stall_identity_end(struct stall_common *common);

/* TASK as a process: what is known of it. */
struct process stall_process_of(const struct seen_task *task);

/* The watch's callbacks; USERDATA is the detector_run. */
int stall_identify(void *userdata, struct stalled_shim *shim, bool *ret_misses_init);
int stall_ask_start(void *userdata, struct stalled_shim *shim, void **ret_request);
int stall_ask_check(void *userdata, struct stalled_shim *shim, void *request);
void stall_ask_end(void *userdata, void *request);
void stall_forget(void *userdata, struct stalled_shim *shim);

/* What is known of SHIM; NULL if that could not be read. */
const struct shim *stall_shim(const struct stalled_shim *shim);
/* Its containers as they were when last read; they are read now if REFRESH. */
const struct shim_container *stall_containers(struct detector_run *run, struct stalled_shim *shim,
					      bool refresh, size_t *ret_count);
/* The container that the fault is about, as far as can be told; NULL: none. */
const struct shim_container *stall_concerned(const struct stalled_shim *shim);
/* The container of init PID, or NULL. */
const struct shim_container *stall_container_of_init(const struct stalled_shim *shim, uint32_t pid);
/* The id of the container that the shim was last asked about, or NULL. */
const char *stall_asked(const struct stalled_shim *shim);
/* CONTAINER as spec.kernelEvent.container, with what it is called; NULL when out of memory. */
cJSON *stall_container_json(const struct detector_run *run, const struct shim_container *container);

/* --- Findings --- */

/* The principal one as spec.kernelEvent.type. */
const char *stall_type(uint32_t findings);
/* "shim 4711 of k8s.io/ID", the caller's; NULL when out of memory. */
char *stall_subject(const struct stalled_shim *shim);
/* spec.kernelEvent; NULL when out of memory. */
cJSON *stall_event(struct detector_run *run, struct stalled_shim *shim, bool cleared,
		   uint64_t threshold_ns, uint64_t now_ns);

/* --- Reading /proc --- */

/* Fills stopped and switches from the threads of SHIM, which may be gone. */
void seen_shim_read_threads(const struct host *host, struct seen_shim *shim);
/* A look by /proc alone. Returns 0 or a negative errno. */
int shim_look_read_proc(const struct host *host, const char *const *patterns, size_t count,
			struct shim_look *look);
