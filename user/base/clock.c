/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks, RFC 3339 times, durations. */
#include "base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>

static uint64_t read_clock(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint64_t system_monotonic(_unused_ void *userdata)
{
	return read_clock(CLOCK_MONOTONIC);
}

static uint64_t system_boot(_unused_ void *userdata)
{
	return read_clock(CLOCK_BOOTTIME);
}

static int64_t system_realtime(_unused_ void *userdata)
{
	return (int64_t)read_clock(CLOCK_REALTIME);
}

const struct clock *clock_system(void)
{
	static const struct clock real = {.monotonic_ns = system_monotonic,
					  .boot_ns = system_boot,
					  .realtime_ns = system_realtime};

	return &real;
}

void clock_sleep(uint64_t ns)
{
	struct timespec left = {.tv_sec = (time_t)(ns / NS_PER_S),
				.tv_nsec = (long)(ns % NS_PER_S)};

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

int64_t clock_realtime_of_boot(const struct clock *clock, uint64_t boot_ns)
{
	uint64_t now_ns = clock_boot(clock);
	int64_t realtime_ns = clock_realtime(clock) - (int64_t)(now_ns - MIN(boot_ns, now_ns));

	return MAX(realtime_ns, 0);
}

const char *time_format(int64_t realtime_ns, char text[TIME_TEXT_SIZE])
{
	int64_t seconds = realtime_ns / (int64_t)NS_PER_S,
		fraction = realtime_ns % (int64_t)NS_PER_S;
	struct tm utc;

	if (fraction < 0) {
		fraction += (int64_t)NS_PER_S;
		seconds--;
	}
	time_t whole = (time_t)seconds;
	gmtime_r(&whole, &utc);
	size_t length = strftime(text, TIME_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
	if (fraction) {
		length += (size_t)snprintf(text + length, TIME_TEXT_SIZE - length, ".%09lld",
					   (long long)fraction);
		while (text[length - 1] == '0')
			length--;
	}
	snprintf(text + length, TIME_TEXT_SIZE - length, "Z");
	return text;
}

/* Exactly COUNT digits at *TEXT, which is moved past them. */
static int take_digits(const char **text, int count, int *ret_value)
{
	int value = 0;

	for (int i = 0; i < count; i++, (*text)++) {
		if (!isdigit((unsigned char)**text))
			return -EINVAL;
		value = value * 10 + (**text - '0');
	}
	*ret_value = value;
	return 0;
}

static int take_char(const char **text, char expected)
{
	return *(*text)++ == expected ? 0 : -EINVAL;
}

static int days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

int time_parse(const char *text, int64_t *ret_realtime_ns)
{
	struct tm utc = {0};
	int64_t fraction = 0, offset_s = 0;

	if (take_digits(&text, 4, &utc.tm_year) || take_char(&text, '-') ||
	    take_digits(&text, 2, &utc.tm_mon) || take_char(&text, '-') ||
	    take_digits(&text, 2, &utc.tm_mday))
		return -EINVAL;
	if (*text != 'T' && *text != 't' && *text != ' ')
		return -EINVAL;
	text++;
	if (take_digits(&text, 2, &utc.tm_hour) || take_char(&text, ':') ||
	    take_digits(&text, 2, &utc.tm_min) || take_char(&text, ':') ||
	    take_digits(&text, 2, &utc.tm_sec))
		return -EINVAL;
	if (utc.tm_mon < 1 || utc.tm_mon > 12 || utc.tm_mday < 1 || utc.tm_hour > 23 ||
	    utc.tm_min > 59 || utc.tm_sec > 60 || utc.tm_year < 1970 || utc.tm_year > 2261)
		return -EINVAL;
	if (*text == '.') {
		int64_t unit = (int64_t)NS_PER_S / 10;

		if (!isdigit((unsigned char)*++text))
			return -EINVAL;
		for (; isdigit((unsigned char)*text); text++, unit /= 10)
			fraction += (*text - '0') * unit;
	}
	if (*text == '+' || *text == '-') {
		int sign = *text++ == '-' ? -1 : 1, hours, minutes;

		if (take_digits(&text, 2, &hours) || take_char(&text, ':') ||
		    take_digits(&text, 2, &minutes) || hours > 23 || minutes > 59)
			return -EINVAL;
		offset_s = sign * (hours * 3600 + minutes * 60);
	} else if (*text == 'Z' || *text == 'z') {
		text++;
	} else {
		return -EINVAL;
	}
	if (*text)
		return -EINVAL;
	if (utc.tm_mday > days_in_month(utc.tm_year, utc.tm_mon))
		return -EINVAL;
	utc.tm_year -= 1900;
	utc.tm_mon -= 1;
	time_t seconds = timegm(&utc);
	*ret_realtime_ns = ((int64_t)seconds - offset_s) * (int64_t)NS_PER_S + fraction;
	return 0;
}

static const struct {
	const char *name;
	uint64_t ns;
} units[] = {
	{"d", 86400 * NS_PER_S}, {"h", 3600 * NS_PER_S}, {"ms", NS_PER_MS}, {"m", 60 * NS_PER_S},
	{"s", NS_PER_S},	 {"us", NS_PER_US},	 {"ns", 1}};

/* A number and its unit, "90s" or "1.5h", at *TEXT, which is moved past them. */
static int take_quantity(const char **text, uint64_t *ret_ns)
{
	const char *digits = *text, *point = NULL;
	uint64_t whole = 0, ns, decimals = 0;
	size_t i;

	if (!isdigit((unsigned char)*digits))
		return -EINVAL;
	for (; isdigit((unsigned char)**text); (*text)++)
		if (__builtin_mul_overflow(whole, UINT64_C(10), &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(**text - '0'), &whole))
			return -ERANGE;
	if (**text == '.') {
		point = ++*text;
		if (!isdigit((unsigned char)*point))
			return -EINVAL;
		*text += strspn(point, "0123456789");
	}
	for (i = 0; i < ARRAY_SIZE(units); i++)
		if (startswith(*text, units[i].name))
			break;
	if (i == ARRAY_SIZE(units))
		return -EINVAL;
	*text += strlen(units[i].name);
	/* The greatest unit, 864 * 10^11 ns, times 9 is far from an overflow. */
	for (uint64_t scale = 10; point && isdigit((unsigned char)*point) && scale <= units[i].ns;
	     scale *= 10)
		decimals += units[i].ns * (uint64_t)(*point++ - '0') / scale;
	if (__builtin_mul_overflow(whole, units[i].ns, &ns) ||
	    __builtin_add_overflow(ns, decimals, &ns))
		return -ERANGE;
	*ret_ns = ns;
	return 0;
}

int duration_parse(const char *text, uint64_t *ret_ns)
{
	uint64_t total = 0;

	do {
		uint64_t ns;
		int r = take_quantity(&text, &ns);

		if (r < 0)
			return r;
		if (__builtin_add_overflow(total, ns, &total) || total > INT64_MAX)
			return -ERANGE;
	} while (*text);
	*ret_ns = total;
	return 0;
}

const char *duration_format(uint64_t ns, char text[TIME_TEXT_SIZE])
{
	uint64_t seconds = ns / NS_PER_S;
	unsigned long long days = seconds / 86400, hours = seconds / 3600 % 24,
			   minutes = seconds / 60 % 60, rest = seconds % 60;

	if (ns && ns < NS_PER_S)
		snprintf(text, TIME_TEXT_SIZE, "%llums", (unsigned long long)(ns / NS_PER_MS));
	else if (days)
		snprintf(text, TIME_TEXT_SIZE, hours ? "%llud%lluh" : "%llud", days, hours);
	else if (hours)
		snprintf(text, TIME_TEXT_SIZE, minutes ? "%lluh%llum" : "%lluh", hours, minutes);
	else if (minutes)
		snprintf(text, TIME_TEXT_SIZE, rest ? "%llum%llus" : "%llum", minutes, rest);
	else
		snprintf(text, TIME_TEXT_SIZE, "%llus", rest);
	return text;
}

const char *duration_format_seconds(double seconds, char text[TIME_TEXT_SIZE])
{
	return duration_format(seconds >= 0 && seconds < 1e9 ? (uint64_t)(seconds * 1e9) : 0, text);
}

const char *duration_format_exact(uint64_t ns, char text[TIME_TEXT_SIZE])
{
	unsigned long long minutes = ns / NS_PER_S / 60, unit = NS_PER_S,
			   rest = ns % (60 * NS_PER_S);
	const char *name = "s";
	size_t length = 0;
	int digits = 9;

	text[0] = '\0';
	if (minutes >= 60)
		length += (size_t)snprintf(text, TIME_TEXT_SIZE, "%lluh", minutes / 60);
	if (minutes % 60)
		length += (size_t)snprintf(text + length, TIME_TEXT_SIZE - length, "%llum",
					   minutes % 60);
	if (!rest && length)
		return text;
	if (ns && ns < NS_PER_S) {
		unit = ns < NS_PER_US ? 1 : ns < NS_PER_MS ? NS_PER_US : NS_PER_MS;
		digits = ns < NS_PER_US ? 0 : ns < NS_PER_MS ? 3 : 6;
		name = ns < NS_PER_US ? "ns" : ns < NS_PER_MS ? "us" : "ms";
	}
	length += (size_t)snprintf(text + length, TIME_TEXT_SIZE - length, "%llu", rest / unit);
	if (rest % unit) {
		length += (size_t)snprintf(text + length, TIME_TEXT_SIZE - length, ".%0*llu",
					   digits, rest % unit);
		while (text[length - 1] == '0')
			length--;
	}
	snprintf(text + length, TIME_TEXT_SIZE - length, "%s", name);
	return text;
}
