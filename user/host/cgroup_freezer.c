/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Freezers of control groups. What is read of every group (freezer.self_freezing, cgroup.freeze) is a
 * flag that the kernel gives without a lock; only where it is set, the rest is read.
 */
#include "host/cgroup_freezer.h"

#include <fcntl.h>

#include "base/file.h"

#define STATE_BYTES_MAX 4096

static int read_v1(int group_fd, struct cgroup_freezer *freezer)
{
	_cleanup_free_ char *state = NULL;
	int r = file_read(group_fd, "freezer.state", STATE_BYTES_MAX, &state, NULL);

	if (r == 0)
		freezer->complete = startswith(state, "FROZEN") != NULL;
	return r;
}

static int read_v2(int group_fd, struct cgroup_freezer *freezer)
{
	uint64_t frozen, populated;
	int r = file_read_keyed_u64(group_fd, "cgroup.events", "frozen", &frozen);

	if (r == 0)
		r = file_read_keyed_u64(group_fd, "cgroup.events", "populated", &populated);
	if (r < 0)
		return r;
	freezer->complete = frozen;
	freezer->populated = populated;
	return 0;
}

int cgroup_freezer_read(int group_fd, enum cgroup_version version,
			struct cgroup_freezer *ret_freezer)
{
	bool v1 = version == CGROUP_V1;
	struct cgroup_freezer freezer = {.populated = true};
	uint64_t asked;
	int r = file_read_u64(group_fd, v1 ? "freezer.self_freezing" : "cgroup.freeze", &asked);

	/* A root has no such file; nor has v2 before Linux 5.2. */
	if (r == -ENOENT) {
		*ret_freezer = freezer;
		return 0;
	}
	if (r < 0)
		return r;
	freezer.asked = asked;
	if (asked)
		r = v1 ? read_v1(group_fd, &freezer) : read_v2(group_fd, &freezer);
	if (r == 0)
		*ret_freezer = freezer;
	return r;
}

int cgroup_freezer_runs(int group_fd, enum cgroup_version version)
{
	_cleanup_free_ char *state = NULL;
	uint64_t frozen;

	if (version == CGROUP_V1) {
		int r = file_read(group_fd, "freezer.state", STATE_BYTES_MAX, &state, NULL);

		return r < 0 ? r : startswith(state, "THAWED") != NULL;
	}
	int r = file_read_keyed_u64(group_fd, "cgroup.events", "frozen", &frozen);

	return r < 0 ? r : !frozen;
}

int cgroup_freezer_thaw(int group_fd, enum cgroup_version version)
{
	bool v1 = version == CGROUP_V1;
	const char *word = v1 ? "THAWED" : "0";
	_cleanup_close_ int fd =
		openat(group_fd, v1 ? "freezer.state" : "cgroup.freeze", O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -errno : file_write_fd(fd, word, strlen(word));
}

const char *cgroup_freezer_state(const struct cgroup_freezer *freezer, enum cgroup_version version)
{
	if (version == CGROUP_V1)
		return freezer->complete ? "FROZEN" : "FREEZING";
	return freezer->complete ? "frozen" : "freezing";
}
