/* SPDX-License-Identifier: Apache-2.0 */
/* The state found on disk, while its pieces come in. Private to store/. */
#pragma once

#include "store/store.h"

struct loading {
	struct store_loaded loaded;
	size_t live_capacity, recent_capacity, acted_capacity;
};

/*
 * Adds one Abnormal's document. Returns 0, -ENOMEM, or what abnormal_decode says of one that this
 * version cannot read (PROBLEM tells why); it stays in the database.
 */
int loading_add(struct loading *loading, bool live, const char *text, size_t length,
		struct problem *problem);
/* Copies ACTION. Returns 0 or -ENOMEM. */
int loading_add_action(struct loading *loading, const struct store_action *action);
int loading_add_position(struct loading *loading, const char *source, const char *position);
/* All pieces are there: what has none is made empty. */
void loading_finish(struct loading *loading);
/* Frees what was not taken. */
void loading_clear(struct loading *loading);
