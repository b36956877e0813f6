/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collector host: the node itself: kernel, uptime, load, memory, mounts with the use of their space
 * and inodes. statvfs(3) on a network filesystem whose server is gone hangs for ever, so only local
 * filesystems are asked, and those mounted below a network filesystem are not.
 */
#include <inttypes.h>
#include <sys/statvfs.h>

#include "base/buffer.h"
#include "base/file.h"
#include "base/size.h"
#include "plugin/subject.h"
#include "host/mounts.h"

#define ARTIFACT_BYTES_MAX (256 * KIB)
#define SHOWN_MAX 32
#define NEARLY_FULL 0.9 /* such filesystems come first in the summary */

/* Filesystems that answer statvfs from memory. */
static const char *const local_types[] = {
	"ext2",	    "ext3",  "ext4",	"xfs", "btrfs", "f2fs",	    "vfat",    "exfat",	  "tmpfs",
	"devtmpfs", "ramfs", "overlay", "zfs", "erofs", "squashfs", "iso9660", "bcachefs"};
/* Those of the kernel itself, which have no space to run out of. */
static const char *const kernel_types[] = {
	"proc",	       "sysfs",	    "cgroup", "cgroup2",   "devpts",	 "mqueue",     "debugfs",
	"tracefs",     "bpf",	    "pstore", "fusectl",   "configfs",	 "securityfs", "efivarfs",
	"binfmt_misc", "hugetlbfs", "nsfs",   "selinuxfs", "rpc_pipefs", "nfsd"};

static bool is_one_of(const char *const *types, size_t count, const char *type)
{
	for (size_t i = 0; i < count; i++)
		if (streq(types[i], type))
			return true;
	return false;
}

static bool is_local(const struct mount *mount)
{
	return is_one_of(local_types, ARRAY_SIZE(local_types), mount->fs_type);
}

static bool is_kernel(const struct mount *mount)
{
	return is_one_of(kernel_types, ARRAY_SIZE(kernel_types), mount->fs_type);
}

/* True if the way to MOUNT leads through a filesystem that may not answer. */
static bool is_behind_remote(const struct mounts *mounts, const struct mount *mount)
{
	for (size_t i = 0; i < mounts->count; i++) {
		const struct mount *above = &mounts->items[i];
		const char *rest = startswith(mount->mount_point, above->mount_point);

		if (rest && *rest == '/' && !is_local(above) && !is_kernel(above))
			return true;
	}
	return false;
}

static bool seen_before(const struct mounts *mounts, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (mounts->items[i].major == mounts->items[index].major &&
		    mounts->items[i].minor == mounts->items[index].minor &&
		    is_local(&mounts->items[i]))
			return true;
	return false;
}

static double share_used(uint64_t total, uint64_t free)
{
	return total ? 1 - (double)free / (double)total : 0;
}

/* One filesystem's use, in the table, and in the summary when there is place. */
static int add_filesystem(const struct mount *mount, const struct statvfs *use, struct buffer *out,
			  cJSON *list)
{
	uint64_t total = use->f_blocks * use->f_frsize, free = use->f_bavail * use->f_frsize;
	double space = share_used(use->f_blocks, use->f_bfree),
	       inodes = share_used(use->f_files, use->f_ffree);
	char total_text[SIZE_TEXT_SIZE], free_text[SIZE_TEXT_SIZE];
	cJSON *item;

	buffer_printf(out, "%-10s %10s %10s %5.0f%% %6.0f%%  %s (%s)\n", mount->fs_type,
		      size_format(total, total_text), size_format(free, free_text), space * 100,
		      inodes * 100, mount->mount_point, mount->source);
	bool nearly_full = space >= NEARLY_FULL || inodes >= NEARLY_FULL;
	if (total == 0 || (cJSON_GetArraySize(list) >= SHOWN_MAX && !nearly_full))
		return 0;
	item = cJSON_CreateObject();
	if (!item || json_set_string(item, "mountPoint", mount->mount_point) < 0 ||
	    json_set_string(item, "type", mount->fs_type) < 0 ||
	    json_set_string(item, "source", mount->source) < 0 ||
	    json_set_number(item, "totalBytes", (double)total) < 0 ||
	    json_set_number(item, "freeBytes", (double)free) < 0 ||
	    json_set_number(item, "inodes", (double)use->f_files) < 0 ||
	    json_set_number(item, "inodesFree", (double)use->f_ffree) < 0) {
		cJSON_Delete(item);
		return -ENOMEM;
	}
	if (nearly_full)
		cJSON_InsertItemInArray(list, 0, item);
	else
		cJSON_AddItemToArray(list, item);
	if (cJSON_GetArraySize(list) > SHOWN_MAX)
		cJSON_DeleteItemFromArray(list, SHOWN_MAX);
	return 0;
}

static int add_mounts(struct plugin_call *call, struct buffer *out, cJSON *answer)
{
	_cleanup_mounts_ struct mounts *mounts = NULL;
	cJSON *list = cJSON_CreateArray(), *skipped = cJSON_CreateArray();

	if (json_set(answer, "filesystems", list) < 0 || json_set(answer, "notAsked", skipped) < 0)
		return -ENOMEM;
	int r = mounts_read(call->host, *call->host->root ? 1 : 0, &mounts);
	if (r < 0)
		return plugin_fail(r, "cannot read the mount table: %s", strerror(-r));
	buffer_append_text(out, "\nTYPE            TOTAL       FREE   USED INODES  MOUNTED AT\n");
	for (size_t i = 0; i < mounts->count; i++) {
		const struct mount *mount = &mounts->items[i];
		_cleanup_free_ char *path = NULL;
		struct statvfs use;

		if (is_kernel(mount) || (is_local(mount) && seen_before(mounts, i)))
			continue;
		if (!is_local(mount) || is_behind_remote(mounts, mount)) {
			buffer_printf(out, "%-10s %35s  %s (%s)\n", mount->fs_type,
				      "not asked: it may hang", mount->mount_point, mount->source);
			cJSON *item = cJSON_CreateString(mount->mount_point);
			if (!item)
				return -ENOMEM;
			if (cJSON_GetArraySize(skipped) < SHOWN_MAX)
				cJSON_AddItemToArray(skipped, item);
			else
				cJSON_Delete(item);
			continue;
		}
		if (asprintf(&path, "%s%s", call->host->root, mount->mount_point) < 0) {
			path = NULL;
			return -ENOMEM;
		}
		if (statvfs(path, &use) == 0 && (r = add_filesystem(mount, &use, out, list)) < 0)
			return r;
	}
	return 0;
}

/* /proc/meminfo, in bytes and lower camel case: what people look at first. */
static int add_memory(const struct host *host, struct buffer *out, cJSON *answer)
{
	static const struct {
		const char *key, *name;
	} shown[] = {
		{"MemTotal:", "totalBytes"},	  {"MemAvailable:", "availableBytes"},
		{"MemFree:", "freeBytes"},	  {"Shmem:", "shmemBytes"},
		{"Slab:", "slabBytes"},		  {"SwapTotal:", "swapTotalBytes"},
		{"SwapFree:", "swapFreeBytes"},	  {"Dirty:", "dirtyBytes"},
		{"Writeback:", "writebackBytes"},
	};
	_cleanup_free_ char *text = NULL;
	cJSON *memory = cJSON_CreateObject();

	if (json_set(answer, "memory", memory) < 0)
		return -ENOMEM;
	if (file_read(host->proc, "meminfo", 64 * KIB, &text, NULL) < 0)
		return 0;
	buffer_printf(out, "\n%s", text);
	for (size_t i = 0; i < ARRAY_SIZE(shown); i++) {
		const char *line = strstr(text, shown[i].key);

		if (line && (line == text || line[-1] == '\n') &&
		    json_set_number(memory, shown[i].name,
				    strtod(line + strlen(shown[i].key), NULL) * 1024) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int add_kernel(const struct host *host, struct buffer *out, cJSON *answer)
{
	_cleanup_free_ char *version = NULL, *uptime = NULL, *load = NULL;
	double values[3];

	if (file_read(host->proc, "version", 4096, &version, NULL) == 0) {
		version[strcspn(version, "\n")] = '\0';
		buffer_printf(out, "%s\n", version);
		if (json_set_string(answer, "kernel", version) < 0)
			return -ENOMEM;
	}
	if (file_read(host->proc, "uptime", 4096, &uptime, NULL) == 0) {
		buffer_printf(out, "uptime: %s", uptime);
		if (json_set_number(answer, "uptimeSeconds", strtod(uptime, NULL)) < 0)
			return -ENOMEM;
	}
	if (file_read(host->proc, "loadavg", 4096, &load, NULL) == 0 &&
	    sscanf(load, "%lf %lf %lf", &values[0], &values[1], &values[2]) == 3) {
		buffer_printf(out, "load: %s", load);
		if (json_set(answer, "load", cJSON_CreateDoubleArray(values, 3)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int collect(struct plugin_call *call)
{
	_cleanup_json_ cJSON *answer = cJSON_CreateObject();
	_cleanup_buffer_ struct buffer text = BUFFER(ARTIFACT_BYTES_MAX);

	if (!answer || add_kernel(call->host, &text, answer) < 0 ||
	    add_memory(call->host, &text, answer) < 0)
		return -ENOMEM;
	int r = add_mounts(call, &text, answer);
	if (r < 0)
		return r;
	if (text.cut && json_set_number(answer, "bytesCut", (double)text.cut) < 0)
		return -ENOMEM;
	r = plugin_artifact(call, "host.txt", buffer_text(&text), text.length);
	if (r < 0 && r != -ENOENT)
		return plugin_fail(r, "cannot keep host.txt: %s", strerror(-r));
	return plugin_answer(call, TAKE_PTR(answer));
}

PLUGIN(host_collector) = {
	.name = "host",
	.summary = "the node: kernel, uptime, load, memory, mounts, disk and inode use",
	.kind = PLUGIN_COLLECTOR,
	.order = 70,
	.only_troubleshooting = true,
	.troubleshooting = true,
	.collect = collect,
};
