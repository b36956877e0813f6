/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnoser cgroup-frozen: a control group whose processes have been kept from running for long, and
 * whether that is known not to be on purpose. What a runtime says of its own container decides; where
 * no runtime can be asked, the message says so and names whom to ask.
 */
#include <limits.h>

#include "base/buffer.h"
#include "plugin/subject.h"
#include "host/cgroup.h"

#define MESSAGE_BYTES_MAX (16 * KIB)
#define FAMILIES_SHOWN 5

struct evidence {
	const struct abnormal *abnormal;
	const cJSON *details, *cgroup, *runtime, *members;
	const char *path, *state, *answer, *unknown;
	bool v1;
	char container[SUBJECT_TEXT_SIZE];
	char duration[TIME_TEXT_SIZE];
	char folder[PATH_MAX];
};

/* Where the group is mounted; as on most nodes, if it is gone. */
static void find_folder(const struct plugin_call *call, struct evidence *evidence)
{
	enum cgroup_version version;
	_cleanup_close_ int fd =
		cgroup_open(call->host, evidence->v1 ? "freezer" : "", evidence->path, &version);
	char link[64];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t length =
		fd < 0 ? -1 : readlink(link, evidence->folder, sizeof(evidence->folder) - 1);
	if (length > 0)
		evidence->folder[length] = '\0';
	else
		snprintf(evidence->folder, sizeof(evidence->folder), "/sys/fs/cgroup%s%s",
			 evidence->v1 ? "/freezer" : "", evidence->path);
}

static void gather(const struct plugin_call *call, struct evidence *evidence)
{
	const cJSON *details = plugin_details(call);
	const char *path;
	double seconds = json_number(details, "seconds", 0);

	*evidence = (struct evidence){
		.abnormal = call->abnormal,
		.details = details,
		.cgroup = json_at(details, "cgroup"),
		.runtime = json_at(details, "runtime"),
		.members = json_at(details, "members"),
	};
	path = json_string(evidence->cgroup, "path");
	evidence->path = path ? path : "(unknown)";
	evidence->state = json_string(details, "state");
	evidence->answer = json_string(evidence->runtime, "state");
	evidence->unknown = json_string(evidence->runtime, "unknown");
	evidence->v1 = json_number(evidence->cgroup, "version", 2) < 2;
	subject_container_text(call->abnormal, path, evidence->container);
	duration_format_seconds(seconds, evidence->duration);
	find_folder(call, evidence);
}

static bool is_freezing(const struct evidence *evidence)
{
	return evidence->state &&
	       (streq(evidence->state, "FREEZING") || streq(evidence->state, "freezing"));
}

static void write_cause(const struct evidence *evidence, struct buffer *out)
{
	buffer_printf(out, "%s has been frozen for %s: its processes do not run",
		      evidence->container, evidence->duration);
	if (evidence->v1)
		buffer_append_text(out, ", and not even SIGKILL ends them until it is thawed");
	buffer_append_text(out, ".");
	if (evidence->answer)
		buffer_printf(out,
			      " Its runtime did not pause it (it says \"%s\"), so it will not "
			      "resume it either: somebody else froze it and did not come back, as "
			      "a checkpoint or a runtime that was interrupted does.",
			      evidence->answer);
	else
		buffer_printf(out, " Whether that is on purpose cannot be told: %s.",
			      evidence->unknown ? evidence->unknown : "nobody could be asked");
	if (is_freezing(evidence))
		buffer_append_text(out,
				   " The freeze is not complete: a process in it does not come "
				   "to rest, as one in uninterruptible sleep does not.");
}

static void write_members(const struct evidence *evidence, struct buffer *out)
{
	const cJSON *family;
	int shown = 0;

	buffer_printf(out, " %.0f process%s", json_number(evidence->members, "processes", 0),
		      json_number(evidence->members, "processes", 0) == 1 ? "" : "es");
	cJSON_ArrayForEach (family, json_at(evidence->members, "families")) {
		const char *comm = json_string(family, "comm");

		if (shown == FAMILIES_SHOWN)
			break;
		buffer_printf(out, "%s %s (%.0f)", shown++ ? "," : ":", comm ? comm : "?",
			      json_number(family, "processes", 0));
	}
	buffer_append_text(out, ".");
}

static void write_evidence(const struct evidence *evidence, struct buffer *out)
{
	const cJSON *shim = json_at(evidence->runtime, "shim");

	buffer_printf(out, "\nEvidence: control group %s (v%d), %s %s.", evidence->path,
		      evidence->v1 ? 1 : 2,
		      evidence->v1 ? "freezer.state is" : "cgroup.freeze is 1,",
		      evidence->state ? evidence->state : "frozen");
	if (evidence->members)
		write_members(evidence, out);
	if (evidence->answer && shim)
		buffer_printf(out, " State of its shim (pid %.0f): %s.",
			      json_number(shim, "pid", 0), evidence->answer);
}

static void write_advice(const struct evidence *evidence, struct buffer *out)
{
	const char *container = json_string(evidence->runtime, "container");
	bool unit = strstr(evidence->path, ".service") || strstr(evidence->path, ".slice");

	buffer_append_text(out, "\nAdvice: ");
	if (evidence->unknown && container)
		buffer_printf(out,
			      "see whether it is paused (podman ps --filter status=paused, docker "
			      "ps); if so, unpause it there: podman unpause %.64s. ",
			      container);
	else if (evidence->unknown && unit)
		buffer_append_text(out, "see whether systemd froze it (systemctl show -p "
					"FreezerState UNIT); then systemctl thaw UNIT. ");
	buffer_append_text(out, "If nobody wants it frozen: ");
	buffer_printf(out,
		      evidence->v1 ? "echo THAWED > %s/freezer.state."
				   : "echo 0 > %s/cgroup.freeze.",
		      evidence->folder);
}

static int diagnose(struct plugin_call *call)
{
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	_cleanup_buffer_ struct buffer out = BUFFER(MESSAGE_BYTES_MAX);
	struct evidence evidence;

	if (!event || !streq_ptr(event->type, "CgroupFrozen"))
		return PLUGIN_NOT_MINE;
	gather(call, &evidence);
	write_cause(&evidence, &out);
	write_evidence(&evidence, &out);
	buffer_append_text(&out, evidence.answer
					 ? "\nRepair: recoverer thaw-cgroup, where it is enabled, "
					   "thaws it."
					 : "\nRepair: none, as it may be on purpose; recoverer "
					   "thaw-cgroup thaws groups of no container where its "
					   "setting `unowned` says so.");
	write_advice(&evidence, &out);
	return plugin_identify(call, "CgroupFrozen", "%s", buffer_text(&out));
}

static const char *const detectors[] = {"cgroup", NULL};

PLUGIN(cgroup_frozen_diagnoser) = {
	.name = "cgroup-frozen",
	.summary =
		"a control group that stays frozen: which, whose, and whether a runtime wants it so",
	.kind = PLUGIN_DIAGNOSER,
	.order = 10,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.detectors = detectors,
	.diagnose = diagnose,
};
