/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON parser. cJSON's own takes control characters, duplicate keys and invalid UTF-8, and
 * tells a byte offset at best.
 */
#include "base/json.h"

#include <math.h>
#include <stdio.h>

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
	return problem_set(parser->problem, -EINVAL, NULL, "line %zu, column %zu: %s", line, column,
			   what);
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
			return fail_at(parser, start,
				       "the first half of a surrogate pair stands alone");
		parser->offset += 2;
		r = parse_hex4(parser, &second);
		if (r < 0)
			return r;
		if (second < 0xdc00 || second > 0xdfff)
			return fail_at(parser, start,
				       "the first half of a surrogate pair stands alone");
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
		return fail(parser, "no such escape; the escapes are \\\" \\\\ \\/ \\b \\f \\n \\r "
				    "\\t and \\uXXXX");
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
			return fail(parser, byte == 0 ? "a NUL byte"
						      : "a control character in a string must be "
							"written as an escape");
		if (byte == '\\') {
			parser->offset++;
			r = parse_escape(parser);
			continue;
		}
		size_t length =
			utf8_length(parser->text + parser->offset, parser->length - parser->offset);
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

static int parse_word(struct parser *parser, const char *word, cJSON *(*create)(void),
		      cJSON **ret_value)
{
	size_t length = strlen(word);

	if (parser->length - parser->offset < length ||
	    memcmp(parser->text + parser->offset, word, length) != 0)
		return fail(parser, "not a JSON value; a string must stand in double quotes");
	parser->offset += length;
	*ret_value = create();
	return *ret_value ? 0 : -ENOMEM;
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
			r = object ? parse_member(parser, container)
				   : parse_item(parser, container);
			if (r < 0)
				return r;
			skip_space(parser);
			int byte = peek(parser);
			if (byte < 0)
				return fail_at(parser, start,
					       object ? "the object that starts here has no end"
						      : "the list that starts here has no end");
			if (byte != close && byte != ',')
				return fail(parser,
					    object ? "expected ',' or '}'" : "expected ',' or ']'");
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
