/* SPDX-License-Identifier: Apache-2.0 */
/* Times and durations read and written without loss, in every spelling that others use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "base/clock.h"

#include <math.h>

static const int64_t second = (int64_t)NS_PER_S;

static void times_are_read_in_every_form_of_rfc_3339(void **state)
{
	static const struct {
		const char *text;
		int64_t seconds, nanoseconds;
	} cases[] = {
		{"1970-01-01T00:00:00Z", 0, 0},
		{"2026-11-23T17:45:01Z", 1795455901, 0},
		{"2026-11-23t17:45:01z", 1795455901, 0},
		{"2026-11-23 17:45:01Z", 1795455901, 0},
		{"2026-11-23T17:45:01.5Z", 1795455901, 500000000},
		{"2026-11-23T17:45:01.123456789Z", 1795455901, 123456789},
		{"2026-11-23T17:45:01.1234567899Z", 1795455901, 123456789},
		{"2026-11-23T19:45:01+02:00", 1795455901, 0},
		{"2026-11-23T12:15:01-05:30", 1795455901, 0},
		{"2024-02-29T00:00:00Z", 1709164800, 0},
		{"2016-12-31T23:59:60Z", 1483228800, 0},
		{"1970-01-01T01:00:00+02:00", -3600, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t time;

		if (time_parse(cases[i].text, &time) < 0)
			fail_msg("%s", cases[i].text);
		assert_int_equal(time, cases[i].seconds * second + cases[i].nanoseconds);
	}
}

static void other_texts_are_no_times(void **state)
{
	static const char *const texts[] = {
		"",
		"now",
		"2026-11-23",
		"2026-11-23T17:45Z",
		"2026-11-23T17:45:01",
		"2026-11-23T17:45:01.Z",
		"2026-11-23T17:45:01+0200",
		"2026-11-23T17:45:01+24:00",
		"2026-11-23T17:45:01ZZ",
		"2026-13-01T00:00:00Z",
		"2026-00-01T00:00:00Z",
		"2026-04-31T00:00:00Z",
		"2026-02-29T00:00:00Z",
		"2100-02-29T00:00:00Z",
		"2026-01-00T00:00:00Z",
		"2026-01-01T24:00:00Z",
		"2026-01-01T00:60:00Z",
		"2026-01-01T00:00:61Z",
		"1969-12-31T23:59:59Z",
		"2262-01-01T00:00:00Z",
		"0001-01-01T00:00:00Z",
		" 2026-01-01T00:00:00Z",
		"2026-1-01T00:00:00Z",
		"2026-01-01T00:00:-1Z",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		int64_t time = 42;

		if (time_parse(texts[i], &time) != -EINVAL || time != 42)
			fail_msg("%s", texts[i]);
	}
}

static void times_are_written_in_utc_with_the_decimals_they_need(void **state)
{
	static const struct {
		int64_t time;
		const char *text;
	} cases[] = {
		{0, "1970-01-01T00:00:00Z"},
		{1, "1970-01-01T00:00:00.000000001Z"},
		{1500000000, "1970-01-01T00:00:01.5Z"},
		{-1, "1969-12-31T23:59:59.999999999Z"},
		{INT64_MAX, "2262-04-11T23:47:16.854775807Z"},
	};
	char text[TIME_TEXT_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(time_format(cases[i].time, text), cases[i].text);
}

static void what_is_written_is_read_as_the_same_time(void **state)
{
	for (int64_t time = 0; time < 7258118400 * second; time += 12345678901234567) {
		char text[TIME_TEXT_SIZE];
		int64_t back;

		assert_int_equal(time_parse(time_format(time, text), &back), 0);
		assert_int_equal(back, time);
	}
}

static void the_time_between_two_instants_is_never_negative(void **state)
{
	assert_int_equal(time_between(1, 3), 2);
	assert_int_equal(time_between(3, 1), 0);
	assert_int_equal(time_between(TIME_ABSENT, 3), 0);
	assert_int_equal(time_between(3, TIME_ABSENT), 0);
	assert_true(time_between(-INT64_MAX, INT64_MAX) == 2 * (uint64_t)INT64_MAX);
}

static void durations_are_numbers_with_units_and_sums_of_them(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} cases[] = {
		{"0s", 0},
		{"1ns", 1},
		{"5us", 5 * NS_PER_US},
		{"500ms", 500 * NS_PER_MS},
		{"90s", 90 * NS_PER_S},
		{"1m30s", 90 * NS_PER_S},
		{"2h", 7200 * NS_PER_S},
		{"7d", 604800 * NS_PER_S},
		{"1.5h", 5400 * NS_PER_S},
		{"0.25s", 250 * NS_PER_MS},
		{"1.000000001s", NS_PER_S + 1},
		{"1.0000000019s", NS_PER_S + 1},
		{"106751d", UINT64_C(106751) * 86400 * NS_PER_S},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t ns;

		if (duration_parse(cases[i].text, &ns) < 0)
			fail_msg("%s", cases[i].text);
		assert_int_equal(ns, cases[i].ns);
	}
}

static void other_texts_are_no_durations(void **state)
{
	static const struct {
		const char *text;
		int error;
	} cases[] = {
		{"", -EINVAL},
		{"90", -EINVAL},
		{"s", -EINVAL},
		{"-1s", -EINVAL},
		{"1 s", -EINVAL},
		{"1s ", -EINVAL},
		{"1x", -EINVAL},
		{"1.s", -EINVAL},
		{".5s", -EINVAL},
		{"1m30", -EINVAL},
		{"1S", -EINVAL},
		{"106752d", -ERANGE},
		{"99999999999999999999s", -ERANGE},
		{"200000d1s", -ERANGE},
		{"100000d100000d", -ERANGE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t ns;

		if (duration_parse(cases[i].text, &ns) != cases[i].error)
			fail_msg("%s", cases[i].text);
	}
}

static void ages_are_printed_with_their_two_greatest_units(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} cases[] = {
		{0, "0s"},
		{850 * NS_PER_MS, "850ms"},
		{12 * NS_PER_S, "12s"},
		{185 * NS_PER_S, "3m5s"},
		{180 * NS_PER_S, "3m"},
		{7805 * NS_PER_S, "2h10m"},
		{7200 * NS_PER_S, "2h"},
		{(4 * 86400 + 3 * 3600 + 59) * NS_PER_S, "4d3h"},
		{4 * 86400 * NS_PER_S, "4d"},
	};
	char text[TIME_TEXT_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(duration_format(cases[i].ns, text), cases[i].text);
}

static void exact_durations_are_written_as_go_does_and_read_back(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} cases[] = {
		{0, "0s"},
		{1, "1ns"},
		{1500, "1.5us"},
		{850 * NS_PER_MS, "850ms"},
		{NS_PER_MS + 1, "1.000001ms"},
		{12345 * NS_PER_MS, "12.345s"},
		{90 * NS_PER_S, "1m30s"},
		{60 * NS_PER_S + 1, "1m0.000000001s"},
		{60 * NS_PER_S, "1m"},
		{3600 * NS_PER_S, "1h"},
		{3601 * NS_PER_S, "1h1s"},
		{(100 * 3600 + 61) * NS_PER_S + 20 * NS_PER_MS, "100h1m1.02s"},
		{INT64_MAX, "2562047h47m16.854775807s"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[TIME_TEXT_SIZE];
		uint64_t back;

		assert_string_equal(duration_format_exact(cases[i].ns, text), cases[i].text);
		assert_int_equal(duration_parse(text, &back), 0);
		assert_int_equal(back, cases[i].ns);
	}
}

static uint64_t fixed_boot(void *userdata)
{
	return 100 * NS_PER_S;
}

static int64_t fixed_realtime(void *userdata)
{
	return 5000 * second;
}

static void a_kernel_time_becomes_a_wall_clock_time(void **state)
{
	const struct clock clock = {.boot_ns = fixed_boot, .realtime_ns = fixed_realtime};

	assert_int_equal(clock_realtime_of_boot(&clock, 90 * NS_PER_S), 4990 * second);
	/* An event that the kernel stamped after our look at the clock, and one whose time is no time. */
	assert_int_equal(clock_realtime_of_boot(&clock, 101 * NS_PER_S), 5000 * second);
	assert_int_equal(clock_realtime_of_boot(&clock, UINT64_MAX), 5000 * second);
	assert_int_equal(clock_realtime_of_boot(&clock, (uint64_t)INT64_MAX + 1), 5000 * second);
}

/* Of a machine without a battery for its clock. */
static int64_t unset_realtime(void *userdata)
{
	return 12 * second;
}

static void no_wall_clock_time_is_before_1970(void **state)
{
	const struct clock clock = {.boot_ns = fixed_boot, .realtime_ns = unset_realtime};

	assert_int_equal(clock_realtime_of_boot(&clock, 90 * NS_PER_S), 2 * second);
	assert_int_equal(clock_realtime_of_boot(&clock, 80 * NS_PER_S), 0);
}

static void the_clocks_of_the_system_run(void **state)
{
	const struct clock *clock = clock_system();

	assert_true(clock_monotonic(clock) > 0);
	assert_true(clock_boot(clock) >= clock_monotonic(clock) - NS_PER_S);
	assert_true(clock_realtime(clock) > 1700000000 * second);
}

static void seconds_that_are_no_duration_are_none(void **state)
{
	char text[TIME_TEXT_SIZE];

	assert_string_equal(duration_format_seconds(90.5, text), "1m30s");
	assert_string_equal(duration_format_seconds(-1, text), "0s");
	assert_string_equal(duration_format_seconds(1e300, text), "0s");
	assert_string_equal(duration_format_seconds(NAN, text), "0s");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(seconds_that_are_no_duration_are_none),
		cmocka_unit_test(times_are_read_in_every_form_of_rfc_3339),
		cmocka_unit_test(other_texts_are_no_times),
		cmocka_unit_test(times_are_written_in_utc_with_the_decimals_they_need),
		cmocka_unit_test(what_is_written_is_read_as_the_same_time),
		cmocka_unit_test(the_time_between_two_instants_is_never_negative),
		cmocka_unit_test(durations_are_numbers_with_units_and_sums_of_them),
		cmocka_unit_test(other_texts_are_no_durations),
		cmocka_unit_test(ages_are_printed_with_their_two_greatest_units),
		cmocka_unit_test(exact_durations_are_written_as_go_does_and_read_back),
		cmocka_unit_test(a_kernel_time_becomes_a_wall_clock_time),
		cmocka_unit_test(no_wall_clock_time_is_before_1970),
		cmocka_unit_test(the_clocks_of_the_system_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
