/* SPDX-License-Identifier: Apache-2.0 */
/* Which columns each kind of thing has in `lifeboat get`, and what stands in them. */
#pragma once

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/table.h"

struct rows {
	enum resource resource;
	bool wide, namespaces; /* NAMESPACE as the first column */
	int64_t now_realtime_ns;
	struct table table;
	bool headers_printed;
};

/* Sets the columns. */
void rows_start(struct rows *rows);
void rows_clear(struct rows *rows);
#define _cleanup_rows_ _cleanup_(rows_clear)

/* Adds a row for OBJECT; DELETED: as the last that is heard of it. Returns 0 or -ENOMEM. */
int rows_add(struct rows *rows, const cJSON *object, bool deleted);

/* Prints and drops the rows; the headers once. */
void rows_print(struct rows *rows, const struct terminal *terminal);

/* "12s", since an RFC 3339 time; "" if TIME is NULL or no time. Returns TEXT. */
const char *age_format(const char *time, int64_t now_realtime_ns, char text[TIME_TEXT_SIZE]);
