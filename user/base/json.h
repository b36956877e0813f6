/* SPDX-License-Identifier: Apache-2.0 */
/* cJSON with limits, ownership by scope and errors that name the place. */
#pragma once

#include <cjson/cJSON.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/problem.h"

/* Deepest nesting of objects and lists accepted from outside. */
#define JSON_DEPTH_MAX 64

/* Whole numbers are exact up to here. */
#define JSON_WHOLE_MAX (INT64_C(1) << 53)

static inline void json_freep(cJSON **json)
{
	cJSON_Delete(*json);
}
#define _cleanup_json_ _cleanup_(json_freep)

/*
 * Parses exactly one JSON value; trailing bytes other than white space, nesting over
 * JSON_DEPTH_MAX, a duplicate key, a NUL inside and text that is not UTF-8 are errors. Numbers are
 * doubles: whole numbers are exact up to 2^53.
 * Returns 0, -EINVAL (with line and column in PROBLEM) or -ENOMEM.
 */
int json_parse(const char *text, size_t length, cJSON **ret_json, struct problem *problem);

/*
 * Compact text, the caller's to free; NULL when out of memory. Bytes that are not UTF-8 become
 * U+FFFD.
 */
char *json_print(const cJSON *json);
/* Indented by two spaces, as kubectl prints. */
char *json_print_pretty(const cJSON *json);
/*
 * Appends the compact text to OUT. Returns 0, -ENOBUFS when it would pass the buffer's cap, or
 * -ENOMEM.
 */
int json_print_to(const cJSON *json, struct buffer *out);

/* A member that is a string, or NULL. The string belongs to JSON. */
const char *json_string(const cJSON *json, const char *name);
/* A member that is a number, or FALLBACK. */
double json_number(const cJSON *json, const char *name, double fallback);
/*
 * A member that counts something: a pid, a device number, ticks. What is no number, negative or too
 * large to be exact (2^53) is 0, as to convert it would be undefined.
 */
uint64_t json_u64(const cJSON *json, const char *name);
/* The same, 0 above UINT32_MAX. */
uint32_t json_u32(const cJSON *json, const char *name);
bool json_bool(const cJSON *json, const char *name, bool fallback);
/* A member by a dotted path ("spec.kernelEvent.process"), or NULL. */
cJSON *json_at(const cJSON *json, const char *path);

/*
 * Sets (replaces or adds) a member, which JSON then owns, and on failure is freed. Returns 0 or
 * -ENOMEM.
 */
int json_set(cJSON *json, const char *name, cJSON *value);
int json_set_string(cJSON *json, const char *name, const char *value); /* NULL: nothing is set */
int json_set_number(cJSON *json, const char *name, double value);
int json_set_bool(cJSON *json, const char *name, bool value);
int json_set_time(cJSON *json, const char *name, int64_t realtime_ns);

/* A key that OBJECT holds more than once, or NULL; belongs to OBJECT. Returns 0 or -ENOMEM. */
int json_find_duplicate(const cJSON *object, const char **ret_name);

/*
 * Settings that somebody gave, over the usual ones: members of OVERLAY replace those of BASE, and objects
 * in both are laid over each other. A null, and an empty list over a list, is as if it was not there.
 * Returns 0, or -ENOMEM with some of it done.
 */
int json_overlay(cJSON *base, const cJSON *overlay);

/*
 * Packing turns an object or a list, in its place, into its own text: a fifth of the memory. It is
 * printed, copied and freed as before, but nothing in it is found until it is unpacked. Without
 * memory, VALUE stays as it was; json_unpack returns 0 (also of what was not packed) or json_parse's error.
 */
void json_pack(cJSON *value);
int json_unpack(cJSON *value);

/* True if both hold the same value, whatever the order of members. NULL equals NULL only. */
bool json_equal(const cJSON *a, const cJSON *b);
