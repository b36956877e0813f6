/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collector pressure: how much time the node, and the control group that the Abnormal is about,
 * lose waiting for processor, memory and disk.
 */
#include "plugin/subject.h"
#include "host/cgroup.h"
#include "host/pressure.h"

static int add_group(struct plugin_call *call, cJSON *answer)
{
	_cleanup_free_ char *path = subject_cgroup(call);
	enum cgroup_version version;

	if (!path)
		return 0;
	/* Pressure of groups is kept by the unified hierarchy alone. */
	_cleanup_close_ int fd = cgroup_open(call->host, "", path, &version);
	cJSON *pressure = fd < 0 ? NULL : pressure_cgroup(fd);
	if (!pressure)
		return 0;
	return json_set(answer, "cgroup", pressure) < 0 ||
			       json_set_string(answer, "cgroupPath", path) < 0
		       ? -ENOMEM
		       : 0;
}

static int collect(struct plugin_call *call)
{
	_cleanup_json_ cJSON *answer = cJSON_CreateObject();
	cJSON *node = pressure_node(call->host);

	if (!answer)
		return -ENOMEM;
	if (!node)
		return plugin_fail(
			PLUGIN_NOT_MINE,
			"this kernel keeps no pressure (PSI): boot with psi=1 to have it");
	if (json_set(answer, "node", node) < 0 || add_group(call, answer) < 0)
		return -ENOMEM;
	return plugin_answer(call, TAKE_PTR(answer));
}

static const char *const detectors[] = {"hung_task", "oom", NULL};

PLUGIN(pressure_collector) = {
	.name = "pressure",
	.summary = "stalls for processor, memory and disk (PSI) of the node and the control group",
	.kind = PLUGIN_COLLECTOR,
	.order = 30,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.detectors = detectors,
	.troubleshooting = true,
	.collect = collect,
};
