/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shims as single processes: what is one, of which kind, for which container it was started. The
 * containers it serves are in shim_containers.c.
 */
#include "host/shim.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <limits.h>

#include "base/plain.h"
#include "host/container.h"
#include "host/shim_bundle.h"
#include "host/shim_socket.h"
#include "host/shim_trust.h"

#define COMM_LENGTH 15 /* TASK_COMM_LEN without the NUL: longer names are cut */

const char *const shim_kind_names[] = {
	[SHIM_CONTAINERD_V1] = "containerd-v1",
	[SHIM_CONTAINERD_V2] = "containerd-v2",
	[SHIM_CONMON] = "conmon",
	[SHIM_OTHER] = "other",
};

const char *const shim_default_patterns[] = {"containerd-shim*", "docker-containerd-shim*",
					     "conmon", NULL};

void shim_clear(struct shim *shim)
{
	free(shim->program);
	free(shim->bundle);
	free(shim->namespace);
	free(shim->id);
	free(shim->socket);
	*shim = (struct shim){0};
}

void shims_free(struct shim *shims, size_t count)
{
	for (size_t i = 0; i < count; i++)
		shim_clear(&shims[i]);
	free(shims);
}

bool shim_name_matches(const char *const *patterns, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (fnmatch(patterns[i], name, 0) == 0)
			return true;
	return false;
}

/* PATTERNS NULL means the default ones. */
static void choose_patterns(const char *const **patterns, size_t *count)
{
	if (*patterns)
		return;
	*patterns = shim_default_patterns;
	*count = ARRAY_SIZE(shim_default_patterns) - 1;
}

/*
 * False if a program that matches one of PATTERNS cannot have this comm, so that the program of
 * each process need not be looked up.
 */
static bool may_match(const char *const *patterns, size_t count, const char *comm)
{
	for (size_t i = 0; i < count; i++) {
		size_t literal = MIN(strcspn(patterns[i], "*?[\\"), (size_t)COMM_LENGTH);

		if (strncmp(patterns[i], comm, literal) == 0)
			return true;
	}
	return false;
}

/* "containerd-shim-runc-v2": whatever runtime, and any version of that interface. */
static bool is_v2_name(const char *name)
{
	const char *version = strrchr(name, '-');

	return startswith(name, "containerd-shim-") && version && version[1] == 'v' && version[2] &&
	       strspn(version + 2, "0123456789") == strlen(version + 2);
}

static enum shim_kind kind_of_name(const char *name)
{
	if (streq(name, "containerd-shim") || streq(name, "docker-containerd-shim"))
		return SHIM_CONTAINERD_V1;
	if (is_v2_name(name))
		return SHIM_CONTAINERD_V2;
	return streq(name, "conmon") ? SHIM_CONMON : SHIM_OTHER;
}

/* Target of a link in /proc/PID without the mark of what was removed; NULL if unreadable. */
static char *read_link(const struct host *host, int64_t pid, const char *name)
{
	char path[64], target[PATH_MAX];

	snprintf(path, sizeof(path), "%" PRId64 "/%s", pid, name);
	ssize_t length = readlinkat(host->proc, path, target, sizeof(target) - 1);
	if (length < 0)
		return NULL;
	target[length] = '\0';
	if (endswith(target, " (deleted)"))
		target[length - (ssize_t)strlen(" (deleted)")] = '\0';
	return strdup(target);
}

static const char *file_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* What a shim that is not the node's says of itself stands only where it takes nobody's place. */
static int disclaim_taken(const struct host *host, struct shim *shim)
{
	if (!shim->id || !shim_id_is_taken(host, shim->id))
		return 0;
	free(shim->id);
	free(shim->namespace);
	shim->id = shim->namespace = NULL;
	return 0;
}

/*
 * Where it works tells what it works for: containerd's shims, and CRI-O's conmon, were given their
 * bundle as working directory. Podman's works where somebody called Podman.
 */
static int read_bundle(const struct host *host, struct shim *shim)
{
	_cleanup_free_ char *folder = read_link(host, shim->process.pid, "cwd");

	if (!folder)
		return 0;
	bool known = shim_is_of_node(host, &shim->process, folder);
	int r = bundle_split(folder, &shim->namespace, &shim->id);
	if (!known)
		return r == 0 ? disclaim_taken(host, shim) : r == -ENOENT ? 0 : r;
	if (r == -ENOENT && shim->kind == SHIM_CONTAINERD_V1 && bundle_exists(host, folder)) {
		/* Docker before 17.11: /run/docker/libcontainerd/ID */
		shim->id = strdup(file_name(folder));
		r = shim->id ? 0 : -ENOMEM;
	}
	if (r == 0)
		shim->bundle = TAKE_PTR(folder);
	return r == -ENOENT ? 0 : r;
}

/* The id in the name of conmon's own group: "libpod-conmon-ID.scope", "crio-conmon-ID". */
static char *id_of_conmon_group(const char *path)
{
	static const char *const prefixes[] = {"libpod-conmon-", "crio-conmon-"};
	const char *name = file_name(path);

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		const char *id = startswith(name, prefixes[i]);

		if (id && *id)
			return strndup(id, strcspn(id, "."));
	}
	return NULL;
}

/* The container of a process that SHIM started. */
static int read_id_below(const struct host *host, struct shim *shim)
{
	_cleanup_free_ struct process *processes = NULL;
	struct container container;
	size_t count;
	int r = process_list(host, &processes, &count);

	for (size_t i = 0; i < count && r == 0 && !shim->id; i++) {
		_cleanup_free_ char *group = NULL;

		if (processes[i].ppid != shim->process.pid)
			continue;
		group = process_cgroup(host, processes[i].pid);
		if (!group || !container_from_cgroup(group, &container) || !container.id[0])
			continue;
		shim->id = strdup(container.id);
		r = shim->id ? 0 : -ENOMEM;
	}
	return r;
}

/* conmon is known by its group, or by that of the process it started. */
static int read_conmon(const struct host *host, struct shim *shim)
{
	_cleanup_free_ char *run = NULL, *group = NULL;
	int r = 0;

	if (!shim->id)
		group = process_cgroup(host, shim->process.pid);
	if (group)
		shim->id = id_of_conmon_group(group);
	if (!shim->id)
		r = read_id_below(host, shim);
	if (r < 0 || !shim->id || shim->bundle)
		return r;
	if (!shim_is_of_node(host, &shim->process, "/"))
		return disclaim_taken(host, shim);
	run = bundle_run_folder(shim->id);
	if (!run)
		return -ENOMEM;
	if (bundle_exists(host, run))
		shim->bundle = TAKE_PTR(run);
	return 0;
}

static int read_shim(const struct host *host, const struct process *process,
		     const char *const *patterns, size_t count, struct unix_listeners *listeners,
		     struct shim *ret_shim)
{
	_cleanup_shim_ struct shim shim = {.process = *process};
	_cleanup_free_ char *expected = NULL;
	int r = 0;

	if (process->state == 'Z' || process->state == 'X')
		return -ESRCH; /* it has ended; nothing of it can be read */
	errno = 0;
	shim.program = read_link(host, process->pid, "exe");
	if (!shim.program) /* a kernel thread has none */
		return !errno || errno == ENOENT ? -ENOTTY : -errno;
	const char *name = file_name(shim.program);
	if (!shim_name_matches(patterns, count, name))
		return -ENOTTY;
	shim.kind = kind_of_name(name);
	r = read_bundle(host, &shim);
	if (r == 0 && shim.kind == SHIM_CONMON)
		r = read_conmon(host, &shim);
	if (r < 0)
		return r;
	if (shim.kind != SHIM_CONMON) {
		expected = shim.bundle ? bundle_socket(host, shim.bundle) : NULL;
		shim.socket = shim_socket_find(host, process->pid, expected, listeners);
	}
	/* All that was read is of this process, and of no other that came after it. */
	r = process_read_same(host, process->pid, process->start_time, &shim.process);
	if (r < 0)
		return r;
	*ret_shim = shim;
	shim = (struct shim){0};
	return 0;
}

int shim_read(const struct host *host, int64_t pid, const char *const *patterns, size_t count,
	      struct shim *ret_shim)
{
	_cleanup_(unix_listeners_clear) struct unix_listeners listeners = {0};
	struct process process;
	int r = process_read(host, pid, &process);

	if (r == 0 && process.tgid != pid)
		r = process_read(host, process.tgid, &process);
	if (r < 0)
		return r;
	choose_patterns(&patterns, &count);
	return read_shim(host, &process, patterns, count, &listeners, ret_shim);
}

int shim_list(const struct host *host, struct shim **ret_shims, size_t *ret_count)
{
	_cleanup_(unix_listeners_clear) struct unix_listeners listeners = {0};
	_cleanup_free_ struct process *processes = NULL;
	const char *const *patterns = NULL;
	struct shim *shims = NULL;
	size_t process_count, pattern_count, count = 0;
	int r = process_list(host, &processes, &process_count);

	choose_patterns(&patterns, &pattern_count);
	for (size_t i = 0; i < process_count && r == 0; i++) {
		struct shim shim;

		if (processes[i].kernel_thread ||
		    !may_match(patterns, pattern_count, processes[i].comm) ||
		    read_shim(host, &processes[i], patterns, pattern_count, &listeners, &shim) < 0)
			continue;
		struct shim *grown = reallocarray(shims, count + 1, sizeof(*grown));
		if (!grown) {
			shim_clear(&shim);
			r = -ENOMEM;
			continue;
		}
		shims = grown;
		shims[count++] = shim;
	}
	if (r < 0) {
		shims_free(shims, count);
		return r;
	}
	*ret_shims = shims;
	*ret_count = count;
	return 0;
}

/* Paths may be anybody's: what a person will read holds no control characters. */
static int set_plain(cJSON *json, const char *name, const char *text)
{
	if (!text)
		return 0;
	_cleanup_free_ char *copy = malloc(strlen(text) + 1);
	if (!copy)
		return -ENOMEM;
	plain_copy(copy, text, strlen(text));
	return json_set_string(json, name, copy);
}

cJSON *shim_json(const struct shim *shim)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (!json || json_set_number(json, "pid", (double)shim->process.pid) < 0 ||
	    json_set_number(json, "startTime", (double)shim->process.start_time) < 0 ||
	    json_set_string(json, "comm", shim->process.comm) < 0 ||
	    json_set_string(json, "kind", shim_kind_names[shim->kind]) < 0 ||
	    set_plain(json, "program", shim->program) < 0 ||
	    set_plain(json, "bundle", shim->bundle) < 0 ||
	    set_plain(json, "namespace", shim->namespace) < 0 ||
	    set_plain(json, "id", shim->id) < 0 || set_plain(json, "socket", shim->socket) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static int take_string(const cJSON *json, const char *name, char **ret_text)
{
	const char *text = json_string(json, name);

	if (!text)
		return 0;
	*ret_text = strdup(text);
	return *ret_text ? 0 : -ENOMEM;
}

int shim_from_json(const cJSON *json, struct shim *ret_shim)
{
	_cleanup_shim_ struct shim shim = {.kind = SHIM_OTHER};
	const char *comm = json_string(json, "comm"), *kind = json_string(json, "kind");

	shim.process.pid = shim.process.tgid = (int64_t)json_u64(json, "pid");
	shim.process.start_time = json_u64(json, "startTime");
	if (!shim.process.pid || !shim.process.start_time)
		return -EINVAL;
	if (comm)
		plain_copy(shim.process.comm, comm,
			   MIN(strlen(comm), sizeof(shim.process.comm) - 1));
	for (size_t i = 0; i < ARRAY_SIZE(shim_kind_names); i++)
		if (streq_ptr(kind, shim_kind_names[i]))
			shim.kind = (enum shim_kind)i;
	if (take_string(json, "program", &shim.program) < 0 ||
	    take_string(json, "bundle", &shim.bundle) < 0 ||
	    take_string(json, "namespace", &shim.namespace) < 0 ||
	    take_string(json, "id", &shim.id) < 0 || take_string(json, "socket", &shim.socket) < 0)
		return -ENOMEM;
	*ret_shim = shim;
	shim = (struct shim){0};
	return 0;
}
