/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source of kernel events: what a detector finds becomes an Abnormal, and what it finds to be
 * over clears one. Names, defaults and folding are the pipeline's.
 */
#include "core/fingerprint.h"
#include "sources/source.h"

static const char *finding_fingerprint(const struct finding *finding, char text[FINGERPRINT_SIZE])
{
	return fingerprint_of(abnormal_source_names[SOURCE_KERNEL_EVENT], finding->detector,
			      finding->subject, text);
}

/* An object NAME of MEMBER with VALUE in PARENT. */
static int set_map(cJSON *parent, const char *name, const char *member, const char *value)
{
	cJSON *map = cJSON_CreateObject();

	if (!map || json_set_string(map, member, value) < 0) {
		cJSON_Delete(map);
		return -ENOMEM;
	}
	return json_set(parent, name, map);
}

static int set_metadata(cJSON *json, const struct finding *finding)
{
	char fingerprint[FINGERPRINT_SIZE];
	cJSON *metadata = cJSON_CreateObject();

	if (!metadata || json_set(json, "metadata", metadata) < 0)
		return -ENOMEM;
	int r = set_map(metadata, "labels", LABEL_FINGERPRINT,
			finding_fingerprint(finding, fingerprint));
	return r < 0 ? r : set_map(metadata, "annotations", ANNOTATION_SUBJECT, finding->subject);
}

static int set_spec(cJSON *json, const struct finding *finding)
{
	cJSON *spec = cJSON_CreateObject();
	cJSON *event = cJSON_Duplicate(finding->event, true);

	if (!spec || json_set(json, "spec", spec) < 0) {
		cJSON_Delete(event);
		return -ENOMEM;
	}
	int r = event ? json_set(spec, "kernelEvent", event) : -ENOMEM;
	return r < 0 ? r
		     : json_set_string(spec, "source", abnormal_source_names[SOURCE_KERNEL_EVENT]);
}

int kernel_events_abnormal(const struct finding *finding, struct abnormal **ret_abnormal,
			   struct problem *problem)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (!json || json_set_string(json, "apiVersion", ABNORMAL_API_VERSION) < 0 ||
	    json_set_string(json, "kind", ABNORMAL_KIND) < 0)
		return -ENOMEM;
	int r = set_metadata(json, finding);
	if (r == 0)
		r = set_spec(json, finding);
	return r < 0 ? r : abnormal_decode(json, ret_abnormal, problem);
}

static int clear(struct pipeline *pipeline, const struct finding *finding)
{
	const char *time = json_string(finding->event, "time");
	char fingerprint[FINGERPRINT_SIZE];
	int64_t realtime_ns = clock_realtime(clock_system());

	if (time)
		(void)time_parse(time, &realtime_ns); /* leaves the present when it is no time */
	pipeline_cleared(pipeline, finding_fingerprint(finding, fingerprint), realtime_ns);
	return 0;
}

static int submit(struct pipeline *pipeline, const struct finding *finding,
		  pipeline_submitted callback, void *userdata)
{
	struct abnormal *abnormal;

	if (finding->cleared)
		return clear(pipeline, finding);
	int r = kernel_events_abnormal(finding, &abnormal, NULL);
	if (r == 0)
		r = pipeline_submit(pipeline, abnormal, callback, userdata);
	return r < 0 ? r : callback != NULL;
}

SOURCE(kernel_events) = {
	.name = "kernel-events",
	.summary = "faults that the eBPF detectors see in the kernel",
	.kind = SOURCE_KERNEL_EVENT,
	.finding = submit,
};
