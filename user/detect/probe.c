/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kernel offers, found out by trying, where its BTF does not tell: a kernel can have a
 * function and the fentry attach type and still refuse every attach.
 */
#include "detect/detector.h"

#include <linux/bpf.h>
#include <linux/capability.h>
#include <sys/syscall.h>

#include <bpf/bpf.h>

static bool capability_in(const struct __user_cap_data_struct data[2], int capability)
{
	return data[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability);
}

int probe_capabilities(char *reason, size_t reason_size)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {};
	const char *missing;

	/* A kernel that does not answer this is asked by the first load instead. */
	if (syscall(SYS_capget, &header, data) < 0)
		return 0;
	if (capability_in(data, CAP_SYS_ADMIN))
		return 0;
	bool bpf = capability_in(data, CAP_BPF), perfmon = capability_in(data, CAP_PERFMON);

	if (bpf && perfmon)
		return 0;
	missing = bpf ? "CAP_PERFMON" : perfmon ? "CAP_BPF" : "CAP_BPF and CAP_PERFMON";
	snprintf(reason, reason_size,
		 "loading BPF programs needs %s, which this process does not have: run it as root, "
		 "or with AmbientCapabilities=CAP_BPF CAP_PERFMON in its systemd unit",
		 missing);
	return -EPERM;
}

int probe_fentry(const struct btf *btf, const char *function, char *reason, size_t reason_size)
{
	/* r0 = 0; exit */
	static const struct bpf_insn nothing[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int id = btf__find_by_name_kind(btf, function, BTF_KIND_FUNC);

	if (id < 0) {
		snprintf(reason, reason_size, "the kernel's BTF has no function %s", function);
		return -ENOENT;
	}
	LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = BPF_TRACE_FENTRY,
		    .attach_btf_id = (uint32_t)id);
	_cleanup_close_ int program = bpf_prog_load(BPF_PROG_TYPE_TRACING, "lifeboat_probe", "GPL",
						    nothing, ARRAY_SIZE(nothing), &options);

	if (program < 0)
		return detector_fail(reason, reason_size, program,
				     "loading an fentry program for %s", function);
	_cleanup_close_ int link = bpf_raw_tracepoint_open(NULL, program);

	if (link < 0)
		return detector_fail(reason, reason_size, link, "attaching fentry to %s", function);
	return 0;
}

int probe_kprobe(const struct btf *btf, const struct host *host, const char *function, char *reason,
		 size_t reason_size)
{
	if (!btf_has_function(btf, function)) {
		snprintf(reason, reason_size, "the kernel's BTF has no function %s", function);
		return -ENOENT;
	}
	if (faccessat(host->sys, "bus/event_source/devices/kprobe/type", F_OK, 0) == 0 ||
	    faccessat(host->sys, "kernel/tracing/kprobe_events", F_OK, 0) == 0 ||
	    faccessat(host->sys, "kernel/debug/tracing/kprobe_events", F_OK, 0) == 0)
		return 0;
	snprintf(reason, reason_size,
		 "the kernel has no kprobe events (no kprobe PMU in /sys/bus/event_source/devices, "
		 "no kprobe_events)");
	return -ENOENT;
}
