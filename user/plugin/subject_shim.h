/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container shim that an Abnormal is about, as built-in plug-ins need it: found on this node,
 * found again before anything is done to it, what it serves, and how it is right now.
 */
#pragma once

#include "base/buffer.h"
#include "plugin/subject.h"
#include "host/shim.h"

/*
 * The shim of details.shim (detector shim_stall), provided it is still the same process, or else of the
 * container or pod that the Abnormal names: kernelEvent.container.id; spec.context.container ("ID" or
 * {id}); spec.context.pod ({namespace, name} or {uid}). Of several shims of a pod the first that is
 * stopped or does not answer. ret_container is the id it was found by, the caller's to free (NULL: by
 * the event). Returns 0, or PLUGIN_NOT_MINE or a negative errno when it has said why.
 */
int subject_shim(const struct plugin_call *call, struct shim *ret_shim, char **ret_container);

/*
 * The shim that JSON (shim_json) told of, provided it is the same process, program and bundle. Returns 0,
 * -ESRCH if it has ended, -EXDEV if that is something else now, or a negative errno.
 */
int subject_shim_again(const struct plugin_call *call, const cJSON *json, struct shim *ret_shim);

/* How it is at this moment. */
struct shim_look {
	bool stopped; /* every thread, by a signal or a debugger */
	uint64_t switches; /* of all threads: the same at a later look if none has run */
	struct process tracer; /* pid 0: nobody debugs it */
};
/* Returns 0, -ESRCH or a negative errno. */
int shim_look(const struct host *host, const struct shim *shim, struct shim_look *ret_look);

/* Its dead children that it has not reaped. The caller frees. Returns 0 or a negative errno. */
int shim_zombies(const struct host *host, const struct shim *shim, struct process **ret_zombies,
		 size_t *ret_count);
/* How many of ZOMBIES still are. */
size_t zombies_left(const struct host *host, const struct process *zombies, size_t count);

/* One question to the shim: does it answer? */
struct shim_reply {
	bool asked; /* false: this kind of shim cannot be asked, or we could not */
	bool answered; /* or did something else that takes a shim that runs */
	bool refused; /* nobody listens on its socket: whether it runs is not told */
	char text[160]; /* "no answer within 3s", "answered: running" */
};
void shim_question(const struct plugin_call *call, const struct shim *shim, uint64_t within_ns,
		   struct shim_reply *ret_reply);

/*
 * [{id, bundle, pod, namespace, name, image, sandbox, init: {pid, startTime, state}, processes}], at most
 * SHIM_CONTAINERS_TOLD; ret_count is how many there are. NULL when out of memory.
 */
#define SHIM_CONTAINERS_TOLD 32
cJSON *shim_containers_json(const struct host *host, const struct shim *shim, size_t *ret_count);

/*
 * "container web of pod shop/cart-1, container 3f4e8c1b2a7d and 2 more", of such a list of COUNT, at
 * most SHOWN_MAX by name.
 */
#define SHIM_CONTAINERS_SHOWN 4 /* in a sentence; before an action it is all that are told */
void shim_containers_text(const cJSON *containers, size_t count, size_t shown_max,
			  struct buffer *out);

/* "containerd-shim (pid 4711) of k8s.io/3f4e8c1b2a7d". Returns TEXT. */
#define SHIM_TEXT_SIZE 256
const char *shim_text(const struct shim *shim, char text[SHIM_TEXT_SIZE]);
