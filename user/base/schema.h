/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Typed objects from tables: a `struct schema` tells how a C struct looks in JSON, and one engine
 * decodes, validates, encodes, copies and frees all of them. Abnormals, script headers and the
 * configuration are such objects; a new field is one line in a table.
 *
 * What a kind is in the C struct:
 *
 *   FIELD_STRING      char *          NULL when absent
 *   FIELD_BOOL        bool            false when absent; false is not written
 *   FIELD_TRISTATE    int             -1 when absent, 0 false, 1 true
 *   FIELD_INTEGER     int64_t         a whole number; 0 when absent
 *   FIELD_TIME        int64_t         ns since 1970 (RFC 3339), or TIME_ABSENT
 *   FIELD_DURATION    uint64_t        ns ("90s"); 0 when absent
 *   FIELD_ENUM        int             index into NAMES; 0 when absent
 *   FIELD_OBJECT      struct x *      described by SCHEMA; NULL when absent
 *   FIELD_STRUCT      struct x        the same, by value
 *   FIELD_LIST        struct list     of objects, contiguous
 *   FIELD_STRINGS     struct strings  a list of strings
 *   FIELD_STRING_MAP  cJSON *         an object whose values are strings
 *   FIELD_JSON        cJSON *         any JSON object, kept as it is
 *   FIELD_ANY         cJSON *         any JSON value, kept as it is
 *
 * NAMES[0] may be "". An integer, time, duration or enum that is absent, and a list that is empty, is not
 * written. Where 0 says something that absence does not (user 0, processor 0, no cooldown), the field's
 * `absent` is another value, as -1; where nothing and 0 are the same but the reader should see it (lost
 * events), `always` writes it.
 *
 * A table that maps a struct has one line a field:
 *
 *     static const struct field point_fields[] = {
 *             SCHEMA_FIELD(struct point, x, "x", FIELD_INTEGER, .required = true),
 *             SCHEMA_FIELD(struct point, label, "label", FIELD_STRING, .maximum = 63),
 *     };
 *     const struct schema point_schema =
 *             SCHEMA("Point", struct point, point_fields, .extra_offset = SCHEMA_STRICT);
 */
#pragma once

#include "base/clock.h"
#include "base/json.h"

enum field_kind {
	FIELD_STRING,
	FIELD_BOOL,
	FIELD_TRISTATE,
	FIELD_INTEGER,
	FIELD_TIME,
	FIELD_DURATION,
	FIELD_ENUM,
	FIELD_OBJECT,
	FIELD_STRUCT,
	FIELD_LIST,
	FIELD_STRINGS,
	FIELD_STRING_MAP,
	FIELD_JSON,
	FIELD_ANY,
};

struct list {
	void *items; /* of the schema's size each */
	size_t count;
};

struct strings {
	char **items;
	size_t count;
};

struct schema;

struct field {
	const char *name; /* in JSON */
	enum field_kind kind;
	bool required; /* must be present, and a string not empty */
	size_t offset; /* in the C struct */
	const struct schema *schema; /* of OBJECT, STRUCT, LIST */
	const char *const *names; /* of ENUM, ended by NULL */
	/*
	 * Of INTEGER and DURATION (ns), when either is not 0. `maximum` is also the most characters of a
	 * STRING, items of a LIST or STRINGS, and members of a STRING_MAP.
	 */
	int64_t minimum, maximum;
	int64_t absent; /* of INTEGER and DURATION: the value that stands for absent */
	bool always; /* of INTEGER: written also when absent */
	/*
	 * A further check of the decoded value at OFFSET, or NULL; not called for an absent field.
	 * Returns 0, or fills PROBLEM's text (and field, with a path below this field, or "").
	 */
	int (*check)(const void *value, struct problem *problem);
};

struct schema {
	const char *name; /* of the object, for messages */
	size_t size;
	const struct field *fields;
	size_t field_count;
	/*
	 * Where the struct keeps members that the table does not know (cJSON *, an object or NULL),
	 * so that they survive a round trip; or SCHEMA_STRICT: an unknown member is an error naming
	 * it.
	 */
	ssize_t extra_offset;
	/* Relations between fields, after all are decoded, or NULL. */
	int (*check)(const void *object, struct problem *problem);
};

#define SCHEMA_STRICT ((ssize_t)-1)

#define SCHEMA_FIELD(type, member, json_name, field_kind, ...)                               \
	{                                                                                    \
		.name = (json_name), .kind = (field_kind), .offset = offsetof(type, member), \
		__VA_ARGS__                                                                  \
	}
#define SCHEMA(object_name, type, table, ...)                                   \
	{                                                                       \
		.name = (object_name), .size = sizeof(type), .fields = (table), \
		.field_count = ARRAY_SIZE(table), __VA_ARGS__                   \
	}

/*
 * Decodes JSON into a fresh object of SCHEMA. On error nothing is returned, and PROBLEM names the
 * field by its full path ("spec.assignedDiagnosers[1].name"). Every unknown enum value lists the
 * known ones; every unknown member of a strict schema names the nearest known one if one is near.
 * JSON null counts as absent. Returns 0, -EINVAL or -ENOMEM.
 */
int schema_decode(const struct schema *schema, const cJSON *json, void **ret_object,
		  struct problem *problem);

/* Encodes a valid object; unknown members come after the known. Returns 0 or -ENOMEM. */
int schema_encode(const struct schema *schema, const void *object, cJSON **ret_json);

/* A fresh object with every field absent, or NULL. */
void *schema_new(const struct schema *schema);

/* A deep copy, or NULL when out of memory. */
void *schema_copy(const struct schema *schema, const void *object);

/* Frees what the object owns, and the object itself; NULL is fine. */
void schema_free(const struct schema *schema, void *object);

/*
 * Frees what the object owns and sets every field absent; for FIELD_STRUCT members and stack
 * objects.
 */
void schema_clear(const struct schema *schema, void *object);

/* Appends one element, every field absent, to a list of SCHEMA and returns it, or NULL. */
void *list_append(struct list *list, const struct schema *schema);

/* Appends a copy of TEXT. Returns 0 or -ENOMEM. */
int strings_append(struct strings *strings, const char *text);
/* Frees the items; the list is empty then. */
void strings_clear(struct strings *strings);
bool strings_contain(const struct strings *strings, const char *text);
