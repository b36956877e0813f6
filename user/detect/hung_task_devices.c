/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which disks complete requests. The counters are compared between samples, however far apart these
 * are: an unchanged one says that nothing was completed in between.
 */
#include "detect/hung_task.h"

int devices_sample(struct devices *devices, const struct host *host, uint64_t now_ns)
{
	_cleanup_free_ struct blockdev *list = NULL;
	size_t count = 0;
	int r = blockdev_list(host, &list, &count);

	if (r < 0)
		return r;
	struct device_progress *items = calloc(MAX(count, (size_t)1), sizeof(*items));
	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const struct device_progress *before =
			devices_find(devices, list[i].major, list[i].minor);

		items[i].device = list[i];
		items[i].quiet_since_ns = before && before->device.completed == list[i].completed
						  ? before->quiet_since_ns
						  : now_ns;
	}
	devices_clear(devices);
	devices->items = items;
	devices->count = count;
	return 0;
}

void devices_clear(struct devices *devices)
{
	free(devices->items);
	*devices = (struct devices){0};
}

const struct device_progress *devices_find(const struct devices *devices, unsigned major,
					   unsigned minor)
{
	for (size_t i = 0; i < devices->count; i++)
		if (devices->items[i].device.major == major &&
		    devices->items[i].device.minor == minor)
			return &devices->items[i];
	return NULL;
}

uint64_t devices_all_quiet_since(const struct devices *devices)
{
	uint64_t latest = devices->count ? 0 : UINT64_MAX;

	for (size_t i = 0; i < devices->count; i++)
		latest = MAX(latest, devices->items[i].quiet_since_ns);
	return latest;
}

const struct device_progress *devices_stalled(const struct devices *devices, uint64_t since_ns)
{
	const struct device_progress *found = NULL;

	for (size_t i = 0; i < devices->count; i++) {
		const struct device_progress *item = &devices->items[i];

		if (!item->device.suspended &&
		    (!item->device.in_flight || item->quiet_since_ns > since_ns))
			continue;
		if (found)
			return NULL;
		found = item;
	}
	return found;
}
