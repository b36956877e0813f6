/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Container shims: the processes that start a container, stay its parent and answer for it to the
 * runtime (containerd-shim, containerd-shim-runc-v2, conmon). Which shim serves a container and
 * which containers a shim serves, also when their processes are gone: by process tree, cgroup, and
 * the bundle folders that the shim's working directory lies among.
 *
 * Reads stat, status, exe, cwd, fd, cgroup and net/unix in /proc, and small files of the bundles;
 * nothing that takes the shim's mmap lock. Bundles lie on tmpfs (/run), so that the agent's loop
 * may read them.
 *
 * What it costs: shim_read reads a link for each descriptor of the shim, and all unix sockets of
 * its network namespace, so its result is worth keeping, by pid and start time. shim_of_container,
 * shim_list and shim_containers go through all processes of the node; whoever looks at many shims
 * takes one shim_survey for all of them.
 */
#pragma once

#include "base/json.h"
#include "host/process.h"

enum shim_kind {
	SHIM_CONTAINERD_V1, /* containerd-shim: one container; containerd.runtime.linux.shim.v1 */
	SHIM_CONTAINERD_V2, /* containerd-shim-*-v1, -v2: a pod's; containerd.task.v2 or v3 */
	SHIM_CONMON, /* CRI-O and Podman: one container, no service to ask */
	SHIM_OTHER, /* named in the configuration: only what holds for any parent is looked at */
};
extern const char
	*const shim_kind_names[]; /* "containerd-v1", "containerd-v2", "conmon", "other" */

struct shim {
	struct process process;
	enum shim_kind kind;
	char *program; /* target of /proc/PID/exe, without " (deleted)" */
	char *bundle; /* its working directory, where that is (or was) a bundle; or NULL */
	/*
	 * The following may be NULL. The bundle is the node's: rootless shims and those of a node in a
	 * container have none here, nor a name that root's runtimes know (shim_trust.h).
	 */
	char *namespace; /* of containerd: "k8s.io"; or NULL */
	char *id; /* of the container it was started for (a pod's sandbox, often); or NULL */
	char *socket; /* path it listens on, "@…" where abstract; or NULL */
};

void shim_clear(struct shim *shim);
#define _cleanup_shim_ _cleanup_(shim_clear)

/* True if NAME (a comm or the file name of a program) matches one of PATTERNS (fnmatch). */
bool shim_name_matches(const char *const *patterns, size_t count, const char *name);
/*
 * Those that lifeboat knows of itself: "containerd-shim*", Docker's name of it until 18.06,
 * "conmon". Ended by NULL.
 */
extern const char *const shim_default_patterns[];

/*
 * Reads the shim PID. Returns 0, -ESRCH if there is no such process or it has ended (a zombie),
 * -ENOTTY if its program matches none of PATTERNS (NULL: the default ones), or a negative errno.
 */
int shim_read(const struct host *host, int64_t pid, const char *const *patterns, size_t count,
	      struct shim *ret_shim);

/* The nearest shim above process PID (or PID itself). Returns 0, -ESRCH or a negative errno. */
int shim_of_process(const struct host *host, int64_t pid, struct shim *ret_shim);

/*
 * The shim that serves container ID (a prefix of at least 12 characters does), also when all of
 * its processes are gone. Returns 0, -ESRCH if there is none on this node, -ENOTUNIQ if several
 * have containers of that id (plain ctr: one in each namespace), or a negative errno.
 */
int shim_of_container(const struct host *host, const char *id, struct shim *ret_shim);

/* Every shim on the node; the caller frees with shims_free. Returns 0 or a negative errno. */
int shim_list(const struct host *host, struct shim **ret_shims, size_t *ret_count);
void shims_free(struct shim *shims, size_t count);

/* A container that a shim serves. */
struct shim_container {
	char *id;
	char *bundle; /* folder with config.json; or NULL */
	int64_t init_pid; /* as the runtime wrote it down; 0: not known, or it never started */
	struct process
		init; /* maybe a zombie; pid 0: it is gone, or its pid is somebody else's now */
	size_t processes; /* alive, not zombies, below the shim and in this container */
};

/*
 * The containers of SHIM, at most SHIM_CONTAINERS_MAX, its own first; the caller frees with
 * shim_containers_free. Returns 0 or a negative errno.
 */
#define SHIM_CONTAINERS_MAX 256
int shim_containers(const struct host *host, const struct shim *shim,
		    struct shim_container **ret_containers, size_t *ret_count);
void shim_containers_free(struct shim_container *containers, size_t count);

/*
 * What shim_containers needs of the whole node, read once for many shims: the processes, and (when
 * first asked for) which bundle names which socket. A moment's picture, to be freed and made anew.
 */
struct shim_survey;
/*
 * PROCESSES (which must outlive the survey; pid, ppid, start_time and state suffice), or NULL to
 * list them now. Returns 0 or a negative errno.
 */
int shim_survey_new(const struct host *host, const struct process *processes, size_t count,
		    struct shim_survey **ret_survey);
void shim_survey_free(struct shim_survey *survey);
DEFINE_CLEANUP(struct shim_survey, shim_survey_free);
/* As shim_containers. */
int shim_survey_containers(struct shim_survey *survey, const struct shim *shim,
			   struct shim_container **ret_containers, size_t *ret_count);

/* {pid, startTime, comm, kind, program, bundle, namespace, id, socket}, or NULL. */
cJSON *shim_json(const struct shim *shim);
/*
 * The reverse, for plug-ins that find it in an Abnormal; missing fields stay NULL. Whoever acts on
 * it reads the shim again, as this is only what somebody wrote. -EINVAL without pid and startTime.
 */
int shim_from_json(const cJSON *json, struct shim *ret_shim);
