/* SPDX-License-Identifier: Apache-2.0 */
/* Block devices, as sysfs tells of them: counters and states that the kernel keeps in memory. */
#include "host/blockdev.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>

#include "base/file.h"

#define DEVICES_MAX 4096
#define FILE_BYTES_MAX (4 * KIB)

/* Of /sys/block/DISK/stat (Documentation/block/stat.rst): 17 fields since 5.5, 15 since 4.19. */
enum {
	STAT_READS = 0,
	STAT_WRITES = 4,
	STAT_IN_FLIGHT = 8,
	STAT_DISCARDS = 11,
	STAT_FLUSHES = 15,
	STAT_FIELDS = 17
};

static void directory_closep(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

static int read_stat(int disk, struct blockdev *device)
{
	_cleanup_free_ char *text = NULL;
	unsigned long long numbers[STAT_FIELDS] = {0};
	size_t count = 0;
	int r = file_read(disk, "stat", FILE_BYTES_MAX, &text, NULL);

	if (r < 0)
		return r;
	for (char *next = text, *end; count < STAT_FIELDS; count++, next = end) {
		numbers[count] = strtoull(next, &end, 10);
		if (end == next)
			break;
	}
	if (count <= STAT_IN_FLIGHT)
		return -EINVAL;
	device->completed = numbers[STAT_READS] + numbers[STAT_WRITES] + numbers[STAT_DISCARDS] +
			    numbers[STAT_FLUSHES];
	device->in_flight = numbers[STAT_IN_FLIGHT];
	return 0;
}

static int read_number(int directory, const char *path, unsigned *ret_major, unsigned *ret_minor)
{
	_cleanup_free_ char *text = NULL;
	int r = file_read(directory, path, FILE_BYTES_MAX, &text, NULL);

	if (r < 0)
		return r;
	return sscanf(text, "%u:%u", ret_major, ret_minor) == 2 ? 0 : -EINVAL;
}

static int read_disk(int block, const char *name, struct blockdev *ret_device)
{
	struct blockdev device = {0};
	uint64_t number;
	_cleanup_close_ int disk = openat(block, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (disk < 0)
		return -errno;
	snprintf(device.name, sizeof(device.name), "%.31s", name);
	int r = read_number(disk, "dev", &device.major, &device.minor);
	if (r == 0)
		r = read_stat(disk, &device);
	if (r < 0)
		return r;
	device.suspended = file_read_u64(disk, "dm/suspended", &number) == 0 && number == 1;
	/* What a device-mapper device holds back while it is suspended stands here alone. */
	_cleanup_free_ char *text = NULL;
	unsigned long long reads, writes;
	if (!device.in_flight && file_read(disk, "inflight", FILE_BYTES_MAX, &text, NULL) == 0 &&
	    sscanf(text, "%llu %llu", &reads, &writes) == 2)
		device.in_flight = reads + writes;
	*ret_device = device;
	return 0;
}

int blockdev_list(const struct host *host, struct blockdev **ret_devices, size_t *ret_count)
{
	_cleanup_free_ struct blockdev *devices = NULL;
	size_t count = 0, room = 0;
	int fd = openat(host->sys, "block", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(directory_closep) DIR *block = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!block) {
		int error = errno;

		if (fd >= 0)
			close(fd);
		return -error;
	}
	while ((entry = readdir(block)) && count < DEVICES_MAX) {
		struct blockdev device;

		/* A disk may go away while it is read: it is then simply not there. */
		if (entry->d_name[0] == '.' || read_disk(dirfd(block), entry->d_name, &device) < 0)
			continue;
		if (count == room) {
			size_t more = room ? room * 2 : 16;
			struct blockdev *grown = realloc(devices, more * sizeof(*grown));

			if (!grown)
				return -ENOMEM;
			devices = grown;
			room = more;
		}
		devices[count++] = device;
	}
	*ret_devices = TAKE_PTR(devices);
	*ret_count = count;
	return 0;
}

int blockdev_whole(const struct host *host, unsigned major, unsigned minor, unsigned *ret_major,
		   unsigned *ret_minor)
{
	char path[64];
	uint64_t partition;

	snprintf(path, sizeof(path), "dev/block/%u:%u", major, minor);
	_cleanup_close_ int device = openat(host->sys, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (device < 0)
		return -errno;
	if (file_read_u64(device, "partition", &partition) == 0)
		return read_number(device, "../dev", ret_major, ret_minor);
	*ret_major = major;
	*ret_minor = minor;
	return 0;
}
