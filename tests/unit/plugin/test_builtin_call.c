/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of built-ins: each in a process of its own, whose end, whatever it is, is the agent's news
 * only.
 */
#include "call_fixture.h"

#include <sys/mman.h>

#include "../skip.h"

#define UNIT(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

/* --- Built-ins that do what built-ins should not --- */

static int identify(struct plugin_call *call)
{
	cJSON *context = plugin_context(call);

	if (!context ||
	    json_set_string(context, "host", *call->host->root ? call->host->root : "/") < 0)
		return -ENOMEM;
	return plugin_identify(call, "Found", "seen %d times", 3);
}

static int not_mine(struct plugin_call *call)
{
	return PLUGIN_NOT_MINE;
}

static int unchanged(struct plugin_call *call)
{
	return PLUGIN_RECOGNISED;
}

static int fail_loudly(struct plugin_call *call)
{
	return plugin_fail(-EIO, "cannot read %s", "/dev/foo");
}

static int fail_silently(struct plugin_call *call)
{
	return -EIO;
}

static int crash(struct plugin_call *call)
{
	raise(SIGSEGV);
	return PLUGIN_RECOGNISED;
}

static int loop(struct plugin_call *call)
{
	for (volatile unsigned turns = 0;; turns++)
		;
	return PLUGIN_RECOGNISED;
}

static int allocate(struct plugin_call *call)
{
	void *memory =
		mmap(NULL, 256 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? plugin_fail(-ENOMEM, "no 256 MiB") : PLUGIN_RECOGNISED;
}

static int change_phase(struct plugin_call *call)
{
	call->abnormal->status.phase = PHASE_SUCCEEDED;
	return PLUGIN_RECOGNISED;
}

/* Succeeds if nothing of the agent is open in it. */
static int count_descriptors(struct plugin_call *call)
{
	for (int fd = 3; fd < 1024; fd++) {
		char link[64], target[256] = "";

		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		if (readlink(link, target, sizeof(target) - 1) < 0)
			continue;
		/* The host's roots, which the worker itself opened. */
		if (!streq(target, "/proc") && !streq(target, "/sys") && !streq(target, "/"))
			return plugin_fail(-EBADF, "descriptor %d is %s", fd, target);
	}
	return PLUGIN_RECOGNISED;
}

static int leave_file(struct plugin_call *call)
{
	if (plugin_artifact(call, "../out", "x", 1) != -EINVAL)
		return plugin_fail(-EINVAL, "a name with a slash was taken");
	int r = plugin_artifact(call, "report.txt", "four", 4);
	return r < 0 ? r : plugin_answer(call, cJSON_CreateString("done"));
}

struct limits {
	int64_t low, high;
	bool strict;
};

static const struct field limit_fields[] = {
	{.name = "low",
	 .kind = FIELD_INTEGER,
	 .offset = offsetof(struct limits, low),
	 .maximum = 100},
	{.name = "high",
	 .kind = FIELD_INTEGER,
	 .offset = offsetof(struct limits, high),
	 .maximum = 100},
	{.name = "strict", .kind = FIELD_BOOL, .offset = offsetof(struct limits, strict)},
};
static const struct schema limit_schema = {
	.name = "limits",
	.size = sizeof(struct limits),
	.fields = limit_fields,
	.field_count = ARRAY_SIZE(limit_fields),
	.extra_offset = SCHEMA_STRICT,
};

static void limit_defaults(void *settings)
{
	*(struct limits *)settings = (struct limits){.low = 5, .high = 50, .strict = true};
}

static int tell_settings(struct plugin_call *call)
{
	const struct limits *limits = call->settings;

	return plugin_identify(call, "Told", "%d %d %d", (int)limits->low, (int)limits->high,
			       limits->strict);
}

#define BUILTIN(symbol, plugin_name, function)      \
	PLUGIN(symbol) = {.name = plugin_name,      \
			  .summary = "test",        \
			  .kind = PLUGIN_DIAGNOSER, \
			  .diagnose = function,     \
			  .timeout_ns = 5 * NS_PER_S}
BUILTIN(builtin_identify, "identify", identify);
BUILTIN(builtin_not_mine, "not-mine", not_mine);
BUILTIN(builtin_unchanged, "unchanged", unchanged);
BUILTIN(builtin_fail, "fail", fail_loudly);
BUILTIN(builtin_fail_silently, "fail-silently", fail_silently);
BUILTIN(builtin_crash, "crash", crash);
BUILTIN(builtin_allocate, "allocate", allocate);
BUILTIN(builtin_change_phase, "change-phase", change_phase);
BUILTIN(builtin_count_descriptors, "count-descriptors", count_descriptors);
PLUGIN(builtin_loop) = {
	.name = "loop", .kind = PLUGIN_DIAGNOSER, .diagnose = loop, .timeout_ns = 300 * NS_PER_MS};
PLUGIN(builtin_settings) = {.name = "settings",
			    .kind = PLUGIN_DIAGNOSER,
			    .diagnose = tell_settings,
			    .settings = &limit_schema,
			    .defaults = limit_defaults};
PLUGIN(builtin_leave_file) = {
	.name = "leave-file", .kind = PLUGIN_COLLECTOR, .collect = leave_file};

/* --- Claims --- */

static void call_builtin(struct fixture *fixture, enum plugin_kind kind, const char *name,
			 const char *settings_text, struct call_result *ret_result)
{
	_cleanup_abnormal_ struct abnormal *abnormal = custom_abnormal();
	_cleanup_json_ cJSON *settings = settings_text ? cJSON_Parse(settings_text) : NULL;
	struct problem problem = {0};

	FOREACH_REGISTERED (plugins, struct plugin, plugin)
		if (plugin->kind == kind && streq(plugin->name, name))
			assert_int_equal(plugin_entry_new_builtin(plugin, settings, &fixture->entry,
								  &problem),
					 0);
	assert_non_null(fixture->entry);
	call_with(fixture, fixture->entry, kind == PLUGIN_COLLECTOR ? STEP_COLLECT : STEP_DIAGNOSE,
		  abnormal, kind == PLUGIN_COLLECTOR ? fixture->directory : NULL, ret_result);
}

static void a_built_in_answers_with_the_changed_abnormal(void **state)
{
	struct call_result result;

	call_builtin(*state, PLUGIN_DIAGNOSER, "identify", NULL, &result);
	assert_null(result.error);
	assert_int_equal(result.verdict, CALL_RECOGNISED);
	assert_string_equal(result.answer->status.reason, "Found");
	assert_string_equal(result.answer->status.message, "seen 3 times");
	assert_true(result.answer->status.identifiable);
	assert_non_null(json_at(result.answer->status.context, "identify.host"));
	call_result_clear(&result);
}

static void a_built_in_that_changes_nothing_has_no_answer(void **state)
{
	struct call_result result;

	call_builtin(*state, PLUGIN_DIAGNOSER, "unchanged", NULL, &result);
	assert_int_equal(result.verdict, CALL_RECOGNISED);
	assert_null(result.answer);
	call_result_clear(&result);
}

static void a_built_in_may_say_not_mine(void **state)
{
	struct call_result result;

	call_builtin(*state, PLUGIN_DIAGNOSER, "not-mine", NULL, &result);
	assert_int_equal(result.verdict, CALL_NOT_MINE);
	call_result_clear(&result);
}

static void a_failing_built_in_tells_its_reason(void **state)
{
	struct call_result result;

	call_builtin(*state, PLUGIN_DIAGNOSER, "fail", NULL, &result);
	assert_error_has(result, "exit status 1: cannot read /dev/foo");
	call_result_clear(&result);
}

static void a_built_in_that_fails_without_a_word_gets_the_errors_name(void **state)
{
	struct call_result result;

	call_builtin(*state, PLUGIN_DIAGNOSER, "fail-silently", NULL, &result);
	assert_error_has(result, "exit status 1: Input/output error");
	call_result_clear(&result);
}

static void a_crash_is_an_error_of_the_plug_in(void **state)
{
	struct call_result result;

	call_builtin(*state, PLUGIN_DIAGNOSER, "crash", NULL, &result);
	assert_error_has(result, "died of signal 11 (Segmentation fault)");
	call_result_clear(&result);
}

static void an_endless_loop_ends_at_its_deadline(void **state)
{
	struct call_result result;
	uint64_t start = test_now();

	call_builtin(*state, PLUGIN_DIAGNOSER, "loop", NULL, &result);
	assert_error_has(result, "time limit of 300ms");
	assert_true(test_now() - start < 5 * NS_PER_S);
	call_result_clear(&result);
}

static void memory_over_the_limit_is_not_given(void **state)
{
#ifdef __SANITIZE_ADDRESS__
	skip_because("the sanitizer's own tables are over any limit: needs a build without it");
#endif
	struct call_result result;

	call_builtin(*state, PLUGIN_DIAGNOSER, "allocate", NULL, &result);
	assert_error_has(result, "exit status 1: no 256 MiB");
	call_result_clear(&result);
}

static void memory_can_be_raised_by_the_configuration(void **state)
{
	struct call_result result;

	call_builtin(*state, PLUGIN_DIAGNOSER, "allocate", "{\"memory\":\"512MiB\"}", &result);
	assert_null(result.error);
	call_result_clear(&result);
}

static void a_built_in_may_not_move_the_phase(void **state)
{
	struct call_result result;

	call_builtin(*state, PLUGIN_DIAGNOSER, "change-phase", NULL, &result);
	assert_error_has(result, "status.phase");
	call_result_clear(&result);
}

static void a_built_in_inherits_no_descriptor_of_the_agent(void **state)
{
	struct call_result result;
	_cleanup_close_ int leak =
		open("/dev/zero", O_RDONLY); /* not even one that lacks CLOEXEC */

	assert_true(leak >= 0);
	call_builtin(*state, PLUGIN_DIAGNOSER, "count-descriptors", NULL, &result);
	assert_null(result.error);
	call_result_clear(&result);
}

static void settings_lie_over_the_defaults(void **state)
{
	struct call_result result;

	call_builtin(*state, PLUGIN_DIAGNOSER, "settings",
		     "{\"high\":70,\"strict\":false,\"timeout\":\"4s\"}", &result);
	assert_null(result.error);
	assert_string_equal(result.answer->status.message, "5 70 0");
	call_result_clear(&result);
}

static void a_collectors_file_is_listed(void **state)
{
	struct call_result result;

	call_builtin(*state, PLUGIN_COLLECTOR, "leave-file", NULL, &result);
	assert_null(result.error);
	assert_int_equal(result.artifacts.count, 1);
	const struct artifact *artifact = result.artifacts.items;
	assert_string_equal(artifact->name, "report.txt");
	assert_int_equal(artifact->bytes, 4);
	assert_null(result.note);
	call_result_clear(&result);
}

static void a_step_that_a_built_in_lacks_is_an_error(void **state)
{
	struct fixture *fixture = *state;
	struct problem problem = {0};
	struct call_result result;

	assert_int_equal(
		plugin_entry_new_builtin(&builtin_identify, NULL, &fixture->entry, &problem), 0);
	call_once(fixture, fixture->entry, STEP_VERIFY, &result);
	assert_error_has(result, "it has no step verify");
	call_result_clear(&result);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		UNIT(a_built_in_answers_with_the_changed_abnormal),
		UNIT(a_built_in_that_changes_nothing_has_no_answer),
		UNIT(a_built_in_may_say_not_mine),
		UNIT(a_failing_built_in_tells_its_reason),
		UNIT(a_built_in_that_fails_without_a_word_gets_the_errors_name),
		UNIT(a_crash_is_an_error_of_the_plug_in),
		UNIT(an_endless_loop_ends_at_its_deadline),
		UNIT(memory_over_the_limit_is_not_given),
		UNIT(memory_can_be_raised_by_the_configuration),
		UNIT(a_built_in_may_not_move_the_phase),
		UNIT(a_built_in_inherits_no_descriptor_of_the_agent),
		UNIT(settings_lie_over_the_defaults),
		UNIT(a_collectors_file_is_listed),
		UNIT(a_step_that_a_built_in_lacks_is_an_error),
	};

	SUPERVISOR_OR_RETURN(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
