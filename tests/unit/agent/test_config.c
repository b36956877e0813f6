/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: defaults, the documented default file, what is refused, flags, and reloads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../skip.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "agent/config.h"
#include "agent/settings.h"
#include "base/file.h"
#include "base/yaml.h"

static struct config *parsed(const char *text)
{
	struct config *config = NULL;
	struct problem problem = {0};

	if (config_parse(text, strlen(text), &config, &problem) < 0)
		fail_msg("%s: %s", problem.field, problem.text);
	return config;
}

static void refused(const char *text, const char *field, const char *words)
{
	struct config *config = NULL;
	struct problem problem = {0};

	assert_int_equal(config_parse(text, strlen(text), &config, &problem), -EINVAL);
	assert_string_equal(problem.field, field);
	if (!strstr(problem.text, words))
		fail_msg("\"%s\" does not tell \"%s\"", problem.text, words);
}

static void assert_equal(const struct config *a, const struct config *b)
{
	char text[512];

	assert_string_equal(settings_need_restart(a, b, text, sizeof(text)), "");
	assert_int_equal(a->dry_run, b->dry_run);
	assert_int_equal(a->log_level, b->log_level);
	assert_true(json_equal(a->detectors, b->detectors));
	assert_true(json_equal(a->collectors, b->collectors));
	assert_true(json_equal(a->diagnosers, b->diagnosers));
	assert_true(json_equal(a->recoverers, b->recoverers));
	assert_memory_equal(&a->pipeline, &b->pipeline, sizeof(a->pipeline));
}

static void nothing_given_gives_the_defaults(void **state)
{
	_cleanup_(config_freep) struct config *empty = parsed(""), *none = NULL;
	_cleanup_(config_freep) struct config *blank = parsed("pipeline:\ndetectors:\nlogLevel:\n");

	assert_int_equal(config_new(&none), 0);
	assert_equal(empty, none);
	assert_equal(blank, none);
	assert_string_equal(none->state_directory, "/var/lib/lifeboat");
	assert_string_equal(none->socket, "/run/lifeboat/lifeboat.sock");
	assert_int_equal(none->log_level, LOG_LEVEL_INFO);
	assert_null(none->node_name);
	assert_null(none->api.metrics_address);
	assert_int_equal(none->pipeline.parallel, 4);
	assert_int_equal(none->store.retention_age, 30 * 86400 * NS_PER_S);
}

/* The path is that of the source tree, where the tests are run. */
static char *default_file(void)
{
	char *text = NULL;

	if (file_read(AT_FDCWD, "deploy/lifeboat.yaml", MIB, &text, NULL) < 0)
		print_message(
			"deploy/lifeboat.yaml is not here: run the test in the source tree\n");
	return text;
}

static void the_default_file_says_what_the_defaults_are(void **state)
{
	_cleanup_free_ char *text = default_file();
	_cleanup_(config_freep) struct config *documented = NULL, *none = NULL;

	if (!text)
		skip_because("needs deploy/lifeboat.yaml: run from the top of the source tree");
	documented = parsed(text);
	assert_int_equal(config_new(&none), 0);
	assert_equal(documented, none);
}

/* Turned on where they are commented out, the examples are right too, and all keys are there. */
static void the_default_file_names_every_key(void **state)
{
	static const char *const keys[] = {"nodeName",
					   "stateDirectory",
					   "socket",
					   "bpffs",
					   "dryRun",
					   "logLevel",
					   "detectors",
					   "collectors",
					   "diagnosers",
					   "recoverers",
					   "pipeline",
					   "cooldown",
					   "parallel",
					   "liveMaximum",
					   "actionsPerHour",
					   "store",
					   "retentionAge",
					   "retentionCount",
					   "api",
					   "allowedUsers",
					   "allowedGroups",
					   "metricsAddress",
					   "folders"};
	_cleanup_free_ char *text = default_file();
	char line[64];

	if (!text)
		skip_because("needs deploy/lifeboat.yaml: run from the top of the source tree");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		snprintf(line, sizeof(line), "%s:", keys[i]);
		if (!strstr(text, line))
			fail_msg("deploy/lifeboat.yaml does not tell of %s", keys[i]);
	}
}

static void given_keys_lie_over_the_defaults(void **state)
{
	_cleanup_(config_freep) struct config *config =
		parsed("apiVersion: lifeboat.dev/v1alpha1\nkind: Configuration\npipeline: "
		       "{parallel: 9}\nlogLevel: error\n"
		       "detectors: {oom: {enabled: false}}\nstore: {retentionAge: 0s}\n");

	assert_int_equal(config->pipeline.parallel, 9);
	assert_int_equal(config->pipeline.live_maximum, 1000);
	assert_int_equal(config->log_level, LOG_LEVEL_ERROR);
	assert_int_equal(config->store.retention_age, 0);
	assert_non_null(json_at(config->detectors, "oom.enabled"));
}

static void what_is_wrong_is_named(void **state)
{
	refused("dryrun: true", "dryrun", "dryRun");
	refused("pipeline: {paralel: 1}", "pipeline.paralel", "parallel");
	refused("pipeline: {cooldown: [1]}", "pipeline.cooldown", "");
	refused("pipeline: {cooldown: 5}", "pipeline.cooldown", "");
	refused("pipeline: {parallel: 0}", "pipeline.parallel", "");
	refused("logLevel: loud", "logLevel", "warning");
	refused("socket: here", "socket", "absolute");
	refused("folders: {collectors: x}", "folders.collectors", "absolute");
	refused("apiVersion: v1", "apiVersion", "lifeboat.dev/v1alpha1");
	refused("kind: Abnormal", "kind", "Configuration");
	refused("detectors: {no_such: {}}", "detectors.no_such", "");
	refused("detectors: {oom: {enabeld: true}}", "detectors.oom.enabeld", "");
	refused("collectors: {any-script: {settings: 1}}", "collectors.any-script.settings", "");
	refused("recoverers: {any-script: {enabled: perhaps}}", "recoverers.any-script.enabled",
		"");
	refused("- a\n- list\n", "", "keys with values");
	refused("dryRun: true\n---\ndryRun: false\n", "", "2 documents");
	refused("kind: [", "", "line");
}

static void flags_go_before_the_configuration(void **state)
{
	struct agent_options options = {.state_directory = "/s",
					.socket = "relative.sock",
					.bpffs = "/b",
					.node_name = "n",
					.log_level = "debug",
					.dry_run = true};
	_cleanup_(config_freep) struct config *config = NULL;
	struct problem problem = {0};
	const char *path;

	/* The default file, which may be there or not. */
	assert_int_equal(settings_read(&options, &config, &path, &problem), 0);
	assert_string_equal(path, AGENT_CONFIG_DEFAULT);
	assert_string_equal(config->state_directory, "/s");
	assert_int_equal(config->socket[0], '/');
	assert_true(endswith(config->socket, "/relative.sock"));
	assert_string_equal(config->node_name, "n");
	assert_int_equal(config->log_level, LOG_LEVEL_DEBUG);
	assert_true(config->dry_run);
}

static void a_file_that_was_named_must_be_there(void **state)
{
	struct agent_options options = {.config = "/nonexistent/lifeboat.yaml"};
	_cleanup_(config_freep) struct config *config = NULL;
	struct problem problem = {0};
	const char *path;

	assert_int_equal(settings_read(&options, &config, &path, &problem), -ENOENT);
	assert_non_null(strstr(problem.text, "No such file"));
}

static void the_node_is_named_after_the_host_unless_told(void **state)
{
	struct agent_options options = {0};
	_cleanup_(config_freep) struct config *config = NULL;
	char host[256] = "";
	const char *path;

	assert_int_equal(gethostname(host, sizeof(host) - 1), 0);
	assert_int_equal(settings_read(&options, &config, &path, NULL), 0);
	assert_string_equal(config->node_name, host);
}

static void what_takes_a_restart_is_named(void **state)
{
	_cleanup_(config_freep) struct config *old = parsed(""),
					      *new = parsed(
						      "socket: /x\napi: {allowedUsers: [root]}\n"
						      "dryRun: true\n");
	char text[512];

	assert_string_equal(settings_need_restart(old, new, text, sizeof(text)),
			    "socket, api.allowedUsers");
}

static void users_and_groups_become_ids_and_unknown_ones_are_named(void **state)
{
	_cleanup_(config_freep) struct config *good =
		parsed("api: {allowedUsers: [root], allowedGroups: [root]}");
	_cleanup_(config_freep) struct config *bad =
		parsed("api: {allowedGroups: [no-such-group]}");
	_cleanup_free_ uid_t *users = NULL;
	_cleanup_free_ gid_t *groups = NULL;
	struct problem problem = {0};

	assert_int_equal(settings_allowed(good, &users, &groups, &problem), 0);
	assert_int_equal(users[0], 0);
	assert_int_equal(settings_allowed(bad, &users, &groups, &problem), -EINVAL);
	assert_string_equal(problem.field, "api.allowedGroups");
	assert_non_null(strstr(problem.text, "no-such-group"));
}

static void a_state_folder_that_others_may_write_is_refused(void **state)
{
	char folder[] = "/tmp/lifeboat-test-XXXXXX";
	_cleanup_(config_freep) struct config *config = parsed("");
	struct problem problem = {0};

	assert_non_null(mkdtemp(folder));
	assert_int_equal(string_set(&config->state_directory, folder), 0);
	int private = settings_check_state(config, &problem);
	chmod(folder, 0777);
	int shared = settings_check_state(config, &problem);
	chmod(folder, 0755);
	int owned = geteuid() == 0 && chown(folder, 65534, 0) == 0
			    ? settings_check_state(config, &problem)
			    : -EPERM;
	rmdir(folder);
	assert_int_equal(settings_check_state(config, &problem), 0);
	assert_int_equal(private, 0);
	assert_int_equal(shared, -EPERM);
	assert_int_equal(owned, -EPERM);
	assert_string_equal(problem.field, "stateDirectory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_given_gives_the_defaults),
		cmocka_unit_test(the_default_file_says_what_the_defaults_are),
		cmocka_unit_test(the_default_file_names_every_key),
		cmocka_unit_test(given_keys_lie_over_the_defaults),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(flags_go_before_the_configuration),
		cmocka_unit_test(a_file_that_was_named_must_be_there),
		cmocka_unit_test(a_state_folder_that_others_may_write_is_refused),
		cmocka_unit_test(the_node_is_named_after_the_host_unless_told),
		cmocka_unit_test(what_takes_a_restart_is_named),
		cmocka_unit_test(users_and_groups_become_ids_and_unknown_ones_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
