/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that strangers chose (of processes, files, control groups) as text that may be printed: no
 * control sequences, no line of its own, no bytes that are not UTF-8.
 */
#pragma once

#include "base/utf8.h"

/*
 * Copies LENGTH bytes of TEXT and a NUL; COPY may be TEXT. '?' stands for each byte that is a
 * control character or no UTF-8, so the length stays the same.
 */
static inline void plain_copy(char *copy, const char *text, size_t length)
{
	for (size_t at = 0; at < length;) {
		size_t step = utf8_length(text + at, length - at);

		if (step == 0 ||
		    (step == 1 && ((unsigned char)text[at] < 0x20 || text[at] == 0x7f))) {
			copy[at++] = '?';
			continue;
		}
		memmove(copy + at, text + at, step);
		at += step;
	}
	copy[length] = '\0';
}
