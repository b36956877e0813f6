/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of the records in the ring, whatever the programs in the kernel wrote: a newer agent's may
 * still be at work. An input is a row of steps, each a letter and what follows it:
 *   o, c, k   a record of an OOM kill, a crash, a line of the kernel's log: its age, its length in two
 *             bytes, and what it holds behind its header; what that lacks is 0
 *   r         any bytes as a record, their length first
 *   l         seconds that go by, in one byte; then every detector looks
 * No record is read beyond its end, and every finding becomes an Abnormal that can be stored and read.
 */
#include "../detect_source.h"
#include "../fuzz_root.h"

/* With its state, which cannot be made without a kernel that takes the programs. */
#include "detect/process_crash.c"

#include "core/abnormal.h"
#include "detect/kernel_log.h"
#include "detect/oom.h"
#include "sources/source.h"

enum { OOM, CRASH, LINE, SLOTS };

static struct detect detect;
static struct slot slots[SLOTS];
static struct ring *ring;
static int events_fd = -1, lost_fd = -1;

static void check_finding(void *userdata, struct finding *finding)
{
	_cleanup_abnormal_ struct abnormal *abnormal = NULL, *again = NULL;
	_cleanup_free_ char *text = NULL;
	struct problem problem = {};

	fuzz_check_finding(finding);
	if (finding->cleared)
		return;
	if (kernel_events_abnormal(finding, &abnormal, &problem) < 0) {
		fprintf(stderr, "%s: %s\n", problem.field, problem.text);
		claim(false, "a finding is an Abnormal");
	}
	claim(abnormal_print(abnormal, &text) == 0 && strlen(text) <= ABNORMAL_BYTES_MAX,
	      "which is not too large");
	claim(abnormal_parse(text, strlen(text), &again, NULL) == 0,
	      "what is stored can be read again");
}

/* As detect.c does it. */
static struct slot *slot_of(uint16_t type)
{
	for (size_t i = 0; i < SLOTS; i++)
		for (const uint16_t *t = slots[i].run.detector->event_types; *t != EVENT_NONE; t++)
			if (*t == type)
				return &slots[i];
	return NULL;
}

static size_t size_of(void *userdata, uint16_t type)
{
	const struct slot *slot = slot_of(type);

	return slot ? MAX(slot->run.detector->event_size, sizeof(struct event_header)) : 0;
}

static void on_record(void *userdata, const struct event_header *header)
{
	struct slot *slot = slot_of(header->type);

	slot->run.detector->event(&slot->run, header);
}

/* Of its own size, so that a read beyond its end is seen. */
static void take(const void *record, size_t length)
{
	_cleanup_free_ void *copy = malloc(length);
	const struct event_header *header = copy;

	claim(copy, "there is memory");
	memcpy(copy, record, length);
	if (ring) {
		ring_take(ring, copy, length);
		return;
	}
	/* Without the right to make a ring its check stands for it. */
	size_t size = length < sizeof(*header) ? 0 : size_of(NULL, header->type);
	if (size && event_check(copy, length, size) == 0)
		on_record(NULL, header);
}

static void end(void)
{
	container_registry_free(detect.containers);
	ring_free(ring);
	closep(&events_fd);
	closep(&lost_fd);
}

/* Stays without one where there is no right to make maps. */
static void make_ring(void)
{
	struct ring_options options = {
		.host = fuzz_host, .size_of = size_of, .on_record = on_record};
	char reason[REASON_SIZE];

	events_fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "events", 0, 0, 4096, NULL);
	lost_fd = bpf_map_create(BPF_MAP_TYPE_PERCPU_ARRAY, "lost", sizeof(uint32_t),
				 sizeof(uint64_t), EVENT_TYPE_COUNT, NULL);
	options.events_fd = events_fd;
	options.lost_fd = lost_fd;
	if (events_fd < 0 || lost_fd < 0 || ring_new(&options, &ring, reason, sizeof(reason)) < 0)
		ring = NULL;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char core_pattern[] = "|/usr/lib/systemd/systemd-coredump %P\n",
			  vmstat[] = "oom_kill 0\n", meminfo[] = "MemTotal: 4096 kB\n";

	fuzz_root_begin();
	fuzz_root_folder("/dev");
	fuzz_root_folder("/proc/sys/kernel");
	fuzz_root_write("/dev/kmsg", "", 0);
	fuzz_root_write("/proc/vmstat", vmstat, strlen(vmstat));
	fuzz_root_write("/proc/meminfo", meminfo, strlen(meminfo));
	fuzz_root_write("/proc/sys/kernel/core_pattern", core_pattern, strlen(core_pattern));
	log_set_level(LOG_LEVEL_ERROR);
	make_ring();
	claim(container_registry_new(fuzz_host, &detect.containers) == 0, "there is memory");
	detect.options = (struct detect_options){
		.host = fuzz_host, .clock = &fuzz_clock, .on_finding = check_finding};
	atexit(end);
	return 0;
}

/* On the rung that takes no kernel: what a record meets there is the same. */
static void start(struct slot *slot, const char *name, const char *settings)
{
	struct ground ground = {.host = fuzz_host, .capabilities = -EPERM};
	_cleanup_json_ cJSON *json = cJSON_Parse(settings);

	*slot = (struct slot){.run = {.detector = fuzz_detector(name),
				      .host = fuzz_host,
				      .clock = &fuzz_clock,
				      .containers = detect.containers,
				      .detect = &detect}};
	slot->hooks = calloc(hook_count(slot->run.detector), sizeof(*slot->hooks));
	claim(slot->hooks && slot_start(slot, json, &ground) == 0, "there is memory");
}

static void start_crash(void)
{
	struct slot *slot = &slots[CRASH];
	struct crash_state *state = calloc(1, sizeof(*state));

	start(slot, "process_crash", "{}");
	const struct crash_programs_options options = {.run = &slot->run,
						       .settings = slot->run.settings,
						       .read_folded = read_folded,
						       .read_told = read_told,
						       .write_told = write_told,
						       .userdata = state};
	claim(state && crash_programs_new(&options, &state->programs) == 0, "there is memory");
	slot->run.state = state;
}

static void stop_all(void)
{
	for (size_t i = 0; i < SLOTS; i++) {
		slot_stop(&slots[i]);
		cJSON_Delete(slots[i].configured);
		free(slots[i].hooks);
	}
}

static void take_line(struct fuzz_input *input)
{
	struct kernel_line_event event;

	fuzz_record(input, &event, sizeof(event), EVENT_KERNEL_LINE);
	event.length = (uint32_t)strnlen(event.text, sizeof(event.text));
	event.header.size = (uint32_t)(offsetof(struct kernel_line_event, text) + event.length);
	take(&event, event.header.size);
}

static void take_raw(struct fuzz_input *input)
{
	uint8_t record[256];
	size_t length = fuzz_byte(input);

	fuzz_bytes(input, record, length);
	take(record, length);
}

static void look_all(uint64_t seconds)
{
	fuzz_now_ns += seconds * NS_PER_S;
	for (size_t i = 0; i < SLOTS; i++)
		slots[i].run.detector->look(&slots[i].run);
}

static void step(struct fuzz_input *input)
{
	struct process_crash_event crash;
	struct oom_event oom;

	switch (fuzz_byte(input)) {
	case 'o':
		fuzz_record(input, &oom, sizeof(oom), EVENT_OOM_KILL);
		take(&oom, sizeof(oom));
		break;
	case 'c':
		fuzz_record(input, &crash, sizeof(crash), EVENT_PROCESS_CRASH);
		take(&crash, sizeof(crash));
		break;
	case 'k':
		take_line(input);
		break;
	case 'r':
		take_raw(input);
		break;
	case 'l':
		look_all(fuzz_byte(input));
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {data, size};

	fuzz_now_ns = 100000 * NS_PER_S;
	start(&slots[OOM], "oom", "{\"hook\":\"poll/vmstat\"}");
	start(&slots[LINE], "kernel_log", "{\"hook\":\"poll/kmsg\"}");
	start_crash();
	for (size_t steps = 0; input.size && steps < 200; steps++)
		step(&input);
	stop_all();
	return 0;
}
