/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recoverer restart-unit: asks systemd to restart the service that the process belongs to, when
 * that is a service the operator listed (`units`, shell patterns; none by default), it hangs in a
 * wait that SIGKILL ends, or an OOM kill left it not running. What holds the node together is never
 * restarted, whatever the list says.
 */
#include <fnmatch.h>
#include <inttypes.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-id128.h>

#include "plugin/subject.h"
#include "host/container.h"

#define UNIT_NAME_SIZE 256 /* UNIT_NAME_MAX of systemd and a NUL */
#define CALL_TIMEOUT_US (8 * 1000000ULL) /* below the time limit of a plug-in's call */

struct settings {
	struct strings units;
};

static const struct field settings_fields[] = {
	SCHEMA_FIELD(struct settings, units, "units", FIELD_STRINGS, .maximum = 256),
};
static const struct schema settings_schema =
	SCHEMA("restart-unit", struct settings, settings_fields, .extra_offset = SCHEMA_STRICT);

/* Restarting one of these ends what it carries: sessions, containers, the bus, this agent. */
static const char *const never[] = {"init.service",
				    "dbus*.service",
				    "systemd-*.service",
				    "user@*.service",
				    "user-runtime-dir@*.service",
				    "ssh.service",
				    "sshd*.service",
				    "containerd*.service",
				    "docker*.service",
				    "crio*.service",
				    "cri-o*.service",
				    "podman*.service",
				    "kubelet*.service",
				    "k3s*.service",
				    "rke2*.service",
				    "k0s*.service",
				    "lifeboat*.service",
				    "*getty@*.service",
				    "libvirtd*.service",
				    "virtqemud*.service"};

static void bus_closep(sd_bus **bus)
{
	sd_bus_flush_close_unref(*bus);
}
#define _cleanup_bus_ _cleanup_(bus_closep)

struct unit {
	char name[UNIT_NAME_SIZE];
	char *active_state, *object_path;
	uint32_t main_pid;
	char invocation[SD_ID128_STRING_MAX]; /* another after each start */
};

static void unit_clear(struct unit *unit)
{
	free(unit->active_state);
	free(unit->object_path);
}

static int bus_open(const struct plugin_call *call, sd_bus **ret_bus)
{
	_cleanup_bus_ sd_bus *bus = NULL;
	_cleanup_free_ char *address = NULL;

	if (!*call->host->root) {
		int r = sd_bus_open_system(ret_bus);

		if (r >= 0)
			sd_bus_set_method_call_timeout(*ret_bus, CALL_TIMEOUT_US);
		return MIN(r, 0);
	}
	/* The bus of the host that the agent's container looks at. */
	if (asprintf(&address, "unix:path=%s/run/dbus/system_bus_socket", call->host->root) < 0) {
		address = NULL;
		return -ENOMEM;
	}
	int r = sd_bus_new(&bus);
	if (r >= 0)
		r = sd_bus_set_address(bus, address);
	if (r >= 0)
		r = sd_bus_set_bus_client(bus, true);
	if (r >= 0)
		r = sd_bus_set_method_call_timeout(bus, CALL_TIMEOUT_US);
	if (r >= 0)
		r = sd_bus_start(bus);
	if (r < 0)
		return r;
	*ret_bus = TAKE_PTR(bus);
	return 0;
}

static int read_invocation(sd_bus *bus, struct unit *unit, sd_bus_error *error)
{
	sd_bus_message *reply = NULL;
	const void *bytes;
	size_t size = 0;
	int r = sd_bus_get_property(bus, "org.freedesktop.systemd1", unit->object_path,
				    "org.freedesktop.systemd1.Unit", "InvocationID", error, &reply,
				    "ay");

	if (r >= 0)
		r = sd_bus_message_read_array(reply, 'y', &bytes, &size);
	if (r >= 0 && size == sizeof(sd_id128_t)) { /* empty when it was never started */
		sd_id128_t id;

		memcpy(&id, bytes, sizeof(id));
		sd_id128_to_string(id, unit->invocation);
	}
	sd_bus_message_unref(reply);
	return MIN(r, 0);
}

/* The state of unit->name. On error WHY has the bus's words. */
static int unit_read(sd_bus *bus, struct unit *unit, char *why, size_t why_size)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *reply = NULL;
	const char *path;
	int r = sd_bus_call_method(bus, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
				   "org.freedesktop.systemd1.Manager", "LoadUnit", &error, &reply,
				   "s", unit->name);

	if (r >= 0)
		r = sd_bus_message_read(reply, "o", &path);
	if (r >= 0) {
		unit->object_path = strdup(path);
		r = unit->object_path ? 0 : -ENOMEM;
	}
	if (r >= 0)
		r = sd_bus_get_property_string(bus, "org.freedesktop.systemd1", unit->object_path,
					       "org.freedesktop.systemd1.Unit", "ActiveState",
					       &error, &unit->active_state);
	if (r >= 0)
		r = sd_bus_get_property_trivial(bus, "org.freedesktop.systemd1", unit->object_path,
						"org.freedesktop.systemd1.Service", "MainPID",
						&error, 'u', &unit->main_pid);
	if (r >= 0)
		r = read_invocation(bus, unit, &error);
	if (r < 0)
		snprintf(why, why_size, "%s", error.message ? error.message : strerror(-r));
	sd_bus_error_free(&error);
	sd_bus_message_unref(reply);
	return MIN(r, 0);
}

/*
 * The service that the system's manager has at PATH: below slices alone. What follows another kind
 * of group was named by whoever got that group (a container with a systemd of its own, a session),
 * and a unit of the node that has the same name is another one.
 */
static bool unit_of_cgroup(const char *path, char name[UNIT_NAME_SIZE])
{
	for (const char *next = path; *next;) {
		size_t length = strcspn(next, "/");

		if (length > strlen(".service") && length < UNIT_NAME_SIZE &&
		    memcmp(next + length - strlen(".service"), ".service", strlen(".service")) ==
			    0) {
			memcpy(name, next, length);
			name[length] = '\0';
			return true;
		}
		if (length > 0 &&
		    (length <= strlen(".slice") ||
		     memcmp(next + length - strlen(".slice"), ".slice", strlen(".slice")) != 0))
			return false;
		next += length + (next[length] == '/');
	}
	return false;
}

static bool matches(const char *const *patterns, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (fnmatch(patterns[i], name, 0) == 0)
			return true;
	return false;
}

static bool is_oom(const struct plugin_call *call)
{
	const char *reason = call->abnormal->status.reason;

	return streq_ptr(reason, "ContainerOutOfMemory") || streq_ptr(reason, "NodeOutOfMemory");
}

static bool is_hang(const struct plugin_call *call)
{
	static const char *const reasons[] = {"FilesystemFrozen", "BlockedOnIO", "BlockedOnLock",
					      "BlockedOnNFS"};

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		if (streq_ptr(call->abnormal->status.reason, reasons[i]))
			return true;
	return false;
}

/*
 * The group that the process is, or was, in: of a victim, where it died; of a hung one, where it
 * is.
 */
static char *process_group(const struct plugin_call *call)
{
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	struct process process;

	if (subject_process_read(call, &process) == 0)
		return process_cgroup(call->host, process.pid);
	if (event && event->container && event->container->cgroup_path)
		return strdup(event->container->cgroup_path);
	const char *limit = json_string(json_at(plugin_details(call), "limitCgroup"), "path");
	return limit ? strdup(limit) : NULL;
}

/* Which unit it is about, and whether the operator and we allow it to be restarted. */
static int choose_unit(struct plugin_call *call, char name[UNIT_NAME_SIZE])
{
	const struct settings *settings = call->settings;
	_cleanup_free_ char *path = process_group(call);
	struct container container;

	if (!path)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "the control group of the process is not known");
	if (container_from_cgroup(path, &container))
		return plugin_fail(PLUGIN_NOT_MINE,
				   "the process belongs to a container, not to a service");
	if (!unit_of_cgroup(path, name))
		return plugin_fail(PLUGIN_NOT_MINE,
				   "control group %s belongs to no service of systemd", path);
	if (matches(never, ARRAY_SIZE(never), name))
		return plugin_fail(PLUGIN_NOT_MINE, "%s is never restarted: too much depends on it",
				   name);
	if (!settings ||
	    !matches((const char *const *)settings->units.items, settings->units.count, name))
		return plugin_fail(
			PLUGIN_NOT_MINE,
			"%s is not in the list `units` of the settings of recoverer restart-unit",
			name);
	return 0;
}

/*
 * A service that hangs where no signal reaches it cannot be stopped, so restarting only adds a hung
 * stop; and one that does not hang any more needs none.
 */
static int check_hang(const struct plugin_call *call)
{
	struct subject_thread waiters[SUBJECT_WAITERS_MAX];
	size_t count = subject_waiters(call, waiters), left = 0;
	bool hung[SUBJECT_WAITERS_MAX];

	for (size_t i = 0; i < count; i++)
		if (!waiters[i].killable)
			return plugin_fail(PLUGIN_NOT_MINE,
					   "%s (pid %" PRId64
					   ") is in a wait that SIGKILL does not end, so its "
					   "service cannot be stopped",
					   waiters[i].comm, waiters[i].pid);
	if (count == 0)
		return plugin_fail(PLUGIN_NOT_MINE, "the waiting tasks are not named");
	subject_find_hung(call, waiters, count, hung);
	for (size_t i = 0; i < count; i++)
		left += hung[i];
	return left ? 0 : plugin_fail(PLUGIN_NOT_MINE, "none of the waiting tasks hangs any more");
}

/*
 * What an OOM kill ends is "failed" to systemd. "inactive" or on the way there is what somebody
 * stopped, or what ended well: neither is ours to start.
 */
static int check_state(const struct plugin_call *call, const struct unit *unit)
{
	if (is_hang(call) || streq(unit->active_state, "failed"))
		return 0;
	return plugin_fail(PLUGIN_NOT_MINE, "%s is %s: it needs no restart", unit->name,
			   unit->active_state);
}

static int plan(struct plugin_call *call)
{
	_cleanup_(unit_clear) struct unit unit = {0};
	_cleanup_bus_ sd_bus *bus = NULL;
	char target[UNIT_NAME_SIZE + 64], why[256];

	if (!is_oom(call) && !is_hang(call))
		return PLUGIN_NOT_MINE;
	int r = choose_unit(call, unit.name);
	if (r == 0 && is_hang(call))
		r = check_hang(call);
	if (r != 0)
		return r;
	r = bus_open(call, &bus);
	if (r < 0)
		return plugin_fail(PLUGIN_NOT_MINE,
				   "systemd cannot be asked over the system bus: %s; is this node "
				   "run by systemd?",
				   strerror(-r));
	r = unit_read(bus, &unit, why, sizeof(why));
	if (r < 0)
		return plugin_fail(r, "cannot read the state of %s: %s", unit.name, why);
	r = check_state(call, &unit);
	if (r != 0)
		return r;
	_cleanup_json_ cJSON *plan = cJSON_CreateObject();
	snprintf(target, sizeof(target), "systemd unit %s", unit.name);
	if (!plan || json_set_string(plan, "target", target) < 0 ||
	    json_set_string(plan, "unit", unit.name) < 0 ||
	    json_set_string(plan, "activeState", unit.active_state) < 0 ||
	    json_set_number(plan, "mainPID", unit.main_pid) < 0 ||
	    json_set_string(plan, "invocation", unit.invocation) < 0)
		return -ENOMEM;
	return plugin_answer(call, TAKE_PTR(plan));
}

/* The unit of the plan as it is now, and the plan. Failures are told. */
static int planned_unit(const struct plugin_call *call, const cJSON **ret_plan, sd_bus **ret_bus,
			struct unit *unit)
{
	const cJSON *plan = plugin_context_of(call, call->plugin->name);
	const char *name = json_string(plan, "unit");
	char why[256];

	if (!name || strlen(name) >= UNIT_NAME_SIZE)
		return plugin_fail(-EINVAL, "status.context.%s.unit is missing: there is no plan",
				   call->plugin->name);
	memcpy(unit->name, name, strlen(name) + 1);
	int r = bus_open(call, ret_bus);
	if (r < 0)
		return plugin_fail(r, "systemd cannot be asked over the system bus: %s",
				   strerror(-r));
	r = unit_read(*ret_bus, unit, why, sizeof(why));
	if (r < 0)
		return plugin_fail(r, "cannot read the state of %s: %s", unit->name, why);
	*ret_plan = plan;
	return 0;
}

/* True if the unit has not been started anew since the plan. */
static bool is_planned_run(const cJSON *plan, const struct unit *unit)
{
	const char *invocation = json_string(plan, "invocation");

	return streq(unit->invocation, invocation ? invocation : "");
}

static int recover(struct plugin_call *call)
{
	_cleanup_(unit_clear) struct unit unit = {0};
	_cleanup_bus_ sd_bus *bus = NULL;
	sd_bus_error error = SD_BUS_ERROR_NULL;
	const cJSON *plan;
	char why[256];
	int r = planned_unit(call, &plan, &bus, &unit);

	if (r < 0)
		return r;
	if (!is_planned_run(plan, &unit))
		return plugin_fail(PLUGIN_NOT_MINE,
				   "%s has been started again since; nothing was done", unit.name);
	r = is_hang(call) ? check_hang(call) : check_state(call, &unit);
	if (r != 0)
		return r;
	r = sd_bus_call_method(bus, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
			       "org.freedesktop.systemd1.Manager", "RestartUnit", &error, NULL,
			       "ss", unit.name, "replace");
	snprintf(why, sizeof(why), "%s", error.message ? error.message : r < 0 ? strerror(-r) : "");
	sd_bus_error_free(&error);
	if (r < 0)
		return plugin_fail(r, "systemd refused to restart %s: %s", unit.name, why);
	r = subject_report(call, "asked systemd to restart %s, which was %s", unit.name,
			   unit.active_state);
	return r < 0 ? r : PLUGIN_RECOGNISED;
}

static int verify(struct plugin_call *call)
{
	_cleanup_(unit_clear) struct unit unit = {0};
	_cleanup_bus_ sd_bus *bus = NULL;
	const cJSON *plan;
	int r = planned_unit(call, &plan, &bus, &unit);

	if (r < 0)
		return r;
	if (!streq(unit.active_state, "active"))
		return plugin_fail(PLUGIN_NOT_MINE, "%s is %s", unit.name, unit.active_state);
	if (is_planned_run(plan, &unit) ||
	    (unit.main_pid && unit.main_pid == json_u32(plan, "mainPID")))
		return plugin_fail(PLUGIN_NOT_MINE, "%s is still the same run", unit.name);
	r = unit.main_pid ? subject_report(call, "%s is active again (main pid %" PRIu32 ")",
					   unit.name, unit.main_pid)
			  : subject_report(call, "%s is active again", unit.name);
	return r < 0 ? r : PLUGIN_RECOGNISED;
}

PLUGIN(restart_unit_recoverer) = {
	.name = "restart-unit",
	.summary =
		"restarts a listed systemd service that hangs or that an OOM kill left not running",
	.kind = PLUGIN_RECOVERER,
	.order = 30,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.disturbs = DISTURBS_CONTAINER,
	.off_by_default = true,
	.settings = &settings_schema,
	.verify_within_ns = 90 * NS_PER_S, /* systemd's default time for stopping, then the start */
	.timeout_ns = 20 * NS_PER_S,
	.plan = plan,
	.recover = recover,
	.verify = verify,
};
