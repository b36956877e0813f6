/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forks refused by a limit of pids. The kernel counts them (pids.events): on v1, and on v2 without
 * pids.events.local (before Linux 6.12), where the forking process is; else where the limit is. No
 * tracepoint tells of them, so the counters are compared round by round.
 */
#include "detect/cgroup.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/plain.h"

#define LEVELS_MAX 32
#define TELL_PERIOD_NS (60 * NS_PER_S) /* while forks go on being refused */
#define WARNING_INTERVAL_NS (600 * NS_PER_S)

/* A group whose counter was ever above 0. */
struct pids_group {
	uint64_t id, refused, round;
};

/* A group whose limit refuses forks. */
struct pids_limit {
	enum cgroup_version version;
	uint64_t id;
	char *path, *asked_in;
	uint64_t limit, current;
	bool exact; /* the kernel says that it was this limit */
	uint64_t untold, first_ns, last_ns, told_ns; /* boot time */
};

struct pids_groups {
	struct detector_run *run;
	uint64_t clear_after_ns, round;
	struct pids_group groups[PIDS_GROUPS_MAX];
	size_t group_count;
	struct pids_limit limits[PIDS_GROUPS_MAX];
	size_t limit_count;
	struct log_limit full_limit;
};

int pids_groups_new(struct detector_run *run, uint64_t clear_after_ns,
		    struct pids_groups **ret_pids)
{
	struct pids_groups *pids = calloc(1, sizeof(*pids));

	if (!pids)
		return -ENOMEM;
	pids->run = run;
	pids->clear_after_ns = clear_after_ns;
	*ret_pids = pids;
	return 0;
}

static void limit_clear(struct pids_limit *limit)
{
	free(limit->path);
	free(limit->asked_in);
}

void pids_groups_free(struct pids_groups *pids)
{
	if (!pids)
		return;
	for (size_t i = 0; i < pids->limit_count; i++)
		limit_clear(&pids->limits[i]);
	free(pids);
}

static void warn_full(struct pids_groups *pids, const char *path)
{
	uint32_t suppressed;

	if (log_limit_pass(&pids->full_limit, 1, WARNING_INTERVAL_NS, &suppressed))
		log_warning(
			"more than %d control groups have refused forks: the others, as %s, are "
			"not watched",
			PIDS_GROUPS_MAX, path);
}

/* --- Telling --- */

static cJSON *limit_event(const struct pids_groups *pids, const struct pids_limit *limit,
			  bool cleared)
{
	const struct cgroup_subject subject = {
		.fault = "pids",
		.hierarchy = limit->version == CGROUP_V1 ? "pids" : "unified",
		.version = limit->version,
		.path = limit->path,
		.id = limit->id,
		.threshold_ns = pids->clear_after_ns,
	};
	_cleanup_free_ int64_t *members = NULL;
	size_t count = 0;
	cJSON *details = NULL;
	_cleanup_json_ cJSON *event =
		cgroup_event_json(pids->run, cleared ? "Cleared" : "PidsLimit", &subject, &details);

	if (!event)
		return NULL;
	cJSON_DeleteItemFromObjectCaseSensitive(details, "thresholdSeconds");
	if (cleared)
		return TAKE_PTR(event);
	if (json_set_number(event, "count", (double)limit->untold) < 0 ||
	    json_set_number(details, "refused", (double)limit->untold) < 0 ||
	    cgroup_set_seconds(details, "seconds", limit->last_ns - limit->first_ns) < 0 ||
	    json_set_number(details, "limit", (double)limit->limit) < 0 ||
	    json_set_number(details, "current", (double)limit->current) < 0 ||
	    json_set_bool(details, "exact", limit->exact) < 0 ||
	    json_set_string(details, "askedIn", limit->asked_in) < 0)
		return NULL;
	if (cgroup_processes(pids->run->host, "pids", limit->path, &members, &count) == 0 &&
	    json_set(details, "members", cgroup_processes_json(pids->run->host, members, count)) <
		    0)
		return NULL;
	return TAKE_PTR(event);
}

static void tell(struct pids_groups *pids, struct pids_limit *limit, bool cleared, uint64_t boot_ns)
{
	struct finding finding = {
		.detector = pids->run->detector->name,
		.type = cleared ? "Cleared" : "PidsLimit",
		.cleared = cleared,
		.event = limit_event(pids, limit, cleared),
	};

	if (asprintf(&finding.subject, "pids limit of control group %s", limit->path) < 0)
		finding.subject = NULL;
	if (!finding.subject || !finding.event) {
		log_error("reporting %" PRIu64 " refused forks in control group %s: out of memory",
			  limit->untold, limit->path);
		finding_clear(&finding);
		return;
	}
	plain_copy(finding.subject, finding.subject, strlen(finding.subject));
	limit->told_ns = boot_ns;
	limit->untold = 0;
	detector_report(pids->run, &finding);
}

/* --- Whose limit --- */

struct level {
	char path[PATH_MAX];
	uint64_t id, limit, current;
};

/* Reads the limit of the group at PATH; false if it has none. */
static bool read_level(const struct host *host, const char *path, struct level *ret_level)
{
	enum cgroup_version version;
	_cleanup_close_ int fd = cgroup_open(host, "pids", path, &version);
	struct level level = {};
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0 || file_read_u64(fd, "pids.max", &level.limit) < 0 ||
	    level.limit == UINT64_MAX || file_read_u64(fd, "pids.current", &level.current) < 0)
		return false;
	snprintf(level.path, sizeof(level.path), "%s", path);
	level.id = status.st_ino;
	*ret_level = level;
	return true;
}

static uint64_t room(const struct level *level)
{
	return level->limit - MIN(level->limit, level->current);
}

/*
 * The limit that refused a fork in PATH: its own (EXACT), or of those at and above it the one with
 * the least room, the nearest of equal ones. False if there is none any more.
 */
static bool find_limit(const struct host *host, const char *path, bool exact,
		       struct level *ret_level)
{
	char above[PATH_MAX];
	struct level level;
	bool found = false;

	snprintf(above, sizeof(above), "%s", path);
	for (unsigned i = 0; i < LEVELS_MAX && above[0]; i++) {
		if (read_level(host, above, &level) && (!found || room(&level) < room(ret_level))) {
			*ret_level = level;
			found = true;
		}
		if (exact)
			break;
		*strrchr(above, '/') = '\0';
	}
	return found;
}

static struct pids_limit *add_limit(struct pids_groups *pids, enum cgroup_version version,
				    const struct level *level, uint64_t boot_ns)
{
	for (size_t i = 0; i < pids->limit_count; i++)
		if (pids->limits[i].id == level->id)
			return &pids->limits[i];
	if (pids->limit_count == PIDS_GROUPS_MAX) {
		warn_full(pids, level->path);
		return NULL;
	}
	char *path = strdup(level->path);

	if (!path)
		return NULL;
	struct pids_limit *limit = &pids->limits[pids->limit_count++];
	*limit = (struct pids_limit){
		.version = version, .id = level->id, .path = path, .first_ns = boot_ns};
	return limit;
}

static void on_refused(struct pids_groups *pids, enum cgroup_version version, const char *path,
		       bool exact, uint64_t count, uint64_t boot_ns)
{
	_cleanup_free_ struct level *level = calloc(1, sizeof(*level));

	if (!level || !find_limit(pids->run->host, path, exact, level))
		return;
	struct pids_limit *limit = add_limit(pids, version, level, boot_ns);

	if (!limit)
		return;
	limit->untold += count;
	limit->last_ns = boot_ns;
	limit->limit = level->limit;
	limit->current = level->current;
	limit->exact = exact || streq(path, level->path);
	if (!exact) {
		free(limit->asked_in);
		limit->asked_in = strdup(path);
	}
	if (!limit->told_ns || boot_ns - limit->told_ns >= TELL_PERIOD_NS)
		tell(pids, limit, false, boot_ns);
}

/* --- Counters --- */

static struct pids_group *find_group(struct pids_groups *pids, uint64_t id)
{
	for (size_t i = 0; i < pids->group_count; i++)
		if (pids->groups[i].id == id)
			return &pids->groups[i];
	return NULL;
}

void pids_groups_visit(struct pids_groups *pids, enum cgroup_version version,
		       const struct cgroup_walk_group *seen, uint64_t boot_ns)
{
	bool local = version == CGROUP_V2;
	uint64_t refused = 0;
	int r = local ? file_read_keyed_u64(seen->fd, "pids.events.local", "max", &refused)
		      : -ENOENT;

	if (r == -ENOENT) {
		local = false;
		r = file_read_keyed_u64(seen->fd, "pids.events", "max", &refused);
	}
	if (r < 0 || refused == 0)
		return;
	struct pids_group *group = find_group(pids, seen->id);
	uint64_t before = group ? group->refused : 0;

	if (!group && pids->group_count == PIDS_GROUPS_MAX) {
		warn_full(pids, seen->path);
		return;
	}
	if (!group)
		group = &pids->groups[pids->group_count++];
	*group = (struct pids_group){.id = seen->id, .refused = refused, .round = pids->round};
	/* What was refused before the agent came is not told. */
	if (pids->round > 0 && refused > before)
		on_refused(pids, version, seen->path, local, refused - before, boot_ns);
}

void pids_groups_round_end(struct pids_groups *pids, bool complete, uint64_t boot_ns)
{
	for (size_t i = pids->group_count; complete && i-- > 0;)
		if (pids->groups[i].round != pids->round)
			pids->groups[i] = pids->groups[--pids->group_count];
	for (size_t i = pids->limit_count; i-- > 0;) {
		struct pids_limit *limit = &pids->limits[i];

		if (boot_ns - limit->last_ns < pids->clear_after_ns)
			continue;
		if (limit->untold)
			tell(pids, limit, false, boot_ns);
		tell(pids, limit, true, boot_ns);
		limit_clear(limit);
		*limit = pids->limits[--pids->limit_count];
	}
	if (complete)
		pids->round++;
}
