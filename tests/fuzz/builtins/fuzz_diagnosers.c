/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of what built-in plug-ins read in an Abnormal that anybody may have submitted: every
 * diagnoser is asked about it, and every recoverer for a plan, on a node where nothing of what it says is
 * there. Who recognises it gives a reason and a message; what it becomes can be stored, and is only
 * changed where a plug-in may change it.
 */
#include "../fuzz_root.h"

#include "plugin/call.h"
#include "plugin/run.h"
#include "plugin/settings.h"

static FILE *nowhere;

static void end(void)
{
	fclose(nowhere);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char *const folders[] = {"/proc/1", "/proc/4711", "/sys/fs/cgroup",
					      "/sys/block/sda"};
	static const char mountinfo[] = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
					"30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
	static const char stat[] =
		"4711 (java) D 1 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 5000 0 0 0\n";
	static const char status[] = "Name:\tjava\nTgid:\t4711\nUid:\t0\t0\t0\t0\n";

	fuzz_root_begin();
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		fuzz_root_folder(folders[i]);
	fuzz_root_write("/proc/1/mountinfo", mountinfo, strlen(mountinfo));
	fuzz_root_write("/proc/4711/stat", stat, strlen(stat));
	fuzz_root_write("/proc/4711/status", status, strlen(status));
	fuzz_root_write("/sys/block/sda/dev", "8:0\n", 4);
	log_set_level(LOG_LEVEL_ERROR);
	/* Why they decline goes to standard error, which libFuzzer and the sanitizers need. */
	nowhere = fopen("/dev/null", "we");
	claim(nowhere, "there is a place for what is not wanted");
	atexit(end);
	return 0;
}

static void check_verdict(int verdict, const struct plugin *plugin, const struct abnormal *given,
			  const struct abnormal *answer)
{
	_cleanup_abnormal_ struct abnormal *again = NULL;
	_cleanup_free_ char *text = NULL;
	struct problem problem = {0};

	claim(verdict <= 0 || verdict == PLUGIN_NOT_MINE, "a verdict has a meaning");
	if (verdict != PLUGIN_RECOGNISED)
		return;
	if (plugin->kind == PLUGIN_DIAGNOSER)
		claim(answer->status.reason && *answer->status.reason && answer->status.message &&
			      *answer->status.message,
		      "who recognises says what it is");
	claim(abnormal_print(answer, &text) == 0, "an answer can be written");
	if (abnormal_parse_handled(text, strlen(text), &again, &problem) < 0 ||
	    answer_check(given, again, &problem) < 0) {
		fprintf(stderr, "%s: %s: %s\n", plugin->name, problem.field, problem.text);
		claim(false, "an answer is one that the agent takes");
	}
}

static void ask(const struct plugin *plugin, plugin_function function, const struct abnormal *given)
{
	_cleanup_abnormal_ struct abnormal *answer = abnormal_copy(given);
	FILE *standard_error = stderr;
	void *settings = NULL;

	claim(answer && plugin_settings_decode(plugin, NULL, &settings, NULL) == 0,
	      "there is memory");
	struct plugin_call call = {.plugin = plugin,
				   .abnormal = answer,
				   .host = fuzz_host,
				   .clock = clock_system(),
				   .settings = settings};
	stderr = nowhere;
	int verdict = function(&call);
	stderr = standard_error;
	check_verdict(verdict, plugin, given, answer);
	if (plugin->settings)
		schema_free(plugin->settings, settings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_abnormal_ struct abnormal *abnormal = NULL;

	if (abnormal_parse_handled((const char *)data, size, &abnormal, NULL) < 0)
		return 0;
	FOREACH_REGISTERED (plugins, struct plugin, plugin) {
		if (plugin->diagnose)
			ask(plugin, plugin->diagnose, abnormal);
		if (plugin->plan)
			ask(plugin, plugin->plan, abnormal);
	}
	return 0;
}
