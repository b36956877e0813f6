/* SPDX-License-Identifier: Apache-2.0 */
/* YAML as a way to write JSON: what a person types becomes the cJSON that every decoder takes. */
#pragma once

#include "base/json.h"

/*
 * Reads the documents of TEXT (YAML or JSON) into a cJSON list, empty documents left out. Scalars
 * follow YAML 1.2's core schema (null, true/false, numbers; everything else and all that is quoted
 * is a string). Anchors and aliases, tags, duplicate keys and depth over JSON_DEPTH_MAX are
 * refused. Returns 0, -EINVAL with line and column in PROBLEM, -EFBIG over MAXIMUM bytes, or
 * -ENOMEM.
 */
int yaml_read(const char *text, size_t length, size_t maximum, cJSON **ret_documents,
	      struct problem *problem);

/*
 * Writes one value as YAML, block style, keys in their order; strings quoted where they must be.
 * Returns text for the caller to free, or NULL when out of memory.
 */
char *yaml_write(const cJSON *json);
