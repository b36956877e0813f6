/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Offers events to a running agent's ring at a given rate, and prints how many and how fast.
 *
 *   storm OBJECT AGENT_PID LINE EVENTS_A_SECOND MILLISECONDS
 *
 * OBJECT is storm.bpf.o. LINE is what the agent has a rule for, 31 characters; a letter of the device
 * follows it. The agent's own maps are found by its open files: ring and loss counters are the same that
 * its detectors use.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "storm.h"

static double now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The id of the map that PROCESS has open as FD; 0: it is none. */
static __u32 map_id(const char *process, const char *fd)
{
	char path[300], text[64];
	unsigned id = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%s/fdinfo/%s", process, fd);
	file = fopen(path, "re");
	if (!file)
		return 0;
	while (!id && fgets(text, sizeof(text), file))
		if (sscanf(text, "map_id: %u", &id) != 1)
			id = 0;
	fclose(file);
	return id;
}

/* A descriptor of our own for the map NAME of PROCESS, or -1. */
static int map_of(const char *process, const char *name)
{
	struct bpf_map_info info;
	struct dirent *entry;
	char path[64];
	int found = -1;

	snprintf(path, sizeof(path), "/proc/%s/fdinfo", process);
	DIR *folder = opendir(path);
	while (folder && found < 0 && (entry = readdir(folder))) {
		__u32 id = map_id(process, entry->d_name), size = sizeof(info);
		int fd = id ? bpf_map_get_fd_by_id(id) : -1;

		memset(&info, 0, sizeof(info));
		if (fd < 0)
			continue;
		if (bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && strcmp(info.name, name) == 0)
			found = fd;
		else
			close(fd);
	}
	if (folder)
		closedir(folder);
	return found;
}

static int put_agents_map(struct bpf_object *object, const char *process, const char *name)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);
	int fd = map_of(process, name);
	int r = fd >= 0 && map ? bpf_map__reuse_fd(map, fd) : -ENOENT;

	if (r == 0)
		r = bpf_map__set_pin_path(map, NULL); /* pinning is the agent's */

	if (r < 0)
		fprintf(stderr, "storm: the map %s of process %s: %s\n", name, process,
			strerror(-r));
	return r;
}

/* Sets `line`, the only constant of the object. */
static int put_line(struct bpf_object *object, const char *text)
{
	char line[STORM_LINE_SIZE] = "";
	struct bpf_map *map;

	snprintf(line, sizeof(line), "%s", text);
	bpf_object__for_each_map (map, object)
		if (strstr(bpf_map__name(map), ".rodata"))
			return bpf_map__set_initial_value(map, line, sizeof(line));
	return -ENOENT;
}

static int offer(int program, double rate, double seconds)
{
	double begin = now_seconds(), now;
	unsigned long offered = 0;

	while ((now = now_seconds()) - begin < seconds) {
		LIBBPF_OPTS(bpf_test_run_opts, options);

		if ((double)offered > (now - begin) * rate)
			continue;
		int r = bpf_prog_test_run_opts(program, &options);
		if (r < 0)
			return r;
		offered += STORM_BATCH;
	}
	printf("%lu %.0f\n", offered, (double)offered / (now - begin));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 6)
		return 64;
	struct bpf_object *object = bpf_object__open_file(argv[1], NULL);
	int r = object ? put_agents_map(object, argv[2], "events") : -errno;

	if (r == 0)
		r = put_agents_map(object, argv[2], "lost");
	if (r == 0)
		r = put_line(object, argv[3]);
	if (r == 0)
		r = bpf_object__load(object);
	if (r == 0)
		r = offer(bpf_program__fd(bpf_object__find_program_by_name(object, "storm")),
			  strtod(argv[4], NULL), strtod(argv[5], NULL) / 1e3);
	if (r < 0)
		fprintf(stderr, "storm: %s\n", strerror(-r));
	bpf_object__close(object);
	return r < 0;
}
