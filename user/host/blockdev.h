/* SPDX-License-Identifier: Apache-2.0 */
/* Block devices: is one making progress. */
#pragma once

#include "host/host.h"

struct blockdev {
	unsigned major, minor;
	char name[32];
	uint64_t completed; /* reads, writes, discards and flushes completed since boot */
	uint64_t in_flight;
	bool suspended; /* a device-mapper device that somebody suspended */
};

/*
 * Every whole disk in /sys/block (nothing here waits for a device). The caller frees. 0 or a
 * negative errno.
 */
int blockdev_list(const struct host *host, struct blockdev **ret_devices, size_t *ret_count);

/*
 * The whole disk that a device number belongs to: its own, or that of the disk which the partition
 * is on. Returns 0, -ENOENT if there is no such device, or a negative errno.
 */
int blockdev_whole(const struct host *host, unsigned major, unsigned minor, unsigned *ret_major,
		   unsigned *ret_minor);
