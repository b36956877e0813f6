/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which shim and containers a stall is about, and the question to the shim. Owns what was read:
 * the shim once, its containers when something has ended or a finding is told, as both cost some
 * reading of /proc and of the bundles.
 */
#include "detect/shim_stall.h"

/* Of one look, after which the others wait for the next one. */
#define IDENTIFY_NS_MAX (20 * NS_PER_MS)

struct stall_identity {
	struct shim shim;
	struct shim_container *containers;
	size_t container_count;
	uint64_t endings; /* the shim's when the containers were read */
	char *asked; /* id of a container, or NULL */
};

static void identity_free(struct stall_identity *identity)
{
	shim_containers_free(identity->containers, identity->container_count);
	shim_clear(&identity->shim);
	free(identity->asked);
	free(identity);
}
DEFINE_CLEANUP(struct stall_identity, identity_free);

void stall_identity_begin(struct stall_common *common, struct shim_look *look)
{
	common->identify_ns = 0;
	common->look = look;
}

void stall_identity_end(struct stall_common *common)
{
	if (common->survey)
		shim_survey_free(common->survey);
	if (common->brief)
		shim_survey_free(common->brief);
	free(common->children);
	common->survey = common->brief = NULL;
	common->children = NULL;
	common->look = NULL;
}

struct process stall_process_of(const struct seen_task *task)
{
	struct process process = {.pid = task->pid,
				  .tgid = task->pid,
				  .ppid = task->shim_pid,
				  .start_time = event_start_time(task->start_boot_ns),
				  .state = task->state,
				  .threads = 1};

	snprintf(process.comm, sizeof(process.comm), "%.15s", task->comm);
	return process;
}

/*
 * Of the children that this look saw: enough to tell whose init is there, without reading the
 * processes of the node again.
 */
static struct shim_survey *survey_look(const struct detector_run *run)
{
	struct stall_common *common = run->state;
	size_t count = common->look->task_count;

	if (common->brief)
		return common->brief;
	free(common->children);
	common->children = calloc(count + 1, sizeof(*common->children));
	if (!common->children)
		return NULL;
	for (size_t i = 0; i < count; i++)
		common->children[i] = stall_process_of(&common->look->tasks[i]);
	if (shim_survey_new(run->host, common->children, count, &common->brief) < 0)
		common->brief = NULL;
	return common->brief;
}

/*
 * Of the whole node: for what is told, which has the number of each container's processes. By the
 * look's own means, as reading some thousand processes in /proc takes a tenth of a second.
 */
static struct shim_survey *survey_node(struct detector_run *run)
{
	struct stall_common *common = run->state;
	struct shim_look *look = common->look;

	if (common->survey)
		return common->survey;
	int r = common->list_processes ? common->list_processes(run, look) : 0;
	if (r == 0)
		r = shim_survey_new(run->host, look->processes, look->process_count,
				    &common->survey);
	/* Without the numbers, then. */
	return r == 0 ? common->survey : survey_look(run);
}

/* On failure what was known stands. */
static void read_containers(const struct detector_run *run, struct stalled_shim *shim,
			    struct shim_survey *survey)
{
	struct stall_identity *identity = shim->identity;
	struct shim_container *containers;
	size_t count;

	identity->endings = shim->endings;
	if (!survey || shim_survey_containers(survey, &identity->shim, &containers, &count) < 0)
		return;
	shim_containers_free(identity->containers, identity->container_count);
	identity->containers = containers;
	identity->container_count = count;
}

static int read_identity(const struct detector_run *run, struct stalled_shim *shim)
{
	const struct stall_common *common = run->state;
	const struct event_task *task = &shim->seen.task;
	_cleanup_(identity_freep) struct stall_identity *identity = calloc(1, sizeof(*identity));

	if (!identity)
		return -ENOMEM;
	int r = shim_read(run->host, task->tgid, common->patterns, common->pattern_count,
			  &identity->shim);
	if (r < 0)
		return r;
	if (identity->shim.process.start_time != event_start_time(task->start_boot_ns))
		return -ESRCH;
	shim->identity = TAKE_PTR(identity);
	read_containers(run, shim, survey_look(run));
	return 0;
}

static bool init_is_gone(const struct shim_container *container)
{
	return container->init_pid && !container->init.pid && container->bundle;
}

int stall_identify(void *userdata, struct stalled_shim *shim, bool *ret_misses_init)
{
	struct detector_run *run = userdata;
	struct stall_common *common = run->state;

	if (common->identify_ns > IDENTIFY_NS_MAX)
		return -EAGAIN;
	uint64_t begin_ns = clock_monotonic(run->clock);
	int r = read_identity(run, shim);

	common->identify_ns += clock_monotonic(run->clock) - begin_ns;
	*ret_misses_init = false;
	for (size_t i = 0; r == 0 && i < shim->identity->container_count; i++)
		*ret_misses_init |= init_is_gone(&shim->identity->containers[i]);
	return r == -EAGAIN ? -EIO : r;
}

void stall_forget(void *userdata _unused_, struct stalled_shim *shim)
{
	if (shim->identity)
		identity_free(shim->identity);
	shim->identity = NULL;
}

const struct shim *stall_shim(const struct stalled_shim *shim)
{
	return shim->identity ? &shim->identity->shim : NULL;
}

const struct shim_container *stall_containers(struct detector_run *run, struct stalled_shim *shim,
					      bool refresh, size_t *ret_count)
{
	*ret_count = 0;
	if (!shim->identity)
		return NULL;
	if (refresh)
		read_containers(run, shim, survey_node(run));
	*ret_count = shim->identity->container_count;
	return shim->identity->containers;
}

static const struct stall_child *find_child(const struct stalled_shim *shim, int64_t pid)
{
	size_t low = 0, high = shim->child_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (shim->children[middle].seen.pid < pid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < shim->child_count && shim->children[low].seen.pid == pid ? &shim->children[low]
									      : NULL;
}

/* Worse counts more: dying, a zombie or gone, anything else. */
static int concern(const struct stalled_shim *shim, const struct shim_container *container)
{
	const struct stall_child *init =
		container->init_pid ? find_child(shim, container->init_pid) : NULL;

	if (init && init->dying_ns)
		return 2;
	return (init && init->zombie_ns) || init_is_gone(container) ? 1 : 0;
}

const struct shim_container *stall_concerned(const struct stalled_shim *shim)
{
	const struct shim_container *most = NULL;

	for (size_t i = 0; shim->identity && i < shim->identity->container_count; i++) {
		const struct shim_container *container = &shim->identity->containers[i];

		if (!most || concern(shim, container) > concern(shim, most))
			most = container;
	}
	return most;
}

const struct shim_container *stall_container_of_init(const struct stalled_shim *shim, uint32_t pid)
{
	for (size_t i = 0; shim->identity && i < shim->identity->container_count; i++)
		if (shim->identity->containers[i].init_pid == pid)
			return &shim->identity->containers[i];
	return NULL;
}

const char *stall_asked(const struct stalled_shim *shim)
{
	return shim->identity ? shim->identity->asked : NULL;
}

/* --- Names --- */

/* Its own bundle names it best: plain ctr's ids may be there once in each namespace. */
static int put_names(const struct detector_run *run, cJSON *json,
		     const struct shim_container *container)
{
	_cleanup_container_names_ struct container_names own = {};
	const struct container_names *names = NULL;

	if (container->bundle) {
		container_registry_learn(run->containers, container->bundle);
		if (container_names_read(run->host, container->bundle, &own) == 0)
			names = &own;
	}
	if (!names)
		names = container_registry_get(run->containers, container->id);
	int r = names ? container_names_put(json, names) : 0;
	if (r == 0 && names && names->cgroup)
		r = json_set_string(json, "cgroupPath", names->cgroup);
	return r == 0 ? json_set_string(json, "id", container->id) : r;
}

cJSON *stall_container_json(const struct detector_run *run, const struct shim_container *container)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	_cleanup_free_ char *path = NULL;
	struct container group;

	if (!json || put_names(run, json, container) < 0)
		return NULL;
	if (container->init.pid && container->init.state != 'Z')
		path = process_cgroup(run->host, container->init.pid);
	/* v1 puts what exits into the root group. */
	if (!path || streq(path, "/"))
		return TAKE_PTR(json);
	if (json_set_string(json, "cgroupPath", path) < 0)
		return NULL;
	/* Podman's bundles are on disk, which is not read here; its groups tell whose they are. */
	if (!json_string(json, "runtime") && container_from_cgroup(path, &group) &&
	    *group.runtime && json_set_string(json, "runtime", group.runtime) < 0)
		return NULL;
	return TAKE_PTR(json);
}

/* --- The question --- */

int stall_ask_start(void *userdata, struct stalled_shim *shim, void **ret_request)
{
	const struct detector_run *run = userdata;
	struct stall_identity *identity = shim->identity;
	struct shim_request *request;

	if (!identity)
		return -ESRCH;
	if (identity->endings != shim->endings)
		read_containers(run, shim, survey_look(run));
	const struct shim_container *concerned = stall_concerned(shim);
	const char *id = concerned ? concerned->id : identity->shim.id;
	if (!id)
		return -EOPNOTSUPP;
	int r = shim_request_start(run->host, &identity->shim, id, &request);
	if (r < 0 && r != -ECONNREFUSED && r != -EAGAIN)
		return r;
	free(identity->asked);
	identity->asked = strdup(id);
	if (r == 0)
		*ret_request = request;
	return r;
}

int stall_ask_check(void *userdata _unused_, struct stalled_shim *shim _unused_, void *request)
{
	_cleanup_free_ char *answer = NULL;

	return shim_request_check(request, &answer);
}

void stall_ask_end(void *userdata _unused_, void *request)
{
	shim_request_free(request);
}
