/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process_crash detector without a kernel: records as the kernel writes them, and what becomes of
 * many crashes of one program.
 */
#include "../host/fake_root.h"

#include "detect/process_crash.h"
#include "detect/slot.h"

#include <signal.h>

#define TOLD_MAX 512

struct told {
	char type[16], subject[160];
	uint64_t count;
	bool cleared;
	double crashes, rate, first_interval;
};

struct fixture {
	struct fake_root *root;
	struct detect detect;
	struct slot slot;
	struct crash_settings settings;
	struct crash_programs *programs;
	struct told told[TOLD_MAX];
	size_t count;
	uint64_t folded; /* what the kernel counts for KEY_OF(1) */
};

static void on_finding(void *userdata, struct finding *finding)
{
	struct fixture *fixture = userdata;
	struct told *told = &fixture->told[fixture->count++];
	const cJSON *details = json_at(finding->event, "details");

	assert_in_range(fixture->count, 1, TOLD_MAX);
	assert_string_equal(json_string(finding->event, "type"), finding->type);
	snprintf(told->type, sizeof(told->type), "%s", finding->type);
	snprintf(told->subject, sizeof(told->subject), "%s", finding->subject);
	told->count = json_u64(finding->event, "count");
	told->cleared = finding->cleared;
	told->crashes = json_number(details, "crashes", 0);
	told->rate = json_number(details, "ratePerMinute", 0);
	if (json_at(details, "intervals"))
		told->first_interval =
			cJSON_GetNumberValue(cJSON_GetArrayItem(json_at(details, "intervals"), 0));
}

static struct crash_program key_of(uint64_t cgroup_id)
{
	return (struct crash_program){.cgroup_id = cgroup_id, .exe_inode = 7, .comm = "web"};
}

static uint64_t read_folded(void *userdata, const struct crash_program *key)
{
	const struct fixture *fixture = userdata;

	return key->cgroup_id == 1 ? fixture->folded : 0;
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_int_equal(fake_root_setup((void **)&fixture->root), 0);
	fixture->detect.options =
		(struct detect_options){.on_finding = on_finding, .userdata = fixture};
	fixture->settings =
		(struct crash_settings){.loop_window_ns = 600 * NS_PER_S, .loop_crashes = 3};
	fixture->slot.run = (struct detector_run){
		.settings = &fixture->settings,
		.host = fixture->root->host,
		.clock = clock_system(),
		.detect = &fixture->detect,
	};
	FOREACH_REGISTERED (detectors, struct detector, detector)
		if (streq(detector->name, "process_crash"))
			fixture->slot.run.detector = detector;
	assert_non_null(fixture->slot.run.detector);
	const struct crash_programs_options options = {
		.run = &fixture->slot.run,
		.settings = &fixture->settings,
		.read_folded = read_folded,
		.userdata = fixture,
	};
	assert_int_equal(crash_programs_new(&options, &fixture->programs), 0);
	fake_file(fixture->root, "proc/sys/kernel/core_pattern", "|/usr/lib/dumper %%P\n");
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	crash_programs_free(fixture->programs);
	fake_root_teardown((void **)&fixture->root);
	free(fixture);
	return 0;
}

/* --- One crash --- */

/* nginx, in a container, used a null pointer; its library's name is not known. */
static struct process_crash_event make_crash(void)
{
	struct process_crash_event event = {
		.header = {.type = EVENT_PROCESS_CRASH,
			   .version = EVENTS_VERSION,
			   .size = sizeof(event)},
		.process = {.pid = 4712,
			    .tgid = 4711,
			    .start_boot_ns = NS_PER_S,
			    .comm = "worker",
			    .parent_tgid = 1,
			    .parent_comm = "init"},
		.process_comm = "nginx",
		.exit_code = SIGSEGV | 0x80,
		.signal = {.pid = 4712,
			   .own_pid = 9,
			   .signal = SIGSEGV,
			   .code = 1,
			   .address = 0x10,
			   .instruction = 0x401136,
			   .stack_pointer = 0x7fff0000,
			   .code_start = 0x401000,
			   .code_end = 0x402000,
			   .stack_depth = 4,
			   .build_id_depth = 3,
			   .exe = "nginx"},
		.cgroup = {.id = 42, .levels = 2, .names = {"leaf", "top"}},
	};
	static const uint64_t stack[] = {0x401136, 0x7f0000001234, 0x7f0000005678, 0x1000};

	memcpy(event.signal.stack, stack, sizeof(stack));
	for (size_t i = 0; i < 3; i++) {
		event.signal.build_ids[i].status = 1;
		memset(event.signal.build_ids[i].build_id, 0xa0 + (int)i, 20);
		event.signal.build_ids[i].offset = 0x1136 + i;
	}
	event.files[1] = (struct crash_file){.offset = 0x1234, .name = "libc.so.6"};
	return event;
}

static const char *frame(const cJSON *json, int index)
{
	return cJSON_GetStringValue(cJSON_GetArrayItem(json_at(json, "stack.user"), index));
}

static void a_crash_names_process_signal_stack_and_core(void **state)
{
	struct fixture *fixture = *state;
	struct process_crash_event event = make_crash();
	_cleanup_json_ cJSON *json = crash_event_json(&fixture->slot.run, &event);
	const cJSON *details = json_at(json, "details");

	assert_non_null(json);
	assert_string_equal(json_string(json, "type"), "ProcessCrash");
	assert_int_equal(json_u64(json_at(json, "process"), "tgid"), 4711);
	assert_string_equal(json_string(json_at(json, "container"), "cgroupPath"), "/top/leaf");
	assert_string_equal(json_string(details, "program"), "nginx");
	assert_string_equal(json_string(details, "processName"), "nginx");
	assert_string_equal(json_string(details, "signal"), "SIGSEGV");
	assert_string_equal(json_string(details, "code"), "SEGV_MAPERR");
	assert_string_equal(json_string(details, "address"), "0x10");
	assert_string_equal(json_string(details, "buildId"),
			    "a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0");
	assert_true(json_bool(json_at(details, "core"), "dumped", false));
	assert_string_equal(json_string(json_at(details, "core"), "pattern"),
			    "|/usr/lib/dumper %P");
	assert_null(json_at(details, "sender"));
	/* The program's own code is known by its range, a library by its file or its build ID. */
	assert_string_equal(frame(json, 0), "nginx+0x1136");
	assert_string_equal(frame(json, 1), "libc.so.6+0x1234");
	assert_string_equal(frame(json, 2), "build-id a2a2a2a2+0x1138");
	assert_string_equal(frame(json, 3), "0x1000");
	event.signal.build_ids[0].status = 2;
	_cleanup_json_ cJSON *without = crash_event_json(&fixture->slot.run, &event);

	assert_string_equal(frame(without, 0), "nginx[code]+0x136");
	assert_null(json_at(json_at(without, "details"), "buildId"));
}

static void a_signal_that_was_sent_names_the_sender_and_no_address(void **state)
{
	struct fixture *fixture = *state;
	struct process_crash_event event = make_crash();

	event.exit_code = SIGABRT;
	event.signal.signal = SIGABRT;
	event.signal.code = SI_USER;
	event.signal.address = 0;
	event.signal.sender_pid = 1;
	event.signal.sender_uid = 0;
	_cleanup_json_ cJSON *json = crash_event_json(&fixture->slot.run, &event);
	const cJSON *details = json_at(json, "details");

	assert_string_equal(json_string(details, "code"), "SI_USER");
	assert_int_equal(json_u64(json_at(details, "sender"), "pid"), 1);
	assert_false(json_bool(json_at(details, "sender"), "self", true));
	assert_null(json_at(details, "address"));
	assert_false(json_bool(json_at(details, "core"), "dumped", true));
}

static void a_record_that_claims_too_much_is_bounded(void **state)
{
	struct fixture *fixture = *state;
	struct process_crash_event event = make_crash();

	event.signal.stack_depth = event.signal.build_id_depth = UINT32_MAX;
	event.cgroup.levels = UINT32_MAX;
	event.signal.signal = -1;
	memset(event.signal.exe, '\x1b', sizeof(event.signal.exe));
	memset(event.process_comm, 'x', sizeof(event.process_comm));
	memset(event.files, 'f', sizeof(event.files));
	_cleanup_json_ cJSON *json = crash_event_json(&fixture->slot.run, &event);

	assert_non_null(json);
	assert_int_equal(cJSON_GetArraySize(json_at(json, "stack.user")), CRASH_STACK_DEPTH);
	assert_null(strchr(json_string(json_at(json, "details"), "program"), '\x1b'));
	assert_string_equal(json_string(json_at(json, "details"), "signal"), "unknown");
}

/* --- Who is one fault --- */

static void expect_subject(const char *container, const char *expected)
{
	_cleanup_json_ cJSON *json = NULL;
	_cleanup_free_ char *text = NULL, *subject = NULL;

	assert_true(asprintf(&text, "{\"details\":{\"program\":\"web\"},\"container\":%s}",
			     container) > 0);
	assert_int_equal(json_parse(text, strlen(text), &json, NULL), 0);
	subject = crash_subject(json);
	assert_string_equal(subject, expected);
}

static void a_restarted_container_is_the_same_subject(void **state)
{
	expect_subject("{\"name\":\"c\",\"pod\":\"p\",\"namespace\":\"n\",\"podUid\":\"u\","
		       "\"id\":\"0123456789abcdef\",\"cgroupPath\":\"/x\"}",
		       "web in container c of pod n/p");
	expect_subject("{\"podUid\":\"u\",\"id\":\"0123456789abcdef\",\"cgroupPath\":\"/x\"}",
		       "web in pod u");
	expect_subject("{\"id\":\"0123456789abcdef\",\"cgroupPath\":\"/x\"}",
		       "web in container 0123456789ab");
	expect_subject("{\"cgroupPath\":\"/system.slice/web.service\"}",
		       "web in control group /system.slice/web.service");
}

static void a_script_is_told_from_others_of_its_interpreter(void **state)
{
	struct fixture *fixture = *state;
	struct process_crash_event event = make_crash();
	static const struct {
		const char *comm, *exe, *program;
	} cases[] = {
		{"worker.py", "python3.11", "worker.py (python3.11)"},
		{"python3", "python3.11", "python3.11"},
		{"a-very-long-nam", "a-very-long-name-of-a-program",
		 "a-very-long-name-of-a-program"},
		{"", "web", "web"},
		{"web", "", "web"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(event.process_comm, sizeof(event.process_comm), "%s", cases[i].comm);
		snprintf(event.signal.exe, sizeof(event.signal.exe), "%s", cases[i].exe);
		_cleanup_json_ cJSON *json = crash_event_json(&fixture->slot.run, &event);

		assert_string_equal(json_string(json_at(json, "details"), "program"),
				    cases[i].program);
	}
}

/* --- Many crashes --- */

static void crash_in(struct fixture *fixture, const char *subject, uint64_t cgroup_id,
		     uint64_t at_ms)
{
	const struct crash_program key = key_of(cgroup_id);
	cJSON *event = event_json(&fixture->slot.run, "ProcessCrash", 0, 0);

	assert_non_null(cJSON_AddObjectToObject(event, "details"));
	assert_int_equal(
		crash_programs_add(fixture->programs, subject, &key, at_ms * NS_PER_MS, event), 0);
}

static uint64_t look(struct fixture *fixture, uint64_t at_ms)
{
	return crash_programs_look(fixture->programs, at_ms * NS_PER_MS);
}

static uint64_t told_in_all(const struct fixture *fixture, const char *type)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < fixture->count; i++)
		if (streq(fixture->told[i].type, type))
			sum += fixture->told[i].count;
	return sum;
}

static void the_third_crash_within_the_window_is_a_loop_of_its_own(void **state)
{
	struct fixture *fixture = *state;

	crash_in(fixture, "web", 1, 1000000);
	crash_in(fixture, "web", 1, 1060000);
	assert_int_equal(fixture->count, 2);
	assert_string_equal(fixture->told[1].type, "ProcessCrash");
	assert_string_equal(fixture->told[1].subject, "web");
	crash_in(fixture, "web", 1, 1120000);
	assert_int_equal(fixture->count, 3);
	const struct told *loop = &fixture->told[2];

	assert_string_equal(loop->type, "CrashLoop");
	assert_string_equal(loop->subject, "crash loop of web");
	assert_int_equal(loop->count, 3);
	assert_true(loop->crashes == 3 && loop->rate == 1 && loop->first_interval == 60);
}

static void crashes_far_apart_are_no_loop(void **state)
{
	struct fixture *fixture = *state;

	for (uint64_t i = 0; i < 10; i++)
		crash_in(fixture, "web", 1, 1000000 + i * 400000);
	assert_int_equal(told_in_all(fixture, "CrashLoop"), 0);
	assert_int_equal(told_in_all(fixture, "ProcessCrash"), 10);
}

static void a_loop_is_told_once_a_second_and_every_crash_is_counted(void **state)
{
	struct fixture *fixture = *state;

	for (uint64_t i = 0; i < 1000; i++)
		crash_in(fixture, "web", 1, 1000000 + i);
	/* 2 single ones and the loop's beginning; the rest of this second is held back. */
	assert_int_equal(fixture->count, 3);
	assert_int_not_equal(look(fixture, 1001500), 0);
	assert_int_equal(fixture->count, 4);
	assert_int_equal(told_in_all(fixture, "CrashLoop"), 1000);
	look(fixture, 1002500);
	assert_int_equal(fixture->count, 4);
}

static void what_the_kernel_only_counted_is_added(void **state)
{
	struct fixture *fixture = *state;

	crash_in(fixture, "web", 1, 1000000);
	fixture->folded = 500;
	look(fixture, 1001000);
	assert_int_equal(told_in_all(fixture, "CrashLoop"), 501);
	/* Its entry was dropped for another's, and began anew. */
	fixture->folded = 20;
	look(fixture, 1002100);
	assert_int_equal(told_in_all(fixture, "CrashLoop"), 521);
	/* In a new container the old one's count is taken along. */
	fixture->folded = 30;
	crash_in(fixture, "web", 2, 1002200);
	crash_programs_flush(fixture->programs, 1002300 * NS_PER_MS);
	assert_int_equal(told_in_all(fixture, "CrashLoop"), 532);
}

static void a_loop_that_is_over_is_cleared_once(void **state)
{
	struct fixture *fixture = *state;

	for (uint64_t i = 0; i < 5; i++)
		crash_in(fixture, "web", 1, 1000000 + i * 10000);
	size_t before = fixture->count;
	uint64_t next_ns = look(fixture, 1050000);

	assert_true(next_ns > 500 * NS_PER_S && next_ns <= 600 * NS_PER_S);
	assert_int_equal(look(fixture, 1700000), 0);
	assert_int_equal(fixture->count, before + 1);
	assert_true(fixture->told[before].cleared);
	assert_string_equal(fixture->told[before].subject, "crash loop of web");
	assert_int_equal(look(fixture, 1800000), 0);
	crash_in(fixture, "web", 1, 1900000);
	assert_string_equal(fixture->told[before + 1].type, "ProcessCrash");
}

static void more_programs_than_there_is_room_for_lose_no_crash(void **state)
{
	struct fixture *fixture = *state;
	char subject[32];

	for (uint64_t i = 0; i < CRASHED_PROGRAMS_MAX + 100; i++) {
		snprintf(subject, sizeof(subject), "program %u", (unsigned)i);
		crash_in(fixture, subject, 2, 1000000 + i);
	}
	assert_int_equal(told_in_all(fixture, "ProcessCrash"), CRASHED_PROGRAMS_MAX + 100);
	/* The latest are remembered, the oldest not. */
	crash_in(fixture, subject, 2, 1001000);
	crash_in(fixture, subject, 2, 1001001);
	assert_int_equal(told_in_all(fixture, "CrashLoop"), 3);
}

#define FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE(a_crash_names_process_signal_stack_and_core),
		FIXTURE(a_signal_that_was_sent_names_the_sender_and_no_address),
		FIXTURE(a_record_that_claims_too_much_is_bounded),
		cmocka_unit_test(a_restarted_container_is_the_same_subject),
		FIXTURE(a_script_is_told_from_others_of_its_interpreter),
		FIXTURE(the_third_crash_within_the_window_is_a_loop_of_its_own),
		FIXTURE(crashes_far_apart_are_no_loop),
		FIXTURE(a_loop_is_told_once_a_second_and_every_crash_is_counted),
		FIXTURE(what_the_kernel_only_counted_is_added),
		FIXTURE(a_loop_that_is_over_is_cleared_once),
		FIXTURE(more_programs_than_there_is_room_for_lose_no_crash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
