/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel_log detector without a kernel: lines as kernels 5.10 to 7.2 word them, what the
 * needles let through, and what becomes of many lines about one thing.
 */
#include "../host/fake_root.h"

#include "detect/detect.h"
#include "detect/kernel_log.h"
#include "detect/settings.h"
#include "detect/slot.h"

#define TOLD_MAX 1024

struct told {
	char type[32], subject[96], line[96];
	uint64_t count, lines;
	bool cleared;
};

struct fixture {
	struct fake_root *root;
	struct detect detect;
	struct slot slot;
	struct kernel_log_settings settings;
	struct kernel_faults *faults;
	struct told told[TOLD_MAX];
	size_t count;
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
	snprintf(told->line, sizeof(told->line), "%s", json_string(details, "line"));
	told->count = json_u64(finding->event, "count");
	told->lines = json_u64(details, "lines");
	told->cleared = finding->cleared;
}

static const struct detector *this_detector(void)
{
	FOREACH_REGISTERED (detectors, struct detector, detector)
		if (streq(detector->name, "kernel_log"))
			return detector;
	fail_msg("no detector kernel_log");
	return NULL;
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_int_equal(fake_root_setup((void **)&fixture->root), 0);
	fixture->detect.options =
		(struct detect_options){.on_finding = on_finding, .userdata = fixture};
	fixture->settings.builtin = true;
	fixture->slot.run = (struct detector_run){
		.detector = this_detector(),
		.settings = &fixture->settings,
		.host = fixture->root->host,
		.clock = clock_system(),
		.detect = &fixture->detect,
	};
	assert_int_equal(kernel_faults_new(&fixture->slot.run, &fixture->faults), 0);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	kernel_faults_free(fixture->faults);
	fake_root_teardown((void **)&fixture->root);
	free(fixture);
	return 0;
}

static struct kernel_line line_of(const char *text)
{
	return (struct kernel_line){
		.text = text, .length = strlen(text), .origin = ORIGIN_KERNEL, .level = -1};
}

/* --- Patterns --- */

static void expect_match(const char *pattern, const char *text, const char *device)
{
	char found[KERNEL_DEVICE_SIZE];

	if (!kernel_pattern_match(pattern, text, strlen(text), found))
		fail_msg("\"%s\" does not match \"%s\"", pattern, text);
	assert_string_equal(found, device);
}

static void expect_none(const char *pattern, const char *text)
{
	char found[KERNEL_DEVICE_SIZE];

	if (kernel_pattern_match(pattern, text, strlen(text), found))
		fail_msg("\"%s\" matches \"%s\"", pattern, text);
}

static void a_pattern_matches_the_whole_line_and_names_what_it_is_about(void **state)
{
	expect_match("disk {} is broken", "disk sda is broken", "sda");
	expect_match("*disk {}", "the disk sda", "sda");
	expect_match("*disk {}, sector *", "I/O error, disk sda, sector 7, sector 8", "sda");
	expect_match("*ab*ab*c", "ab ab ab c", "");
	expect_match("*", "", "");
	expect_match("(device {}): end*", "(device sda1 state EA): end of it", "sda1");
	expect_match("sd {}: rejecting*", "sd 0:0:0:1: rejecting I/O", "0:0:0:1");
	expect_none("disk {} is broken", "disk  is broke");
	expect_none("disk {} is broken", "a disk sda is broken");
	expect_none("disk {}", "disk ");
	expect_none("*broken", "broken disk");
	expect_none("disk", "");
}

static void a_nul_in_a_line_is_not_the_end_of_the_pattern(void **state)
{
	static const char text[] = "disk\0disk";
	char device[KERNEL_DEVICE_SIZE];

	assert_false(kernel_pattern_match("disk", text, sizeof(text) - 1, device));
	assert_true(kernel_pattern_match("*disk", text, sizeof(text) - 1, device));
	assert_true(kernel_pattern_match("disk*", text, sizeof(text) - 1, device));
}

static void a_name_that_is_too_long_is_cut_and_made_plain(void **state)
{
	char text[200] = "disk ", device[KERNEL_DEVICE_SIZE];

	memset(text + 5, 'x', 100);
	assert_true(kernel_pattern_match("disk {}", text, strlen(text), device));
	assert_int_equal(strlen(device), KERNEL_DEVICE_SIZE - 1);
	expect_match("disk {}!", "disk a\tb\x1b!", "a?b?");
}

/* --- Built-in rules --- */

static const struct {
	const char *line, *subject; /* no subject: the line tells nothing */
} samples[] = {
	{"blk_update_request: I/O error, dev vda, sector 0 op 0x0:(READ) flags 0x80700 phys_seg 4 "
	 "prio class 0",
	 "DiskIOError of vda"},
	{"I/O error, dev sda, sector 96 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2",
	 "DiskIOError of sda"},
	{"critical medium error, dev sda, sector 4656 op 0x0:(READ) flags 0x80700 phys_seg 1 prio "
	 "class 2",
	 "DiskIOError of sda"},
	{"Buffer I/O error on dev dm-0, logical block 16385, lost sync page write",
	 "DiskIOError of dm-0"},
	{"sd 2:0:0:0: rejecting I/O to offline device", "DiskIOError of 2:0:0:0"},
	{"nvme nvme0: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0xffff",
	 "DiskIOError of nvme0"},
	{"md/raid1:md0: Disk failure on sdb1, disabling device.", "DiskIOError of md0"},
	{"EXT4-fs error (device dm-0): trigger_test_error:126: comm init: abc",
	 "FilesystemError of dm-0"},
	{"EXT4-fs error (device dm-0) in __ext4_new_inode:1096: Journal has aborted",
	 "FilesystemError of dm-0"},
	{"EXT4-fs (dm-0): Remounting filesystem read-only", "FilesystemError of dm-0"},
	{"XFS (sdb1): Corruption of in-memory data (0x8) detected at xfs_trans_cancel+0x1 "
	 "(fs/xfs/xfs_trans.c:1097).  Shutting down filesystem.",
	 "FilesystemError of sdb1"},
	{"XFS (sdb1): Filesystem has been shut down due to log error (0x2).",
	 "FilesystemError of sdb1"},
	{"XFS (sdb1): Metadata corruption detected at xfs_agi_verify+0x1/0x2 [xfs], xfs_agi block "
	 "0x2",
	 "FilesystemError of sdb1"},
	{"XFS (sdb1): Metadata CRC error detected at xfs_agf_read_verify+0x1/0x2 [xfs], xfs_agf "
	 "block 0x1",
	 "FilesystemError of sdb1"},
	{"BTRFS info (device sda2 state EA): forced readonly", "FilesystemError of sda2"},
	{"nfs: server 127.0.0.1 not responding, still trying",
	 "NFSServerNotResponding of 127.0.0.1"},
	{"watchdog: BUG: soft lockup - CPU#0 stuck for 21s! [lock:360]", "CPULockup of 0"},
	{"watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3", "CPULockup of 3"},
	{"rcu: INFO: rcu_preempt self-detected stall on CPU", "RCUStall of rcu_preempt"},
	{"rcu: INFO: rcu_sched detected stalls on CPUs/tasks:", "RCUStall of rcu_sched"},
	{"rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 1-... } 21 "
	 "jiffies s: 5",
	 "RCUStall of rcu_preempt"},
	{"BUG: kernel NULL pointer dereference, address: 0000000000000008", "KernelBug"},
	{"kernel BUG at fs/inode.c:570!", "KernelBug"},
	{"Oops: 0002 [#1] PREEMPT SMP", "KernelBug"},
	{"Internal error: Oops: 0000000096000004 [#1] SMP", "KernelBug"},
	{"general protection fault, probably for non-canonical address 0xdead000000000122: 0000 "
	 "[#1] SMP",
	 "KernelBug"},
	{"EDAC MC0: 1 UE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0", "HardwareError"},
	{"Memory failure: 0x381fe: Sending SIGBUS to hwp:160 due to hardware memory corruption",
	 "HardwareError"},
	{"Memory failure: 0x55ce: recovery action for dirty LRU page: Recovered", "HardwareError"},
	{"{1}[Hardware Error]: event severity: recoverable", "HardwareError"},
	{"{1}[Hardware Error]: event severity: fatal", "HardwareError"},
	{"[Hardware Error]: Uncorrected, software containable error.", "HardwareError"},
	{"pcieport 0000:00:03.0: PCIe Bus Error: severity=Uncorrected (Non-Fatal), "
	 "type=Transaction Layer, (Receiver ID)",
	 "HardwareError of 0000:00:03.0"},
	{"pcieport 0000:00:03.0: PCIe Bus Error: severity=Uncorrectable (Non-Fatal), "
	 "type=Transaction Layer, (Receiver ID)",
	 "HardwareError of 0000:00:03.0"},
	{"nf_conntrack: nf_conntrack: table full, dropping packet", "NetworkTableFull"},
	{"neighbour: arp_cache: neighbor table overflow!", "NetworkTableFull"},
	{"ksoftirqd/0: page allocation failure: order:0, mode:0x480020(GFP_ATOMIC), "
	 "nodemask=(null)",
	 "PageAllocationFailure"},

	/* What healthy nodes log too, and what other detectors tell. */
	{"I/O error, dev fd0, sector 0 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2", NULL},
	{"Buffer I/O error on dev sr0, logical block 0, async page read", NULL},
	{"I/O error, dev loop7, sector 0 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2",
	 NULL},
	{"critical target error, dev sda, sector 8 op 0x3:(DISCARD) flags 0x800 phys_seg 1 prio "
	 "class 2",
	 NULL},
	{"EXT4-fs (dm-0): mounted filesystem with ordered data mode. Quota mode: none.", NULL},
	{"EXT4-fs (dm-0): re-mounted. Opts: (null)", NULL},
	{"XFS (sdb1): Unmounting Filesystem", NULL},
	{"XFS (sdb1): User initiated shutdown received.", NULL},
	{"BTRFS info (device sda2): using free space tree", NULL},
	{"INFO: task wr:171 blocked in I/O wait for more than 10 seconds.", NULL},
	{"INFO: task wr:513 blocked for more than 10 seconds.", NULL},
	{"Memory cgroup out of memory: Killed process 113 (hog) total-vm:33880kB", NULL},
	{"Out of memory: Killed process 154 (hog) total-vm:876840kB, anon-rss:875628kB", NULL},
	{"kworker/0:1: page allocation failure: order:4, mode:0x40dc0(GFP_KERNEL|__GFP_COMP)",
	 NULL},
	{"nuller[22984]: segfault at 0 ip 00005575d65f4165 sp 00007ffcbdec8d20 error 4", NULL},
	{"traps: gp[4653] general protection fault ip:55b5712c55ef sp:7fff94d7a900 error:0", NULL},
	{"EDAC MC0: 1 CE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0", NULL},
	{"mce: [Hardware Error]: Machine check events logged", NULL},
	{"{1}[Hardware Error]: event severity: corrected", NULL},
	{"[Hardware Error]: Corrected error, no action required.", NULL},
	{"pcieport 0000:00:1c.0: PCIe Bus Error: severity=Corrected, type=Physical Layer", NULL},
	{"rcu: Hierarchical RCU implementation.", NULL},
	{"WARNING: CPU: 0 PID: 1 at mm/slub.c:1 foo+0x1/0x2", NULL},
	{"Injecting memory failure for pfn 0x55ce at process virtual address 0x7f90f18b4000", NULL},
};

static void a_built_in_rule_tells_the_lines_of_kernels_5_10_to_7_2(void **state)
{
	const struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct kernel_line line = line_of(samples[i].line);
		char subject[160] = "";
		struct kernel_match match;

		if (kernel_rules_match(&fixture->settings, &line, &match))
			snprintf(subject, sizeof(subject), "%s%s%s", match.type,
				 *match.device ? " of " : "", match.device);
		if (strcmp(subject, samples[i].subject ? samples[i].subject : "") != 0)
			fail_msg("\"%s\" is told as \"%s\"", samples[i].line, subject);
	}
}

static void every_built_in_rule_is_met_by_a_sample(void **state)
{
	for (size_t i = 0; i < kernel_builtin_count; i++) {
		bool met = kernel_builtins[i].clears; /* met by the test of what clears */

		for (size_t at = 0; at < ARRAY_SIZE(samples) && !met; at++) {
			char device[KERNEL_DEVICE_SIZE];

			met = samples[at].subject &&
			      kernel_pattern_match(kernel_builtins[i].pattern, samples[at].line,
						   strlen(samples[at].line), device);
		}
		if (!met)
			fail_msg("no sample for rule %s", kernel_builtins[i].name);
	}
}

static void what_a_program_wrote_is_not_the_kernels_word(void **state)
{
	struct fixture *fixture = *state;
	struct kernel_line line = line_of("BUG: kernel NULL pointer dereference, address: 0");

	line.origin = ORIGIN_PROGRAM;
	kernel_faults_take(fixture->faults, &line);
	assert_int_equal(fixture->count, 0);
	line.origin = ORIGIN_UNKNOWN;
	kernel_faults_take(fixture->faults, &line);
	assert_int_equal(fixture->count, 1);
}

static void built_in_rules_can_be_switched_off(void **state)
{
	struct fixture *fixture = *state;
	struct kernel_line line = line_of("EXT4-fs (dm-0): Remounting filesystem read-only");
	struct kernel_match match;

	assert_int_equal(strings_append(&fixture->settings.without, "ext4-read-only"), 0);
	assert_false(kernel_rules_match(&fixture->settings, &line, &match));
	strings_clear(&fixture->settings.without);
	assert_true(kernel_rules_match(&fixture->settings, &line, &match));
	fixture->settings.builtin = false;
	assert_false(kernel_rules_match(&fixture->settings, &line, &match));
}

/* --- Needles --- */

/* What the program in the kernel does. */
static bool has(const char *text, uint64_t needle)
{
	uint64_t window = '\n';

	for (size_t i = 0; i <= strlen(text); i++) {
		window = (window << 8 | (unsigned char)(text[i] ? text[i] : '\n')) & NEEDLE_MASK;
		if (window == needle)
			return true;
	}
	return false;
}

static void a_line_that_matches_has_both_needles(void **state)
{
	size_t matched = 0;

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		for (size_t at = 0; at < kernel_builtin_count; at++) {
			const char *pattern = kernel_builtins[at].pattern;
			char device[KERNEL_DEVICE_SIZE];
			uint64_t needles[2];

			if (!kernel_pattern_match(pattern, samples[i].line, strlen(samples[i].line),
						  device))
				continue;
			matched++;
			assert_int_equal(kernel_pattern_needles(pattern, needles), 0);
			if (!has(samples[i].line, needles[0]) || !has(samples[i].line, needles[1]))
				fail_msg("\"%s\" has not the needles of \"%s\"", samples[i].line,
					 pattern);
		}
	assert_in_range(matched, 30, 1000);
}

static uint64_t needle_of(const char *bytes)
{
	uint64_t needle = 0;

	for (size_t i = 0; i < NEEDLE_BYTES; i++)
		needle = needle << 8 | (unsigned char)bytes[i];
	return needle;
}

static void needles_come_from_different_parts_of_a_pattern(void **state)
{
	uint64_t needles[2];

	assert_int_equal(kernel_pattern_needles("*program: disk {} broke down*", needles), 0);
	assert_true(has("program: disk ", needles[0]) && !has(" broke down", needles[0]));
	assert_true(has("x broke downx", needles[1]) && !has("program: disk ", needles[1]));
	/* One part alone: two places in it that do not overlap. */
	assert_int_equal(kernel_pattern_needles("*ABCDEFabcdef*", needles), 0);
	assert_true(needles[0] == needle_of("ABCDEF") && needles[1] == needle_of("abcdef"));
	/* One place alone: with the start of the line. */
	assert_int_equal(kernel_pattern_needles("BUG: *", needles), 0);
	assert_true(needles[0] == needle_of("\nBUG: ") && needles[1] == needles[0]);
	assert_int_equal(kernel_pattern_needles("*short*{}*parts*", needles), -EINVAL);
	assert_int_equal(kernel_pattern_needles("", needles), -EINVAL);
}

/* --- Settings --- */

static void expect_refused(const char *settings, const char *field, const char *text)
{
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	struct problem problem = {};
	cJSON *own = NULL;

	assert_int_equal(json_parse(settings, strlen(settings), &own, NULL), 0);
	assert_int_equal(json_set(json, "kernel_log", own), 0);
	assert_int_equal(detect_check_settings(json, &problem), -EINVAL);
	assert_string_equal(problem.field, field);
	if (!strstr(problem.text, text))
		fail_msg("%s: %s", problem.field, problem.text);
}

static void settings_that_cannot_work_are_refused(void **state)
{
	expect_refused("{\"rules\":[{\"name\":\"a\",\"pattern\":\"*error*\"}]}",
		       "kernel_log.rules[0].pattern", "6 characters in a row");
	expect_refused("{\"rules\":[{\"name\":\"a\",\"pattern\":\"a disk {} of {}\"}]}",
		       "kernel_log.rules[0].pattern", "more than once");
	expect_refused("{\"rules\":[{\"name\":\"a\",\"pattern\":\"the disk {}*\"}]}",
		       "kernel_log.rules[0].pattern", "beside");
	expect_refused("{\"rules\":[{\"name\":\"a b\",\"pattern\":\"the disk\"}]}",
		       "kernel_log.rules[0].name", "letters");
	expect_refused("{\"rules\":[{\"name\":\"a\"}]}", "kernel_log.rules[0].pattern", "");
	expect_refused("{\"without\":[\"ext5-error\"]}", "kernel_log.without", "ext5-error");
}

/* --- Repeats --- */

static void many_lines_about_one_thing_are_counted_and_told_now_and_then(void **state)
{
	struct fixture *fixture = *state;
	struct kernel_line line = line_of("Buffer I/O error on dev dm-0, logical block 1, lost");

	for (int i = 0; i < 1000; i++) {
		line.boot_ns = NS_PER_S + (uint64_t)i * NS_PER_MS;
		kernel_faults_take(fixture->faults, &line);
	}
	assert_int_equal(fixture->count, 1);
	assert_int_equal(fixture->told[0].count, 1);
	assert_int_equal(kernel_faults_look(fixture->faults, 5 * NS_PER_S), 6 * NS_PER_S);
	assert_int_equal(fixture->count, 1);
	assert_int_equal(kernel_faults_look(fixture->faults, 11 * NS_PER_S), 0);
	assert_int_equal(fixture->count, 2);
	assert_int_equal(fixture->told[1].count, 999);
	assert_int_equal(fixture->told[1].lines, 1000);
	/* Nothing is held back, and nothing told twice. */
	kernel_faults_flush(fixture->faults);
	assert_int_equal(fixture->count, 2);
	line.boot_ns = 12 * NS_PER_S;
	kernel_faults_take(fixture->faults, &line);
	kernel_faults_flush(fixture->faults);
	assert_int_equal(fixture->count, 3);
	assert_int_equal(fixture->told[2].count, 1);
}

static void of_too_many_devices_every_line_is_told_or_counted_as_lost(void **state)
{
	struct fixture *fixture = *state;
	uint64_t sum = 0;
	char text[96];

	for (int round = 0; round < 3; round++)
		for (int i = 0; i < KERNEL_FAULTS_MAX + 40; i++) {
			snprintf(text, sizeof(text),
				 "Buffer I/O error on dev dm-%d, logical block 1", i);
			struct kernel_line line = line_of(text);

			line.boot_ns = NS_PER_S + (uint64_t)(round * 1000 + i);
			kernel_faults_take(fixture->faults, &line);
		}
	kernel_faults_flush(fixture->faults);
	for (size_t i = 0; i < fixture->count; i++)
		sum += fixture->told[i].count;
	assert_int_equal(sum + fixture->slot.run.lost, 3 * (KERNEL_FAULTS_MAX + 40));
	/* A storm of ever new ones: some at once, the rest of what is remembered later. */
	assert_in_range(fixture->count, KERNEL_FAULTS_MAX, KERNEL_FAULTS_MAX + 64);
}

static void a_server_that_answers_again_clears_its_fault(void **state)
{
	struct fixture *fixture = *state;
	struct kernel_line line = line_of("nfs: server 10.0.0.1 not responding, still trying");

	kernel_faults_take(fixture->faults, &line);
	line = line_of("nfs: server 10.0.0.1 OK");
	kernel_faults_take(fixture->faults, &line);
	assert_int_equal(fixture->count, 2);
	assert_string_equal(fixture->told[1].type, "Cleared");
	assert_true(fixture->told[1].cleared);
	assert_string_equal(fixture->told[1].subject, fixture->told[0].subject);
	line = line_of("nfs: server 10.0.0.1 not responding, still trying");
	kernel_faults_take(fixture->faults, &line);
	assert_int_equal(fixture->count, 3);
}

static void text_of_several_lines_is_told_line_by_line(void **state)
{
	struct fixture *fixture = *state;
	static const char text[] = "something\nBuffer I/O error on dev dm-0, logical block 1\x1b\n"
				   "Buffer I/O error on dev dm-1, logical block 1";
	struct kernel_line line = line_of(text);

	kernel_text_take(fixture->faults, &line);
	assert_int_equal(fixture->count, 2);
	assert_string_equal(fixture->told[0].line,
			    "Buffer I/O error on dev dm-0, logical block 1?");
	assert_string_equal(fixture->told[1].subject, "DiskIOError of dm-1");
}

/* --- The change from one rung to the other --- */

static void a_line_that_the_former_hook_left_in_the_ring_is_told(void **state)
{
	struct fixture *fixture = *state;
	struct ground ground = {.host = fixture->root->host, .capabilities = -EPERM};
	static const char text[] = "Buffer I/O error on dev dm-0, logical block 1";
	struct kernel_line_event event = {.header = {.type = EVENT_KERNEL_LINE,
						     .version = EVENTS_VERSION,
						     .size = sizeof(event)},
					  .length = strlen(text),
					  .flags = KERNEL_LINE_KERNEL};
	_cleanup_json_ cJSON *polled = cJSON_Parse("{\"hook\":\"poll/kmsg\"}");

	memcpy(event.text, text, sizeof(text));
	fake_file(fixture->root, "dev/kmsg", "%s", "");
	fixture->slot.hooks =
		calloc(hook_count(fixture->slot.run.detector), sizeof(*fixture->slot.hooks));
	assert_int_equal(slot_start(&fixture->slot, polled, &ground), 0);
	assert_true(fixture->slot.started);
	fixture->slot.run.detector->event(&fixture->slot.run, &event.header);
	slot_stop(&fixture->slot);
	free(fixture->slot.hooks);
	cJSON_Delete(fixture->slot.configured);
	assert_int_equal(fixture->count, 1);
	assert_string_equal(fixture->told[0].subject, "DiskIOError of dm-0");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_pattern_matches_the_whole_line_and_names_what_it_is_about),
		TEST(a_nul_in_a_line_is_not_the_end_of_the_pattern),
		TEST(a_name_that_is_too_long_is_cut_and_made_plain),
		TEST(a_built_in_rule_tells_the_lines_of_kernels_5_10_to_7_2),
		TEST(every_built_in_rule_is_met_by_a_sample),
		TEST(what_a_program_wrote_is_not_the_kernels_word),
		TEST(built_in_rules_can_be_switched_off),
		TEST(a_line_that_matches_has_both_needles),
		TEST(needles_come_from_different_parts_of_a_pattern),
		TEST(settings_that_cannot_work_are_refused),
		TEST(many_lines_about_one_thing_are_counted_and_told_now_and_then),
		TEST(of_too_many_devices_every_line_is_told_or_counted_as_lost),
		TEST(a_server_that_answers_again_clears_its_fault),
		TEST(text_of_several_lines_is_told_line_by_line),
		TEST(a_line_that_the_former_hook_left_in_the_ring_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
