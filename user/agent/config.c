/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration: a table, the defaults as one JSON text, and the checks of those who own a
 * part. What the file says is laid over the defaults and then decoded once, so that "not given"
 * needs no special value anywhere. deploy/lifeboat.yaml documents every key; a test holds it to
 * this table.
 */
#include "agent/config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <inttypes.h>

#include "base/file.h"
#include "base/yaml.h"
#include "plugin/registry.h"
#include "core/abnormal.h"
#include "detect/detect.h"

#define CONFIG_KIND "Configuration"
#define CONFIG_BYTES_MAX (1 * MIB)

static const char defaults[] =
	"{\"apiVersion\": \"" ABNORMAL_API_VERSION "\", \"kind\": \"" CONFIG_KIND "\","
	" \"stateDirectory\": \"/var/lib/lifeboat\", \"socket\": \"/run/lifeboat/lifeboat.sock\","
	" \"bpffs\": \"/sys/fs/bpf/lifeboat\", \"dryRun\": false, \"logLevel\": \"info\","
	" \"detectors\": {}, \"collectors\": {}, \"diagnosers\": {}, \"recoverers\": {},"
	" \"pipeline\": {\"cooldown\": \"5m\", \"parallel\": 4, \"liveMaximum\": 1000, "
	"\"actionsPerHour\": 60},"
	" \"store\": {\"retentionAge\": \"30d\", \"retentionCount\": 10000},"
	" \"api\": {\"allowedUsers\": [], \"allowedGroups\": []},"
	" \"folders\": {\"collectors\": \"/etc/lifeboat/collectors.d\","
	" \"diagnosers\": \"/etc/lifeboat/diagnosers.d\", \"recoverers\": "
	"\"/etc/lifeboat/recoverers.d\"}}";

static const char *const log_level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARNING] = "warning",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
	NULL,
};

static int check_path(const void *value, struct problem *problem)
{
	const char *path = *(char *const *)value;

	if (path[0] == '/')
		return 0;
	return problem_set(problem, -EINVAL, "", "is \"%.80s\", but must be an absolute path",
			   path);
}

#define DAY_NS ((int64_t)(86400 * NS_PER_S))
#define PATH_FIELD(type, member, name) \
	SCHEMA_FIELD(type, member, name, FIELD_STRING, .maximum = 4095, .check = check_path)

#define pipeline_block __typeof__(((struct config *)NULL)->pipeline)
static const struct field pipeline_fields[] = {
	SCHEMA_FIELD(pipeline_block, cooldown, "cooldown", FIELD_DURATION, .maximum = 30 * DAY_NS),
	SCHEMA_FIELD(pipeline_block, parallel, "parallel", FIELD_INTEGER, .minimum = 1,
		     .maximum = 64),
	SCHEMA_FIELD(pipeline_block, live_maximum, "liveMaximum", FIELD_INTEGER, .minimum = 1,
		     .maximum = 10000),
	SCHEMA_FIELD(pipeline_block, actions_per_hour, "actionsPerHour", FIELD_INTEGER,
		     .minimum = 1, .maximum = 1000),
};
static const struct schema pipeline_schema =
	SCHEMA("pipeline", pipeline_block, pipeline_fields, .extra_offset = SCHEMA_STRICT);

#define store_block __typeof__(((struct config *)NULL)->store)
static const struct field store_fields[] = {
	SCHEMA_FIELD(store_block, retention_age, "retentionAge", FIELD_DURATION,
		     .maximum = 3650 * DAY_NS),
	SCHEMA_FIELD(store_block, retention_count, "retentionCount", FIELD_INTEGER, .minimum = 1,
		     .maximum = 1000000),
};
static const struct schema store_schema =
	SCHEMA("store", store_block, store_fields, .extra_offset = SCHEMA_STRICT);

#define api_block __typeof__(((struct config *)NULL)->api)
static const struct field api_fields[] = {
	SCHEMA_FIELD(api_block, metrics_address, "metricsAddress", FIELD_STRING, .maximum = 255),
	SCHEMA_FIELD(api_block, allowed_users, "allowedUsers", FIELD_STRINGS, .maximum = 64),
	SCHEMA_FIELD(api_block, allowed_groups, "allowedGroups", FIELD_STRINGS, .maximum = 64),
};
static const struct schema api_schema =
	SCHEMA("api", api_block, api_fields, .extra_offset = SCHEMA_STRICT);

#define folders_block __typeof__(((struct config *)NULL)->folders)
static const struct field folders_fields[] = {
	PATH_FIELD(folders_block, collectors, "collectors"),
	PATH_FIELD(folders_block, diagnosers, "diagnosers"),
	PATH_FIELD(folders_block, recoverers, "recoverers"),
};
static const struct schema folders_schema =
	SCHEMA("folders", folders_block, folders_fields, .extra_offset = SCHEMA_STRICT);

static const struct field config_fields[] = {
	SCHEMA_FIELD(struct config, api_version, "apiVersion", FIELD_STRING),
	SCHEMA_FIELD(struct config, kind, "kind", FIELD_STRING),
	SCHEMA_FIELD(struct config, node_name, "nodeName", FIELD_STRING, .maximum = 253),
	PATH_FIELD(struct config, state_directory, "stateDirectory"),
	PATH_FIELD(struct config, socket, "socket"),
	PATH_FIELD(struct config, bpffs, "bpffs"),
	SCHEMA_FIELD(struct config, dry_run, "dryRun", FIELD_BOOL),
	SCHEMA_FIELD(struct config, log_level, "logLevel", FIELD_ENUM, .names = log_level_names),
	SCHEMA_FIELD(struct config, detectors, "detectors", FIELD_JSON),
	SCHEMA_FIELD(struct config, collectors, "collectors", FIELD_JSON),
	SCHEMA_FIELD(struct config, diagnosers, "diagnosers", FIELD_JSON),
	SCHEMA_FIELD(struct config, recoverers, "recoverers", FIELD_JSON),
	SCHEMA_FIELD(struct config, pipeline, "pipeline", FIELD_STRUCT, .schema = &pipeline_schema),
	SCHEMA_FIELD(struct config, store, "store", FIELD_STRUCT, .schema = &store_schema),
	SCHEMA_FIELD(struct config, api, "api", FIELD_STRUCT, .schema = &api_schema),
	SCHEMA_FIELD(struct config, folders, "folders", FIELD_STRUCT, .schema = &folders_schema),
};

static int check_config(const void *object, struct problem *problem)
{
	const struct config *config = object;

	if (!streq_ptr(config->api_version, ABNORMAL_API_VERSION))
		return problem_set(
			problem, -EINVAL, "apiVersion", "is \"%.80s\", but this agent reads %s",
			config->api_version ? config->api_version : "", ABNORMAL_API_VERSION);
	if (!streq_ptr(config->kind, CONFIG_KIND))
		return problem_set(problem, -EINVAL, "kind", "is \"%.80s\", but must be %s",
				   config->kind ? config->kind : "", CONFIG_KIND);
	return 0;
}

static const struct schema config_schema =
	SCHEMA("the configuration", struct config, config_fields, .extra_offset = SCHEMA_STRICT,
	       .check = check_config);

void config_free(struct config *config)
{
	schema_free(&config_schema, config);
}

/* --- Reading --- */

/*
 * Lays OVER (taken apart) over BASE; a key without a value counts as not given. Returns 0 or
 * -ENOMEM.
 */
static int lay_over(cJSON *base, cJSON *over)
{
	for (cJSON *child = over->child, *next; child; child = next) {
		cJSON *below = cJSON_GetObjectItemCaseSensitive(base, child->string);
		int r = 0;

		next = child->next;
		if (cJSON_IsNull(child))
			continue;
		if (cJSON_IsObject(child) && cJSON_IsObject(below)) {
			r = lay_over(below, child);
		} else {
			_cleanup_free_ char *name = strdup(child->string);

			r = name ? json_set(base, name, cJSON_DetachItemViaPointer(over, child))
				 : -ENOMEM;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_part(int r, const char *name, struct problem *problem)
{
	if (r < 0)
		problem_prefix(problem, name);
	return r;
}

static int check_parts(const struct config *config, struct problem *problem)
{
	int r = check_part(detect_check_settings(config->detectors, problem), "detectors", problem);

	if (r == 0)
		r = check_part(
			registry_check_settings(PLUGIN_COLLECTOR, config->collectors, problem),
			"collectors", problem);
	if (r == 0)
		r = check_part(
			registry_check_settings(PLUGIN_DIAGNOSER, config->diagnosers, problem),
			"diagnosers", problem);
	if (r == 0)
		r = check_part(
			registry_check_settings(PLUGIN_RECOVERER, config->recoverers, problem),
			"recoverers", problem);
	return r;
}

/* GIVEN (taken apart) may be NULL. */
static int config_decode(cJSON *given, struct config **ret_config, struct problem *problem)
{
	_cleanup_json_ cJSON *whole = NULL;
	_cleanup_(config_freep) struct config *config = NULL;
	void *object;
	int r = json_parse(defaults, strlen(defaults), &whole, problem);

	if (r == 0 && given)
		r = lay_over(whole, given);
	if (r == 0)
		r = schema_decode(&config_schema, whole, &object, problem);
	if (r < 0)
		return r;
	config = object;
	r = check_parts(config, problem);
	if (r < 0)
		return r;
	*ret_config = TAKE_PTR(config);
	return 0;
}

int config_new(struct config **ret_config)
{
	return config_decode(NULL, ret_config, NULL);
}

int config_parse(const char *text, size_t length, struct config **ret_config,
		 struct problem *problem)
{
	_cleanup_json_ cJSON *documents = NULL;
	int r = yaml_read(text, length, CONFIG_BYTES_MAX, &documents, problem);

	if (r < 0)
		return r;
	if (cJSON_GetArraySize(documents) > 1)
		return problem_set(problem, -EINVAL, NULL,
				   "holds %d documents, but a configuration is one",
				   cJSON_GetArraySize(documents));
	cJSON *given = cJSON_GetArrayItem(documents, 0);
	if (given && !cJSON_IsObject(given))
		return problem_set(problem, -EINVAL, NULL,
				   "must be keys with values, like `dryRun: true`");
	return config_decode(given, ret_config, problem);
}

int config_read(const char *path, struct config **ret_config, struct problem *problem)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	_cleanup_free_ char *text = NULL;
	struct stat status;
	size_t length;
	int r = fd < 0 || fstat(fd, &status) < 0 ? -errno : 0;

	if (r < 0)
		return problem_set(problem, r, NULL, "cannot be read: %s", strerror(-r));
	/* It decides what is repaired with the agent's rights. */
	if ((status.st_uid != 0 && status.st_uid != geteuid()) || status.st_mode & 022)
		return problem_set(
			problem, -EPERM, NULL,
			"can be changed by others than root: chown root, and chmod go-w");
	r = file_read_fd(fd, CONFIG_BYTES_MAX, &text, &length);
	if (r < 0)
		return problem_set(problem, r, NULL, "cannot be read: %s", strerror(-r));
	return config_parse(text, length, ret_config, problem);
}
