/* SPDX-License-Identifier: Apache-2.0 */
/* Which fault an Abnormal is about: fingerprints, names made from them, repeats. */
#include "core/fingerprint.h"

#include <inttypes.h>
#include <stdio.h>

/* FNV-1a, 64 bit: draft-eastlake-fnv. */
#define FNV_OFFSET UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

/* A part and the NUL after it, which no part can hold: ("ab", "c") differs from ("a", "bc"). */
static uint64_t hash_part(uint64_t hash, const char *part)
{
	const char *byte = part ? part : "";

	while (true) {
		hash = (hash ^ (unsigned char)*byte) * FNV_PRIME;
		if (!*byte++)
			return hash;
	}
}

const char *fingerprint_of(const char *source, const char *rule, const char *subject,
			   char text[FINGERPRINT_SIZE])
{
	uint64_t hash = hash_part(hash_part(hash_part(FNV_OFFSET, source), rule), subject);

	snprintf(text, FINGERPRINT_SIZE, "%016" PRIx64, hash);
	return text;
}

/* What recognised the fault; NULL when the Abnormal does not say. */
static const char *rule_of(const struct abnormal *abnormal)
{
	const struct abnormal_spec *spec = &abnormal->spec;
	const char *reason = json_string(spec->kubernetes_event, "reason");

	switch ((enum abnormal_source)spec->source) {
	case SOURCE_KERNEL_EVENT:
		return spec->kernel_event ? spec->kernel_event->detector : NULL;
	case SOURCE_LOG:
		return spec->log ? spec->log->file_path : NULL;
	case SOURCE_KUBERNETES_EVENT:
		return reason ? reason
			      : cJSON_GetStringValue(
					json_at(spec->kubernetes_event, "metadata.name"));
	case SOURCE_PROMETHEUS_ALERT:
		return spec->prometheus_alert
			       ? json_string(spec->prometheus_alert->labels, "alertname")
			       : NULL;
	case SOURCE_PROBE:
		if (spec->node_probe)
			return spec->node_probe->name;
		return spec->pod_probe ? spec->pod_probe->name : NULL;
	case SOURCE_CUSTOM:
	case SOURCE_NONE:
		return abnormal->metadata.name;
	}
	return NULL;
}

const char *abnormal_fingerprint(const struct abnormal *abnormal, char text[FINGERPRINT_SIZE])
{
	const char *label = abnormal_label(abnormal, LABEL_FINGERPRINT);
	const char *subject = abnormal_annotation(abnormal, ANNOTATION_SUBJECT);
	const char *namespace = abnormal->metadata.namespace, *name = abnormal->metadata.name;
	char full_name[64 + 256] = "";

	if (label && strlen(label) == FINGERPRINT_SIZE - 1) {
		memcpy(text, label, FINGERPRINT_SIZE);
		return text;
	}
	if (!subject)
		snprintf(full_name, sizeof(full_name), "%s/%s", namespace ? namespace : "",
			 name ? name : "");
	return fingerprint_of(abnormal_source_names[abnormal->spec.source], rule_of(abnormal),
			      subject ? subject : full_name, text);
}

const char *abnormal_subject(const struct abnormal *abnormal)
{
	const char *subject = abnormal_annotation(abnormal, ANNOTATION_SUBJECT);

	if (!subject)
		subject = abnormal->metadata.name;
	return subject ? subject : "";
}

/* VALUE in base 36 at the end of TEXT; returns where it starts. */
static const char *base36(uint64_t value, char text[16])
{
	char *next = text + 15;

	*next = '\0';
	do
		*--next = "0123456789abcdefghijklmnopqrstuvwxyz"[value % 36];
	while (value /= 36);
	return next;
}

const char *fingerprint_name(const char *rule, const char *fingerprint, int64_t first_realtime_ns,
			     char text[ABNORMAL_NAME_SIZE])
{
	/* 8 of the fingerprint, 7 of the time (until the year 4453) and two dashes leave 46. */
	char prefix[47], digits[16];
	size_t length = 0;
	uint64_t second = first_realtime_ns > 0 ? (uint64_t)first_realtime_ns / NS_PER_S : 0;

	for (const char *c = rule; *c && length < sizeof(prefix) - 1; c++) {
		char lower = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
		bool kept = (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9');

		/* A name starts with a letter or digit. */
		if (kept || length)
			prefix[length++] = kept ? lower : '-';
	}
	prefix[length] = '\0';
	snprintf(text, ABNORMAL_NAME_SIZE, "%s-%.8s-%s", length ? prefix : "abnormal", fingerprint,
		 base36(second, digits));
	return text;
}

bool occurrences_have(const struct abnormal *abnormal, const char *record)
{
	const struct occurrences *occurrences = abnormal->status.occurrences;
	const char *last = occurrences ? occurrences->last_record : NULL;
	const char *last_colon = last ? strrchr(last, ':') : NULL,
		   *colon = record ? strrchr(record, ':') : NULL;

	/* Positions are of the same ring alone. */
	if (!last_colon || !colon || last_colon - last != colon - record ||
	    memcmp(last, record, (size_t)(colon - record)) != 0)
		return false;
	return strtoull(colon + 1, NULL, 10) <= strtoull(last_colon + 1, NULL, 10);
}

int occurrences_add(struct abnormal *abnormal, int64_t count, int64_t realtime_ns,
		    const char *record)
{
	struct occurrences *occurrences = abnormal->status.occurrences;

	if (!occurrences) {
		occurrences = schema_new(&occurrences_schema);
		if (!occurrences)
			return -ENOMEM;
		abnormal->status.occurrences = occurrences;
	}
	/* A sighting that does not count itself is one. */
	occurrences->count = MIN(occurrences->count + MIN(MAX(count, INT64_C(1)), JSON_WHOLE_MAX),
				 JSON_WHOLE_MAX);
	if (occurrences->first_time == TIME_ABSENT || realtime_ns < occurrences->first_time)
		occurrences->first_time = realtime_ns;
	/* Sightings can arrive out of order. */
	occurrences->last_time = MAX(occurrences->last_time, realtime_ns);
	return record ? string_set(&occurrences->last_record, record) : 0;
}
