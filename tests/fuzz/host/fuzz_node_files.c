/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of the kernel's files about the node: processes, mounts, symbols, pressure, disks and
 * control groups. The first byte says which, the first line ends with it; where that takes several files,
 * lines of three dashes are between them. Names can be printed, what is found was there, and counters
 * become JSON that can be written and read.
 */
#include "../fuzz_root.h"

#include "host/blockdev.h"
#include "host/cgroup.h"
#include "host/cgroup_freezer.h"
#include "host/kallsyms.h"
#include "host/mounts.h"
#include "host/pressure.h"
#include "host/process.h"

#define PROCESS "/proc/7"
#define GROUP "/sys/fs/cgroup/group"
#define DISK "/sys/block/sda"

static const char mountinfo[] =
	"30 23 0:26 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n";

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char *const folders[] = {PROCESS, "/proc/1", "/proc/pressure", GROUP, DISK};

	fuzz_root_begin();
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		fuzz_root_folder(folders[i]);
	fuzz_root_write("/proc/1/mountinfo", mountinfo, strlen(mountinfo));
	fuzz_root_write("/sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n", 16);
	return 0;
}

/* Writes the next parts of INPUT to the files NAMES, as long as there are any. */
static void write_parts(struct fuzz_input *input, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t length;
		_cleanup_free_ char *part = fuzz_part(input, &length);

		fuzz_root_write(names[i], part, length);
	}
}

static void fuzz_process(struct fuzz_input *input)
{
	static const char *const names[] = {PROCESS "/stat", PROCESS "/status", PROCESS "/cgroup"};
	struct process process, *list = NULL;
	size_t count = 0;

	write_parts(input, names, ARRAY_SIZE(names));
	_cleanup_free_ char *cgroup = process_cgroup(fuzz_host, 7);
	claim(!cgroup || *cgroup == '/', "a control group is a path");
	int r = process_read(fuzz_host, 7, &process);
	claim(process_list(fuzz_host, &list, &count) < 0 || (count == 1) == (r == 0),
	      "the processes are those that can be read");
	free(list);
	if (r < 0)
		return;
	_cleanup_json_ cJSON *json = process_json(&process);
	claim(process.pid == 7, "it is the process that was asked for");
	claim_plain(process.comm);
	claim_json(json);
}

static void fuzz_mounts(struct fuzz_input *input)
{
	static const char *const names[] = {PROCESS "/mountinfo"};
	_cleanup_mounts_ struct mounts *mounts = NULL;

	write_parts(input, names, ARRAY_SIZE(names));
	if (mounts_read(fuzz_host, 7, &mounts) < 0)
		return;
	for (size_t i = 0; i < mounts->count; i++) {
		const struct mount *mount = &mounts->items[i];
		const struct mount *found = mounts_find_device(mounts, mount->major, mount->minor);

		claim(mount->root && mount->mount_point && mount->fs_type && mount->source &&
			      mount->options,
		      "a mount is known as a whole");
		claim(found && found->major == mount->major && found->minor == mount->minor,
		      "its device is found");
	}
}

static void fuzz_symbols(struct fuzz_input *input)
{
	static const char *const names[] = {"/proc/kallsyms"};
	static const uint64_t addresses[] = {0xffffffff81000010, 0xffffffff81000000, 1, UINT64_MAX};
	static const char *const functions[] = {"schedule", "submit_bio_wait", "x"};
	struct kernel_range ranges[ARRAY_SIZE(functions)] = {};
	char *resolved[ARRAY_SIZE(addresses)] = {};

	write_parts(input, names, ARRAY_SIZE(names));
	int r = kallsyms_resolve(fuzz_host, addresses, ARRAY_SIZE(addresses), resolved);
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		claim(r < 0 || resolved[i], "every address has a name, if only its number");
		free(resolved[i]);
	}
	if (kallsyms_ranges(fuzz_host, functions, ARRAY_SIZE(functions), ranges) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
		claim(ranges[i].start ? ranges[i].end > ranges[i].start : !ranges[i].end,
		      "a function that is there has a length");
}

static void fuzz_pressure(struct fuzz_input *input)
{
	static const char *const names[] = {"/proc/pressure/cpu", "/proc/pressure/io"};

	write_parts(input, names, ARRAY_SIZE(names));
	_cleanup_json_ cJSON *json = pressure_node(fuzz_host);
	if (json)
		claim_json(json);
}

static void fuzz_disks(struct fuzz_input *input)
{
	static const char *const names[] = {DISK "/dev", DISK "/stat"};
	_cleanup_free_ struct blockdev *disks = NULL;
	size_t count = 0;

	write_parts(input, names, ARRAY_SIZE(names));
	if (blockdev_list(fuzz_host, &disks, &count) < 0)
		return;
	claim(count <= 1, "there is one disk at most");
	claim(count == 0 || streq(disks->name, "sda"), "which has its name");
}

static void check_freezer(const char *path)
{
	enum cgroup_version version;
	struct cgroup_freezer freezer;
	_cleanup_close_ int fd = cgroup_open(fuzz_host, "freezer", path, &version);

	claim(fd >= 0 && version == CGROUP_V2, "the group is there");
	if (cgroup_freezer_read(fd, version, &freezer) == 0)
		claim(streq(cgroup_freezer_state(&freezer, version),
			    freezer.complete ? "frozen" : "freezing"),
		      "its state is called as the kernel does");
}

/* A text that a file of the kernel holds is what it is; it is made readable when it is written. */
static void claim_counters(const cJSON *json)
{
	_cleanup_free_ char *text = json ? json_print(json) : NULL;
	_cleanup_json_ cJSON *again = NULL;

	claim(text && json_parse(text, strlen(text), &again, NULL) == 0, "counters can be read");
	_cleanup_free_ char *text_again = json_print(again);
	claim(streq_ptr(text, text_again), "they are the same");
}

static void fuzz_group(struct fuzz_input *input)
{
	static const char *const names[] = {
		GROUP "/memory.current", GROUP "/memory.max",	 GROUP "/memory.events",
		GROUP "/cpu.stat",	 GROUP "/cgroup.events", GROUP "/cgroup.freeze",
		GROUP "/cgroup.procs",	 GROUP "/pids.max",	 GROUP "/memory.pressure"};
	_cleanup_json_ cJSON *json = NULL;
	_cleanup_free_ int64_t *pids = NULL;
	struct cgroup_memory memory;
	size_t count = 0;

	write_parts(input, names, ARRAY_SIZE(names));
	json = cgroup_counters(fuzz_host, "/group");
	claim_counters(json);
	if (cgroup_memory_read(fuzz_host, "/group", &memory) == 0)
		claim(memory.version == CGROUP_V2, "the hierarchy is the one that is mounted");
	if (cgroup_processes(fuzz_host, "pids", "/group", &pids, &count) == 0)
		claim(!count || pids, "processes are a list");
	check_freezer("/group");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};
	uint8_t which = fuzz_byte(&input);

	fuzz_byte(&input); /* the end of the line */
	switch (which) {
	case 'p':
		fuzz_process(&input);
		break;
	case 'm':
		fuzz_mounts(&input);
		break;
	case 'k':
		fuzz_symbols(&input);
		break;
	case 's':
		fuzz_pressure(&input);
		break;
	case 'd':
		fuzz_disks(&input);
		break;
	case 'g':
		fuzz_group(&input);
		break;
	default:
		break;
	}
	return 0;
}
