/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restart-unit against a process that answers on a system bus socket as bus and systemd do, so that
 * a restart is seen from both sides on a machine without systemd.
 */
#include "builtin_fixture.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-id128.h>

/* What the service is, shared with the process that plays systemd. */
struct service {
	char active_state[32], invocation;
	uint32_t main_pid;
	unsigned restarts;
};

struct bus {
	struct plugin_fixture *fixture;
	struct service *service;
	int listener;
	pid_t server;
};

static int answer_property(struct service *service, sd_bus_message *message)
{
	const char *interface, *property;
	sd_bus_message *reply = NULL;
	char invocation[16];

	memset(invocation, service->invocation, sizeof(invocation));
	if (sd_bus_message_read(message, "ss", &interface, &property) < 0 ||
	    sd_bus_message_new_method_return(message, &reply) < 0)
		return -EIO;
	if (streq(property, "ActiveState"))
		sd_bus_message_append(reply, "v", "s", service->active_state);
	else if (streq(property, "MainPID"))
		sd_bus_message_append(reply, "v", "u", service->main_pid);
	else if (sd_bus_message_open_container(reply, 'v', "ay") >= 0) {
		sd_bus_message_append_array(reply, 'y', invocation, sizeof(invocation));
		sd_bus_message_close_container(reply);
	}
	int r = sd_bus_send(NULL, reply, NULL);
	sd_bus_message_unref(reply);
	return r < 0 ? r : 1;
}

static int answer(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct service *service = userdata;
	const char *member = sd_bus_message_get_member(message);

	if (!member)
		return 0;
	if (streq(member, "Hello"))
		return sd_bus_reply_method_return(message, "s", ":1.1");
	if (streq(member, "LoadUnit"))
		return sd_bus_reply_method_return(message, "o",
						  "/org/freedesktop/systemd1/unit/web");
	if (streq(member, "Get"))
		return answer_property(service, message);
	if (streq(member, "RestartUnit")) {
		service->restarts++;
		service->invocation++;
		service->main_pid = 4242;
		snprintf(service->active_state, sizeof(service->active_state), "active");
		return sd_bus_reply_method_return(message, "o", "/org/freedesktop/systemd1/job/1");
	}
	return 0;
}

static _Noreturn void serve(const struct bus *bus)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		sd_bus *connection = NULL;
		sd_id128_t id = SD_ID128_MAKE(01, 02, 03, 04, 05, 06, 07, 08, 09, 0a, 0b, 0c, 0d,
					      0e, 0f, 10);
		int fd = accept4(bus->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 || sd_bus_new(&connection) < 0 ||
		    sd_bus_set_fd(connection, fd, fd) < 0 ||
		    sd_bus_set_server(connection, true, id) < 0 ||
		    sd_bus_set_anonymous(connection, true) < 0 ||
		    sd_bus_set_trusted(connection, true) < 0 ||
		    sd_bus_add_filter(connection, NULL, answer, bus->service) < 0 ||
		    sd_bus_start(connection) < 0)
			_exit(1);
		for (int r = 0; r >= 0;) {
			r = sd_bus_process(connection, NULL);
			if (r == 0)
				r = sd_bus_wait(connection, UINT64_MAX);
		}
		sd_bus_unref(connection);
	}
}

static int setup(void **state)
{
	struct bus *bus = calloc(1, sizeof(*bus));
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	void *fixture;

	plugin_fixture_setup(&fixture);
	bus->fixture = fixture;
	bus->service = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	snprintf(bus->service->active_state, sizeof(bus->service->active_state), "failed");
	fake_folder(&bus->fixture->root, "run/dbus");
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/run/dbus/system_bus_socket",
		 bus->fixture->root.path);
	bus->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(bus->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(bus->listener, 8), 0);
	bus->server = fork();
	if (bus->server == 0)
		serve(bus);
	*state = bus;
	return 0;
}

static int teardown(void **state)
{
	struct bus *bus = *state;
	void *fixture = bus->fixture;

	kill(bus->server, SIGKILL);
	waitpid(bus->server, NULL, 0);
	close(bus->listener);
	munmap(bus->service, 4096);
	free(bus);
	return plugin_fixture_teardown(&fixture);
}

/*
 * Plans for the victim of an OOM kill in the group PATH, with the settings' `units` being PATTERN.
 */
static int plan(struct bus *bus, const char *path, const char *pattern, void **ret_settings)
{
	const struct schema *schema = plugin_builtin(PLUGIN_RECOVERER, "restart-unit")->settings;
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ cJSON *json = cJSON_CreateObject(), *units = cJSON_CreateArray();
	struct problem problem;

	if (pattern)
		cJSON_AddItemToArray(units, cJSON_CreateString(pattern));
	assert_int_equal(json_set(json, "units", TAKE_PTR(units)), 0);
	assert_int_equal(schema_decode(schema, json, ret_settings, &problem), 0);
	assert_true(asprintf(&text,
			     "{\"apiVersion\":\"lifeboat.dev/"
			     "v1alpha1\",\"kind\":\"Abnormal\",\"metadata\":{"
			     "\"name\":\"a\",\"namespace\":\"default\"},\"spec\":{\"source\":"
			     "\"KernelEvent\","
			     "\"kernelEvent\":{\"detector\":\"oom\",\"type\":\"OOMKill\",\"time\":"
			     "\"2026-11-23T18:00:00Z\",\"container\":{\"cgroupPath\":\"%s\"},"
			     "\"details\":{}}},"
			     "\"status\":{\"reason\":\"ContainerOutOfMemory\"}}",
			     path) > 0);
	fixture_call(bus->fixture, PLUGIN_RECOVERER, "restart-unit", text);
	bus->fixture->call.settings = *ret_settings;
	return bus->fixture->call.plugin->plan(&bus->fixture->call);
}

static int plan_alone(struct bus *bus, const char *path, const char *pattern)
{
	void *settings;
	int r = plan(bus, path, pattern, &settings);

	schema_free(plugin_builtin(PLUGIN_RECOVERER, "restart-unit")->settings, settings);
	return r;
}

static void a_listed_service_left_dead_is_restarted_and_proven(void **state)
{
	struct bus *bus = *state;
	struct plugin_call *call = &bus->fixture->call;
	void *settings;

	assert_int_equal(plan(bus, "/system.slice/web.service", "web*", &settings),
			 PLUGIN_RECOGNISED);
	assert_string_equal(fixture_context(bus->fixture, "target")->valuestring,
			    "systemd unit web.service");
	assert_int_equal(call->plugin->verify(call), PLUGIN_NOT_MINE);
	assert_int_equal(call->plugin->recover(call), PLUGIN_RECOGNISED);
	fixture_expect_message(bus->fixture,
			       "asked systemd to restart web.service, which was failed");
	assert_int_equal(bus->service->restarts, 1);
	assert_int_equal(call->plugin->verify(call), PLUGIN_RECOGNISED);
	fixture_expect_message(bus->fixture, "web.service is active again (main pid 4242)");
	/* It is another run now: what was planned for the old one is not done to it. */
	assert_int_equal(call->plugin->recover(call), PLUGIN_NOT_MINE);
	assert_int_equal(bus->service->restarts, 1);
	schema_free(call->plugin->settings, settings);
}

static void a_service_that_runs_again_is_left_alone(void **state)
{
	struct bus *bus = *state;

	snprintf(bus->service->active_state, sizeof(bus->service->active_state), "active");
	assert_int_equal(plan_alone(bus, "/system.slice/web.service", "*"), PLUGIN_NOT_MINE);
}

static void what_somebody_stopped_is_not_started(void **state)
{
	struct bus *bus = *state;
	struct plugin_call *call = &bus->fixture->call;
	void *settings;

	snprintf(bus->service->active_state, sizeof(bus->service->active_state), "inactive");
	assert_int_equal(plan_alone(bus, "/system.slice/web.service", "*"), PLUGIN_NOT_MINE);
	snprintf(bus->service->active_state, sizeof(bus->service->active_state), "failed");
	assert_int_equal(plan(bus, "/system.slice/web.service", "*", &settings), PLUGIN_RECOGNISED);
	snprintf(bus->service->active_state, sizeof(bus->service->active_state), "inactive");
	assert_int_equal(call->plugin->recover(call), PLUGIN_NOT_MINE);
	assert_int_equal(bus->service->restarts, 0);
	schema_free(call->plugin->settings, settings);
}

/* Whoever has a group to himself names what is in it; the node's units are others. */
static void a_name_inside_of_a_group_of_others_is_no_unit_of_the_node(void **state)
{
	static const char *const paths[] = {
		"/lxc.payload.guest/system.slice/web.service",
		"/machine.slice/machine-guest.scope/payload/system.slice/web.service",
		"/custom-runtime/3f4e/system.slice/web.service",
		"/user.slice/user-1000.slice/session-3.scope/web.service",
		"/../../system.slice/web.service",
		"/.slice/web.service",
		"/system.slice/.service"};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		assert_int_equal(plan_alone(*state, paths[i], "*"), PLUGIN_NOT_MINE);
	assert_int_equal(plan_alone(*state, "/a.slice/a-b.slice/web.service/below/x.service", "*"),
			 PLUGIN_RECOGNISED);
}

static void only_listed_services_are_restarted(void **state)
{
	assert_int_equal(plan_alone(*state, "/system.slice/web.service", NULL), PLUGIN_NOT_MINE);
	assert_int_equal(plan_alone(*state, "/system.slice/web.service", "db*"), PLUGIN_NOT_MINE);
}

static void what_the_node_stands_on_is_never_restarted(void **state)
{
	static const char *const paths[] = {
		"/system.slice/dbus.service",
		"/system.slice/systemd-journald.service",
		"/system.slice/ssh.service",
		"/system.slice/containerd.service",
		"/system.slice/kubelet.service",
		"/system.slice/lifeboat.service",
		"/user.slice/user-1000.slice/user@1000.service/app.slice/web.service",
		"/user.slice/user-1000.slice/session-3.scope",
		"/system.slice/web.service/"
		"libpod-payload-3f4e8c1b2a7d9e0f1c2b3a495867d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9",
		"/"};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		assert_int_equal(plan_alone(*state, paths[i], "*"), PLUGIN_NOT_MINE);
}

static void a_node_without_systemd_is_told(void **state)
{
	struct bus *bus = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s/run/dbus/system_bus_socket", bus->fixture->root.path);
	unlink(path);
	assert_int_equal(plan_alone(bus, "/system.slice/web.service", "*"), PLUGIN_NOT_MINE);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_listed_service_left_dead_is_restarted_and_proven),
		TEST(a_service_that_runs_again_is_left_alone),
		TEST(what_somebody_stopped_is_not_started),
		TEST(a_name_inside_of_a_group_of_others_is_no_unit_of_the_node),
		TEST(only_listed_services_are_restarted),
		TEST(what_the_node_stands_on_is_never_restarted),
		TEST(a_node_without_systemd_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
