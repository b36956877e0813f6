/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The containers of this node, those that are gone too. Owns the memory of them; what a bundle says
 * is container_names.c's. Everything read here lies below /run, in memory, as this is done on the
 * agent's loop.
 *
 * A container is known by its bundle: ids of plain `ctr` are free within a namespace. An entry
 * whose folder is another one now (it has another inode) is read again: names are used again.
 */
#include <limits.h>
#include <sys/stat.h>

#include "host/container_sources.h"
#include "host/shim_bundle.h"

#define LEARNED_MAX 16
#define NAMESPACES_MAX 256

struct entry {
	struct container_names names;
	ino_t inode; /* of the bundle's folder */
	bool present, seen; /* seen: in the refresh that is going on */
	uint64_t gone; /* which refresh missed it first */
};

/* A folder of bundles that somebody told of. */
struct learned {
	char *folder;
	bool namespaces; /* holds folders of namespaces; else ID/userdata */
};

struct container_registry {
	const struct host *host;
	struct entry **entries; /* by id */
	size_t count;
	struct learned learned[LEARNED_MAX];
	size_t learned_count;
	uint64_t refreshes;
};

static void entry_free(struct entry *entry)
{
	if (!entry)
		return;
	container_names_clear(&entry->names);
	free(entry);
}

int container_registry_new(const struct host *host, struct container_registry **ret_registry)
{
	struct container_registry *registry = calloc(1, sizeof(*registry));

	if (!registry)
		return -ENOMEM;
	registry->host = host;
	registry->entries = calloc(CONTAINER_REGISTRY_MAX, sizeof(struct entry *));
	if (!registry->entries) {
		free(registry);
		return -ENOMEM;
	}
	*ret_registry = registry;
	return 0;
}

void container_registry_free(struct container_registry *registry)
{
	if (!registry)
		return;
	for (size_t i = 0; i < registry->count; i++)
		entry_free(registry->entries[i]);
	for (size_t i = 0; i < registry->learned_count; i++)
		free(registry->learned[i].folder);
	free(registry->entries);
	free(registry);
}

/* --- Entries --- */

/* The first entry whose id is not before ID. */
static size_t find_place(const struct container_registry *registry, const char *id)
{
	size_t low = 0, high = registry->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(registry->entries[middle]->names.id, id) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_of(const struct container_registry *registry, size_t index, const char *id)
{
	return index < registry->count && streq(registry->entries[index]->names.id, id);
}

static struct entry *find_bundle(const struct container_registry *registry, const char *id,
				 const char *bundle)
{
	for (size_t i = find_place(registry, id); is_of(registry, i, id); i++)
		if (streq(registry->entries[i]->names.bundle, bundle))
			return registry->entries[i];
	return NULL;
}

/* Makes room by forgetting the longest gone. */
static int make_room(struct container_registry *registry)
{
	size_t oldest = SIZE_MAX;

	if (registry->count < CONTAINER_REGISTRY_MAX)
		return 0;
	for (size_t i = 0; i < registry->count; i++) {
		const struct entry *entry = registry->entries[i];

		if (!entry->present &&
		    (oldest == SIZE_MAX || entry->gone < registry->entries[oldest]->gone))
			oldest = i;
	}
	if (oldest == SIZE_MAX)
		return -ENOSPC;
	entry_free(registry->entries[oldest]);
	registry->count--;
	memmove(&registry->entries[oldest], &registry->entries[oldest + 1],
		(registry->count - oldest) * sizeof(struct entry *));
	return 0;
}

static int insert(struct container_registry *registry, struct entry *entry)
{
	int r = make_room(registry);

	if (r < 0)
		return r;
	size_t place = find_place(registry, entry->names.id);

	memmove(&registry->entries[place + 1], &registry->entries[place],
		(registry->count - place) * sizeof(struct entry *));
	registry->entries[place] = entry;
	registry->count++;
	return 0;
}

static int inode_of(const struct container_registry *registry, const char *bundle,
		    struct stat *ret_status)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s%s", registry->host->root, bundle) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	return stat(path, ret_status) < 0 ? -errno : 0;
}

/*
 * Looks at one bundle, and reads it when it is not known as it is. What cannot be read, because it is
 * being written or removed just now, is left for the next time.
 */
static int note_bundle(struct container_registry *registry, const char *id, const char *bundle)
{
	struct entry *known = find_bundle(registry, id, bundle);
	struct container_names names;
	struct stat status;
	int r = inode_of(registry, bundle, &status);

	if (r < 0)
		return r == -ENOMEM ? r : 0;
	if (known && known->inode == status.st_ino) {
		known->present = known->seen = true;
		return 0;
	}
	r = container_names_read(registry->host, bundle, &names);
	if (r < 0)
		return r == -ENOMEM ? r : 0;
	/* An id that had to be made printable would be taken for a new one each time. */
	if (!streq(names.id, id)) {
		container_names_clear(&names);
		return 0;
	}
	if (!known) {
		known = calloc(1, sizeof(*known));
		if (known)
			known->names = names;
		r = known ? insert(registry, known) : -ENOMEM;
		if (r < 0) {
			container_names_clear(&names);
			free(known);
			return r;
		}
	} else {
		container_names_clear(&known->names);
		known->names = names;
	}
	known->inode = status.st_ino;
	known->present = known->seen = true;
	return 0;
}

/* --- Folders --- */

/* All bundles FOLDER/ID or FOLDER/ID/userdata. Returns 1, 0 if there is no such folder, or an error. */
static int note_folder(struct container_registry *registry, const char *folder, const char *below)
{
	char **ids = NULL;
	size_t count = 0;
	int r = bundle_list(registry->host, folder, CONTAINER_REGISTRY_MAX, &ids, &count);

	if (r < 0)
		return r == -E2BIG ? -ENOSPC : r == -ENOMEM ? r : 0;
	for (size_t i = 0; i < count && r == 0; i++) {
		_cleanup_free_ char *bundle = NULL;

		if (asprintf(&bundle, "%s/%s%s", folder, ids[i], below) < 0) {
			bundle = NULL;
			r = -ENOMEM;
		} else {
			r = note_bundle(registry, ids[i], bundle);
		}
	}
	bundle_list_free(ids, count);
	return r < 0 ? r : 1;
}

static int note_namespaces(struct container_registry *registry, const char *folder)
{
	char **namespaces = NULL;
	size_t count = 0;
	int r = bundle_list(registry->host, folder, NAMESPACES_MAX, &namespaces, &count);

	if (r < 0)
		return r == -E2BIG ? -ENOSPC : r == -ENOMEM ? r : 0;
	r = 1;
	for (size_t i = 0; i < count && r >= 0; i++) {
		_cleanup_free_ char *path = NULL;

		if (asprintf(&path, "%s/%s", folder, namespaces[i]) < 0) {
			path = NULL;
			r = -ENOMEM;
		} else {
			r = note_folder(registry, path, "");
		}
	}
	bundle_list_free(namespaces, count);
	return r < 0 ? r : 1;
}

static int note_state(struct container_registry *registry, const char *state)
{
	bool any = false;

	for (const char *const *kind = containerd_kinds; *kind; kind++) {
		_cleanup_free_ char *folder = NULL;

		if (asprintf(&folder, "%s/%s", state, *kind) < 0) {
			folder = NULL;
			return -ENOMEM;
		}
		int r = note_namespaces(registry, folder);

		if (r < 0)
			return r;
		any |= r > 0;
	}
	return any;
}

static int note_all(struct container_registry *registry)
{
	bool any = false;
	int r = 0;

	for (const char *const *state = containerd_states; *state && r >= 0; state++) {
		r = note_state(registry, *state);
		any |= r > 0;
	}
	for (const char *const *state = storage_states; *state && r >= 0; state++) {
		r = note_folder(registry, *state, "/userdata");
		any |= r > 0;
	}
	for (size_t i = 0; i < registry->learned_count && r >= 0; i++) {
		const struct learned *learned = &registry->learned[i];

		r = learned->namespaces ? note_namespaces(registry, learned->folder)
					: note_folder(registry, learned->folder, "/userdata");
		any |= r > 0;
	}
	return r < 0 ? r : any;
}

int container_registry_refresh(struct container_registry *registry)
{
	for (size_t i = 0; i < registry->count; i++)
		registry->entries[i]->seen = false;
	registry->refreshes++;
	int r = note_all(registry);

	/* After an error some were not looked at, and are not gone for that. */
	for (size_t i = 0; i < registry->count && r >= 0; i++) {
		struct entry *entry = registry->entries[i];

		if (!entry->present || entry->seen)
			continue;
		entry->present = false;
		entry->gone = registry->refreshes;
	}
	return r;
}

/* Removes LEVELS components from the end of PATH; false if it has not so many. */
static bool cut_components(char *path, unsigned levels)
{
	for (; levels; levels--) {
		char *slash = strrchr(path, '/');

		if (!slash || slash == path)
			return false;
		*slash = '\0';
	}
	return true;
}

static bool is_listed(const struct container_registry *registry, const char *folder)
{
	for (const char *const *state = containerd_states; *state; state++) {
		const char *rest = startswith(folder, *state);

		for (const char *const *kind = containerd_kinds; rest && *kind; kind++)
			if (*rest == '/' && streq(rest + 1, *kind))
				return true;
	}
	for (const char *const *state = storage_states; *state; state++)
		if (streq(folder, *state))
			return true;
	for (size_t i = 0; i < registry->learned_count; i++)
		if (streq(folder, registry->learned[i].folder))
			return true;
	return false;
}

int container_registry_learn(struct container_registry *registry, const char *bundle)
{
	_cleanup_free_ char *namespace = NULL, *id = NULL, *folder = strdup(bundle);
	struct stat status;
	int r = folder ? bundle_split(bundle, &namespace, &id) : -ENOMEM;

	if (r == 0 && cut_components(folder, 2) && container_folder_is_on_disk(folder))
		r = -EXDEV;
	if (r == 0)
		r = inode_of(registry, bundle, &status);
	if (r < 0)
		return r;
	/* Any process may call itself a shim, and stand in a folder of its own making. */
	if (status.st_uid != 0 && status.st_uid != geteuid())
		return -EPERM;
	if (!is_listed(registry, folder)) {
		if (registry->learned_count == LEARNED_MAX)
			return -ENOSPC;
		registry->learned[registry->learned_count++] =
			(struct learned){.folder = TAKE_PTR(folder), .namespaces = namespace};
	}
	return note_bundle(registry, id, bundle);
}

/* --- Questions --- */

/* The one that is there, or the one that was there last; NULL if several are there. */
static const struct entry *find_entry(const struct container_registry *registry, const char *id)
{
	const struct entry *best = NULL;

	for (size_t i = find_place(registry, id); is_of(registry, i, id); i++) {
		const struct entry *entry = registry->entries[i];

		if (entry->present && best && best->present)
			return NULL;
		if (!best || entry->present || (!best->present && entry->gone > best->gone))
			best = entry;
	}
	return best;
}

/* Looks for a container that is not known to be there, and remembers it. */
static void look_for(struct container_registry *registry, const char *id)
{
	_cleanup_container_names_ struct container_names names = {0};

	if (container_names_find(registry->host, id, false, &names) == 0 && names.bundle)
		note_bundle(registry, names.id, names.bundle);
}

const struct container_names *container_registry_get(struct container_registry *registry,
						     const char *id)
{
	const struct entry *entry = find_entry(registry, id);

	if (!entry || !entry->present) {
		look_for(registry, id);
		entry = find_entry(registry, id);
	}
	return entry ? &entry->names : NULL;
}

static bool is_at_or_below(const char *path, const char *group)
{
	const char *rest = startswith(path, group);

	return rest && (*rest == '\0' || *rest == '/');
}

/* The outermost of those there, else of those gone. */
static const struct entry *find_group(const struct container_registry *registry, const char *path)
{
	const struct entry *best = NULL;

	for (size_t i = 0; i < registry->count; i++) {
		const struct entry *entry = registry->entries[i];

		if (!entry->names.cgroup || !is_at_or_below(path, entry->names.cgroup))
			continue;
		if (!best || (entry->present && !best->present) ||
		    (entry->present == best->present &&
		     strlen(entry->names.cgroup) < strlen(best->names.cgroup)))
			best = entry;
	}
	return best;
}

const struct container_names *container_registry_of_cgroup(struct container_registry *registry,
							   const char *path)
{
	const struct entry *entry = find_group(registry, path);
	char id[NAME_MAX + 1];

	/* /NAMESPACE/ID is where `ctr` puts it unless told otherwise. */
	if ((!entry || !entry->present) && sscanf(path, "/%*[^/]/%255[^/]", id) == 1) {
		look_for(registry, id);
		entry = find_group(registry, path);
	}
	return entry ? &entry->names : NULL;
}

const struct container_names *container_registry_of_own_group(struct container_registry *registry,
							      const char *path)
{
	const struct entry *best = NULL;

	for (size_t i = 0; i < registry->count; i++) {
		const struct entry *entry = registry->entries[i];

		if (!streq_ptr(entry->names.cgroup, path))
			continue;
		if (!best || entry->present || (!best->present && entry->gone > best->gone))
			best = entry;
	}
	return best ? &best->names : NULL;
}
