/* SPDX-License-Identifier: Apache-2.0 */
/* A detector's settings, decoded over its defaults. */
#include "detect/settings.h"

#include "detect/detect.h"

struct common {
	int enabled;
	char *hook;
	cJSON *own; /* everything else */
};

static const struct field common_fields[] = {
	SCHEMA_FIELD(struct common, enabled, "enabled", FIELD_TRISTATE),
	SCHEMA_FIELD(struct common, hook, "hook", FIELD_STRING, .maximum = 128),
};
static const struct schema common_schema = SCHEMA("detector settings", struct common, common_fields,
						  .extra_offset = offsetof(struct common, own));

static void common_freep(void **common)
{
	schema_free(&common_schema, *common);
}

static int find_hook(const struct detector *detector, const char *name,
		     const struct hook **ret_hook, struct problem *problem)
{
	char known[256] = "";

	for (const struct hook *hook = detector->hooks; hook->name; hook++) {
		size_t length = strlen(known);

		if (streq(hook->name, name)) {
			*ret_hook = hook;
			return 0;
		}
		snprintf(known + length, sizeof(known) - length, "%s%s", length ? ", " : "",
			 hook->name);
	}
	return problem_set(problem, -EINVAL, "hook", "%s has no hook \"%s\"; its hooks are %s",
			   detector->name, name, known);
}

/* The defaults, with what CHANGES sets replaced. */
static int decode_own(const struct detector *detector, const cJSON *changes, void **ret_own,
		      struct problem *problem)
{
	_cleanup_json_ cJSON *merged = NULL;

	if (!detector->settings) {
		if (changes && changes->child)
			return problem_set(
				problem, -EINVAL, changes->child->string,
				"is not a setting of detector %s, which has enabled and hook alone",
				detector->name);
		*ret_own = NULL;
		return 0;
	}
	void *fresh = schema_new(detector->settings);

	if (!fresh)
		return -ENOMEM;
	if (detector->defaults)
		detector->defaults(fresh);
	int r = schema_encode(detector->settings, fresh, &merged);

	schema_free(detector->settings, fresh);
	if (r == 0)
		r = json_overlay(merged, changes);
	if (r < 0)
		return r;
	return schema_decode(detector->settings, merged, ret_own, problem);
}

int detector_settings_read(const struct detector *detector, const cJSON *json,
			   struct detector_settings *ret_settings, struct problem *problem)
{
	struct detector_settings settings = {.enabled = true};
	void *decoded _cleanup_(common_freep) = NULL;
	_cleanup_json_ cJSON *empty = NULL;
	int r;

	if (!json || cJSON_IsNull(json)) {
		json = empty = cJSON_CreateObject();
		if (!empty)
			return -ENOMEM;
	}
	r = schema_decode(&common_schema, json, &decoded, problem);
	if (r < 0)
		return r;
	struct common *common = decoded;

	settings.enabled = common->enabled != 0;
	if (common->hook) {
		r = find_hook(detector, common->hook, &settings.hook, problem);
		if (r < 0)
			return r;
	}
	r = decode_own(detector, common->own, &settings.own, problem);
	if (r < 0)
		return r;
	*ret_settings = settings;
	return 0;
}

void detector_settings_clear(const struct detector *detector, struct detector_settings *settings)
{
	if (detector->settings)
		schema_free(detector->settings, settings->own);
	*settings = (struct detector_settings){};
}

cJSON *detector_settings_json(const struct detector *detector,
			      const struct detector_settings *settings)
{
	_cleanup_json_ cJSON *json = NULL;

	if (detector->settings && settings->own) {
		if (schema_encode(detector->settings, settings->own, &json) < 0)
			return NULL;
	} else {
		json = cJSON_CreateObject();
	}
	if (!json || json_set_bool(json, "enabled", settings->enabled) < 0 ||
	    json_set_string(json, "hook", settings->hook ? settings->hook->name : NULL) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static const struct detector *detector_find(const char *name)
{
	FOREACH_REGISTERED (detectors, struct detector, detector)
		if (streq(detector->name, name))
			return detector;
	return NULL;
}

int detect_check_settings(const cJSON *settings, struct problem *problem)
{
	const cJSON *item;

	if (!settings || cJSON_IsNull(settings))
		return 0;
	if (!cJSON_IsObject(settings))
		return problem_set(problem, -EINVAL, NULL,
				   "must be an object of detectors, each with its settings");
	cJSON_ArrayForEach (item, settings) {
		const struct detector *detector = detector_find(item->string);
		struct detector_settings decoded;

		if (!detector) {
			char known[256] = "";

			FOREACH_REGISTERED (detectors, struct detector, other) {
				size_t length = strlen(known);

				snprintf(known + length, sizeof(known) - length, "%s%s",
					 length ? ", " : "", other->name);
			}
			return problem_set(problem, -EINVAL, item->string,
					   "there is no such detector; there are %s", known);
		}
		int r = detector_settings_read(detector, item, &decoded, problem);

		if (r < 0) {
			problem_prefix(problem, detector->name);
			return r;
		}
		detector_settings_clear(detector, &decoded);
	}
	return 0;
}
