/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnoser leftover-container: a container that was removed, and whose processes were not: which, how it
 * is known, and what they still hold. Its runtime does not see them any more, so no command of it ends
 * them.
 */
#include <limits.h>

#include "base/buffer.h"
#include "plugin/subject.h"
#include "plugin/subject_group.h"

#define MESSAGE_BYTES_MAX (16 * KIB)
#define FAMILIES_SHOWN 5

struct evidence {
	const cJSON *details, *cgroup, *members;
	const char *path, *bundle, *known_by, *id, *runtime;
	bool exact, v1, scope;
	char container[SUBJECT_TEXT_SIZE];
	char duration[TIME_TEXT_SIZE];
};

static void gather(const struct plugin_call *call, struct evidence *evidence)
{
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	const cJSON *details = plugin_details(call), *cgroup = json_at(details, "cgroup");
	const char *path = json_string(cgroup, "path");
	double seconds = json_number(details, "seconds", 0);

	*evidence = (struct evidence){
		.details = details,
		.cgroup = cgroup,
		.members = json_at(details, "members"),
		.path = path ? path : "(unknown)",
		.bundle = json_string(details, "bundle"),
		.known_by = json_string(details, "knownBy"),
		.id = json_string(details, "containerId"),
		.runtime = event->container ? event->container->runtime : NULL,
		.exact = json_bool(details, "exact", false),
		.v1 = subject_group_version(cgroup) == CGROUP_V1,
		.scope = path && endswith(path, ".scope"),
	};
	subject_container_text(call->abnormal, path, evidence->container);
	duration_format_seconds(seconds, evidence->duration);
}

static void write_cause(const struct evidence *evidence, struct buffer *out)
{
	double processes = json_number(evidence->members, "processes", 0);

	buffer_printf(out, "%s %s, and %.0f of its processes go%s on, for %s by now: ",
		      evidence->container,
		      evidence->exact ? "was removed" : "seems to have been removed", processes,
		      processes == 1 ? "es" : "", evidence->duration);
	buffer_append_text(
		out, "its runtime does not know of them any more, and they have no parent but "
		     "init. They hold their memory, ports, volumes and locks, and no command of "
		     "the runtime ends them. A shim that was killed while its runtime was down or "
		     "could not clean up leaves this, and so does a deletion by force.");
}

/* What the group uses, if it is there still. */
static void write_memory(const struct plugin_call *call, const struct evidence *evidence,
			 struct buffer *out)
{
	struct cgroup_memory memory;

	if (*evidence->path == '/' && evidence->path[1] &&
	    cgroup_memory_read(call->host, evidence->path, &memory) == 0)
		buffer_printf(out, " They use %.0f MiB of memory.",
			      (double)memory.usage_bytes / (double)MIB);
}

static void write_evidence(const struct plugin_call *call, const struct evidence *evidence,
			   struct buffer *out)
{
	const cJSON *family;
	int shown = 0;

	buffer_printf(out, "\nEvidence: control group %s (v%d).", evidence->path,
		      evidence->v1 ? 1 : 2);
	if (streq_ptr(evidence->known_by, "bundle-seen"))
		buffer_printf(out, " Its bundle was seen and is gone: %s.",
			      evidence->bundle ? evidence->bundle : "?");
	else if (streq_ptr(evidence->known_by, "runtime-state"))
		buffer_printf(out,
			      " The state that runc or crun keeps of it names a bundle that is "
			      "gone: %s.",
			      evidence->bundle ? evidence->bundle : "?");
	else
		buffer_append_text(out, " Neither a bundle nor a runtime's state is there by the "
					"id in that name; none was seen, either.");
	cJSON_ArrayForEach (family, json_at(evidence->members, "families")) {
		const char *comm = json_string(family, "comm");

		if (shown == FAMILIES_SHOWN)
			break;
		buffer_printf(out, "%s %s (%.0f)", shown++ ? "," : " Processes:", comm ? comm : "?",
			      json_number(family, "processes", 0));
	}
	if (shown)
		buffer_append_text(out, ".");
	write_memory(call, evidence, out);
}

static void write_question(const struct evidence *evidence, struct buffer *out)
{
	const char *id = evidence->id ? evidence->id : "ID";

	if (streq_ptr(evidence->runtime, "docker"))
		buffer_printf(out, "docker ps -a --filter id=%.64s", id);
	else if (streq_ptr(evidence->runtime, "cri-o"))
		buffer_printf(out, "crictl ps -a --id %.64s", id);
	else
		buffer_printf(out, "ctr -n NAMESPACE task ls, crictl ps -a --id %.64s", id);
}

/* A word that a shell takes as it is. */
static bool is_plain_word(const char *text)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-:@/";

	return text[strspn(text, letters)] == '\0';
}

/* How a person does it. */
static void write_command(const struct plugin_call *call, const struct evidence *evidence,
			  struct buffer *out)
{
	const char *hierarchy = json_string(evidence->cgroup, "hierarchy");
	_cleanup_close_ int fd = evidence->cgroup ? subject_group_open(call, evidence->cgroup,
								       hierarchy ? hierarchy : "")
						  : -1;
	char link[64], folder[PATH_MAX];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t length = fd < 0 ? -1 : readlink(link, folder, sizeof(folder) - 1);

	folder[MAX(length, 0)] = '\0';
	if (evidence->scope && is_plain_word(evidence->path))
		buffer_printf(out, "systemctl kill -s KILL %s", strrchr(evidence->path, '/') + 1);
	else if (!folder[0] || !is_plain_word(folder))
		buffer_append_text(out, "kill -9 what is in its cgroup.procs, and rmdir it");
	else if (evidence->v1)
		buffer_printf(out, "kill -9 $(cat %s/cgroup.procs)", folder);
	else
		buffer_printf(out, "echo 1 > %s/cgroup.kill", folder);
}

static int diagnose(struct plugin_call *call)
{
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	_cleanup_buffer_ struct buffer out = BUFFER(MESSAGE_BYTES_MAX);
	struct evidence evidence;

	if (!event || !streq_ptr(event->type, "LeftoverContainer"))
		return PLUGIN_NOT_MINE;
	gather(call, &evidence);
	write_cause(&evidence, &out);
	write_evidence(call, &evidence, &out);
	buffer_append_text(&out, evidence.exact
					 ? "\nRepair: recoverer kill-leftover, where it is "
					   "enabled, kills them and removes the control group."
					 : "\nRepair: none, as it is not certain that no runtime "
					   "has it.");
	buffer_append_text(&out, "\nAdvice: see that no runtime has it (");
	write_question(&evidence, &out);
	buffer_append_text(&out, "); then ");
	write_command(call, &evidence, &out);
	buffer_append_text(&out, ". If they serve somebody, start what replaces them first.");
	return plugin_identify(call, "LeftoverContainer", "%s", buffer_text(&out));
}

static const char *const detectors[] = {"cgroup", NULL};

PLUGIN(leftover_container_diagnoser) = {
	.name = "leftover-container",
	.summary = "a container that was removed, and whose processes go on",
	.kind = PLUGIN_DIAGNOSER,
	.order = 10,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.detectors = detectors,
	.diagnose = diagnose,
};
