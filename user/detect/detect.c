/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The detectors together: one ring for all, one slot each, and the way of a finding out. Owns the
 * ring, the slots and what is known of the containers; leaves the ladder to slot.c, what outlives the
 * agent to pins.c, and what a record means to the detector.
 */
#include "detect/detect.h"

#include <inttypes.h>
#include <malloc.h>

#include "detect/libbpf_words.h"
#include "detect/slot.h"
#include "detect/triage.h"

static size_t record_size_of(void *userdata, uint16_t type)
{
	const struct detect *detect = userdata;
	const struct slot *slot = type < EVENT_TYPE_COUNT ? detect->by_type[type] : NULL;

	/* A detector that was just stopped may still have records in the ring. */
	return slot ? MAX(slot->run.detector->event_size, sizeof(struct event_header)) : 0;
}

static void on_record(void *userdata, const struct event_header *header)
{
	struct detect *detect = userdata;
	struct slot *slot = detect->by_type[header->type];

	if (slot->started && slot->run.detector->event)
		slot->run.detector->event(&slot->run, header);
}

/* --- Findings and the records that they are made of --- */

/* What was lost and not told yet goes with the finding. */
static void tell_lost(struct slot *slot, struct finding *finding)
{
	const uint16_t *type = slot->run.detector->event_types;
	struct detect *detect = slot->run.detect;
	uint64_t untold = slot->run.lost - slot->own_lost_told;

	for (; detect->ring && type && *type != EVENT_NONE; type++)
		untold += ring_lost(detect->ring, *type) - pins_lost_told(detect->pins, *type);
	if (!untold || !finding->event ||
	    json_set_number(finding->event, "lost", (double)untold) < 0)
		return;
	slot->own_lost_told = slot->run.lost;
	for (type = slot->run.detector->event_types; detect->ring && type && *type != EVENT_NONE;
	     type++)
		pins_set_lost_told(detect->pins, *type, ring_lost(detect->ring, *type));
}

/* The finding says which record it is of, and keeps it, or the oldest that it may be made of. */
static void keep_record(const struct slot *slot, struct finding *finding)
{
	struct ring *ring = slot->run.detect->ring;
	char text[RING_RECORD_TEXT_SIZE];

	if (!ring)
		return;
	if (!finding->record)
		finding->record = ring_current(ring);
	if (finding->record && finding->record != FINDING_NO_RECORD && finding->event)
		json_set_string(finding->event, "record",
				ring_record_text(ring, finding->record, text));
	finding->receipt = slot->run.held ?: ring_current(ring);
	ring_keep(ring, finding->receipt);
}

void detector_report(struct detector_run *run, struct finding *finding)
{
	struct slot *slot = (struct slot *)run;
	struct detect *detect = run->detect;

	tell_lost(slot, finding);
	keep_record(slot, finding);
	slot->events++;
	if (detect->options.on_finding)
		detect->options.on_finding(detect->options.userdata, finding);
	detect_settle(detect, finding->receipt);
	finding_clear(finding);
}

void detect_settle(struct detect *detect, uint64_t receipt)
{
	if (detect->ring && receipt)
		ring_release(detect->ring, receipt);
}

uint64_t detector_record(const struct detector_run *run)
{
	return run->detect && run->detect->ring ? ring_current(run->detect->ring) : 0;
}

/* The oldest one keeps all that come after it. */
void detector_hold(struct detector_run *run)
{
	uint64_t record = detector_record(run);

	if (run->held || !record)
		return;
	run->held = record;
	ring_keep(run->detect->ring, record);
}

void detector_told(struct detector_run *run)
{
	if (run->held)
		detect_settle(run->detect, run->held);
	run->held = 0;
}

/* --- Loading and attaching --- */

static int share_maps(struct detector_run *run, struct bpf_object *object)
{
	struct slot *slot = (struct slot *)run;
	struct pins *pins = run->detect->pins;
	int r = pins_share(pins, object);

	return r < 0 ? r
		     : pins_new_generation(pins, run->detector->name, run->detector->event_types,
					   object, &slot->generation);
}

int detector_load(struct detector_run *run, struct bpf_object_skeleton *skeleton, const char *what,
		  char *reason, size_t reason_size)
{
	int r = share_maps(run, *skeleton->obj);

	if (r < 0)
		return detector_fail(reason, reason_size, r, "sharing the maps of %s", what);
	r = bpf_object__load_skeleton(skeleton);
	return r < 0 ? detector_fail(reason, reason_size, r, "loading %s", what) : 0;
}

int detector_fail_unmapped(char *reason, size_t reason_size)
{
	return detector_fail(reason, reason_size, -EOPNOTSUPP,
			     "mapping the BPF object's variables");
}

int detector_attach(struct detector_run *run, struct bpf_program *program,
		    struct bpf_link **ret_link)
{
	const struct slot *slot = (const struct slot *)run;
	struct bpf_link *link = bpf_program__attach(program);

	if (!link)
		return -errno;
	int r = pins_link(run->detect->pins, run->detector->name, bpf_program__name(program),
			  slot->generation, link);

	if (r < 0) {
		bpf_link__destroy(link);
		return r;
	}
	*ret_link = link;
	return 0;
}

void detector_detach(const struct detector_run *run, struct bpf_link *link)
{
	int fd = link && bpf_link__pin_path(link) ? bpf_link__fd(link) : -1;

	/* Destroying a link of a perf event also switches the event off, pinned or not. */
	if (fd >= 0)
		bpf_link__disconnect(link);
	bpf_link__destroy(link);
	closep(&fd);
}

/* --- Containers --- */

/* Whoever has no containers is not woken for them, or nearly so. */
#define CONTAINERS_REFRESH_USEC (5 * NS_PER_S / NS_PER_US)
#define CONTAINERS_AWAIT_USEC (60 * NS_PER_S / NS_PER_US)

static int on_containers(sd_event_source *timer, uint64_t usec _unused_, void *userdata)
{
	struct detect *detect = userdata;
	int r = container_registry_refresh(detect->containers);
	uint64_t delay = r == 0 ? CONTAINERS_AWAIT_USEC : CONTAINERS_REFRESH_USEC;

	if (r < 0 && !detect->containers_too_many) {
		detect->containers_too_many = true;
		log_warning("Not all containers of this node can be remembered: %s; findings on "
			    "those that are gone may lack the names of pod and container",
			    r == -ENOSPC ? "there are too many" : strerror(-r));
	}
	sd_event_source_set_time_relative(timer, delay);
	return sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

static int watch_containers(struct detect *detect)
{
	int r = container_registry_new(detect->options.host, &detect->containers);

	if (r < 0 || !detect->options.event)
		return r;
	r = sd_event_add_time_relative(detect->options.event, &detect->containers_timer,
				       CLOCK_MONOTONIC, 0, NS_PER_S / NS_PER_US, on_containers,
				       detect);
	if (r < 0)
		return r;
	sd_event_source_set_description(detect->containers_timer, "containers");
	return 0;
}

/* --- Start and stop --- */

static int slot_init(struct slot *slot, struct detect *detect, const struct detector *detector)
{
	slot->run = (struct detector_run){
		.detector = detector,
		.host = detect->options.host,
		.clock = detect->options.clock,
		.containers = detect->containers,
		.detect = detect,
	};
	slot->hooks = calloc(hook_count(detector), sizeof(*slot->hooks));
	if (!slot->hooks)
		return -ENOMEM;
	for (const uint16_t *type = detector->event_types; type && *type != EVENT_NONE; type++)
		if (*type < EVENT_TYPE_COUNT)
			detect->by_type[*type] = slot;
	return 0;
}

static int make_slots(struct detect *detect)
{
	size_t count = 0;

	FOREACH_REGISTERED (detectors, struct detector, detector)
		count += detector != NULL;
	detect->slots = calloc(MAX(count, (size_t)1), sizeof(*detect->slots));
	if (!detect->slots)
		return -ENOMEM;
	FOREACH_REGISTERED (detectors, struct detector, detector) {
		int r = slot_init(&detect->slots[detect->slot_count++], detect, detector);

		if (r < 0)
			return r;
	}
	return 0;
}

static bool is_started(void *userdata, const char *detector)
{
	const struct detect *detect = userdata;

	for (size_t i = 0; i < detect->slot_count; i++)
		if (streq(detect->slots[i].run.detector->name, detector))
			return detect->slots[i].started;
	return false;
}

static void settle_pins(struct detect *detect)
{
	char reason[REASON_SIZE];

	pins_settle(detect->pins, is_started, detect);
	if (triage_pin(detect->pins, reason, sizeof(reason)) < 0)
		log_info("Without an agent, %s shows maps but no tables of hung tasks, zombies and "
			 "shims: %s",
			 pins_folder(detect->pins), reason);
}

static int open_ring(struct detect *detect, const struct detect_options *options,
		     struct problem *problem)
{
	struct pins_options pins_options = {.folder = options->bpffs,
					    .ring_bytes = options->ring_bytes};
	struct ring_options ring_options = {
		.event = options->event,
		.host = options->host,
		.size_of = record_size_of,
		.on_record = on_record,
		.userdata = detect,
	};
	char *reason = detect->ring_reason;
	int r = pins_open(&pins_options, &detect->pins, reason, sizeof(detect->ring_reason));

	if (r == -EBUSY)
		return problem_set(problem, r, "bpffs", "%s", reason);
	if (r < 0)
		return 0; /* detectors that need no BPF work, and the others say why they do not */
	if (options->bpffs && !pins_folder(detect->pins))
		log_info("Nothing is pinned under %s: %s; what happens while no agent runs is not "
			 "seen, and there is nothing to look at with bpftool (to have both: mount "
			 "-t bpf bpf /sys/fs/bpf, or --bpffs DIR)",
			 options->bpffs, reason);
	if (pins_waiting(detect->pins) > 0)
		log_info("%" PRIu64 " events that came while no agent ran, or were on their way "
			 "when the last one ended, are read now",
			 pins_waiting(detect->pins));
	ring_options.events_fd = pins_events_fd(detect->pins);
	ring_options.lost_fd = pins_lost_fd(detect->pins);
	ring_new(&ring_options, &detect->ring, reason, sizeof(detect->ring_reason));
	return 0;
}

int detect_start(const struct detect_options *options, struct detect **ret_detect,
		 struct problem *problem)
{
	_cleanup_(detect_freep) struct detect *detect = calloc(1, sizeof(*detect));
	_cleanup_ground_ struct ground ground = {};

	if (!detect)
		return problem_set(problem, -ENOMEM, NULL, "out of memory");
	libbpf_words_take();
	detect->options = *options;
	detect->options.settings = NULL; /* these two are not ours to keep */
	detect->options.bpffs = NULL;
	int r = open_ring(detect, options, problem);

	if (r < 0)
		return r;
	r = watch_containers(detect);
	if (r == 0)
		r = make_slots(detect);
	ground_read(&ground, options->host);
	for (size_t i = 0; r == 0 && i < detect->slot_count; i++) {
		struct slot *slot = &detect->slots[i];

		r = slot_start(slot,
			       cJSON_GetObjectItemCaseSensitive(options->settings,
								slot->run.detector->name),
			       &ground);
	}
	if (r < 0)
		return problem_set(problem, r, NULL, "%s", strerror(-r));
	if (detect->pins)
		settle_pins(detect);
	/* Reading BTF took megabytes for a moment; malloc would keep them for good. */
	ground_clear(&ground);
	malloc_trim(0);
	*ret_detect = TAKE_PTR(detect);
	return 0;
}

void detect_free(struct detect *detect)
{
	if (!detect)
		return;
	for (size_t i = 0; i < detect->slot_count; i++) {
		struct slot *slot = &detect->slots[i];

		if (slot->hooks)
			slot_stop(slot);
		cJSON_Delete(slot->configured);
		free(slot->hooks);
	}
	free(detect->slots);
	sd_event_source_disable_unref(detect->containers_timer);
	container_registry_free(detect->containers);
	ring_free(detect->ring);
	pins_close(detect->pins);
	free(detect);
}

int detect_reconfigure(struct detect *detect, const cJSON *settings)
{
	_cleanup_ground_ struct ground ground = {};
	bool ground_known = false;

	for (size_t i = 0; i < detect->slot_count; i++) {
		struct slot *slot = &detect->slots[i];
		const cJSON *wanted =
			cJSON_GetObjectItemCaseSensitive(settings, slot->run.detector->name);

		if (json_equal(wanted, slot->configured))
			continue;
		if (!ground_known)
			ground_read(&ground, detect->options.host);
		ground_known = true;
		slot_stop(slot);
		int r = slot_start(slot, wanted, &ground);

		if (r < 0)
			return r;
	}
	if (ground_known) {
		ground_clear(&ground);
		malloc_trim(0);
	}
	return 0;
}

uint64_t detect_malformed(const struct detect *detect)
{
	return detect->ring ? ring_malformed(detect->ring) : 0;
}
