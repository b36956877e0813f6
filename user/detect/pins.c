/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The maps that outlive the agent, made or taken over. Leaves the folder to pin_folder.c, what is attached
 * to pins_links.c, and the records in the ring to ring.c.
 */
#include "detect/pins.h"

#include <bpf/bpf.h>
#include <inttypes.h>

#include "detect/detector.h"
#include "detect/pin_folder.h"
#include "detect/ring_view.h"

#include "shared.skel.h"

struct pins {
	char *folder; /* NULL: nothing is pinned */
	int lock; /* the open folder */
	struct shared_bpf *shared;
	struct agent_record record; /* as in the map `agent` */
	uint64_t waiting;
	/* What a former agent of another version left: its ring, until its programs are detached. */
	int foreign_ring;
	uint32_t foreign_version;
};

static int take_folder(struct pins *pins, const char *folder, char *reason, size_t reason_size)
{
	int r = pins->lock = pin_folder_take(folder);

	if (r == -EBUSY) {
		snprintf(reason, reason_size,
			 "another agent (pid %d) has %s: stop it, or give this one a folder of its "
			 "own with --bpffs",
			 pin_folder_holder(folder), folder);
		return r;
	}
	if (r < 0) {
		snprintf(reason, reason_size, "%s",
			 r == -EXDEV	? "it is not in a BPF file system"
			 : r == -EISDIR ? "it is the BPF file system itself, not a folder in it"
					: strerror(-r));
		return 0;
	}
	pins->folder = strdup(folder);
	return pins->folder ? 0 : -ENOMEM;
}

/* --- Maps --- */

static bool map_is_alike(const struct bpf_map *map, int fd)
{
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && info.type == bpf_map__type(map) &&
	       info.key_size == bpf_map__key_size(map) &&
	       info.value_size == bpf_map__value_size(map) &&
	       info.max_entries == bpf_map__max_entries(map) &&
	       info.map_flags == bpf_map__map_flags(map);
}

/*
 * A map that is to be pinned goes to its place in the folder. What is there already and is not alike
 * gives way; what is alike, libbpf uses again.
 */
static int place_map(const struct pins *pins, struct bpf_map *map)
{
	char path[PIN_PATH_MAX];

	if (!pins->folder)
		return bpf_map__set_pin_path(map, NULL);
	pin_path(path, "%s/%s", pins->folder, bpf_map__name(map));
	_cleanup_close_ int fd = bpf_obj_get(path);

	if (fd < 0 ? errno != ENOENT : !map_is_alike(map, fd))
		unlink(path);
	return bpf_map__set_pin_path(map, path);
}

static int place_maps(const struct pins *pins, struct bpf_object *object)
{
	struct bpf_map *map;
	int r = 0;

	bpf_object__for_each_map (map, object)
		if (r == 0 && bpf_map__pin_path(map))
			r = place_map(pins, map);
	return r;
}

/*
 * What a former agent left is taken over if its records can be read. If not, its ring is kept at hand
 * until its programs are detached, and what is pinned beside makes room.
 */
static void examine_left(struct pins *pins, size_t ring_bytes)
{
	struct agent_record record;
	char path[PIN_PATH_MAX];
	_cleanup_close_ int agent =
		pins->folder ? pin_folder_read_record(pins->folder, &record) : -ENOENT;

	if (agent < 0)
		return;
	_cleanup_close_ int ring = bpf_obj_get(pin_path(path, "%s/events", pins->folder));
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info);

	if (record.version == EVENTS_VERSION && record.size == sizeof(record) && ring >= 0 &&
	    bpf_obj_get_info_by_fd(ring, &info, &size) == 0 && info.max_entries == ring_bytes)
		return;
	pins->foreign_ring = TAKE_FD(ring);
	pins->foreign_version = record.version;
	for (size_t i = 0; pin_shared_names[i]; i++)
		unlink(pin_path(path, "%s/%s", pins->folder, pin_shared_names[i]));
}

static int write_record(const struct pins *pins)
{
	uint32_t key = 0;

	return bpf_map_update_elem(bpf_map__fd(pins->shared->maps.agent), &key, &pins->record,
				   BPF_ANY);
}

static int introduce(struct pins *pins)
{
	uint32_t key = 0;

	/* A new map has zeroes; one that was taken over, what was told of its losses. */
	if (bpf_map_lookup_elem(bpf_map__fd(pins->shared->maps.agent), &key, &pins->record) < 0)
		return -errno;
	pins->record.version = EVENTS_VERSION;
	pins->record.size = sizeof(pins->record);
	pins->record.pid = (uint32_t)getpid();
	pins->record.start_boot_ns = clock_boot(clock_system());
	return write_record(pins);
}

static int make_maps(struct pins *pins, size_t ring_bytes)
{
	pins->shared = shared_bpf__open();
	if (!pins->shared)
		return -errno;
	struct bpf_map *events = pins->shared->maps.events;
	int r = ring_bytes ? bpf_map__set_max_entries(events, (uint32_t)ring_bytes) : 0;

	examine_left(pins, bpf_map__max_entries(events));
	if (r == 0)
		r = place_maps(pins, pins->shared->obj);
	if (r == 0)
		r = shared_bpf__load(pins->shared);
	return r < 0 ? r : introduce(pins);
}

int pins_open(const struct pins_options *options, struct pins **ret_pins, char *reason,
	      size_t reason_size)
{
	_cleanup_(pins_closep) struct pins *pins = calloc(1, sizeof(*pins));

	if (!pins)
		return detector_fail(reason, reason_size, -ENOMEM, "sharing BPF maps");
	pins->lock = pins->foreign_ring = -1;
	int r = take_folder(pins, options->folder, reason, reason_size);

	if (r < 0)
		return r;
	r = make_maps(pins, options->ring_bytes);
	if (r < 0)
		return detector_fail(reason, reason_size, r, "creating the BPF ring%s%s",
				     pins->folder ? " below " : "", pins->folder ?: "");
	struct ring_left left = {};

	if (ring_left_count(pins_events_fd(pins), &left) == 0)
		pins->waiting = left.records;
	*ret_pins = TAKE_PTR(pins);
	return 0;
}

void pins_close(struct pins *pins)
{
	if (!pins)
		return;
	shared_bpf__destroy(pins->shared);
	closep(&pins->lock);
	closep(&pins->foreign_ring);
	free(pins->folder);
	free(pins);
}

const char *pins_folder(const struct pins *pins)
{
	return pins->folder;
}

int pins_events_fd(const struct pins *pins)
{
	return bpf_map__fd(pins->shared->maps.events);
}

int pins_generations_fd(const struct pins *pins)
{
	return bpf_map__fd(pins->shared->maps.generations);
}

int pins_lost_fd(const struct pins *pins)
{
	return bpf_map__fd(pins->shared->maps.lost);
}

uint64_t pins_waiting(const struct pins *pins)
{
	return pins->waiting;
}

uint64_t pins_lost_told(const struct pins *pins, uint16_t type)
{
	return type < EVENT_TYPE_COUNT ? pins->record.lost_told[type] : 0;
}

void pins_set_lost_told(struct pins *pins, uint16_t type, uint64_t count)
{
	if (type >= EVENT_TYPE_COUNT || pins->record.lost_told[type] == count)
		return;
	pins->record.lost_told[type] = count;
	write_record(pins);
}

static int share_map(struct bpf_object *object, const struct bpf_map *shared)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, bpf_map__name(shared));
	int r = map ? bpf_map__set_pin_path(map, NULL) : 0;

	return map && r == 0 ? bpf_map__reuse_fd(map, bpf_map__fd(shared)) : r;
}

int pins_share(struct pins *pins, struct bpf_object *object)
{
	struct bpf_map *map;
	int r = 0;

	bpf_object__for_each_map (map, pins->shared->obj)
		if (r == 0 && !bpf_map__is_internal(map))
			r = share_map(object, map);
	return r < 0 ? r : place_maps(pins, object);
}

/* --- What a former agent left --- */

struct settling {
	struct pins *pins;
	bool (*known)(void *userdata, const char *detector);
	void *userdata;
};

static int unlink_unknown(void *userdata, const char *detector)
{
	const struct settling *settling = userdata;

	if (!settling->known(settling->userdata, detector))
		pins_unlink(settling->pins, detector, 0);
	return 0;
}

void pins_settle(struct pins *pins, bool (*known)(void *userdata, const char *detector),
		 void *userdata)
{
	struct settling settling = {pins, known, userdata};
	struct ring_left left = {};
	char path[PIN_PATH_MAX], text[256];

	if (!pins->folder)
		return;
	pin_folder_visit(pin_path(path, "%s/" PINS_LINKS, pins->folder), unlink_unknown, &settling);
	if (pins->foreign_ring < 0)
		return;
	/* Nothing writes to it any more. */
	int r = ring_left_count(pins->foreign_ring, &left);

	pins->foreign_ring = (closep(&pins->foreign_ring), -1);
	if (r < 0)
		log_warning("What an agent of another version left in %s was replaced; its records "
			    "cannot be counted: %s",
			    pins->folder, strerror(-r));
	else if (left.records > 0)
		log_warning(
			"An agent of another version (format %u; this one's is %u) left %" PRIu64
			" records in %s that cannot be read: %s; its programs and maps were "
			"replaced",
			pins->foreign_version, EVENTS_VERSION, left.records, pins->folder,
			ring_left_text(&left, text, sizeof(text)));
	else
		log_info(
			"Replaced the programs and maps of an agent of another version (format %u; "
			"this one's is %u) in %s; it left no unread record",
			pins->foreign_version, EVENTS_VERSION, pins->folder);
}
