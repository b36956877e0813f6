/* SPDX-License-Identifier: Apache-2.0 */
/* What a detector shows as its settings in force, given back to it, is the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "detect/detect.h"
#include "detect/settings.h"

/* The least that FIELD takes, with COUNT growing by what is in it; NULL where that is nothing. */
static cJSON *least_of(const struct field *field, unsigned *count)
{
	char text[TIME_TEXT_SIZE];

	*count += field->kind != FIELD_STRUCT;
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
	case FIELD_STRUCT:
		break;
	default:
		fail_msg("%s: a kind that this test does not know", field->name);
	}
	cJSON *members = cJSON_CreateObject();

	for (size_t i = 0; i < field->schema->field_count; i++)
		assert_int_equal(json_set(members, field->schema->fields[i].name,
					  least_of(&field->schema->fields[i], count)),
				 0);
	return members;
}

static cJSON *shown_of(const struct detector *detector, const cJSON *given)
{
	struct detector_settings settings;

	assert_int_equal(detector_settings_read(detector, given, &settings, NULL), 0);
	cJSON *shown = detector_settings_json(detector, &settings);
	detector_settings_clear(detector, &settings);
	assert_non_null(shown);
	return shown;
}

static void expect_shown(const struct detector *detector, const char *name, cJSON *value)
{
	_cleanup_json_ cJSON *given = cJSON_CreateObject(), *usual = shown_of(detector, NULL);

	assert_int_equal(json_set(given, name, value), 0);
	_cleanup_json_ cJSON *shown = shown_of(detector, given);
	_cleanup_json_ cJSON *again = shown_of(detector, shown);
	_cleanup_free_ char *text = json_print(shown);

	if (!json_equal(shown, again))
		fail_msg("%s with %s: %s means something else", detector->name, name, text);
	/* An empty list is the usual one; what else was given is in force, or is nothing and not shown. */
	if (cJSON_IsArray(value) && !json_equal(shown, usual))
		fail_msg("%s with an empty %s: %s is not the usual", detector->name, name, text);
}

static void what_is_shown_means_the_same(void **state)
{
	unsigned count = 0;

	FOREACH_REGISTERED (detectors, struct detector, detector) {
		expect_shown(detector, "enabled", cJSON_CreateFalse());
		for (size_t i = 0; detector->settings && i < detector->settings->field_count; i++) {
			const struct field *field = &detector->settings->fields[i];

			expect_shown(detector, field->name, least_of(field, &count));
		}
	}
	assert_true(count >= 20);
}

/* The others of an object of which one is told are the usual ones, and are shown. */
static void part_of_an_object_leaves_the_rest(void **state)
{
	FOREACH_REGISTERED (detectors, struct detector, detector) {
		_cleanup_json_ cJSON *usual = shown_of(detector, NULL);

		for (size_t i = 0; detector->settings && i < detector->settings->field_count; i++) {
			const struct field *field = &detector->settings->fields[i];
			_cleanup_json_ cJSON *given = cJSON_CreateObject();

			if (field->kind != FIELD_STRUCT)
				continue;
			assert_int_equal(json_set(given, field->name, cJSON_CreateObject()), 0);
			assert_int_equal(
				json_set_bool(json_at(given, field->name), "enabled", true), 0);
			_cleanup_json_ cJSON *shown = shown_of(detector, given);
			assert_true(json_equal(shown, usual));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_shown_means_the_same),
		cmocka_unit_test(part_of_an_object_leaves_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
