/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the cgroup detector's faults have in common: a node, a walk over its groups, and what was told. */
#pragma once

#include "../host/fake_root.h"

#include "detect/cgroup.h"
#include "detect/slot.h"

struct cgroup_fixture {
	struct fake_root *root;
	struct detect detect;
	struct slot slot;
	struct container_registry *containers;
	struct cgroup_walk *walk; /* the test's to make, once its tree is laid */
	struct finding last;
	unsigned told, cleared;
	uint64_t refused; /* forks, of all findings */
};

static void cgroup_fixture_on_finding(void *userdata, struct finding *finding)
{
	struct cgroup_fixture *base = userdata;

	base->told += !finding->cleared;
	base->cleared += finding->cleared;
	base->refused += json_u64(json_at(finding->event, "details"), "refused");
	finding_clear(&base->last);
	base->last = *finding;
	*finding = (struct finding){};
}

/* MOUNT is a hierarchy's folder, its file system and options: "/sys/fs/cgroup rw - cgroup2 cgroup2 rw". */
static void cgroup_fixture_setup(struct cgroup_fixture *base, const char *mount)
{
	fake_root_setup((void **)&base->root);
	assert_int_equal(container_registry_new(base->root->host, &base->containers), 0);
	base->detect.options =
		(struct detect_options){.on_finding = cgroup_fixture_on_finding, .userdata = base};
	base->slot.run = (struct detector_run){
		.host = base->root->host,
		.clock = clock_system(),
		.containers = base->containers,
		.detect = &base->detect,
	};
	FOREACH_REGISTERED (detectors, struct detector, detector)
		if (streq(detector->name, "cgroup"))
			base->slot.run.detector = detector;
	assert_non_null(base->slot.run.detector);
	fake_file(base->root, "proc/1/mountinfo", "30 20 0:27 / %s\n", mount);
}

static void cgroup_fixture_teardown(struct cgroup_fixture *base)
{
	cgroup_walk_free(base->walk);
	container_registry_free(base->containers);
	finding_clear(&base->last);
	fake_root_teardown((void **)&base->root);
}
