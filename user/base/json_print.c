/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON printer. cJSON's own writes 10^15 as 1e+15 and lets bytes through that are not UTF-8,
 * which the name of a process may hold.
 */
#include "base/json.h"

#include <math.h>
#include <stdio.h>

#include "base/utf8.h"

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
			r = buffer_append_text(out,
					       "\xef\xbf\xbd"); /* U+FFFD, replacement character */
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
