/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the pipeline share: a real store, real calls, and built-ins that do what
 * spec.context tells them. spec.context is {dir, NAME: {STEP: WORD}}, WORD being "yes", "no",
 * "error", "hang", "if:FILE": yes when FILE exists in dir, or "no:WHY": no with an explanation. Every
 * call leaves a line NAME.STEP in dir/calls.
 */
#pragma once

#include "../plugin/call_fixture.h"

#include "chain/pipeline.h"
#include "core/fingerprint.h"
#include "store/store_worker.h"

#define WORKER_OR_RETURN(argc, argv)                                    \
	do {                                                            \
		if ((argc) > 1 && streq((argv)[1], "store-worker"))     \
			return store_worker_main((argc)-1, (argv) + 1); \
		SUPERVISOR_OR_RETURN(argc, argv);                       \
	} while (0)

/*
 * --- Built-ins -----------------------------------------------------------------------------------
 */

static inline const char *told(const struct plugin_call *call, const char *step)
{
	const cJSON *mine =
		cJSON_GetObjectItemCaseSensitive(call->abnormal->spec.context, call->plugin->name);

	return json_string(mine, step);
}

static inline int obey(struct plugin_call *call, const char *step)
{
	const char *directory = json_string(call->abnormal->spec.context, "dir"),
		   *word = told(call, step);
	char path[256], line[128];
	const char *file;

	if (!word)
		return PLUGIN_NOT_MINE;
	snprintf(path, sizeof(path), "%s/calls", directory);
	int length = snprintf(line, sizeof(line), "%s.%s\n", call->plugin->name, step);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (file_write_fd(fd, line, (size_t)length) < 0)
		return plugin_fail(-EIO, "cannot write %s", path);
	file = startswith(word, "if:");
	if (file) {
		snprintf(path, sizeof(path), "%s/%s", directory, file);
		return access(path, F_OK) == 0 ? PLUGIN_RECOGNISED : PLUGIN_NOT_MINE;
	}
	if (startswith(word, "no:"))
		return plugin_fail(PLUGIN_NOT_MINE, "%s", startswith(word, "no:"));
	if (streq(word, "error"))
		return plugin_fail(-EIO, "told to fail");
	if (streq(word, "hang"))
		pause();
	return streq(word, "yes") ? PLUGIN_RECOGNISED : PLUGIN_NOT_MINE;
}

static inline int test_collect(struct plugin_call *call)
{
	int r = obey(call, "collect");

	return r == PLUGIN_RECOGNISED ? plugin_answer(call, cJSON_CreateString("evidence")) : r;
}

static inline int test_diagnose(struct plugin_call *call)
{
	int r = obey(call, "diagnose");

	return r == PLUGIN_RECOGNISED
		       ? plugin_identify(call, "TestFault", "the cause, by %s", call->plugin->name)
		       : r;
}

static inline int test_plan(struct plugin_call *call)
{
	int r = obey(call, "plan");
	cJSON *plan = r == PLUGIN_RECOGNISED ? plugin_context(call) : NULL;

	if (r == PLUGIN_RECOGNISED && (!plan || json_set_string(plan, "target", "the target") < 0))
		return -ENOMEM;
	return r;
}

static inline int test_recover(struct plugin_call *call)
{
	int r = obey(call, "recover");

	if (r == PLUGIN_RECOGNISED)
		r = string_set(&call->abnormal->status.message, "pulled the lever");
	return r;
}

static inline int test_verify(struct plugin_call *call)
{
	return obey(call, "verify");
}

PLUGIN(builtin_looker) = {
	.name = "looker",
	.summary = "a collector",
	.kind = PLUGIN_COLLECTOR,
	.order = 10,
	.collect = test_collect,
};
PLUGIN(builtin_peeker) = {
	.name = "peeker",
	.summary = "another",
	.kind = PLUGIN_COLLECTOR,
	.order = 20,
	.collect = test_collect,
};
PLUGIN(builtin_shooter) = {
	.name = "shooter",
	.summary = "for what nobody knows",
	.kind = PLUGIN_COLLECTOR,
	.order = 30,
	.troubleshooting = true,
	.only_troubleshooting = true,
	.collect = test_collect,
};
PLUGIN(builtin_holmes) = {
	.name = "holmes",
	.summary = "a diagnoser",
	.kind = PLUGIN_DIAGNOSER,
	.order = 10,
	.diagnose = test_diagnose,
};
PLUGIN(builtin_watson) = {
	.name = "watson",
	.summary = "another",
	.kind = PLUGIN_DIAGNOSER,
	.order = 20,
	.diagnose = test_diagnose,
};
PLUGIN(builtin_settled) = {
	.name = "settled",
	.summary = "only confirms",
	.kind = PLUGIN_RECOVERER,
	.order = 5,
	.verify_within_ns = 200 * NS_PER_MS,
	.plan = test_plan,
	.verify = test_verify,
};
PLUGIN(builtin_gentle) = {
	.name = "gentle",
	.summary = "not idempotent",
	.kind = PLUGIN_RECOVERER,
	.order = 10,
	.disturbs = DISTURBS_PROCESS,
	.verify_within_ns = 800 * NS_PER_MS,
	.plan = test_plan,
	.recover = test_recover,
	.verify = test_verify,
};
PLUGIN(builtin_rough) = {
	.name = "rough",
	.summary = "idempotent",
	.kind = PLUGIN_RECOVERER,
	.order = 20,
	.idempotent = true,
	.disturbs = DISTURBS_NODE,
	.verify_within_ns = 800 * NS_PER_MS,
	.plan = test_plan,
	.recover = test_recover,
	.verify = test_verify,
};
PLUGIN(builtin_blind) = {
	.name = "blind",
	.summary = "neither plans nor verifies",
	.kind = PLUGIN_RECOVERER,
	.order = 30,
	.disturbs = DISTURBS_PROCESS,
	.verify_within_ns = 1500 * NS_PER_MS,
	.recover = test_recover,
};
PLUGIN(builtin_strict) = {
	.name = "strict",
	.summary = "knows more than the detector",
	.kind = PLUGIN_RECOVERER,
	.order = 40,
	.disturbs = DISTURBS_PROCESS,
	.verify_decides = true,
	.verify_within_ns = 30 * NS_PER_S,
	.plan = test_plan,
	.recover = test_recover,
	.verify = test_verify,
};

/*
 * --- The fixture ---------------------------------------------------------------------------------
 */

struct bench {
	struct fixture base;
	char node[96]; /* its state directory */
	char generation[96];
	struct clock clock;
	int64_t skew_ns; /* the clock was turned so far */
	uint64_t history_ns; /* ended Abnormals that the store hands over */
	struct store *store;
	struct registry *registry;
	struct pipeline *pipeline;
	struct pipeline_watch *watch;
	struct pipeline_settings settings;
	cJSON *collectors, *recoverers;
	bool ready;
	unsigned added, modified, deleted;
	/* The newest that a watch showed, by name. */
	cJSON *seen;
};

static inline uint64_t bench_monotonic(void *userdata)
{
	return clock_monotonic(clock_system());
}

static inline uint64_t bench_boot(void *userdata)
{
	const struct bench *bench = userdata;

	return clock_boot(clock_system()) + (uint64_t)bench->skew_ns;
}

static inline int64_t bench_realtime(void *userdata)
{
	const struct bench *bench = userdata;

	return clock_realtime(clock_system()) + bench->skew_ns;
}

static inline void bench_watch(void *userdata, const char *type, const struct abnormal *abnormal)
{
	struct bench *bench = userdata;
	cJSON *json = NULL;

	bench->added += streq(type, "ADDED");
	bench->modified += streq(type, "MODIFIED");
	bench->deleted += streq(type, "DELETED");
	assert_int_equal(abnormal_encode(abnormal, &json), 0);
	assert_int_equal(json_set(bench->seen, abnormal->metadata.name, json), 0);
}

static inline void bench_ready(void *userdata, struct store_loaded *loaded)
{
	struct bench *bench = userdata;

	pipeline_resume(bench->pipeline, loaded);
	bench->ready = true;
}

static inline void bench_start(struct bench *bench)
{
	struct registry_options registry = {.settings = {[PLUGIN_COLLECTOR] = bench->collectors,
							 [PLUGIN_RECOVERER] = bench->recoverers}};
	struct store_options store = {.event = bench->base.event,
				      .directory = bench->node,
				      .history_ns = bench->history_ns};
	struct store_handlers handlers = {.on_ready = bench_ready, .userdata = bench};
	struct call_pool_options pool = {.event = bench->base.event,
					 .clock = &bench->clock,
					 .generation_path = bench->generation};

	bench->ready = false;
	assert_int_equal(call_pool_new(&pool, &bench->base.pool), 0);
	assert_int_equal(registry_new(&registry, &bench->registry), 0);
	assert_int_equal(store_start(&store, &handlers, &bench->store), 0);
	struct pipeline_options options = {
		.event = bench->base.event,
		.clock = &bench->clock,
		.store = bench->store,
		.registry = bench->registry,
		.pool = bench->base.pool,
		.node_name = "n1",
		.settings = bench->settings,
	};
	assert_int_equal(pipeline_new(&options, &bench->pipeline), 0);
	assert_int_equal(pipeline_watch(bench->pipeline, bench_watch, bench, &bench->watch), 0);
	WAIT_FOR(&bench->base, "the store to be ready", bench->ready);
}

/*
 * As a crash leaves it, but for what the store was still writing: running plug-ins die in the
 * middle.
 */
static inline void bench_stop(struct bench *bench)
{
	pipeline_free(TAKE_PTR(bench->pipeline));
	call_pool_free(TAKE_PTR(bench->base.pool));
	registry_free(TAKE_PTR(bench->registry));
	store_stop(TAKE_PTR(bench->store), NS_PER_S);
}

static inline void bench_restart(struct bench *bench)
{
	bench_stop(bench);
	bench_start(bench);
}

static inline int bench_new(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	assert_non_null(bench);
	log_set_level(LOG_LEVEL_ERROR);
	snprintf(bench->base.directory, sizeof(bench->base.directory),
		 "/tmp/lifeboat-pipeline-XXXXXX");
	assert_non_null(mkdtemp(bench->base.directory));
	snprintf(bench->node, sizeof(bench->node), "%s/state", bench->base.directory);
	snprintf(bench->generation, sizeof(bench->generation), "%s/generation",
		 bench->base.directory);
	assert_true(sd_event_new(&bench->base.event) >= 0);
	bench->clock = (struct clock){bench_monotonic, bench_boot, bench_realtime, bench};
	bench->history_ns = 24 * 3600 * NS_PER_S;
	bench->seen = cJSON_CreateObject();
	bench->settings = (struct pipeline_settings){.cooldown_ns = 300 * NS_PER_S,
						     .parallel = 4,
						     .live_maximum = 100,
						     .actions_per_hour = 1000};
	*state = bench;
	return 0;
}

static inline int bench_setup(void **state)
{
	bench_new(state);
	bench_start(*state);
	return 0;
}

static inline int bench_teardown(void **state)
{
	struct bench *bench = *state;

	if (bench->pipeline)
		bench_stop(bench);
	cJSON_Delete(bench->seen);
	cJSON_Delete(bench->collectors);
	cJSON_Delete(bench->recoverers);
	sd_event_unref(bench->base.event);
	directory_remove(bench->base.directory);
	free(bench);
	return 0;
}

static inline cJSON *parsed(const char *text)
{
	struct problem problem = {0};
	cJSON *json = NULL;

	if (json_parse(text, strlen(text), &json, &problem) < 0)
		fail_msg("%s in %s", problem.text, text);
	return json;
}

/*
 * An Abnormal NAME (NULL: none) about SUBJECT (NULL: none) whose plug-ins do as WORDS (members of
 * spec.context) tell.
 */
static inline struct abnormal *fault(struct bench *bench, const char *source, const char *name,
				     const char *subject, const char *words, const char *more_spec)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ cJSON *json = NULL;
	struct abnormal *abnormal = NULL;
	struct problem problem = {0};
	bool kernel = streq(source, "KernelEvent");

	assert_true(asprintf(&text,
			     "{\"apiVersion\":\"lifeboat.dev/"
			     "v1alpha1\",\"kind\":\"Abnormal\",\"metadata\":{},"
			     "\"spec\":{\"source\":\"%s\",\"context\":{\"dir\":\"%s\"%s%s}%s%s%s}}",
			     source, bench->base.directory, *words ? "," : "", words,
			     *more_spec ? "," : "", more_spec,
			     kernel ? ",\"kernelEvent\":{\"detector\":\"test\",\"type\":\"Test\","
				      "\"time\":"
				      "\"2026-11-23T10:00:00Z\",\"count\":1}"
				    : "") > 0);
	json = parsed(text);
	cJSON *metadata = cJSON_GetObjectItemCaseSensitive(json, "metadata");
	assert_int_equal(json_set_string(metadata, "name", name), 0);
	if (subject) {
		cJSON *annotations = cJSON_AddObjectToObject(metadata, "annotations");
		assert_int_equal(json_set_string(annotations, ANNOTATION_SUBJECT, subject), 0);
	}
	if (abnormal_decode(json, &abnormal, &problem) < 0)
		fail_msg("%s: %s", problem.field, problem.text);
	return abnormal;
}

struct submitted {
	unsigned times;
	int result;
	enum submit_result how;
	char name[128];
};

static inline void on_submitted(void *userdata, int result, enum submit_result how,
				const char *namespace, const char *name)
{
	struct submitted *submitted = userdata;

	submitted->times++;
	submitted->result = result;
	submitted->how = how;
	snprintf(submitted->name, sizeof(submitted->name), "%s", name ? name : "");
}

static inline struct submitted submit(struct bench *bench, struct abnormal *abnormal)
{
	struct submitted submitted = {0};
	int r = pipeline_submit(bench->pipeline, abnormal, on_submitted, &submitted);

	if (r < 0) {
		submitted.result = r;
		return submitted;
	}
	assert_int_equal(submitted.times, 0);
	WAIT_FOR(&bench->base, "a submission to be durable", submitted.times);
	return submitted;
}

static inline const cJSON *seen(struct bench *bench, const char *name, const char *path)
{
	return json_at(cJSON_GetObjectItemCaseSensitive(bench->seen, name), path);
}

static inline const char *seen_text(struct bench *bench, const char *name, const char *path)
{
	const char *text = cJSON_GetStringValue(seen(bench, name, path));

	return text ? text : "";
}

static inline bool has_ended(struct bench *bench, const char *name)
{
	const char *phase = seen_text(bench, name, "status.phase");

	return streq(phase, "Succeeded") || streq(phase, "Failed");
}

static inline const cJSON *action(struct bench *bench, const char *name, int index)
{
	return cJSON_GetArrayItem(seen(bench, name, "status.actions"), index);
}

static inline void wait_ended(struct bench *bench, const char *name)
{
	WAIT_FOR(&bench->base, name, has_ended(bench, name));
}

/* Submits and waits for the end. */
static inline void handle(struct bench *bench, struct abnormal *abnormal)
{
	char name[128];

	snprintf(name, sizeof(name), "%s", abnormal->metadata.name);
	struct submitted submitted = submit(bench, abnormal);
	assert_int_equal(submitted.result, 0);
	assert_int_equal(submitted.how, SUBMIT_CREATED);
	wait_ended(bench, name);
}

#define assert_text(bench, name, path, text)                                            \
	do {                                                                            \
		if (!streq(seen_text(bench, name, path), text)) {                       \
			_cleanup_free_ char *all_ = json_print_pretty(                  \
				cJSON_GetObjectItemCaseSensitive((bench)->seen, name)); \
			fail_msg("%s is \"%s\", not \"%s\", in %s", path,               \
				 seen_text(bench, name, path), text, all_);             \
		}                                                                       \
	} while (0)

#define assert_end(bench, name, the_phase, the_reason)                 \
	do {                                                           \
		assert_text(bench, name, "status.phase", the_phase);   \
		assert_text(bench, name, "status.reason", the_reason); \
	} while (0)

#define assert_action(bench, name, index, the_recoverer, the_outcome, the_verification)    \
	do {                                                                               \
		const cJSON *action_ = action(bench, name, index);                         \
		assert_non_null(action_);                                                  \
		assert_string_equal(json_string(action_, "recoverer"), the_recoverer);     \
		const char *outcome_ = json_string(action_, "outcome");                    \
		assert_string_equal(outcome_ ? outcome_ : "", the_outcome);                \
		const char *verification_ = json_string(action_, "verification");          \
		assert_string_equal(verification_ ? verification_ : "", the_verification); \
	} while (0)

/* How often the built-ins were called so: "gentle.recover". */
static inline int calls(struct bench *bench, const char *what)
{
	_cleanup_free_ char *text = NULL;
	char line[128];
	int count = 0;

	if (file_read(AT_FDCWD, test_path(&bench->base, "calls"), MIB, &text, NULL) < 0)
		return 0;
	snprintf(line, sizeof(line), "%s\n", what);
	for (const char *place = text; (place = strstr(place, line)); place++)
		count++;
	return count;
}

static inline void touch(struct bench *bench, const char *name)
{
	write_file(test_path(&bench->base, name), "", 0600);
}

static inline const char *reason_of(struct bench *bench, const char *name, const char *type)
{
	const cJSON *condition;

	cJSON_ArrayForEach (condition, seen(bench, name, "status.conditions")) {
		if (streq(json_string(condition, "type"), type))
			return json_string(condition, "reason");
	}
	return "";
}

#define KNOWN "\"holmes\":{\"diagnose\":\"yes\"}"
#define HANGS "\"holmes\":{\"diagnose\":\"hang\"}"
#define UNIT(test) cmocka_unit_test_setup_teardown(test, bench_setup, bench_teardown)
