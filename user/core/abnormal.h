/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Abnormal: the one message that all parts exchange. What was seen is in `spec`, what became
 * of it in `status`. The same object, field for field, on every wire; unknown members are kept.
 *
 * Integers hold what their JSON says; times are ns since 1970 or TIME_ABSENT. The names of the
 * fields are those of the JSON, in C's spelling.
 */
#pragma once

#include "base/schema.h"

#define ABNORMAL_API_VERSION "lifeboat.dev/v1alpha1"
#define ABNORMAL_KIND "Abnormal"
/* The greatest Abnormal accepted from outside, in bytes of JSON. */
#define ABNORMAL_BYTES_MAX (1 * MIB)
/* One that came from outside, with all that its handling has added. */
#define ABNORMAL_HANDLED_BYTES_MAX (2 * MIB)

/* Labels and annotations that lifeboat sets. */
#define LABEL_FINGERPRINT "lifeboat.dev/fingerprint"
#define ANNOTATION_SUBJECT "lifeboat.dev/subject"

enum abnormal_source {
	SOURCE_NONE, /* absent: refused by validation */
	SOURCE_KERNEL_EVENT,
	SOURCE_LOG,
	SOURCE_KUBERNETES_EVENT,
	SOURCE_PROMETHEUS_ALERT,
	SOURCE_PROBE,
	SOURCE_CUSTOM,
};
extern const char *const abnormal_source_names[];

enum abnormal_phase {
	PHASE_CREATED, /* written as an empty phase */
	PHASE_INFORMATION_COLLECTING,
	PHASE_DIAGNOSING,
	PHASE_RECOVERING,
	PHASE_SUCCEEDED,
	PHASE_FAILED,
	PHASE_UNKNOWN,
};
extern const char *const abnormal_phase_names[];

static inline bool phase_is_final(enum abnormal_phase phase)
{
	return phase == PHASE_SUCCEEDED || phase == PHASE_FAILED;
}

enum condition_type {
	CONDITION_NONE,
	CONDITION_INFORMATION_COLLECTED,
	CONDITION_IDENTIFIED,
	CONDITION_RECOVERED,
};

enum condition_status {
	CONDITION_ABSENT,
	CONDITION_TRUE,
	CONDITION_FALSE,
	CONDITION_STATUS_UNKNOWN
};

enum information_state {
	INFORMATION_NONE,
	INFORMATION_COLLECTED,
	INFORMATION_FAILED,
	INFORMATION_SKIPPED
};

enum action_outcome {
	ACTION_PENDING, /* intent is journalled, the outcome is not: absent in JSON */
	ACTION_DONE,
	ACTION_FAILED,
	ACTION_DRY_RUN, /* what would have been done is in the message */
	ACTION_REFUSED, /* a limit or a check kept it from being done */
	ACTION_UNKNOWN, /* the agent died in the middle, and the target does not tell */
};

enum action_verification { VERIFICATION_NONE, VERIFICATION_VERIFIED, VERIFICATION_NOT_VERIFIED };

struct object_reference {
	char *namespace, *name;
	cJSON *extra;
};

struct metadata {
	char *name, *namespace, *uid, *resource_version;
	int64_t creation_timestamp;
	cJSON *labels, *annotations; /* string maps */
	cJSON *extra;
};

struct process_identity {
	int64_t pid; /* thread id, as the kernel's task->pid */
	int64_t tgid; /* process id */
	int64_t start_time; /* clock ticks since boot: field 22 of proc_pid_stat(5), of the thread
			       PID */
	char *comm, *exe;
	int64_t uid;
	struct process_identity *parent;
	cJSON *extra;
};

struct container_identity {
	char *runtime, *id;
	char *pod, *pod_uid, *namespace; /* Kubernetes' names */
	char *name; /* in its pod, or as Docker and Podman call it */
	char *image;
	bool sandbox; /* the one that holds the pod's namespaces */
	char *cgroup_path;
	int64_t cgroup_id;
	cJSON *extra;
};

struct event_stack {
	struct strings kernel, user; /* innermost frame first: "schedule+0x5a" */
	cJSON *extra;
};

struct kernel_event {
	char *detector, *type;
	int64_t time;
	int64_t cpu;
	struct process_identity *process;
	struct container_identity *container;
	struct event_stack *stack;
	cJSON *details; /* by detector: docs/detectors.md */
	int64_t count, lost;
	char *record; /* "RING:POSITION" of the ring record that it is made of */
	cJSON *extra;
};

struct log_entry {
	char *file_path, *log_entry;
	cJSON *extra;
};

struct prometheus_alert {
	cJSON *labels, *annotations;
	int64_t starts_at, ends_at;
	char *generator_url;
	cJSON *extra;
};

struct exec_action {
	struct strings command;
	cJSON *extra;
};

struct http_get_action {
	char *path, *host, *scheme;
	cJSON *port; /* a number or a name */
	struct list http_headers; /* of struct http_header */
	cJSON *extra;
};

struct http_header {
	char *name, *value;
	cJSON *extra;
};

struct tcp_socket_action {
	char *host;
	cJSON *port;
	cJSON *extra;
};

struct node_probe {
	char *name;
	int64_t timeout_seconds;
	struct exec_action *exec;
	struct http_get_action *http_get;
	struct tcp_socket_action *tcp_socket;
	cJSON *extra;
};

struct pod_probe {
	char *namespace, *name, *container;
	int64_t timeout_seconds;
	struct exec_action *exec;
	struct http_get_action *http_get;
	struct tcp_socket_action *tcp_socket;
	cJSON *extra;
};

struct abnormal_spec {
	int source; /* enum abnormal_source */
	struct kernel_event *kernel_event;
	struct log_entry *log;
	cJSON *kubernetes_event; /* corev1.Event, whole */
	struct prometheus_alert *prometheus_alert;
	struct node_probe *node_probe;
	struct pod_probe *pod_probe;
	bool skip_diagnosis, skip_recovery;
	char *node_name;
	struct list assigned_information_collectors; /* of struct object_reference, all three */
	struct list assigned_diagnosers, assigned_recoverers;
	cJSON *context;
	cJSON *extra;
};

struct condition {
	int type; /* enum condition_type */
	int status; /* enum condition_status */
	int64_t last_transition_time;
	char *reason, *message;
	cJSON *extra;
};

struct occurrences {
	int64_t count;
	int64_t first_time, last_time;
	char *last_record; /* kernelEvent.record of the last one */
	cJSON *extra;
};

struct artifact {
	char *name, *path;
	int64_t bytes;
	cJSON *extra;
};

struct information {
	char *collector;
	int state; /* enum information_state */
	char *reason;
	int64_t start_time;
	uint64_t duration; /* ns */
	struct list artifacts; /* of struct artifact */
	cJSON *extra;
};

struct action {
	char *recoverer;
	char *target; /* for a person and for the target's re-identification: "filesystem ext4 on
			 loop0 (/mnt/a)" */
	int64_t intent_time, finish_time;
	int outcome; /* enum action_outcome */
	int verification; /* enum action_verification */
	char *message;
	cJSON *extra;
};

struct abnormal_status {
	bool identifiable, recoverable;
	int phase; /* enum abnormal_phase */
	struct list conditions; /* of struct condition */
	char *message, *reason, *output;
	int64_t start_time;
	struct object_reference *diagnoser, *recoverer;
	cJSON *context;
	struct occurrences *occurrences;
	struct list information; /* of struct information */
	struct list actions; /* of struct action */
	cJSON *extra;
};

struct abnormal {
	char *api_version, *kind;
	struct metadata metadata;
	struct abnormal_spec spec;
	struct abnormal_status status;
	cJSON *extra;
};

extern const struct schema abnormal_schema, object_reference_schema, kernel_event_schema,
	condition_schema, information_schema, artifact_schema, action_schema, occurrences_schema,
	process_identity_schema, container_identity_schema;

/* An empty Abnormal with apiVersion and kind set, or NULL. */
struct abnormal *abnormal_new(void);
void abnormal_free(struct abnormal *abnormal);
DEFINE_CLEANUP(struct abnormal, abnormal_free);
#define _cleanup_abnormal_ _cleanup_(abnormal_freep)
struct abnormal *abnormal_copy(const struct abnormal *abnormal);

/*
 * Decodes and validates: types, required members, the block that spec.source asks for, limits.
 * PROBLEM names the field. Returns 0, -EINVAL, -EFBIG (over ABNORMAL_BYTES_MAX) or -ENOMEM.
 */
int abnormal_decode(const cJSON *json, struct abnormal **ret_abnormal, struct problem *problem);
int abnormal_parse(const char *text, size_t length, struct abnormal **ret_abnormal,
		   struct problem *problem);
/* The same for one that is being handled: up to ABNORMAL_HANDLED_BYTES_MAX. */
int abnormal_parse_handled(const char *text, size_t length, struct abnormal **ret_abnormal,
			   struct problem *problem);

/* Compact JSON text, the caller's to free. Returns 0 or -ENOMEM. */
int abnormal_print(const struct abnormal *abnormal, char **ret_text);
int abnormal_encode(const struct abnormal *abnormal, cJSON **ret_json);

/* The condition of TYPE, or NULL. */
const struct condition *abnormal_condition(const struct abnormal *abnormal,
					   enum condition_type type);

/*
 * Sets a condition; lastTransitionTime moves only when the status does. REASON is one CamelCase
 * word. Returns 0 or -ENOMEM.
 */
int abnormal_set_condition(struct abnormal *abnormal, enum condition_type type,
			   enum condition_status status, const char *reason, const char *message,
			   int64_t now_realtime_ns);

/* When it last changed, in nanoseconds of the wall clock: its creation, or a condition's change. */
int64_t abnormal_changed_time(const struct abnormal *abnormal);

/* The same, or when it was heard of since: the last sighting, or an action, also one by hand. */
int64_t abnormal_latest_time(const struct abnormal *abnormal);

/* Clears the status, as of one that nobody has handled. */
void abnormal_clear_status(struct abnormal *abnormal);

/*
 * Packs (json.h) each piece of status.context and the kernel event's details, which are most of what
 * an ended one holds: it may be written, and pieces added, replaced and removed, but none is read
 * until it is unpacked. abnormal_unpack returns 0 or -ENOMEM.
 */
void abnormal_pack(struct abnormal *abnormal);
int abnormal_unpack(struct abnormal *abnormal);

/* Replaces a string member by a copy of TEXT (NULL clears it). Returns 0 or -ENOMEM. */
int string_set(char **member, const char *text);

/* A label, or NULL. */
const char *abnormal_label(const struct abnormal *abnormal, const char *name);
const char *abnormal_annotation(const struct abnormal *abnormal, const char *name);
/* status.context, made when absent; NULL when out of memory. Belongs to ABNORMAL. */
cJSON *abnormal_context(struct abnormal *abnormal);
