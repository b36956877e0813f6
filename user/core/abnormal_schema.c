/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an Abnormal looks in JSON: one table an object, one line a field. The checks that a line
 * names are in abnormal_check.c.
 */
#include "core/abnormal.h"
#include "core/abnormal_check.h"

/* Longest names of plug-ins, programs and the like, and of paths. */
#define NAME_LENGTH 253
#define PATH_LENGTH 4096
#define RECORD_LENGTH 64
/* Most items of a list that a person or a detector writes, and of one that the pipeline keeps. */
#define LIST_ITEMS 64
#define JOURNAL_ITEMS 1024
#define STACK_FRAMES 256
#define MAP_MEMBERS 256
/* Linux pids are below 2^22; 2^31 is the type's bound. */
#define ID32_MAX UINT32_MAX

#define KEEP_EXTRA(type) .extra_offset = offsetof(type, extra)
/* Where 0 is a value (the idle task, root, the first processor), absence is -1. */
#define OR_ABSENT .absent = -1

const char *const abnormal_source_names[] = {
	[SOURCE_NONE] = "",
	[SOURCE_KERNEL_EVENT] = "KernelEvent",
	[SOURCE_LOG] = "Log",
	[SOURCE_KUBERNETES_EVENT] = "KubernetesEvent",
	[SOURCE_PROMETHEUS_ALERT] = "PrometheusAlert",
	[SOURCE_PROBE] = "Probe",
	[SOURCE_CUSTOM] = "Custom",
	NULL,
};

const char *const abnormal_phase_names[] = {
	[PHASE_CREATED] = "",
	[PHASE_INFORMATION_COLLECTING] = "InformationCollecting",
	[PHASE_DIAGNOSING] = "Diagnosing",
	[PHASE_RECOVERING] = "Recovering",
	[PHASE_SUCCEEDED] = "Succeeded",
	[PHASE_FAILED] = "Failed",
	[PHASE_UNKNOWN] = "Unknown",
	NULL,
};

static const char *const condition_type_names[] = {
	[CONDITION_NONE] = "",
	[CONDITION_INFORMATION_COLLECTED] = "InformationCollected",
	[CONDITION_IDENTIFIED] = "Identified",
	[CONDITION_RECOVERED] = "Recovered",
	NULL,
};

static const char *const condition_status_names[] = {
	[CONDITION_ABSENT] = "",
	[CONDITION_TRUE] = "True",
	[CONDITION_FALSE] = "False",
	[CONDITION_STATUS_UNKNOWN] = "Unknown",
	NULL,
};

static const char *const information_state_names[] = {
	[INFORMATION_NONE] = "",
	[INFORMATION_COLLECTED] = "Collected",
	[INFORMATION_FAILED] = "Failed",
	[INFORMATION_SKIPPED] = "Skipped",
	NULL,
};

static const char *const action_outcome_names[] = {
	[ACTION_PENDING] = "",
	[ACTION_DONE] = "Done",
	[ACTION_FAILED] = "Failed",
	[ACTION_DRY_RUN] = "DryRun",
	[ACTION_REFUSED] = "Refused",
	[ACTION_UNKNOWN] = "Unknown",
	NULL,
};

static const char *const action_verification_names[] = {
	[VERIFICATION_NONE] = "",
	[VERIFICATION_VERIFIED] = "Verified",
	[VERIFICATION_NOT_VERIFIED] = "NotVerified",
	NULL,
};

/* --- References and metadata -------------------------------------------------------------- */

#define FIELD(...) SCHEMA_FIELD(struct object_reference, __VA_ARGS__)
static const struct field object_reference_fields[] = {
	FIELD(namespace, "namespace", FIELD_STRING, .check = check_namespace),
	FIELD(name, "name", FIELD_STRING, .required = true, .check = check_word),
};
#undef FIELD
const struct schema object_reference_schema =
	SCHEMA("a reference", struct object_reference, object_reference_fields,
	       KEEP_EXTRA(struct object_reference));

#define FIELD(...) SCHEMA_FIELD(struct metadata, __VA_ARGS__)
static const struct field metadata_fields[] = {
	FIELD(name, "name", FIELD_STRING, .check = check_object_name),
	FIELD(namespace, "namespace", FIELD_STRING, .check = check_namespace),
	FIELD(uid, "uid", FIELD_STRING, .maximum = NAME_LENGTH),
	FIELD(resource_version, "resourceVersion", FIELD_STRING, .maximum = NAME_LENGTH),
	FIELD(creation_timestamp, "creationTimestamp", FIELD_TIME),
	FIELD(labels, "labels", FIELD_STRING_MAP, .maximum = MAP_MEMBERS, .check = check_labels),
	FIELD(annotations, "annotations", FIELD_STRING_MAP, .maximum = MAP_MEMBERS,
	      .check = check_annotations),
};
#undef FIELD
static const struct schema metadata_schema =
	SCHEMA("metadata", struct metadata, metadata_fields, KEEP_EXTRA(struct metadata));

/* --- Kernel events ------------------------------------------------------------------------ */

#define FIELD(...) SCHEMA_FIELD(struct process_identity, __VA_ARGS__)
static const struct field process_identity_fields[] = {
	FIELD(pid, "pid", FIELD_INTEGER, OR_ABSENT, .maximum = ID32_MAX),
	FIELD(tgid, "tgid", FIELD_INTEGER, OR_ABSENT, .maximum = ID32_MAX),
	FIELD(start_time, "startTime", FIELD_INTEGER, OR_ABSENT, .maximum = INT64_MAX),
	FIELD(comm, "comm", FIELD_STRING, .maximum = NAME_LENGTH),
	FIELD(exe, "exe", FIELD_STRING, .maximum = PATH_LENGTH),
	FIELD(uid, "uid", FIELD_INTEGER, OR_ABSENT, .maximum = ID32_MAX),
	FIELD(parent, "parent", FIELD_OBJECT, .schema = &process_identity_schema),
};
#undef FIELD
const struct schema process_identity_schema =
	SCHEMA("process", struct process_identity, process_identity_fields,
	       KEEP_EXTRA(struct process_identity));

#define FIELD(...) SCHEMA_FIELD(struct container_identity, __VA_ARGS__)
static const struct field container_identity_fields[] = {
	FIELD(runtime, "runtime", FIELD_STRING, .maximum = NAME_LENGTH),
	FIELD(id, "id", FIELD_STRING, .maximum = NAME_LENGTH),
	FIELD(pod, "pod", FIELD_STRING, .maximum = NAME_LENGTH),
	FIELD(pod_uid, "podUid", FIELD_STRING, .maximum = NAME_LENGTH),
	FIELD(namespace, "namespace", FIELD_STRING, .maximum = NAME_LENGTH),
	FIELD(name, "name", FIELD_STRING, .maximum = NAME_LENGTH),
	FIELD(image, "image", FIELD_STRING, .maximum = PATH_LENGTH),
	FIELD(sandbox, "sandbox", FIELD_BOOL),
	FIELD(cgroup_path, "cgroupPath", FIELD_STRING, .maximum = PATH_LENGTH),
	FIELD(cgroup_id, "cgroupId", FIELD_INTEGER, .maximum = INT64_MAX),
};
#undef FIELD
const struct schema container_identity_schema =
	SCHEMA("container", struct container_identity, container_identity_fields,
	       KEEP_EXTRA(struct container_identity));

#define FIELD(...) SCHEMA_FIELD(struct event_stack, __VA_ARGS__)
static const struct field event_stack_fields[] = {
	FIELD(kernel, "kernel", FIELD_STRINGS, .maximum = STACK_FRAMES),
	FIELD(user, "user", FIELD_STRINGS, .maximum = STACK_FRAMES),
};
#undef FIELD
static const struct schema event_stack_schema =
	SCHEMA("stack", struct event_stack, event_stack_fields, KEEP_EXTRA(struct event_stack));

#define FIELD(...) SCHEMA_FIELD(struct kernel_event, __VA_ARGS__)
static const struct field kernel_event_fields[] = {
	FIELD(detector, "detector", FIELD_STRING, .required = true, .check = check_word),
	FIELD(type, "type", FIELD_STRING, .required = true, .check = check_word),
	FIELD(time, "time", FIELD_TIME),
	FIELD(cpu, "cpu", FIELD_INTEGER, OR_ABSENT, .maximum = ID32_MAX),
	FIELD(process, "process", FIELD_OBJECT, .schema = &process_identity_schema),
	FIELD(container, "container", FIELD_OBJECT, .schema = &container_identity_schema),
	FIELD(stack, "stack", FIELD_OBJECT, .schema = &event_stack_schema),
	FIELD(details, "details", FIELD_JSON),
	FIELD(count, "count", FIELD_INTEGER, .maximum = INT64_MAX),
	FIELD(lost, "lost", FIELD_INTEGER, .maximum = INT64_MAX, .always = true),
	FIELD(record, "record", FIELD_STRING, .maximum = RECORD_LENGTH),
};
#undef FIELD
const struct schema kernel_event_schema = SCHEMA(
	"kernelEvent", struct kernel_event, kernel_event_fields, KEEP_EXTRA(struct kernel_event));

/* --- Logs and alerts ---------------------------------------------------------------------- */

#define FIELD(...) SCHEMA_FIELD(struct log_entry, __VA_ARGS__)
static const struct field log_entry_fields[] = {
	FIELD(file_path, "filePath", FIELD_STRING, .required = true, .maximum = PATH_LENGTH,
	      .check = check_absolute_path),
	FIELD(log_entry, "logEntry", FIELD_STRING, .required = true),
};
#undef FIELD
static const struct schema log_entry_schema =
	SCHEMA("log", struct log_entry, log_entry_fields, KEEP_EXTRA(struct log_entry));

#define FIELD(...) SCHEMA_FIELD(struct prometheus_alert, __VA_ARGS__)
static const struct field prometheus_alert_fields[] = {
	FIELD(labels, "labels", FIELD_STRING_MAP, .required = true, .maximum = MAP_MEMBERS),
	FIELD(annotations, "annotations", FIELD_STRING_MAP, .required = true,
	      .maximum = MAP_MEMBERS),
	FIELD(starts_at, "startsAt", FIELD_TIME),
	FIELD(ends_at, "endsAt", FIELD_TIME),
	FIELD(generator_url, "generatorURL", FIELD_STRING),
};
#undef FIELD
static const struct schema prometheus_alert_schema =
	SCHEMA("prometheusAlert", struct prometheus_alert, prometheus_alert_fields,
	       KEEP_EXTRA(struct prometheus_alert));

/* --- Probes: the actions have the fields of corev1 ---------------------------------------- */

#define FIELD(...) SCHEMA_FIELD(struct exec_action, __VA_ARGS__)
static const struct field exec_action_fields[] = {
	FIELD(command, "command", FIELD_STRINGS, .required = true, .maximum = MAP_MEMBERS,
	      .check = check_command),
};
#undef FIELD
static const struct schema exec_action_schema =
	SCHEMA("exec", struct exec_action, exec_action_fields, KEEP_EXTRA(struct exec_action));

#define FIELD(...) SCHEMA_FIELD(struct http_header, __VA_ARGS__)
static const struct field http_header_fields[] = {
	FIELD(name, "name", FIELD_STRING, .required = true, .maximum = NAME_LENGTH,
	      .check = check_http_header_name),
	FIELD(value, "value", FIELD_STRING),
};
#undef FIELD
static const struct schema http_header_schema = SCHEMA(
	"an HTTP header", struct http_header, http_header_fields, KEEP_EXTRA(struct http_header));

static const char *const http_schemes[] = {"HTTP", "HTTPS", NULL};

/* scheme is kept as text, so that an absent one stays absent. */
static int check_scheme(const void *value, struct problem *problem)
{
	const char *scheme = *(char *const *)value;

	for (size_t i = 0; http_schemes[i]; i++)
		if (streq(scheme, http_schemes[i]))
			return 0;
	return problem_set(problem, -EINVAL, NULL, "must be HTTP or HTTPS, not \"%.40s\"", scheme);
}

#define FIELD(...) SCHEMA_FIELD(struct http_get_action, __VA_ARGS__)
static const struct field http_get_action_fields[] = {
	FIELD(path, "path", FIELD_STRING, .maximum = PATH_LENGTH, .check = check_http_path),
	FIELD(port, "port", FIELD_ANY, .required = true, .check = check_port),
	FIELD(host, "host", FIELD_STRING, .maximum = NAME_LENGTH),
	FIELD(scheme, "scheme", FIELD_STRING, .check = check_scheme),
	FIELD(http_headers, "httpHeaders", FIELD_LIST, .schema = &http_header_schema,
	      .maximum = LIST_ITEMS),
};
#undef FIELD
static const struct schema http_get_action_schema =
	SCHEMA("httpGet", struct http_get_action, http_get_action_fields,
	       KEEP_EXTRA(struct http_get_action));

#define FIELD(...) SCHEMA_FIELD(struct tcp_socket_action, __VA_ARGS__)
static const struct field tcp_socket_action_fields[] = {
	FIELD(port, "port", FIELD_ANY, .required = true, .check = check_port),
	FIELD(host, "host", FIELD_STRING, .maximum = NAME_LENGTH),
};
#undef FIELD
static const struct schema tcp_socket_action_schema =
	SCHEMA("tcpSocket", struct tcp_socket_action, tcp_socket_action_fields,
	       KEEP_EXTRA(struct tcp_socket_action));

/* A probe may not outlast an hour: it holds one of the few worker processes. */
#define PROBE_TIMEOUT .minimum = 1, .maximum = 3600

#define FIELD(...) SCHEMA_FIELD(struct node_probe, __VA_ARGS__)
static const struct field node_probe_fields[] = {
	FIELD(name, "name", FIELD_STRING, .required = true, .maximum = NAME_LENGTH,
	      .check = check_word),
	FIELD(timeout_seconds, "timeoutSeconds", FIELD_INTEGER, PROBE_TIMEOUT),
	FIELD(exec, "exec", FIELD_OBJECT, .schema = &exec_action_schema),
	FIELD(http_get, "httpGet", FIELD_OBJECT, .schema = &http_get_action_schema),
	FIELD(tcp_socket, "tcpSocket", FIELD_OBJECT, .schema = &tcp_socket_action_schema),
};
#undef FIELD
static const struct schema node_probe_schema =
	SCHEMA("nodeProbe", struct node_probe, node_probe_fields, KEEP_EXTRA(struct node_probe),
	       .check = check_node_probe);

#define FIELD(...) SCHEMA_FIELD(struct pod_probe, __VA_ARGS__)
static const struct field pod_probe_fields[] = {
	FIELD(namespace, "namespace", FIELD_STRING, .required = true, .check = check_namespace),
	FIELD(name, "name", FIELD_STRING, .required = true, .check = check_object_name),
	FIELD(container, "container", FIELD_STRING, .required = true, .check = check_namespace),
	FIELD(timeout_seconds, "timeoutSeconds", FIELD_INTEGER, PROBE_TIMEOUT),
	FIELD(exec, "exec", FIELD_OBJECT, .schema = &exec_action_schema),
	FIELD(http_get, "httpGet", FIELD_OBJECT, .schema = &http_get_action_schema),
	FIELD(tcp_socket, "tcpSocket", FIELD_OBJECT, .schema = &tcp_socket_action_schema),
};
#undef FIELD
static const struct schema pod_probe_schema =
	SCHEMA("podProbe", struct pod_probe, pod_probe_fields, KEEP_EXTRA(struct pod_probe),
	       .check = check_pod_probe);

/* --- spec --------------------------------------------------------------------------------- */

#define REFERENCES .schema = &object_reference_schema, .maximum = LIST_ITEMS

#define FIELD(...) SCHEMA_FIELD(struct abnormal_spec, __VA_ARGS__)
static const struct field spec_fields[] = {
	FIELD(source, "source", FIELD_ENUM, .required = true, .names = abnormal_source_names),
	FIELD(kernel_event, "kernelEvent", FIELD_OBJECT, .schema = &kernel_event_schema),
	FIELD(log, "log", FIELD_OBJECT, .schema = &log_entry_schema),
	FIELD(kubernetes_event, "kubernetesEvent", FIELD_JSON),
	FIELD(prometheus_alert, "prometheusAlert", FIELD_OBJECT,
	      .schema = &prometheus_alert_schema),
	FIELD(node_probe, "nodeProbe", FIELD_OBJECT, .schema = &node_probe_schema),
	FIELD(pod_probe, "podProbe", FIELD_OBJECT, .schema = &pod_probe_schema),
	FIELD(skip_diagnosis, "skipDiagnosis", FIELD_BOOL),
	FIELD(skip_recovery, "skipRecovery", FIELD_BOOL),
	/* Whatever the agent was told to call its node: a host's name need not be a DNS name. */
	FIELD(node_name, "nodeName", FIELD_STRING, .maximum = NAME_LENGTH),
	FIELD(assigned_information_collectors, "assignedInformationCollectors", FIELD_LIST,
	      REFERENCES),
	FIELD(assigned_diagnosers, "assignedDiagnosers", FIELD_LIST, REFERENCES),
	FIELD(assigned_recoverers, "assignedRecoverers", FIELD_LIST, REFERENCES),
	FIELD(context, "context", FIELD_JSON),
};
#undef FIELD
static const struct schema spec_schema =
	SCHEMA("spec", struct abnormal_spec, spec_fields, KEEP_EXTRA(struct abnormal_spec),
	       .check = check_spec);

/* --- status: lists are bounded, texts by the whole Abnormal's size alone ------------------ */

#define FIELD(...) SCHEMA_FIELD(struct condition, __VA_ARGS__)
static const struct field condition_fields[] = {
	FIELD(type, "type", FIELD_ENUM, .required = true, .names = condition_type_names),
	FIELD(status, "status", FIELD_ENUM, .required = true, .names = condition_status_names),
	FIELD(last_transition_time, "lastTransitionTime", FIELD_TIME),
	FIELD(reason, "reason", FIELD_STRING),
	FIELD(message, "message", FIELD_STRING),
};
#undef FIELD
const struct schema condition_schema =
	SCHEMA("a condition", struct condition, condition_fields, KEEP_EXTRA(struct condition));

#define FIELD(...) SCHEMA_FIELD(struct occurrences, __VA_ARGS__)
static const struct field occurrences_fields[] = {
	FIELD(count, "count", FIELD_INTEGER, .maximum = INT64_MAX, .always = true),
	FIELD(first_time, "firstTime", FIELD_TIME),
	FIELD(last_time, "lastTime", FIELD_TIME),
	FIELD(last_record, "lastRecord", FIELD_STRING, .maximum = RECORD_LENGTH),
};
#undef FIELD
const struct schema occurrences_schema = SCHEMA("occurrences", struct occurrences,
						occurrences_fields, KEEP_EXTRA(struct occurrences));

#define FIELD(...) SCHEMA_FIELD(struct artifact, __VA_ARGS__)
static const struct field artifact_fields[] = {
	FIELD(name, "name", FIELD_STRING, .required = true),
	FIELD(path, "path", FIELD_STRING),
	FIELD(bytes, "bytes", FIELD_INTEGER, .maximum = INT64_MAX, .always = true),
};
#undef FIELD
const struct schema artifact_schema =
	SCHEMA("an artifact", struct artifact, artifact_fields, KEEP_EXTRA(struct artifact));

#define FIELD(...) SCHEMA_FIELD(struct information, __VA_ARGS__)
static const struct field information_fields[] = {
	FIELD(collector, "collector", FIELD_STRING, .required = true),
	FIELD(state, "state", FIELD_ENUM, .names = information_state_names),
	FIELD(reason, "reason", FIELD_STRING),
	FIELD(start_time, "startTime", FIELD_TIME),
	FIELD(duration, "duration", FIELD_DURATION),
	FIELD(artifacts, "artifacts", FIELD_LIST, .schema = &artifact_schema,
	      .maximum = JOURNAL_ITEMS),
};
#undef FIELD
const struct schema information_schema = SCHEMA("information", struct information,
						information_fields, KEEP_EXTRA(struct information));

#define FIELD(...) SCHEMA_FIELD(struct action, __VA_ARGS__)
static const struct field action_fields[] = {
	FIELD(recoverer, "recoverer", FIELD_STRING, .required = true),
	FIELD(target, "target", FIELD_STRING),
	FIELD(intent_time, "intentTime", FIELD_TIME),
	FIELD(finish_time, "finishTime", FIELD_TIME),
	FIELD(outcome, "outcome", FIELD_ENUM, .names = action_outcome_names),
	FIELD(verification, "verification", FIELD_ENUM, .names = action_verification_names),
	FIELD(message, "message", FIELD_STRING),
};
#undef FIELD
const struct schema action_schema =
	SCHEMA("an action", struct action, action_fields, KEEP_EXTRA(struct action));

#define FIELD(...) SCHEMA_FIELD(struct abnormal_status, __VA_ARGS__)
static const struct field status_fields[] = {
	FIELD(identifiable, "identifiable", FIELD_BOOL),
	FIELD(recoverable, "recoverable", FIELD_BOOL),
	FIELD(phase, "phase", FIELD_ENUM, .names = abnormal_phase_names),
	FIELD(conditions, "conditions", FIELD_LIST, .schema = &condition_schema,
	      .maximum = LIST_ITEMS),
	FIELD(message, "message", FIELD_STRING),
	FIELD(reason, "reason", FIELD_STRING),
	FIELD(output, "output", FIELD_STRING),
	FIELD(start_time, "startTime", FIELD_TIME),
	FIELD(diagnoser, "diagnoser", FIELD_OBJECT, .schema = &object_reference_schema),
	FIELD(recoverer, "recoverer", FIELD_OBJECT, .schema = &object_reference_schema),
	FIELD(context, "context", FIELD_JSON),
	FIELD(occurrences, "occurrences", FIELD_OBJECT, .schema = &occurrences_schema),
	FIELD(information, "information", FIELD_LIST, .schema = &information_schema,
	      .maximum = JOURNAL_ITEMS),
	FIELD(actions, "actions", FIELD_LIST, .schema = &action_schema, .maximum = JOURNAL_ITEMS),
};
#undef FIELD
static const struct schema status_schema =
	SCHEMA("status", struct abnormal_status, status_fields, KEEP_EXTRA(struct abnormal_status));

/* --- The whole ---------------------------------------------------------------------------- */

#define FIELD(...) SCHEMA_FIELD(struct abnormal, __VA_ARGS__)
static const struct field abnormal_fields[] = {
	FIELD(api_version, "apiVersion", FIELD_STRING, .required = true),
	FIELD(kind, "kind", FIELD_STRING, .required = true),
	FIELD(metadata, "metadata", FIELD_STRUCT, .schema = &metadata_schema),
	FIELD(spec, "spec", FIELD_STRUCT, .required = true, .schema = &spec_schema),
	FIELD(status, "status", FIELD_STRUCT, .schema = &status_schema),
};
#undef FIELD
const struct schema abnormal_schema = SCHEMA("an Abnormal", struct abnormal, abnormal_fields,
					     KEEP_EXTRA(struct abnormal), .check = check_abnormal);
