/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls a built-in's functions directly, on a canned Abnormal and a root of the test's own (or the
 * real one).
 */
#pragma once

#include "../host/fake_root.h"

#include "plugin/run.h"

struct plugin_fixture {
	struct fake_root root;
	struct host *real; /* "/" */
	char artifacts[96];
	struct abnormal *abnormal;
	struct plugin_call call;
};

/* Parses TEXT and readies a call of the built-in; reports its problem when it does not parse. */
__attribute__((unused)) static void fixture_call(struct plugin_fixture *fixture,
						 enum plugin_kind kind, const char *name,
						 const char *text)
{
	struct problem problem = {0};
	const struct plugin *plugin = plugin_builtin(kind, name);

	assert_non_null(plugin);
	if (text) {
		abnormal_free(fixture->abnormal);
		fixture->abnormal = NULL;
		if (abnormal_parse(text, strlen(text), &fixture->abnormal, &problem) < 0)
			fail_msg("%s: %s in %s", problem.field, problem.text, text);
	}
	fixture->call = (struct plugin_call){
		.plugin = plugin,
		.abnormal = fixture->abnormal,
		.host = fixture->root.host,
		.clock = clock_system(),
		.artifact_directory = fixture->artifacts,
	};
}

/* The artifact's text; the caller's to free. */
__attribute__((unused)) static char *fixture_artifact(const struct plugin_fixture *fixture,
						      const char *name)
{
	char path[PATH_MAX], *text = NULL;

	snprintf(path, sizeof(path), "%s/%s", fixture->artifacts, name);
	assert_int_equal(file_read(AT_FDCWD, path, MIB, &text, NULL), 0);
	return text;
}

/* What the plug-in left in its part of the context. */
__attribute__((unused)) static const cJSON *fixture_context(const struct plugin_fixture *fixture,
							    const char *path)
{
	return json_at(plugin_context_of(&fixture->call, fixture->call.plugin->name), path);
}

__attribute__((unused)) static void fixture_expect_message(const struct plugin_fixture *fixture,
							   const char *expected)
{
	const char *message = fixture->abnormal->status.message;

	if (!streq_ptr(message, expected))
		fail_msg("the message is\n%s\nand should be\n%s", message ? message : "(none)",
			 expected);
}

__attribute__((unused)) static int plugin_fixture_setup(void **state)
{
	struct plugin_fixture *fixture = calloc(1, sizeof(*fixture));
	void *root;

	fake_root_setup(&root);
	fixture->root = *(struct fake_root *)root;
	free(root);
	snprintf(fixture->artifacts, sizeof(fixture->artifacts), "%s/artifacts",
		 fixture->root.path);
	fake_folder(&fixture->root, "artifacts");
	assert_int_equal(host_open(NULL, &fixture->real), 0);
	*state = fixture;
	return 0;
}

__attribute__((unused)) static int plugin_fixture_teardown(void **state)
{
	struct plugin_fixture *fixture = *state;
	struct fake_root *root = malloc(sizeof(*root));
	void *pointer = root;

	*root = fixture->root;
	abnormal_free(fixture->abnormal);
	host_free(fixture->real);
	free(fixture);
	return fake_root_teardown(&pointer);
}

#define PLUGIN_TEST(test) \
	cmocka_unit_test_setup_teardown(test, plugin_fixture_setup, plugin_fixture_teardown)
