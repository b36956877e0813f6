/* SPDX-License-Identifier: Apache-2.0 */
/* Runs one step of a built-in plug-in in the process that was made for it. */
#include "plugin/run.h"

#include "base/file.h"
#include "plugin/settings.h"

const struct plugin *plugin_builtin(enum plugin_kind kind, const char *name)
{
	FOREACH_REGISTERED (plugins, struct plugin, plugin)
		if (plugin->kind == kind && streq(plugin->name, name))
			return plugin;
	return NULL;
}

plugin_function plugin_step_function(const struct plugin *plugin, enum plugin_step step)
{
	switch (step) {
	case STEP_COLLECT:
		return plugin->collect;
	case STEP_DIAGNOSE:
		return plugin->diagnose;
	case STEP_PLAN:
		return plugin->plan;
	case STEP_RECOVER:
		return plugin->recover;
	case STEP_VERIFY:
		return plugin->verify;
	}
	return NULL;
}

struct owned_settings {
	const struct schema *schema;
	void *object;
};

static void owned_settings_free(struct owned_settings *settings)
{
	if (settings->schema)
		schema_free(settings->schema, settings->object);
}

/* Everything around the step itself. Returns what the step returned, or a negative errno. */
static int run_step(const struct call_request *request, const struct plugin *plugin,
		    plugin_function function, struct abnormal *abnormal)
{
	_cleanup_(owned_settings_free) struct owned_settings settings = {.schema =
										 plugin->settings};
	_cleanup_host_ struct host *host = NULL;
	_cleanup_json_ cJSON *before = NULL, *after = NULL;
	_cleanup_free_ char *text = NULL;
	struct problem problem = {0};
	char line[700];

	int r = plugin_settings_decode(plugin, request->settings, &settings.object, &problem);
	if (r < 0)
		return plugin_fail(r, "settings: %s", problem_line(&problem, line, sizeof(line)));
	r = host_open(request->host_root, &host);
	if (r < 0)
		return plugin_fail(r, "cannot open the host's root %s: %s",
				   request->host_root ? request->host_root : "/", strerror(-r));
	r = abnormal_encode(abnormal, &before);
	if (r < 0)
		return r;
	struct plugin_call call = {
		.plugin = plugin,
		.abnormal = abnormal,
		.host = host,
		.clock = clock_system(),
		.settings = settings.object,
		.artifact_directory = request->artifact_directory,
	};
	int verdict = function(&call);
	if (verdict != PLUGIN_RECOGNISED)
		return verdict;
	r = abnormal_encode(abnormal, &after);
	if (r < 0 || json_equal(before, after))
		return r;
	text = json_print(after);
	if (!text)
		return -ENOMEM;
	return file_write_fd(STDOUT_FILENO, text, strlen(text));
}

int plugin_run(const struct call_request *request, const char *text, size_t length)
{
	const struct plugin *plugin =
		plugin_builtin((enum plugin_kind)request->kind, request->plugin);
	_cleanup_abnormal_ struct abnormal *abnormal = NULL;
	struct problem problem = {0};
	char line[700];

	if (!plugin) {
		plugin_fail(-ENOENT, "this program has no built-in %s of that name",
			    plugin_kind_names[request->kind]);
		return 1;
	}
	plugin_function function = plugin_step_function(plugin, (enum plugin_step)request->step);
	if (!function) {
		plugin_fail(-EOPNOTSUPP, "it has no step %s", plugin_step_names[request->step]);
		return 1;
	}
	int r = abnormal_parse_handled(text, length, &abnormal, &problem);
	if (r < 0) {
		plugin_fail(r, "cannot read the Abnormal: %s",
			    problem_line(&problem, line, sizeof(line)));
		return 1;
	}
	r = run_step(request, plugin, function, abnormal);
	if (r == PLUGIN_RECOGNISED)
		return 0;
	if (r == PLUGIN_NOT_MINE)
		return 2;
	if (!plugin_failure_told())
		plugin_fail(r, "%s",
			    r < 0 ? strerror(-r) : "the step returned a value that has no meaning");
	return 1;
}
