/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups by path and inode number. */
#include "plugin/subject_group.h"

#include <sys/stat.h>

enum cgroup_version subject_group_version(const cJSON *group)
{
	return json_number(group, "version", 2) < 2 ? CGROUP_V1 : CGROUP_V2;
}

int subject_group_open(const struct plugin_call *call, const cJSON *group, const char *controller)
{
	enum cgroup_version version = subject_group_version(group), found;
	const char *path = json_string(group, "path");
	struct stat status;

	if (!path || !json_u64(group, "id"))
		return -EINVAL;
	_cleanup_close_ int fd =
		cgroup_open(call->host, version == CGROUP_V1 ? controller : "", path, &found);
	if (fd < 0)
		return fd;
	if (fstat(fd, &status) < 0)
		return -errno;
	if (found != version || status.st_ino != json_u64(group, "id"))
		return -ESTALE;
	return TAKE_FD(fd);
}

int subject_group_refuse(int code, const cJSON *group)
{
	const char *path = json_string(group, "path");

	if (code == -EINVAL)
		return plugin_fail(code, "the control group's path and id are not told");
	if (code == -ENOENT || code == -ESTALE)
		return plugin_fail(PLUGIN_NOT_MINE, "control group %s is gone%s", path,
				   code == -ESTALE ? ": there is another one of its name now" : "");
	return plugin_fail(code, "cannot open control group %s: %s", path, strerror(-code));
}

cJSON *subject_group_plan(const cJSON *group, const char *target)
{
	_cleanup_json_ cJSON *plan = cJSON_CreateObject();

	if (!plan || json_set_string(plan, "target", target) < 0 ||
	    json_set_string(plan, "path", json_string(group, "path")) < 0 ||
	    json_set_number(plan, "id", json_number(group, "id", 0)) < 0 ||
	    json_set_number(plan, "version", json_number(group, "version", 2)) < 0)
		return NULL;
	return TAKE_PTR(plan);
}
