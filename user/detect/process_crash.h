/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the process_crash detector, for one another alone:
 *   process_crash.c           settings, ladder, records and counters of the kernel
 *   process_crash_programs.c  who crashed before, and when that is a loop
 *   process_crash_finding.c   a crash as spec.kernelEvent
 */
#pragma once

#include "detect/detector.h"

#include "../../bpf/process_crash.h"

#define CRASHED_PROGRAMS_MAX 256
#define CRASH_TIMES 9 /* latest crashes kept one by one: the intervals between them are told */
#define CRASH_BUCKETS 20 /* parts of the window, in which crashes are counted */

struct crash_settings {
	uint64_t loop_window_ns;
	int64_t loop_crashes;
};

/* A program in its place: what is one fault, however many processes it takes. */
struct crashed_program {
	char *subject; /* "nginx in container web of pod shop/cart-1" */
	struct crash_program key; /* its latest place in the kernel's counters */
	uint64_t folded_seen; /* of those counters */
	uint64_t times_ns[CRASH_TIMES]; /* boot time, latest first; 0: none */
	struct {
		uint64_t number, count; /* which part of time, and crashes in it */
	} buckets[CRASH_BUCKETS];
	uint64_t first_ns, last_ns, told_ns;
	uint64_t untold;
	uint64_t record; /* of the last crash that is not told yet; 0: it has none */
	bool looping;
	cJSON *latest; /* the last crash, for what is told of those without a record */
};

struct crash_programs;

struct crash_programs_options {
	struct detector_run *run; /* findings are reported by it */
	const struct crash_settings *settings;
	/* Crashes of KEY that the kernel only counted, so far; 0 when it knows of none. */
	uint64_t (*read_folded)(void *userdata, const struct crash_program *key);
	/* How many of them this agent or one before it has taken; NULL: none are remembered. */
	uint64_t (*read_told)(void *userdata, const struct crash_program *key);
	void (*write_told)(void *userdata, const struct crash_program *key, uint64_t folded);
	void *userdata;
};

int crash_programs_new(const struct crash_programs_options *options,
		       struct crash_programs **ret_programs);
void crash_programs_free(struct crash_programs *programs);

/*
 * One crash with a record: EVENT is spec.kernelEvent without what is known of others, and is taken.
 * KEY is where the kernel counts those without. Returns 0 or -ENOMEM.
 */
int crash_programs_add(struct crash_programs *programs, const char *subject,
		       const struct crash_program *key, uint64_t boot_ns, cJSON *event);

/*
 * Takes the kernel's counts of programs that crashed just now, and tells what is due. Returns ns
 * until it wants to be called again; 0: not before the next crash.
 */
uint64_t crash_programs_look(struct crash_programs *programs, uint64_t boot_ns);

/* Tells everything that is held back, here or in the kernel's counts. */
void crash_programs_flush(struct crash_programs *programs, uint64_t boot_ns);

/* --- One crash --- */

/* spec.kernelEvent with the details of docs/detectors.md, or NULL. */
cJSON *crash_event_json(const struct detector_run *run, const struct process_crash_event *event);

/* "nginx in container web of pod shop/cart-1" from spec.kernelEvent, or NULL. */
char *crash_subject(const cJSON *event);
