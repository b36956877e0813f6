/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnoser pids-exhausted: a limit of pids that refuses forks, and what has used it up: one program's
 * processes, the threads of one, processes that have ended and were not reaped, or many programs
 * together. Nothing is done about it: which of them has to go is not the node's to decide.
 */
#include <inttypes.h>

#include "base/buffer.h"
#include "plugin/subject.h"

#define MESSAGE_BYTES_MAX (16 * KIB)
#define FAMILIES_SHOWN 5
#define MOST 0.6 /* of the limit: one family's doing */
#define UNREAPED 0.4

struct evidence {
	const cJSON *details, *members, *largest;
	const char *path, *asked_in;
	double limit, current, refused, threads, unlisted;
	bool whole; /* every process in it was looked at */
	char container[SUBJECT_TEXT_SIZE];
};

static void gather(const struct plugin_call *call, struct evidence *evidence)
{
	const cJSON *details = plugin_details(call), *members = json_at(details, "members");
	const char *path = json_string(json_at(details, "cgroup"), "path");

	*evidence = (struct evidence){
		.details = details,
		.members = members,
		.largest = cJSON_GetArrayItem(json_at(members, "families"), 0),
		.path = path ? path : "(unknown)",
		.asked_in = json_string(details, "askedIn"),
		.limit = json_number(details, "limit", 0),
		.current = json_number(details, "current", 0),
		.refused = json_number(details, "refused", 0),
		.threads = json_number(members, "threads", 0),
		.whole = members &&
			 json_number(members, "looked", 0) >= json_number(members, "processes", 0),
	};
	if (evidence->whole && evidence->current > evidence->threads)
		evidence->unlisted = evidence->current - evidence->threads;
	subject_container_text(call->abnormal, path, evidence->container);
}

static void write_cause(const struct evidence *evidence, struct buffer *out)
{
	const char *comm = json_string(evidence->largest, "comm");
	double threads = json_number(evidence->largest, "threads", 0),
	       processes = json_number(evidence->largest, "processes", 0);

	buffer_printf(out,
		      "%s has as many processes and threads as it may (%.0f): %.0f fork%s refused.",
		      evidence->container, evidence->limit, evidence->refused,
		      evidence->refused == 1 ? " was" : "s were");
	if (evidence->unlisted >= UNREAPED * evidence->limit)
		buffer_printf(out,
			      " %.0f of them have ended and are not reaped: their parent does not "
			      "wait for its children.",
			      evidence->unlisted);
	else if (comm && threads >= MOST * evidence->limit && processes == 1)
		buffer_printf(out, " The threads of one process, %s, use it up (%.0f).", comm,
			      threads);
	else if (comm && threads >= MOST * evidence->limit)
		buffer_printf(out, " Processes called %s use it up (%.0f, with %.0f threads).",
			      comm, processes, threads);
	else if (evidence->current < MOST * evidence->limit)
		buffer_append_text(out,
				   " A moment later most of it was free again: it was a burst.");
	else
		buffer_append_text(out, " No single program uses it up.");
}

static void write_evidence(const struct evidence *evidence, struct buffer *out)
{
	const cJSON *family;
	int shown = 0;

	buffer_printf(out, "\nEvidence: pids.current is %.0f of %.0f in %s.", evidence->current,
		      evidence->limit, evidence->path);
	if (!json_bool(evidence->details, "exact", false))
		buffer_append_text(out, " That it was this limit is concluded: of those above the "
					"fork it has the least room.");
	if (evidence->asked_in && !streq(evidence->asked_in, evidence->path))
		buffer_printf(out, " The forks were asked for in %s.", evidence->asked_in);
	cJSON_ArrayForEach (family, json_at(evidence->members, "families")) {
		const char *comm = json_string(family, "comm");

		if (shown == FAMILIES_SHOWN)
			break;
		buffer_printf(out, "%s %s (%.0f process%s, %.0f threads)",
			      shown++ ? "," : " Largest families:", comm ? comm : "?",
			      json_number(family, "processes", 0),
			      json_number(family, "processes", 0) == 1 ? "" : "es",
			      json_number(family, "threads", 0));
	}
	if (shown)
		buffer_append_text(out, evidence->whole ? "." : ", among those looked at.");
}

static int diagnose(struct plugin_call *call)
{
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	_cleanup_buffer_ struct buffer out = BUFFER(MESSAGE_BYTES_MAX);
	struct evidence evidence;

	if (!event || !streq_ptr(event->type, "PidsLimit"))
		return PLUGIN_NOT_MINE;
	gather(call, &evidence);
	write_cause(&evidence, &out);
	write_evidence(&evidence, &out);
	buffer_append_text(
		&out, "\nRepair: none; programs see EAGAIN (\"Resource temporarily unavailable\", "
		      "\"unable to create native thread\") until some end.\n"
		      "Advice: end what leaks, bound its pool of workers or threads, let an init "
		      "reap (docker run --init, shareProcessNamespace), or raise the limit: "
		      "podPidsLimit of the kubelet, --pids-limit, TasksMax= of the unit.");
	return plugin_identify(call, "PidsLimitReached", "%s", buffer_text(&out));
}

static const char *const detectors[] = {"cgroup", NULL};

PLUGIN(pids_exhausted_diagnoser) = {
	.name = "pids-exhausted",
	.summary = "a limit of pids that refuses forks, and what has used it up",
	.kind = PLUGIN_DIAGNOSER,
	.order = 10,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.detectors = detectors,
	.diagnose = diagnose,
};
