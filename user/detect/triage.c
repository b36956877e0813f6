/* SPDX-License-Identifier: Apache-2.0 */
#include "detect/triage.h"

#include "detect/detector.h"
#include "detect/shim_name.h"
#include "host/shim.h"

#include "triage.skel.h"

static int pin_table(struct pins *pins, struct bpf_program *program)
{
	struct bpf_link *link = bpf_program__attach_iter(program, NULL);

	if (!link)
		return -errno;
	int r = pins_put(pins, bpf_program__name(program), bpf_link__fd(link));

	bpf_link__destroy(link);
	return r;
}

DEFINE_CLEANUP(struct triage_bpf, triage_bpf__destroy);

int triage_pin(struct pins *pins, char *reason, size_t reason_size)
{
	size_t shims = 0;

	if (!pins_folder(pins))
		return 0;
	/* The kernel keeps what is pinned: nothing of this has to stay. */
	_cleanup_(triage_bpf__destroyp) struct triage_bpf *skeleton = triage_bpf__open();

	if (!skeleton)
		return detector_fail(reason, reason_size, -errno, "opening the BPF object");
	while (shim_default_patterns[shims])
		shims++;
	skeleton->rodata->triage_page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	shim_names_fill(skeleton->bss->triage_shims, shim_default_patterns, shims);
	int r = pins_share(pins, skeleton->obj);

	if (r == 0)
		r = triage_bpf__load(skeleton);
	if (r < 0)
		return detector_fail(reason, reason_size, r, "loading the iterators");
	struct bpf_program *program;

	bpf_object__for_each_program (program, skeleton->obj) {
		r = pin_table(pins, program);
		if (r < 0)
			return detector_fail(reason, reason_size, r, "pinning %s",
					     bpf_program__name(program));
	}
	return 0;
}
