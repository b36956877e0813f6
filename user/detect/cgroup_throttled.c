/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups whose CPU quota keeps them from running for most of the time. The kernel counts the periods
 * in which a group with a quota wanted to run, and those in which its quota ran out (cpu.stat). Samples
 * a fifth of the threshold apart, or as far as rounds are, make a window that slides with them.
 */
#include "detect/cgroup.h"

#include <inttypes.h>

#include "base/file.h"
#include "base/plain.h"

#define SAMPLES (THROTTLED_SAMPLES_PER_WINDOW + 1)
#define STAT_BYTES_MAX 4096
#define BUSY_PERCENT 50 /* of all periods: who is idle in between is not kept from much */
#define WINDOWS_UNTIL_TOLD_AGAIN 10
#define WARNING_INTERVAL_NS (600 * NS_PER_S)

struct sample {
	uint64_t boot_ns, periods, throttled, throttled_ns;
};

struct throttled_group {
	uint64_t id, round;
	struct sample samples[SAMPLES]; /* oldest first */
	size_t sample_count;
	uint64_t quota_us, period_us;
	enum cgroup_version version;
	char *path; /* of one that was told */
	uint64_t told_ns; /* boot time */
};

struct throttled_groups {
	struct detector_run *run;
	uint64_t threshold_ns, round;
	uint64_t share_percent;
	struct throttled_group *items;
	size_t count, capacity, next; /* where the next group of a walk most likely is */
	struct log_limit full_limit;
};

int throttled_groups_new(struct detector_run *run, uint64_t threshold_ns, uint64_t share_percent,
			 struct throttled_groups **ret_throttled)
{
	struct throttled_groups *throttled = calloc(1, sizeof(*throttled));

	if (!throttled)
		return -ENOMEM;
	throttled->run = run;
	throttled->threshold_ns = threshold_ns;
	throttled->share_percent = share_percent;
	*ret_throttled = throttled;
	return 0;
}

void throttled_groups_free(struct throttled_groups *throttled)
{
	if (!throttled)
		return;
	for (size_t i = 0; i < throttled->count; i++)
		free(throttled->items[i].path);
	free(throttled->items);
	free(throttled);
}

/* --- Reading --- */

/* False if the group has no quota. What has none is not read any further: cpu.stat is dear on v2. */
static bool read_quota(int fd, enum cgroup_version version, uint64_t *ret_quota_us,
		       uint64_t *ret_period_us)
{
	_cleanup_free_ char *text = NULL;
	int64_t quota = 0;
	bool v1 = version == CGROUP_V1;

	if (file_read(fd, v1 ? "cpu.cfs_quota_us" : "cpu.max", STAT_BYTES_MAX, &text, NULL) < 0)
		return false;
	if (sscanf(text, "%" SCNd64 " %" SCNu64, &quota, ret_period_us) < (v1 ? 1 : 2) ||
	    quota <= 0)
		return false;
	*ret_quota_us = (uint64_t)quota;
	return (!v1 || file_read_u64(fd, "cpu.cfs_period_us", ret_period_us) == 0) &&
	       *ret_period_us > 0;
}

/* The number after KEY in the lines of TEXT, or 0. */
static uint64_t number_of(const char *text, const char *key)
{
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		const char *value = startswith(line, key);

		if (value && *value == ' ')
			return strtoull(value + 1, NULL, 10);
	}
	return 0;
}

static int read_sample(int fd, enum cgroup_version version, struct sample *ret_sample)
{
	_cleanup_free_ char *text = NULL;
	int r = file_read(fd, "cpu.stat", STAT_BYTES_MAX, &text, NULL);

	if (r < 0)
		return r;
	ret_sample->periods = number_of(text, "nr_periods");
	ret_sample->throttled = number_of(text, "nr_throttled");
	ret_sample->throttled_ns = version == CGROUP_V1
					   ? number_of(text, "throttled_time")
					   : number_of(text, "throttled_usec") * NS_PER_US;
	return 0;
}

/* --- Telling --- */

/* What happened from the oldest sample to the latest. */
static struct sample window_of(const struct throttled_group *group)
{
	const struct sample *first = &group->samples[0],
			    *last = &group->samples[group->sample_count - 1];

	return (struct sample){
		.boot_ns = last->boot_ns - first->boot_ns,
		.periods = last->periods - MIN(last->periods, first->periods),
		.throttled = last->throttled - MIN(last->throttled, first->throttled),
		.throttled_ns = last->throttled_ns - MIN(last->throttled_ns, first->throttled_ns),
	};
}

static int put_window(const struct throttled_groups *throttled, const struct throttled_group *group,
		      cJSON *details)
{
	const struct sample window = window_of(group);
	const char *controller = "cpu";
	_cleanup_free_ int64_t *pids = NULL;
	size_t count;

	if (cgroup_set_seconds(details, "seconds", window.boot_ns) < 0 ||
	    json_set_number(details, "periods", (double)window.periods) < 0 ||
	    json_set_number(details, "throttled", (double)window.throttled) < 0 ||
	    json_set_number(details, "throttledPercent",
			    (double)(window.throttled * 100 / MAX(window.periods, UINT64_C(1)))) <
		    0 ||
	    cgroup_set_seconds(details, "throttledSeconds", window.throttled_ns) < 0 ||
	    json_set_number(details, "quotaCPUs",
			    (double)(group->quota_us * 1000 / group->period_us) / 1000) < 0)
		return -ENOMEM;
	if (cgroup_processes(throttled->run->host, controller, group->path, &pids, &count) < 0)
		return 0;
	return json_set(details, "members",
			cgroup_processes_json(throttled->run->host, pids, count));
}

static void tell(struct throttled_groups *throttled, struct throttled_group *group, bool cleared,
		 uint64_t boot_ns)
{
	const char *type = cleared ? "Cleared" : "CPUThrottled";
	const struct cgroup_subject subject = {
		.fault = "throttled",
		.hierarchy = group->version == CGROUP_V1 ? "cpu" : "unified",
		.version = group->version,
		.path = group->path,
		.id = group->id,
		.threshold_ns = throttled->threshold_ns,
	};
	cJSON *details = NULL;
	struct finding finding = {
		.detector = throttled->run->detector->name,
		.type = type,
		.cleared = cleared,
		.event = cgroup_event_json(throttled->run, type, &subject, &details),
	};

	if (asprintf(&finding.subject, "CPU quota of control group %s", group->path) < 0)
		finding.subject = NULL;
	if (!finding.subject || !finding.event ||
	    (!cleared && put_window(throttled, group, details) < 0)) {
		log_error("reporting the throttled control group %s: out of memory", group->path);
		finding_clear(&finding);
		return;
	}
	plain_copy(finding.subject, finding.subject, strlen(finding.subject));
	group->told_ns = cleared ? 0 : boot_ns;
	detector_report(throttled->run, &finding);
}

/* Whether the window is whole, and at least PERCENT of its periods ran out of quota. */
static bool is_throttled(const struct throttled_groups *throttled,
			 const struct throttled_group *group, uint64_t percent)
{
	const struct sample window = window_of(group);
	uint64_t possible = window.boot_ns / (group->period_us * NS_PER_US);

	return window.boot_ns >= throttled->threshold_ns &&
	       window.periods * 100 >= possible * BUSY_PERCENT &&
	       window.throttled * 100 >= window.periods * percent;
}

static void judge(struct throttled_groups *throttled, struct throttled_group *group,
		  const char *path, uint64_t boot_ns)
{
	uint64_t again_ns = WINDOWS_UNTIL_TOLD_AGAIN * throttled->threshold_ns;

	if (group->told_ns) {
		/* Over only when it is much less: what is near the share would come and go. */
		if (!is_throttled(throttled, group, throttled->share_percent / 2))
			tell(throttled, group, true, boot_ns);
		else if (boot_ns - group->told_ns >= again_ns)
			tell(throttled, group, false, boot_ns);
		return;
	}
	if (!is_throttled(throttled, group, throttled->share_percent))
		return;
	free(group->path);
	group->path = strdup(path);
	if (group->path)
		tell(throttled, group, false, boot_ns);
}

/* --- Groups --- */

static struct throttled_group *add(struct throttled_groups *throttled, uint64_t id,
				   const char *path)
{
	uint32_t suppressed;

	if (throttled->count == THROTTLED_GROUPS_MAX) {
		if (log_limit_pass(&throttled->full_limit, 1, WARNING_INTERVAL_NS, &suppressed))
			log_warning("more than %d control groups have a CPU quota: the others, as "
				    "%s, are not watched",
				    THROTTLED_GROUPS_MAX, path);
		return NULL;
	}
	if (throttled->count == throttled->capacity) {
		size_t capacity = throttled->capacity ? throttled->capacity * 2 : 64;
		struct throttled_group *grown =
			reallocarray(throttled->items, capacity, sizeof(*grown));

		if (!grown)
			return NULL;
		throttled->items = grown;
		throttled->capacity = capacity;
	}
	struct throttled_group *group = &throttled->items[throttled->count++];

	*group = (struct throttled_group){.id = id};
	return group;
}

static struct throttled_group *find(struct throttled_groups *throttled, uint64_t id)
{
	for (size_t i = 0; i < throttled->count; i++) {
		size_t at = (throttled->next + i) % throttled->count;

		if (throttled->items[at].id == id) {
			throttled->next = at + 1;
			return &throttled->items[at];
		}
	}
	return NULL;
}

/*
 * Keeps as many of the latest samples as make a whole window with this one. Where rounds are rare,
 * two do.
 */
static void add_sample(struct throttled_group *group, const struct sample *sample,
		       uint64_t threshold_ns)
{
	size_t old = group->sample_count == SAMPLES;

	while (old + 1 < group->sample_count &&
	       sample->boot_ns - group->samples[old + 1].boot_ns >= threshold_ns)
		old++;
	group->sample_count -= old;
	memmove(group->samples, group->samples + old, group->sample_count * sizeof(*sample));
	group->samples[group->sample_count++] = *sample;
}

void throttled_groups_visit(struct throttled_groups *throttled, enum cgroup_version version,
			    const struct cgroup_walk_group *seen, uint64_t boot_ns)
{
	uint64_t quota_us, period_us, apart_ns;
	struct sample sample = {.boot_ns = boot_ns};

	if (!read_quota(seen->fd, version, &quota_us, &period_us))
		return;
	struct throttled_group *group = find(throttled, seen->id);

	if (!group)
		group = add(throttled, seen->id, seen->path);
	if (!group)
		return;
	group->round = throttled->round;
	group->version = version;
	/* With another quota it begins anew. */
	if (group->quota_us != quota_us || group->period_us != period_us)
		group->sample_count = 0;
	group->quota_us = quota_us;
	group->period_us = period_us;
	apart_ns = throttled->threshold_ns / THROTTLED_SAMPLES_PER_WINDOW;
	if (group->sample_count &&
	    boot_ns - group->samples[group->sample_count - 1].boot_ns < apart_ns)
		return;
	if (read_sample(seen->fd, version, &sample) < 0)
		return;
	add_sample(group, &sample, throttled->threshold_ns);
	/* A whole window: while it fills again, nothing is known. */
	if (window_of(group).boot_ns >= throttled->threshold_ns)
		judge(throttled, group, seen->path, boot_ns);
}

void throttled_groups_round_end(struct throttled_groups *throttled, uint64_t boot_ns)
{
	for (size_t i = throttled->count; i-- > 0;) {
		struct throttled_group *group = &throttled->items[i];

		if (group->round == throttled->round)
			continue;
		if (group->told_ns)
			tell(throttled, group, true, boot_ns);
		free(group->path);
		*group = throttled->items[--throttled->count];
	}
	throttled->round++;
	throttled->next = 0;
}
