/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where Abnormals come in: defaults, and the decision between a new fault and one more sighting of
 * one that is known. A name given by a person is looked up in the store first, as an Abnormal that
 * ended long ago still holds its name.
 */
#include "chain/handling.h"

#include <inttypes.h>
#include <sys/random.h>

#define NAMESPACE_DEFAULT "default"
/* The transition of the history's first entry; the state machine begins after it. */
#define TRANSITION_CREATED "Created"

/* --- Defaults --- */

/* RFC 9562, version 4. */
static int uid_set(char **member)
{
	unsigned char bytes[16];
	char text[37];
	size_t length = 0;

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return -EIO;
	bytes[6] = (unsigned char)((bytes[6] & 0x0f) | 0x40);
	bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
	for (size_t i = 0; i < sizeof(bytes); i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%02x",
					   i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
					   bytes[i]);
	return string_set(member, text);
}

static int label_set(struct abnormal *abnormal, const char *name, const char *value)
{
	cJSON **labels = &abnormal->metadata.labels;

	if (!*labels)
		*labels = cJSON_CreateObject();
	return *labels ? json_set_string(*labels, name, value) : -ENOMEM;
}

/*
 * Without a name, a label or a subject, what says that two are the same is that they say the same.
 */
static int fingerprint_of_spec(const struct abnormal *abnormal, char fingerprint[FINGERPRINT_SIZE])
{
	_cleanup_json_ cJSON *json = NULL;
	_cleanup_free_ char *text = NULL;
	int r = abnormal_encode(abnormal, &json);

	if (r < 0)
		return r;
	text = json_print(json_at(json, "spec"));
	if (!text)
		return -ENOMEM;
	fingerprint_of(abnormal_source_names[abnormal->spec.source], "spec", text, fingerprint);
	return 0;
}

/* Kept in the label, so that it stays the same when a name has been given. */
static int fingerprint_set(struct abnormal *abnormal)
{
	char fingerprint[FINGERPRINT_SIZE];
	int r = 0;

	if (abnormal->metadata.name || abnormal_label(abnormal, LABEL_FINGERPRINT) ||
	    abnormal_annotation(abnormal, ANNOTATION_SUBJECT))
		abnormal_fingerprint(abnormal, fingerprint);
	else
		r = fingerprint_of_spec(abnormal, fingerprint);
	return r < 0 ? r : label_set(abnormal, LABEL_FINGERPRINT, fingerprint);
}

static int defaults_set(struct pipeline *pipeline, struct abnormal *abnormal)
{
	struct metadata *metadata = &abnormal->metadata;

	/* What a submitter says of the handling does not count: the pipeline alone keeps the status. */
	abnormal_clear_status(abnormal);
	metadata->creation_timestamp = clock_realtime(pipeline->options.clock);
	if (!metadata->namespace && string_set(&metadata->namespace, NAMESPACE_DEFAULT) < 0)
		return -ENOMEM;
	if (!abnormal->spec.node_name &&
	    string_set(&abnormal->spec.node_name, pipeline->node_name) < 0)
		return -ENOMEM;
	int r = uid_set(&metadata->uid);
	return r < 0 ? r : fingerprint_set(abnormal);
}

static int64_t seen_at(const struct pipeline *pipeline, const struct abnormal *abnormal)
{
	const struct kernel_event *event = abnormal->spec.kernel_event;

	return event && event->time != TIME_ABSENT ? event->time
						   : clock_realtime(pipeline->options.clock);
}

static int64_t seen_times(const struct abnormal *abnormal)
{
	const struct kernel_event *event = abnormal->spec.kernel_event;

	return event && event->count > 1 ? event->count : 1;
}

static const char *seen_record(const struct abnormal *abnormal)
{
	return abnormal->spec.kernel_event ? abnormal->spec.kernel_event->record : NULL;
}

/* The second in the name moves on while an Abnormal at hand has that name. */
static int name_set(struct pipeline *pipeline, struct abnormal *abnormal, const char *fingerprint)
{
	const struct kernel_event *event = abnormal->spec.kernel_event;
	const char *rule = event ? event->detector : abnormal_source_names[abnormal->spec.source];
	int64_t time_ns = seen_at(pipeline, abnormal);
	char name[ABNORMAL_NAME_SIZE];

	do {
		fingerprint_name(rule, fingerprint, time_ns, name);
		time_ns += (int64_t)NS_PER_S;
	} while (pipeline_lookup(pipeline, abnormal->metadata.namespace, name));
	return string_set(&abnormal->metadata.name, name);
}

/* --- New or known --- */

struct submission {
	struct errand errand;
	struct abnormal *abnormal;
	pipeline_submitted callback;
	void *userdata;
};

static void submission_free(struct submission *submission)
{
	errand_end(&submission->errand);
	abnormal_free(submission->abnormal);
	free(submission);
}
DEFINE_CLEANUP(struct submission, submission_free);

static int waiter_add(struct handling *handling, const struct submission *submission,
		      enum submit_result how)
{
	struct waiter *waiter;

	if (!submission->callback)
		return 0;
	waiter = malloc(sizeof(*waiter));
	if (!waiter)
		return -ENOMEM;
	*waiter =
		(struct waiter){handling->waiters, how, submission->callback, submission->userdata};
	handling->waiters = waiter;
	return 0;
}

/*
 * An ended Abnormal whose fault is back tells of it as it was seen last: who waited the first time
 * may be long gone, and a repair by hand would find nothing to do, and call that proof.
 */
static int take_sighting(struct handling *handling, const struct abnormal *seen)
{
	struct kernel_event **event = &handling->abnormal->spec.kernel_event;

	if (!handling->ended || handling->by_hand || !seen->spec.kernel_event)
		return 0;
	struct kernel_event *latest = schema_copy(&kernel_event_schema, seen->spec.kernel_event);
	if (!latest)
		return -ENOMEM;
	schema_free(&kernel_event_schema, *event);
	*event = latest;
	abnormal_pack(handling->abnormal);
	return 0;
}

/* One more sighting. It also tells that the fault is not over, whatever was heard before. */
static int fold(struct handling *handling, const struct submission *submission,
		enum submit_result how)
{
	struct pipeline *pipeline = handling->pipeline;
	const struct abnormal *seen = submission->abnormal;
	int r = occurrences_add(handling->abnormal, seen_times(seen), seen_at(pipeline, seen),
				seen_record(seen));

	if (r == 0)
		r = take_sighting(handling, seen);
	if (r == 0)
		r = waiter_add(handling, submission, how);
	if (r < 0)
		return r;
	pipeline_heard_of(pipeline, handling);
	handling->cleared = false;
	cJSON_DeleteItemFromObjectCaseSensitive(handling->abnormal->status.context,
						CONTEXT_CLEARED);
	if (how == SUBMIT_FOLDED)
		pipeline->counts.folded++;
	else
		pipeline->counts.in_cooldown++;
	return handling_write_soon(handling);
}

static int refuse(struct pipeline *pipeline, const struct abnormal *abnormal)
{
	uint32_t suppressed;

	pipeline->counts.refused++;
	if (log_limit_pass(&pipeline->refused_limit, 3, 60 * NS_PER_S, &suppressed))
		log_warning("A fault of \"%s\" is not taken up: %" PRIu64
			    " Abnormals are live, the most that pipeline.liveMaximum allows (%u "
			    "more were refused); delete or repair some, see `lifeboat get "
			    "abnormals`",
			    abnormal_subject(abnormal), pipeline->counts.live, suppressed);
	return -EDQUOT;
}

static int durable(struct handling *handling)
{
	pipeline_schedule(handling->pipeline);
	return 0;
}

static int write_created(struct handling *handling)
{
	return handling_commit(handling, TRANSITION_CREATED, durable);
}

static int create(struct pipeline *pipeline, struct submission *submission)
{
	_cleanup_(handling_unrefp) struct handling *handling = NULL;
	struct abnormal *abnormal = submission->abnormal;
	int r = 0;

	if (pipeline->counts.live >= pipeline->settings.live_maximum)
		return refuse(pipeline, abnormal);
	if (!abnormal->metadata.name)
		r = name_set(pipeline, abnormal, abnormal_label(abnormal, LABEL_FINGERPRINT));
	if (r == 0)
		r = occurrences_add(abnormal, seen_times(abnormal), seen_at(pipeline, abnormal),
				    seen_record(abnormal));
	if (r == 0)
		r = handling_new(pipeline, abnormal, &handling);
	if (r < 0)
		return r;
	submission->abnormal = NULL;
	r = waiter_add(handling, submission, SUBMIT_CREATED);
	if (r < 0)
		return r;
	pipeline->counts.created++;
	log_info("%s: %s of \"%s\"", handling_name(handling),
		 abnormal->spec.kernel_event ? abnormal->spec.kernel_event->type
					     : abnormal_source_names[abnormal->spec.source],
		 handling->subject);
	pipeline_add_live(pipeline, handling);
	handling_go(TAKE_PTR(handling), write_created);
	return 0;
}

static bool in_cooldown(const struct pipeline *pipeline, const struct handling *handling)
{
	int64_t now_ns = (int64_t)clock_boot(pipeline->options.clock);
	uint64_t cooldown_ns = pipeline->settings.cooldown_ns;

	return (uint64_t)(now_ns - handling->ended_boot_ns) < cooldown_ns;
}

/*
 * The kernel's record was read again, as an agent was killed before it had let go of it: what it tells is
 * counted already. Who submits it is answered when that is written once more.
 */
static int fold_known(struct handling *known, const struct submission *submission)
{
	int r = waiter_add(known, submission, known->ended ? SUBMIT_COOLDOWN : SUBMIT_FOLDED);

	if (r < 0)
		return r;
	pipeline_heard_of(known->pipeline, known);
	return handling_write_soon(known);
}

static int decide(struct pipeline *pipeline, struct submission *submission)
{
	const char *fingerprint = abnormal_label(submission->abnormal, LABEL_FINGERPRINT);
	struct handling *known = pipeline_lookup_fingerprint(pipeline, fingerprint);

	if (known && occurrences_have(known->abnormal, seen_record(submission->abnormal)))
		return fold_known(known, submission);
	if (known && !known->ended)
		return fold(known, submission, SUBMIT_FOLDED);
	if (known && in_cooldown(pipeline, known))
		return fold(known, submission, SUBMIT_COOLDOWN);
	return create(pipeline, submission);
}

/* --- Names that a person gave --- */

/* ABNORMAL may be packed. */
static int encode_whole(const struct abnormal *abnormal, cJSON **ret_json)
{
	int r = abnormal_encode(abnormal, ret_json);

	return r < 0 ? r : json_unpack(json_at(*ret_json, "spec.kernelEvent.details"));
}

static int same_spec(const struct abnormal *a, const struct abnormal *b)
{
	_cleanup_json_ cJSON *a_json = NULL, *b_json = NULL;
	int r = encode_whole(a, &a_json);

	if (r == 0)
		r = encode_whole(b, &b_json);
	if (r < 0)
		return r;
	return json_equal(json_at(a_json, "spec"), json_at(b_json, "spec"));
}

/* That name is taken: applying the same again changes nothing, and another spec is an error. */
static int name_taken(const struct submission *submission, const struct abnormal *holder)
{
	const struct metadata *metadata = &holder->metadata;
	int same = same_spec(submission->abnormal, holder);

	if (same <= 0)
		return same < 0 ? same : -EEXIST;
	if (submission->callback)
		submission->callback(submission->userdata, 0, SUBMIT_FOLDED, metadata->namespace,
				     metadata->name);
	return 0;
}

/* The same as NAME_TAKEN, but what is on its way to the store is not promised before it is there. */
static int name_at_hand(struct handling *handling, const struct submission *submission)
{
	if (handling->announced)
		return name_taken(submission, handling->abnormal);
	int same = same_spec(submission->abnormal, handling->abnormal);
	if (same <= 0)
		return same < 0 ? same : -EEXIST;
	int r = waiter_add(handling, submission, SUBMIT_FOLDED);
	return r < 0 ? r : handling_write_soon(handling);
}

/* RESULT and TEXT are what the store says of an Abnormal of that name. */
static int decide_named(struct submission *submission, int result, const char *text, size_t length)
{
	const struct metadata *metadata = &submission->abnormal->metadata;
	struct pipeline *pipeline = submission->errand.pipeline;
	struct handling *at_hand = pipeline_lookup(pipeline, metadata->namespace, metadata->name);
	_cleanup_abnormal_ struct abnormal *holder = NULL;

	if (at_hand)
		return name_at_hand(at_hand, submission);
	if (result == -ENOENT)
		return decide(pipeline, submission);
	if (result == 0)
		result = abnormal_parse_handled(text, length, &holder, NULL);
	return result < 0 ? result : name_taken(submission, holder);
}

static void name_looked_up(void *userdata, int result, const char *text, size_t length)
{
	_cleanup_(submission_freep) struct submission *submission = userdata;

	int r = submission->errand.pipeline ? decide_named(submission, result, text, length)
					    : -ECANCELED;
	if (r < 0 && submission->callback)
		submission->callback(submission->userdata, r, SUBMIT_CREATED, NULL, NULL);
}

int pipeline_submit(struct pipeline *pipeline, struct abnormal *abnormal,
		    pipeline_submitted callback, void *userdata)
{
	_cleanup_(submission_freep) struct submission *submission = calloc(1, sizeof(*submission));
	const char *node_name = abnormal->spec.node_name;
	bool named = abnormal->metadata.name != NULL;

	if (!submission) {
		abnormal_free(abnormal);
		return -ENOMEM;
	}
	errand_begin(pipeline, &submission->errand, NULL);
	submission->abnormal = abnormal;
	submission->callback = callback;
	submission->userdata = userdata;
	if (!pipeline->resumed)
		return -EAGAIN;
	if (node_name && !streq_ptr(node_name, pipeline->node_name))
		return -EXDEV;
	int r = defaults_set(pipeline, abnormal);
	if (r == 0 && !named)
		r = decide(pipeline, submission);
	if (r < 0 || !named)
		return r;
	r = store_get(pipeline->options.store, abnormal->metadata.namespace,
		      abnormal->metadata.name, name_looked_up, submission);
	if (r == 0)
		TAKE_PTR(submission);
	return r;
}
