/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recoverer oom-settled: an OOM kill is itself the kernel's repair, so nothing is done here; it is
 * proven that the repair was one. It is when the workload runs again, or when what is left stays
 * well below the limit with no further kill; for a whole node, when there is memory again and tasks
 * no longer wait for it. A container that stopped and did not come back is not settled.
 */
#include <inttypes.h>

#include "base/file.h"
#include "base/size.h"
#include "plugin/subject.h"
#include "plugin/subject_successor.h"
#include "host/cgroup.h"
#include "host/pressure.h"

#define WELL_BELOW 0.8 /* of the limit */
#define NODE_AVAILABLE 0.1 /* of the node's memory */
#define NODE_PRESSURE_MOST 10.0 /* percent of the last 10 s */
#define SETTLE_NS (2 * NS_PER_S) /* a group that is killed again at once has not settled */

static void read_victim(const struct plugin_call *call, struct predecessor *victim)
{
	predecessor_read(call, json_string(json_at(plugin_details(call), "limitCgroup"), "path"),
			 victim);
}

static int plan(struct plugin_call *call)
{
	const struct abnormal_status *status = &call->abnormal->status;
	const char *path = json_string(json_at(plugin_details(call), "limitCgroup"), "path");
	_cleanup_json_ cJSON *plan = cJSON_CreateObject();
	bool of_node = streq_ptr(status->reason, "NodeOutOfMemory");
	char target[SUBJECT_TEXT_SIZE];
	struct cgroup_memory memory;

	if (!call->abnormal->spec.kernel_event ||
	    (!of_node && !streq_ptr(status->reason, "ContainerOutOfMemory")))
		return PLUGIN_NOT_MINE;
	if (!of_node && !path)
		return plugin_fail(PLUGIN_NOT_MINE, "the group whose limit was hit is not known");
	if (of_node)
		snprintf(target, sizeof(target), "the node's memory");
	else
		subject_container_text(call->abnormal, path, target);
	if (!plan || json_set_string(plan, "target", target) < 0 ||
	    json_set_string(plan, "limitCgroup", of_node ? NULL : path) < 0)
		return -ENOMEM;
	if (!of_node && cgroup_memory_read(call->host, path, &memory) == 0 &&
	    json_set_number(plan, "oomKills", (double)memory.oom_kills) < 0)
		return -ENOMEM;
	return plugin_answer(call, TAKE_PTR(plan));
}

static double meminfo_bytes(const char *text, const char *key)
{
	const char *line = strstr(text, key);

	return line ? strtod(line + strlen(key), NULL) * 1024 : 0;
}

static int verify_node(struct plugin_call *call, const struct predecessor *victim)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ cJSON *pressure = pressure_node(call->host);
	const cJSON *full = json_at(pressure, "memory.full.avg10");
	char a[SIZE_TEXT_SIZE], b[SIZE_TEXT_SIZE];
	int r = file_read(call->host->proc, "meminfo", 64 * KIB, &text, NULL);

	if (r < 0)
		return plugin_fail(r, "cannot read /proc/meminfo: %s", strerror(-r));
	double total = meminfo_bytes(text, "MemTotal:"),
	       available = meminfo_bytes(text, "MemAvailable:");
	size_format_number(available, a);
	size_format_number(total, b);
	if (available <= NODE_AVAILABLE * total)
		return plugin_fail(PLUGIN_NOT_MINE, "only %s of %s are available on the node", a,
				   b);
	if (cJSON_IsNumber(full) && full->valuedouble >= NODE_PRESSURE_MOST)
		return plugin_fail(
			PLUGIN_NOT_MINE,
			"all tasks of the node waited for memory %.1f %% of the last 10 s",
			full->valuedouble);
	int64_t successor = successor_find(call, victim);
	if (successor)
		r = subject_report(
			call, "%s of %s are available again, and %s runs again (pid %" PRId64 ")",
			a, b, victim->comm, successor);
	else
		r = subject_report(call,
				   "%s of %s are available again; %s has not been started again", a,
				   b, victim->comm ? victim->comm : "the killed process");
	return r < 0 ? r : PLUGIN_RECOGNISED;
}

static int verify_successor(struct plugin_call *call, const struct predecessor *victim,
			    const char *where)
{
	int64_t successor = successor_find(call, victim);

	if (!successor)
		return PLUGIN_NOT_MINE;
	int r = subject_report(call, "%s runs again (pid %" PRId64 ")%s", victim->comm, successor,
			       where);
	return r < 0 ? r : PLUGIN_RECOGNISED;
}

static int verify_group(struct plugin_call *call, const struct predecessor *victim)
{
	const cJSON *plan = plugin_context_of(call, call->plugin->name);
	const char *path = json_string(plan, "limitCgroup");
	_cleanup_free_ int64_t *pids = NULL;
	char usage[SIZE_TEXT_SIZE], limit[SIZE_TEXT_SIZE], where[96];
	struct cgroup_memory memory;
	size_t left = 0;

	if (!path)
		return plugin_fail(-EINVAL,
				   "status.context.%s.limitCgroup is missing: there is no plan",
				   call->plugin->name);
	int r = cgroup_memory_read(call->host, path, &memory);
	if (r < 0) {
		int back = verify_successor(call, victim, ", in a new group");

		if (back != PLUGIN_NOT_MINE)
			return back;
		if (r == -ENOENT)
			return plugin_fail(PLUGIN_NOT_MINE,
					   "the group is gone with all that ran in it, and %s has "
					   "not come back",
					   victim->comm ? victim->comm : "the workload");
		return plugin_fail(r, "cannot read the memory of control group %s: %s", path,
				   strerror(-r));
	}
	if ((double)memory.oom_kills > json_number(plan, "oomKills", (double)memory.oom_kills))
		return plugin_fail(PLUGIN_NOT_MINE, "the kernel has killed in this group again");
	size_format(memory.usage_bytes, usage);
	bool limited = memory.limit_bytes != UINT64_MAX;
	if (limited)
		snprintf(where, sizeof(where), "; the group is at %s of %s", usage,
			 size_format(memory.limit_bytes, limit));
	else
		snprintf(where, sizeof(where), "; the group is at %s and has no limit any more",
			 usage);
	r = verify_successor(call, victim, where);
	if (r != PLUGIN_NOT_MINE)
		return r;
	if (limited && (double)memory.usage_bytes >= WELL_BELOW * (double)memory.limit_bytes)
		return plugin_fail(PLUGIN_NOT_MINE, "the group is still at %s of its limit of %s",
				   usage, limit);
	if (cgroup_processes(call->host, "memory", victim->path ? victim->path : path, &pids,
			     &left) < 0)
		left = 0;
	if (left == 0 && victim->in_container)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "the container has stopped and has not come back");
	if (left)
		r = subject_report(call, "no further kill%s; %zu of its processes go%s on", where,
				   left, left == 1 ? "es" : "");
	else
		r = subject_report(call, "no further kill%s; nothing runs in it any more", where);
	return r < 0 ? r : PLUGIN_RECOGNISED;
}

static int verify(struct plugin_call *call)
{
	struct predecessor victim;

	if (!call->abnormal->spec.kernel_event)
		return plugin_fail(-EINVAL, "spec.kernelEvent is missing");
	if (clock_boot(call->clock) - event_boot_ns(call) < SETTLE_NS)
		return plugin_fail(PLUGIN_NOT_MINE, "the kill was a moment ago");
	read_victim(call, &victim);
	if (streq_ptr(call->abnormal->status.reason, "NodeOutOfMemory"))
		return verify_node(call, &victim);
	return verify_group(call, &victim);
}

PLUGIN(oom_settled_recoverer) = {
	.name = "oom-settled",
	.summary = "does nothing, and proves that an OOM kill has settled: the workload is back, "
		   "or memory is free again",
	.kind = PLUGIN_RECOVERER,
	.order = 10,
	.disturbs = DISTURBS_NONE,
	.idempotent = true,
	.plan = plan,
	.verify = verify,
};
