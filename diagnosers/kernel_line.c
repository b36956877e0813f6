/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnoser kernel-line: what a line of the kernel's log that the built-in rules of detector
 * kernel_log found means, and what a person does about it. Nothing here is repaired by software.
 */
#include "base/buffer.h"
#include "plugin/subject.h"

#define MESSAGE_BYTES_MAX (16 * KIB)

/* The detector's types are the reasons. */
static const struct meaning {
	const char *reason;
	const char *subject, *predicate; /* between them the device, where the line names one */
	const char *advice;
} meanings[] = {
	{
		.reason = "DiskIOError",
		.subject = "The disk",
		.predicate = " does not read or write what it is asked to.",
		.advice = "what was to be written may be lost. Look at smartctl -a or nvme "
			  "smart-log of the disk, at its cabling or, for a virtual or network "
			  "disk, at its provider; move what uses it elsewhere, and replace it. "
			  "lsblk -s tells what lies below a dm or md device.",
	},
	{
		.reason = "FilesystemError",
		.subject = "The filesystem on",
		.predicate = " found itself damaged, or cannot write to its disk any more. It may "
			     "refuse writes from now on, which /proc/mounts need not show.",
		.advice = "look first for errors of the disk below it. Stop what uses it, unmount "
			  "it and check it (fsck -n, xfs_repair -n, btrfs check --readonly); have "
			  "a backup before it is repaired.",
	},
	{
		.reason = "NFSServerNotResponding",
		.subject = "The NFS server",
		.predicate = " does not answer.",
		.advice = "what uses its mounts waits for it. Look whether the server runs and is "
			  "reached (rpcinfo -t SERVER nfs), and at what lies between.",
	},
	{
		.reason = "CPULockup",
		.subject = "CPU",
		.predicate =
			" ran in the kernel for so long, without letting anything else run, that "
			"the watchdog reported it.",
		.advice = "the stack in the log (artifact kernel-log.txt) tells which code. In a "
			  "virtual machine it is often the host that has not let it run: look at "
			  "its steal time first. Else look for a known bug of this kernel, or of "
			  "a module in that stack, and restart the node if it does not recover.",
	},
	{
		.reason = "RCUStall",
		.subject = "A CPU or task holds up the kernel's",
		.predicate = ", and with it all memory that waits to be freed.",
		.advice = "the stack in the log (artifact kernel-log.txt) tells which code. In a "
			  "virtual machine it is often the host that has not let it run: look at "
			  "its steal time first. Restart the node if it does not recover.",
	},
	{
		.reason = "KernelBug",
		.subject = "The kernel",
		.predicate = " made an error of its own.",
		.advice = "what ran at that moment was killed and may have left locks taken, so "
			  "the node cannot be trusted any more: move its work away and restart "
			  "it. Search for the function behind RIP or pc in the log (artifact "
			  "kernel-log.txt) among the known bugs of this kernel.",
	},
	{
		.reason = "HardwareError",
		.subject = "The hardware",
		.predicate = " reports an error that it could not correct.",
		.advice = "data in memory or on its way may be wrong. Look at ras-mc-ctl --errors "
			  "and the system event log (ipmitool sel list) for the part; move work "
			  "away from the node and replace it.",
	},
	{
		.reason = "NetworkTableFull",
		.subject = "A table of the network",
		.predicate = " is full, and packets are dropped.",
		.advice = "for nf_conntrack compare net.netfilter.nf_conntrack_count with "
			  "nf_conntrack_max, find who opens so many connections (conntrack -L), "
			  "or raise the limit; for neighbours raise "
			  "net.ipv4.neigh.default.gc_thresh1 to gc_thresh3.",
	},
	{
		.reason = "PageAllocationFailure",
		.subject = "The kernel",
		.predicate =
			" did not get a single page of memory where it could not wait for one.",
		.advice = "a packet or a request was dropped for it. If it repeats, raise "
			  "vm.min_free_kbytes, and look at what uses up the memory.",
	},
};

static const struct meaning *find(const char *type)
{
	for (size_t i = 0; type && i < ARRAY_SIZE(meanings); i++)
		if (streq(meanings[i].reason, type))
			return &meanings[i];
	return NULL;
}

static int diagnose(struct plugin_call *call)
{
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	const cJSON *details = plugin_details(call);
	const struct meaning *meaning = event ? find(event->type) : NULL;
	const char *device = json_string(details, "device"), *line = json_string(details, "line"),
		   *rule = json_string(details, "rule");
	double lines = json_number(details, "lines", 1);
	_cleanup_buffer_ struct buffer out = BUFFER(MESSAGE_BYTES_MAX);

	/* A rule of the operator's: what it means is theirs to tell. */
	if (!meaning || !line)
		return PLUGIN_NOT_MINE;
	buffer_printf(&out, "%s%s%s%s", meaning->subject, device ? " " : "", device ? device : "",
		      meaning->predicate);
	buffer_printf(&out, "\nEvidence: the kernel logged \"%s\"", line);
	if (lines > 1)
		buffer_printf(&out, ", the last of %.0f such lines", lines);
	buffer_printf(&out, " (rule %s of detector kernel_log).", rule ? rule : "unknown");
	if (!json_string(details, "writer"))
		buffer_append_text(&out, " Whether the kernel itself wrote it is not known.");
	buffer_printf(&out, "\nRepair: none; it takes a person.\nAdvice: %s", meaning->advice);
	return plugin_identify(call, meaning->reason, "%s", buffer_text(&out));
}

static const char *const detectors[] = {"kernel_log", NULL};

PLUGIN(kernel_line) = {
	.name = "kernel-line",
	.summary =
		"faults that the kernel told by a line of its log: what they mean, and what to do",
	.kind = PLUGIN_DIAGNOSER,
	.order = 10,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.detectors = detectors,
	.diagnose = diagnose,
};
