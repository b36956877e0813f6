/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing JSON text, and short spellings for work with cJSON values.
 *
 * The parser and the printer are our own. cJSON's parser takes control characters, duplicate keys
 * and invalid UTF-8, and tells a byte offset at best; its printer writes 10^15 as 1e+15 and lets
 * bytes through that are not UTF-8, which a process name may hold.
 */
#include "base/json.h"

#include <math.h>
#include <stdio.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/utf8.h"

struct parser {
	const char *text;
	size_t length, offset;
	unsigned int depth;
	struct buffer scratch; /* the string or number being read */
	struct problem *problem;
};

static int parse_value(struct parser *parser, cJSON **ret_value);

/* Fills the problem with a place: line and column of OFFSET, the column in characters. */
static int fail_at(struct parser *parser, size_t offset, const char *what)
{
	size_t line = 1, column = 1;

	for (size_t i = 0; i < offset && i < parser->length; i++) {
		if (parser->text[i] == '\n') {
			line++;
			column = 1;
		} else if (((unsigned char)parser->text[i] & 0xc0) != 0x80) {
			column++;
		}
	}
	return problem_set(parser->problem, -EINVAL, NULL, "line %zu, column %zu: %s", line, column, what);
}

static int fail(struct parser *parser, const char *what)
{
	return fail_at(parser, parser->offset, what);
}

/* The byte at the parser, or -1 at the end. */
static int peek(const struct parser *parser)
{
	return parser->offset < parser->length ? (unsigned char)parser->text[parser->offset] : -1;
}

static void skip_space(struct parser *parser)
{
	int byte;

	while ((byte = peek(parser)) == ' ' || byte == '\t' || byte == '\n' || byte == '\r')
		parser->offset++;
}

static bool is_digit(int byte)
{
	return byte >= '0' && byte <= '9';
}

static int parse_hex4(struct parser *parser, unsigned int *ret_code)
{
	unsigned int code = 0;

	for (int i = 0; i < 4; i++, parser->offset++) {
		int byte = peek(parser);
		unsigned int digit;

		if (is_digit(byte))
			digit = (unsigned int)(byte - '0');
		else if (byte >= 'a' && byte <= 'f')
			digit = (unsigned int)(byte - 'a') + 10;
		else if (byte >= 'A' && byte <= 'F')
			digit = (unsigned int)(byte - 'A') + 10;
		else
			return fail(parser, "\\u must be followed by four hexadecimal digits");
		code = code << 4 | digit;
	}
	*ret_code = code;
	return 0;
}

static int append_code_point(struct parser *parser, unsigned int code)
{
	char bytes[4];
	size_t length;

	if (code < 0x80) {
		bytes[0] = (char)code;
		length = 1;
	} else if (code < 0x800) {
		bytes[0] = (char)(0xc0 | code >> 6);
		bytes[1] = (char)(0x80 | (code & 0x3f));
		length = 2;
	} else if (code < 0x10000) {
		bytes[0] = (char)(0xe0 | code >> 12);
		bytes[1] = (char)(0x80 | (code >> 6 & 0x3f));
		bytes[2] = (char)(0x80 | (code & 0x3f));
		length = 3;
	} else {
		bytes[0] = (char)(0xf0 | code >> 18);
		bytes[1] = (char)(0x80 | (code >> 12 & 0x3f));
		bytes[2] = (char)(0x80 | (code >> 6 & 0x3f));
		bytes[3] = (char)(0x80 | (code & 0x3f));
		length = 4;
	}
	return buffer_append(&parser->scratch, bytes, length);
}

/* What follows "\u", a second half of a surrogate pair included. */
static int parse_unicode_escape(struct parser *parser)
{
	size_t start = parser->offset - 2;
	unsigned int code, second;
	int r = parse_hex4(parser, &code);

	if (r < 0)
		return r;
	if (code == 0)
		return fail_at(parser, start, "a string may not hold a NUL");
	if (code >= 0xdc00 && code <= 0xdfff)
		return fail_at(parser, start, "the second half of a surrogate pair stands alone");
	if (code >= 0xd800 && code <= 0xdbff) {
		if (parser->length - parser->offset < 2 || parser->text[parser->offset] != '\\' ||
		    parser->text[parser->offset + 1] != 'u')
			return fail_at(parser, start, "the first half of a surrogate pair stands alone");
		parser->offset += 2;
		r = parse_hex4(parser, &second);
		if (r < 0)
			return r;
		if (second < 0xdc00 || second > 0xdfff)
			return fail_at(parser, start, "the first half of a surrogate pair stands alone");
		code = 0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00);
	}
	return append_code_point(parser, code);
}

static int parse_escape(struct parser *parser)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	int byte = peek(parser);
	const char *found = byte > 0 ? memchr(from, byte, sizeof(from) - 1) : NULL;

	if (byte == 'u') {
		parser->offset++;
		return parse_unicode_escape(parser);
	}
	if (!found)
		return fail(parser, "no such escape; the escapes are \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\uXXXX");
	parser->offset++;
	return buffer_append(&parser->scratch, &to[found - from], 1);
}

/* Reads a string, the opening quote ahead, into the scratch buffer. */
static int parse_string(struct parser *parser)
{
	size_t start = parser->offset++;
	int r = 0;

	buffer_consume(&parser->scratch, parser->scratch.length);
	while (r == 0) {
		int byte = peek(parser);

		if (byte < 0)
			return fail_at(parser, start, "the string that starts here has no end");
		if (byte == '"') {
			parser->offset++;
			return 0;
		}
		if (byte < 0x20)
			return fail(parser, byte == 0 ? "a NUL byte" :
							"a control character in a string must be written as an escape");
		if (byte == '\\') {
			parser->offset++;
			r = parse_escape(parser);
			continue;
		}
		size_t length = utf8_length(parser->text + parser->offset, parser->length - parser->offset);
		if (!length)
			return fail(parser, "a byte that is not UTF-8");
		r = buffer_append(&parser->scratch, parser->text + parser->offset, length);
		parser->offset += length;
	}
	return r;
}

static size_t skip_digits(struct parser *parser)
{
	size_t start = parser->offset;

	while (is_digit(peek(parser)))
		parser->offset++;
	return parser->offset - start;
}

static int parse_number(struct parser *parser, cJSON **ret_value)
{
	size_t start = parser->offset;

	if (peek(parser) == '-')
		parser->offset++;
	if (peek(parser) == '0') {
		parser->offset++;
		if (is_digit(peek(parser)))
			return fail_at(parser, start, "a number may not start with 0");
	} else if (!skip_digits(parser)) {
		return fail_at(parser, start, "not a number");
	}
	if (peek(parser) == '.') {
		parser->offset++;
		if (!skip_digits(parser))
			return fail(parser, "digits must follow the point of a number");
	}
	if (peek(parser) == 'e' || peek(parser) == 'E') {
		parser->offset++;
		if (peek(parser) == '+' || peek(parser) == '-')
			parser->offset++;
		if (!skip_digits(parser))
			return fail(parser, "digits must follow the exponent of a number");
	}
	buffer_consume(&parser->scratch, parser->scratch.length);
	int r = buffer_append(&parser->scratch, parser->text + start, parser->offset - start);
	if (r < 0)
		return r;
	/* The program never leaves the C locale, so the decimal sign is a point. */
	double number = strtod(buffer_text(&parser->scratch), NULL);
	if (!isfinite(number))
		return fail_at(parser, start, "the number is too large");
	*ret_value = cJSON_CreateNumber(number);
	return *ret_value ? 0 : -ENOMEM;
}

static int parse_word(struct parser *parser, const char *word, cJSON *(*create)(void), cJSON **ret_value)
{
	size_t length = strlen(word);

	if (parser->length - parser->offset < length ||
	    memcmp(parser->text + parser->offset, word, length) != 0)
		return fail(parser, "not a JSON value; a string must stand in double quotes");
	parser->offset += length;
	*ret_value = create();
	return *ret_value ? 0 : -ENOMEM;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(cJSON *const *)a)->string, (*(cJSON *const *)b)->string);
}

/* The members of OBJECT sorted by name; the caller's to free. NULL when out of memory. */
static cJSON **sorted_members(const cJSON *object, size_t *ret_count)
{
	size_t count = 0;

	for (cJSON *member = object->child; member; member = member->next)
		count++;
	cJSON **members = malloc((count + 1) * sizeof(*members));
	if (!members)
		return NULL;
	count = 0;
	for (cJSON *member = object->child; member; member = member->next)
		members[count++] = member;
	qsort(members, count, sizeof(*members), compare_names);
	*ret_count = count;
	return members;
}

/* By sorting: comparing each pair would let an object of many members hold the agent up for minutes. */
int json_find_duplicate(const cJSON *object, const char **ret_name)
{
	size_t count;
	_cleanup_free_ cJSON **members = sorted_members(object, &count);

	if (!members)
		return -ENOMEM;
	*ret_name = NULL;
	for (size_t i = 1; i < count && !*ret_name; i++)
		if (streq(members[i - 1]->string, members[i]->string))
			*ret_name = members[i]->string;
	return 0;
}

static int refuse_duplicates(struct parser *parser, const cJSON *object, size_t start)
{
	const char *name;
	char what[128];
	int r = json_find_duplicate(object, &name);

	if (r < 0 || !name)
		return r;
	snprintf(what, sizeof(what), "the object that starts here has the key \"%.*s\" twice",
		 (int)utf8_cut(name, MIN(strlen(name), (size_t)64)), name);
	return fail_at(parser, start, what);
}

static int parse_member(struct parser *parser, cJSON *object)
{
	_cleanup_json_ cJSON *value = NULL;
	_cleanup_free_ char *name = NULL;
	int r;

	if (peek(parser) != '"')
		return fail(parser, "expected a key in double quotes");
	r = parse_string(parser);
	if (r < 0)
		return r;
	name = strdup(buffer_text(&parser->scratch));
	if (!name)
		return -ENOMEM;
	skip_space(parser);
	if (peek(parser) != ':')
		return fail(parser, "expected ':' after the key");
	parser->offset++;
	r = parse_value(parser, &value);
	if (r < 0)
		return r;
	if (!cJSON_AddItemToObject(object, name, value))
		return -ENOMEM;
	value = NULL;
	return 0;
}

static int parse_item(struct parser *parser, cJSON *list)
{
	cJSON *value;
	int r = parse_value(parser, &value);

	if (r < 0)
		return r;
	cJSON_AddItemToArray(list, value);
	return 0;
}

/* An object or a list, the opening bracket ahead. */
static int parse_container(struct parser *parser, cJSON **ret_value)
{
	bool object = peek(parser) == '{';
	_cleanup_json_ cJSON *container = object ? cJSON_CreateObject() : cJSON_CreateArray();
	int r, close = object ? '}' : ']';
	size_t start = parser->offset++;

	if (!container)
		return -ENOMEM;
	if (parser->depth++ >= JSON_DEPTH_MAX)
		return fail_at(parser, start, "nested too deeply");
	skip_space(parser);
	if (peek(parser) == close) {
		parser->offset++;
	} else {
		while (true) {
			skip_space(parser);
			r = object ? parse_member(parser, container) : parse_item(parser, container);
			if (r < 0)
				return r;
			skip_space(parser);
			int byte = peek(parser);
			if (byte < 0)
				return fail_at(parser, start,
					       object ? "the object that starts here has no end" :
							"the list that starts here has no end");
			if (byte != close && byte != ',')
				return fail(parser, object ? "expected ',' or '}'" : "expected ',' or ']'");
			parser->offset++;
			if (byte == close)
				break;
		}
	}
	r = object ? refuse_duplicates(parser, container, start) : 0;
	if (r < 0)
		return r;
	parser->depth--;
	*ret_value = TAKE_PTR(container);
	return 0;
}

static int parse_value(struct parser *parser, cJSON **ret_value)
{
	int r;

	skip_space(parser);
	switch (peek(parser)) {
	case '{':
	case '[':
		return parse_container(parser, ret_value);
	case '"':
		r = parse_string(parser);
		if (r < 0)
			return r;
		*ret_value = cJSON_CreateString(buffer_text(&parser->scratch));
		return *ret_value ? 0 : -ENOMEM;
	case 't':
		return parse_word(parser, "true", cJSON_CreateTrue, ret_value);
	case 'f':
		return parse_word(parser, "false", cJSON_CreateFalse, ret_value);
	case 'n':
		return parse_word(parser, "null", cJSON_CreateNull, ret_value);
	case '-':
	case '0' ... '9':
		return parse_number(parser, ret_value);
	case 0:
		return fail(parser, "a NUL byte");
	case -1:
		return fail(parser, "expected a value, but the text ends here");
	default:
		return fail(parser, "not a JSON value; a string must stand in double quotes");
	}
}

static void parser_free(struct parser *parser)
{
	buffer_free(&parser->scratch);
}

int json_parse(const char *text, size_t length, cJSON **ret_json, struct problem *problem)
{
	_cleanup_(parser_free) struct parser parser = {
		.text = text, .length = length, .scratch = BUFFER(length + 4), .problem = problem};
	_cleanup_json_ cJSON *value = NULL;
	int r = parse_value(&parser, &value);

	if (r < 0)
		return r;
	skip_space(&parser);
	if (parser.offset != length)
		return fail(&parser, "more text after the end of the value");
	*ret_json = TAKE_PTR(value);
	return 0;
}

static int print_string(struct buffer *out, const char *text)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	size_t length = strlen(text), plain;
	int r = buffer_append(out, "\"", 1);

	for (size_t i = 0; i < length && r == 0;) {
		const char *found = strchr(from, text[i]);
		unsigned char byte = (unsigned char)text[i];

		if (found) {
			r = buffer_printf(out, "\\%c", to[found - from]);
			i++;
		} else if (byte < 0x20) {
			r = buffer_printf(out, "\\u%04x", byte);
			i++;
		} else if ((plain = utf8_length(text + i, length - i))) {
			r = buffer_append(out, text + i, plain);
			i += plain;
		} else {
			r = buffer_append_text(out, "\xef\xbf\xbd"); /* U+FFFD, replacement character */
			i++;
		}
	}
	return r < 0 ? r : buffer_append(out, "\"", 1);
}

static int print_number(struct buffer *out, double number)
{
	char text[40];

	if (!isfinite(number))
		return buffer_append_text(out, "null");
	if (number == 0)
		return buffer_append(out, "0", 1);
	/* As ECMAScript does: whole numbers below 10^21 without an exponent. */
	if (number == trunc(number) && fabs(number) < 1e21)
		return buffer_printf(out, "%.0f", number);
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, number);
		if (strtod(text, NULL) == number)
			break;
	}
	return buffer_append_text(out, text);
}

/* A new line indented by INDENT levels; nothing in compact text (INDENT < 0). */
static int print_break(struct buffer *out, int indent)
{
	return indent < 0 ? 0 : buffer_printf(out, "\n%*s", indent * 2, "");
}

static int print_value(struct buffer *out, const cJSON *value, int indent)
{
	bool object = cJSON_IsObject(value);
	int r, inner = indent < 0 ? indent : indent + 1;

	if (cJSON_IsString(value))
		return print_string(out, value->valuestring);
	if (cJSON_IsNumber(value))
		return print_number(out, value->valuedouble);
	if (cJSON_IsRaw(value))
		return buffer_append_text(out, value->valuestring);
	if (cJSON_IsBool(value))
		return buffer_append_text(out, cJSON_IsTrue(value) ? "true" : "false");
	if (!object && !cJSON_IsArray(value))
		return buffer_append_text(out, "null");
	if (!value->child)
		return buffer_append_text(out, object ? "{}" : "[]");
	r = buffer_append_text(out, object ? "{" : "[");
	for (const cJSON *child = value->child; child && r == 0; child = child->next) {
		r = print_break(out, inner);
		if (r == 0 && object)
			r = print_string(out, child->string);
		if (r == 0 && object)
			r = buffer_append_text(out, indent < 0 ? ":" : ": ");
		if (r == 0)
			r = print_value(out, child, inner);
		if (r == 0 && child->next)
			r = buffer_append(out, ",", 1);
	}
	if (r == 0)
		r = print_break(out, indent);
	return r < 0 ? r : buffer_append_text(out, object ? "}" : "]");
}

static char *print(const cJSON *json, int indent)
{
	_cleanup_buffer_ struct buffer out = BUFFER(SIZE_MAX / 4);

	return print_value(&out, json, indent) < 0 ? NULL : buffer_take(&out);
}

char *json_print(const cJSON *json)
{
	return print(json, -1);
}

char *json_print_pretty(const cJSON *json)
{
	return print(json, 0);
}

int json_print_to(const cJSON *json, struct buffer *out)
{
	return print_value(out, json, -1);
}

const char *json_string(const cJSON *json, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));
}

double json_number(const cJSON *json, const char *name, double fallback)
{
	const cJSON *member = cJSON_GetObjectItemCaseSensitive(json, name);

	return cJSON_IsNumber(member) ? member->valuedouble : fallback;
}

bool json_bool(const cJSON *json, const char *name, bool fallback)
{
	const cJSON *member = cJSON_GetObjectItemCaseSensitive(json, name);

	return cJSON_IsBool(member) ? cJSON_IsTrue(member) : fallback;
}

cJSON *json_at(const cJSON *json, const char *path)
{
	while (json) {
		size_t length = strcspn(path, ".");
		cJSON *child = cJSON_IsObject(json) ? json->child : NULL;

		while (child && !(strncmp(child->string, path, length) == 0 && child->string[length] == '\0'))
			child = child->next;
		if (!child || path[length] == '\0')
			return child;
		json = child;
		path += length + 1;
	}
	return NULL;
}

int json_set(cJSON *json, const char *name, cJSON *value)
{
	bool set;

	if (!value)
		return -ENOMEM;
	if (cJSON_GetObjectItemCaseSensitive(json, name))
		set = cJSON_ReplaceItemInObjectCaseSensitive(json, name, value);
	else
		set = cJSON_AddItemToObject(json, name, value);
	if (!set) {
		cJSON_Delete(value);
		return -ENOMEM;
	}
	return 0;
}

int json_set_string(cJSON *json, const char *name, const char *value)
{
	return value ? json_set(json, name, cJSON_CreateString(value)) : 0;
}

int json_set_number(cJSON *json, const char *name, double value)
{
	return json_set(json, name, cJSON_CreateNumber(value));
}

int json_set_bool(cJSON *json, const char *name, bool value)
{
	return json_set(json, name, cJSON_CreateBool(value));
}

int json_set_time(cJSON *json, const char *name, int64_t realtime_ns)
{
	char text[TIME_TEXT_SIZE];

	return json_set_string(json, name, time_format(realtime_ns, text));
}

static bool objects_equal(const cJSON *a, const cJSON *b)
{
	size_t a_count, b_count;
	_cleanup_free_ cJSON **a_members = sorted_members(a, &a_count);
	_cleanup_free_ cJSON **b_members = sorted_members(b, &b_count);

	if (!a_members || !b_members || a_count != b_count)
		return false;
	for (size_t i = 0; i < a_count; i++)
		if (!streq(a_members[i]->string, b_members[i]->string) ||
		    !json_equal(a_members[i], b_members[i]))
			return false;
	return true;
}

bool json_equal(const cJSON *a, const cJSON *b)
{
	if (!a || !b)
		return a == b;
	if ((a->type & 0xff) != (b->type & 0xff))
		return false;
	if (cJSON_IsNumber(a))
		return a->valuedouble == b->valuedouble;
	if (cJSON_IsString(a) || cJSON_IsRaw(a))
		return streq(a->valuestring, b->valuestring);
	if (cJSON_IsObject(a))
		return objects_equal(a, b);
	if (!cJSON_IsArray(a))
		return true;
	const cJSON *x = a->child, *y = b->child;
	for (; x && y; x = x->next, y = y->next)
		if (!json_equal(x, y))
			return false;
	return !x && !y;
}
