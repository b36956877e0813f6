/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of one plug-in from the configuration: reading, splitting, checking. */
#include "plugin/settings.h"

int memory_parse(const char *text, size_t *ret_bytes)
{
	static const struct {
		const char *unit;
		size_t bytes;
	} units[] = {
		{"KiB", KIB}, {"MiB", MIB}, {"GiB", 1024 * MIB},
		{"Ki", KIB},  {"Mi", MIB},  {"Gi", 1024 * MIB},
	};
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	unsigned long long number = strtoull(text, &end, 10);
	if (errno)
		return -ERANGE;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (!streq(end, units[i].unit))
			continue;
		if (number > PLUGIN_MEMORY_MAX_BYTES / units[i].bytes ||
		    number * units[i].bytes < PLUGIN_MEMORY_MIN_BYTES)
			return -ERANGE;
		*ret_bytes = (size_t)number * units[i].bytes;
		return 0;
	}
	return -EINVAL;
}

int memory_check(const void *value, struct problem *problem)
{
	const char *text = *(char *const *)value;
	size_t bytes;
	int r = text ? memory_parse(text, &bytes) : 0;

	if (r == -ERANGE)
		return problem_set(problem, -EINVAL, "",
				   "is \"%s\", but must be from 16MiB to 64GiB", text);
	if (r < 0)
		return problem_set(problem, -EINVAL, "",
				   "is \"%s\", which is no size like 64MiB or 1GiB", text);
	return 0;
}

int rate_parse(const char *text, uint64_t *ret_count, uint64_t *ret_period_ns)
{
	char *end, period_text[32];
	uint64_t period;

	if (*text < '1' || *text > '9')
		return -EINVAL;
	errno = 0;
	unsigned long long count = strtoull(text, &end, 10);
	if (errno || count > 1000000 || *end != '/' || !end[1])
		return -EINVAL;
	end++;
	/* A unit alone means one of it: 5/h is 5/1h. */
	bool unit_alone = *end < '0' || *end > '9';
	if (snprintf(period_text, sizeof(period_text), "%s%s", unit_alone ? "1" : "", end) >=
	    (int)sizeof(period_text))
		return -EINVAL;
	if (duration_parse(period_text, &period) < 0 || period == 0)
		return -EINVAL;
	*ret_count = count;
	*ret_period_ns = period;
	return 0;
}

static int rate_check(const void *value, struct problem *problem)
{
	const char *text = *(char *const *)value;
	uint64_t count, period;

	if (text && rate_parse(text, &count, &period) < 0)
		return problem_set(problem, -EINVAL, "",
				   "is \"%s\", which is no rate like 5/h or 1/10m", text);
	return 0;
}

#define MEMBER(member) .offset = offsetof(struct plugin_common_settings, member)
#define COMMON_FIELDS                                                                         \
	{.name = "enabled", .kind = FIELD_TRISTATE, MEMBER(enabled)},                         \
		{.name = "order",                                                             \
		 .kind = FIELD_INTEGER,                                                       \
		 MEMBER(order),                                                               \
		 .minimum = -100000,                                                          \
		 .maximum = 100000},                                                          \
		{.name = "timeout",                                                           \
		 .kind = FIELD_DURATION,                                                      \
		 MEMBER(timeout_ns),                                                          \
		 .minimum = PLUGIN_TIMEOUT_MIN_NS,                                            \
		 .maximum = PLUGIN_TIMEOUT_MAX_NS},                                           \
	{                                                                                     \
		.name = "memory", .kind = FIELD_STRING, MEMBER(memory), .check = memory_check \
	}

static const struct field collector_fields[] = {
	COMMON_FIELDS,
	{.name = "required", .kind = FIELD_TRISTATE, MEMBER(required)},
};

static const struct field diagnoser_fields[] = {COMMON_FIELDS};

static const struct field recoverer_fields[] = {
	COMMON_FIELDS,
	{.name = "cooldown", .kind = FIELD_DURATION, MEMBER(cooldown_ns)},
	{.name = "verifyWithin",
	 .kind = FIELD_DURATION,
	 MEMBER(verify_within_ns),
	 .maximum = 24 * 3600 * (int64_t)NS_PER_S},
	{.name = "rate", .kind = FIELD_STRING, MEMBER(rate), .check = rate_check},
	{.name = "dryRun", .kind = FIELD_TRISTATE, MEMBER(dry_run)},
};

#define COMMON_SCHEMA(kind_name, table)                                                            \
	{                                                                                          \
		.name = kind_name " settings", .size = sizeof(struct plugin_common_settings),      \
		.fields = (table), .field_count = ARRAY_SIZE(table), .extra_offset = SCHEMA_STRICT \
	}

static const struct schema common_schemas[] = {
	[PLUGIN_COLLECTOR] = COMMON_SCHEMA("collector", collector_fields),
	[PLUGIN_DIAGNOSER] = COMMON_SCHEMA("diagnoser", diagnoser_fields),
	[PLUGIN_RECOVERER] = COMMON_SCHEMA("recoverer", recoverer_fields),
};

void plugin_common_settings_free(struct plugin_common_settings *settings)
{
	/*
	 * Any of the three: they differ only in the fields that they allow; the recoverers' owns
	 * all strings.
	 */
	schema_free(&common_schemas[PLUGIN_RECOVERER], settings);
}

static bool schema_has(const struct schema *schema, const char *name)
{
	for (size_t i = 0; i < schema->field_count; i++)
		if (streq(schema->fields[i].name, name))
			return true;
	return false;
}

int plugin_settings_decode(const struct plugin *builtin, const cJSON *own, void **ret_object,
			   struct problem *problem)
{
	_cleanup_json_ cJSON *merged = NULL;
	const struct schema *schema = builtin->settings;

	if (!schema) {
		*ret_object = NULL;
		return 0;
	}
	void *defaults = schema_new(schema);
	if (!defaults)
		return -ENOMEM;
	if (builtin->defaults)
		builtin->defaults(defaults);
	int r = schema_encode(schema, defaults, &merged);
	schema_free(schema, defaults);
	if (r == 0)
		r = json_overlay(merged, own);
	if (r == 0)
		r = schema_decode(schema, merged, ret_object, problem);
	return r;
}

/* Deals the members of JSON out to the common settings and the plug-in's own. */
static int settings_split(const struct schema *common, const cJSON *json, cJSON **ret_common,
			  cJSON **ret_own)
{
	_cleanup_json_ cJSON *shared = cJSON_CreateObject(), *own = cJSON_CreateObject();
	const cJSON *member;

	if (!shared || !own)
		return -ENOMEM;
	cJSON_ArrayForEach (member, json) {
		cJSON *copy = cJSON_Duplicate(member, true);

		if (!copy || json_set(schema_has(common, member->string) ? shared : own,
				      member->string, copy) < 0)
			return -ENOMEM;
	}
	*ret_common = TAKE_PTR(shared);
	*ret_own = TAKE_PTR(own);
	return 0;
}

int plugin_settings_read(enum plugin_kind kind, const struct plugin *builtin, const cJSON *json,
			 struct plugin_common_settings **ret_common, cJSON **ret_own,
			 struct problem *problem)
{
	const struct schema *schema = &common_schemas[kind];
	_cleanup_json_ cJSON *shared = NULL, *own = NULL;
	void *decoded = NULL, *checked = NULL;
	int r;

	if (json && !cJSON_IsNull(json) && !cJSON_IsObject(json))
		return problem_set(problem, -EINVAL, "",
				   "must be an object of settings, such as {enabled: true}");
	r = settings_split(schema, json, &shared, &own);
	if (r < 0)
		return r;
	bool has_own = builtin && builtin->settings;
	/*
	 * Without settings of its own everything goes to the common schema, which names what it
	 * knows.
	 */
	r = schema_decode(schema, has_own ? shared : json ? json : shared, &decoded, problem);
	if (r < 0)
		return r;
	_cleanup_(plugin_common_settings_freep) struct plugin_common_settings *common = decoded;
	if (has_own) {
		r = plugin_settings_decode(builtin, own, &checked, problem);
		if (r < 0)
			return r;
		schema_free(builtin->settings, checked);
	}
	common->has_order = cJSON_IsNumber(cJSON_GetObjectItemCaseSensitive(shared, "order"));
	*ret_common = TAKE_PTR(common);
	*ret_own = has_own && own->child ? TAKE_PTR(own) : NULL;
	return 0;
}
