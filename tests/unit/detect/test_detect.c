/* SPDX-License-Identifier: Apache-2.0 */
/* The framework, on detectors of the test's own whose rungs hold or break as told. */
#include "../host/fake_root.h"

#include "detect/detect.h"
#include "detect/pins.h"
#include "detect/ring.h"
#include "../skip.h"

/* What the detectors below do and saw. */
static struct {
	int first_probe, first_start; /* what the first hook answers */
	unsigned starts, stops, looks, events, states_alive;
	struct finding last;
	unsigned findings;
} world;

struct toy_settings {
	uint64_t interval_ns;
	bool loud;
};

struct toy_state {
	bool alive;
	char *allocated;
};

static int probe_first(const struct btf *btf, const struct host *host, char *reason,
		       size_t reason_size)
{
	if (world.first_probe < 0)
		snprintf(reason, reason_size, "this kernel is too good for it");
	return world.first_probe;
}

static int start_common(struct detector_run *run, int result)
{
	struct toy_state *state = run->state;

	assert_false(state->alive);
	assert_null(state->allocated);
	state->alive = true;
	state->allocated = strdup("what a failed start leaves behind");
	world.starts++;
	world.states_alive++;
	return result;
}

static int start_first(struct detector_run *run, char *reason, size_t reason_size)
{
	int r = start_common(run, world.first_start);

	return r < 0 ? detector_fail(reason, reason_size, r, "attaching the toy") : 0;
}

static int start_second(struct detector_run *run, char *reason, size_t reason_size)
{
	return start_common(run, 0);
}

static void stop(struct detector_run *run)
{
	struct toy_state *state = run->state;

	assert_true(state->alive);
	free(state->allocated);
	world.stops++;
	world.states_alive--;
}

static uint64_t look(struct detector_run *run)
{
	const struct toy_settings *settings = run->settings;
	struct finding finding = {
		.detector = "toy",
		.type = "Toy",
		.subject = strdup("something"),
		.event = event_json(run, "Toy", 0, 3),
	};

	world.looks++;
	detector_report(run, &finding);
	assert_null(finding.event);
	return settings->interval_ns;
}

static void on_event(struct detector_run *run, const struct event_header *header)
{
	world.events++;
}

static const struct hook toy_hooks[] = {
	{.name = HOOK_POLL "first", .probe = probe_first, .start = start_first},
	{.name = HOOK_POLL "second",
	 .start = start_second,
	 .degraded = true,
	 .shortfall = "Sees half of it"},
	{},
};
static const struct field toy_fields[] = {
	SCHEMA_FIELD(struct toy_settings, interval_ns, "interval", FIELD_DURATION,
		     .minimum = NS_PER_MS, .maximum = NS_PER_S),
	SCHEMA_FIELD(struct toy_settings, loud, "loud", FIELD_BOOL),
};
static const struct schema toy_schema =
	SCHEMA("toy settings", struct toy_settings, toy_fields, .extra_offset = SCHEMA_STRICT);

static void toy_defaults(void *settings)
{
	*(struct toy_settings *)settings =
		(struct toy_settings){.interval_ns = 5 * NS_PER_MS, .loud = true};
}

static const uint16_t toy_types[] = {EVENT_TYPE_COUNT - 1, EVENT_NONE};

DETECTOR(toy_detector) = {
	.name = "toy",
	.summary = "For the tests",
	.hooks = toy_hooks,
	.settings = &toy_schema,
	.defaults = toy_defaults,
	.state_size = sizeof(struct toy_state),
	.stop = stop,
	.look = look,
	.event = on_event,
	.event_types = toy_types,
	.event_size = sizeof(struct event_header) + 8,
};

static void on_finding(void *userdata, struct finding *finding)
{
	sd_event *event = userdata;

	finding_clear(&world.last);
	world.last = *finding;
	*finding = (struct finding){};
	if (++world.findings == 3)
		sd_event_exit(event, 0);
}

static cJSON *parse(const char *text)
{
	struct problem problem = {};
	cJSON *json = NULL;
	char line[700];

	if (json_parse(text, strlen(text), &json, &problem) < 0)
		fail_msg("%s", problem_line(&problem, line, sizeof(line)));
	return json;
}

/* SETTINGS for the toy; the real detectors are off. */
static cJSON *settings_of_toy(const char *settings)
{
	cJSON *json = cJSON_CreateObject();

	FOREACH_REGISTERED (detectors, struct detector, detector)
		cJSON_AddItemToObject(json, detector->name,
				      streq(detector->name, "toy") ? parse(settings)
								   : parse("{\"enabled\":false}"));
	return json;
}

/* Starts the toy with SETTINGS; the real detectors are off. */
static struct detect *start_toy(const struct fake_root *root, sd_event *event, const char *settings)
{
	struct detect_options options = {
		.event = event,
		.host = root->host,
		.clock = clock_system(),
		.on_finding = on_finding,
		.userdata = event,
	};
	cJSON *json = settings_of_toy(settings);
	struct detect *detect = NULL;
	struct problem problem = {};

	assert_int_equal(detect_check_settings(json, &problem), 0);
	options.settings = json;
	assert_int_equal(detect_start(&options, &detect, &problem), 0);
	cJSON_Delete(json);
	return detect;
}

static cJSON *toy_status(struct detect *detect, const struct fake_root *root)
{
	cJSON *list = detect_status(detect, root->host), *item, *found = NULL;

	cJSON_ArrayForEach (item, list) {
		if (streq(json_string(item, "name"), "toy"))
			found = item;
		else if (detect)
			assert_string_equal(json_string(item, "status"), "disabled");
	}
	assert_non_null(found);
	found = cJSON_Duplicate(found, true);
	cJSON_Delete(list);
	return found;
}

static void assert_status(struct detect *detect, const struct fake_root *root, const char *status,
			  const char *hook, const char *reason_part)
{
	cJSON *toy = toy_status(detect, root);

	assert_string_equal(json_string(toy, "status"), status);
	assert_string_equal(json_string(toy, "hook"), hook);
	if (!strstr(json_string(toy, "reason"), reason_part))
		fail_msg("\"%s\" is not in \"%s\"", reason_part, json_string(toy, "reason"));
	if (!*reason_part)
		assert_string_equal(json_string(toy, "reason"), "");
	cJSON_Delete(toy);
}

static int setup(void **state)
{
	memset(&world, 0, sizeof(world));
	return fake_root_setup(state);
}

static int teardown(void **state)
{
	finding_clear(&world.last);
	return fake_root_teardown(state);
}

static void the_best_hook_is_taken(void **state)
{
	struct detect *detect = start_toy(*state, NULL, "{}");

	assert_status(detect, *state, "active", "poll/first", "");
	detect_free(detect);
	assert_int_equal(world.starts, 1);
	assert_int_equal(world.states_alive, 0);
}

static void a_hook_that_does_not_start_gives_way_to_the_next_and_says_why(void **state)
{
	world.first_start = -EPERM;
	struct detect *detect = start_toy(*state, NULL, "{}");

	assert_status(detect, *state, "degraded", "poll/second", "Sees half of it");
	assert_status(detect, *state, "degraded", "poll/second",
		      "attaching the toy: Operation not permitted");
	assert_int_equal(world.states_alive, 1);
	detect_free(detect);
	assert_int_equal(world.starts, 2);
	assert_int_equal(world.stops, 2);
}

static void a_forced_hook_is_the_only_one_tried(void **state)
{
	world.first_probe = -ENOENT;
	struct detect *detect = start_toy(*state, NULL, "{\"hook\": \"poll/first\"}");

	assert_status(detect, *state, "unsupported", "", "too good for it");
	assert_int_equal(world.starts, 0);
	detect_free(detect);

	detect = start_toy(*state, NULL, "{\"hook\": \"poll/second\"}");
	assert_status(detect, *state, "degraded", "poll/second", "asked for in the configuration");
	detect_free(detect);
}

static void without_starting_it_is_told_what_would_be(void **state)
{
	world.first_probe = -ENOENT;
	assert_status(NULL, *state, "degraded", "poll/second", "too good for it");
	world.first_probe = 0;
	assert_status(NULL, *state, "active", "poll/first", "");
	assert_int_equal(world.starts, 0);
}

static void settings_lie_over_the_defaults(void **state)
{
	struct detect *detect = start_toy(*state, NULL, "{\"loud\": false}");
	cJSON *toy = toy_status(detect, *state), *settings = cJSON_GetObjectItem(toy, "settings");

	assert_string_equal(json_string(settings, "interval"), "5ms");
	assert_false(json_bool(settings, "loud", false));
	assert_true(json_bool(settings, "enabled", false));
	cJSON_Delete(toy);
	detect_free(detect);
}

static void null_is_the_default(void **state)
{
	struct detect *detect = start_toy(*state, NULL, "{\"loud\": null, \"interval\": null}");
	cJSON *toy = toy_status(detect, *state), *settings = cJSON_GetObjectItem(toy, "settings");

	assert_string_equal(json_string(settings, "interval"), "5ms");
	assert_true(json_bool(settings, "loud", false));
	cJSON_Delete(toy);
	detect_free(detect);
}

static void wrong_settings_are_named(void **state)
{
	static const struct {
		const char *settings, *field, *text;
	} cases[] = {
		{"{\"toi\": {}}", "toi", "no such detector"},
		{"{\"toy\": {\"hook\": \"poll/third\"}}", "toy.hook", "poll/first, poll/second"},
		{"{\"toy\": {\"intervall\": \"1s\"}}", "toy.intervall", "interval"},
		{"{\"toy\": {\"interval\": \"1h\"}}", "toy.interval", ""},
		{"{\"toy\": {\"enabled\": 1}}", "toy.enabled", ""},
		{"{\"toy\": []}", "toy", ""},
		{"7", "", "must be an object"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cJSON *json = parse(cases[i].settings);
		struct problem problem = {};

		assert_int_equal(detect_check_settings(json, &problem), -EINVAL);
		assert_string_equal(problem.field, cases[i].field);
		assert_non_null(strstr(problem.text, cases[i].text));
		cJSON_Delete(json);
	}
	assert_int_equal(detect_check_settings(NULL, NULL), 0);
}

static void looks_come_again_and_their_findings_arrive(void **state)
{
	sd_event *event = NULL;

	assert_int_equal(sd_event_new(&event), 0);
	struct detect *detect = start_toy(*state, event, "{\"interval\": \"1ms\"}");

	assert_int_equal(sd_event_loop(event), 0);
	assert_int_equal(world.looks, 3);
	assert_string_equal(world.last.subject, "something");
	assert_string_equal(json_string(world.last.event, "detector"), "toy");
	assert_int_equal(json_number(world.last.event, "count", 0), 1);
	cJSON *toy = toy_status(detect, *state);

	assert_int_equal(json_number(toy, "looks", 0), 3);
	assert_int_equal(json_number(toy, "events", 0), 3);
	cJSON_Delete(toy);
	detect_free(detect);
	sd_event_unref(event);
}

static void only_what_changed_is_started_again(void **state)
{
	struct detect *detect = start_toy(*state, NULL, "{}");
	cJSON *same = settings_of_toy("{}"), *off = settings_of_toy("{\"enabled\": false}");

	assert_int_equal(detect_reconfigure(detect, same), 0);
	assert_int_equal(world.starts, 1);
	assert_int_equal(detect_reconfigure(detect, off), 0);
	assert_int_equal(world.stops, 1);
	assert_status(detect, *state, "disabled", "", "disabled in the configuration");
	assert_int_equal(detect_reconfigure(detect, same), 0);
	assert_int_equal(world.starts, 2);
	assert_status(detect, *state, "active", "poll/first", "");
	detect_free(detect);
	cJSON_Delete(same);
	cJSON_Delete(off);
}

/* --- The ring --- */

struct taker {
	unsigned taken;
};

static size_t size_of(void *userdata, uint16_t type)
{
	return type == EVENT_OOM_KILL ? sizeof(struct event_header) + 8 : 0;
}

static void on_record(void *userdata, const struct event_header *header)
{
	((struct taker *)userdata)->taken++;
}

static void malformed_ring_records_are_counted_and_reach_nobody(void **state)
{
	struct taker taker = {};
	struct fake_root *root = *state;
	struct ring_options options = {
		.host = root->host, .size_of = size_of, .on_record = on_record, .userdata = &taker};
	struct pins_options pins_options = {};
	struct pins *pins = NULL;
	struct {
		struct event_header header;
		uint64_t body;
	} record = {.header = {.type = EVENT_OOM_KILL,
			       .version = EVENTS_VERSION,
			       .size = sizeof(record)}};
	struct ring *ring = NULL;
	char reason[512];

	if (pins_open(&pins_options, &pins, reason, sizeof(reason)) < 0)
		skip_because("needs the right to make BPF maps (%s)", reason);
	options.events_fd = pins_events_fd(pins);
	options.lost_fd = pins_lost_fd(pins);
	assert_int_equal(ring_new(&options, &ring, reason, sizeof(reason)), 0);
	ring_take(ring, &record, sizeof(record));
	assert_int_equal(taker.taken, 1);
	ring_take(ring, &record, sizeof(record.header) - 1);
	ring_take(ring, &record, sizeof(record) - 1);
	ring_take(ring, &record, 0);
	record.header.type = EVENT_TYPE_COUNT;
	ring_take(ring, &record, sizeof(record));
	record.header.type = EVENT_OOM_KILL;
	record.header.version = 99;
	ring_take(ring, &record, sizeof(record));
	assert_int_equal(taker.taken, 1);
	assert_int_equal(ring_malformed(ring), 5);
	assert_int_equal(ring_lost(ring, EVENT_OOM_KILL), 0);
	ring_free(ring);
	pins_close(pins);
}

#define WITH_ROOT(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_ROOT(the_best_hook_is_taken),
		WITH_ROOT(a_hook_that_does_not_start_gives_way_to_the_next_and_says_why),
		WITH_ROOT(a_forced_hook_is_the_only_one_tried),
		WITH_ROOT(without_starting_it_is_told_what_would_be),
		WITH_ROOT(settings_lie_over_the_defaults),
		WITH_ROOT(null_is_the_default),
		WITH_ROOT(wrong_settings_are_named),
		WITH_ROOT(looks_come_again_and_their_findings_arrive),
		WITH_ROOT(only_what_changed_is_started_again),
		WITH_ROOT(malformed_ring_records_are_counted_and_reach_nobody),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
