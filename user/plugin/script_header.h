/* SPDX-License-Identifier: Apache-2.0 */
/* What a script says of itself in `# lifeboat: key=value …` comment lines among its first 40. */
#pragma once

#include "plugin/plugin.h"

#define SCRIPT_HEADER_LINES 40
#define SCRIPT_HEADER_BYTES (16 * KIB) /* of the file, read for it */

struct script_header {
	bool has_order;
	int64_t order;
	uint64_t timeout_ns, cooldown_ns, verify_within_ns; /* 0 absent */
	char *memory, *summary; /* NULL absent */
	struct strings sources, detectors;
	unsigned source_mask;
	int troubleshooting; /* enum script_troubleshooting */
	int disturbs; /* 0 absent, or 1 + enum disturbance */
	bool required, idempotent, plan, verify;
};

enum script_troubleshooting {
	TROUBLESHOOTING_ABSENT,
	TROUBLESHOOTING_NO,
	TROUBLESHOOTING_YES,
	TROUBLESHOOTING_ONLY
};

/*
 * Reads the header of a script of KIND from TEXT, the beginning of its file. Each key is allowed
 * only for the kinds that it means something for. Returns 0, -EINVAL (PROBLEM names the key) or
 * -ENOMEM.
 */
int script_header_parse(enum plugin_kind kind, const char *text, size_t length,
			struct script_header **ret_header, struct problem *problem);
void script_header_free(struct script_header *header);
DEFINE_CLEANUP(struct script_header, script_header_free);
