/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recoverer thaw-cgroup: thaws a control group that stays frozen. Off by default, as a freeze may be
 * somebody's purpose. A container is thawed only while its runtime says, asked anew, that it did not
 * pause it; what no runtime answers for only where the setting `unowned` allows it; and never a
 * container whose runtime cannot be asked. It is the very group that was found: its folder's inode
 * number is compared on the folder that is written to.
 */
#include <inttypes.h>

#include "plugin/subject.h"
#include "plugin/subject_group.h"
#include "host/cgroup_freezer.h"
#include "host/cgroup_owner.h"
#include "host/shim_request.h"

#define QUESTION_NS (3 * NS_PER_S)

struct settings {
	bool unowned;
};

static const struct field settings_fields[] = {
	SCHEMA_FIELD(struct settings, unowned, "unowned", FIELD_BOOL),
};
static const struct schema settings_schema =
	SCHEMA("thaw-cgroup", struct settings, settings_fields, .extra_offset = SCHEMA_STRICT);

/* --- Whether it may be --- */

/* A runtime that paused it, or does not say, decides against it. */
static int ask_runtime(const struct plugin_call *call, const struct cgroup_owner *owner)
{
	_cleanup_free_ char *answer = NULL;
	int r = shim_ask(call->host, &owner->shim, owner->container, call->clock, QUESTION_NS,
			 &answer);

	if (r < 0)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "whether container %s is paused on purpose cannot be told: its "
				   "shim (pid %" PRId64 ") does not answer: %s",
				   owner->container, owner->shim.process.pid, strerror(-r));
	if (!streq(answer, "running"))
		return plugin_fail(PLUGIN_NOT_MINE, "its runtime says of container %s: %s",
				   owner->container, answer);
	return PLUGIN_RECOGNISED;
}

static int check_owner(const struct plugin_call *call, const char *path, const int64_t *pids,
		       size_t count)
{
	_cleanup_(container_registry_freep) struct container_registry *registry = NULL;
	const struct settings *settings = call->settings;
	_cleanup_cgroup_owner_ struct cgroup_owner owner = {0};
	struct container container;
	int r = container_registry_new(call->host, &registry);

	if (r == 0)
		r = cgroup_owner_find(call->host, registry, path, pids, count, &owner);
	if (r < 0)
		return r;
	if (!owner.why_not)
		return ask_runtime(call, &owner);
	if (owner.shim.process.pid || container_from_cgroup(path, &container))
		return plugin_fail(PLUGIN_NOT_MINE,
				   "whether it is paused on purpose cannot be told: %s",
				   owner.why_not);
	if (!settings || !settings->unowned)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "no runtime answers for control group %s, and the setting "
				   "`unowned` of thaw-cgroup is off",
				   path);
	return PLUGIN_RECOGNISED;
}

/* Says why the group, open as FD, may not be thawed, or returns PLUGIN_RECOGNISED. */
static int check_group(const struct plugin_call *call, const cJSON *json, int fd)
{
	enum cgroup_version version = subject_group_version(json);
	const char *path = json_string(json, "path");
	_cleanup_free_ int64_t *pids = NULL;
	struct cgroup_freezer freezer;
	size_t count;
	int r = cgroup_freezer_read(fd, version, &freezer);

	if (r == 0)
		r = cgroup_processes(call->host, version == CGROUP_V1 ? "freezer" : "", path, &pids,
				     &count);
	if (r < 0)
		return subject_group_refuse(r == -ENODEV ? -ENOENT : r, json);
	if (!freezer.asked)
		return plugin_fail(PLUGIN_NOT_MINE, "control group %s is not frozen any more",
				   path);
	if (count == 0)
		return plugin_fail(PLUGIN_NOT_MINE, "nothing is in control group %s", path);
	return check_owner(call, path, pids, count);
}

/* --- The steps --- */

static int plan(struct plugin_call *call)
{
	const cJSON *cgroup = json_at(plugin_details(call), "cgroup");
	char target[SUBJECT_TEXT_SIZE];

	if (!streq_ptr(call->abnormal->status.reason, "CgroupFrozen") || !cgroup)
		return PLUGIN_NOT_MINE;
	_cleanup_close_ int fd = subject_group_open(call, cgroup, "freezer");
	if (fd < 0)
		return subject_group_refuse(fd, cgroup);
	int r = check_group(call, cgroup, fd);
	if (r != PLUGIN_RECOGNISED)
		return r;
	subject_container_text(call->abnormal, json_string(cgroup, "path"), target);
	cJSON *plan = subject_group_plan(cgroup, target);

	return plan ? plugin_answer(call, plan) : -ENOMEM;
}

static int recover(struct plugin_call *call)
{
	const cJSON *plan = plugin_context_of(call, call->plugin->name);
	const char *path = json_string(plan, "path");
	_cleanup_close_ int fd = subject_group_open(call, plan, "freezer");

	if (fd < 0)
		return subject_group_refuse(fd, plan);
	int r = check_group(call, plan, fd);
	if (r != PLUGIN_RECOGNISED)
		return r;
	r = cgroup_freezer_thaw(fd, subject_group_version(plan));
	if (r < 0)
		return plugin_fail(r, "cannot thaw control group %s: %s", path, strerror(-r));
	r = subject_report(call, "thawed control group %s", path);
	return r < 0 ? r : PLUGIN_RECOGNISED;
}

static int verify(struct plugin_call *call)
{
	const cJSON *plan = plugin_context_of(call, call->plugin->name);
	const char *path = json_string(plan, "path");
	_cleanup_close_ int fd = subject_group_open(call, plan, "freezer");
	int r = fd < 0 ? fd : cgroup_freezer_runs(fd, subject_group_version(plan));

	if (r == -EINVAL)
		return plugin_fail(r, "status.context.%s.path is missing: there is no plan",
				   call->plugin->name);
	if (r == -ENOENT || r == -ESTALE || r == -ENODEV) {
		r = subject_report(call, "control group %s is gone", path);
		return r < 0 ? r : PLUGIN_RECOGNISED;
	}
	if (r < 0)
		return plugin_fail(r, "cannot read control group %s: %s", path, strerror(-r));
	if (r == 0)
		return plugin_fail(PLUGIN_NOT_MINE, "control group %s is frozen", path);
	r = subject_report(call, "its processes run again");
	return r < 0 ? r : PLUGIN_RECOGNISED;
}

static const char *const detectors[] = {"cgroup", NULL};

PLUGIN(thaw_cgroup_recoverer) = {
	.name = "thaw-cgroup",
	.summary = "thaws a control group that stays frozen though its runtime did not pause it",
	.kind = PLUGIN_RECOVERER,
	.order = 20,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.detectors = detectors,
	.disturbs = DISTURBS_CONTAINER,
	.off_by_default = true,
	.idempotent = true,
	.settings = &settings_schema,
	.plan = plan,
	.recover = recover,
	.verify = verify,
};
