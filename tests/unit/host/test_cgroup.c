/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups of hosts with v1, v2 and both, and a real one; mount tables and pressure with
 * them.
 */
#include "fake_root.h"

#include <signal.h>
#include <sys/wait.h>

#include "host/cgroup.h"
#include "host/mounts.h"
#include "host/pressure.h"
#include "host/process.h"
#include "../skip.h"

#define PRESSURE                                                                           \
	"some avg10=1.50 avg60=0.20 avg300=0.00 total=123456\nfull avg10=0.50 avg60=0.00 " \
	"avg300=0.00 total=99\n"

static void fake_v2(const struct fake_root *root, const char *mount)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/cgroup.controllers", mount);
	fake_file(root, path, "cpuset cpu io memory pids\n");
	snprintf(path, sizeof(path), "%s/cgroup.procs", mount);
	fake_file(root, path, "%s", "");
}

static void v2_memory_is_read(void **state)
{
	const struct fake_root *root = *state;
	struct cgroup_memory memory;

	fake_file(
		root, "proc/1/mountinfo",
		"30 20 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
	fake_v2(root, "sys/fs/cgroup");
	fake_file(root, "sys/fs/cgroup/a/b/memory.current", "1048576\n");
	fake_file(root, "sys/fs/cgroup/a/b/memory.max", "max\n");
	fake_file(root, "sys/fs/cgroup/a/b/memory.events",
		  "low 0\nhigh 0\nmax 35\noom 1\noom_kill 4\noom_group_kill 1\n");
	assert_int_equal(cgroup_memory_read(root->host, "/a/b", &memory), 0);
	assert_int_equal(memory.version, CGROUP_V2);
	assert_int_equal(memory.usage_bytes, 1048576);
	assert_true(memory.limit_bytes == UINT64_MAX);
	assert_int_equal(memory.oom_kills, 4);
	assert_int_equal(memory.fail_count, 35);
	assert_int_equal(cgroup_memory_read(root->host, "/a/c", &memory), -ENOENT);
	assert_int_equal(cgroup_memory_read(root->host, "/", &memory), -EOPNOTSUPP);
	assert_int_equal(cgroup_memory_read(root->host, "/a/../../etc", &memory), -EINVAL);
	assert_int_equal(cgroup_memory_read(root->host, "a", &memory), -EINVAL);
}

static void hybrid_memory_is_read_from_v1(void **state)
{
	const struct fake_root *root = *state;
	struct cgroup_memory memory;
	enum cgroup_version version;

	fake_file(root, "proc/1/mountinfo",
		  "30 20 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
		  "31 20 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
		  "32 20 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
		  "33 20 0:30 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n");
	fake_file(root, "sys/fs/cgroup/unified/cgroup.controllers", "%s", "");
	fake_folder(root, "sys/fs/cgroup/unified/a");
	fake_folder(root, "sys/fs/cgroup/blkio/a");
	fake_folder(root, "sys/fs/cgroup/cpu,cpuacct/a");
	fake_file(root, "sys/fs/cgroup/memory/a/memory.usage_in_bytes", "4096\n");
	fake_file(root, "sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
	fake_file(root, "sys/fs/cgroup/memory/a/memory.failcnt", "12\n");
	fake_file(root, "sys/fs/cgroup/memory/a/memory.oom_control",
		  "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
	assert_int_equal(cgroup_memory_read(root->host, "/a", &memory), 0);
	assert_int_equal(memory.version, CGROUP_V1);
	assert_true(memory.limit_bytes == UINT64_MAX);
	assert_int_equal(memory.oom_kills, 3);
	assert_int_equal(memory.fail_count, 12);
	_cleanup_close_ int io = cgroup_open(root->host, "io", "/a", &version);
	assert_true(io >= 0);
	assert_int_equal(version, CGROUP_V1);
	_cleanup_close_ int cpu = cgroup_open(root->host, "cpuacct", "/a", &version);
	assert_true(cpu >= 0);
	_cleanup_close_ int unified = cgroup_open(root->host, "", "/a", &version);
	assert_true(unified >= 0);
	assert_int_equal(version, CGROUP_V2);
	assert_int_equal(cgroup_open(root->host, "pids", "/a", &version), -EOPNOTSUPP);
}

static void a_container_sees_its_part_of_the_hierarchy(void **state)
{
	const struct fake_root *root = *state;
	struct cgroup_memory memory;

	fake_file(root, "proc/1/mountinfo",
		  "31 20 0:28 /docker/x /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
	fake_file(root, "sys/fs/cgroup/memory/a/memory.usage_in_bytes", "4096\n");
	fake_file(root, "sys/fs/cgroup/memory/a/memory.limit_in_bytes", "8192\n");
	assert_int_equal(cgroup_memory_read(root->host, "/docker/x/a", &memory), 0);
	assert_int_equal(memory.limit_bytes, 8192);
	assert_int_equal(cgroup_memory_read(root->host, "/docker/xy/a", &memory), -ENOENT);
}

static void processes_of_groups_below_are_counted_in(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_free_ int64_t *pids = NULL;
	int64_t sum = 0;
	size_t count;

	fake_file(root, "proc/1/mountinfo",
		  "30 20 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
	fake_v2(root, "sys/fs/cgroup");
	fake_file(root, "sys/fs/cgroup/a/cgroup.procs", "1\n2\n");
	fake_file(root, "sys/fs/cgroup/a/b/cgroup.procs", "4\n");
	fake_file(root, "sys/fs/cgroup/a/b/c/cgroup.procs", "8\n");
	assert_int_equal(cgroup_processes(root->host, "memory", "/a", &pids, &count), 0);
	assert_int_equal(count, 4);
	for (size_t i = 0; i < count; i++)
		sum += pids[i];
	assert_int_equal(sum, 15);
	assert_int_equal(cgroup_processes(root->host, "memory", "/z", &pids, &count), -ENOENT);
}

static void counters_keep_their_shape(void **state)
{
	const struct fake_root *root = *state;

	fake_file(root, "proc/1/mountinfo",
		  "30 20 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
	fake_v2(root, "sys/fs/cgroup");
	fake_file(root, "sys/fs/cgroup/a/cgroup.procs", "1\n");
	fake_file(root, "sys/fs/cgroup/a/memory.current", "100\n");
	fake_file(root, "sys/fs/cgroup/a/memory.max", "max\n");
	fake_file(root, "sys/fs/cgroup/a/memory.stat", "anon 10\nfile 20\n");
	fake_file(root, "sys/fs/cgroup/a/io.stat", "8:0 rbytes=1 wbytes=2\n");
	fake_file(root, "sys/fs/cgroup/a/memory.pressure", PRESSURE);
	_cleanup_json_ cJSON *counters = cgroup_counters(root->host, "/a");
	assert_non_null(counters);
	assert_int_equal(json_at(counters, "memory.current")->valueint, 100);
	assert_string_equal(json_at(counters, "memory.max")->valuestring, "max");
	assert_int_equal(json_at(counters, "memory.stat.file")->valueint, 20);
	assert_string_equal(json_at(counters, "memory.version")->valuestring, "v2");
	assert_string_equal(json_at(counters, "io.stat")->valuestring, "8:0 rbytes=1 wbytes=2");
	assert_true(json_at(counters, "pressure.memory.some.avg10")->valuedouble == 1.5);
	assert_null(json_at(counters, "memory.pressure"));
}

static void pressure_is_read_or_known_to_be_off(void **state)
{
	const struct fake_root *root = *state;

	assert_null(pressure_node(root->host));
	fake_file(root, "proc/pressure/io", PRESSURE);
	_cleanup_json_ cJSON *pressure = pressure_node(root->host);
	assert_true(json_at(pressure, "io.some.avg60")->valuedouble == 0.2);
	assert_int_equal(json_at(pressure, "io.full.totalMicroseconds")->valueint, 99);
	assert_null(json_at(pressure, "cpu"));
}

static void pressure_that_is_no_number_is_left_out(void **state)
{
	const struct fake_root *root = *state;

	fake_file(root, "proc/pressure/io",
		  "some avg10=nan avg60=0.20 avg300=0.00 total=99\n"
		  "full avg10=0.00 avg60=1e999 avg300=0.00 total=99\n");
	_cleanup_json_ cJSON *pressure = pressure_node(root->host);
	assert_null(json_at(pressure, "io.some"));
	assert_null(json_at(pressure, "io.full"));
}

static void pressure_of_no_kind_that_is_known_is_left_out(void **state)
{
	const struct fake_root *root = *state;

	fake_file(root, "proc/pressure/io",
		  "\232\200all avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
		  "some avg10=0.00 avg60=0.20 avg300=0.00 total=99\n");
	_cleanup_json_ cJSON *pressure = pressure_node(root->host);
	assert_int_equal(cJSON_GetArraySize(json_at(pressure, "io")), 1);
	assert_non_null(json_at(pressure, "io.some"));
}

static void a_mount_is_found_by_its_device(void **state)
{
	const struct fake_root *root = *state;
	_cleanup_mounts_ struct mounts *mounts = NULL;

	fake_file(root, "proc/self/mountinfo",
		  "1 0 254:0 / / rw,relatime - ext4 /dev/vda rw,errors=remount-ro\n"
		  "2 1 7:0 /sub /bind rw - ext4 /dev/loop0 rw\n"
		  "3 1 7:0 / /mnt/with\\040space rw shared:5 master:1 - ext4 /dev/loop0 rw\n"
		  "4 1 0:50 / /none rw - tmpfs - rw\n");
	assert_int_equal(mounts_read(root->host, 0, &mounts), 0);
	assert_int_equal(mounts->count, 4);
	const struct mount *mount = mounts_find_device(mounts, 7, 0);
	assert_string_equal(mount->mount_point, "/mnt/with space");
	assert_string_equal(mount->fs_type, "ext4");
	assert_string_equal(mount->source, "/dev/loop0");
	assert_int_equal(mount->id, 3);
	assert_string_equal(mounts_find_device(mounts, 254, 0)->options,
			    "rw,relatime,rw,errors=remount-ro");
	assert_null(mounts_find_device(mounts, 7, 1));
	_cleanup_mounts_ struct mounts *none = NULL;
	assert_int_equal(mounts_read(root->host, 5, &none), -ENOENT);
	fake_file(root, "proc/6/mountinfo", "1 0 nonsense\n");
	assert_int_equal(mounts_read(root->host, 6, &none), -EINVAL);
}

/* A real group of this host, with a real process and limit. */
static void a_real_group_is_read(void **state)
{
	_cleanup_host_ struct host *host = NULL;
	_cleanup_mounts_ struct mounts *mounts = NULL;
	_cleanup_free_ int64_t *pids = NULL;
	char folder[PATH_MAX], path[PATH_MAX + 32], text[32];
	const char *memory_mount = NULL, *limit_file = "memory.max";
	struct cgroup_memory memory;
	size_t count = 0;

	assert_int_equal(host_open(NULL, &host), 0);
	assert_int_equal(mounts_read(host, 0, &mounts), 0);
	for (size_t i = 0; i < mounts->count; i++) {
		if (streq(mounts->items[i].fs_type, "cgroup") &&
		    strstr(mounts->items[i].options, "memory")) {
			memory_mount = mounts->items[i].mount_point;
			limit_file = "memory.limit_in_bytes";
			break;
		}
		if (streq(mounts->items[i].fs_type, "cgroup2"))
			memory_mount = mounts->items[i].mount_point;
	}
	if (!memory_mount || geteuid() != 0) {
		skip_because("needs root and a mounted cgroup hierarchy with memory");
	}
	snprintf(folder, sizeof(folder), "%s/lifeboat-test-%d", memory_mount, (int)getpid());
	assert_int_equal(mkdir(folder, 0755), 0);
	pid_t child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	snprintf(path, sizeof(path), "%s/%s", folder, limit_file);
	FILE *file = fopen(path, "we");
	bool limited = file && fputs("33554432", file) >= 0;
	limited = file && fclose(file) == 0 && limited;
	snprintf(path, sizeof(path), "%s/cgroup.procs", folder);
	file = fopen(path, "we");
	snprintf(text, sizeof(text), "%d", (int)child);
	bool moved = file && fputs(text, file) >= 0;
	moved = file && fclose(file) == 0 && moved;
	int r = cgroup_memory_read(host, strrchr(folder, '/'), &memory);
	int listed = cgroup_processes(host, "memory", strrchr(folder, '/'), &pids, &count);
	_cleanup_json_ cJSON *counters = cgroup_counters(host, strrchr(folder, '/'));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	int removed = rmdir(folder);
	for (int i = 0; removed < 0 && errno == EBUSY && i < 200; i++) {
		usleep(10000);
		removed = rmdir(folder);
	}
	assert_int_equal(removed, 0);
	assert_true(limited && moved);
	assert_int_equal(r, 0);
	assert_int_equal(memory.limit_bytes, 33554432);
	assert_int_equal(memory.oom_kills, 0);
	assert_int_equal(listed, 0);
	assert_int_equal(count, 1);
	assert_int_equal(pids[0], child);
	assert_non_null(json_at(counters, "memory.stat"));
	assert_int_equal(cgroup_memory_read(host, strrchr(folder, '/'), &memory), -ENOENT);
}

#define FAKE(test) cmocka_unit_test_setup_teardown(test, fake_root_setup, fake_root_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FAKE(v2_memory_is_read),
		FAKE(hybrid_memory_is_read_from_v1),
		FAKE(a_container_sees_its_part_of_the_hierarchy),
		FAKE(processes_of_groups_below_are_counted_in),
		FAKE(counters_keep_their_shape),
		FAKE(pressure_is_read_or_known_to_be_off),
		FAKE(pressure_that_is_no_number_is_left_out),
		FAKE(pressure_of_no_kind_that_is_known_is_left_out),
		FAKE(a_mount_is_found_by_its_device),
		cmocka_unit_test(a_real_group_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
