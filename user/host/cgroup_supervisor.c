/* SPDX-License-Identifier: Apache-2.0 */
/* The parents of the processes in a control group. */
#include "host/cgroup_supervisor.h"

#include "host/shim.h"

#define INIT 1

static int compare_pids(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return left < right ? -1 : left > right;
}

static int64_t *sort_pids(const int64_t *pids, size_t count)
{
	int64_t *sorted = reallocarray(NULL, count + 1, sizeof(*sorted));

	if (!sorted)
		return NULL;
	if (count > 0)
		memcpy(sorted, pids, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare_pids);
	return sorted;
}

static bool is_shim(const struct host *host, int64_t pid)
{
	_cleanup_shim_ struct shim shim = {0};
	int r = shim_read(host, pid, NULL, 0, &shim);

	/* What cannot be read may be one. */
	return r != -ENOTTY && r != -ESRCH;
}

/*
 * The first of PIDS that is alive and has a parent outside of SORTED that is not init: its parent. 0, or
 * -ESRCH if there is none; ret_alive is how many of those looked at are alive.
 */
static int find_parent(const struct host *host, const int64_t *pids, size_t look_at,
		       const int64_t *sorted, size_t count, struct process *ret_parent,
		       size_t *ret_alive)
{
	*ret_alive = 0;
	for (size_t i = 0; i < look_at; i++) {
		struct process process;
		int r = process_read(host, pids[i], &process);

		if (r == -ESRCH || (r == 0 && strchr("ZX", process.state)))
			continue;
		if (r < 0)
			return r;
		(*ret_alive)++;
		if (process.ppid == INIT ||
		    bsearch(&process.ppid, sorted, count, sizeof(*sorted), compare_pids))
			continue;
		/* A parent that ends just now gives its children to init: they are looked at again. */
		if (process_read(host, process.ppid, ret_parent) < 0)
			*ret_parent = (struct process){.pid = process.ppid, .comm = "?"};
		return 0;
	}
	return -ESRCH;
}

int cgroup_supervisor_find(const struct host *host, const int64_t *pids, size_t count,
			   size_t look_at, struct process *ret_supervisor)
{
	_cleanup_free_ int64_t *sorted = sort_pids(pids, count);
	size_t alive;

	if (!sorted)
		return -ENOMEM;
	/* The kernel writes 0 for those that have no number in our pid namespace. */
	if (count && sorted[0] <= 0)
		return -EXDEV;
	look_at = MIN(count, look_at);
	int r = find_parent(host, pids, look_at, sorted, count, ret_supervisor, &alive);

	for (size_t i = 0; i < look_at && r == -ESRCH; i++)
		if (is_shim(host, pids[i]) && process_read(host, pids[i], ret_supervisor) == 0)
			r = 0;
	return r == -ESRCH && !alive ? -ENODATA : r;
}
