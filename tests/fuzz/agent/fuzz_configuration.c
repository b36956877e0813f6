/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of the configuration, with the settings of all detectors and of plug-ins. What is
 * refused is told of. What is taken lies within its limits, every detector reads its settings from
 * it and can show them, and the same written by us is taken as the same.
 */
#include "../fuzz.h"

#include "agent/settings.h"
#include "base/yaml.h"
#include "detect/detect.h"
#include "detect/settings.h"
#include "plugin/registry.h"

static void check_limits(const struct config *config)
{
	const char *const paths[] = {config->state_directory,
				     config->socket,
				     config->bpffs,
				     config->folders.collectors,
				     config->folders.diagnosers,
				     config->folders.recoverers};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		claim(paths[i] && paths[i][0] == '/', "a path is absolute");
	claim(config->log_level >= LOG_LEVEL_ERROR && config->log_level <= LOG_LEVEL_DEBUG,
	      "the log has a level");
	claim(config->pipeline.parallel >= 1 && config->pipeline.parallel <= 64 &&
		      config->pipeline.live_maximum >= 1 &&
		      config->pipeline.live_maximum <= 10000 &&
		      config->pipeline.actions_per_hour >= 1 && config->store.retention_count >= 1,
	      "numbers have their limits");
	claim(config->pipeline.cooldown <= 30 * 86400 * NS_PER_S, "so have durations");
}

/* The settings in force are settings, and the same ones. */
static void check_detectors(const struct config *config)
{
	FOREACH_REGISTERED (detectors, struct detector, detector) {
		struct detector_settings settings, again;
		const cJSON *given =
			cJSON_GetObjectItemCaseSensitive(config->detectors, detector->name);
		_cleanup_json_ cJSON *json = NULL, *json_again = NULL;

		claim(detector_settings_read(detector, given, &settings, NULL) == 0,
		      "a detector takes what the configuration let pass");
		json = detector_settings_json(detector, &settings);
		claim_json(json);
		claim(detector_settings_read(detector, json, &again, NULL) == 0,
		      "it takes what it shows");
		json_again = detector_settings_json(detector, &again);
		claim(json_equal(json, json_again), "which means the same");
		detector_settings_clear(detector, &settings);
		detector_settings_clear(detector, &again);
	}
}

static void claim_same(const struct config *a, const struct config *b)
{
	char text[512];

	claim(*settings_need_restart(a, b, text, sizeof(text)) == '\0' &&
		      json_equal(a->detectors, b->detectors) &&
		      json_equal(a->collectors, b->collectors) &&
		      json_equal(a->diagnosers, b->diagnosers) &&
		      json_equal(a->recoverers, b->recoverers) && a->dry_run == b->dry_run &&
		      a->log_level == b->log_level &&
		      memcmp(&a->pipeline, &b->pipeline, sizeof(a->pipeline)) == 0 &&
		      memcmp(&a->store, &b->store, sizeof(a->store)) == 0,
	      "it means the same");
}

static void check_rewritten(const char *text, size_t size, const struct config *config)
{
	_cleanup_json_ cJSON *documents = NULL;
	_cleanup_(config_freep) struct config *again = NULL;
	struct problem problem = {0};

	claim(yaml_read(text, size, MIB, &documents, &problem) == 0, "a configuration is YAML");
	const cJSON *document = cJSON_GetArrayItem(documents, 0);
	_cleanup_free_ char *written = document ? yaml_write(document) : strdup("");
	/* Ours may be longer than theirs, with its limit. */
	if (!written || strlen(written) > MIB)
		return;
	claim(config_parse(written, strlen(written), &again, &problem) == 0,
	      "written by us it is a configuration too");
	claim_same(config, again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(config_freep) struct config *config = NULL;
	struct problem problem = {0};
	struct pipeline_settings pipeline;
	const cJSON *plugins[3];

	if (config_parse((const char *)data, size, &config, &problem) < 0) {
		claim(problem.text[0], "a refused configuration is told of");
		return 0;
	}
	check_limits(config);
	check_detectors(config);
	settings_pipeline(config, &pipeline);
	settings_plugins(config, plugins);
	for (int kind = PLUGIN_COLLECTOR; kind <= PLUGIN_RECOVERER; kind++)
		claim(registry_check_settings((enum plugin_kind)kind, plugins[kind], NULL) == 0,
		      "plug-ins take what the configuration let pass");
	check_rewritten((const char *)data, size, config);
	return 0;
}
