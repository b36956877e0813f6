/* SPDX-License-Identifier: Apache-2.0 */
/* Header lines of scripts: what they may say, and how what is wrong is named. */
#include "call_fixture.h"

#include "plugin/settings.h"
#include "plugin/script_header.h"

static struct script_header *parse(enum plugin_kind kind, const char *text)
{
	struct script_header *header = NULL;
	struct problem problem = {0};

	if (script_header_parse(kind, text, strlen(text), &header, &problem) < 0)
		fail_msg("%s: %s", problem.field, problem.text);
	return header;
}

static void refused(enum plugin_kind kind, const char *text, const char *field, const char *has)
{
	struct script_header *header = NULL;
	struct problem problem = {0};

	assert_int_equal(script_header_parse(kind, text, strlen(text), &header, &problem), -EINVAL);
	assert_null(header);
	assert_string_equal(problem.field, field);
	if (!strstr(problem.text, has))
		fail_msg("\"%s\" is without \"%s\"", problem.text, has);
}

static void all_keys_of_a_recoverer_are_read(void **state)
{
	_cleanup_(script_header_freep) struct script_header *header =
		parse(PLUGIN_RECOVERER,
		      "#!/bin/sh\n# lifeboat: order=-5 timeout=5s detectors=oom,hung_task\n"
		      "#lifeboat: disturbs=process plan=yes verify=yes idempotent=yes cooldown=5m\n"
		      "# lifeboat: verifyWithin=90s memory=64MiB summary=\"two words\"\necho\n");

	assert_true(header->has_order);
	assert_int_equal(header->order, -5);
	assert_int_equal(header->timeout_ns, 5 * NS_PER_S);
	assert_int_equal(header->detectors.count, 2);
	assert_string_equal(header->detectors.items[1], "hung_task");
	assert_int_equal(header->disturbs - 1, DISTURBS_PROCESS);
	assert_true(header->plan && header->verify && header->idempotent);
	assert_int_equal(header->cooldown_ns, 300 * NS_PER_S);
	assert_int_equal(header->verify_within_ns, 90 * NS_PER_S);
	assert_string_equal(header->memory, "64MiB");
	assert_string_equal(header->summary, "two words");
	/* Naming detectors is asking for kernel events. */
	assert_int_equal(header->source_mask, FOR_SOURCE(SOURCE_KERNEL_EVENT));
}

static void all_keys_of_a_collector_are_read(void **state)
{
	_cleanup_(script_header_freep) struct script_header *header =
		parse(PLUGIN_COLLECTOR,
		      "-- lifeboat: sources=Log,Custom required=yes troubleshooting=only\r\n");

	assert_false(header->has_order);
	assert_true(header->required);
	assert_int_equal(header->troubleshooting, TROUBLESHOOTING_ONLY);
	assert_int_equal(header->source_mask, FOR_SOURCE(SOURCE_LOG) | FOR_SOURCE(SOURCE_CUSTOM));
}

static void a_script_without_a_header_is_for_everything(void **state)
{
	_cleanup_(script_header_freep) struct script_header *header =
		parse(PLUGIN_RECOVERER, "#!/bin/sh\necho\n");

	assert_int_equal(header->source_mask, 0);
	assert_int_equal(header->disturbs, 0);
	assert_false(header->plan);
}

static void binary_files_have_no_header(void **state)
{
	static const char text[] = "\x7f"
				   "ELF\0\0# lifeboat: nonsense\n\0\0";
	struct script_header *header = NULL;
	struct problem problem = {0};

	assert_int_equal(
		script_header_parse(PLUGIN_COLLECTOR, text, sizeof(text), &header, &problem), 0);
	script_header_free(header);
}

static void lines_after_the_fortieth_are_not_read(void **state)
{
	char text[200] = "";

	memset(text, '\n', 40);
	snprintf(text + 40, sizeof(text) - 40, "# lifeboat: nonsense=1\n");
	_cleanup_(script_header_freep) struct script_header *header = parse(PLUGIN_COLLECTOR, text);
	assert_non_null(header);
	refused(PLUGIN_COLLECTOR, text + 1, "nonsense", "");
}

static void an_unknown_key_is_named(void **state)
{
	refused(PLUGIN_DIAGNOSER, "# lifeboat: timeuot=5s\n", "timeuot", "timeout");
}

static void a_key_of_another_kind_is_named(void **state)
{
	refused(PLUGIN_DIAGNOSER, "# lifeboat: disturbs=none\n", "disturbs", "");
	refused(PLUGIN_RECOVERER, "# lifeboat: required=yes\n", "required", "");
}

static void wrong_values_are_named(void **state)
{
	refused(PLUGIN_RECOVERER, "# lifeboat: disturbs=planet\n", "disturbs", "container");
	refused(PLUGIN_RECOVERER, "# lifeboat: verify=perhaps\n", "verify", "yes or no");
	refused(PLUGIN_RECOVERER, "# lifeboat: timeout=5\n", "timeout", "");
	refused(PLUGIN_RECOVERER, "# lifeboat: order=first\n", "order", "");
	refused(PLUGIN_RECOVERER, "# lifeboat: memory=5\n", "memory", "64MiB");
	refused(PLUGIN_RECOVERER, "# lifeboat: memory=5KiB\n", "memory", "16MiB to 64GiB");
	refused(PLUGIN_RECOVERER, "# lifeboat: sources=kernel\n", "sources", "KernelEvent");
	refused(PLUGIN_RECOVERER, "# lifeboat: summary=\"open\n", "summary", "quote");
	refused(PLUGIN_RECOVERER, "# lifeboat: order=1\n# lifeboat: order=2\n", "order", "twice");
	refused(PLUGIN_RECOVERER, "# lifeboat: verify\n", "", "\"verify\" is no key=value");
}

static void rates_are_read(void **state)
{
	uint64_t count, period;

	assert_int_equal(rate_parse("5/h", &count, &period), 0);
	assert_int_equal(count, 5);
	assert_int_equal(period, 3600 * NS_PER_S);
	assert_int_equal(rate_parse("1/10m", &count, &period), 0);
	assert_int_equal(period, 600 * NS_PER_S);
	assert_int_equal(rate_parse("5", &count, &period), -EINVAL);
	assert_int_equal(rate_parse("0/h", &count, &period), -EINVAL);
	assert_int_equal(rate_parse("5/", &count, &period), -EINVAL);
	assert_int_equal(rate_parse("5/0s", &count, &period), -EINVAL);
	assert_int_equal(rate_parse("-5/h", &count, &period), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_keys_of_a_recoverer_are_read),
		cmocka_unit_test(all_keys_of_a_collector_are_read),
		cmocka_unit_test(a_script_without_a_header_is_for_everything),
		cmocka_unit_test(binary_files_have_no_header),
		cmocka_unit_test(lines_after_the_fortieth_are_not_read),
		cmocka_unit_test(an_unknown_key_is_named),
		cmocka_unit_test(a_key_of_another_kind_is_named),
		cmocka_unit_test(wrong_values_are_named),
		cmocka_unit_test(rates_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
