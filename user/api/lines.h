/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON list becomes lines, one an element, without being decoded: it may be as large as the
 * store.
 */
#pragma once

#include "base/buffer.h"

/*
 * Appends {"type":"ADDED","object":ELEMENT} and a newline for each element of TEXT, which is a
 * valid JSON list. Returns 0, -EBADMSG if it is none, -ENOBUFS or -ENOMEM.
 */
int lines_from_list(const char *text, size_t length, struct buffer *lines);
