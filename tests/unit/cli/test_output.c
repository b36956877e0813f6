/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person sees: tables, selectors, wrapping, and the story of an Abnormal, letter by letter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cli/rows.h"
#include "cli/selector.h"
#include "cli/story.h"
#include "cli/top_model.h"

/* 2026-11-23T17:46:01Z */
#define NOW INT64_C(1795455961000000000)

struct screen {
	struct terminal terminal;
	char *text;
	size_t length;
};

static void screen_open(struct screen *screen, unsigned width)
{
	*screen = (struct screen){0};
	screen->terminal = (struct terminal){.out = open_memstream(&screen->text, &screen->length),
					     .width = width};
	assert_non_null(screen->terminal.out);
}

static void screen_expect(struct screen *screen, const char *expected)
{
	fclose(screen->terminal.out);
	assert_string_equal(screen->text, expected);
	free(screen->text);
}

static cJSON *parsed(const char *text)
{
	struct problem problem = {0};
	cJSON *json = NULL;

	if (json_parse(text, strlen(text), &json, &problem) < 0)
		fail_msg("%s", problem.text);
	return json;
}

static const char thawed[] =
	"{\"metadata\":{\"name\":\"hung-task-b950685d-toywss\",\"namespace\":\"default\","
	"\"creationTimestamp\":"
	"\"2026-11-23T17:45:01Z\",\"labels\":{\"team\":\"storage\"},"
	"\"annotations\":{\"lifeboat.dev/subject\":\"frozen filesystem ext4 on loop0 (7:0)\"}},"
	"\"spec\":{\"source\":\"KernelEvent\",\"nodeName\":\"node-1\",\"kernelEvent\":{"
	"\"detector\":\"hung_task\",\"type\":"
	"\"HungTask\",\"time\":\"2026-11-23T17:45:01Z\",\"process\":{\"pid\":812,\"tgid\":812,"
	"\"comm\":\"dd\",\"uid\":0,"
	"\"parent\":{\"pid\":800,\"tgid\":800,\"comm\":\"bash\"}},\"container\":{\"id\":"
	"\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\",\"name\":\"api\","
	"\"pod\":\"api-7f\",\"namespace\":\"shop\",\"runtime\":\"containerd\"},"
	"\"stack\":{\"kernel\":[\"__schedule+0x1\",\"schedule+0x2\",\"percpu_rwsem_wait+0x9\","
	"\"mnt_want_write+0x1\"]},"
	"\"details\":{\"kind\":\"frozen-filesystem\",\"tasks\":3,\"longestSeconds\":125,"
	"\"waiters\":[{\"pid\":812,\"function\":"
	"\"percpu_rwsem_wait\",\"syscall\":\"openat\",\"killable\":false}],\"filesystem\":{\"id\":"
	"\"loop0\",\"type\":\"ext4\","
	"\"freezeLevel\":4}}}},"
	"\"status\":{\"phase\":\"Succeeded\",\"reason\":\"FilesystemFrozen\",\"message\":\"The "
	"filesystem ext4 on loop0 is "
	"frozen: whatever writes to it waits.\\nAdvice: thaw it with fsfreeze --unfreeze "
	"/mnt/a\\nRepair: thaws it where that is on\\nResult: the fault is gone\",\"diagnoser\":{\"name\":"
	"\"hung-task\"},\"occurrences\":{\"count\":2,\"firstTime\":\"2026-11-23T17:45:01Z\","
	"\"lastTime\":"
	"\"2026-11-23T17:45:31Z\"},\"information\":[{\"collector\":\"kernel-stacks\",\"state\":"
	"\"Collected\",\"duration\":"
	"\"8.25ms\",\"artifacts\":[{\"name\":\"kernel-stacks.txt\",\"path\":\"/var/lib/lifeboat/"
	"k.txt\",\"bytes\":12288}]},"
	"{\"collector\":\"open-files\",\"state\":\"Failed\",\"reason\":\"no answer within 10s\"},"
	"{\"collector\":\"host\",\"state\":\"Skipped\",\"reason\":\"not for this Abnormal\"}],"
	"\"conditions\":[{\"type\":\"InformationCollected\",\"status\":\"True\","
	"\"lastTransitionTime\":"
	"\"2026-11-23T17:45:01.050Z\"},{\"type\":\"Identified\",\"status\":\"True\","
	"\"lastTransitionTime\":"
	"\"2026-11-23T17:45:02.500Z\",\"message\":\"The filesystem ext4 on loop0 is "
	"frozen\"},{\"type\":\"Recovered\","
	"\"status\":\"True\",\"reason\":\"Verified\",\"lastTransitionTime\":\"2026-11-23T17:45:"
	"04Z\"}],"
	"\"actions\":[{\"recoverer\":\"thaw-filesystem\",\"target\":\"ext4 on loop0 at "
	"/mnt/a\",\"intentTime\":"
	"\"2026-11-23T17:45:03Z\",\"finishTime\":\"2026-11-23T17:45:03.020Z\",\"outcome\":\"Done\","
	"\"verification\":"
	"\"Verified\",\"message\":\"thawed /mnt/a\"}]}}";

static void the_story_is_told_in_the_order_of_time_and_ends_with_what_to_do(void **state)
{
	_cleanup_json_ cJSON *abnormal = parsed(thawed);
	struct screen screen;

	screen_open(&screen, 80);
	assert_int_equal(story_print(&screen.terminal, abnormal, NULL, NULL, NOW), 0);
	screen_expect(
		&screen,
		"Abnormal  default/hung-task-b950685d-toywss\n"
		"Phase     Succeeded: FilesystemFrozen\n"
		"Subject   frozen filesystem ext4 on loop0 (7:0)\n"
		"Seen      2 times, first 1m and last 30s ago, on node-1\n"
		"\n"
		"Cause\n"
		"  The filesystem ext4 on loop0 is frozen: whatever writes to it waits.\n"
		"  Advice    thaw it with fsfreeze --unfreeze /mnt/a\n"
		"  Result    the fault is gone\n"
		"\n"
		"Story\n"
		" 17:45:01Z  seen        HungTask, by the detector hung_task\n"
		"                        process dd (pid 812, uid 0), child of bash (pid 800)\n"
		"                        container api 0123456789ab of pod shop/api-7f\n"
		"                        (containerd)\n"
		"                        3 tasks wait, the longest for 2m5s, in percpu_rwsem_wait\n"
		"                        called from openat(2); no signal can end it\n"
		"                        filesystem ext4 on loop0, frozen\n"
		"                        kernel stack: percpu_rwsem_wait ← mnt_want_write\n"
		"     +50ms  collected   kernel-stacks (8ms)\n"
		"                        open-files failed: no answer within 10s\n"
		"     +1.5s  concluded   FilesystemFrozen, by the diagnoser hung-task\n"
		"     +2.0s  done        thaw-filesystem: ext4 on loop0 at /mnt/a\n"
		"                        thawed /mnt/a\n"
		"                        verified: the fault is gone, after 20ms\n"
		"     +3.0s  succeeded   Verified, 3s after it was first seen\n"
		"    +30.0s  seen again  2 times in all\n"
		"\n"
		"Files\n"
		"  /var/lib/lifeboat/\n"
		"    12 KiB  k.txt\n"
		"\n"
		"Next\n"
		"  A person has to look: it was seen again after this had ended. Until\n"
		"  pipeline.cooldown is over that is only counted here; then the next sighting\n"
		"  opens an Abnormal of its own. What was seen:\n"
		"    lifeboat events\n"
		"    lifeboat get -o yaml abnormal hung-task-b950685d-toywss  # everything that is "
		"known\n");
}

static void a_fault_that_nobody_knows_says_so_and_how_to_go_on(void **state)
{
	_cleanup_json_ cJSON *abnormal =
		parsed("{\"metadata\":{\"name\":\"slow\",\"namespace\":\"db\","
		       "\"creationTimestamp\":\"2026-11-23T17:45:01Z\"},"
		       "\"spec\":{\"source\":\"Log\",\"log\":{\"filePath\":\"/var/log/"
		       "db\",\"logEntry\":\"too \\u001b[31mslow\"}},"
		       "\"status\":{\"phase\":\"Failed\",\"conditions\":[{\"type\":\"Identified\","
		       "\"status\":\"False\",\"reason\":"
		       "\"NotIdentified\",\"lastTransitionTime\":\"2026-11-23T17:45:01.100Z\"}]}}");
	struct screen screen;

	screen_open(&screen, 80);
	assert_int_equal(story_print(&screen.terminal, abnormal, NULL, NULL, NOW), 0);
	screen_expect(
		&screen,
		"Abnormal  db/slow\n"
		"Phase     Failed\n"
		"Seen      once, 1m ago\n"
		"\n"
		"Cause\n"
		"  Not known: no diagnoser recognised this fault.\n"
		"\n"
		"Story\n"
		" 17:45:01Z  seen        in the log /var/log/db\n"
		"                        too ?[31mslow\n"
		"    +100ms  concluded   no diagnoser recognised it\n"
		"    +100ms  failed      100ms after it was first seen\n"
		"\n"
		"Next\n"
		"  A person has to look: nothing here knows this fault. What was collected is\n"
		"  above and in:\n"
		"    lifeboat get -o yaml abnormal slow -n db  # all of it\n"
		"    lifeboat collect host --abnormal slow -n db  # or another collector\n");
}

#define UNREPAIRED(ACTIONS)                                                                                        \
	"{\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"},\"spec\":{\"source\":"                           \
	"\"KernelEvent\",\"kernelEvent\":{\"detector\":\"oom\"}},\"status\":{\"phase\":\"Failed\","                \
	"\"conditions\":[{\"type\":\"Identified\",\"status\":\"True\",\"reason\":\"Leak\"}],\"actions\":[" ACTIONS \
	"]}}"

#define CLEARED                                                                                       \
	"{\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"},\"spec\":{\"source\":"              \
	"\"KernelEvent\"},\"status\":{\"phase\":\"Failed\",\"conditions\":[{\"type\":\"Identified\"," \
	"\"status\":\"True\"}],\"context\":{\"cleared\":{\"time\":\"2026-11-23T17:46:00Z\"}}}}"

static void expect_next(const char *abnormal_text, const char *expected)
{
	_cleanup_json_ cJSON *abnormal = parsed(abnormal_text);
	_cleanup_json_ cJSON *recoverers = parsed(
		"[{\"name\":\"settled\",\"enabled\":true},"
		"{\"name\":\"thaw\",\"enabled\":false,\"detectors\":[\"hung_task\"]},"
		"{\"name\":\"bad\",\"enabled\":false,\"refusal\":\"others can write it\"},"
		"{\"name\":\"restart\",\"enabled\":false,\"detectors\":[\"hung_task\",\"oom\"]},"
		"{\"name\":\"kill\",\"enabled\":false,\"sources\":[\"KernelEvent\"]}]");
	struct screen screen;

	screen_open(&screen, 80);
	assert_int_equal(story_print(&screen.terminal, abnormal, NULL, recoverers, NOW), 0);
	fclose(screen.terminal.out);
	if (!strstr(screen.text, expected))
		fail_msg("no \"%s\" in: %s", expected, screen.text);
	free(screen.text);
}

static void a_fault_not_repaired_tells_what_could_repair_it(void **state)
{
	expect_next(UNREPAIRED(""), "nothing was repaired. Repairs for such faults that are\n"
				    "  off here: restart, kill. What each would do:\n"
				    "    lifeboat recover restart --dry-run --abnormal a\n"
				    "    lifeboat recover kill --dry-run --abnormal a\n");
	/* What no detector saw may be any recoverer's, as in the chain. */
	expect_next("{\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"},\"spec\":{\"source\":"
		    "\"Custom\"},\"status\":{\"phase\":\"Failed\",\"conditions\":[{\"type\":"
		    "\"Identified\",\"status\":\"True\"}]}}",
		    "off here: thaw, restart. What each would do:\n"
		    "    lifeboat recover thaw --dry-run --abnormal a\n"
		    "    lifeboat recover restart --dry-run --abnormal a\n");
	expect_next(UNREPAIRED("{\"recoverer\":\"restart\",\"outcome\":\"DryRun\"}"),
		    "    lifeboat recover restart --abnormal a  # asks before it acts\n");
	expect_next(UNREPAIRED(""), "concluded   Leak\n");
	expect_next(UNREPAIRED("{\"recoverer\":\"kill\",\"outcome\":\"Refused\"}"),
		    "is settled:\n"
		    "    lifeboat recover kill --abnormal a  # asks before it acts\n");
	expect_next(UNREPAIRED("{\"recoverer\":\"restart\",\"outcome\":\"Done\"}"),
		    "what was tried above has not ended the");
	expect_next(UNREPAIRED("{\"recoverer\":\"kill\",\"outcome\":\"Done\",\"verification\":"
			       "\"Verified\"}"),
		    "Nothing has to be done now: kill has repaired it since.\n");
	expect_next(CLEARED, "Nothing has to be done now: the fault has gone away since.\n");
}

static void a_story_of_an_empty_object_is_still_a_story(void **state)
{
	_cleanup_json_ cJSON *abnormal = parsed("{}");
	struct screen screen;

	screen_open(&screen, 80);
	assert_int_equal(story_print(&screen.terminal, abnormal, NULL, NULL, NOW), 0);
	fclose(screen.terminal.out);
	assert_non_null(strstr(screen.text, "Not known yet"));
	free(screen.text);
}

static void the_table_has_kubectls_shape_and_is_aligned_by_columns_not_bytes(void **state)
{
	_cleanup_json_ cJSON *one = parsed(thawed);
	_cleanup_json_ cJSON *two = parsed("{\"metadata\":{\"name\":\"größe-三\","
					   "\"creationTimestamp\":\"2026-11-23T17:46:00Z\"},"
					   "\"spec\":{\"source\":\"Custom\"}}");
	_cleanup_rows_ struct rows rows = {.resource = RESOURCE_ABNORMAL, .now_realtime_ns = NOW};
	struct screen screen;

	screen_open(&screen, 80);
	rows_start(&rows);
	assert_int_equal(rows_add(&rows, one, false), 0);
	rows_print(&rows, &screen.terminal);
	assert_int_equal(rows_add(&rows, two, false), 0);
	assert_int_equal(rows_add(&rows, one, true), 0);
	rows_print(&rows, &screen.terminal);
	screen_expect(
		&screen,
		"NAME                        PHASE       REASON             COUNT   AGE   SUBJECT\n"
		"hung-task-b950685d-toywss   Succeeded   FilesystemFrozen   2       1m    "
		"frozen filesystem ext4 on loop0 (7:0)\n"
		"größe-三                     Created     <none>             1       1s    <none>\n"
		"hung-task-b950685d-toywss   (deleted)   FilesystemFrozen   2       1m    "
		"frozen filesystem ext4 on loop0 (7:0)\n");
}

static void a_long_path_keeps_both_its_ends(void **state)
{
	_cleanup_free_ char *text =
		text_shorten("/kubepods.slice/pod1234/cri-containerd-abcdef.scope", 30);

	assert_int_equal(text_width(text), 30);
	assert_true(startswith(text, "/kubepods"));
	assert_true(endswith(text, "abcdef.scope"));
	assert_non_null(strstr(text, "…"));
}

static void what_a_process_calls_itself_cannot_steer_the_terminal(void **state)
{
	struct screen screen;

	screen_open(&screen, 80);
	terminal_text(&screen.terminal, COLOUR_NONE, "a\033[2Jb\xc2\x9b\xff\nc é");
	screen_expect(&screen, "a?[2Jb???c é");
}

static void words_wrap_and_never_break(void **state)
{
	struct screen screen;

	screen_open(&screen, 20);
	terminal_wrap(&screen.terminal, COLOUR_NONE, 2,
		      "one two three four /a/very/long/path/that/stays five\nsix");
	screen_expect(&screen,
		      "one two three four\n  /a/very/long/path/that/stays\n  five\n  six\n");
}

static bool fits(const char *text, const char *labels)
{
	_cleanup_(selector_freep) struct selector *selector = NULL;
	_cleanup_json_ cJSON *json = parsed(labels);
	struct problem problem = {0};

	if (selector_parse(text, &selector, &problem) < 0)
		fail_msg("%s: %s", text, problem.text);
	return selector_matches(selector, json);
}

static void selectors_mean_what_they_mean_in_kubectl(void **state)
{
	static const char labels[] = "{\"a\":\"1\",\"b\":\"2\",\"x.y/z\":\"w\"}";

	assert_true(fits("", labels));
	assert_true(fits("a=1", labels));
	assert_true(fits("a==1 , b!=3", labels));
	assert_false(fits("a=2", labels));
	assert_true(fits("c!=1", labels));
	assert_true(fits("a in (1, 2),x.y/z", labels));
	assert_false(fits("a notin (1,2)", labels));
	assert_true(fits("c notin (1)", labels));
	assert_true(fits("!c", labels));
	assert_false(fits("!a", labels));
	assert_true(fits("in=1", "{\"in\":\"1\"}"));
}

static void a_wrong_selector_is_refused_with_its_place(void **state)
{
	static const char *const wrong[] = {"=1", "a=1=2", "a in 1", "a in (1", "a b", "(", ",,"};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		_cleanup_(selector_freep) struct selector *selector = NULL;
		struct problem problem = {0};

		if (selector_parse(wrong[i], &selector, &problem) == 0)
			fail_msg("\"%s\" was taken", wrong[i]);
		assert_true(problem.text[0]);
	}
}

static cJSON *numbered(int number, const char *phase)
{
	char text[256];

	snprintf(text, sizeof(text),
		 "{\"metadata\":{\"name\":\"n%d\",\"namespace\":\"default\"},\"status\":{\"phase\":"
		 "\"%s\",\"conditions\":[{"
		 "\"lastTransitionTime\":\"2026-11-23T17:45:%02dZ\"}]}}",
		 number, phase, number);
	return parsed(text);
}

static void top_keeps_what_is_live_and_the_latest_that_ended(void **state)
{
	_cleanup_(top_model_clear) struct top_model model;

	assert_int_equal(top_model_start(&model), 0);
	for (int i = 0; i < 20; i++)
		assert_int_equal(top_model_change(&model, "ADDED", numbered(i, "Diagnosing")), 0);
	assert_int_equal(cJSON_GetArraySize(model.live), 20);
	for (int i = 0; i < 15; i++)
		assert_int_equal(
			top_model_change(&model, "MODIFIED", numbered((i * 7) % 15, "Failed")), 0);
	assert_int_equal(cJSON_GetArraySize(model.live), 5);
	assert_int_equal(cJSON_GetArraySize(model.recent), TOP_RECENT_MAX);
	assert_string_equal(object_name(model.recent->child), "n14");
	assert_string_equal(object_name(model.recent->child->next), "n13");
	assert_int_equal(top_model_change(&model, "DELETED", numbered(14, "Failed")), 0);
	assert_string_equal(object_name(model.recent->child), "n13");
	assert_int_equal(top_model_change(&model, "DELETED", numbered(17, "Diagnosing")), 0);
	assert_int_equal(cJSON_GetArraySize(model.live), 4);
}

static void expect_pressure(const char *pressure, const char *line)
{
	_cleanup_(top_model_clear) struct top_model model;
	struct screen screen;

	assert_int_equal(top_model_start(&model), 0);
	model.pressure = pressure ? parsed(pressure) : NULL;
	screen_open(&screen, 80);
	assert_int_equal(top_model_print(&model, &screen.terminal, 0), 0);
	fclose(screen.terminal.out);
	const char *found = strstr(screen.text, "\npressure");
	assert_non_null(found);
	if (!startswith(found + 1, line))
		fail_msg("expected \"%s\" in:\n%s", line, screen.text);
	free(screen.text);
}

static void top_says_which_pressure_is_not_known(void **state)
{
	expect_pressure(NULL, "pressure   not known\n\n");
	expect_pressure(
		"{\"cpu\":{\"some\":{\"avg10\":12.5}},"
		"\"memory\":{\"some\":{\"avg10\":0},\"full\":{\"avg10\":0}}}",
		"pressure   cpu 12.5 %   memory 0.0 % (all tasks 0.0 %)   io not known   of 10 s\n");
}

static void bytes_are_told_in_their_unit(void **state)
{
	char text[BYTES_TEXT_SIZE];

	assert_string_equal(bytes_format(827, text), "827 B");
	assert_string_equal(bytes_format(12288, text), "12 KiB");
	assert_string_equal(bytes_format(1610612736, text), "1.5 GiB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_story_is_told_in_the_order_of_time_and_ends_with_what_to_do),
		cmocka_unit_test(a_fault_that_nobody_knows_says_so_and_how_to_go_on),
		cmocka_unit_test(a_fault_not_repaired_tells_what_could_repair_it),
		cmocka_unit_test(a_story_of_an_empty_object_is_still_a_story),
		cmocka_unit_test(the_table_has_kubectls_shape_and_is_aligned_by_columns_not_bytes),
		cmocka_unit_test(a_long_path_keeps_both_its_ends),
		cmocka_unit_test(what_a_process_calls_itself_cannot_steer_the_terminal),
		cmocka_unit_test(words_wrap_and_never_break),
		cmocka_unit_test(selectors_mean_what_they_mean_in_kubectl),
		cmocka_unit_test(a_wrong_selector_is_refused_with_its_place),
		cmocka_unit_test(top_keeps_what_is_live_and_the_latest_that_ended),
		cmocka_unit_test(top_says_which_pressure_is_not_known),
		cmocka_unit_test(bytes_are_told_in_their_unit),
	};
	return cmocka_run_group_tests_name("output", tests, NULL, NULL);
}
