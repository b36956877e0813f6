/* SPDX-License-Identifier: Apache-2.0 */
/* Amounts of memory and disk, for people: powers of 1024 with their proper names. */
#pragma once

#include "base/macro.h"

#define SIZE_TEXT_SIZE 24
/*
 * "512 B", "31.9 MiB", "20 MiB", "1.5 GiB": one decimal below 100 unless it is zero. Returns TEXT.
 */
const char *size_format(uint64_t bytes, char text[SIZE_TEXT_SIZE]);
/* The same of a number that anybody may have written: what is no number of bytes is 0. */
const char *size_format_number(double bytes, char text[SIZE_TEXT_SIZE]);
