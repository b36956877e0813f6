/* SPDX-License-Identifier: Apache-2.0 */
/* Where a byte string is UTF-8 and where it is not: process names and log lines are often not. */
#pragma once

#include "base/macro.h"

/*
 * The bytes of the well-formed character (RFC 3629: no surrogates, no overlong forms) that TEXT
 * starts with, of which AVAILABLE bytes may be read; 0 if there is none.
 */
static inline size_t utf8_length(const char *text, size_t available)
{
	const unsigned char *byte = (const unsigned char *)text;
	unsigned char low = 0x80, high = 0xbf;
	size_t length;

	if (available == 0)
		return 0;
	if (byte[0] < 0x80)
		return 1;
	if (byte[0] < 0xc2 || byte[0] > 0xf4)
		return 0;
	length = byte[0] < 0xe0 ? 2 : byte[0] < 0xf0 ? 3 : 4;
	if (available < length)
		return 0;
	if (byte[0] == 0xe0)
		low = 0xa0;
	else if (byte[0] == 0xed)
		high = 0x9f;
	else if (byte[0] == 0xf0)
		low = 0x90;
	else if (byte[0] == 0xf4)
		high = 0x8f;
	if (byte[1] < low || byte[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++)
		if ((byte[i] & 0xc0) != 0x80)
			return 0;
	return length;
}

/* The greatest length of at most LENGTH bytes of TEXT that does not cut a character in two. */
static inline size_t utf8_cut(const char *text, size_t length)
{
	size_t cut = length;

	for (size_t back = 1; back <= 3 && back <= length; back++) {
		unsigned char byte = (unsigned char)text[length - back];

		if ((byte & 0xc0) == 0x80)
			continue;
		if (byte >= 0xc0 && utf8_length(text + length - back, back) == 0)
			cut = length - back;
		break;
	}
	return cut;
}

/* Copies as much of TEXT as fits into SIZE bytes with the NUL. Returns COPY. */
static inline const char *utf8_copy(char *copy, size_t size, const char *text)
{
	size_t length = strnlen(text, size);

	if (length == size)
		length = utf8_cut(text, size - 1);
	memcpy(copy, text, length);
	copy[length] = '\0';
	return copy;
}
