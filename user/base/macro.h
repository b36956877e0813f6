/* SPDX-License-Identifier: Apache-2.0 */
/* Small spellings that the whole tree uses. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
/* What the macro TOKEN stands for, as text. */
#define STRINGIFY(token) STRINGIFY_TOKEN(token)
#define STRINGIFY_TOKEN(token) #token
#define _printf_(text, first) __attribute__((format(printf, text, first)))
#define _unused_ __attribute__((unused))
#define _noreturn_ __attribute__((noreturn))

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)
#define KIB ((size_t)1024)
#define MIB ((size_t)1024 * 1024)

static inline bool streq(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* NULL equals NULL, and nothing else. */
static inline bool streq_ptr(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Returns what follows PREFIX in TEXT, or NULL if TEXT does not start with it. */
static inline const char *startswith(const char *text, const char *prefix)
{
	size_t length = strlen(prefix);

	return strncmp(text, prefix, length) == 0 ? text + length : NULL;
}

static inline bool endswith(const char *text, const char *suffix)
{
	size_t a = strlen(text), b = strlen(suffix);

	return a >= b && memcmp(text + a - b, suffix, b) == 0;
}

/*
 * Registration without a list: a part places a const descriptor in a section named after its kind,
 * and whoever runs the parts walks the section. The linker defines __start_ and __stop_ for it.
 */
#define REGISTER(kind, descriptor_type, symbol)                                      \
	static const descriptor_type symbol;                                         \
	static const descriptor_type *const symbol##_registered                      \
		__attribute__((used, retain, section("lifeboat_" #kind))) = &symbol; \
	static const descriptor_type symbol

#define DECLARE_REGISTRY(kind, descriptor_type)                                              \
	extern const descriptor_type *const __start_lifeboat_##kind[] __attribute__((weak)); \
	extern const descriptor_type *const __stop_lifeboat_##kind[] __attribute__((weak))

#define FOREACH_REGISTERED(kind, descriptor_type, item)                                         \
	for (const descriptor_type *const *item##_slot = __start_lifeboat_##kind, *item = NULL; \
	     item##_slot < __stop_lifeboat_##kind && (item = *item##_slot, true); item##_slot++)
