/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML to cJSON, by libyaml's events. What a plain scalar means is decided here, by the core schema
 * of YAML 1.2; writing is in yaml_write.c.
 */
#include "base/yaml.h"

#include <ctype.h>
#include <math.h>
#include <yaml.h>

#include "base/utf8.h"
#include "base/yaml_scalar.h"

struct reader {
	yaml_parser_t parser;
	const char *text;
	size_t length;
	unsigned int depth;
	struct problem *problem;
};

static int read_node(struct reader *reader, const yaml_event_t *event, cJSON **ret_value);

static int fail(struct reader *reader, const yaml_mark_t *mark, const char *what)
{
	return problem_set(reader->problem, -EINVAL, NULL, "line %zu, column %zu: %s",
			   mark->line + 1, mark->column + 1, what);
}

/* --- Plain scalars ------------------------------------------------------------------------ */

static bool is_one_of(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (streq(text, *words))
			return true;
	return false;
}

/*
 * [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? of the core schema; whole
 * numbers too.
 */
static bool is_decimal(const char *text)
{
	size_t whole, decimals = 0;

	text += *text == '-' || *text == '+';
	whole = strspn(text, "0123456789");
	text += whole;
	if (*text == '.') {
		decimals = strspn(++text, "0123456789");
		text += decimals;
	}
	if (!whole && !decimals)
		return false;
	if (*text == 'e' || *text == 'E') {
		text++;
		text += *text == '-' || *text == '+';
		if (!isdigit((unsigned char)*text))
			return false;
		text += strspn(text, "0123456789");
	}
	return *text == '\0';
}

static bool is_based(const char *text, const char *prefix, const char *digits)
{
	const char *rest = startswith(text, prefix);

	return rest && *rest && rest[strspn(rest, digits)] == '\0';
}

enum scalar_kind yaml_scalar_kind(const char *text)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
	static const char *const trues[] = {"true", "True", "TRUE", NULL};
	static const char *const falses[] = {"false", "False", "FALSE", NULL};
	static const char *const specials[] = {".inf",	".Inf",	 ".INF",  "+.inf", "+.Inf",
					       "+.INF", "-.inf", "-.Inf", "-.INF", ".nan",
					       ".NaN",	".NAN",	 NULL};

	if (is_one_of(text, nulls))
		return SCALAR_NULL;
	if (is_one_of(text, trues))
		return SCALAR_TRUE;
	if (is_one_of(text, falses))
		return SCALAR_FALSE;
	if (is_one_of(text, specials))
		return SCALAR_NOT_FINITE;
	if (is_decimal(text))
		return SCALAR_DECIMAL;
	if (is_based(text, "0x", "0123456789abcdefABCDEF"))
		return SCALAR_HEXADECIMAL;
	return is_based(text, "0o", "01234567") ? SCALAR_OCTAL : SCALAR_STRING;
}

static double based_number(const char *digits, double base)
{
	double value = 0;

	for (; *digits; digits++)
		value = value * base + (isdigit((unsigned char)*digits)
						? *digits - '0'
						: tolower((unsigned char)*digits) - 'a' + 10);
	return value;
}

static int read_plain(struct reader *reader, const yaml_mark_t *mark, const char *text,
		      cJSON **ret_value)
{
	double number = 0;
	cJSON *value = NULL;

	switch (yaml_scalar_kind(text)) {
	case SCALAR_NULL:
		value = cJSON_CreateNull();
		break;
	case SCALAR_TRUE:
		value = cJSON_CreateTrue();
		break;
	case SCALAR_FALSE:
		value = cJSON_CreateFalse();
		break;
	case SCALAR_STRING:
		value = cJSON_CreateString(text);
		break;
	case SCALAR_NOT_FINITE:
		return fail(reader, mark,
			    "infinity and not-a-number are no values; quote it if it is a string");
	case SCALAR_DECIMAL:
		number = strtod(text, NULL);
		break;
	case SCALAR_HEXADECIMAL:
		number = based_number(text + 2, 16);
		break;
	case SCALAR_OCTAL:
		number = based_number(text + 2, 8);
		break;
	}
	if (!isfinite(number))
		return fail(reader, mark, "the number is too large; quote it if it is a string");
	if (!value)
		value = cJSON_CreateNumber(number);
	if (!value)
		return -ENOMEM;
	*ret_value = value;
	return 0;
}

/* --- Events ------------------------------------------------------------------------------- */

/* A tab where spaces must stand is the commonest error, and libyaml's text does not say so. */
static bool tab_at(const struct reader *reader, const yaml_mark_t *mark)
{
	const char *line = reader->text, *end = reader->text + reader->length;

	for (size_t i = 0; i < mark->line && line; i++) {
		line = memchr(line, '\n', (size_t)(end - line));
		line = line ? line + 1 : NULL;
	}
	if (!line)
		return false;
	while (line < end && *line == ' ')
		line++;
	return line < end && *line == '\t';
}

/* Line and column of a byte, for the errors that libyaml tells no mark for. */
static yaml_mark_t mark_of_offset(const struct reader *reader, size_t offset)
{
	yaml_mark_t mark = {0};

	for (size_t i = 0; i < offset && i < reader->length; i++) {
		if (reader->text[i] == '\n') {
			mark.line++;
			mark.column = 0;
		} else if (((unsigned char)reader->text[i] & 0xc0) != 0x80) {
			mark.column++;
		}
	}
	return mark;
}

static int next_event(struct reader *reader, yaml_event_t *ret_event)
{
	yaml_parser_t *parser = &reader->parser;
	yaml_mark_t mark;

	if (yaml_parser_parse(parser, ret_event))
		return 0;
	memset(ret_event, 0, sizeof(*ret_event));
	if (parser->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	mark = parser->error == YAML_READER_ERROR ? mark_of_offset(reader, parser->problem_offset)
						  : parser->problem_mark;
	if (tab_at(reader, &mark))
		return fail(reader, &mark, "a tab; YAML is indented with spaces");
	return fail(reader, &mark, parser->problem ? parser->problem : "not YAML");
}

/* Tags and anchors make one text mean different things to different readers. */
static int refuse_properties(struct reader *reader, const yaml_event_t *event,
			     const yaml_char_t *anchor, const yaml_char_t *tag)
{
	if (anchor)
		return fail(reader, &event->start_mark,
			    "anchors (&name) are not accepted; write the value out");
	if (tag)
		return fail(reader, &event->start_mark,
			    "tags (!name) are not accepted; quote a value to make it a string");
	return 0;
}

/* The text of a scalar, checked; belongs to EVENT. */
static int scalar_text(struct reader *reader, const yaml_event_t *event, const char **ret_text)
{
	const char *text = (const char *)event->data.scalar.value;
	int r = refuse_properties(reader, event, event->data.scalar.anchor, event->data.scalar.tag);

	if (r < 0)
		return r;
	if (strlen(text) != event->data.scalar.length)
		return fail(reader, &event->start_mark, "a string may not hold a NUL");
	*ret_text = text;
	return 0;
}

static int read_scalar(struct reader *reader, const yaml_event_t *event, cJSON **ret_value)
{
	const char *text;
	int r = scalar_text(reader, event, &text);

	if (r < 0)
		return r;
	if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		return read_plain(reader, &event->start_mark, text, ret_value);
	*ret_value = cJSON_CreateString(text);
	return *ret_value ? 0 : -ENOMEM;
}

static int read_key(struct reader *reader, const yaml_event_t *event, char **ret_key)
{
	const char *text;

	if (event->type != YAML_SCALAR_EVENT)
		return fail(reader, &event->start_mark, "a key must be a string");
	int r = scalar_text(reader, event, &text);
	if (r < 0)
		return r;
	if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && streq(text, "<<"))
		return fail(reader, &event->start_mark,
			    "merge keys (<<) are not accepted; write the members out");
	*ret_key = strdup(text);
	return *ret_key ? 0 : -ENOMEM;
}

static int read_next_node(struct reader *reader, cJSON **ret_value)
{
	_cleanup_(yaml_event_delete) yaml_event_t event = {0};
	int r = next_event(reader, &event);

	return r < 0 ? r : read_node(reader, &event, ret_value);
}

/* Reads one member into OBJECT; returns 1, or 0 at the end of the mapping. */
static int read_member(struct reader *reader, cJSON *object)
{
	_cleanup_(yaml_event_delete) yaml_event_t event = {0};
	_cleanup_json_ cJSON *value = NULL;
	_cleanup_free_ char *key = NULL;
	int r = next_event(reader, &event);

	if (r < 0 || event.type == YAML_MAPPING_END_EVENT)
		return r;
	r = read_key(reader, &event, &key);
	if (r == 0)
		r = read_next_node(reader, &value);
	if (r < 0)
		return r;
	if (!cJSON_AddItemToObject(object, key, value))
		return -ENOMEM;
	value = NULL;
	return 1;
}

static int refuse_duplicates(struct reader *reader, const cJSON *object, const yaml_mark_t *mark)
{
	const char *name;
	char what[128];
	int r = json_find_duplicate(object, &name);

	if (r < 0 || !name)
		return r;
	snprintf(what, sizeof(what), "the mapping that starts here has the key \"%.*s\" twice",
		 (int)utf8_cut(name, MIN(strlen(name), (size_t)64)), name);
	return fail(reader, mark, what);
}

static int read_mapping(struct reader *reader, const yaml_event_t *start, cJSON **ret_value)
{
	_cleanup_json_ cJSON *object = cJSON_CreateObject();
	int r = refuse_properties(reader, start, start->data.mapping_start.anchor,
				  start->data.mapping_start.tag);

	if (!object)
		return -ENOMEM;
	if (r == 0)
		do
			r = read_member(reader, object);
		while (r > 0);
	if (r == 0)
		r = refuse_duplicates(reader, object, &start->start_mark);
	if (r == 0)
		*ret_value = TAKE_PTR(object);
	return r;
}

static int read_sequence(struct reader *reader, const yaml_event_t *start, cJSON **ret_value)
{
	_cleanup_json_ cJSON *list = cJSON_CreateArray();
	int r = refuse_properties(reader, start, start->data.sequence_start.anchor,
				  start->data.sequence_start.tag);

	if (!list)
		return -ENOMEM;
	while (r == 0) {
		_cleanup_(yaml_event_delete) yaml_event_t event = {0};
		cJSON *value;

		r = next_event(reader, &event);
		if (r == 0 && event.type == YAML_SEQUENCE_END_EVENT)
			break;
		if (r == 0)
			r = read_node(reader, &event, &value);
		if (r == 0)
			cJSON_AddItemToArray(list, value);
	}
	if (r == 0)
		*ret_value = TAKE_PTR(list);
	return r;
}

static int read_node(struct reader *reader, const yaml_event_t *event, cJSON **ret_value)
{
	int r;

	switch (event->type) {
	case YAML_SCALAR_EVENT:
		return read_scalar(reader, event, ret_value);
	case YAML_ALIAS_EVENT:
		return fail(reader, &event->start_mark,
			    "aliases (*name) are not accepted; write the value out");
	case YAML_MAPPING_START_EVENT:
	case YAML_SEQUENCE_START_EVENT:
		if (reader->depth >= JSON_DEPTH_MAX)
			return fail(reader, &event->start_mark, "nested too deeply");
		reader->depth++;
		r = event->type == YAML_MAPPING_START_EVENT
			    ? read_mapping(reader, event, ret_value)
			    : read_sequence(reader, event, ret_value);
		reader->depth--;
		return r;
	default:
		return fail(reader, &event->start_mark, "expected a value");
	}
}

static int read_documents(struct reader *reader, cJSON *documents)
{
	while (true) {
		_cleanup_(yaml_event_delete) yaml_event_t event = {0};
		_cleanup_json_ cJSON *document = NULL;
		int r = next_event(reader, &event);

		if (r < 0 || event.type == YAML_STREAM_END_EVENT)
			return r;
		if (event.type != YAML_DOCUMENT_START_EVENT)
			continue;
		r = read_next_node(reader, &document);
		if (r < 0)
			return r;
		if (!cJSON_IsNull(document))
			cJSON_AddItemToArray(documents, TAKE_PTR(document));
	}
}

static void reader_free(struct reader *reader)
{
	yaml_parser_delete(&reader->parser);
}

int yaml_read(const char *text, size_t length, size_t maximum, cJSON **ret_documents,
	      struct problem *problem)
{
	_cleanup_json_ cJSON *documents = cJSON_CreateArray(), *json = NULL;
	size_t space = 0;

	if (!documents)
		return -ENOMEM;
	if (length > maximum)
		return problem_set(problem, -EFBIG, NULL,
				   "is %zu bytes long; at most %zu are accepted", length, maximum);
	/*
	 * JSON is YAML but for libyaml, which takes neither tabs for indentation nor surrogate
	 * pairs.
	 */
	while (space < length && memchr(" \t\r\n", text[space], 4))
		space++;
	if (space < length && (text[space] == '{' || text[space] == '[') &&
	    json_parse(text, length, &json, NULL) == 0) {
		cJSON_AddItemToArray(documents, TAKE_PTR(json));
		*ret_documents = TAKE_PTR(documents);
		return 0;
	}
	_cleanup_(reader_free) struct reader reader = {
		.text = text, .length = length, .problem = problem};
	if (!yaml_parser_initialize(&reader.parser))
		return -ENOMEM;
	yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, length);
	int r = read_documents(&reader, documents);
	if (r < 0)
		return r;
	*ret_documents = TAKE_PTR(documents);
	return 0;
}
