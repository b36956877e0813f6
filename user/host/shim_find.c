/* SPDX-License-Identifier: Apache-2.0 */
/* Whose shim: from a process upwards, and from a container's id. */
#include "host/shim.h"

#define PARENTS_MAX 4096
#define ID_PREFIX_LENGTH 12 /* as docker ps and crictl ps print ids */

int shim_of_process(const struct host *host, int64_t pid, struct shim *ret_shim)
{
	for (unsigned depth = 0; pid > 0 && depth < PARENTS_MAX; depth++) {
		struct process process;
		int r = shim_read(host, pid, NULL, 0, ret_shim);

		if (r != -ENOTTY && r != -ESRCH)
			return r;
		r = process_read(host, pid, &process);
		if (r < 0)
			return r;
		pid = process.ppid;
	}
	return -ESRCH;
}

static bool is_id(const char *full, const char *asked)
{
	return streq(full, asked) || (strlen(asked) >= ID_PREFIX_LENGTH && startswith(full, asked));
}

/* True if SHIM serves a container that ID names; ret_full is what it is called in full. */
static int serves(struct shim_survey *survey, const struct shim *shim, const char *id,
		  char **ret_full)
{
	struct shim_container *containers;
	size_t count;
	int r = shim_survey_containers(survey, shim, &containers, &count);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count && r == 0; i++)
		if (is_id(containers[i].id, id)) {
			*ret_full = strdup(containers[i].id);
			r = *ret_full ? 1 : -ENOMEM;
		}
	shim_containers_free(containers, count);
	return r;
}

/*
 * Chooses between two shims of containers that ID names. Each process that was started later in a
 * container of CRI-O or Podman has a conmon too: the first one is the container's.
 */
static int choose(const struct shim *shims, size_t *found, char **found_full, size_t other,
		  char **other_full)
{
	const struct shim *a = &shims[*found], *b = &shims[other];

	if (a->kind != SHIM_CONMON || b->kind != SHIM_CONMON || !streq(*found_full, *other_full))
		return -ENOTUNIQ;
	if (b->process.start_time < a->process.start_time) {
		free(*found_full);
		*found_full = TAKE_PTR(*other_full);
		*found = other;
	}
	return 0;
}

static int find_shim(struct shim_survey *survey, const struct shim *shims, size_t count,
		     const char *id, size_t *ret_found)
{
	_cleanup_free_ char *found_full = NULL;
	size_t found = SIZE_MAX;

	for (size_t i = 0; i < count; i++) {
		_cleanup_free_ char *full = NULL;
		int r = serves(survey, &shims[i], id, &full);

		if (r < 0)
			return r;
		if (r == 0)
			continue;
		if (found == SIZE_MAX) {
			found = i;
			found_full = TAKE_PTR(full);
			continue;
		}
		r = choose(shims, &found, &found_full, i, &full);
		if (r < 0)
			return r;
	}
	*ret_found = found;
	return found == SIZE_MAX ? -ESRCH : 0;
}

int shim_of_container(const struct host *host, const char *id, struct shim *ret_shim)
{
	_cleanup_(shim_survey_freep) struct shim_survey *survey = NULL;
	struct shim *shims;
	size_t count, found;

	if (!*id)
		return -ESRCH;
	int r = shim_list(host, &shims, &count);
	if (r < 0)
		return r;
	r = shim_survey_new(host, NULL, 0, &survey);
	if (r == 0)
		r = find_shim(survey, shims, count, id, &found);
	if (r == 0) {
		*ret_shim = shims[found];
		shims[found] = (struct shim){0};
	}
	shims_free(shims, count);
	return r;
}
