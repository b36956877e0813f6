/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One fault, one Abnormal: the fingerprint of (source, detector or rule, subject) tells whether two
 * sightings are the same fault. Pure.
 */
#pragma once

#include "core/abnormal.h"

#define FINGERPRINT_SIZE 17 /* 16 hexadecimal digits and a NUL */

/* FNV-1a, 64 bit, over the parts with a separator between them; NULL counts as "". Returns TEXT. */
const char *fingerprint_of(const char *source, const char *rule, const char *subject,
			   char text[FINGERPRINT_SIZE]);

/*
 * The fingerprint of an Abnormal: its label when it has one, else source, rule (the detector, the
 * log's path, the alert's or event's name, the probe's name, or metadata.name for Custom) and
 * subject (its annotation, or namespace/name).
 */
const char *abnormal_fingerprint(const struct abnormal *abnormal, char text[FINGERPRINT_SIZE]);

/* What it is about, for serialising work on one subject; never NULL, belongs to ABNORMAL. */
const char *abnormal_subject(const struct abnormal *abnormal);

/*
 * A name for an Abnormal that the agent makes: RULE with everything but [a-z0-9-] turned to '-',
 * the first eight digits of the fingerprint, and the second of its first time in base 36; the same
 * input always gives the same name, of at most 63 characters. Returns TEXT.
 */
#define ABNORMAL_NAME_SIZE 64
const char *fingerprint_name(const char *rule, const char *fingerprint, int64_t first_realtime_ns,
			     char text[ABNORMAL_NAME_SIZE]);

/*
 * Adds one more sighting to status.occurrences: count, lastTime, and lastRecord if RECORD (may be NULL)
 * tells which record of the kernel's it is of. Returns 0 or -ENOMEM.
 */
int occurrences_add(struct abnormal *abnormal, int64_t count, int64_t realtime_ns,
		    const char *record);
/*
 * Whether the sighting that RECORD tells of is counted already, as it was when an agent was killed
 * between that and letting go of the record.
 */
bool occurrences_have(const struct abnormal *abnormal, const char *record);
