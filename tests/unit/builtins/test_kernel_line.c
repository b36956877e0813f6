/* SPDX-License-Identifier: Apache-2.0 */
/* What is concluded from a line of the kernel's log, word for word. */
#include "builtin_fixture.h"

#define EVENT(type, details)                                                                       \
	"{\"apiVersion\":\"lifeboat.dev/"                                                          \
	"v1alpha1\",\"kind\":\"Abnormal\",\"metadata\":{\"name\":\"a\",\"namespace\":\"default\"}" \
	",\"spec\":{\"source\":\"KernelEvent\",\"kernelEvent\":{\"detector\":\"kernel_log\","      \
	"\"type\":\"" type "\",\"time\":\"2026-11-23T18:00:00Z\",\"details\":" details "}}}"

static int diagnose(struct plugin_fixture *fixture, const char *text)
{
	fixture_call(fixture, PLUGIN_DIAGNOSER, "kernel-line", text);
	return fixture->call.plugin->diagnose(&fixture->call);
}

static void a_disk_is_named_with_the_line_and_what_to_do(void **state)
{
	struct plugin_fixture *fixture = *state;

	assert_int_equal(
		diagnose(fixture, EVENT("DiskIOError",
					"{\"rule\":\"io-error\",\"line\":\"I/O error, dev sda, "
					"sector 96\",\"lines\":12,\"device\":\"sda\",\"writer\":"
					"\"kernel\"}")),
		PLUGIN_RECOGNISED);
	assert_true(fixture->abnormal->status.identifiable);
	assert_string_equal(fixture->abnormal->status.reason, "DiskIOError");
	fixture_expect_message(
		fixture,
		"The disk sda does not read or write what it is asked to.\n"
		"Evidence: the kernel logged \"I/O error, dev sda, sector 96\", the last of 12 "
		"such lines (rule io-error of detector kernel_log).\n"
		"Repair: none; it takes a person.\n"
		"Advice: what was to be written may be lost. Look at smartctl -a or nvme smart-log "
		"of the disk, at its cabling or, for a virtual or network disk, at its provider; "
		"move what uses it elsewhere, and replace it. lsblk -s tells what lies below a dm "
		"or md device.");
}

static void a_line_of_unknown_writer_says_so(void **state)
{
	struct plugin_fixture *fixture = *state;

	assert_int_equal(
		diagnose(fixture, EVENT("KernelBug", "{\"rule\":\"bug\",\"line\":\"BUG: x\","
						     "\"lines\":1}")),
		PLUGIN_RECOGNISED);
	assert_non_null(strstr(fixture->abnormal->status.message,
			       "The kernel made an error of its own.\nEvidence: the kernel logged "
			       "\"BUG: x\" (rule bug of detector kernel_log). Whether the kernel "
			       "itself wrote it is not known.\n"));
}

static void what_an_operators_rule_found_is_not_explained(void **state)
{
	struct plugin_fixture *fixture = *state;

	assert_int_equal(
		diagnose(fixture, EVENT("KernelLog", "{\"rule\":\"mine\",\"line\":\"x\"}")),
		PLUGIN_NOT_MINE);
	assert_int_equal(diagnose(fixture, EVENT("KernelBug", "{}")), PLUGIN_NOT_MINE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLUGIN_TEST(a_disk_is_named_with_the_line_and_what_to_do),
		PLUGIN_TEST(a_line_of_unknown_writer_says_so),
		PLUGIN_TEST(what_an_operators_rule_found_is_not_explained),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
