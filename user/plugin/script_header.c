/* SPDX-License-Identifier: Apache-2.0 */
/* The header lines of scripts: words become JSON, and a strict schema a kind checks that. */
#include "plugin/script_header.h"

#include "plugin/settings.h"

static const char *const troubleshooting_names[] = {"", "no", "yes", "only", NULL};
static const char *const header_disturbance_names[] = {"",    "none", "process", "container",
						       "pod", "node", NULL};

static int sources_check(const void *value, struct problem *problem)
{
	const struct strings *sources = value;

	for (size_t i = 0; i < sources->count; i++) {
		bool known = false;

		for (int source = SOURCE_KERNEL_EVENT; source <= SOURCE_CUSTOM; source++)
			known = known || streq(sources->items[i], abnormal_source_names[source]);
		if (!known)
			return problem_set(
				problem, -EINVAL, "",
				"has \"%s\", which is no source; the sources are KernelEvent, Log, "
				"KubernetesEvent, PrometheusAlert, Probe and Custom",
				sources->items[i]);
	}
	return 0;
}

#define MEMBER(member) .offset = offsetof(struct script_header, member)
#define COMMON_FIELDS                                                                            \
	{.name = "order",                                                                        \
	 .kind = FIELD_INTEGER,                                                                  \
	 MEMBER(order),                                                                          \
	 .minimum = -100000,                                                                     \
	 .maximum = 100000},                                                                     \
		{.name = "timeout",                                                              \
		 .kind = FIELD_DURATION,                                                         \
		 MEMBER(timeout_ns),                                                             \
		 .minimum = PLUGIN_TIMEOUT_MIN_NS,                                               \
		 .maximum = PLUGIN_TIMEOUT_MAX_NS},                                              \
		{.name = "memory", .kind = FIELD_STRING, MEMBER(memory), .check = memory_check}, \
		{.name = "summary", .kind = FIELD_STRING, MEMBER(summary), .maximum = 200},      \
		{.name = "sources",                                                              \
		 .kind = FIELD_STRINGS,                                                          \
		 MEMBER(sources),                                                                \
		 .check = sources_check},                                                        \
	{                                                                                        \
		.name = "detectors", .kind = FIELD_STRINGS, MEMBER(detectors)                    \
	}

static const struct field collector_fields[] = {
	COMMON_FIELDS,
	{.name = "required", .kind = FIELD_BOOL, MEMBER(required)},
	{.name = "troubleshooting",
	 .kind = FIELD_ENUM,
	 MEMBER(troubleshooting),
	 .names = troubleshooting_names},
};

static const struct field diagnoser_fields[] = {COMMON_FIELDS};

static const struct field recoverer_fields[] = {
	COMMON_FIELDS,
	{.name = "disturbs",
	 .kind = FIELD_ENUM,
	 MEMBER(disturbs),
	 .names = header_disturbance_names},
	{.name = "idempotent", .kind = FIELD_BOOL, MEMBER(idempotent)},
	{.name = "plan", .kind = FIELD_BOOL, MEMBER(plan)},
	{.name = "verify", .kind = FIELD_BOOL, MEMBER(verify)},
	{.name = "cooldown", .kind = FIELD_DURATION, MEMBER(cooldown_ns)},
	{.name = "verifyWithin",
	 .kind = FIELD_DURATION,
	 MEMBER(verify_within_ns),
	 .maximum = 24 * 3600 * (int64_t)NS_PER_S},
};

#define HEADER_SCHEMA(kind_name, table)                                                            \
	{                                                                                          \
		.name = kind_name " header", .size = sizeof(struct script_header),                 \
		.fields = (table), .field_count = ARRAY_SIZE(table), .extra_offset = SCHEMA_STRICT \
	}

static const struct schema header_schemas[] = {
	[PLUGIN_COLLECTOR] = HEADER_SCHEMA("collector script", collector_fields),
	[PLUGIN_DIAGNOSER] = HEADER_SCHEMA("diagnoser script", diagnoser_fields),
	[PLUGIN_RECOVERER] = HEADER_SCHEMA("recoverer script", recoverer_fields),
};

void script_header_free(struct script_header *header)
{
	schema_free(&header_schemas[PLUGIN_RECOVERER],
		    header); /* its strings are those of all kinds */
}

static cJSON *list_of_words(const char *value)
{
	_cleanup_json_ cJSON *list = cJSON_CreateArray();

	if (!list)
		return NULL;
	for (const char *word = value;;) {
		size_t length = strcspn(word, ",");

		if (length) {
			_cleanup_free_ char *text = strndup(word, length);
			cJSON *item = text ? cJSON_CreateString(text) : NULL;

			if (!item || !cJSON_AddItemToArray(list, item)) {
				cJSON_Delete(item);
				return NULL;
			}
		}
		if (!word[length])
			return TAKE_PTR(list);
		word += length + 1;
	}
}

/* The JSON value that VALUE stands for in a field of KIND; a string when it stands for none. */
static cJSON *value_to_json(enum field_kind kind, const char *value)
{
	char *end;

	if (kind == FIELD_STRINGS)
		return list_of_words(value);
	if (kind == FIELD_BOOL && (streq(value, "yes") || streq(value, "true")))
		return cJSON_CreateTrue();
	if (kind == FIELD_BOOL && (streq(value, "no") || streq(value, "false")))
		return cJSON_CreateFalse();
	if (kind == FIELD_INTEGER && *value) {
		long number = strtol(value, &end, 10);
		if (!*end)
			return cJSON_CreateNumber((double)number);
	}
	return cJSON_CreateString(value);
}

static int header_set(const struct schema *schema, cJSON *header, const char *key,
		      const char *value, struct problem *problem)
{
	enum field_kind kind = FIELD_STRING;

	if (cJSON_HasObjectItem(header, key))
		return problem_set(problem, -EINVAL, key, "is given twice");
	for (size_t i = 0; i < schema->field_count; i++)
		if (streq(schema->fields[i].name, key))
			kind = schema->fields[i].kind;
	cJSON *json = value_to_json(kind, value);
	if (!json)
		return -ENOMEM;
	if (kind == FIELD_BOOL && cJSON_IsString(json)) {
		cJSON_Delete(json);
		return problem_set(problem, -EINVAL, key, "is \"%s\", but must be yes or no",
				   value);
	}
	return json_set(header, key, json);
}

/* Reads the `key=value key="two words"` of one line. */
static int line_parse(const struct schema *schema, const char *line, cJSON *header,
		      struct problem *problem)
{
	for (const char *next = line;;) {
		next += strspn(next, " \t\r");
		if (!*next)
			return 0;
		size_t key_length = strcspn(next, "= \t\r");
		if (!key_length || next[key_length] != '=')
			return problem_set(problem, -EINVAL, "", "\"%.*s\" is no key=value",
					   (int)strcspn(next, " \t\r"), next);
		_cleanup_free_ char *key = strndup(next, key_length);
		const char *value = next + key_length + 1;
		size_t length = strcspn(value, " \t\r");
		next = value + length;
		if (*value == '"') {
			const char *quote = strchr(++value, '"');
			if (!quote)
				return problem_set(problem, -EINVAL, key, "has no closing quote");
			length = (size_t)(quote - value);
			next = quote + 1;
		}
		_cleanup_free_ char *text = strndup(value, length);
		if (!key || !text)
			return -ENOMEM;
		int r = header_set(schema, header, key, text, problem);
		if (r < 0)
			return r;
	}
}

/*
 * What follows "lifeboat:" if LINE is a comment that starts with it, in the languages people use.
 */
static const char *header_of_line(const char *line)
{
	static const char *const leaders[] = {"#", "//", "--"};

	for (size_t i = 0; i < ARRAY_SIZE(leaders); i++) {
		const char *rest = startswith(line, leaders[i]);
		if (rest)
			return startswith(rest + strspn(rest, " \t"), "lifeboat:");
	}
	return NULL;
}

static unsigned mask_of(const struct script_header *header)
{
	unsigned mask = 0;

	for (size_t i = 0; i < header->sources.count; i++)
		for (int source = SOURCE_KERNEL_EVENT; source <= SOURCE_CUSTOM; source++)
			if (streq(header->sources.items[i], abnormal_source_names[source]))
				mask |= FOR_SOURCE(source);
	/* Who names detectors alone is for what those see, not for every log line too. */
	if (!mask && header->detectors.count)
		mask = FOR_SOURCE(SOURCE_KERNEL_EVENT);
	return mask;
}

int script_header_parse(enum plugin_kind kind, const char *text, size_t length,
			struct script_header **ret_header, struct problem *problem)
{
	const struct schema *schema = &header_schemas[kind];
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	const char *next = text, *end = text + length;
	void *decoded;

	if (!json)
		return -ENOMEM;
	for (int number = 0; number < SCRIPT_HEADER_LINES && next < end; number++) {
		const char *newline = memchr(next, '\n', (size_t)(end - next));
		size_t line_length = (size_t)((newline ? newline : end) - next);
		_cleanup_free_ char *line = strndup(next, line_length);

		if (!line)
			return -ENOMEM;
		const char *words = header_of_line(line);
		int r = words ? line_parse(schema, words, json, problem) : 0;
		if (r < 0)
			return r;
		next += line_length + 1;
	}
	int r = schema_decode(schema, json, &decoded, problem);
	if (r < 0)
		return r;
	struct script_header *header = decoded;
	header->has_order = cJSON_HasObjectItem(json, "order");
	header->source_mask = mask_of(header);
	*ret_header = header;
	return 0;
}
