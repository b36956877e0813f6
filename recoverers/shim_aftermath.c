/* SPDX-License-Identifier: Apache-2.0 */
/* What is left of a shim that was killed. */
#include "shim_aftermath.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/spawn.h"

#define QUESTION_NS (2 * NS_PER_S)
/* containerd gives each shim 2 s, one after the other, and other shims may be stuck too. */
#define LIST_WITHIN_NS (12 * NS_PER_S)
#define LIST_BYTES_MAX (256 * KIB)

bool aftermath_list_has(const cJSON *list, const char *text)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, list)
		if (cJSON_IsString(item) && streq(item->valuestring, text))
			return true;
	return false;
}

/* No shim listens on the old socket, or a new one that answers. */
int aftermath_check_socket(const struct plugin_call *call, const cJSON *known, const char **ret_how)
{
	const char *socket = json_string(known, "socket");
	struct shim *shims = NULL;
	size_t count = 0;
	int r = shim_list(call->host, &shims, &count);

	if (r < 0)
		return plugin_fail(r, "cannot list the shims on this node: %s", strerror(-r));
	*ret_how = socket ? ", no shim listens on its socket" : "";
	for (size_t i = 0; i < count && r == 0; i++) {
		struct shim_reply reply;

		if (!socket || !streq_ptr(shims[i].socket, socket))
			continue;
		shim_question(call, &shims[i], QUESTION_NS, &reply);
		*ret_how = ", its socket is answered by a new shim";
		if (reply.asked && !reply.answered)
			r = plugin_fail(PLUGIN_NOT_MINE,
					"a new shim listens on its socket; a State request got %s",
					reply.text);
	}
	shims_free(shims, count);
	return r;
}

/* Whether containerd takes connections; what cannot be tried is taken for true. */
bool aftermath_runtime_listens(const struct plugin_call *call, const char *address)
{
	struct sockaddr_un socket_address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (!address || fd < 0 ||
	    (size_t)snprintf(socket_address.sun_path, sizeof(socket_address.sun_path), "%s%s",
			     call->host->root, address) >= sizeof(socket_address.sun_path))
		return true;
	return connect(fd, (struct sockaddr *)&socket_address, sizeof(socket_address)) == 0 ||
	       (errno != ENOENT && errno != ECONNREFUSED);
}

static bool serves_bundle(struct shim_survey *survey, const struct shim *shim, const char *bundle)
{
	struct shim_container *containers;
	size_t count;
	bool found = false;

	if (shim_survey_containers(survey, shim, &containers, &count) < 0)
		return false;
	for (size_t i = 0; i < count && !found; i++)
		found = streq_ptr(containers[i].bundle, bundle);
	shim_containers_free(containers, count);
	return found;
}

/* True if a shim serves BUNDLE: the container was started anew. Ids are unique in a namespace alone. */
static bool is_served_anew(const struct host *host, const char *bundle)
{
	_cleanup_(shim_survey_freep) struct shim_survey *survey = NULL;
	struct shim *shims;
	size_t count;
	bool found = false;

	if (shim_list(host, &shims, &count) < 0)
		return false;
	if (shim_survey_new(host, NULL, 0, &survey) == 0)
		for (size_t i = 0; i < count && !found; i++)
			found = serves_bundle(survey, &shims[i], bundle);
	shims_free(shims, count);
	return found;
}

/* Returns 1 if there is such a folder, 0 or a negative errno. */
static int folder_exists(const struct host *host, const char *folder)
{
	_cleanup_free_ char *path = NULL;
	struct stat status;

	if (asprintf(&path, "%s%s", host->root, folder) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (stat(path, &status) == 0)
		return 1;
	return errno == ENOENT ? 0 : -errno;
}

/* The bundles are removed, or belong to a new shim of the same container. */
int aftermath_check_bundles(const struct plugin_call *call, const cJSON *plan, const char **ret_how)
{
	const char *address = json_string(plan, "runtime");
	bool listens = aftermath_runtime_listens(call, address);
	size_t removed = 0, anew = 0;
	const cJSON *container;

	cJSON_ArrayForEach (container, json_at(plan, "containers")) {
		const char *bundle = json_string(container, "bundle");
		int r = bundle ? folder_exists(call->host, bundle) : -ENODATA;

		if (r == -ENODATA)
			continue;
		if (r < 0)
			return plugin_fail(r, "cannot look whether %s is removed: %s", bundle,
					   strerror(-r));
		if (r && !is_served_anew(call->host, bundle))
			return plugin_fail(
				PLUGIN_NOT_MINE, "the runtime has not removed %s yet%s%s", bundle,
				listens ? "" : "; nobody listens on ", listens ? "" : address);
		removed += !r;
		anew += r;
	}
	*ret_how = anew		 ? ", its container runs anew"
		   : removed > 1 ? ", its bundles are removed"
		   : removed	 ? ", its bundle is removed"
				 : "";
	return 0;
}

static const char *find_ctr(const struct plugin_call *call)
{
	static const char *const places[] = {"/usr/bin/ctr", "/usr/local/bin/ctr", "/bin/ctr",
					     "/opt/containerd/bin/ctr"};

	/* Of a host below another root it would need the host's libraries, too. */
	for (size_t i = 0; !*call->host->root && i < ARRAY_SIZE(places); i++)
		if (access(places[i], X_OK) == 0)
			return places[i];
	return NULL;
}

/* The state in the line of ID in the output of `ctr task ls` ("RUNNING"), or NULL. */
static const char *listed_state(char *text, const char *id)
{
	char *rest = text, *line;

	while ((line = strsep(&rest, "\n"))) {
		char *words = line, *fields[3] = {NULL};
		size_t count = 0;

		while (count < ARRAY_SIZE(fields) && (fields[count] = strsep(&words, " \t")))
			count += *fields[count] != '\0';
		if (count >= 3 && streq(fields[0], id))
			return fields[2];
	}
	return NULL;
}

/* ret_how stays empty where containerd cannot be asked. */
int aftermath_check_runtime(const struct plugin_call *call, const cJSON *plan, const char **ret_how)
{
	const char *ctr = find_ctr(call), *address = json_string(plan, "runtime");
	const char *namespace = json_string(json_at(plan, "shim"), "namespace");
	const cJSON *container;
	_cleanup_free_ char *text = NULL;
	int status;

	*ret_how = "";
	if (!ctr || !address || !namespace)
		return 0;
	char *const arguments[] = {(char *)ctr,	      (char *)"-a",   (char *)address, (char *)"-n",
				   (char *)namespace, (char *)"task", (char *)"ls",    NULL};
	int r = spawn_read(ctr, arguments, LIST_WITHIN_NS, LIST_BYTES_MAX, &text, &status);
	if (r == -ETIMEDOUT)
		return plugin_fail(PLUGIN_NOT_MINE, "`ctr task ls` has not answered yet");
	if (r < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return 0;
	cJSON_ArrayForEach (container, json_at(plan, "containers")) {
		const char *id = json_string(container, "id");
		const char *bundle = json_string(container, "bundle");
		_cleanup_free_ char *copy = strdup(text);
		const char *state = copy && id ? listed_state(copy, id) : NULL;

		if (!copy)
			return -ENOMEM;
		if (state && !streq(state, "STOPPED") &&
		    !(bundle && is_served_anew(call->host, bundle)))
			return plugin_fail(PLUGIN_NOT_MINE, "the runtime still lists %s as %s", id,
					   state);
	}
	*ret_how = " and `ctr task ls` no longer lists what it served";
	return 0;
}

/* What of the containers is still alive; no zombies. */
size_t aftermath_count_survivors(const struct host *host, const cJSON *groups)
{
	_cleanup_free_ struct process *all = NULL;
	size_t count, left = 0;

	if (cJSON_GetArraySize(groups) == 0 || process_list(host, &all, &count) < 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		_cleanup_free_ char *path = all[i].state == 'Z' || all[i].kernel_thread
						    ? NULL
						    : process_cgroup(host, all[i].pid);

		left += path && aftermath_list_has(groups, path);
	}
	return left;
}
