/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers that are gone, and whose processes are not: what a force deletion leaves, or a shim that was
 * killed while its runtime was down. Two things must both be missing, for the whole threshold: the folder
 * of the bundle, and anybody who is the parent of what is in the group. A runtime that is restarted or
 * reinstalled loses neither; what merely is not where it is looked for lacks the first alone.
 *
 * That a container is gone is known for certain when its bundle was seen and then went, or when runc or
 * crun wrote down which bundle it was started from, and that is gone. Otherwise the path alone speaks for
 * it, and the finding says that it is not exact.
 */
#include "detect/cgroup.h"

#include "base/plain.h"
#include "host/cgroup_supervisor.h"
#include "host/container_sources.h"
#include "host/runtime_state.h"
#include "host/shim.h"
#include "host/shim_bundle.h"

#define THRESHOLDS_UNTIL_TOLD_AGAIN 10
#define PROCESSES_LOOKED_AT 64
#define ID_DIGITS 64
#define WARNING_INTERVAL_NS (600 * NS_PER_S)

/* How it is known that the container is gone. */
enum evidence {
	EVIDENCE_NONE,
	EVIDENCE_PATH, /* the group is called as that runtime calls its containers' */
	EVIDENCE_RUNTIME_STATE, /* runc's or crun's own state names a bundle that is gone */
	EVIDENCE_BUNDLE_SEEN, /* its bundle was there, and went */
};

static const char *const evidence_names[] = {
	[EVIDENCE_PATH] = "path",
	[EVIDENCE_RUNTIME_STATE] = "runtime-state",
	[EVIDENCE_BUNDLE_SEEN] = "bundle-seen",
};

struct leftover_group {
	enum cgroup_version version;
	const char *controller; /* static */
	uint64_t id, round;
	char *path, *container; /* container: its id */
	const char *runtime; /* as the path tells; static, "" if it does not */
	bool unique; /* no other container has that id */
	char *bundle; /* or what else the runtime has of it; NULL: never known */
	int64_t shim; /* the shim that was above it, 0: none that is known */
	uint64_t shim_start_time;
	enum evidence evidence;
	uint64_t since_ns, judged_ns, told_ns; /* boot time; 0: it is not so, or was not */
};

struct leftover_groups {
	struct detector_run *run;
	uint64_t threshold_ns, round;
	struct leftover_group *items[LEFTOVER_GROUPS_MAX];
	size_t count;
	struct log_limit full_limit;
};

int leftover_groups_new(struct detector_run *run, uint64_t threshold_ns,
			struct leftover_groups **ret_leftover)
{
	struct leftover_groups *leftover = calloc(1, sizeof(*leftover));

	if (!leftover)
		return -ENOMEM;
	leftover->run = run;
	leftover->threshold_ns = threshold_ns;
	*ret_leftover = leftover;
	return 0;
}

static void group_free(struct leftover_group *group)
{
	free(group->path);
	free(group->container);
	free(group->bundle);
	free(group);
}

void leftover_groups_free(struct leftover_groups *leftover)
{
	if (!leftover)
		return;
	while (leftover->count)
		group_free(leftover->items[--leftover->count]);
	free(leftover);
}

/* --- Telling --- */

static cJSON *leftover_event(const struct leftover_groups *leftover,
			     const struct leftover_group *group, const int64_t *pids, size_t count,
			     uint64_t boot_ns)
{
	const struct cgroup_subject subject = {
		.fault = "leftover",
		.hierarchy = group->version == CGROUP_V1 ? group->controller : "unified",
		.version = group->version,
		.path = group->path,
		.id = group->id,
		.threshold_ns = leftover->threshold_ns,
	};
	cJSON *details = NULL;
	_cleanup_json_ cJSON *event = cgroup_event_json(
		leftover->run, pids ? "LeftoverContainer" : "Cleared", &subject, &details);

	if (!event || json_set_string(details, "containerId", group->container) < 0)
		return NULL;
	if (!pids)
		return TAKE_PTR(event);
	if (cgroup_set_seconds(details, "seconds", boot_ns - group->since_ns) < 0 ||
	    json_set_bool(details, "exact", group->evidence > EVIDENCE_PATH) < 0 ||
	    json_set_string(details, "knownBy", evidence_names[group->evidence]) < 0 ||
	    json_set_string(details, "bundle", group->bundle) < 0 ||
	    json_set(details, "members", cgroup_processes_json(leftover->run->host, pids, count)) <
		    0)
		return NULL;
	return TAKE_PTR(event);
}

/* PIDS NULL: it is over. */
static void tell(struct leftover_groups *leftover, struct leftover_group *group,
		 const int64_t *pids, size_t count, uint64_t boot_ns)
{
	struct finding finding = {
		.detector = leftover->run->detector->name,
		.type = pids ? "LeftoverContainer" : "Cleared",
		.cleared = !pids,
		.event = leftover_event(leftover, group, pids, count, boot_ns),
	};

	if (asprintf(&finding.subject, "leftover container in control group %s", group->path) < 0)
		finding.subject = NULL;
	if (!finding.subject || !finding.event) {
		log_error("reporting the leftover container in control group %s: out of memory",
			  group->path);
		finding_clear(&finding);
		return;
	}
	plain_copy(finding.subject, finding.subject, strlen(finding.subject));
	group->told_ns = pids ? boot_ns : 0;
	detector_report(leftover->run, &finding);
}

/* --- Whether its runtime has it --- */

static bool has_bundle(const struct leftover_groups *leftover, const struct leftover_group *group)
{
	return group->bundle && !host_lacks(leftover->run->host, group->bundle);
}

static bool has_shim(const struct leftover_groups *leftover, const struct leftover_group *group)
{
	struct process process;

	return group->shim &&
	       process_read_same(leftover->run->host, group->shim, group->shim_start_time,
				 &process) == 0 &&
	       !strchr("ZX", process.state);
}

static void set_bundle(struct leftover_group *group, const char *bundle)
{
	char *copy = strdup(bundle);

	if (!copy)
		return; /* at the next round */
	free(group->bundle);
	group->bundle = copy;
	group->evidence = EVIDENCE_BUNDLE_SEEN;
}

/* Its bundle as it is known by now, there or gone. */
static void find_bundle(const struct leftover_groups *leftover, struct leftover_group *group)
{
	struct container_registry *containers = leftover->run->containers;
	const struct container_names *names = NULL;
	_cleanup_free_ char *folder = NULL;

	if (containers && group->unique)
		names = container_registry_get(containers, group->container);
	else if (containers)
		names = container_registry_of_own_group(containers, group->path);
	if (names && names->bundle)
		set_bundle(group, names->bundle);
	else if (group->unique &&
		 container_storage_folder(leftover->run->host, group->container, &folder) == 0)
		set_bundle(group, folder);
}

/* The shim above the processes, by which its other bundles are known too. */
static void note_shim(const struct leftover_groups *leftover, struct leftover_group *group,
		      const struct process *supervisor)
{
	const struct detector_run *run = leftover->run;
	_cleanup_shim_ struct shim shim = {0};

	if (shim_of_process(run->host, supervisor->pid, &shim) < 0)
		return;
	group->shim = shim.process.pid;
	group->shim_start_time = shim.process.start_time;
	/* Those beside it may have groups whose paths do not tell whose they are. */
	if (shim.bundle && run->containers &&
	    container_registry_learn(run->containers, shim.bundle) == 0)
		container_registry_refresh(run->containers);
	find_bundle(leftover, group);
}

/*
 * True if somebody has it, or nothing is in it. ret_pids, the caller's to free, is what nobody looks
 * after.
 */
static bool is_well(const struct leftover_groups *leftover, struct leftover_group *group, int fd,
		    int64_t **ret_pids, size_t *ret_count)
{
	_cleanup_free_ int64_t *pids = NULL;
	struct process supervisor;
	size_t count;

	if (has_bundle(leftover, group) || has_shim(leftover, group))
		return true;
	find_bundle(leftover, group);
	if (has_bundle(leftover, group))
		return true;
	if (cgroup_processes_of(fd, &pids, &count) < 0)
		return true;
	int r = cgroup_supervisor_find(leftover->run->host, pids, count, PROCESSES_LOOKED_AT,
				       &supervisor);

	if (r == 0)
		note_shim(leftover, group, &supervisor);
	if (r != -ESRCH)
		return true;
	*ret_pids = TAKE_PTR(pids);
	*ret_count = count;
	return false;
}

/* --- Whether it is gone --- */

/* What was started from a bundle that is no runtime's, or that may block, is not ours to judge. */
static bool may_judge(const char *bundle)
{
	_cleanup_free_ char *namespace = NULL, *id = NULL;

	return bundle && !container_folder_is_on_disk(bundle) &&
	       bundle_split(bundle, &namespace, &id) == 0;
}

/* What speaks for it that the container is gone. */
static enum evidence find_evidence(const struct leftover_groups *leftover,
				   struct leftover_group *group)
{
	const struct host *host = leftover->run->host;
	_cleanup_free_ char *bundle = NULL;

	if (group->bundle)
		return group->evidence;
	int r = runtime_state_find(host, group->container, group->path, &bundle);

	if (r == -ENOENT && group->unique && container_runtime_is_here(host, group->runtime))
		return EVIDENCE_PATH;
	if (r < 0 || !may_judge(bundle))
		return EVIDENCE_NONE;
	if (!host_lacks(host, bundle)) {
		set_bundle(group, bundle);
		return EVIDENCE_NONE;
	}
	group->bundle = TAKE_PTR(bundle);
	return EVIDENCE_RUNTIME_STATE;
}

static void judge(struct leftover_groups *leftover, struct leftover_group *group,
		  const int64_t *pids, size_t count, uint64_t boot_ns)
{
	group->judged_ns = boot_ns;
	group->evidence = find_evidence(leftover, group);
	if (group->evidence != EVIDENCE_NONE)
		tell(leftover, group, pids, count, boot_ns);
}

/* --- Groups --- */

static struct leftover_group *find(const struct leftover_groups *leftover, uint64_t id)
{
	for (size_t i = 0; i < leftover->count; i++)
		if (leftover->items[i]->id == id)
			return leftover->items[i];
	return NULL;
}

static struct leftover_group *add(struct leftover_groups *leftover,
				  const struct cgroup_walk_group *seen, const char *container)
{
	uint32_t suppressed;

	if (leftover->count == LEFTOVER_GROUPS_MAX) {
		if (log_limit_pass(&leftover->full_limit, 1, WARNING_INTERVAL_NS, &suppressed))
			log_warning("more than %d containers have control groups: whether the "
				    "others, as %s, are left over is not watched",
				    LEFTOVER_GROUPS_MAX, seen->path);
		return NULL;
	}
	struct leftover_group *group = calloc(1, sizeof(*group));

	if (!group)
		return NULL;
	*group = (struct leftover_group){
		.id = seen->id, .path = strdup(seen->path), .container = strdup(container)};
	if (!group->path || !group->container) {
		group_free(group);
		return NULL;
	}
	leftover->items[leftover->count++] = group;
	return group;
}

/* A group that is a container's own, by its path or by what is known of the containers. */
static struct leftover_group *recognise(struct leftover_groups *leftover,
					const struct cgroup_walk_group *seen)
{
	struct container_registry *containers = leftover->run->containers;
	const struct container_names *names = NULL;
	struct container container;

	container_from_cgroup(seen->path, &container);
	/* What is below it belongs to it; and of a user's own we know neither bundles nor parents. */
	if (container.rootless || (container.id[0] && seen->path[container.group_length]))
		return NULL;
	if (!container.id[0] && containers)
		names = container_registry_of_own_group(containers, seen->path);
	if (!container.id[0] && !names)
		return NULL;
	struct leftover_group *group = add(leftover, seen, names ? names->id : container.id);

	if (!group)
		return NULL;
	group->runtime = names ? "" : container.runtime;
	group->unique = !names && strlen(container.id) == ID_DIGITS;
	return group;
}

void leftover_groups_visit(struct leftover_groups *leftover, enum cgroup_version version,
			   const char *controller, const struct cgroup_walk_group *seen,
			   uint64_t boot_ns)
{
	struct leftover_group *group = find(leftover, seen->id);
	_cleanup_free_ int64_t *pids = NULL;
	size_t count = 0;

	if (!group)
		group = recognise(leftover, seen);
	if (!group)
		return;
	group->version = version;
	group->controller = controller;
	group->round = leftover->round;
	if (is_well(leftover, group, seen->fd, &pids, &count)) {
		if (group->told_ns)
			tell(leftover, group, NULL, 0, boot_ns);
		group->since_ns = group->judged_ns = 0;
		return;
	}
	if (!group->since_ns)
		group->since_ns = boot_ns;
	uint64_t wait_ns = group->told_ns ? THRESHOLDS_UNTIL_TOLD_AGAIN * leftover->threshold_ns
					  : leftover->threshold_ns;

	if (boot_ns - MAX(group->since_ns, group->judged_ns) >= wait_ns)
		judge(leftover, group, pids, count, boot_ns);
}

void leftover_groups_round_end(struct leftover_groups *leftover, uint64_t boot_ns)
{
	for (size_t i = leftover->count; i-- > 0;) {
		struct leftover_group *group = leftover->items[i];

		if (group->round == leftover->round)
			continue;
		if (group->told_ns)
			tell(leftover, group, NULL, 0, boot_ns);
		group_free(group);
		leftover->items[i] = leftover->items[--leftover->count];
	}
	leftover->round++;
}
