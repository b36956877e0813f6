/* SPDX-License-Identifier: Apache-2.0 */
/* Flags over configuration, and what a reload may change. */
#include "agent/settings.h"

#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "plugin/plugin.h"
#include "core/abnormal.h"

/* A flag's path may be relative to where the agent is started. */
static int set_path(char **member, const char *path)
{
	_cleanup_free_ char *folder = NULL;
	char *whole;

	if (!path)
		return 0;
	if (path[0] == '/')
		return string_set(member, path);
	folder = getcwd(NULL, 0);
	if (!folder)
		return -errno;
	if (asprintf(&whole, "%s/%s", folder, path) < 0)
		return -ENOMEM;
	free(*member);
	*member = whole;
	return 0;
}

static int set_node_name(struct config *config, const char *flag)
{
	char name[HOST_NAME_MAX + 1] = "";

	if (flag)
		return string_set(&config->node_name, flag);
	if (config->node_name)
		return 0;
	if (gethostname(name, sizeof(name) - 1) < 0)
		return -errno;
	return string_set(&config->node_name, *name ? name : "localhost");
}

static int lay_flags_over(const struct agent_options *options, struct config *config,
			  struct problem *problem)
{
	enum log_level level = (enum log_level)config->log_level;
	int r = 0;

	if (options->log_level && log_level_parse(options->log_level, &level) < 0)
		return problem_set(problem, -EINVAL, "--log-level",
				   "is \"%.40s\", but must be error, warning, info or debug",
				   options->log_level);
	config->log_level = (int)level;
	config->dry_run |= options->dry_run;
	r = set_path(&config->state_directory, options->state_directory);
	if (r == 0)
		r = set_path(&config->socket, options->socket);
	if (r == 0)
		r = set_path(&config->bpffs, options->bpffs);
	if (r == 0)
		r = set_node_name(config, options->node_name);
	return r < 0 ? problem_set(problem, r, NULL, "flags can't be applied: %s", strerror(-r))
		     : 0;
}

int settings_check_state(const struct config *config, struct problem *problem)
{
	const char *folder = config->state_directory;
	struct stat status;

	if (stat(folder, &status) < 0)
		return 0; /* to be made; or not to be reached, which the store tells of */
	if (status.st_uid != 0 && status.st_uid != geteuid())
		return problem_set(problem, -EPERM, "stateDirectory",
				   "%s belongs to user %u, who could change what the agent knows: "
				   "chown root %s, or choose another with --state-dir",
				   folder, status.st_uid, folder);
	if (status.st_mode & (S_IWGRP | S_IWOTH))
		return problem_set(problem, -EPERM, "stateDirectory",
				   "%s is writable by others (mode %04o): chmod 0700 %s, or choose "
				   "another with --state-dir",
				   folder, status.st_mode & 07777, folder);
	return 0;
}

int settings_read(const struct agent_options *options, struct config **ret_config,
		  const char **ret_path, struct problem *problem)
{
	_cleanup_(config_freep) struct config *config = NULL;
	int r;

	*ret_path = options->config ? options->config : AGENT_CONFIG_DEFAULT;
	r = config_read(*ret_path, &config, problem);
	if (r == -ENOENT && !options->config)
		r = config_new(&config);
	if (r == 0)
		r = lay_flags_over(options, config, problem);
	if (r < 0)
		return r;
	*ret_config = TAKE_PTR(config);
	return 0;
}

void settings_pipeline(const struct config *config, struct pipeline_settings *ret_settings)
{
	*ret_settings = (struct pipeline_settings){
		.dry_run = config->dry_run,
		.cooldown_ns = config->pipeline.cooldown,
		.parallel = (unsigned)config->pipeline.parallel,
		.live_maximum = (unsigned)config->pipeline.live_maximum,
		.actions_per_hour = (uint64_t)config->pipeline.actions_per_hour,
	};
}

void settings_plugins(const struct config *config, const cJSON *ret_settings[3])
{
	ret_settings[PLUGIN_COLLECTOR] = config->collectors;
	ret_settings[PLUGIN_DIAGNOSER] = config->diagnosers;
	ret_settings[PLUGIN_RECOVERER] = config->recoverers;
}

/* --- Users and groups --- */

static int find_user(const char *name, uid_t *ret_uid)
{
	const struct passwd *entry = getpwnam(name);

	if (!entry)
		return -ENOENT;
	*ret_uid = entry->pw_uid;
	return 0;
}

static int find_group(const char *name, gid_t *ret_gid)
{
	const struct group *entry = getgrnam(name);

	if (!entry)
		return -ENOENT;
	*ret_gid = entry->gr_gid;
	return 0;
}

int settings_allowed(const struct config *config, uid_t **ret_users, gid_t **ret_groups,
		     struct problem *problem)
{
	const struct strings *user_names = &config->api.allowed_users,
			     *group_names = &config->api.allowed_groups;
	_cleanup_free_ uid_t *users = calloc(user_names->count + 1, sizeof(*users));
	_cleanup_free_ gid_t *groups = calloc(group_names->count + 1, sizeof(*groups));

	if (!users || !groups)
		return -ENOMEM;
	for (size_t i = 0; i < user_names->count; i++)
		if (find_user(user_names->items[i], &users[i]) < 0)
			return problem_set(problem, -EINVAL, "api.allowedUsers",
					   "names \"%.80s\", and this host has no such user",
					   user_names->items[i]);
	for (size_t i = 0; i < group_names->count; i++)
		if (find_group(group_names->items[i], &groups[i]) < 0)
			return problem_set(problem, -EINVAL, "api.allowedGroups",
					   "names \"%.80s\", and this host has no such group",
					   group_names->items[i]);
	*ret_users = TAKE_PTR(users);
	*ret_groups = TAKE_PTR(groups);
	return 0;
}

/* --- What a reload can't change --- */

static bool strings_equal(const struct strings *a, const struct strings *b)
{
	for (size_t i = 0; a->count == b->count && i < a->count; i++)
		if (!streq(a->items[i], b->items[i]))
			return false;
	return a->count == b->count;
}

const char *settings_need_restart(const struct config *old, const struct config *new, char *text,
				  size_t size)
{
	const struct {
		const char *name;
		bool same;
	} keys[] = {
		{"nodeName", streq_ptr(old->node_name, new->node_name)},
		{"stateDirectory", streq_ptr(old->state_directory, new->state_directory)},
		{"socket", streq_ptr(old->socket, new->socket)},
		{"bpffs", streq_ptr(old->bpffs, new->bpffs)},
		{"store.retentionAge", old->store.retention_age == new->store.retention_age},
		{"store.retentionCount", old->store.retention_count == new->store.retention_count},
		{"api.metricsAddress",
		 streq_ptr(old->api.metrics_address, new->api.metrics_address)},
		{"api.allowedUsers",
		 strings_equal(&old->api.allowed_users, &new->api.allowed_users)},
		{"api.allowedGroups",
		 strings_equal(&old->api.allowed_groups, &new->api.allowed_groups)},
		{"folders.collectors", streq_ptr(old->folders.collectors, new->folders.collectors)},
		{"folders.diagnosers", streq_ptr(old->folders.diagnosers, new->folders.diagnosers)},
		{"folders.recoverers", streq_ptr(old->folders.recoverers, new->folders.recoverers)},
	};
	_cleanup_buffer_ struct buffer list = BUFFER(size - 1);

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (!keys[i].same)
			buffer_printf(&list, "%s%s", list.length ? ", " : "", keys[i].name);
	snprintf(text, size, "%s", buffer_text(&list));
	return text;
}
