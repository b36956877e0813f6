/* SPDX-License-Identifier: Apache-2.0 */
/* What a detector shows as its settings in force, given back to it, is the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "detect/detect.h"
#include "detect/settings.h"

/* The least that FIELD takes; NULL where that is what it is without being told. */
static cJSON *least_of(const struct field *field)
{
	char text[TIME_TEXT_SIZE];

	switch (field->kind) {
	case FIELD_BOOL:
	case FIELD_TRISTATE:
		return cJSON_CreateFalse();
	case FIELD_STRINGS:
	case FIELD_LIST:
		return cJSON_CreateArray();
	case FIELD_INTEGER:
		return cJSON_CreateNumber((double)field->minimum);
	case FIELD_DURATION:
		return cJSON_CreateString(duration_format_exact((uint64_t)field->minimum, text));
	default:
		return NULL;
	}
}

static void expect_shown(const struct detector *detector, const char *name, cJSON *value)
{
	_cleanup_json_ cJSON *given = cJSON_CreateObject();
	struct detector_settings settings, again;

	assert_int_equal(json_set(given, name, value), 0);
	assert_int_equal(detector_settings_read(detector, given, &settings, NULL), 0);
	_cleanup_json_ cJSON *shown = detector_settings_json(detector, &settings);
	assert_int_equal(detector_settings_read(detector, shown, &again, NULL), 0);
	_cleanup_json_ cJSON *shown_again = detector_settings_json(detector, &again);

	if (!json_equal(shown, shown_again)) {
		_cleanup_free_ char *text = json_print(shown);

		fail_msg("%s with %s: %s means something else", detector->name, name, text);
	}
	detector_settings_clear(detector, &settings);
	detector_settings_clear(detector, &again);
}

static void what_is_shown_means_the_same(void **state)
{
	unsigned fields = 0;

	FOREACH_REGISTERED (detectors, struct detector, detector) {
		expect_shown(detector, "enabled", cJSON_CreateFalse());
		for (size_t i = 0; detector->settings && i < detector->settings->field_count; i++) {
			const struct field *field = &detector->settings->fields[i];
			cJSON *least = least_of(field);

			if (!least)
				continue;
			expect_shown(detector, field->name, least);
			fields++;
		}
	}
	assert_true(fields >= 10);
}

static void an_empty_list_is_the_usual_one_and_is_shown(void **state)
{
	FOREACH_REGISTERED (detectors, struct detector, detector) {
		_cleanup_json_ cJSON *given = cJSON_CreateObject(), *shown = NULL;
		struct detector_settings settings;

		if (!streq(detector->name, "shim_stall"))
			continue;
		assert_int_equal(json_set(given, "shims", cJSON_CreateArray()), 0);
		assert_int_equal(detector_settings_read(detector, given, &settings, NULL), 0);
		shown = detector_settings_json(detector, &settings);
		assert_int_equal(cJSON_GetArraySize(json_at(shown, "shims")), 3);
		detector_settings_clear(detector, &settings);
		return;
	}
	fail_msg("there is no shim_stall");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_shown_means_the_same),
		cmocka_unit_test(an_empty_list_is_the_usual_one_and_is_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
