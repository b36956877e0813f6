/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a goroutine dump looks in text, as both its parser and whoever finds it among other writes
 * need it.
 */
#pragma once

#include "base/cleanup.h"
#include "base/macro.h"

/* What containerd and its shims put around one. */
#define GOROUTINES_BEGIN "=== BEGIN goroutine stack dump ==="
#define GOROUTINES_END "=== END goroutine stack dump ==="

struct goroutine_header {
	uint64_t id;
	char *state; /* what is between the brackets */
	size_t state_length;
};

/* "goroutine 1 gp=0x… m=0 mp=0x… [chan send, 10 minutes]:" at the end of LINE. */
bool goroutine_header_read(char *line, size_t length, struct goroutine_header *ret_header);

/*
 * Where the first dump in TEXT begins (at its marker, or its first goroutine; the line's beginning
 * is left out), in raw text or escaped; NULL if there is none.
 */
const char *goroutine_text_begin(const char *text, size_t length);

/*
 * A copy of TEXT in which each line that holds a dump with "\n" for newline is lines again (\t, \",
 * \\, \u003c, \x1b too). It is followed by a NUL. Returns 0 or -ENOMEM.
 */
int goroutine_text_unescape(const char *text, size_t length, char **ret_text, size_t *ret_length,
			    bool *ret_escaped);
