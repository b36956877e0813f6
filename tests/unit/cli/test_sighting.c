/* SPDX-License-Identifier: Apache-2.0 */
/* What a person reads of a detector's finding, letter by letter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cli/sighting.h"

static cJSON *parsed(const char *text)
{
	struct problem problem = {0};
	cJSON *json = NULL;

	if (json_parse(text, strlen(text), &json, &problem) < 0)
		fail_msg("%s", problem.text);
	return json;
}

static void expect_sighting(const char *event, const char *expected)
{
	_cleanup_buffer_ struct buffer whole = BUFFER(64 * KIB), text = BUFFER(64 * KIB);

	assert_int_equal(buffer_printf(&whole, "{\"spec\":{\"kernelEvent\":%s}}", event), 0);
	_cleanup_json_ cJSON *abnormal = parsed(whole.data);
	assert_int_equal(story_append_sighting(&text, abnormal), 0);
	assert_string_equal(buffer_text(&text), expected);
}

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define SANDBOX "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

static const char wedged[] =
	"{\"detector\":\"shim_stall\",\"type\":\"ShimUnresponsive\","
	"\"process\":{\"pid\":812,\"tgid\":812,\"comm\":\"containerd-shim\",\"uid\":0},"
	"\"container\":{\"runtime\":\"containerd\",\"id\":\"" ID "\",\"pod\":\"api-7f\","
	"\"podUid\":\"u\",\"namespace\":\"shop\",\"name\":\"api\",\"image\":\"shop/api:1\"},"
	"\"details\":{\"shim\":{\"pid\":812,\"startTime\":5,\"comm\":\"containerd-shim\",\"kind\":"
	"\"containerd-v1\",\"program\":\"/usr/bin/containerd-shim\",\"namespace\":\"k8s.io\",\"id\":"
	"\"" ID "\"},"
	"\"findings\":[\"stopped\",\"unresponsive\",\"init-held\",\"unreaped-child\"],"
	"\"thresholdSeconds\":10,\"longestSeconds\":65,"
	"\"unreaped\":{\"count\":212,\"children\":[{\"pid\":900,\"comm\":\"sh\",\"seconds\":65},"
	"{\"pid\":901,\"comm\":\"sleep\",\"seconds\":60},{\"pid\":902,\"comm\":\"sleep\",\"seconds\":59},"
	"{\"pid\":903,\"comm\":\"sleep\",\"seconds\":58}]},"
	"\"stopped\":{\"seconds\":30,\"tracer\":{\"pid\":77,\"comm\":\"gdb\"}},"
	"\"initHeld\":[{\"pid\":850,\"comm\":\"init\",\"container\":\"" ID "\","
	"\"seconds\":20,\"remaining\":3,\"heldBy\":\"task\",\"holders\":[{\"pid\":851,\"state\":\"D\","
	"\"comm\":\"dd\"}]}],"
	"\"request\":{\"protocol\":\"ttrpc\",\"method\":\"State\",\"container\":"
	"\"" ID "\",\"seconds\":12,\"outcome\":\"no answer\"},"
	"\"containers\":[{\"id\":\"" ID "\",\"pod\":\"api-7f\",\"namespace\":\"shop\","
	"\"name\":\"api\",\"processes\":0},{\"id\":\"" SANDBOX
	"\",\"pod\":\"api-7f\",\"namespace\":"
	"\"shop\",\"sandbox\":true,\"init\":{\"pid\":850,\"state\":\"Z\"},\"processes\":1}],"
	"\"containerCount\":4}}";

static void a_stalled_shim_is_told_with_whom_it_serves_and_all_that_is_wrong(void **state)
{
	expect_sighting(
		wedged,
		"ShimUnresponsive, by the detector shim_stall\n"
		"process containerd-shim (pid 812, uid 0)\n"
		"container api 0123456789ab of pod shop/api-7f (containerd)\n"
		"image shop/api:1\n"
		"shim /usr/bin/containerd-shim, started for 0123456789ab in the runtime's "
		"namespace k8s.io\n"
		"it has been stopped for 30s; attached to it is gdb (pid 77)\n"
		"its socket was asked (State of 0123456789ab): no answer after 12s\n"
		"init init (pid 850) of 0123456789ab has been dying for 20s, 3 tasks left in its "
		"pid namespace; held by dd (pid 851) in state D\n"
		"212 dead children are not reaped, the longest for 1m5s: sh (pid 900), sleep (pid "
		"901), sleep (pid 902) and 209 more\n"
		"threshold 10s\n"
		"serves container api 0123456789ab of pod shop/api-7f, its init is gone, 0 "
		"processes\n"
		"serves sandbox fedcba987654 of pod shop/api-7f, its init is a zombie, 1 process\n"
		"serves 2 more containers");
}

static void a_finding_without_its_details_is_told_all_the_same(void **state)
{
	expect_sighting("{\"detector\":\"shim_stall\",\"type\":\"ShimStopped\"}",
			"ShimStopped, by the detector shim_stall");
	expect_sighting("{\"detector\":\"shim_stall\",\"details\":{\"findings\":[\"stopped\","
			"\"unresponsive\",\"init-held\",\"unreaped-child\",\"new\",7]}}",
			"kernel event, by the detector shim_stall\n"
			"it is stopped\n"
			"it answers no request\n"
			"the init of a container is dying and cannot end\n"
			"it does not reap its dead children");
	expect_sighting(
		"{\"detector\":\"shim_stall\",\"details\":{\"findings\":\"stopped\","
		"\"longestSeconds\":1e300,\"shim\":[],\"containers\":7,\"unreaped\":\"x\"}}",
		"kernel event, by the detector shim_stall\n"
		"shim ?\n"
		"stalled for 0s (threshold 0s)");
}

static void a_name_cannot_begin_a_line_of_its_own(void **state)
{
	expect_sighting(
		"{\"detector\":\"shim_stall\",\"type\":\"a\\nb\",\"process\":{\"pid\":1,"
		"\"comm\":\"x\\nResult: well\"},\"details\":{\"findings\":[\"unreaped-child\"],"
		"\"shim\":{\"pid\":1,\"program\":\"/\\u001b[2J\\n\"},\"unreaped\":{\"count\":1,"
		"\"children\":[{\"pid\":2,\"comm\":\"\\r\\t\",\"seconds\":1}]}}}",
		"a?b, by the detector shim_stall\n"
		"process x?Result: well (pid 1)\n"
		"shim /?[2J?\n"
		"1 dead child is not reaped, the longest for 1s: ?? (pid 2)");
}

static void a_shim_of_one_container_does_not_name_it_twice(void **state)
{
	expect_sighting(
		"{\"detector\":\"shim_stall\",\"type\":\"ShimStopped\",\"container\":"
		"{\"id\":\"web\",\"name\":\"web\",\"pod\":\"p\"},\"details\":{\"shim\":{"
		"\"pid\":1,\"comm\":\"conmon\",\"id\":\"web\"},\"containers\":[{\"id\":"
		"\"web\",\"name\":\"web\",\"pod\":\"p\",\"init\":{\"pid\":2,\"state\":\"S\"},"
		"\"processes\":2}],\"containerCount\":1}}",
		"ShimStopped, by the detector shim_stall\n"
		"container web of pod p\n"
		"shim conmon, started for web\n"
		"serves that container alone, 2 processes");
}

static void a_detector_that_nobody_has_words_for_shows_its_details(void **state)
{
	expect_sighting("{\"detector\":\"new\",\"type\":\"New\",\"details\":{\"path\":\"/a\\nb\","
			"\"count\":3,\"who\":{\"pid\":1}}}",
			"New, by the detector new\n"
			"path: /a?b\n"
			"count: 3\n"
			"who: {\"pid\":1}");
}

static void each_detector_has_at_most_one_story(void **state)
{
	FOREACH_REGISTERED (sightings, struct sighting, one) {
		FOREACH_REGISTERED (sightings, struct sighting, other)
			assert_true(one == other || !streq(one->detector, other->detector));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stalled_shim_is_told_with_whom_it_serves_and_all_that_is_wrong),
		cmocka_unit_test(a_finding_without_its_details_is_told_all_the_same),
		cmocka_unit_test(a_name_cannot_begin_a_line_of_its_own),
		cmocka_unit_test(a_shim_of_one_container_does_not_name_it_twice),
		cmocka_unit_test(a_detector_that_nobody_has_words_for_shows_its_details),
		cmocka_unit_test(each_detector_has_at_most_one_story),
	};
	return cmocka_run_group_tests_name("sighting", tests, NULL, NULL);
}
