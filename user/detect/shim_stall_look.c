/* SPDX-License-Identifier: Apache-2.0 */
/* What one look saw, put together record by record, whichever rung it came from. */
#include "detect/shim_stall.h"

static int grow(void **items, size_t count, size_t size)
{
	/* Powers of two from 16 on: full whenever the count is one. */
	if (count != 0 && (count < 16 || count & (count - 1)))
		return 0;
	void *grown = reallocarray(*items, count ? count * 2 : 16, size);

	if (!grown)
		return -ENOMEM;
	*items = grown;
	return 0;
}

int shim_look_add_shim(struct shim_look *look, const struct seen_shim *shim)
{
	int r = grow((void **)&look->shims, look->shim_count, sizeof(*look->shims));

	if (r == 0)
		look->shims[look->shim_count++] = *shim;
	return r;
}

int shim_look_add_task(struct shim_look *look, const struct seen_task *task)
{
	int r = grow((void **)&look->tasks, look->task_count, sizeof(*look->tasks));

	if (r == 0)
		look->tasks[look->task_count++] = *task;
	return r;
}

int shim_look_add_process(struct shim_look *look, const struct process *process)
{
	int r = grow((void **)&look->processes, look->process_count, sizeof(*look->processes));

	if (r == 0)
		look->processes[look->process_count++] = *process;
	return r;
}

void shim_look_clear(struct shim_look *look)
{
	free(look->shims);
	free(look->tasks);
	free(look->processes);
	*look = (struct shim_look){};
}
