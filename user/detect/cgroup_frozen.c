/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frozen control groups. A container that its runtime paused is frozen like any other, so the runtime
 * is asked: containerd's shims tell `paused` of what they paused themselves (host/shim_request.h). Where
 * nobody can be asked, the finding says so.
 */
#include "detect/cgroup.h"

#include <inttypes.h>

#include "base/plain.h"
#include "host/cgroup_freezer.h"
#include "host/cgroup_owner.h"
#include "host/shim_request.h"

#define ANSWER_WITHIN_NS (5 * NS_PER_S)
#define QUESTION_PERIOD_NS (100 * NS_PER_MS)
#define THRESHOLDS_UNTIL_TOLD_AGAIN 10
#define WARNING_INTERVAL_NS (600 * NS_PER_S)

enum frozen_state {
	FROZEN_COUNTING,
	FROZEN_ASKING,
	FROZEN_TOLD,
	FROZEN_ON_PURPOSE,
};

struct frozen_group {
	enum cgroup_version version;
	uint64_t id;
	char *path;
	struct cgroup_freezer freezer;
	uint64_t since_ns, told_ns, asked_ns; /* boot time */
	uint64_t round;
	enum frozen_state state;
	struct cgroup_owner owner;
	struct shim_request *request;
	char *answer; /* "running"; NULL: none */
	const char *outcome; /* why there is no answer; static, or NULL */
};

struct frozen_groups {
	struct detector_run *run;
	uint64_t threshold_ns, round;
	struct frozen_group *items[FROZEN_GROUPS_MAX];
	size_t count;
	struct log_limit full_limit;
};

int frozen_groups_new(struct detector_run *run, uint64_t threshold_ns,
		      struct frozen_groups **ret_frozen)
{
	struct frozen_groups *frozen = calloc(1, sizeof(*frozen));

	if (!frozen)
		return -ENOMEM;
	frozen->run = run;
	frozen->threshold_ns = threshold_ns;
	*ret_frozen = frozen;
	return 0;
}

static void group_free(struct frozen_group *group)
{
	cgroup_owner_clear(&group->owner);
	shim_request_free(group->request);
	free(group->answer);
	free(group->path);
	free(group);
}

void frozen_groups_free(struct frozen_groups *frozen)
{
	if (!frozen)
		return;
	while (frozen->count)
		group_free(frozen->items[--frozen->count]);
	free(frozen);
}

/* --- Telling --- */

static cJSON *runtime_json(const struct frozen_group *group)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	const struct cgroup_owner *owner = &group->owner;
	const char *unknown = owner->why_not ? owner->why_not : group->outcome;

	if (!json || json_set_string(json, "container", owner->container) < 0 ||
	    json_set_string(json, "state", group->answer) < 0 ||
	    json_set_string(json, "unknown", unknown) < 0 ||
	    (owner->shim.process.pid && json_set(json, "shim", shim_json(&owner->shim)) < 0))
		return NULL;
	return TAKE_PTR(json);
}

static cJSON *frozen_event(const struct frozen_groups *frozen, const struct frozen_group *group,
			   const int64_t *pids, size_t pid_count, uint64_t boot_ns)
{
	bool v1 = group->version == CGROUP_V1;
	const struct cgroup_subject subject = {
		.fault = "frozen",
		.hierarchy = v1 ? "freezer" : "unified",
		.version = group->version,
		.path = group->path,
		.id = group->id,
		.threshold_ns = frozen->threshold_ns,
	};
	cJSON *details = NULL;
	_cleanup_json_ cJSON *event = cgroup_event_json(
		frozen->run, pids ? "CgroupFrozen" : "Cleared", &subject, &details);

	if (!event || cgroup_set_seconds(details, "seconds", boot_ns - group->since_ns) < 0)
		return NULL;
	if (pids && (json_set_string(details, "state",
				     cgroup_freezer_state(&group->freezer, group->version)) < 0 ||
		     json_set(details, "runtime", runtime_json(group)) < 0 ||
		     json_set(details, "members",
			      cgroup_processes_json(frozen->run->host, pids, pid_count)) < 0))
		return NULL;
	return TAKE_PTR(event);
}

/* PIDS NULL: it goes on. */
static void tell(struct frozen_groups *frozen, struct frozen_group *group, const int64_t *pids,
		 size_t pid_count, uint64_t boot_ns)
{
	struct finding finding = {
		.detector = frozen->run->detector->name,
		.type = pids ? "CgroupFrozen" : "Cleared",
		.cleared = !pids,
		.event = frozen_event(frozen, group, pids, pid_count, boot_ns),
	};

	if (asprintf(&finding.subject, "frozen control group %s", group->path) < 0)
		finding.subject = NULL;
	if (!finding.subject || !finding.event) {
		log_error("reporting the frozen control group %s: out of memory", group->path);
		finding_clear(&finding);
		return;
	}
	plain_copy(finding.subject, finding.subject, strlen(finding.subject));
	group->told_ns = boot_ns;
	detector_report(frozen->run, &finding);
}

/* Processes in the group now; whether there are any, and the list, the caller's to free. */
static bool read_members(const struct frozen_groups *frozen, const struct frozen_group *group,
			 int64_t **ret_pids, size_t *ret_count)
{
	const char *controller = group->version == CGROUP_V1 ? "freezer" : "";
	_cleanup_free_ int64_t *pids = NULL;
	size_t count;

	if (cgroup_processes(frozen->run->host, controller, group->path, &pids, &count) < 0 ||
	    !count)
		return false;
	*ret_pids = TAKE_PTR(pids);
	*ret_count = count;
	return true;
}

static void tell_frozen(struct frozen_groups *frozen, struct frozen_group *group, uint64_t boot_ns)
{
	_cleanup_free_ int64_t *pids = NULL;
	size_t count;

	if (read_members(frozen, group, &pids, &count))
		tell(frozen, group, pids, count, boot_ns);
}

/* --- Asking --- */

static void end_question(struct frozen_groups *frozen, struct frozen_group *group,
			 const char *outcome, uint64_t boot_ns)
{
	shim_request_free(group->request);
	group->request = NULL;
	group->outcome = outcome;
	if (streq_ptr(group->answer, "paused") || streq_ptr(group->answer, "pausing")) {
		group->state = FROZEN_ON_PURPOSE;
		return;
	}
	group->state = FROZEN_TOLD;
	tell_frozen(frozen, group, boot_ns);
}

static void begin_question(struct frozen_groups *frozen, struct frozen_group *group,
			   uint64_t boot_ns)
{
	const struct detector_run *run = frozen->run;
	_cleanup_free_ int64_t *pids = NULL;
	size_t count;

	/* Empty: nobody waits for it; it may be a container that is being made or ended. */
	if (!read_members(frozen, group, &pids, &count))
		return;
	if (cgroup_owner_find(run->host, run->containers, group->path, pids, count, &group->owner) <
	    0)
		return; /* out of memory: at the next round */
	group->asked_ns = boot_ns;
	group->state = FROZEN_ASKING;
	if (group->owner.why_not) {
		end_question(frozen, group, NULL, boot_ns);
		return;
	}
	int r = shim_request_start(run->host, &group->owner.shim, group->owner.container,
				   &group->request);
	if (r < 0)
		end_question(frozen, group,
			     r == -EAGAIN	  ? "its shim does not accept connections"
			     : r == -ECONNREFUSED ? "its shim has closed its socket"
						  : "its shim cannot be reached",
			     boot_ns);
}

static void go_on_asking(struct frozen_groups *frozen, struct frozen_group *group, uint64_t boot_ns)
{
	int r = shim_request_check(group->request, &group->answer);

	if (r == -EINPROGRESS && boot_ns < group->asked_ns + ANSWER_WITHIN_NS)
		return;
	end_question(frozen, group,
		     r == 0		 ? NULL
		     : r == -EINPROGRESS ? "its shim does not answer"
					 : "its shim ended the connection",
		     boot_ns);
}

uint64_t frozen_groups_look(struct frozen_groups *frozen, uint64_t boot_ns)
{
	uint64_t next_ns = 0;

	for (size_t i = 0; i < frozen->count; i++) {
		struct frozen_group *group = frozen->items[i];

		if (group->state == FROZEN_ASKING)
			go_on_asking(frozen, group, boot_ns);
		if (group->state == FROZEN_ASKING)
			next_ns = QUESTION_PERIOD_NS;
	}
	return next_ns;
}

/* --- Groups --- */

static struct frozen_group *find(const struct frozen_groups *frozen, enum cgroup_version version,
				 uint64_t id)
{
	for (size_t i = 0; i < frozen->count; i++)
		if (frozen->items[i]->id == id && frozen->items[i]->version == version)
			return frozen->items[i];
	return NULL;
}

static struct frozen_group *add(struct frozen_groups *frozen, enum cgroup_version version,
				const struct cgroup_walk_group *seen, uint64_t boot_ns)
{
	uint32_t suppressed;

	if (frozen->count == FROZEN_GROUPS_MAX) {
		if (log_limit_pass(&frozen->full_limit, 1, WARNING_INTERVAL_NS, &suppressed))
			log_warning(
				"more than %d control groups are frozen at once: the others, as "
				"%s, are not watched",
				FROZEN_GROUPS_MAX, seen->path);
		return NULL;
	}
	struct frozen_group *group = calloc(1, sizeof(*group));
	char *path = strdup(seen->path);

	if (!group || !path) {
		free(group);
		free(path);
		return NULL;
	}
	*group = (struct frozen_group){
		.version = version, .id = seen->id, .path = path, .since_ns = boot_ns};
	frozen->items[frozen->count++] = group;
	return group;
}

bool frozen_groups_visit(struct frozen_groups *frozen, enum cgroup_version version,
			 const struct cgroup_walk_group *seen, uint64_t boot_ns)
{
	struct cgroup_freezer freezer;

	if (cgroup_freezer_read(seen->fd, version, &freezer) < 0 || !freezer.asked)
		return false;
	/* v2 calls an empty group frozen as well. */
	if (!freezer.populated)
		return true;
	struct frozen_group *group = find(frozen, version, seen->id);

	if (!group)
		group = add(frozen, version, seen, boot_ns);
	if (!group)
		return true;
	group->freezer = freezer;
	group->round = frozen->round;
	if (group->state == FROZEN_COUNTING && boot_ns - group->since_ns >= frozen->threshold_ns)
		begin_question(frozen, group, boot_ns);
	else if (group->state == FROZEN_TOLD &&
		 boot_ns - group->told_ns >= THRESHOLDS_UNTIL_TOLD_AGAIN * frozen->threshold_ns)
		tell_frozen(frozen, group, boot_ns);
	return true;
}

void frozen_groups_round_end(struct frozen_groups *frozen, uint64_t boot_ns)
{
	for (size_t i = frozen->count; i-- > 0;) {
		struct frozen_group *group = frozen->items[i];

		if (group->round == frozen->round)
			continue;
		if (group->told_ns)
			tell(frozen, group, NULL, 0, boot_ns);
		group_free(group);
		frozen->items[i] = frozen->items[--frozen->count];
	}
	frozen->round++;
}
