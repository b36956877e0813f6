/* SPDX-License-Identifier: Apache-2.0 */
/* The folder of pins: its lock, its maps, its links. Leaves the records in the ring to ring.c. */
#include "detect/pins.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/file.h"
#include "detect/detector.h"
#include "detect/ring_view.h"

#include "../../bpf/shared.h"
#include "shared.skel.h"

#define PIN_PATH_MAX 4096
#define LINKS "links"
#define AGENT_RECORD "agent"

/* The maps of bpf/shared.bpf.c. */
static const char *const shared_names[] = {"events", "lost", "generations", AGENT_RECORD};

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

/* --- Paths --- */

static const char *path_in(char path[PIN_PATH_MAX], const char *format, ...) _printf_(2, 3);

static const char *path_in(char path[PIN_PATH_MAX], const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(path, PIN_PATH_MAX, format, arguments);
	va_end(arguments);
	return path;
}

/* Calls VISIT with each name in FOLDER (none if it is not there). Returns the sum of what it returned. */
static int visit_folder(const char *folder, int (*visit)(void *userdata, const char *name),
			void *userdata)
{
	DIR *stream = opendir(folder);
	const struct dirent *entry;
	int sum = 0;

	while (stream && (entry = readdir(stream)))
		if (entry->d_name[0] != '.')
			sum += visit(userdata, entry->d_name);
	if (stream)
		closedir(stream);
	return sum;
}

static int remove_entry(void *userdata, const char *name)
{
	const char *folder = userdata;
	char path[PIN_PATH_MAX];

	path_in(path, "%s/%s", folder, name);
	if (unlink(path) == 0)
		return 1;
	if (errno != EISDIR)
		return 0;
	int removed = visit_folder(path, remove_entry, path);

	rmdir(path);
	return removed;
}

static int remove_content(const char *folder)
{
	return visit_folder(folder, remove_entry, (void *)folder);
}

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

/*
 * The whole file system is nobody's folder: others pin there too, and what is in an agent's folder is the
 * agent's to remove.
 */
static bool is_mount_point(const char *folder)
{
	char above[PIN_PATH_MAX];
	struct stat inside, outside;

	return stat(folder, &inside) == 0 && stat(path_in(above, "%s/..", folder), &outside) == 0 &&
	       (inside.st_dev != outside.st_dev || inside.st_ino == outside.st_ino);
}

/* --- The folder's lock --- */

/* Returns the open and locked folder, -EBUSY or another negative errno. */
static int folder_lock(const char *folder)
{
	_cleanup_close_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	return TAKE_FD(fd);
}

/*
 * Fills RECORD, with zeroes where the map is shorter. Returns the map's descriptor or a negative
 * errno; -EPROTO if it is no agent's.
 */
static int read_record(const char *folder, struct agent_record *record)
{
	_cleanup_free_ char *value = NULL;
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info), key = 0;
	char path[PIN_PATH_MAX];
	_cleanup_close_ int fd = bpf_obj_get(path_in(path, "%s/" AGENT_RECORD, folder));

	*record = (struct agent_record){};
	if (fd < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
		return -errno;
	if (info.type != BPF_MAP_TYPE_ARRAY || info.value_size < 2 * sizeof(uint32_t))
		return -EPROTO;
	value = malloc(info.value_size);
	if (!value)
		return -ENOMEM;
	if (bpf_map_lookup_elem(fd, &key, value) < 0)
		return -errno;
	memcpy(record, value, MIN((size_t)info.value_size, sizeof(*record)));
	return TAKE_FD(fd);
}

static int holder_pid(const char *folder)
{
	struct agent_record record;
	_cleanup_close_ int fd = read_record(folder, &record);

	return fd < 0 ? 0 : (int)record.pid;
}

static int folder_take(struct pins *pins, const char *folder, char *reason, size_t reason_size)
{
	int r = !folder			 ? -ENOENT
		: !in_bpffs(folder)	 ? -EXDEV
		: is_mount_point(folder) ? -EISDIR
					 : directory_make(folder, 0700);

	if (r == 0)
		r = pins->lock = folder_lock(folder);
	if (r == -EBUSY) {
		snprintf(reason, reason_size,
			 "another agent (pid %d) has %s: stop it, or give this one a folder of its "
			 "own with --bpffs",
			 holder_pid(folder), folder);
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
	path_in(path, "%s/%s", pins->folder, bpf_map__name(map));
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
	_cleanup_close_ int agent = pins->folder ? read_record(pins->folder, &record) : -ENOENT;

	if (agent < 0)
		return;
	_cleanup_close_ int ring = bpf_obj_get(path_in(path, "%s/events", pins->folder));
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info);

	if (record.version == EVENTS_VERSION && record.size == sizeof(record) && ring >= 0 &&
	    bpf_obj_get_info_by_fd(ring, &info, &size) == 0 && info.max_entries == ring_bytes)
		return;
	pins->foreign_ring = TAKE_FD(ring);
	pins->foreign_version = record.version;
	for (size_t i = 0; i < ARRAY_SIZE(shared_names); i++)
		unlink(path_in(path, "%s/%s", pins->folder, shared_names[i]));
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
	int r = folder_take(pins, options->folder, reason, reason_size);

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

/* --- Links --- */

static uint64_t generation_of(const char *name)
{
	const char *at = strrchr(name, '@');

	return at ? strtoull(at + 1, NULL, 10) : 0;
}

static int see_generation(void *userdata, const char *name)
{
	uint64_t *latest = userdata;

	*latest = MAX(*latest, generation_of(name));
	return 0;
}

int pins_new_generation(struct pins *pins, const char *detector, const uint16_t *types,
			struct bpf_object *object, uint64_t *ret_generation)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, ".rodata.generation");
	int generations = bpf_map__fd(pins->shared->maps.generations);
	uint64_t latest = 0;
	char path[PIN_PATH_MAX];

	for (; map && types && *types != EVENT_NONE; types++) {
		uint32_t key = *types;
		uint64_t current = 0;

		if (bpf_map_lookup_elem(generations, &key, &current) < 0)
			return -errno;
		latest = MAX(latest, current);
	}
	/* One that was attached by an agent that came no further must not speak with this one. */
	if (pins->folder)
		visit_folder(path_in(path, "%s/" LINKS "/%s", pins->folder, detector),
			     see_generation, &latest);
	*ret_generation = latest + 1;
	return map ? bpf_map__set_initial_value(map, ret_generation, sizeof(*ret_generation)) : 0;
}

int pins_link(struct pins *pins, const char *detector, const char *program, uint64_t generation,
	      struct bpf_link *link)
{
	char path[PIN_PATH_MAX];

	if (!pins->folder)
		return 0;
	int r = directory_make(path_in(path, "%s/" LINKS "/%s", pins->folder, detector), 0700);

	if (r < 0)
		return r;
	path_in(path, "%s/" LINKS "/%s/%s@%" PRIu64, pins->folder, detector, program, generation);
	unlink(path);
	r = bpf_link__pin(link, path);
	/* A kprobe before Linux 5.15 is no link, and ends with the agent. */
	return r == -EINVAL ? 0 : r;
}

int pins_begin_generation(struct pins *pins, const char *detector, const uint16_t *types,
			  uint64_t generation)
{
	int generations = bpf_map__fd(pins->shared->maps.generations);

	for (; types && *types != EVENT_NONE; types++) {
		uint32_t key = *types;

		if (bpf_map_update_elem(generations, &key, &generation, BPF_ANY) < 0)
			return -errno;
	}
	pins_unlink(pins, detector, generation);
	return 0;
}

struct unlinking {
	const char *folder;
	uint64_t except;
};

static int unlink_other(void *userdata, const char *name)
{
	const struct unlinking *unlinking = userdata;
	char path[PIN_PATH_MAX];

	if (!unlinking->except || generation_of(name) != unlinking->except)
		unlink(path_in(path, "%s/%s", unlinking->folder, name));
	return 0;
}

void pins_unlink(struct pins *pins, const char *detector, uint64_t except)
{
	char folder[PIN_PATH_MAX];
	struct unlinking unlinking = {folder, except};

	if (!pins->folder)
		return;
	path_in(folder, "%s/" LINKS "/%s", pins->folder, detector);
	visit_folder(folder, unlink_other, &unlinking);
	rmdir(folder); /* if nothing is in it */
}

int pins_put(struct pins *pins, const char *name, int fd)
{
	char path[PIN_PATH_MAX], fresh[PIN_PATH_MAX];

	if (!pins->folder)
		return 0;
	path_in(path, "%s/%s", pins->folder, name);
	path_in(fresh, "%s/%s@new", pins->folder, name);
	unlink(fresh);
	if (bpf_obj_pin(fd, fresh) < 0)
		return -errno;
	return rename(fresh, path) < 0 ? -errno : 0;
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
	visit_folder(path_in(path, "%s/" LINKS, pins->folder), unlink_unknown, &settling);
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

static int is_not_shared(void *userdata, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(shared_names); i++)
		if (streq(name, shared_names[i]))
			return 0;
	return 1;
}

/* An agent that was killed while it made the shared maps has not introduced itself. */
static bool is_agents(const char *folder)
{
	struct agent_record record;
	_cleanup_close_ int fd = read_record(folder, &record);

	return fd >= 0 || !visit_folder(folder, is_not_shared, NULL);
}

int pins_remove(const char *folder, int *ret_pid)
{
	_cleanup_close_ int lock = folder_lock(folder);

	*ret_pid = 0;
	if (lock == -ENOENT || lock == -ENOTDIR)
		return 0;
	if (lock == -EBUSY)
		*ret_pid = holder_pid(folder);
	if (lock < 0)
		return lock;
	if (!in_bpffs(folder))
		return -EXDEV;
	if (is_mount_point(folder) || !is_agents(folder))
		return -EPROTO;
	int removed = remove_content(folder);

	return rmdir(folder) < 0 ? -errno : removed;
}
