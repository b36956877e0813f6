/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The detectors together: one ring for all, one slot each, and the way of a finding out. Owns the
 * ring, the slots and what is known of the containers; leaves the ladder to slot.c and what a record means to the detector.
 */
#include "detect/detect.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <malloc.h>
#include <sys/vfs.h>

#include <bpf/bpf.h>

#include "base/file.h"
#include "detect/libbpf_words.h"
#include "detect/slot.h"

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

void detector_report(struct detector_run *run, struct finding *finding)
{
	struct slot *slot = (struct slot *)run;
	struct detect *detect = run->detect;
	uint64_t lost = slot_lost(slot);

	if (lost > slot->lost_told && finding->event &&
	    json_set_number(finding->event, "lost", (double)(lost - slot->lost_told)) == 0)
		slot->lost_told = lost;
	slot->events++;
	if (detect->options.on_finding)
		detect->options.on_finding(detect->options.userdata, finding);
	finding_clear(finding);
}

static int share_map(struct bpf_object *object, const char *name, int fd)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);

	return map ? bpf_map__reuse_fd(map, fd) : 0;
}

int detector_share_maps(const struct detector_run *run, struct bpf_object *object)
{
	int r = share_map(object, "events", run->ring_fd);

	return r < 0 ? r : share_map(object, "lost", run->lost_fd);
}

/* --- Pins --- */

/* Whether FOLDER, or the nearest above it that there is, lies in a BPF file system. */
static bool in_bpffs(const char *folder)
{
	_cleanup_free_ char *path = strdup(folder);
	struct statfs status;

	while (path && statfs(path, &status) < 0) {
		char *slash = strrchr(path, '/');

		if (errno != ENOENT || !slash || slash == path)
			return false;
		*slash = '\0';
	}
	return path && status.f_type == BPF_FS_MAGIC;
}

static int pin_lost_in(struct detect *detect, const char *folder)
{
	int r = in_bpffs(folder) ? directory_make(folder, 0700) : -EXDEV;

	if (r < 0)
		return r;
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s/lost", folder) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	/* What an agent that was killed left behind shows counters that nothing moves any more. */
	unlink(path);
	if (bpf_obj_pin(ring_lost_fd(detect->ring), path) < 0)
		return -errno;
	detect->lost_pin = TAKE_PTR(path);
	return 0;
}

/* Shows the loss counters under the pin folder, for bpftool. Nothing here depends on it. */
static void pin_lost(struct detect *detect)
{
	const char *folder = detect->options.bpffs;
	int r = folder && detect->ring ? pin_lost_in(detect, folder) : 0;

	if (r < 0)
		log_info("not pinning BPF maps under %s: %s; all else works without (to have them: "
			 "mount -t bpf bpf /sys/fs/bpf, or --bpffs DIR)",
			 folder, r == -EXDEV ? "it is not in a BPF file system" : strerror(-r));
}

static void unpin_lost(struct detect *detect)
{
	if (!detect->lost_pin)
		return;
	unlink(detect->lost_pin);
	/* The folder too, unless anything else is in it. */
	*strrchr(detect->lost_pin, '/') = '\0';
	rmdir(detect->lost_pin);
	free(detect->lost_pin);
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
		.ring_fd = detect->ring ? ring_events_fd(detect->ring) : -1,
		.lost_fd = detect->ring ? ring_lost_fd(detect->ring) : -1,
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

int detect_start(const struct detect_options *options, struct detect **ret_detect)
{
	_cleanup_(detect_freep) struct detect *detect = calloc(1, sizeof(*detect));
	_cleanup_ground_ struct ground ground = {};

	if (!detect)
		return -ENOMEM;
	libbpf_words_take();
	detect->options = *options;
	struct ring_options ring_options = {
		.event = options->event,
		.bytes = options->ring_bytes,
		.size_of = record_size_of,
		.on_record = on_record,
		.userdata = detect,
	};
	ring_new(&ring_options, &detect->ring, detect->ring_reason, sizeof(detect->ring_reason));
	pin_lost(detect);
	detect->options.settings = NULL; /* these two are not ours to keep */
	detect->options.bpffs = NULL;
	int r = watch_containers(detect);

	if (r == 0)
		r = make_slots(detect);
	if (r < 0)
		return r;
	ground_read(&ground, options->host);
	for (size_t i = 0; i < detect->slot_count; i++) {
		struct slot *slot = &detect->slots[i];

		r = slot_start(slot,
			       cJSON_GetObjectItemCaseSensitive(options->settings,
								slot->run.detector->name),
			       &ground);
		if (r < 0)
			return r;
	}
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
	unpin_lost(detect);
	ring_free(detect->ring);
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
