/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent. Order of start, each before the next:
 *
 *   configuration, checked whole
 *   socket reserved             a second agent ends here and has disturbed nothing
 *   event loop, signals
 *   plug-ins, store             the store answers on the loop: agent_ready
 *   pipeline resumes, detectors, API, "ready" to the service manager
 *
 * and the end is the reverse. After the start nothing that is watched, and no trouble of a part,
 * ends the agent: only a signal does, or another agent that has the state directory.
 */
#include "agent/agent.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#include "agent/artifacts.h"
#include "agent/log_relay.h"
#include "agent/own_memory.h"
#include "agent/receipt.h"
#include "agent/settings.h"
#include "api/api.h"
#include "base/file.h"
#include "sources/source.h"
#include "version.h"

/* Ended Abnormals that the store hands over at start: as long as any sensible cooldown. */
#define HISTORY_NS (24 * 3600 * NS_PER_S)
#define STORE_STOP_NS (5 * NS_PER_S)
#define OPEN_FILES 16384
#define OOM_SCORE_ADJUST "-900"

struct agent {
	const struct agent_options *options;
	struct config *config; /* as started; the parts borrow from it */
	struct config *reloaded; /* what SIGHUP brought since, or NULL */
	struct log_relay log_relay;
	sd_event *event;
	int lock;
	char *artifact_root, *generation_path;
	uid_t *allowed_users;
	gid_t *allowed_groups;
	struct host *host;
	struct registry *registry;
	struct call_pool *pool;
	struct store *store;
	struct pipeline *pipeline;
	struct pipeline_watch *changes;
	struct own_memory memory;
	struct artifact_cleaner *cleaner;
	struct detect *detect;
	struct api *api;
	bool ready;
};

/* --- The process itself --- */

/* One agent a socket: the second ends here. */
static int socket_reserve(struct agent *agent)
{
	struct problem problem = {0};
	char line[700];
	int r = api_reserve(agent->config->socket, &agent->lock, &problem);

	if (r < 0)
		log_error("Reserving the socket %s failed: %s", agent->config->socket,
			  problem_line(&problem, line, sizeof(line)));
	if (r == -EACCES || r == -EPERM)
		log_error("Run as root, or choose places that this user can write with --socket "
			  "and --state-dir");
	return r;
}

static void process_prepare(void)
{
	struct rlimit files;

	signal(SIGPIPE, SIG_IGN);
	own_memory_keep();
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < OPEN_FILES) {
		files.rlim_cur = MIN(files.rlim_max, (rlim_t)OPEN_FILES);
		setrlimit(RLIMIT_NOFILE, &files);
	}
	/*
	 * The one who is to explain an OOM kill should survive it; plug-ins put their own back to
	 * 0.
	 */
	_cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || file_write_fd(fd, OOM_SCORE_ADJUST, strlen(OOM_SCORE_ADJUST)) < 0)
		log_debug("Lowering the own OOM score failed: %s", strerror(errno));
}

/* What is missing on this host, once each, and what to do about it. */
static void host_complain(const struct agent *agent)
{
	if (geteuid() != 0)
		log_warning("This agent does not run as root: its detectors need CAP_BPF, "
			    "CAP_PERFMON and CAP_SYS_PTRACE, and most repairs need root; Abnormals "
			    "made by hand are still handled");
	if (access("/sys/kernel/btf/vmlinux", R_OK) < 0)
		log_warning("The kernel offers no BTF (/sys/kernel/btf/vmlinux): detectors fall "
			    "back to polling /proc; a kernel with CONFIG_DEBUG_INFO_BTF=y lets "
			    "them see more");
}

static void detectors_tell(const struct agent *agent)
{
	_cleanup_json_ cJSON *list = detect_status(agent->detect, agent->host);
	const cJSON *item;

	cJSON_ArrayForEach (item, list) {
		const char *name = json_string(item, "name"), *status = json_string(item, "status");
		const char *hook = json_string(item, "hook"), *reason = json_string(item, "reason");
		bool hooked = hook && *hook, reasoned = reason && *reason;

		log_info("Detector %s: %s%s%s%s%s", name ? name : "?", status ? status : "?",
			 hooked ? ", by " : "", hooked ? hook : "", reasoned ? ": " : "",
			 reasoned ? reason : "");
	}
}

static void on_unknown_plugin(enum plugin_kind kind, const char *name, const char *meant)
{
	const char *kind_name = plugin_kind_names[kind];

	log_warning(
		"The configuration has settings for %ss.%s, but there is no such %s, built in or as "
		"a script: they are without effect%s%s%s",
		kind_name, name, kind_name, meant ? "; did you mean " : "", meant ? meant : "",
		meant ? "?" : "");
}

/* --- Signals --- */

static int on_end(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct agent *agent = userdata;

	log_info("Ending, as asked by SIG%s", sigabbrev_np((int)info->ssi_signo));
	return sd_event_exit(agent->event, EXIT_SUCCESS);
}

static int configuration_apply(struct agent *agent, struct config **config)
{
	const cJSON *plugins[3];
	struct pipeline_settings settings;
	char restart[512];

	settings_need_restart(agent->config, *config, restart, sizeof(restart));
	if (*restart)
		log_warning("The new configuration changes %s, which takes effect with the next "
			    "start of the agent",
			    restart);
	settings_plugins(*config, plugins);
	settings_pipeline(*config, &settings);
	int r = registry_reconfigure(agent->registry, plugins);
	if (r == 0 && agent->detect)
		r = detect_reconfigure(agent->detect, (*config)->detectors);
	if (r < 0) {
		/* All or nothing, as the log says. */
		settings_plugins(agent->reloaded ? agent->reloaded : agent->config, plugins);
		registry_reconfigure(agent->registry, plugins);
		return r;
	}
	log_set_level((enum log_level)(*config)->log_level);
	registry_tell_unknown(agent->registry, on_unknown_plugin);
	pipeline_reconfigure(agent->pipeline, &settings);
	struct config *before = agent->reloaded;
	agent->reloaded = *config;
	*config = before;
	return 0;
}

static void configuration_reload(struct agent *agent)
{
	_cleanup_(config_freep) struct config *config = NULL;
	struct problem problem = {0};
	char line[700];
	const char *path;
	int r = settings_read(agent->options, &config, &path, &problem);

	if (r == 0) {
		r = configuration_apply(agent, &config);
		if (r < 0)
			problem_set(&problem, r, NULL, "can't be applied: %s", strerror(-r));
	}
	if (r < 0)
		log_error("Reloading the configuration %s failed, and the one before stays: %s",
			  path, problem_line(&problem, line, sizeof(line)));
	else
		log_info("The configuration %s was read again and is in effect", path);
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct agent *agent = userdata;

	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		   clock_monotonic(clock_system()) / NS_PER_US);
	configuration_reload(agent);
	if (agent->ready)
		sd_notify(0, "READY=1");
	return 0;
}

static int signals_catch(struct agent *agent)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
		return -errno;
	int r = sd_event_add_signal(agent->event, NULL, SIGTERM, on_end, agent);
	if (r >= 0)
		r = sd_event_add_signal(agent->event, NULL, SIGINT, on_end, agent);
	if (r >= 0)
		r = sd_event_add_signal(agent->event, NULL, SIGHUP, on_reload, agent);
	return MIN(r, 0);
}

/* --- What the parts tell --- */

static void on_finding(void *userdata, struct finding *finding)
{
	static struct log_limit limit;
	struct agent *agent = userdata;
	uint32_t suppressed;

	if (agent->api)
		api_publish_finding(agent->api, finding);
	int r = receipt_submit(agent->pipeline, &agent->detect, finding);
	/* -EDQUOT was told by the pipeline, which counts it. */
	if (r < 0 && r != -EDQUOT && log_limit_pass(&limit, 10, 60 * NS_PER_S, &suppressed))
		log_error("Taking up a finding of detector %s about \"%s\" failed: %s (%u more "
			  "were left out)",
			  finding->detector, finding->subject, strerror(-r), suppressed);
}

static void on_abnormal_changed(void *userdata, const char *type, const struct abnormal *abnormal)
{
	struct agent *agent = userdata;

	if (streq(type, "DELETED") && abnormal->metadata.uid)
		artifact_cleaner_remove(agent->cleaner, abnormal->metadata.uid);
	own_memory_used(&agent->memory);
}

static void on_store_removed(void *userdata, const char *uid)
{
	struct agent *agent = userdata;

	artifact_cleaner_remove(agent->cleaner, uid);
}

static void on_store_medium(void *userdata, enum store_medium medium, const char *reason)
{
	struct agent *agent = userdata;

	if (medium == STORE_MEMORY) {
		log_error("The store in %s can't be used: %s; the agent goes on in memory, and "
			  "tries the disk again",
			  agent->config->state_directory, reason);
		pipeline_rewrite(agent->pipeline);
	} else if (medium == STORE_DISK && *reason) {
		log_error("The store in %s: %s", agent->config->state_directory, reason);
	} else if (medium == STORE_DISK) {
		log_info("The store in %s is on disk again; what was in memory is in it",
			 agent->config->state_directory);
	}
}

static void on_store_recovered(void *userdata, struct store_loaded *loaded)
{
	struct agent *agent = userdata;

	pipeline_resume(agent->pipeline, loaded);
}

static void on_store_refused(void *userdata, const char *reason)
{
	struct agent *agent = userdata;

	log_error("Another agent uses the state directory %s: %s; stop it first, or start this one "
		  "with another --state-dir",
		  agent->config->state_directory, reason);
	sd_event_exit(agent->event, EXIT_FAILURE);
}

/* --- Start --- */

static int api_begin(struct agent *agent)
{
	const struct config *config = agent->config;
	struct api_options options = {
		.event = agent->event,
		.clock = clock_system(),
		.host = agent->host,
		.socket_path = config->socket,
		.metrics_address = config->api.metrics_address,
		.allowed_users = agent->allowed_users,
		.allowed_user_count = config->api.allowed_users.count,
		.allowed_groups = agent->allowed_groups,
		.allowed_group_count = config->api.allowed_groups.count,
		.store = agent->store,
		.pipeline = agent->pipeline,
		.registry = agent->registry,
		.pool = agent->pool,
		.detect = agent->detect,
		.node_name = config->node_name,
		.version = LIFEBOAT_VERSION,
		.lock_fd = TAKE_FD(agent->lock),
	};
	struct problem problem = {0};
	char line[700];
	int r = api_start(&options, &agent->api, &problem);

	if (r < 0)
		log_error("Opening the API on %s failed: %s", config->socket,
			  problem.text[0] ? problem_line(&problem, line, sizeof(line))
					  : strerror(-r));
	return r;
}

static int detect_begin(struct agent *agent)
{
	struct detect_options options = {
		.event = agent->event,
		.host = agent->host,
		.clock = clock_system(),
		.bpffs = agent->config->bpffs,
		.settings = agent->config->detectors,
		.on_finding = on_finding,
		.userdata = agent,
	};
	struct problem problem = {0};
	char line[700];
	int r = detect_start(&options, &agent->detect, &problem);

	if (r < 0)
		log_error("Starting the detectors failed: %s",
			  problem_line(&problem, line, sizeof(line)));
	return r;
}

/* The store has loaded its state: everything else can begin. */
static void agent_ready(void *userdata, struct store_loaded *loaded)
{
	struct agent *agent = userdata;

	pipeline_resume(agent->pipeline, loaded);
	/* The start of the detectors takes the most of all. */
	own_memory_give_back();
	if (detect_begin(agent) < 0 || api_begin(agent) < 0) {
		sd_event_exit(agent->event, EXIT_FAILURE);
		return;
	}
	host_complain(agent);
	detectors_tell(agent);
	agent->ready = true;
	own_memory_used(&agent->memory);
	log_info("lifeboat %s is ready on %s%s", LIFEBOAT_VERSION, agent->config->socket,
		 agent->config->dry_run ? "; dry run: nothing is repaired" : "");
	sd_notifyf(0, "READY=1\nSTATUS=Watching %s%s", agent->config->node_name,
		   agent->config->dry_run ? " (dry run)" : "");
}

static int plugins_begin(struct agent *agent)
{
	const struct config *config = agent->config;
	struct registry_options registry = {
		.event = agent->event,
		.directories = {[PLUGIN_COLLECTOR] = config->folders.collectors,
				[PLUGIN_DIAGNOSER] = config->folders.diagnosers,
				[PLUGIN_RECOVERER] = config->folders.recoverers},
	};
	struct call_pool_options pool = {
		.event = agent->event,
		.clock = clock_system(),
		.api_socket = config->socket,
		.generation_path = agent->generation_path,
	};

	settings_plugins(config, registry.settings);
	int r = registry_new(&registry, &agent->registry);
	if (r < 0)
		return r;
	registry_tell_unknown(agent->registry, on_unknown_plugin);
	return call_pool_new(&pool, &agent->pool);
}

static int store_begin(struct agent *agent)
{
	const struct config *config = agent->config;
	struct store_options options = {
		.event = agent->event,
		.directory = config->state_directory,
		.retention_age_ns = config->store.retention_age,
		.retention_count = (uint64_t)config->store.retention_count,
		.history_ns = MAX(HISTORY_NS, config->pipeline.cooldown),
	};
	struct store_handlers handlers = {
		.on_ready = agent_ready,
		.on_medium = on_store_medium,
		.on_recovered = on_store_recovered,
		.on_removed = on_store_removed,
		.on_refused = on_store_refused,
		.userdata = agent,
	};

	return store_start(&options, &handlers, &agent->store);
}

static int pipeline_begin(struct agent *agent)
{
	struct pipeline_options options = {
		.event = agent->event,
		.clock = clock_system(),
		.store = agent->store,
		.registry = agent->registry,
		.pool = agent->pool,
		.node_name = agent->config->node_name,
		.artifact_root = agent->artifact_root,
	};

	settings_pipeline(agent->config, &options.settings);
	int r = pipeline_new(&options, &agent->pipeline);
	if (r == 0)
		r = own_memory_begin(&agent->memory, agent->event, agent->pipeline);
	return r < 0 ? r
		     : pipeline_watch(agent->pipeline, on_abnormal_changed, agent, &agent->changes);
}

static int parts_begin(struct agent *agent)
{
	int r = host_open(NULL, &agent->host);

	if (r == 0 &&
	    asprintf(&agent->artifact_root, "%s/artifacts", agent->config->state_directory) < 0)
		r = -ENOMEM;
	if (r == 0 && asprintf(&agent->generation_path, "%s.calls", agent->config->socket) < 0)
		r = -ENOMEM;
	if (r == 0)
		r = artifact_cleaner_new(agent->event, agent->artifact_root, &agent->cleaner);
	if (r == 0)
		r = plugins_begin(agent);
	if (r == 0)
		r = store_begin(agent);
	return r < 0 ? r : pipeline_begin(agent);
}

/* --- The whole --- */

static void store_end(struct agent *agent)
{
	uint64_t lost = store_stop(agent->store, STORE_STOP_NS);

	if (lost > 0)
		log_error("%" PRIu64
			  " Abnormals were in memory alone and are lost, as the store in "
			  "%s could not be used up to the end",
			  lost, agent->config->state_directory);
}

static void agent_end(struct agent *agent)
{
	sd_notify(0, "STOPPING=1");
	if (agent->api)
		api_free(TAKE_PTR(agent->api));
	if (agent->detect)
		detect_free(TAKE_PTR(agent->detect));
	own_memory_end(&agent->memory);
	if (agent->pipeline)
		pipeline_free(TAKE_PTR(agent->pipeline));
	if (agent->pool)
		call_pool_free(agent->pool);
	if (agent->registry)
		registry_free(agent->registry);
	if (agent->store)
		store_end(agent);
	if (agent->cleaner)
		artifact_cleaner_free(agent->cleaner);
	if (agent->host)
		host_free(agent->host);
	closep(&agent->lock);
	free(agent->artifact_root);
	free(agent->generation_path);
	free(agent->allowed_users);
	free(agent->allowed_groups);
	if (agent->reloaded)
		config_free(agent->reloaded);
	if (agent->config)
		config_free(agent->config);
	sd_event_unref(agent->event);
	log_relay_stop(&agent->log_relay);
}

static int configuration_begin(struct agent *agent)
{
	struct problem problem = {0};
	char line[700];
	const char *path;
	int r = settings_read(agent->options, &agent->config, &path, &problem);

	if (r == 0)
		r = settings_allowed(agent->config, &agent->allowed_users, &agent->allowed_groups,
				     &problem);
	if (r == 0)
		r = settings_check_state(agent->config, &problem);
	if (r < 0)
		log_error("The configuration %s can't be used: %s", path,
			  problem_line(&problem, line, sizeof(line)));
	else
		log_set_level((enum log_level)agent->config->log_level);
	return r;
}

static int loop_begin(struct agent *agent)
{
	int r = log_relay_start(&agent->log_relay);

	if (r == 0)
		r = sd_event_new(&agent->event);
	if (r >= 0)
		r = signals_catch(agent);
	if (r >= 0)
		r = sd_event_set_watchdog(agent->event, true);
	if (r >= 0)
		r = parts_begin(agent);
	if (r < 0)
		log_error("Starting the agent failed: %s", strerror(-r));
	return MIN(r, 0);
}

int agent_run(const struct agent_options *options)
{
	_cleanup_(agent_end) struct agent agent = {
		.options = options, .log_relay = {.file = -1}, .lock = -1};

	process_prepare();
	if (configuration_begin(&agent) < 0 || socket_reserve(&agent) < 0 || loop_begin(&agent) < 0)
		return EXIT_FAILURE;
	int r = sd_event_loop(agent.event);
	if (r < 0)
		log_error("The event loop failed: %s; please report this", strerror(-r));
	return r < 0 ? EXIT_FAILURE : r;
}
