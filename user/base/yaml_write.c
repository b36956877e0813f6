/* SPDX-License-Identifier: Apache-2.0 */
/* cJSON to YAML, by libyaml's emitter; when to quote is decided here. */
#include <strings.h>
#include <yaml.h>

#include "base/utf8.h"
#include "base/yaml.h"
#include "base/yaml_scalar.h"

static int write_value(yaml_emitter_t *emitter, const cJSON *value);

/* libyaml's emitter takes the event over, whatever it answers. */
static int emit(yaml_emitter_t *emitter, yaml_event_t *event, int initialised)
{
	return initialised && yaml_emitter_emit(emitter, event) ? 0 : -ENOMEM;
}

/* TEXT with U+FFFD for what is not UTF-8, which libyaml refuses. */
static int make_utf8(const char *text, struct buffer *ret_text)
{
	size_t left = strlen(text);
	int r = 0;

	while (left && r == 0) {
		size_t length = utf8_length(text, left);

		r = length ? buffer_append(ret_text, text, length)
			   : buffer_append_text(ret_text, "\xef\xbf\xbd");
		length = MAX(length, (size_t)1);
		text += length;
		left -= length;
	}
	return r;
}

static int write_scalar(yaml_emitter_t *emitter, const char *text, yaml_scalar_style_t style)
{
	_cleanup_buffer_ struct buffer clean = BUFFER(SIZE_MAX / 4);
	yaml_event_t event;

	if (make_utf8(text, &clean) < 0)
		return -ENOMEM;
	return emit(emitter, &event,
		    yaml_scalar_event_initialize(&event, NULL, NULL,
						 (const yaml_char_t *)buffer_text(&clean),
						 (int)clean.length, true, true, style));
}

/*
 * Whether some reader would take TEXT, unquoted, for something else than a string: the core schema
 * of 1.2, and 1.1's booleans, dates, times of day (1:30) and numbers (1_000, 0b1), as Kubernetes'
 * tools read it.
 */
static bool is_ambiguous(const char *text)
{
	static const char *const words[] = {"y", "yes", "n", "no", "on", "off", "=", "<<", NULL};
	const char *first = text + (*text == '-' || *text == '+');

	if (yaml_scalar_kind(text) != SCALAR_STRING)
		return true;
	for (const char *const *word = words; *word; word++)
		if (strcasecmp(text, *word) == 0)
			return true;
	first += *first == '.';
	return *first >= '0' && *first <= '9' &&
	       first[strspn(first, "0123456789abcdefABCDEFxXoO_.,:+-TZ ")] == '\0';
}

static int write_string(yaml_emitter_t *emitter, const char *text)
{
	if (is_ambiguous(text))
		return write_scalar(emitter, text, YAML_DOUBLE_QUOTED_SCALAR_STYLE);
	/* libyaml falls back to double quotes where a block or plain scalar can't say it. */
	return write_scalar(emitter, text,
			    strchr(text, '\n') ? YAML_LITERAL_SCALAR_STYLE
					       : YAML_PLAIN_SCALAR_STYLE);
}

static int write_key(yaml_emitter_t *emitter, const char *text)
{
	return write_scalar(emitter, text,
			    is_ambiguous(text) || strchr(text, '\n')
				    ? YAML_DOUBLE_QUOTED_SCALAR_STYLE
				    : YAML_PLAIN_SCALAR_STYLE);
}

static int write_object(yaml_emitter_t *emitter, const cJSON *object)
{
	yaml_event_t event;
	int r = emit(emitter, &event,
		     yaml_mapping_start_event_initialize(&event, NULL, NULL, true,
							 YAML_BLOCK_MAPPING_STYLE));

	for (const cJSON *member = object->child; member && r == 0; member = member->next) {
		r = write_key(emitter, member->string);
		if (r == 0)
			r = write_value(emitter, member);
	}
	return r < 0 ? r : emit(emitter, &event, yaml_mapping_end_event_initialize(&event));
}

static int write_list(yaml_emitter_t *emitter, const cJSON *list)
{
	yaml_event_t event;
	int r = emit(emitter, &event,
		     yaml_sequence_start_event_initialize(&event, NULL, NULL, true,
							  YAML_BLOCK_SEQUENCE_STYLE));

	for (const cJSON *item = list->child; item && r == 0; item = item->next)
		r = write_value(emitter, item);
	return r < 0 ? r : emit(emitter, &event, yaml_sequence_end_event_initialize(&event));
}

static int write_value(yaml_emitter_t *emitter, const cJSON *value)
{
	if (cJSON_IsObject(value))
		return write_object(emitter, value);
	if (cJSON_IsArray(value))
		return write_list(emitter, value);
	if (cJSON_IsString(value))
		return write_string(emitter, value->valuestring);
	_cleanup_free_ char *text = json_print(value);
	return text ? write_scalar(emitter, text, YAML_PLAIN_SCALAR_STYLE) : -ENOMEM;
}

static int append_output(void *userdata, unsigned char *data, size_t length)
{
	return buffer_append(userdata, data, length) == 0;
}

static int write_document(yaml_emitter_t *emitter, const cJSON *json)
{
	yaml_event_t event;
	int r = emit(emitter, &event,
		     yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));

	if (r == 0)
		r = emit(emitter, &event,
			 yaml_document_start_event_initialize(&event, NULL, NULL, NULL, true));
	if (r == 0)
		r = write_value(emitter, json);
	if (r == 0)
		r = emit(emitter, &event, yaml_document_end_event_initialize(&event, true));
	return r < 0 ? r : emit(emitter, &event, yaml_stream_end_event_initialize(&event));
}

char *yaml_write(const cJSON *json)
{
	_cleanup_buffer_ struct buffer out = BUFFER(SIZE_MAX / 4);
	_cleanup_(yaml_emitter_delete) yaml_emitter_t emitter = {0};

	if (!yaml_emitter_initialize(&emitter))
		return NULL;
	yaml_emitter_set_output(&emitter, append_output, &out);
	yaml_emitter_set_unicode(&emitter, true);
	yaml_emitter_set_width(&emitter, -1);
	return write_document(&emitter, json) < 0 ? NULL : buffer_take(&out);
}
