/* SPDX-License-Identifier: Apache-2.0 */
/* Pressure stall information: Documentation/accounting/psi.rst of the kernel. */
#include "host/pressure.h"

#include <fcntl.h>
#include <math.h>

#include "base/file.h"

#define PRESSURE_BYTES_MAX (4 * KIB)

static const char *const resources[] = {"cpu", "memory", "io"};

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" into RESULT.some, or RESULT.full; others are left out. */
static int parse_line(const char *line, cJSON *result)
{
	char kind[8];
	double avg10, avg60, avg300;
	unsigned long long total;

	if (sscanf(line, "%7s avg10=%lf avg60=%lf avg300=%lf total=%llu", kind, &avg10, &avg60,
		   &avg300, &total) != 5 ||
	    !isfinite(avg10) || !isfinite(avg60) || !isfinite(avg300) ||
	    (!streq(kind, "some") && !streq(kind, "full")))
		return 0;
	_cleanup_json_ cJSON *values = cJSON_CreateObject();
	if (!values || json_set_number(values, "avg10", avg10) < 0 ||
	    json_set_number(values, "avg60", avg60) < 0 ||
	    json_set_number(values, "avg300", avg300) < 0 ||
	    json_set_number(values, "totalMicroseconds", (double)total) < 0)
		return -ENOMEM;
	return json_set(result, kind, TAKE_PTR(values));
}

static cJSON *pressure_parse(char *text)
{
	_cleanup_json_ cJSON *result = cJSON_CreateObject();

	if (!result)
		return NULL;
	for (char *line; (line = strsep(&text, "\n"));)
		if (parse_line(line, result) < 0)
			return NULL;
	return TAKE_PTR(result);
}

/* The files that PATTERN names for each resource; NULL when there is none. */
static cJSON *pressure_read(int dir_fd, const char *pattern_head, const char *pattern_tail)
{
	_cleanup_json_ cJSON *result = cJSON_CreateObject();

	if (!result)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(resources); i++) {
		_cleanup_free_ char *text = NULL;
		char path[64];

		snprintf(path, sizeof(path), "%s%s%s", pattern_head, resources[i], pattern_tail);
		if (file_read(dir_fd, path, PRESSURE_BYTES_MAX, &text, NULL) < 0)
			continue; /* -ENOENT or -EOPNOTSUPP: PSI is off */
		cJSON *values = pressure_parse(text);
		if (!values || json_set(result, resources[i], values) < 0)
			return NULL;
	}
	return result->child ? TAKE_PTR(result) : NULL;
}

cJSON *pressure_node(const struct host *host)
{
	return pressure_read(host->proc, "pressure/", "");
}

cJSON *pressure_cgroup(int cgroup_fd)
{
	return pressure_read(cgroup_fd, "", ".pressure");
}
