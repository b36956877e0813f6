/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits of memory, and what their counters did within the window. All is read from the files of the
 * group itself, none of which takes a lock that a stalled task could hold.
 */
#include "detect/memory_stall.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"

#define STAT_BYTES_MAX (64 * KIB)
#define NEAR 10 /* usage within a tenth of the limit */
/* v1 has no "none": an unlimited group shows the greatest number of whole pages. */
#define V1_NO_LIMIT (INT64_MAX - INT64_C(0xffff))

/* The number after KEY in the lines of TEXT. */
static bool number_of(const char *text, const char *key, uint64_t *ret_number)
{
	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		const char *value = startswith(line, key);

		if (!value || *value != ' ')
			continue;
		*ret_number = strtoull(value + 1, NULL, 10);
		return true;
	}
	return false;
}

static uint64_t number_or_0(const char *text, const char *key)
{
	uint64_t number = 0;

	number_of(text, key, &number);
	return number;
}

/* v1 has each number of the group alone, and with "total_" of all below it too. */
static uint64_t v1_number(const char *text, const char *total_key)
{
	uint64_t number = 0;

	if (!number_of(text, total_key, &number))
		number_of(text, total_key + strlen("total_"), &number);
	return number;
}

static void take_stat_v1(const char *text, struct limit_counters *counters)
{
	uint64_t ignored;

	/* Not all kernels tell it on v1. */
	counters->refaults_known = number_of(text, "workingset_refault_file", &ignored);
	counters->file_refaults = v1_number(text, "total_workingset_refault_file");
	counters->anon_refaults = v1_number(text, "total_workingset_refault_anon");
	counters->major_faults = v1_number(text, "total_pgmajfault");
	counters->anon_bytes = v1_number(text, "total_rss");
	counters->shmem_bytes = v1_number(text, "total_shmem");
	/* The page cache has the files of tmpfs in it. */
	counters->file_bytes = v1_number(text, "total_cache");
	counters->file_bytes -= MIN(counters->file_bytes, counters->shmem_bytes);
	counters->dirty_bytes = v1_number(text, "total_dirty");
	counters->writeback_bytes = v1_number(text, "total_writeback");
}

static void take_stat_v2(const char *text, struct limit_counters *counters)
{
	counters->refaults_known =
		number_of(text, "workingset_refault_file", &counters->file_refaults) &&
		number_of(text, "pgsteal", &counters->evicted);
	counters->anon_refaults = number_or_0(text, "workingset_refault_anon");
	counters->major_faults = number_or_0(text, "pgmajfault");
	counters->anon_bytes = number_or_0(text, "anon");
	counters->shmem_bytes = number_or_0(text, "shmem");
	counters->file_bytes = number_or_0(text, "file");
	counters->file_bytes -= MIN(counters->file_bytes, counters->shmem_bytes);
	/* "kernel" since 5.18; before, its largest parts. */
	if (!number_of(text, "kernel", &counters->kernel_bytes))
		counters->kernel_bytes =
			number_or_0(text, "slab") + number_or_0(text, "kernel_stack");
	counters->dirty_bytes = number_or_0(text, "file_dirty");
	counters->writeback_bytes = number_or_0(text, "file_writeback");
}

static void read_v1(int fd, struct limit_counters *counters)
{
	if (counters->limit_bytes > (uint64_t)V1_NO_LIMIT)
		counters->limit_bytes = UINT64_MAX;
	file_read_u64(fd, "memory.failcnt", &counters->limit_hits);
	file_read_u64(fd, "memory.kmem.usage_in_bytes", &counters->kernel_bytes);
}

/* Of the group's own limits, where the kernel tells (5.2): else those of the groups below count too. */
static void read_events(int fd, struct limit_counters *counters)
{
	_cleanup_free_ char *text = NULL;

	if (file_read(fd, "memory.events.local", STAT_BYTES_MAX, &text, NULL) < 0 &&
	    file_read(fd, "memory.events", STAT_BYTES_MAX, &text, NULL) < 0)
		return;
	counters->limit_hits = number_or_0(text, "max");
	counters->high_hits = number_or_0(text, "high");
}

/* "full avg10=0.00 avg60=0.00 avg300=0.00 total=0" */
static bool total_ns(const char *text, const char *line_start, uint64_t *ret_ns)
{
	const char *line = strstr(text, line_start);
	const char *value = line ? strstr(line, "total=") : NULL;

	if (!value)
		return false;
	*ret_ns = strtoull(value + strlen("total="), NULL, 10) * NS_PER_US;
	return true;
}

static void read_v2(int fd, struct limit_counters *counters)
{
	_cleanup_free_ char *text = NULL;

	if (file_read_u64(fd, "memory.high", &counters->high_bytes) < 0)
		counters->high_bytes = UINT64_MAX;
	read_events(fd, counters);
	counters->pressure_known =
		file_read(fd, "memory.pressure", STAT_BYTES_MAX, &text, NULL) == 0 &&
		total_ns(text, "some ", &counters->some_ns) &&
		total_ns(text, "full ", &counters->full_ns);
}

int limit_counters_read_at(int fd, enum cgroup_version version, struct limit_counters *ret_counters)
{
	struct limit_counters counters = {.version = version, .high_bytes = UINT64_MAX};
	_cleanup_free_ char *text = NULL;
	struct stat status;
	bool v1 = version == CGROUP_V1;
	int r = fstat(fd, &status) < 0 ? -errno : 0;

	if (r == 0)
		r = file_read_u64(fd, v1 ? "memory.limit_in_bytes" : "memory.max",
				  &counters.limit_bytes);
	if (r == 0)
		r = file_read_u64(fd, v1 ? "memory.usage_in_bytes" : "memory.current",
				  &counters.usage_bytes);
	if (r < 0)
		return r == -ENODEV ? -ENOENT : r;
	counters.id = status.st_ino;
	if (v1)
		read_v1(fd, &counters);
	else
		read_v2(fd, &counters);
	/* The dearest of them: of no interest where nothing is limited. */
	if (limit_counters_limited(&counters) &&
	    file_read(fd, "memory.stat", STAT_BYTES_MAX, &text, NULL) == 0) {
		if (v1)
			take_stat_v1(text, &counters);
		else
			take_stat_v2(text, &counters);
	}
	*ret_counters = counters;
	return 0;
}

int limit_counters_read(const struct host *host, const char *path,
			struct limit_counters *ret_counters)
{
	enum cgroup_version version;
	_cleanup_close_ int fd = cgroup_open(host, "memory", path, &version);

	return fd < 0 ? fd : limit_counters_read_at(fd, version, ret_counters);
}

bool limit_counters_limited(const struct limit_counters *counters)
{
	return counters->limit_bytes != UINT64_MAX || counters->high_bytes != UINT64_MAX;
}

/* --- Samples --- */

const struct limit_counters *stall_limit_first(const struct stall_limit *limit)
{
	return &limit->samples[0];
}

const struct limit_counters *stall_limit_last(const struct stall_limit *limit)
{
	return &limit->samples[limit->sample_count - 1];
}

void stall_limit_add(struct stall_limit *limit, const struct limit_counters *counters,
		     uint64_t boot_ns)
{
	if (limit->sample_count && stall_limit_last(limit)->id != counters->id)
		limit->sample_count = 0;
	if (limit->sample_count == STALL_SLOTS + 1) {
		limit->sample_count--;
		memmove(limit->samples, limit->samples + 1,
			limit->sample_count * sizeof(limit->samples[0]));
		memmove(limit->sample_ns, limit->sample_ns + 1,
			limit->sample_count * sizeof(limit->sample_ns[0]));
	}
	limit->sample_ns[limit->sample_count] = boot_ns;
	limit->samples[limit->sample_count++] = *counters;
}

static bool near(uint64_t usage_bytes, uint64_t limit_bytes)
{
	return limit_bytes != UINT64_MAX && usage_bytes >= limit_bytes - limit_bytes / NEAR;
}

bool stall_limit_is_near(const struct stall_limit *limit)
{
	/* Usage swings: what a reclaim has freed is free for a moment. */
	for (size_t i = 0; i < limit->sample_count; i++) {
		const struct limit_counters *sample = &limit->samples[i];

		if (near(sample->usage_bytes, sample->limit_bytes) ||
		    near(sample->usage_bytes, sample->high_bytes))
			return true;
	}
	return false;
}

bool stall_limit_was_hit(const struct stall_limit *limit)
{
	const struct limit_counters *first = stall_limit_first(limit),
				    *last = stall_limit_last(limit);

	return last->limit_hits > first->limit_hits || last->high_hits > first->high_hits;
}
