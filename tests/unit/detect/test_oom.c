/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oom detector without a kernel: records as the kernel writes them, and the counters it polls.
 */
#include "../host/fake_root.h"

#include "detect/oom.h"

/* As slot.h has it: a run the framework would have made, whose findings are kept here. */
#include "detect/slot.h"

static struct finding told[16];
static size_t told_count;

static void on_finding(void *userdata, struct finding *finding)
{
	assert_true(told_count < ARRAY_SIZE(told));
	told[told_count++] = *finding;
	*finding = (struct finding){};
}

struct fixture {
	struct fake_root *root;
	struct detect detect;
	struct slot slot;
	const struct detector *detector;
};

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_int_equal(fake_root_setup((void **)&fixture->root), 0);
	FOREACH_REGISTERED (detectors, struct detector, detector)
		if (streq(detector->name, "oom"))
			fixture->detector = detector;
	assert_non_null(fixture->detector);
	fixture->detect.options = (struct detect_options){.on_finding = on_finding};
	fixture->slot.run = (struct detector_run){
		.detector = fixture->detector,
		.state = calloc(1, fixture->detector->state_size),
		.host = fixture->root->host,
		.clock = clock_system(),
		.detect = &fixture->detect,
	};
	fake_file(fixture->root, "proc/meminfo", "MemTotal:     1024 kB\nMemFree:       512 kB\n");
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	fixture->detector->stop(&fixture->slot.run);
	while (told_count > 0)
		finding_clear(&told[--told_count]);
	free(fixture->slot.run.state);
	fake_root_teardown((void **)&fixture->root);
	free(fixture);
	return 0;
}

/* A kill in /group, whose limit of 5120 pages is reached. */
static struct oom_event *make_kill(uint32_t pid, bool group)
{
	struct oom_event *event = calloc(1, sizeof(*event));

	event->header = (struct event_header){
		.type = EVENT_OOM_KILL, .version = EVENTS_VERSION, .size = sizeof(*event)};
	event->victim = (struct event_task){
		.pid = pid, .tgid = pid, .start_boot_ns = pid * NS_PER_S, .comm = "hog"};
	event->trigger = (struct event_task){
		.pid = 9, .tgid = 9, .start_boot_ns = NS_PER_S, .comm = "asker"};
	event->rss_anon = 5000;
	event->rss_file = -3;
	event->total_vm = UINT64_MAX;
	event->oom_score_adj = -500;
	event->level_count = 1;
	event->levels[0] = (struct oom_level){
		.cgroup_id = 42, .usage = 5120, .maximum = 5120, .oom_group = group};
	event->cgroup = (struct event_cgroup){.id = 42, .levels = 1, .names = {"group"}};
	snprintf(event->message, sizeof(event->message), "Memory cgroup out of memory");
	return event;
}

static void deliver(struct fixture *fixture, struct oom_event *event)
{
	fixture->detector->event(&fixture->slot.run, &event->header);
	free(event);
}

static const cJSON *at(const struct finding *finding, const char *path)
{
	return json_at(finding->event, path);
}

static void a_kill_names_victim_limit_and_trigger(void **state)
{
	double page = (double)sysconf(_SC_PAGESIZE);

	deliver(*state, make_kill(100, false));
	assert_int_equal(told_count, 1);
	assert_string_equal(told[0].type, "OOMKill");
	assert_string_equal(told[0].subject, "/group");
	assert_int_equal(json_number(at(&told[0], "process"), "pid", 0), 100);
	assert_string_equal(json_string(at(&told[0], "container"), "cgroupPath"), "/group");
	const cJSON *details = at(&told[0], "details");

	assert_string_equal(json_string(details, "scope"), "cgroup");
	assert_true(json_number(json_at(details, "limitCgroup"), "limitBytes", 0) == 5120 * page);
	assert_true(json_bool(json_at(details, "limitCgroup"), "exact", false));
	assert_true(json_number(json_at(details, "victim"), "anonBytes", 0) == 5000 * page);
	assert_true(json_number(json_at(details, "victim"), "fileBytes", -1) == 0);
	assert_int_equal(json_number(json_at(details, "victim"), "oomScoreAdj", 0), -500);
	assert_true(json_number(json_at(details, "node"), "totalBytes", 0) == 1024 * 1024);
	assert_string_equal(json_string(json_at(details, "trigger"), "comm"), "asker");
}

static void a_kill_that_two_programs_told_is_one_finding(void **state)
{
	deliver(*state, make_kill(100, false));
	deliver(*state, make_kill(100, false));
	assert_int_equal(told_count, 1);
	deliver(*state, make_kill(101, false));
	assert_int_equal(told_count, 2);
}

static void a_group_that_dies_together_is_one_finding(void **state)
{
	struct fixture *fixture = *state;

	for (uint32_t pid = 100; pid < 140; pid++)
		deliver(fixture, make_kill(pid, true));
	deliver(fixture, make_kill(100, true)); /* the first is met twice by __oom_kill_process */
	assert_int_equal(told_count, 0);
	fixture->detector->look(&fixture->slot.run);
	assert_int_equal(told_count, 1);
	assert_int_equal(json_number(told[0].event, "count", 0), 40);
	assert_int_equal(json_number(at(&told[0], "process"), "pid", 0), 100);
	assert_int_equal(cJSON_GetArraySize(at(&told[0], "details.victims")), 32);
	/* The next kill hands over what is held, before itself. */
	deliver(fixture, make_kill(200, true));
	deliver(fixture, make_kill(300, false));
	assert_int_equal(told_count, 3);
}

/* --- Polling --- */

static void fake_group(const struct fake_root *root, const char *path, unsigned kills,
		       const char *limit, const char *peak)
{
	char file[PATH_MAX];

	snprintf(file, sizeof(file), "sys/fs/cgroup/memory%s/memory.oom_control", path);
	fake_file(root, file, "oom_kill_disable 0\nunder_oom 0\noom_kill %u\n", kills);
	snprintf(file, sizeof(file), "sys/fs/cgroup/memory%s/memory.limit_in_bytes", path);
	fake_file(root, file, "%s\n", limit);
	snprintf(file, sizeof(file), "sys/fs/cgroup/memory%s/memory.max_usage_in_bytes", path);
	fake_file(root, file, "%s\n", peak);
	snprintf(file, sizeof(file), "sys/fs/cgroup/memory%s/memory.usage_in_bytes", path);
	fake_file(root, file, "4096\n");
}

static void polling_finds_the_cgroup_whose_counter_grew(void **state)
{
	struct fixture *fixture = *state;
	struct oom_poll *poll = NULL;
	char reason[256];

	fake_file(fixture->root, "proc/1/mountinfo",
		  "31 20 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
	fake_file(fixture->root, "proc/vmstat", "nr_free_pages 1\noom_kill 7\n");
	fake_group(fixture->root, "", 0, "9223372036854771712", "123456789");
	fake_group(fixture->root, "/a", 0, "20971520", "20971520");
	fake_group(fixture->root, "/a/old", 3, "9223372036854771712", "1");
	fake_group(fixture->root, "/b", 0, "20971520", "1");
	assert_int_equal(oom_poll_new(&fixture->slot.run, &poll, reason, sizeof(reason)), 0);
	oom_poll_look(poll);
	assert_int_equal(told_count, 0);

	fake_file(fixture->root, "proc/vmstat", "nr_free_pages 1\noom_kill 11\n");
	fake_group(fixture->root, "/a/old", 5, "9223372036854771712", "1");
	fake_group(fixture->root, "/b", 1, "20971520", "1");
	oom_poll_look(poll);
	assert_int_equal(told_count, 3);
	for (size_t i = 0; i < 2; i++) {
		bool in_a = streq(json_string(at(&told[i], "container"), "cgroupPath"), "/a/old");

		assert_string_equal(told[i].subject, in_a ? "/a" : "node");
		assert_int_equal(json_number(told[i].event, "count", 0), in_a ? 2 : 1);
		assert_null(at(&told[i], "process"));
	}
	/* 4 kills, 3 found: the fourth was in a group that is gone. */
	assert_string_equal(told[2].subject, "unknown");
	assert_int_equal(json_number(told[2].event, "count", 0), 1);
	oom_poll_look(poll);
	assert_int_equal(told_count, 3);
	oom_poll_free(poll);
}

#define FIXTURE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE(a_kill_names_victim_limit_and_trigger),
		FIXTURE(a_kill_that_two_programs_told_is_one_finding),
		FIXTURE(a_group_that_dies_together_is_one_finding),
		FIXTURE(polling_finds_the_cgroup_whose_counter_grew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
