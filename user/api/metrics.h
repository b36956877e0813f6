/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's numbers as OpenMetrics text. Rendering is pure: everything shown is in the input.
 */
#pragma once

#include "base/buffer.h"
#include "chain/pipeline.h"

struct api_counts {
	uint64_t connections_accepted;
	uint64_t refused_peer, refused_full; /* not allowed; too many at once */
	uint64_t requests, requests_failed; /* failed: answered with 4xx or 5xx */
	uint64_t watchers_closed; /* for being too slow */
	uint64_t timeouts;
};

/*
 * How Abnormals ended, by what may be a label. A script can make up reasons, so their number is
 * capped.
 */
#define ENDINGS_MAX 128
#define ENDINGS_REMEMBERED 1024

struct metrics_endings {
	struct ending {
		char *phase, *reason, *source, *rule;
		uint64_t count;
	} * items;
	size_t count;
	uint64_t other; /* those over the cap */
	/*
	 * Hashes of the latest that were counted: a repeat folded into an ended one is no second
	 * ending.
	 */
	uint64_t remembered[ENDINGS_REMEMBERED];
	size_t next;
};

/*
 * Counts ABNORMAL if it ended at or after SINCE and was not counted before. Returns 0 or -ENOMEM.
 */
int metrics_endings_add(struct metrics_endings *endings, const struct abnormal *abnormal,
			int64_t since_realtime_ns);
void metrics_endings_clear(struct metrics_endings *endings);

struct metrics_process {
	uint64_t resident_bytes, open_files;
	double cpu_seconds, start_time_seconds;
};
/* Of the calling process; what cannot be read is 0. */
void metrics_process_read(struct metrics_process *ret_process, int64_t start_realtime_ns);

struct metrics_input {
	const char *version, *node_name;
	bool dry_run;
	const struct metrics_endings *endings;
	const struct pipeline_counts *pipeline;
	const struct call_counts *calls;
	const struct store_counts *store;
	const char *store_medium;
	const cJSON *detectors; /* as of detect_status() */
	uint64_t malformed; /* records of the ring that were refused */
	const struct api_counts *api;
	unsigned connections, watchers;
	struct metrics_process process;
};

#define METRICS_BYTES_MAX (1 * MIB)
#define METRICS_CONTENT_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* Appends the whole exposition. Returns 0, -ENOBUFS or -ENOMEM. */
int metrics_render(const struct metrics_input *input, struct buffer *text);
