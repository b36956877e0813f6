/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of the records that shim_stall's iterator writes, and of what becomes of them over several
 * looks. An input is a row of steps, each a letter and what follows it:
 *   s, t    a shim, a process below one: its age, its length in two bytes, and what it holds behind its header
 *   e       the look is over; as many looks more, five seconds apart, see the same (one byte)
 *   n       none of those so far is seen any more
 *   x       any bytes as records, their length first
 * Process 1010 is a shim in a /proc of the target's own, with one container. No record is read beyond its
 * end, and a finding is one that can be told.
 */
#include "../iterator_target.h"

#include "detect/shim_stall.c"

#define SEEN_MAX 32
#define ID "3f4e8c1b2a7d9e0f1c2b3a495867d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9"
#define BUNDLE "/run/containerd/io.containerd.runtime.v2.task/k8s.io/" ID

static struct shim_stall state;
static struct shim_stall_settings settings = {.threshold = 6 * NS_PER_S};

/* What a look sees, and those after it again. */
static struct {
	size_t size;
	union {
		struct shim_event shim;
		struct shim_task_event task;
	} record;
} seen[SEEN_MAX];
static size_t seen_count;

static void link_to(const char *name, const char *target)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s%s", fuzz_root_path, name);
	claim(symlink(target, path) == 0, "a link can be made");
}

static void write_text(const char *name, const char *text)
{
	fuzz_root_write(name, text, strlen(text));
}

static void make_shim(void)
{
	fuzz_root_folder("/proc/1010/fd");
	fuzz_root_folder("/proc/1010/ns");
	fuzz_root_folder("/proc/1/ns");
	fuzz_root_folder(BUNDLE);
	write_text("/proc/1010/stat",
		   "1010 (containerd-shim) S 1 1010 1010 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 0 "
		   "1000000 100 18446744073709551615 0 0 0 0\n");
	write_text("/proc/1010/status",
		   "Name:\tcontainerd-shim\nTgid:\t1010\nPid:\t1010\nUid:\t0\t0\t0\t0\n");
	write_text("/proc/1010/cgroup", "0::/system.slice/containerd.service\n");
	link_to("/proc/1010/exe", "/usr/bin/containerd-shim-runc-v2");
	link_to("/proc/1010/cwd", BUNDLE);
	link_to("/proc/1010/ns/mnt", "mnt:[4026531841]");
	link_to("/proc/1/ns/mnt", "mnt:[4026531841]");
	write_text(BUNDLE "/init.pid", "1011");
	write_text(BUNDLE "/config.json", "{\"ociVersion\":\"1.1.0\",\"annotations\":{"
					  "\"io.kubernetes.cri.sandbox-name\":\"cart-7d9f\","
					  "\"io.kubernetes.cri.sandbox-namespace\":\"shop\"}}");
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_root_begin();
	make_shim();
	fuzz_detect_begin("shim_stall", &settings, &state);
	return 0;
}

static int take(const void *records, size_t size, struct shim_look *look)
{
	struct taking taking = {.run = &fuzz_slot.run, .look = look};

	return fuzz_take(take_record, &taking, records, size);
}

/* The processes of the node: those that are seen too. */
static int list_seen(struct detector_run *run, struct shim_look *look)
{
	for (size_t i = 0; i < seen_count; i++) {
		struct shim_task_event task = seen[i].record.task;

		task.flags |= SHIM_TASK_LISTED;
		int r = seen[i].size == sizeof(task) ? take(&task, sizeof(task), look) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static void look_once(void)
{
	int r = 0;

	for (size_t i = 0; i < seen_count && r == 0; i++)
		r = take(&seen[i].record, seen[i].size, &state.look);
	claim(r == 0, "whole records are taken");
	finish_look(&fuzz_slot.run, r, "the records");
	claim(!state.look.shims && !state.look.tasks, "a look is forgotten");
	fuzz_now_ns += 5 * NS_PER_S;
}

static void see(struct fuzz_input *input, uint16_t type, size_t size)
{
	if (seen_count == SEEN_MAX)
		return;
	fuzz_record(input, &seen[seen_count].record, size, type);
	seen[seen_count++].size = size;
}

static void see_raw(struct fuzz_input *input)
{
	_cleanup_shim_look_ struct shim_look look = {};
	char records[256];
	size_t size = fuzz_byte(input);

	fuzz_bytes(input, records, size);
	take(records, size, &look);
}

static void step(struct fuzz_input *input)
{
	switch (fuzz_byte(input)) {
	case 's':
		see(input, EVENT_SHIM, sizeof(struct shim_event));
		break;
	case 't':
		see(input, EVENT_SHIM_TASK, sizeof(struct shim_task_event));
		break;
	case 'x':
		see_raw(input);
		break;
	case 'n':
		seen_count = 0;
		break;
	case 'e':
		for (size_t looks = fuzz_byte(input) % 16 + 1; looks > 0; looks--)
			look_once();
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};

	fuzz_now_ns = 100000 * NS_PER_S;
	seen_count = 0;
	state = (struct shim_stall){.common.list_processes = list_seen};
	claim(start_watch(&fuzz_slot.run, PERIOD_MIN_NS) == 0, "there is memory");
	for (size_t steps = 0; input.size && steps < 64; steps++)
		step(&input);
	look_once();
	stop(&fuzz_slot.run);
	return 0;
}
