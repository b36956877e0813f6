/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stacks of a Go program's goroutines, as runtime.Stack writes them: parsed from text that
 * somebody else's process wrote, so nothing in it is trusted. Raw lines, or one line of a logger
 * with "\n" and "\t" escaped (logrus as text or JSON).
 */
#pragma once

#include "base/json.h"

#define GOROUTINES_MAX 16384
#define GOROUTINE_FRAMES_MAX 128

struct goroutine_frame {
	const char *
		function; /* "github.com/containerd/containerd/runtime/v1/shim.Reap", without arguments */
	const char *file; /* as compiled; "" where the dump does not tell */
	uint32_t line;
};

struct goroutine {
	uint64_t id;
	const char *state; /* "chan send", "select", "running", "sync.Mutex.Lock" … */
	uint64_t wait_minutes; /* 0: less than one */
	bool locked; /* to its thread */
	struct goroutine_frame *frames; /* innermost first */
	size_t frame_count;
	const char *created_by; /* function that started it, or "" */
};

struct goroutine_dump {
	struct goroutine *items;
	size_t count;
	bool escaped; /* it was one escaped line */
	bool truncated; /* the text ended within a dump, or a limit was reached */
};

/*
 * Finds the dump in TEXT, with whatever a logger put around it. Returns 0, -ENODATA if there is none,
 * or -ENOMEM.
 */
int goroutine_dump_parse(const char *text, size_t length, struct goroutine_dump **ret_dump);
void goroutine_dump_free(struct goroutine_dump *dump);
DEFINE_CLEANUP(struct goroutine_dump, goroutine_dump_free);

/* Goroutine ID, or NULL. */
const struct goroutine *goroutine_dump_find(const struct goroutine_dump *dump, uint64_t id);

/*
 * The function name without its import path: "shim.(*Monitor).Unsubscribe". Points into FUNCTION.
 */
const char *goroutine_function_name(const char *function);

/*
 * A summary: {goroutines, escaped, truncated, main: {id, state, waitMinutes, frames: [{function, file, line}]},
 * groups: [{count, state, waitMinutes (longest), createdBy, frames}]}. The groups are of goroutines with
 * the same state and functions, largest first, at most GROUPS_MAX with FRAMES_MAX frames each.
 * NULL when out of memory.
 */
cJSON *goroutine_dump_summary(const struct goroutine_dump *dump, size_t groups_max,
			      size_t frames_max);
