/* SPDX-License-Identifier: Apache-2.0 */
/* Whose container it is, for a worker that may read the disk; and how it is named to a person. */
#include "builtin_fixture.h"

#include "plugin/subject.h"

#define ID "3f4e8c1b2a7d9e0f1c2b3a495867d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9"
#define UID "8a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
#define POD_GROUP "/kubepods/burstable/pod" UID

#define SPEC(spec)                                                           \
	"{\"apiVersion\":\"lifeboat.dev/v1alpha1\",\"kind\":\"Abnormal\","   \
	"\"metadata\":{\"name\":\"x\",\"namespace\":\"default\"},\"spec\":{" \
	"\"source\":" spec "}}"
#define EVENT(container)                                                                                                     \
	SPEC("\"KernelEvent\",\"kernelEvent\":{\"detector\":\"oom\",\"type\":\"OOMKill\",\"time\":\"2026-11-23T18:00:00Z\"," \
	     "\"container\":{" container "}}")
#define CUSTOM(context) SPEC("\"Custom\",\"context\":{" context "}")

static void lay_docker(struct plugin_fixture *fixture)
{
	fake_file(&fixture->root, "var/lib/docker/containers/" ID "/config.v2.json",
		  "{\"Name\":\"/shop_db\",\"Config\":{\"Image\":\"mysql:8\"}}");
}

static void collect(struct plugin_fixture *fixture, const char *text, int expected)
{
	fixture_call(fixture, PLUGIN_COLLECTOR, "container", text);
	assert_int_equal(fixture->call.plugin->collect(&fixture->call), expected);
}

static void expect(struct plugin_fixture *fixture, const char *field, const char *value)
{
	const char *is = cJSON_GetStringValue(fixture_context(fixture, field));

	if (!streq_ptr(is, value))
		fail_msg("%s is %s and should be %s", field, is ? is : "(none)", value);
}

static void expect_text(struct plugin_fixture *fixture, const char *path, const char *expected)
{
	char text[SUBJECT_TEXT_SIZE];

	assert_string_equal(subject_container_text(fixture->abnormal, path, text), expected);
}

static void the_name_that_docker_gave_is_added(void **state)
{
	struct plugin_fixture *fixture = *state;

	lay_docker(fixture);
	collect(fixture, EVENT("\"id\":\"" ID "\",\"cgroupPath\":\"/docker/" ID "\""),
		PLUGIN_RECOGNISED);
	expect(fixture, "name", "shop_db");
	expect(fixture, "image", "mysql:8");
	expect(fixture, "runtime", "docker");
	expect_text(fixture, "/docker/" ID, "container shop_db (docker)");
	expect_text(fixture, NULL, "container shop_db (docker)");
}

static void a_custom_abnormal_names_it_by_its_id(void **state)
{
	struct plugin_fixture *fixture = *state;

	lay_docker(fixture);
	collect(fixture, CUSTOM("\"container\":\"" ID "\""), PLUGIN_RECOGNISED);
	expect(fixture, "name", "shop_db");
	collect(fixture, CUSTOM("\"container\":{\"id\":\"" ID "\"}"), PLUGIN_RECOGNISED);
	expect(fixture, "name", "shop_db");
}

static void a_group_of_somebodys_own_leads_to_it(void **state)
{
	struct plugin_fixture *fixture = *state;

	fake_file(&fixture->root,
		  "run/containerd/io.containerd.runtime.v2.task/batch/job-7/config.json",
		  "{\"ociVersion\":\"1.1.0\",\"linux\":{\"cgroupsPath\":\"/batch/job-7\"}}");
	collect(fixture, EVENT("\"cgroupPath\":\"/batch/job-7\""), PLUGIN_RECOGNISED);
	expect(fixture, "id", "job-7");
	expect(fixture, "runtime", "containerd");
	expect_text(fixture, "/batch/job-7", "container job-7 (containerd)");
}

static void what_is_no_container_is_not_its_business(void **state)
{
	struct plugin_fixture *fixture = *state;

	collect(fixture, EVENT("\"cgroupPath\":\"/system.slice/ssh.service\""), PLUGIN_NOT_MINE);
	collect(fixture, EVENT("\"id\":\"" ID "\""), PLUGIN_NOT_MINE);
	collect(fixture, CUSTOM("\"ticket\":7"), PLUGIN_NOT_MINE);
	collect(fixture, CUSTOM("\"container\":\"../../etc\""), PLUGIN_NOT_MINE);
	assert_null(plugin_context_of(&fixture->call, "container"));
}

static void expect_asked(struct plugin_fixture *fixture, const char *text, bool expected)
{
	fixture_call(fixture, PLUGIN_COLLECTOR, "container", text);
	if (fixture->call.plugin->wants(fixture->abnormal) != expected)
		fail_msg("%s should %sbe asked about", text, expected ? "" : "not ");
}

static void it_is_asked_only_where_a_container_may_be_found(void **state)
{
	struct plugin_fixture *fixture = *state;

	expect_asked(fixture, CUSTOM("\"ticket\":7"), false);
	expect_asked(fixture, CUSTOM("\"container\":{\"image\":\"mysql:8\"}"), false);
	expect_asked(fixture, CUSTOM("\"container\":\"" ID "\""), true);
	expect_asked(fixture, CUSTOM("\"container\":{\"id\":\"" ID "\"}"), true);
	expect_asked(fixture, CUSTOM("\"pid\":4711"), true);
	expect_asked(fixture, EVENT("\"id\":\"" ID "\""), true);
	expect_asked(fixture, EVENT("\"cgroupPath\":\"/batch/job-7\""), true);
	expect_asked(fixture, EVENT(""), false);
}

static void a_group_above_the_container_does_not_have_its_name(void **state)
{
	struct plugin_fixture *fixture = *state;

	fixture_call(fixture, PLUGIN_COLLECTOR, "container",
		     EVENT("\"id\":\"" ID "\",\"pod\":\"cart-1\",\"podUid\":\"" UID
			   "\",\"namespace\":\"shop\",\"name\":\"web\",\"cgroupPath\":\"" POD_GROUP
			   "/" ID "\""));
	expect_text(fixture, POD_GROUP "/" ID, "container web of pod shop/cart-1");
	expect_text(fixture, POD_GROUP "/" ID "/init", "container web of pod shop/cart-1");
	expect_text(fixture, POD_GROUP, "pod shop/cart-1");
	expect_text(fixture, "/kubepods/burstable", "control group /kubepods/burstable");
	expect_text(fixture, "/kubepods/pod00000000-4e5f-6071-8293-a4b5c6d7e8f9",
		    "pod 00000000-4e5f-6071-8293-a4b5c6d7e8f9");
}

static void a_sandbox_is_called_so(void **state)
{
	struct plugin_fixture *fixture = *state;

	fixture_call(fixture, PLUGIN_COLLECTOR, "container",
		     EVENT("\"id\":\"" ID "\",\"pod\":\"cart-1\",\"namespace\":\"shop\","
			   "\"sandbox\":true"));
	expect_text(fixture, NULL, "the sandbox of pod shop/cart-1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLUGIN_TEST(the_name_that_docker_gave_is_added),
		PLUGIN_TEST(a_custom_abnormal_names_it_by_its_id),
		PLUGIN_TEST(a_group_of_somebodys_own_leads_to_it),
		PLUGIN_TEST(what_is_no_container_is_not_its_business),
		PLUGIN_TEST(it_is_asked_only_where_a_container_may_be_found),
		PLUGIN_TEST(a_group_above_the_container_does_not_have_its_name),
		PLUGIN_TEST(a_sandbox_is_called_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
