/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The examples of docs/plugins.md do what the page says: the scripts are taken out of it and
 * called, the built-ins compiled. Run from the repository's root, as `make check-unit` does.
 */
#include "call_fixture.h"

#include <sys/wait.h>

#include "../skip.h"

#define UNIT(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
#define PAGE "docs/plugins.md"
#define MARK "<!-- example: "

/* The code block after the mark that names the example; the caller's to free. */
static char *example(const char *name)
{
	_cleanup_free_ char *page = NULL;
	char mark[256];

	if (file_read(AT_FDCWD, PAGE, 1 * MIB, &page, NULL) < 0)
		fail_msg("cannot read " PAGE ": run this test from the repository's root");
	snprintf(mark, sizeof(mark), MARK "%s -->\n```", name);
	const char *start = strstr(page, mark);
	if (!start)
		fail_msg(PAGE " has no example %s", name);
	start = strchr(start + strlen(mark), '\n') + 1;
	const char *end = strstr(start, "\n```");
	assert_non_null(end);
	return strndup(start, (size_t)(end - start) + 1);
}

static struct plugin_entry *example_entry(struct fixture *fixture, enum plugin_kind kind,
					  const char *name)
{
	_cleanup_free_ char *text = example(name);

	write_file(test_path(fixture, strrchr(name, '/') + 1), text, 0755);
	assert_int_equal(plugin_entry_new_script(kind, fixture->directory, strrchr(name, '/') + 1,
						 NULL, &fixture->entry),
			 0);
	if (fixture->entry->refusal)
		fail_msg("%s is refused: %s", name, fixture->entry->refusal);
	assert_non_null(fixture->entry->summary);
	return fixture->entry;
}

static void skip_without_python(void)
{
	if (access("/usr/bin/python3", X_OK) < 0 && access("/usr/local/bin/python3", X_OK) < 0) {
		skip_because("needs python3 in /usr/bin");
	}
}

static struct abnormal *abnormal_of(const char *format, ...)
{
	char text[4096];
	struct abnormal *abnormal = NULL;
	struct problem problem = {0};
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (abnormal_parse(text, strlen(text), &abnormal, &problem) < 0)
		fail_msg("%s: %s", problem.field, problem.text);
	return abnormal;
}

#define HEAD                              \
	"{\"apiVersion\":\"lifeboat.dev/" \
	"v1alpha1\",\"kind\":\"Abnormal\",\"metadata\":{\"name\":\"a\"},\"spec\":"

static void the_example_collector_leaves_its_files(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_abnormal_ struct abnormal *abnormal = custom_abnormal();
	struct plugin_entry *entry =
		example_entry(fixture, PLUGIN_COLLECTOR, "collectors.d/interrupts.sh");
	struct call_result result;
	char directory[256];

	assert_true(entry->troubleshooting);
	snprintf(directory, sizeof(directory), "%s", test_path(fixture, "artifacts"));
	call_with(fixture, entry, STEP_COLLECT, abnormal, directory, &result);
	assert_null(result.error);
	assert_int_equal(result.verdict, CALL_RECOGNISED);
	assert_int_equal(result.artifacts.count, 2);
	call_result_clear(&result);
	call_with(fixture, entry, STEP_COLLECT, abnormal, NULL, &result);
	assert_int_equal(result.verdict, CALL_NOT_MINE);
	call_result_clear(&result);
}

static void the_example_diagnoser_knows_its_fault_and_no_other(void **state)
{
	struct fixture *fixture = *state;
	struct call_result result;

	skip_without_python();
	struct plugin_entry *entry =
		example_entry(fixture, PLUGIN_DIAGNOSER, "diagnosers.d/disk-full.py");
	_cleanup_abnormal_ struct abnormal *full = abnormal_of(
		HEAD "{\"source\":\"Log\",\"log\":{\"filePath\":\"/var/log/x\",\"logEntry\":"
		     "\"cp: error writing /data/x: No space left on device\"}}}");
	_cleanup_abnormal_ struct abnormal *other =
		abnormal_of(HEAD "{\"source\":\"Log\",\"log\":{\"filePath\":\"/var/log/"
				 "x\",\"logEntry\":\"all is well\"}}}");
	assert_true(plugin_entry_matches(entry, full));
	call_with(fixture, entry, STEP_DIAGNOSE, full, NULL, &result);
	assert_null(result.error);
	assert_true(result.answer->status.identifiable);
	assert_string_equal(result.answer->status.reason, "DiskFull");
	assert_string_equal(
		json_string(cJSON_GetObjectItem(result.answer->status.context, "disk-full"),
			    "path"),
		"/data/x");
	call_result_clear(&result);
	call_with(fixture, entry, STEP_DIAGNOSE, other, NULL, &result);
	assert_int_equal(result.verdict, CALL_NOT_MINE);
	call_result_clear(&result);
}

static void step(struct fixture *fixture, struct abnormal *abnormal, enum plugin_step which,
		 enum call_verdict verdict)
{
	struct call_result result;

	call_with(fixture, fixture->entry, which, abnormal, NULL, &result);
	if (result.error)
		fail_msg("%s: %s", plugin_step_names[which], result.error);
	assert_int_equal(result.verdict, verdict);
	if (result.answer)
		assert_int_equal(answer_merge(abnormal, result.answer), 0);
	call_result_clear(&result);
}

static void the_example_recoverer_plans_acts_and_verifies(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_abnormal_ struct abnormal *abnormal = NULL;
	char file[256];

	skip_without_python();
	struct plugin_entry *entry =
		example_entry(fixture, PLUGIN_RECOVERER, "recoverers.d/drop-oversized-file.py");
	assert_true(entry->can_plan && entry->can_verify && entry->idempotent);
	snprintf(file, sizeof(file), "%s", test_path(fixture, "cache"));
	abnormal = abnormal_of(HEAD "{\"source\":\"Custom\",\"context\":{\"oversizedFile\":{"
				    "\"path\":\"%s\",\"limit\":3}}}}",
			       file);
	write_file(file, "abc", 0600);
	step(fixture, abnormal, STEP_PLAN, CALL_NOT_MINE);
	write_file(file, "abcd", 0600);
	step(fixture, abnormal, STEP_PLAN, CALL_RECOGNISED);
	step(fixture, abnormal, STEP_VERIFY, CALL_NOT_MINE);
	/* Another file of that name is not the one that was planned. */
	write_file(file, "abcde", 0600);
	step(fixture, abnormal, STEP_RECOVER, CALL_NOT_MINE);
	step(fixture, abnormal, STEP_PLAN, CALL_RECOGNISED);
	step(fixture, abnormal, STEP_RECOVER, CALL_RECOGNISED);
	step(fixture, abnormal, STEP_VERIFY, CALL_RECOGNISED);
}

static void the_example_built_ins_compile_without_a_warning(void **state)
{
	static const char *const names[] = {"builtin collectors/uptime.c",
					    "builtin diagnosers/large_oom.c"};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *text = example(names[i]);
		char path[256];
		int status;

		snprintf(path, sizeof(path), "%s", test_path(fixture, "example.c"));
		write_file(path, text, 0600);
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			execlp("cc", "cc", "-std=gnu17", "-D_GNU_SOURCE", "-fsyntax-only", "-Wall",
			       "-Wextra", "-Werror", "-Wno-unused-parameter", "-Iuser", "-include",
			       "user/base/banned.h", path, NULL);
			_exit(127);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		UNIT(the_example_collector_leaves_its_files),
		UNIT(the_example_diagnoser_knows_its_fault_and_no_other),
		UNIT(the_example_recoverer_plans_acts_and_verifies),
		UNIT(the_example_built_ins_compile_without_a_warning),
	};

	SUPERVISOR_OR_RETURN(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
