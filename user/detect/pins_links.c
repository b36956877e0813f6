/* SPDX-License-Identifier: Apache-2.0 */
/* What is attached and outlives the agent: by detector, and by generation of its programs. */
#include <bpf/bpf.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "detect/detector.h"
#include "detect/pin_folder.h"
#include "detect/pins.h"

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
	int generations = pins_generations_fd(pins);
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
	if (pins_folder(pins))
		pin_folder_visit(
			pin_path(path, "%s/" PINS_LINKS "/%s", pins_folder(pins), detector),
			see_generation, &latest);
	*ret_generation = latest + 1;
	return map ? bpf_map__set_initial_value(map, ret_generation, sizeof(*ret_generation)) : 0;
}

int pins_link(struct pins *pins, const char *detector, const char *program, uint64_t generation,
	      struct bpf_link *link)
{
	char path[PIN_PATH_MAX];

	if (!pins_folder(pins))
		return 0;
	int r = directory_make(pin_path(path, "%s/" PINS_LINKS "/%s", pins_folder(pins), detector),
			       0700);

	if (r < 0)
		return r;
	pin_path(path, "%s/" PINS_LINKS "/%s/%s@%" PRIu64, pins_folder(pins), detector, program,
		 generation);
	unlink(path);
	r = bpf_link__pin(link, path);
	/* A kprobe before Linux 5.15 is no link, and ends with the agent. */
	return r == -EINVAL ? 0 : r;
}

int pins_begin_generation(struct pins *pins, const char *detector, const uint16_t *types,
			  uint64_t generation)
{
	int generations = pins_generations_fd(pins);

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
		unlink(pin_path(path, "%s/%s", unlinking->folder, name));
	return 0;
}

void pins_unlink(struct pins *pins, const char *detector, uint64_t except)
{
	char folder[PIN_PATH_MAX];
	struct unlinking unlinking = {folder, except};

	if (!pins_folder(pins))
		return;
	pin_path(folder, "%s/" PINS_LINKS "/%s", pins_folder(pins), detector);
	pin_folder_visit(folder, unlink_other, &unlinking);
	rmdir(folder); /* if nothing is in it */
}

int pins_put(struct pins *pins, const char *name, int fd)
{
	char path[PIN_PATH_MAX], fresh[PIN_PATH_MAX];

	if (!pins_folder(pins))
		return 0;
	pin_path(path, "%s/%s", pins_folder(pins), name);
	pin_path(fresh, "%s/%s@new", pins_folder(pins), name);
	unlink(fresh);
	if (bpf_obj_pin(fd, fresh) < 0)
		return -errno;
	return rename(fresh, path) < 0 ? -errno : 0;
}
