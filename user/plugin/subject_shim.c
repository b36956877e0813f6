/* SPDX-License-Identifier: Apache-2.0 */
/* The container shim that an Abnormal is about. */
#include "plugin/subject_shim.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>

#include "base/file.h"
#include "host/container_names.h"
#include "host/shim_request.h"

/* Shims of one pod that are looked at: with the v1 shim each container has its own. */
#define POD_SHIMS_MAX 32
#define POD_QUESTION_NS NS_PER_S

/* --- What a shim is --- */

static const char *file_name(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash ? slash + 1 : path;
}

/* The configuration may call other programs shims; what was found as one is one. */
static int read_shim(const struct host *host, int64_t pid, const char *program,
		     struct shim *ret_shim)
{
	int r = shim_read(host, pid, NULL, 0, ret_shim);
	const char *name = file_name(program);

	return r == -ENOTTY && name ? shim_read(host, pid, &name, 1, ret_shim) : r;
}

int subject_shim_again(const struct plugin_call *call, const cJSON *json, struct shim *ret_shim)
{
	_cleanup_shim_ struct shim known = {0}, now = {0};
	struct process process;
	int r = shim_from_json(json, &known);

	if (r == 0)
		r = process_read_same(call->host, known.process.pid, known.process.start_time,
				      &process);
	if (r == 0 && (process.state == 'Z' || process.state == 'X'))
		return -ESRCH;
	if (r == 0)
		r = read_shim(call->host, known.process.pid, known.program, &now);
	if (r == -ENOTTY)
		return -EXDEV;
	if (r < 0)
		return r;
	if (now.process.start_time != known.process.start_time)
		return -ESRCH;
	/* An exec keeps pid and start time. */
	if ((known.program && !streq_ptr(known.program, now.program)) ||
	    (known.bundle && !streq_ptr(known.bundle, now.bundle)))
		return -EXDEV;
	*ret_shim = now;
	now = (struct shim){0};
	return 0;
}

#define COMM_BYTES 15 /* TASK_COMM_LEN without the NUL */

/* The kernel cuts what a process is called: the program's file has the rest of a name that was cut there. */
static const char *uncut_name(const struct shim *shim)
{
	const char *comm = shim->process.comm;
	const char *slash = shim->program ? strrchr(shim->program, '/') : NULL;

	return slash && strlen(comm) == COMM_BYTES && startswith(slash + 1, comm) ? slash + 1
										  : comm;
}

const char *shim_text(const struct shim *shim, char text[SHIM_TEXT_SIZE])
{
	int length = snprintf(text, SHIM_TEXT_SIZE, "%.64s (pid %" PRId64 ")", uncut_name(shim),
			      shim->process.pid);

	if (shim->id && length > 0 && length < SHIM_TEXT_SIZE)
		snprintf(text + length, SHIM_TEXT_SIZE - (size_t)length, " of %s%s%.64s",
			 shim->namespace ? shim->namespace : "", shim->namespace ? "/" : "",
			 shim->id);
	return text;
}

/* --- How it is --- */

static void directory_closep(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

/* Who debugs thread TID of PID, as thread id; 0: nobody. */
static uint64_t tracer_of(const struct host *host, int64_t pid, int64_t tid)
{
	char path[96];
	uint64_t tracer;

	snprintf(path, sizeof(path), "%" PRId64 "/task/%" PRId64 "/status", pid, tid);
	return file_read_keyed_u64(host->proc, path, "TracerPid:", &tracer) < 0 ? 0 : tracer;
}

int shim_look(const struct host *host, const struct shim *shim, struct shim_look *ret_look)
{
	int64_t pid = shim->process.pid;
	struct shim_look look = {.stopped = true};
	size_t threads = 0;
	char path[64];

	snprintf(path, sizeof(path), "%" PRId64 "/task", pid);
	int fd = openat(host->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	_cleanup_(directory_closep) DIR *directory = fdopendir(fd);
	if (!directory) {
		close(fd);
		return -ENOMEM;
	}
	for (struct dirent *entry; (entry = readdir(directory));) {
		int64_t tid = strtoll(entry->d_name, NULL, 10);
		struct process thread;

		if (tid <= 0 || process_read(host, tid, &thread) < 0)
			continue;
		threads++;
		look.switches += thread.switches;
		look.stopped = look.stopped && (thread.state == 'T' || thread.state == 't');
		int64_t tracer = look.tracer.pid ? 0 : (int64_t)tracer_of(host, pid, tid);
		if (tracer > 0 && process_read(host, tracer, &look.tracer) < 0)
			look.tracer = (struct process){.pid = tracer, .comm = "?"};
	}
	if (threads == 0)
		return -ESRCH;
	*ret_look = look;
	return 0;
}

int shim_zombies(const struct host *host, const struct shim *shim, struct process **ret_zombies,
		 size_t *ret_count)
{
	_cleanup_free_ struct process *all = NULL;
	size_t all_count, count = 0;
	int r = process_list(host, &all, &all_count);

	if (r < 0)
		return r;
	for (size_t i = 0; i < all_count; i++)
		if (all[i].ppid == shim->process.pid && all[i].state == 'Z')
			all[count++] = all[i];
	*ret_zombies = TAKE_PTR(all);
	*ret_count = count;
	return 0;
}

size_t zombies_left(const struct host *host, const struct process *zombies, size_t count)
{
	size_t left = 0;
	struct process process;

	for (size_t i = 0; i < count; i++)
		left += process_read_same(host, zombies[i].pid, zombies[i].start_time, &process) ==
				0 &&
			process.state == 'Z';
	return left;
}

/* What a shim that is stuck does not do. */
static bool is_reply(int error)
{
	return error == -EBADMSG || error == -ECONNRESET;
}

/* Any other error is ours, and tells nothing of the shim. */
static bool tells_of_shim(int error)
{
	return is_reply(error) || error == -ETIMEDOUT || error == -EAGAIN ||
	       error == -ECONNREFUSED || error == -ENOENT;
}

void shim_question(const struct plugin_call *call, const struct shim *shim, uint64_t within_ns,
		   struct shim_reply *ret_reply)
{
	_cleanup_free_ char *answer = NULL;
	char within[TIME_TEXT_SIZE];
	int r = shim->id ? shim_ask(call->host, shim, shim->id, call->clock, within_ns, &answer)
			 : -EOPNOTSUPP;

	*ret_reply = (struct shim_reply){
		.asked = r == 0 || tells_of_shim(r),
		.answered = r == 0 || is_reply(r),
		.refused = r == -ECONNREFUSED || r == -ENOENT,
	};
	if (r == 0)
		snprintf(ret_reply->text, sizeof(ret_reply->text), "answered: %.100s", answer);
	else if (r == -EBADMSG)
		snprintf(ret_reply->text, sizeof(ret_reply->text),
			 "answered in another protocol than ttrpc");
	else if (r == -ECONNRESET)
		snprintf(ret_reply->text, sizeof(ret_reply->text),
			 "answered by closing the connection");
	else if (r == -ETIMEDOUT)
		snprintf(ret_reply->text, sizeof(ret_reply->text), "no answer within %s",
			 duration_format(within_ns, within));
	else if (r == -EAGAIN)
		snprintf(ret_reply->text, sizeof(ret_reply->text),
			 "not accepted: its queue of connections is full");
	else if (ret_reply->refused)
		snprintf(ret_reply->text, sizeof(ret_reply->text),
			 "refused: nobody listens on its socket");
	else if (r == -EOPNOTSUPP)
		snprintf(ret_reply->text, sizeof(ret_reply->text),
			 "not possible: this kind of shim cannot be asked");
	else
		snprintf(ret_reply->text, sizeof(ret_reply->text), "not possible: %s",
			 strerror(-r));
}

/* --- What it serves --- */

static int names_of(const struct host *host, const struct shim_container *container,
		    struct container_names *ret_names)
{
	int r = container->bundle ? container_names_read(host, container->bundle, ret_names)
				  : -ENOENT;

	return r < 0 ? container_names_find(host, container->id, true, ret_names) : r;
}

static cJSON *init_json(const struct process *init)
{
	char state[2] = {init->state, '\0'};
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (!json || json_set_number(json, "pid", (double)init->pid) < 0 ||
	    json_set_number(json, "startTime", (double)init->start_time) < 0 ||
	    json_set_string(json, "state", state) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static cJSON *container_json(const struct host *host, const struct shim_container *container)
{
	_cleanup_container_names_ struct container_names names = {0};
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	bool named = names_of(host, container, &names) == 0;

	if (!json || json_set_string(json, "id", container->id) < 0 ||
	    json_set_string(json, "bundle", container->bundle) < 0 ||
	    json_set_number(json, "processes", (double)container->processes) < 0)
		return NULL;
	if (named && (json_set_string(json, "pod", names.pod) < 0 ||
		      json_set_string(json, "namespace", names.namespace) < 0 ||
		      json_set_string(json, "name", names.name) < 0 ||
		      json_set_string(json, "image", names.image) < 0 ||
		      json_set_bool(json, "sandbox", names.is_sandbox) < 0))
		return NULL;
	if (container->init.pid && json_set(json, "init", init_json(&container->init)) < 0)
		return NULL;
	return TAKE_PTR(json);
}

cJSON *shim_containers_json(const struct host *host, const struct shim *shim, size_t *ret_count)
{
	_cleanup_json_ cJSON *list = cJSON_CreateArray();
	struct shim_container *containers = NULL;
	size_t count = 0;

	/* What cannot be read is an empty list: the shim is told of in any case. */
	if (shim_containers(host, shim, &containers, &count) < 0)
		count = 0;
	for (size_t i = 0; list && i < MIN(count, (size_t)SHIM_CONTAINERS_TOLD); i++) {
		cJSON *item = container_json(host, &containers[i]);

		if (!item || !cJSON_AddItemToArray(list, item)) {
			cJSON_Delete(item);
			cJSON_Delete(TAKE_PTR(list));
		}
	}
	if (containers)
		shim_containers_free(containers, count);
	*ret_count = count;
	return TAKE_PTR(list);
}

static void container_text(const cJSON *container, struct buffer *out)
{
	const char *pod = json_string(container, "pod"), *name = json_string(container, "name");
	const char *namespace = json_string(container, "namespace");
	const char *id = json_string(container, "id"), *image = json_string(container, "image");

	if (pod && json_bool(container, "sandbox", false))
		buffer_printf(out, "the sandbox of pod %s/%s", namespace ? namespace : "?", pod);
	else if (pod && name)
		buffer_printf(out, "container %s of pod %s/%s", name, namespace ? namespace : "?",
			      pod);
	else
		buffer_printf(out, "container %.64s", name ? name : id ? id : "?");
	if (image && !json_bool(container, "sandbox", false))
		buffer_printf(out, " (%.100s)", image);
}

void shim_containers_text(const cJSON *containers, size_t count, size_t shown_max,
			  struct buffer *out)
{
	size_t told = 0;
	const cJSON *container;

	cJSON_ArrayForEach (container, containers) {
		if (told == shown_max)
			break;
		buffer_append_text(out, told++ ? ", " : "");
		container_text(container, out);
	}
	if (told == 0)
		buffer_append_text(out, "no container that is known");
	else if (count > told)
		buffer_printf(out, " and %zu more", count - told);
}

/* --- Which one it is about --- */

/* What an Abnormal names of a pod; either the uid or both names. */
struct pod {
	const char *uid, *namespace, *name;
};

static bool is_in_pod(const struct container_names *names, const struct pod *pod)
{
	if (pod->uid)
		return streq_ptr(names->pod_uid, pod->uid);
	return streq_ptr(names->pod, pod->name) && streq_ptr(names->namespace, pod->namespace);
}

static bool serves_pod(const struct host *host, const struct shim *shim, const struct pod *pod)
{
	struct shim_container *containers = NULL;
	size_t count = 0;
	bool found = false;

	if (shim_containers(host, shim, &containers, &count) < 0)
		return false;
	for (size_t i = 0; i < count && !found; i++) {
		_cleanup_container_names_ struct container_names names = {0};

		found = names_of(host, &containers[i], &names) == 0 && is_in_pod(&names, pod);
	}
	shim_containers_free(containers, count);
	return found;
}

static bool seems_well(const struct plugin_call *call, const struct shim *shim)
{
	struct shim_look look;
	struct shim_reply reply;

	if (shim_look(call->host, shim, &look) < 0 || look.stopped)
		return false;
	shim_question(call, shim, POD_QUESTION_NS, &reply);
	return reply.answered || !reply.asked;
}

/* The index of the one to look at among FOUND (its COUNT is not 0). */
static size_t choose(const struct plugin_call *call, const struct shim *shims, const size_t *found,
		     size_t count)
{
	for (size_t i = 0; count > 1 && i < count; i++)
		if (!seems_well(call, &shims[found[i]]))
			return found[i];
	return found[0];
}

static int find_by_pod(const struct plugin_call *call, const struct pod *pod, struct shim *ret_shim)
{
	size_t count = 0, found[POD_SHIMS_MAX], found_count = 0;
	struct shim *shims = NULL;
	int r = shim_list(call->host, &shims, &count);

	if (r < 0)
		return plugin_fail(r, "cannot list the shims on this node: %s", strerror(-r));
	for (size_t i = 0; i < count && found_count < POD_SHIMS_MAX; i++)
		if (serves_pod(call->host, &shims[i], pod))
			found[found_count++] = i;
	if (found_count == 0) {
		shims_free(shims, count);
		return plugin_fail(PLUGIN_NOT_MINE,
				   "none of the %zu shims on this node serves pod %s%s%s", count,
				   pod->uid ? pod->uid : pod->namespace, pod->uid ? "" : "/",
				   pod->uid ? "" : pod->name);
	}
	size_t chosen = choose(call, shims, found, found_count);
	*ret_shim = shims[chosen];
	shims[chosen] = (struct shim){0};
	shims_free(shims, count);
	return 0;
}

static int find_by_container(const struct plugin_call *call, const char *id, struct shim *ret_shim)
{
	int r = shim_of_container(call->host, id, ret_shim);

	if (r == -ESRCH)
		return plugin_fail(PLUGIN_NOT_MINE, "no shim on this node serves container %.128s",
				   id);
	if (r == -ENOTUNIQ)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "several shims on this node serve containers that are called "
				   "%.128s: name it by its whole id",
				   id);
	return r < 0 ? plugin_fail(r, "cannot look for the shim of container %.128s: %s", id,
				   strerror(-r))
		     : 0;
}

static int find_by_event(const struct plugin_call *call, const cJSON *json, struct shim *ret_shim)
{
	int r = subject_shim_again(call, json, ret_shim);

	if (r == -ESRCH)
		return plugin_fail(PLUGIN_NOT_MINE, "the shim (pid %" PRIu64 ") has ended",
				   json_u64(json, "pid"));
	if (r == -EXDEV)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "process %" PRIu64 " is no longer the shim that was seen",
				   json_u64(json, "pid"));
	return r < 0 ? plugin_fail(r, "cannot read the shim (pid %" PRIu64 "): %s",
				   json_u64(json, "pid"), strerror(-r))
		     : 0;
}

/* The container that the Abnormal names, or NULL. */
static const char *named_container(const struct abnormal *abnormal)
{
	const struct kernel_event *event = abnormal->spec.kernel_event;
	const cJSON *container = json_at(abnormal->spec.context, "container");
	const char *id = json_string(abnormal->spec.context, "container");

	if (!id)
		id = json_string(container, "id");
	return id ? id : event && event->container ? event->container->id : NULL;
}

int subject_shim(const struct plugin_call *call, struct shim *ret_shim, char **ret_container)
{
	const cJSON *json = json_at(plugin_details(call), "shim");
	const cJSON *context = json_at(call->abnormal->spec.context, "pod");
	const char *id = named_container(call->abnormal);
	const struct pod pod = {.uid = json_string(context, "uid"),
				.namespace = json_string(context, "namespace"),
				.name = json_string(context, "name")};
	_cleanup_free_ char *found = NULL;
	int r;

	if (json) {
		r = find_by_event(call, json, ret_shim);
	} else if (id && *id) {
		found = strdup(id);
		if (!found)
			return -ENOMEM;
		r = find_by_container(call, id, ret_shim);
	} else if (pod.uid || (pod.namespace && pod.name)) {
		r = find_by_pod(call, &pod, ret_shim);
	} else {
		r = plugin_fail(PLUGIN_NOT_MINE,
				"it names no shim, container (spec.context.container.id) or pod "
				"(spec.context.pod.uid, or namespace and name)");
	}
	if (r == 0)
		*ret_container = TAKE_PTR(found);
	return r;
}
