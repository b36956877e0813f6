/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The containers of a shim: those whose bundles name its socket, and those that only processes
 * below it tell of. A process belongs to the container of its parent, unless the parent is the shim
 * or a container's init: these adopt orphans (also of another container, where a pod shares its pid
 * namespace), so there the cgroup tells.
 */
#include "host/shim.h"

#include "host/container.h"
#include "host/shim_bundle.h"
#include "host/shim_trust.h"

#define BUNDLES_MAX 16384 /* of one containerd namespace; a node runs some hundred containers */
#define FOLDERS_MAX 64

struct bundle_socket {
	char *id, *socket;
};

/* The bundles of one containerd namespace. */
struct bundle_folder {
	char *path;
	struct bundle_socket *bundles;
	size_t count;
};

struct shim_survey {
	const struct host *host;
	struct process *owned;
	const struct process **by_parent; /* sorted by parent, then start time, then pid */
	size_t count;
	struct bundle_folder *folders;
	size_t folder_count;
};

static void folder_clear(struct bundle_folder *folder)
{
	for (size_t i = 0; i < folder->count; i++) {
		free(folder->bundles[i].id);
		free(folder->bundles[i].socket);
	}
	free(folder->bundles);
	free(folder->path);
}

void shim_survey_free(struct shim_survey *survey)
{
	if (!survey)
		return;
	for (size_t i = 0; i < survey->folder_count; i++)
		folder_clear(&survey->folders[i]);
	free(survey->folders);
	free(survey->by_parent);
	free(survey->owned);
	free(survey);
}

static int compare_processes(const void *left, const void *right)
{
	const struct process *a = *(const struct process *const *)left;
	const struct process *b = *(const struct process *const *)right;

	if (a->ppid != b->ppid)
		return a->ppid < b->ppid ? -1 : 1;
	if (a->start_time != b->start_time)
		return a->start_time < b->start_time ? -1 : 1;
	return (a->pid > b->pid) - (a->pid < b->pid);
}

int shim_survey_new(const struct host *host, const struct process *processes, size_t count,
		    struct shim_survey **ret_survey)
{
	_cleanup_(shim_survey_freep) struct shim_survey *survey = calloc(1, sizeof(*survey));
	int r = 0;

	if (!survey)
		return -ENOMEM;
	survey->host = host;
	if (!processes) {
		r = process_list(host, &survey->owned, &count);
		processes = survey->owned;
	}
	if (r < 0)
		return r;
	survey->count = count;
	survey->by_parent = calloc(count + 1, sizeof(const struct process *));
	if (!survey->by_parent)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		survey->by_parent[i] = &processes[i];
	qsort(survey->by_parent, count, sizeof(const struct process *), compare_processes);
	*ret_survey = TAKE_PTR(survey);
	return 0;
}

/* Index of the first process whose parent is PPID, or of where it would stand. */
static size_t first_child(const struct shim_survey *survey, int64_t ppid)
{
	size_t low = 0, high = survey->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (survey->by_parent[middle]->ppid < ppid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* A process below the shim. */
struct member {
	const struct process *process;
	size_t parent; /* its parent's index, SIZE_MAX for the shim */
	size_t container; /* index, SIZE_MAX for none */
};

static int add_children(const struct shim_survey *survey, const struct process *parent,
			size_t parent_index, const struct shim *shim, struct member **members,
			size_t *count)
{
	for (size_t i = first_child(survey, parent->pid);
	     i < survey->count && survey->by_parent[i]->ppid == parent->pid; i++) {
		const struct process *child = survey->by_parent[i];

		/* Older than its parent: the parent's pid was somebody else's when it was read. */
		if (child->start_time < parent->start_time || child->pid == shim->process.pid ||
		    *count >= survey->count)
			continue;
		struct member *grown = reallocarray(*members, *count + 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		*members = grown;
		grown[(*count)++] = (struct member){child, parent_index, SIZE_MAX};
	}
	return 0;
}

/* All below SHIM, parents first. */
static int list_members(const struct shim_survey *survey, const struct shim *shim,
			struct member **ret_members, size_t *ret_count)
{
	_cleanup_free_ struct member *members = NULL;
	size_t count = 0;
	int r = add_children(survey, &shim->process, SIZE_MAX, shim, &members, &count);

	for (size_t i = 0; i < count && r == 0; i++)
		r = add_children(survey, members[i].process, i, shim, &members, &count);
	if (r < 0)
		return r;
	*ret_members = TAKE_PTR(members);
	*ret_count = count;
	return 0;
}

struct container_list {
	struct shim_container *items;
	size_t count;
};

static void container_list_clear(struct container_list *list)
{
	shim_containers_free(list->items, list->count);
}

void shim_containers_free(struct shim_container *containers, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(containers[i].id);
		free(containers[i].bundle);
	}
	free(containers);
}

/* Adds container ID; a full list stays as it is. BUNDLE may be NULL. */
static int add_container(struct container_list *list, const char *id, const char *bundle)
{
	if (list->count == SHIM_CONTAINERS_MAX)
		return 0;
	for (size_t i = 0; i < list->count; i++)
		if (streq(list->items[i].id, id))
			return 0;
	struct shim_container *grown = reallocarray(list->items, list->count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	list->items = grown;
	struct shim_container *container = &grown[list->count];
	*container = (struct shim_container){.id = strdup(id)};
	if (!container->id)
		return -ENOMEM;
	list->count++;
	container->bundle = bundle ? strdup(bundle) : NULL;
	return bundle && !container->bundle ? -ENOMEM : 0;
}

/* The bundle beside BUNDLE that is of container ID; NULL when out of memory. */
static char *sibling_of(const char *folder, const char *id)
{
	char *path;

	return asprintf(&path, "%s/%s", folder, id) < 0 ? NULL : path;
}

static int read_folder(const struct host *host, struct bundle_folder *folder)
{
	char **names;
	size_t count;
	int r = bundle_list(host, folder->path, BUNDLES_MAX, &names, &count);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	folder->bundles = calloc(count + 1, sizeof(*folder->bundles));
	if (!folder->bundles)
		r = -ENOMEM;
	for (size_t i = 0; i < count && r == 0; i++) {
		_cleanup_free_ char *bundle = sibling_of(folder->path, names[i]);

		if (!bundle) {
			r = -ENOMEM;
			break;
		}
		folder->bundles[i].id = names[i];
		folder->bundles[i].socket = bundle_socket(host, bundle);
		names[i] = NULL;
		folder->count++;
	}
	bundle_list_free(names, count);
	return r;
}

/* The folder that BUNDLE lies in, read when first asked for. */
static int find_folder(struct shim_survey *survey, const char *bundle,
		       const struct bundle_folder **ret_folder)
{
	size_t length = (size_t)(strrchr(bundle, '/') - bundle);

	for (size_t i = 0; i < survey->folder_count; i++)
		if (strlen(survey->folders[i].path) == length &&
		    strncmp(survey->folders[i].path, bundle, length) == 0) {
			*ret_folder = &survey->folders[i];
			return 0;
		}
	if (survey->folder_count == FOLDERS_MAX)
		return -E2BIG;
	struct bundle_folder *grown =
		reallocarray(survey->folders, survey->folder_count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	survey->folders = grown;
	struct bundle_folder folder = {.path = strndup(bundle, length)};
	int r = folder.path ? read_folder(survey->host, &folder) : -ENOMEM;
	if (r < 0) {
		folder_clear(&folder);
		return r;
	}
	grown[survey->folder_count++] = folder;
	*ret_folder = &grown[survey->folder_count - 1];
	return 0;
}

/* The containers of a pod: their bundles name the shim that was started for the sandbox. */
static int add_siblings(struct shim_survey *survey, const struct shim *shim,
			struct container_list *list)
{
	const struct bundle_folder *folder = NULL;
	int r = find_folder(survey, shim->bundle, &folder);

	for (size_t i = 0; r == 0 && i < folder->count; i++) {
		_cleanup_free_ char *bundle = NULL;

		if (!bundle_socket_equal(folder->bundles[i].socket, shim->socket))
			continue;
		bundle = sibling_of(folder->path, folder->bundles[i].id);
		r = bundle ? add_container(list, folder->bundles[i].id, bundle) : -ENOMEM;
	}
	return r;
}

static int add_bundles(struct shim_survey *survey, const struct shim *shim,
		       struct container_list *list)
{
	int r = 0;

	if (shim->id) {
		bool there = shim->bundle && bundle_exists(survey->host, shim->bundle);

		r = add_container(list, shim->id, there ? shim->bundle : NULL);
	}
	if (r == 0 && shim->kind == SHIM_CONTAINERD_V2 && shim->bundle && shim->namespace &&
	    shim->socket)
		r = add_siblings(survey, shim, list);
	return r;
}

/* True if PID is alive below another conmon: SHIM is of a process started in there later. */
static bool is_of_other_shim(const struct shim_survey *survey, const struct shim *shim, int64_t pid)
{
	struct process process;

	return shim->kind == SHIM_CONMON && pid && process_read(survey->host, pid, &process) == 0 &&
	       process.ppid != shim->process.pid;
}

/* Fills in the init of each container, if it is still below the shim. */
static void find_inits(const struct shim_survey *survey, const struct shim *shim,
		       struct container_list *list, struct member *members, size_t member_count)
{
	for (size_t c = 0; c < list->count; c++) {
		struct shim_container *container = &list->items[c];
		int64_t pid = bundle_init_pid(survey->host, container->bundle, container->id);

		if (is_of_other_shim(survey, shim, pid))
			pid = 0;
		container->init_pid = pid;
		for (size_t m = 0; m < member_count; m++) {
			/* What conmon started first is what it is there for. */
			if (pid ? members[m].process->pid != pid
				: shim->kind != SHIM_CONMON || m != 0)
				continue;
			container->init = *members[m].process;
			members[m].container = c;
			break;
		}
	}
}

/* True if a folder of the group's path is called ID, as where plain ctr puts a container. */
static bool group_has_name(const char *path, const char *id)
{
	size_t length = strlen(id);

	for (const char *at = path; (at = strstr(at, id)); at++)
		if ((at == path || at[-1] == '/') && (at[length] == '/' || !at[length]))
			return true;
	return false;
}

/* Index of the container whose init is in GROUP, as whoever made the group may call it at will. */
static size_t find_by_init(const struct host *host, const struct container_list *list,
			   const char *group)
{
	for (size_t c = 0; c < list->count; c++) {
		_cleanup_free_ char *its = NULL;

		if (list->items[c].init.pid)
			its = process_cgroup(host, list->items[c].init.pid);
		if (streq_ptr(its, group))
			return c;
	}
	return SIZE_MAX;
}

/*
 * The container that GROUP belongs to; one that no bundle told of joins the list. SIZE_MAX: none
 * that can be told.
 */
static int find_container(const struct host *host, struct container_list *list, const char *group,
			  size_t *ret_container)
{
	struct container container;
	bool named = container_from_cgroup(group, &container) && container.id[0];
	int r = 0;

	if (named && container.rootless && shim_id_is_taken(host, container.id))
		named = false;
	*ret_container = SIZE_MAX;
	for (size_t c = 0; c < list->count; c++)
		if (named ? streq(list->items[c].id, container.id)
			  : group_has_name(group, list->items[c].id))
			*ret_container = c;
	if (*ret_container == SIZE_MAX)
		*ret_container = find_by_init(host, list, group);
	if (*ret_container != SIZE_MAX || !named || list->count == SHIM_CONTAINERS_MAX)
		return 0;
	r = add_container(list, container.id, NULL);
	if (r == 0)
		*ret_container = list->count - 1;
	return r;
}

/* True if MEMBER may be of another container than its parent. */
static bool is_adopted(const struct container_list *list, const struct member *members,
		       const struct member *member)
{
	if (member->parent == SIZE_MAX)
		return true;
	const struct member *parent = &members[member->parent];

	return list->count > 1 && parent->container != SIZE_MAX &&
	       list->items[parent->container].init.pid == parent->process->pid;
}

/* Says of each member which container it is in: the shim's only one, or what its group tells. */
static int assign_members(const struct shim_survey *survey, const struct shim *shim,
			  struct container_list *list, struct member *members, size_t count)
{
	bool single = shim->id && shim->kind != SHIM_CONTAINERD_V2 && shim->kind != SHIM_OTHER;
	_cleanup_free_ char *own = NULL;
	int r = 0;

	for (size_t m = 0; m < count && r == 0; m++) {
		struct member *member = &members[m];
		_cleanup_free_ char *group = NULL;

		if (member->container != SIZE_MAX)
			continue; /* an init */
		if (single) {
			member->container = 0;
			continue;
		}
		if (member->parent != SIZE_MAX)
			member->container = members[member->parent].container;
		if (!is_adopted(list, members, member))
			continue;
		/* It counts for nothing, and there may be thousands. */
		if (member->process->state == 'Z' && list->count)
			continue;
		group = process_cgroup(survey->host, member->process->pid);
		if (!group)
			continue;
		size_t found;
		r = find_container(survey->host, list, group, &found);
		if (found != SIZE_MAX)
			member->container = found;
		if (found != SIZE_MAX || member->parent != SIZE_MAX || list->count != 1)
			continue;
		/* A helper in the shim's own group (runc) is in no container. */
		if (!own)
			own = process_cgroup(survey->host, shim->process.pid);
		if (!streq_ptr(own, group))
			member->container = 0;
	}
	return r;
}

int shim_survey_containers(struct shim_survey *survey, const struct shim *shim,
			   struct shim_container **ret_containers, size_t *ret_count)
{
	_cleanup_(container_list_clear) struct container_list list = {0};
	_cleanup_free_ struct member *members = NULL;
	size_t count = 0;
	int r = list_members(survey, shim, &members, &count);

	if (r == 0)
		r = add_bundles(survey, shim, &list);
	if (r == 0) {
		find_inits(survey, shim, &list, members, count);
		r = assign_members(survey, shim, &list, members, count);
	}
	if (r < 0)
		return r;
	for (size_t m = 0; m < count; m++)
		if (members[m].container != SIZE_MAX && !strchr("ZX", members[m].process->state))
			list.items[members[m].container].processes++;
	*ret_containers = TAKE_PTR(list.items);
	*ret_count = list.count;
	list.count = 0;
	return 0;
}

int shim_containers(const struct host *host, const struct shim *shim,
		    struct shim_container **ret_containers, size_t *ret_count)
{
	_cleanup_(shim_survey_freep) struct shim_survey *survey = NULL;
	int r = shim_survey_new(host, NULL, 0, &survey);

	return r < 0 ? r : shim_survey_containers(survey, shim, ret_containers, ret_count);
}
