/* SPDX-License-Identifier: Apache-2.0 */
/* A stalled shim as spec.kernelEvent; docs/detectors.md lists the members of `details`. */
#include "detect/shim_stall.h"

#include <inttypes.h>

#include "base/plain.h"

#define CHILDREN_TOLD_MAX 16
#define CONTAINERS_TOLD_MAX 32
#define INITS_TOLD_MAX 16

/* In the order in which the first that holds is the principal one. */
static const struct {
	enum stall_finding finding;
	const char *type, *name;
} kinds[] = {
	{STALL_STOPPED, "ShimStopped", "stopped"},
	{STALL_UNRESPONSIVE, "ShimUnresponsive", "unresponsive"},
	{STALL_INIT_HELD, "ContainerInitHeld", "init-held"},
	{STALL_UNREAPED, "ShimUnreapedChild", "unreaped-child"},
};

const char *stall_type(uint32_t findings)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (findings & kinds[i].finding)
			return kinds[i].type;
	return "Cleared";
}

char *stall_subject(const struct stalled_shim *stalled)
{
	const struct shim *shim = stall_shim(stalled);
	const char *namespace = shim && shim->namespace ? shim->namespace : "";
	const char *id = shim && shim->id ? shim->id : "";
	char *text;

	if (asprintf(&text, "shim %" PRIu32 "%s%s%s%s", stalled->seen.task.tgid, *id ? " of " : "",
		     *id ? namespace : "", *id && *namespace ? "/" : "", id) < 0)
		return NULL;
	plain_copy(text, text, strlen(text));
	return text;
}

static int set_seconds(cJSON *json, const char *name, uint64_t ns)
{
	return json_set_number(json, name, (double)(ns / NS_PER_MS) / 1000);
}

static uint64_t age(uint64_t since_ns, uint64_t now_ns)
{
	return since_ns ? now_ns - MIN(now_ns, since_ns) : 0;
}

static int set_comm(cJSON *json, const char *comm)
{
	_cleanup_free_ char *clean = event_text(comm, EVENT_COMM_SIZE);

	return clean ? json_set_string(json, "comm", clean) : -ENOMEM;
}

static int set_state(cJSON *json, char state)
{
	return json_set_string(json, "state", (char[]){state, '\0'});
}

/* Hands VALUE over to LIST. */
static int append(cJSON *list, cJSON *value)
{
	if (value && cJSON_AddItemToArray(list, value))
		return 0;
	cJSON_Delete(value);
	return -ENOMEM;
}

/* What is known of the shim where nothing could be read of it. */
static cJSON *seen_json(const struct event_task *task)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (!json || json_set_number(json, "pid", task->tgid) < 0 ||
	    json_set_number(json, "startTime", (double)event_start_time(task->start_boot_ns)) < 0 ||
	    set_comm(json, task->comm) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static int set_findings(cJSON *details, uint32_t findings)
{
	_cleanup_json_ cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; list && i < ARRAY_SIZE(kinds); i++)
		if (findings & kinds[i].finding &&
		    append(list, cJSON_CreateString(kinds[i].name)) < 0)
			return -ENOMEM;
	return list ? json_set(details, "findings", TAKE_PTR(list)) : -ENOMEM;
}

/* --- Zombies --- */

static int compare_zombies(const void *a, const void *b)
{
	const struct stall_child *left = *(const struct stall_child *const *)a,
				 *right = *(const struct stall_child *const *)b;

	if (left->zombie_ns != right->zombie_ns)
		return left->zombie_ns < right->zombie_ns ? -1 : 1;
	return (left->seen.pid > right->seen.pid) - (left->seen.pid < right->seen.pid);
}

static cJSON *zombie_json(const struct stall_child *child, uint64_t now_ns)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (!json || json_set_number(json, "pid", child->seen.pid) < 0 ||
	    json_set_number(json, "startTime",
			    (double)event_start_time(child->seen.start_boot_ns)) < 0 ||
	    set_comm(json, child->seen.comm) < 0 ||
	    set_seconds(json, "seconds", age(child->zombie_ns, now_ns)) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static int set_unreaped(cJSON *details, const struct stalled_shim *shim, uint64_t now_ns)
{
	_cleanup_free_ const struct stall_child **zombies =
		calloc(shim->child_count + 1, sizeof(const struct stall_child *));
	_cleanup_json_ cJSON *json = cJSON_CreateObject(), *list = cJSON_CreateArray();
	size_t count = 0;

	if (!zombies || !json || !list)
		return -ENOMEM;
	for (size_t i = 0; i < shim->child_count; i++)
		if (shim->children[i].zombie_ns)
			zombies[count++] = &shim->children[i];
	if (!count)
		return 0;
	qsort(zombies, count, sizeof(*zombies), compare_zombies);
	for (size_t i = 0; i < MIN(count, (size_t)CHILDREN_TOLD_MAX); i++)
		if (append(list, zombie_json(zombies[i], now_ns)) < 0)
			return -ENOMEM;
	if (json_set_number(json, "count", (double)count) < 0 ||
	    json_set(json, "children", TAKE_PTR(list)) < 0)
		return -ENOMEM;
	return json_set(details, "unreaped", TAKE_PTR(json));
}

/* --- Stopped --- */

static int set_stopped(cJSON *details, const struct stalled_shim *shim, uint64_t now_ns)
{
	_cleanup_json_ cJSON *json = NULL, *tracer = NULL;

	if (!shim->stopped_ns)
		return 0;
	json = cJSON_CreateObject();
	if (!json || set_seconds(json, "seconds", age(shim->stopped_ns, now_ns)) < 0)
		return -ENOMEM;
	if (shim->seen.tracer_pid) {
		tracer = cJSON_CreateObject();
		if (!tracer || json_set_number(tracer, "pid", (double)shim->seen.tracer_pid) < 0 ||
		    set_comm(tracer, shim->seen.tracer_comm) < 0 ||
		    json_set(json, "tracer", TAKE_PTR(tracer)) < 0)
			return -ENOMEM;
	}
	return json_set(details, "stopped", TAKE_PTR(json));
}

/* --- Dying inits --- */

static cJSON *holder_json(const struct seen_task *holder)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();

	if (!json || json_set_number(json, "pid", holder->pid) < 0 ||
	    set_state(json, holder->state) < 0 || set_comm(json, holder->comm) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static cJSON *init_json(const struct detector_run *run, const struct stalled_shim *shim,
			const struct stall_child *init, uint64_t now_ns)
{
	const struct stall_common *common = run->state;
	const struct seen_task *seen[SHIM_HOLDERS_MAX];
	size_t seen_count = stall_holders(common->look, init, seen);
	const struct shim_container *container = stall_container_of_init(shim, init->seen.pid);
	_cleanup_json_ cJSON *json = cJSON_CreateObject(), *holders = cJSON_CreateArray();

	if (!json || !holders || json_set_number(json, "pid", init->seen.pid) < 0 ||
	    json_set_number(json, "startTime", (double)event_start_time(init->seen.start_boot_ns)) <
		    0 ||
	    set_comm(json, init->seen.comm) < 0 || set_state(json, init->seen.state) < 0 ||
	    json_set_string(json, "container", container ? container->id : NULL) < 0 ||
	    set_seconds(json, "seconds", age(init->dying_ns, now_ns)) < 0 ||
	    json_set_number(json, "remaining", init->seen.remaining) < 0 ||
	    json_set_string(json, "heldBy", held_by_names[init->held_by]) < 0)
		return NULL;
	for (size_t i = 0; i < seen_count; i++)
		if (append(holders, holder_json(seen[i])) < 0)
			return NULL;
	return json_set(json, "holders", TAKE_PTR(holders)) < 0 ? NULL : TAKE_PTR(json);
}

static int set_inits(const struct detector_run *run, cJSON *details,
		     const struct stalled_shim *shim, uint64_t threshold_ns, uint64_t now_ns)
{
	_cleanup_json_ cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; list && i < shim->child_count; i++) {
		const struct stall_child *child = &shim->children[i];

		if (!child->dying_ns || age(child->dying_ns, now_ns) < threshold_ns ||
		    cJSON_GetArraySize(list) >= INITS_TOLD_MAX)
			continue;
		if (append(list, init_json(run, shim, child, now_ns)) < 0)
			return -ENOMEM;
	}
	if (!list || !list->child)
		return list ? 0 : -ENOMEM;
	return json_set(details, "initHeld", TAKE_PTR(list));
}

/* --- The question --- */

static int set_request(cJSON *details, const struct stalled_shim *shim, uint64_t now_ns)
{
	_cleanup_json_ cJSON *json = NULL;

	if (!shim->asked_ns || shim->outcome == ASK_NONE)
		return 0;
	json = cJSON_CreateObject();
	if (!json || json_set_string(json, "protocol", "ttrpc") < 0 ||
	    json_set_string(json, "method", "State") < 0 ||
	    json_set_string(json, "container", stall_asked(shim)) < 0 ||
	    set_seconds(json, "seconds", age(shim->asked_ns, now_ns)) < 0 ||
	    json_set_string(json, "outcome", ask_outcome_names[shim->outcome]) < 0)
		return -ENOMEM;
	return json_set(details, "request", TAKE_PTR(json));
}

/* --- Containers --- */

static int set_init(cJSON *json, const struct process *init)
{
	_cleanup_json_ cJSON *value = NULL;

	if (!init->pid)
		return 0;
	value = cJSON_CreateObject();
	if (!value || json_set_number(value, "pid", (double)init->pid) < 0 ||
	    json_set_number(value, "startTime", (double)init->start_time) < 0 ||
	    set_state(value, init->state) < 0)
		return -ENOMEM;
	return json_set(json, "init", TAKE_PTR(value));
}

static cJSON *container_json(const struct detector_run *run, const struct shim_container *container)
{
	_cleanup_json_ cJSON *json = stall_container_json(run, container);

	if (!json || json_set_bool(json, "sandbox", json_bool(json, "sandbox", false)) < 0 ||
	    set_init(json, &container->init) < 0 ||
	    json_set_number(json, "processes", (double)container->processes) < 0)
		return NULL;
	return TAKE_PTR(json);
}

static int set_containers(struct detector_run *run, cJSON *details, struct stalled_shim *shim)
{
	size_t count;
	const struct shim_container *containers = stall_containers(run, shim, true, &count);
	_cleanup_json_ cJSON *list = cJSON_CreateArray();

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < MIN(count, (size_t)CONTAINERS_TOLD_MAX); i++)
		if (append(list, container_json(run, &containers[i])) < 0)
			return -ENOMEM;
	if (json_set(details, "containers", TAKE_PTR(list)) < 0)
		return -ENOMEM;
	return json_set_number(details, "containerCount", (double)count);
}

/* --- The whole --- */

static cJSON *details_json(struct detector_run *run, struct stalled_shim *stalled,
			   uint64_t threshold_ns, uint64_t now_ns)
{
	const struct shim *shim = stall_shim(stalled);
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	uint64_t longest = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (stalled->findings & kinds[i].finding)
			longest = MAX(longest, stalled_shim_age(stalled, kinds[i].finding, now_ns));
	/* Containers first: they are read anew, and an init's container is looked for among them. */
	if (!json ||
	    json_set(json, "shim", shim ? shim_json(shim) : seen_json(&stalled->seen.task)) < 0 ||
	    set_findings(json, stalled->findings) < 0 ||
	    set_seconds(json, "thresholdSeconds", threshold_ns) < 0 ||
	    set_seconds(json, "longestSeconds", longest) < 0 ||
	    set_containers(run, json, stalled) < 0 || set_unreaped(json, stalled, now_ns) < 0 ||
	    set_stopped(json, stalled, now_ns) < 0 ||
	    set_inits(run, json, stalled, threshold_ns, now_ns) < 0 ||
	    set_request(json, stalled, now_ns) < 0)
		return NULL;
	return TAKE_PTR(json);
}

cJSON *stall_event(struct detector_run *run, struct stalled_shim *stalled, bool cleared,
		   uint64_t threshold_ns, uint64_t now_ns)
{
	const char *type = cleared ? "Cleared" : stall_type(stalled->findings);
	_cleanup_json_ cJSON *event = event_json(run, type, clock_boot(run->clock), 0);

	if (!event || json_set(event, "process", event_task_json(&stalled->seen.task)) < 0 ||
	    json_set(event, "details", details_json(run, stalled, threshold_ns, now_ns)) < 0)
		return NULL;
	/* After the details, for which the containers were read anew. */
	const struct shim_container *concerned = stall_concerned(stalled);
	if (concerned && json_set(event, "container", stall_container_json(run, concerned)) < 0)
		return NULL;
	return TAKE_PTR(event);
}
