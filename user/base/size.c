/* SPDX-License-Identifier: Apache-2.0 */
/* Amounts of memory and disk, for people. */
#include "base/size.h"

#include <stdio.h>

const char *size_format(uint64_t bytes, char text[SIZE_TEXT_SIZE])
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	size_t unit = 0;

	if (bytes < 1024) {
		snprintf(text, SIZE_TEXT_SIZE, "%u B", (unsigned)bytes);
		return text;
	}
	/* 1023.96 KiB would round to "1024 KiB": it is a MiB. */
	for (value /= 1024; value >= 1023.95 && unit + 1 < ARRAY_SIZE(units); unit++)
		value /= 1024;
	unsigned long long tenths = (unsigned long long)(value * 10 + 0.5);
	if (tenths >= 1000 || tenths % 10 == 0)
		snprintf(text, SIZE_TEXT_SIZE, "%llu %s", (tenths + (tenths >= 1000 ? 5 : 0)) / 10,
			 units[unit]);
	else
		snprintf(text, SIZE_TEXT_SIZE, "%llu.%llu %s", tenths / 10, tenths % 10,
			 units[unit]);
	return text;
}

const char *size_format_number(double bytes, char text[SIZE_TEXT_SIZE])
{
	return size_format(bytes >= 0 && bytes < 0x1p63 ? (uint64_t)bytes : 0, text);
}
