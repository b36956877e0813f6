/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kills for memory on a kernel that offers no hook: /proc/vmstat counts them, and when that count
 * has grown, the memory cgroups tell where. Only then is the hierarchy walked; a quiet node costs
 * one file a look.
 */
#include "detect/oom.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "base/file.h"
#include "host/cgroup.h"

#define DEPTH_MAX 32
#define GROUPS_MAX 65536
#define PATH_SIZE 4096
#define PAGES_NEAR_LIMIT 64

/* What a cgroup's counters were, for those that ever had a kill: all others were zero. */
struct tally {
	uint64_t id;
	uint64_t kills, limit_hits;
};

struct oom_poll {
	struct detector_run *run;
	uint64_t kills; /* of /proc/vmstat */
	struct tally *tallies;
	size_t tally_count;
};

/* A cgroup on the way down. */
struct level {
	size_t path_length;
	uint64_t id;
	bool limit_hit; /* its own limit, since the last look */
	uint64_t limit_bytes, usage_bytes;
};

struct walk {
	struct oom_poll *poll;
	enum cgroup_version version;
	bool quiet; /* only takes the counters */
	char path[PATH_SIZE];
	struct level levels[DEPTH_MAX];
	size_t visited;
	uint64_t told; /* kills reported */
};

static uint64_t keyed_number(int fd, const char *file, const char *key)
{
	uint64_t value;

	return file_read_keyed_u64(fd, file, key, &value) < 0 ? 0 : value;
}

static struct tally *find_tally(struct oom_poll *poll, uint64_t id)
{
	for (size_t i = 0; i < poll->tally_count; i++)
		if (poll->tallies[i].id == id)
			return &poll->tallies[i];
	return NULL;
}

/* Stores the counters and gives what they grew by. */
static void update_tally(struct oom_poll *poll, uint64_t id, uint64_t *kills, uint64_t *limit_hits)
{
	struct tally now = {.id = id, .kills = *kills, .limit_hits = *limit_hits};
	struct tally *tally = find_tally(poll, id);

	if (!tally && *kills == 0 && *limit_hits == 0)
		return;
	if (tally) {
		*kills -= MIN(*kills, tally->kills);
		*limit_hits -= MIN(*limit_hits, tally->limit_hits);
		*tally = now;
		return;
	}
	struct tally *grown =
		poll->tally_count < GROUPS_MAX
			? reallocarray(poll->tallies, poll->tally_count + 1, sizeof(*grown))
			: NULL;

	/* Not told at all, as without a place for it they would be told at every look. */
	if (!grown) {
		*kills = *limit_hits = 0;
		return;
	}
	poll->tallies = grown;
	poll->tallies[poll->tally_count++] = now;
}

static uint64_t read_number(int fd, const char *file, uint64_t fallback)
{
	uint64_t value;

	return file_read_u64(fd, file, &value) < 0 ? fallback : value;
}

/* v1 does not count the hits of a limit, but keeps the highest usage. */
static bool peak_at_limit(int fd, uint64_t limit_bytes)
{
	uint64_t near_bytes = PAGES_NEAR_LIMIT * (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t peak_bytes = read_number(fd, "memory.max_usage_in_bytes", 0);

	return peak_bytes > 0 && peak_bytes + near_bytes >= limit_bytes;
}

static cJSON *limit_json(const struct walk *walk, const struct level *level)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "%.*s", (int)level->path_length, walk->path);
	if (!json || json_set_string(json, "path", level->path_length ? path : "/") < 0 ||
	    json_set_bool(json, "exact", false) < 0 ||
	    json_set_number(json, "id", (double)level->id) < 0 ||
	    json_set_string(json, "counter", "memory") < 0 ||
	    (level->limit_bytes < INT64_MAX / 2 &&
	     json_set_number(json, "limitBytes", (double)level->limit_bytes) < 0) ||
	    json_set_number(json, "usageBytes", (double)level->usage_bytes) < 0)
		return NULL;
	return TAKE_PTR(json);
}

/* The finding, without container and limit; {} when out of memory. */
static struct finding make_finding(const struct detector_run *run, const char *scope,
				   const char *subject, uint64_t kills, cJSON **ret_details)
{
	_cleanup_json_ cJSON *event = event_json(run, "OOMKill", clock_boot(run->clock), 0);
	_cleanup_free_ char *copy = strdup(subject);
	cJSON *details = event ? cJSON_AddObjectToObject(event, "details") : NULL;

	if (!details || !copy || json_set_string(details, "scope", scope) < 0 ||
	    json_set_bool(details, "exact", false) < 0 ||
	    json_set(details, "node", oom_node_json(run->host)) < 0 ||
	    json_set_number(event, "count", (double)kills) < 0)
		return (struct finding){};
	cJSON_DeleteItemFromObjectCaseSensitive(event, "cpu");
	*ret_details = details;
	return (struct finding){
		.detector = run->detector->name,
		.type = "OOMKill",
		.subject = TAKE_PTR(copy),
		.event = TAKE_PTR(event),
	};
}

/* GROUP (where they were: at WALK's path) and LIMIT (whose limit it was) may be NULL. */
static void report(struct walk *walk, struct detector_run *run, const char *scope,
		   const char *subject, uint64_t kills, const struct level *group,
		   const struct level *limit)
{
	cJSON *details = NULL;
	struct finding finding = make_finding(run, scope, subject, kills, &details);
	int r = details ? 0 : -ENOMEM;

	if (r == 0 && group)
		r = json_set(finding.event, "container",
			     event_container_json_of_path(
				     run->containers, walk->path[0] ? walk->path : "/", group->id));
	if (r == 0 && limit)
		r = json_set(details, "limitCgroup", limit_json(walk, limit));
	if (r < 0) {
		log_error("could not report %" PRIu64 " kills for memory: out of memory", kills);
		finding_clear(&finding);
		return;
	}
	detector_report(run, &finding);
}

/*
 * KILLS more in the group at DEPTH: it or the nearest above it whose limit was hit is the subject.
 */
static void report_group(struct walk *walk, size_t depth, uint64_t kills)
{
	walk->told += kills;
	for (size_t i = depth + 1; i-- > 0;) {
		const struct level *level = &walk->levels[i];
		char subject[PATH_SIZE];

		if (!level->limit_hit)
			continue;
		snprintf(subject, sizeof(subject), "%.*s", (int)level->path_length, walk->path);
		report(walk, walk->poll->run, "cgroup", subject[0] ? subject : "/", kills,
		       &walk->levels[depth], level);
		return;
	}
	report(walk, walk->poll->run, "node", "node", kills, &walk->levels[depth], NULL);
}

/*
 * Reads the counters of the group whose folder is FD. Returns the kills in it since the last look.
 */
static uint64_t read_group(struct walk *walk, int fd, struct level *level)
{
	bool v2 = walk->version == CGROUP_V2;
	const char *events = faccessat(fd, "memory.events.local", F_OK, 0) == 0
				     ? "memory.events.local"
				     : "memory.events";
	uint64_t kills = keyed_number(fd, v2 ? events : "memory.oom_control", "oom_kill");
	uint64_t hits = v2 ? keyed_number(fd, events, "oom") : 0;
	struct stat status = {};

	fstat(fd, &status);
	level->id = status.st_ino;
	update_tally(walk->poll, level->id, &kills, &hits);
	level->limit_bytes =
		read_number(fd, v2 ? "memory.max" : "memory.limit_in_bytes", UINT64_MAX);
	level->usage_bytes = read_number(fd, v2 ? "memory.current" : "memory.usage_in_bytes", 0);
	level->limit_hit = v2 ? hits > 0 : peak_at_limit(fd, level->limit_bytes);
	return kills;
}

/* Takes FD. */
static void walk_group(struct walk *walk, int fd, size_t depth)
{
	_cleanup_close_ int owned = fd;
	size_t length = strlen(walk->path);
	struct level *level = &walk->levels[depth];

	*level = (struct level){.path_length = length};
	uint64_t kills = read_group(walk, fd, level);

	if (kills > 0 && !walk->quiet)
		report_group(walk, depth, kills);
	DIR *folder = depth + 1 < DEPTH_MAX ? fdopendir(fd) : NULL;

	if (!folder)
		return;
	TAKE_FD(owned);
	for (const struct dirent *entry;
	     (entry = readdir(folder)) && ++walk->visited < 64 * GROUPS_MAX;) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.' ||
		    length + 1 + strlen(entry->d_name) >= sizeof(walk->path))
			continue;
		int child =
			openat(dirfd(folder), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (child < 0)
			continue;
		snprintf(walk->path + length, sizeof(walk->path) - length, "/%s", entry->d_name);
		walk_group(walk, child, depth + 1);
		walk->path[length] = '\0';
	}
	closedir(folder);
}

/* Returns how many kills were told. */
static uint64_t walk_groups(struct oom_poll *poll, bool quiet)
{
	_cleanup_free_ struct walk *walk = calloc(1, sizeof(*walk));
	int fd = walk ? cgroup_open(poll->run->host, "memory", "/", &walk->version) : -ENOMEM;

	if (fd < 0)
		return 0;
	walk->poll = poll;
	walk->quiet = quiet;
	walk_group(walk, fd, 0);
	return walk->told;
}

static uint64_t read_kills(const struct host *host)
{
	return keyed_number(host->proc, "vmstat", "oom_kill");
}

int oom_poll_new(struct detector_run *run, struct oom_poll **ret_poll, char *reason,
		 size_t reason_size)
{
	struct oom_poll *poll = calloc(1, sizeof(*poll));

	if (!poll)
		return detector_fail(reason, reason_size, -ENOMEM,
				     "taking the counters of kills for memory");
	poll->run = run;
	poll->kills = read_kills(run->host);
	walk_groups(poll, true);
	*ret_poll = poll;
	return 0;
}

void oom_poll_free(struct oom_poll *poll)
{
	if (!poll)
		return;
	free(poll->tallies);
	free(poll);
}

void oom_poll_look(struct oom_poll *poll)
{
	uint64_t kills = read_kills(poll->run->host);
	uint64_t grown = kills - MIN(kills, poll->kills);

	poll->kills = kills;
	if (grown == 0)
		return;
	uint64_t told = walk_groups(poll, false);

	/*
	 * Kills in a cgroup that is gone: whether its limit or the node was at fault went with it.
	 */
	if (told < grown)
		report(NULL, poll->run, "unknown", "unknown", grown - told, NULL, NULL);
}
