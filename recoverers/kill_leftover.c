/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recoverer kill-leftover: kills what a container that is gone left behind, and removes its control
 * groups. Off by default, as what is killed may still serve somebody. It takes only what is certain to be
 * gone (details.exact), and looks again at the last moment: a bundle that is there, any record of a
 * runtime's, anybody who looks after the processes, and it is left alone. It is the very group that was
 * found, by its folder's inode number, and nothing outside of it is touched.
 */
#include <inttypes.h>

#include "plugin/subject.h"
#include "plugin/subject_group.h"
#include "host/cgroup_freezer.h"
#include "host/cgroup_kill.h"
#include "host/cgroup_supervisor.h"
#include "host/container_sources.h"
#include "host/runtime_state.h"
#include "host/shim_bundle.h"

#define ENDING_NS (5 * NS_PER_S) /* well below the time of a call */

/* The group's hierarchy, by a controller that it has. */
static const char *controller_of(const cJSON *json)
{
	const char *hierarchy = json_string(json, "hierarchy");

	return hierarchy ? hierarchy : "pids";
}

/* --- Whether it may be --- */

/*
 * The Abnormal may have been written by anybody who may use the API: that the group is that container's,
 * and the bundle too, is to be seen from what they are called, or from what runc wrote down.
 */
static int check_names(const struct plugin_call *call, const char *id, const char *path,
		       const char *bundle)
{
	_cleanup_free_ char *namespace = NULL, *bundle_id = NULL, *started_from = NULL;
	struct container container;

	container_from_cgroup(path, &container);
	if (container.rootless)
		return plugin_fail(PLUGIN_NOT_MINE, "control group %s is a user's own", path);
	if ((!streq(container.id, id) || path[container.group_length]) &&
	    runtime_state_find(call->host, id, path, &started_from) < 0)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "that control group %s is container %s's cannot be told", path,
				   id);
	if (!bundle || bundle_split(bundle, &namespace, &bundle_id) < 0 || !streq(bundle_id, id))
		return plugin_fail(PLUGIN_NOT_MINE, "the bundle that container %s had is not told",
				   id);
	return PLUGIN_RECOGNISED;
}

/* A record of a container that is called ID, but not of this one: plain `ctr` has them in each namespace. */
static bool is_of_other(const struct container_names *names, const char *path)
{
	return names->cgroup && !streq(names->cgroup, path);
}

/* Says who still knows the container, or returns PLUGIN_RECOGNISED. */
static int check_records(const struct plugin_call *call, const char *id, const char *path,
			 const char *bundle)
{
	_cleanup_container_names_ struct container_names names = {0};
	_cleanup_free_ char *folder = NULL, *started_from = NULL;

	if (!host_lacks(call->host, bundle))
		return plugin_fail(PLUGIN_NOT_MINE, "the bundle of container %s is there: %s", id,
				   bundle);
	int r = container_names_find(call->host, id, true, &names);

	if (r == 0 && !is_of_other(&names, path))
		return plugin_fail(PLUGIN_NOT_MINE, "%s still has a record of container %s%s%s",
				   names.runtime ? names.runtime : "its runtime", id,
				   names.bundle ? ": " : "", names.bundle ? names.bundle : "");
	if (r < 0 && r != -ENOENT)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "whether a runtime still has container %s cannot be told: %s",
				   id, strerror(-r));
	r = container_storage_folder(call->host, id, &folder);
	if (r == 0)
		return plugin_fail(PLUGIN_NOT_MINE, "a runtime still has container %s: %s", id,
				   folder);
	r = r == -ENOENT ? runtime_state_find(call->host, id, path, &started_from) : r;
	if (r == 0 && started_from && !host_lacks(call->host, started_from))
		return plugin_fail(PLUGIN_NOT_MINE,
				   "container %s was started from %s, which is there", id,
				   started_from);
	return r < 0 && r != -ENOENT ? r : PLUGIN_RECOGNISED;
}

/* Says who looks after the processes, or returns PLUGIN_RECOGNISED. */
static int check_processes(const struct plugin_call *call, const char *path, const int64_t *pids,
			   size_t count)
{
	struct process supervisor;
	int r = cgroup_supervisor_find(call->host, pids, count, count, &supervisor);

	if (r == -ENODATA)
		return plugin_fail(PLUGIN_NOT_MINE, "nothing is in control group %s", path);
	if (r == 0)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "%s (pid %" PRId64 ") looks after the processes in control "
				   "group %s",
				   supervisor.comm, supervisor.pid, path);
	if (r != -ESRCH)
		return plugin_fail(r, "cannot tell who looks after the processes in %s: %s", path,
				   strerror(-r));
	for (size_t i = 0; i < count; i++)
		if (subject_is_above_this(call->host, pids[i]))
			return plugin_fail(PLUGIN_NOT_MINE,
					   "control group %s has lifeboat itself in it, or what it "
					   "runs under",
					   path);
	return PLUGIN_RECOGNISED;
}

/* All of it, for the group of JSON that is open as FD. ret_count is how many processes are in it. */
static int check(const struct plugin_call *call, const cJSON *json, int fd, size_t *ret_count)
{
	const char *id = json_string(json, "containerId"), *path = json_string(json, "path"),
		   *bundle = json_string(json, "bundle");
	_cleanup_free_ int64_t *pids = NULL;

	if (!id || !*id)
		return plugin_fail(-EINVAL, "the container's id is not told");
	int r = check_names(call, id, path, bundle);

	if (r == PLUGIN_RECOGNISED)
		r = check_records(call, id, path, bundle);
	if (r != PLUGIN_RECOGNISED)
		return r;
	r = cgroup_processes_of(fd, &pids, ret_count);

	if (r < 0)
		return subject_group_refuse(r, json);
	return check_processes(call, path, pids, *ret_count);
}

/* --- The steps --- */

/* By what recover and verify find it again. */
static cJSON *find_again(const struct plugin_call *call)
{
	const cJSON *details = plugin_details(call), *group = json_at(details, "cgroup");
	_cleanup_json_ cJSON *plan = subject_group_plan(group, NULL);

	if (!plan || json_set_string(plan, "hierarchy", json_string(group, "hierarchy")) < 0 ||
	    json_set_string(plan, "containerId", json_string(details, "containerId")) < 0 ||
	    json_set_string(plan, "bundle", json_string(details, "bundle")) < 0)
		return NULL;
	return TAKE_PTR(plan);
}

static int plan(struct plugin_call *call)
{
	const cJSON *details = plugin_details(call);
	char target[SUBJECT_TEXT_SIZE + 64], name[SUBJECT_TEXT_SIZE];
	size_t count;

	if (!streq_ptr(call->abnormal->status.reason, "LeftoverContainer") ||
	    !json_at(details, "cgroup"))
		return PLUGIN_NOT_MINE;
	if (!json_bool(details, "exact", false))
		return plugin_fail(PLUGIN_NOT_MINE,
				   "that the container is gone is concluded from its control "
				   "group's name alone: that is for a person to decide");
	_cleanup_json_ cJSON *plan = find_again(call);

	if (!plan)
		return -ENOMEM;
	_cleanup_close_ int fd = subject_group_open(call, plan, controller_of(plan));

	if (fd < 0)
		return subject_group_refuse(fd, plan);
	int r = check(call, plan, fd, &count);

	if (r != PLUGIN_RECOGNISED)
		return r;
	subject_container_text(call->abnormal, json_string(plan, "path"), name);
	snprintf(target, sizeof(target), "the %zu process%s left of %s", count,
		 count == 1 ? "" : "es", name);
	if (json_set_string(plan, "target", target) < 0)
		return -ENOMEM;
	return plugin_answer(call, TAKE_PTR(plan));
}

/*
 * Kills, and where a v1 freezer holds it, lets go of it between: a frozen task takes the signal only
 * when it is thawed.
 */
static int kill_group(const struct plugin_call *call, const char *path, int fd,
		      struct cgroup_killed *ret_killed)
{
	struct cgroup_freezer freezer = {0};
	enum cgroup_version version = CGROUP_NONE;
	_cleanup_close_ int freezer_fd = cgroup_open(call->host, "freezer", path, &version);
	int r = 0;

	if (freezer_fd < 0 || version != CGROUP_V1 ||
	    cgroup_freezer_read(freezer_fd, version, &freezer) < 0 || !freezer.asked)
		return cgroup_kill(call->host, call->clock, fd, ENDING_NS, ret_killed);
	struct cgroup_killed first;

	r = cgroup_kill(call->host, call->clock, fd, 0, &first);
	if (r == 0)
		r = cgroup_freezer_thaw(freezer_fd, version);
	if (r == 0)
		r = cgroup_kill(call->host, call->clock, fd, ENDING_NS, ret_killed);
	if (r == 0)
		ret_killed->found = MAX(ret_killed->found, first.found);
	return r;
}

/* The groups are removed where they are still the ones that were emptied. */
static int finish(struct plugin_call *call, const cJSON *plan, const struct cgroup_killed *killed)
{
	size_t removed = 0, left = 0;
	const char *plural = killed->found == 1 ? "" : "es";

	if (killed->left)
		return subject_report(call,
				      "sent SIGKILL to %zu process%s; %zu of them had not ended "
				      "%d s later (pid %" PRId64 ")",
				      killed->found, plural, killed->left,
				      (int)(ENDING_NS / NS_PER_S), killed->example);
	_cleanup_close_ int fd = subject_group_open(call, plan, controller_of(plan));
	int r = fd < 0 ? fd : cgroup_remove(call->host, json_string(plan, "path"), &removed, &left);

	/* A group of systemd's goes by itself when it is empty. */
	if (r < 0 && r != -ENOENT && r != -ESTALE)
		return subject_report(call,
				      "killed %zu process%s; the control groups cannot be removed: "
				      "%s",
				      killed->found, plural, strerror(-r));
	if (left)
		return subject_report(call,
				      "killed %zu process%s and removed %zu control groups; %zu "
				      "are left",
				      killed->found, plural, removed, left);
	return subject_report(call, "killed %zu process%s and removed the control group%s",
			      killed->found, plural, removed == 1 ? "" : "s");
}

static int recover(struct plugin_call *call)
{
	const cJSON *plan = plugin_context_of(call, call->plugin->name);
	const char *path = json_string(plan, "path");
	struct cgroup_killed killed;
	size_t count;
	_cleanup_close_ int fd = subject_group_open(call, plan, controller_of(plan));

	if (fd < 0)
		return subject_group_refuse(fd, plan);
	int r = check(call, plan, fd, &count);
	if (r != PLUGIN_RECOGNISED)
		return r;
	r = kill_group(call, path, fd, &killed);
	if (r < 0)
		return plugin_fail(r, "cannot kill what is in control group %s: %s", path,
				   strerror(-r));
	r = finish(call, plan, &killed);
	return r < 0 ? r : PLUGIN_RECOGNISED;
}

static int say_who_is_left(const struct plugin_call *call, const int64_t *pids, size_t count)
{
	struct process process = {.comm = "?"};

	process_read(call->host, pids[0], &process);
	return plugin_fail(PLUGIN_NOT_MINE, "%zu process%s still there: %s (pid %" PRId64 ")%s",
			   count, count == 1 ? " is" : "es are", process.comm, pids[0],
			   process.state == 'D' ? " is in uninterruptible sleep, which SIGKILL "
						  "does not end"
						: "");
}

static int verify(struct plugin_call *call)
{
	const cJSON *plan = plugin_context_of(call, call->plugin->name);
	_cleanup_free_ int64_t *pids = NULL;
	size_t count = 0;
	_cleanup_close_ int fd = subject_group_open(call, plan, controller_of(plan));
	int r = fd < 0 ? fd : cgroup_processes_of(fd, &pids, &count);

	if (r == -EINVAL)
		return plugin_fail(r, "status.context.%s.path is missing: there is no plan",
				   call->plugin->name);
	if (r < 0 && r != -ENOENT && r != -ESTALE)
		return plugin_fail(r, "cannot read control group %s: %s", json_string(plan, "path"),
				   strerror(-r));
	if (count)
		return say_who_is_left(call, pids, count);
	r = r < 0 ? subject_report(call, "its processes have ended, and its control group is gone")
		  : subject_report(call, "its processes have ended; its control group is empty");
	return r < 0 ? r : PLUGIN_RECOGNISED;
}

static const char *const detectors[] = {"cgroup", NULL};

PLUGIN(kill_leftover_recoverer) = {
	.name = "kill-leftover",
	.summary = "kills what a container that is gone left behind, and removes its control group",
	.kind = PLUGIN_RECOVERER,
	.order = 30,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.detectors = detectors,
	.disturbs = DISTURBS_CONTAINER,
	.off_by_default = true,
	.idempotent = true, /* the group is found by its inode number, which is gone with it */
	.plan = plan,
	.recover = recover,
	.verify = verify,
};
