/* SPDX-License-Identifier: Apache-2.0 */
#include "detect/shim_name.h"

#include <string.h>

#include "base/macro.h"

#define WILDCARDS "*?[\\"

/* The part of PATTERN before its first wildcard; with the NUL after it where it has none. */
struct shim_name shim_name_of_pattern(const char *pattern)
{
	char value[EVENT_COMM_SIZE] = "", mask[EVENT_COMM_SIZE] = "";
	size_t literal = strcspn(pattern, WILDCARDS), length = MIN(literal, sizeof(value) - 1);
	struct shim_name name;

	memcpy(value, pattern, length);
	memset(mask, 0xff, pattern[literal] ? length : length + 1);
	memcpy(name.value, value, sizeof(value));
	memcpy(name.mask, mask, sizeof(mask));
	return name;
}

void shim_names_fill(struct shim_name names[SHIM_NAMES_MAX], const char *const *patterns,
		     size_t count)
{
	for (size_t i = 0; i < SHIM_NAMES_MAX; i++)
		names[i] = i < count ? shim_name_of_pattern(patterns[i])
				     : (struct shim_name){.value = {1}};
}
