/* SPDX-License-Identifier: Apache-2.0 */
/* busy-kernel SECONDS: keeps a CPU busy inside the kernel for so long, by /lib/busy-kernel.bpf.o. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **words)
{
	unsigned long long ns = count == 2 ? strtoull(words[1], NULL, 10) * 1000000000ULL : 0;
	struct bpf_object *object = bpf_object__open("/lib/busy-kernel.bpf.o");
	struct bpf_map *map = object ? bpf_object__find_map_by_name(object, ".bss") : NULL;
	struct bpf_program *program = object ? bpf_object__find_program_by_name(object, "busy") : NULL;

	if (!map || !program || bpf_map__set_initial_value(map, &ns, sizeof(ns)) < 0 ||
	    bpf_object__load(object) < 0) {
		perror("busy-kernel: loading its program");
		return 1;
	}
	LIBBPF_OPTS(bpf_test_run_opts, options);
	if (bpf_prog_test_run_opts(bpf_program__fd(program), &options) < 0) {
		perror("busy-kernel: running its program");
		return 1;
	}
	return 0;
}
