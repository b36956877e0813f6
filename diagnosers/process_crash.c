/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Diagnoser process-crash: what a fatal signal says of the program it ended. A signal, its code and
 * its address narrow the cause down to a sentence; where to look further (the stack, the core, the
 * logs) depends on where the program ran. docs/diagnosers.md has the table.
 */
#include <inttypes.h>

#include "base/buffer.h"
#include "plugin/subject.h"

#define MESSAGE_BYTES_MAX (16 * KIB)
#define FRAMES_SHOWN 5
#define PAGE_BYTES 4096 /* the first page is never mapped: vm.mmap_min_addr */
#define NULL_BYTES (64 * KIB) /* members of structures and elements of arrays at null */
#define STACK_BYTES (64 * KIB) /* a frame reaches this far from the stack pointer */

struct evidence {
	const struct abnormal *abnormal;
	const cJSON *details, *sender, *core;
	const struct strings *frames;
	const char *program, *signal, *code;
	uint64_t address, instruction, stack_pointer;
	bool loop, sent, sent_by_itself;
	char container[SUBJECT_TEXT_SIZE];
};

/* What happened, after "it", and what to do. */
struct cause {
	const char *words;
	const char *advice;
};

static uint64_t hexadecimal(const cJSON *json, const char *name)
{
	const char *text = json_string(json, name);

	return text ? strtoull(text, NULL, 16) : 0;
}

static void gather(const struct plugin_call *call, struct evidence *evidence)
{
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	const cJSON *details = plugin_details(call);
	const char *program = json_string(details, "program"),
		   *signal = json_string(details, "signal"), *code = json_string(details, "code");

	*evidence = (struct evidence){
		.abnormal = call->abnormal,
		.details = details,
		.sender = json_at(details, "sender"),
		.core = json_at(details, "core"),
		.frames = event->stack ? &event->stack->user : NULL,
		.program = program ? program : "a process",
		.signal = signal ? signal : "a signal",
		.code = code ? code : "",
		.address = hexadecimal(details, "address"),
		.instruction = hexadecimal(details, "instruction"),
		.stack_pointer = hexadecimal(details, "stackPointer"),
		.loop = streq(event->type, "CrashLoop"),
	};
	evidence->sent = evidence->sender != NULL;
	evidence->sent_by_itself = json_bool(evidence->sender, "self", false);
	subject_container_text(call->abnormal,
			       event->container ? event->container->cgroup_path : NULL,
			       evidence->container);
}

/* --- The cause --- */

static bool near_stack_pointer(const struct evidence *evidence)
{
	uint64_t a = evidence->address, b = evidence->stack_pointer;

	return b > 0 && (a > b ? a - b : b - a) <= STACK_BYTES;
}

static struct cause segv_cause(const struct evidence *evidence)
{
	bool mapped = streq(evidence->code, "SEGV_ACCERR");

	if (streq(evidence->code, "SI_KERNEL"))
		return (struct cause){
			"used a pointer that is no address at all, which takes corrupted or freed "
			"memory",
			"run it under AddressSanitizer or valgrind: memory was overwritten earlier.",
		};
	if (streq(evidence->code, "SEGV_PKUERR"))
		return (struct cause){"touched memory that a protection key closes",
				      "look at its use of pkey_mprotect."};
	if (streq(evidence->code, "SEGV_CPERR"))
		return (struct cause){
			"returned to an address that was not the caller's (shadow stack)",
			"its stack was overwritten: treat it as a possible attack, and look for a "
			"buffer overflow in the functions below."};
	if (evidence->address == evidence->instruction && evidence->address < PAGE_BYTES)
		return (struct cause){
			"called a function through a null pointer",
			"look for a callback or a plug-in's symbol that was not set."};
	if (evidence->address == evidence->instruction)
		return (struct cause){
			mapped ? "jumped to memory that is not code"
			       : "jumped to an address where nothing is mapped",
			"a function pointer or a return address was overwritten, or the library "
			"that it points into was unloaded."};
	if (evidence->address < PAGE_BYTES)
		return (struct cause){"used a null pointer",
				      "look at the innermost frame for a result that was not "
				      "checked."};
	if (near_stack_pointer(evidence))
		return (struct cause){
			"ran out of stack",
			"look for endless recursion or large local variables; the main thread's "
			"stack is bounded by ulimit -s, a thread's by what created it (musl gives "
			"128 KiB)."};
	if (evidence->address < NULL_BYTES && !mapped)
		return (struct cause){"used a member of a structure, or an element, at a null "
				      "pointer",
				      "look at the innermost frame for a result that was not "
				      "checked."};
	if (mapped)
		return (struct cause){
			"used memory in a way that it is protected against, such as writing to a "
			"constant",
			"look for a write to a string literal, a read-only mapping, or a pointer "
			"beyond its buffer."};
	return (struct cause){
		"used an address where nothing is mapped: a dangling or overwritten pointer",
		"run it under AddressSanitizer or valgrind to see who freed or overwrote it."};
}

static struct cause bus_cause(const struct evidence *evidence)
{
	if (startswith(evidence->code, "BUS_MCEERR"))
		return (struct cause){
			"touched memory that the hardware reports as broken",
			"this is the node, not the program: look at ras-mc-ctl --errors and the "
			"kernel log, move the workload away and replace the memory module."};
	if (streq(evidence->code, "BUS_ADRALN"))
		return (struct cause){"used an address that is not aligned as the CPU demands",
				      "look at the innermost frame for a cast pointer."};
	if (streq(evidence->code, "BUS_OBJERR"))
		return (struct cause){"met an error of the hardware behind a mapping",
				      "look at the kernel log for the device."};
	return (struct cause){
		"used a mapped page that cannot be had: the file was truncated, its disk or "
		"tmpfs is full or failed, or there is no free huge page",
		"a file that others have mapped must be replaced by rename, not truncated; else "
		"look at df, at the size of /dev/shm, and at HugePages_Free in /proc/meminfo."};
}

static struct cause fault_cause(const struct evidence *evidence)
{
	if (streq(evidence->signal, "SIGSEGV"))
		return segv_cause(evidence);
	if (streq(evidence->signal, "SIGBUS"))
		return bus_cause(evidence);
	if (streq(evidence->signal, "SIGILL"))
		return (struct cause){
			"executed an instruction that this CPU does not have, or one that is "
			"invalid on purpose (__builtin_trap)",
			"compare the CPU features that it was built for (-march=) with lscpu of "
			"this node; else it stopped itself at a check."};
	if (streq(evidence->signal, "SIGFPE"))
		return (struct cause){
			streq(evidence->code, "FPE_INTDIV")
				? "divided an integer by zero (or the smallest one by -1)"
				: "made an arithmetic error that it asked to be told of",
			"look at the innermost frame for a divisor that was not checked."};
	if (streq(evidence->signal, "SIGSYS"))
		return (struct cause){
			"made a system call that its seccomp profile does not allow",
			"allow the call in the profile (its name: ausyscall NUMBER), or use the "
			"profile of a newer runtime: a new libc uses new calls."};
	if (streq(evidence->signal, "SIGTRAP"))
		return (struct cause){
			"ran into a breakpoint",
			"some runtimes stop at failed checks so (Chromium, V8, Swift); else a "
			"debugger left it behind."};
	return (struct cause){"was ended by a signal of the kernel", "look at its logs."};
}

static struct cause sent_cause(const struct evidence *evidence)
{
	bool abort = streq(evidence->signal, "SIGABRT");

	if (abort && evidence->sent_by_itself)
		return (struct cause){
			"gave up by itself: a failed assertion, an uncaught exception, a panic, "
			"or the C library found its memory corrupted",
			"its last lines of output say which."};
	if (evidence->sent_by_itself)
		return (struct cause){"sent the signal to itself",
				      "some runtimes end so after having handled the fault; its "
				      "last lines of output say which."};
	if (abort && json_number(evidence->sender, "pid", 0) == 1)
		return (struct cause){
			"was told to abort by process 1, as systemd does when a service's "
			"watchdog (WatchdogSec=) has not been fed",
			"look at what it was busy with: the stack is of that moment."};
	return (struct cause){"was sent the signal by another process",
			      "ask why that process did; nothing was wrong in this one."};
}

/* --- Words --- */

static void write_repeats(const struct evidence *evidence, struct buffer *out)
{
	const struct occurrences *occurrences = evidence->abnormal->status.occurrences;
	char duration[TIME_TEXT_SIZE];

	if (evidence->loop || !occurrences || occurrences->count < 2)
		return;
	buffer_printf(out, " It has crashed %" PRId64 " times within %s.", occurrences->count,
		      duration_format(time_between(occurrences->first_time, occurrences->last_time),
				      duration));
}

static void write_signal(const struct evidence *evidence, struct buffer *out)
{
	const char *build_id = json_string(evidence->details, "buildId");

	buffer_printf(out, " %s", evidence->signal);
	if (*evidence->code)
		buffer_printf(out, " (%s)", evidence->code);
	if (evidence->sent && !evidence->sent_by_itself)
		buffer_printf(out, " from process %.0f, user %.0f (as the receiver sees them)",
			      json_number(evidence->sender, "pid", 0),
			      json_number(evidence->sender, "uid", 0));
	if (json_at(evidence->details, "syscall"))
		buffer_printf(out, " for system call %.0f",
			      json_number(evidence->details, "syscall", 0));
	else if (json_at(evidence->details, "address"))
		buffer_printf(out, " at address 0x%" PRIx64, evidence->address);
	buffer_append_text(out, ".");
	if (!evidence->frames || evidence->frames->count == 0)
		return;
	buffer_append_text(out, " Stack:");
	for (size_t i = 0; i < MIN(evidence->frames->count, (size_t)FRAMES_SHOWN); i++)
		buffer_printf(out, "%s %s", i ? "," : "", evidence->frames->items[i]);
	if (evidence->frames->count > FRAMES_SHOWN)
		buffer_append_text(out, ", …");
	if (build_id)
		buffer_printf(out, " (build ID %.16s…)", build_id);
	buffer_append_text(out, ".");
}

static bool core_dumped(const struct evidence *evidence)
{
	return json_bool(evidence->core, "dumped", false);
}

static bool by_systemd(const struct evidence *evidence)
{
	const char *pattern = json_string(evidence->core, "pattern");

	return pattern && strstr(pattern, "systemd-coredump");
}

static void write_core(const struct evidence *evidence, struct buffer *out)
{
	const char *pattern = json_string(evidence->core, "pattern");

	if (!evidence->core)
		return;
	if (!core_dumped(evidence))
		buffer_append_text(out, " No core was written.");
	else if (by_systemd(evidence))
		buffer_append_text(out, " A core was handed to systemd-coredump.");
	else if (pattern && pattern[0] == '|')
		buffer_printf(out, " A core was handed to %.*s.", (int)strcspn(pattern + 1, " "),
			      pattern + 1);
	else if (pattern && pattern[0] == '/')
		buffer_printf(out, " A core was written, to %s in its file system.", pattern);
	else
		buffer_printf(out, " A core was written, to %s in the folder that it ran in.",
			      pattern ? pattern : "core");
}

/* The last name of PATH that ends in SUFFIX, and its length; NULL if there is none. */
static const char *unit_of(const char *path, const char *suffix, int *ret_length)
{
	const char *unit = NULL;

	for (const char *name = path; name && *name; name = strchr(name, '/')) {
		name += *name == '/';
		size_t length = strcspn(name, "/"), suffix_length = strlen(suffix);

		if (length <= suffix_length ||
		    strncmp(name + length - suffix_length, suffix, suffix_length) != 0)
			continue;
		unit = name;
		*ret_length = (int)length;
	}
	return unit;
}

/* Where its last words are. */
static void write_logs(const struct evidence *evidence, struct buffer *out)
{
	const struct container_identity *container =
		evidence->abnormal->spec.kernel_event->container;
	int length = 0;
	const char *unit = container ? unit_of(container->cgroup_path, ".service", &length) : NULL;

	if (container && container->pod && container->namespace && container->name)
		buffer_printf(out, " Its output: kubectl logs --previous -n %s %s -c %s.",
			      container->namespace, container->pod, container->name);
	else if (container && container->id)
		buffer_printf(out, " Its output: crictl logs %.12s, or docker logs %.12s.",
			      container->id, container->id);
	else if (unit)
		buffer_printf(out, " Its output: journalctl -u %.*s.", length, unit);
}

static void write_debugger(const struct evidence *evidence, struct buffer *out)
{
	const struct process_identity *process = evidence->abnormal->spec.kernel_event->process;
	const char *frame =
		evidence->frames && evidence->frames->count ? evidence->frames->items[0] : NULL;
	const char *plus = frame ? strrchr(frame, '+') : NULL;

	if (core_dumped(evidence) && by_systemd(evidence) && process)
		buffer_printf(out, " The core: coredumpctl debug %" PRId64 ".", process->tgid);
	else if (core_dumped(evidence))
		buffer_printf(out, " The core: gdb %s CORE, then bt.", evidence->program);
	else
		buffer_append_text(out, " For a core, raise its limit (ulimit -c, LimitCORE=) and "
					"see kernel.core_pattern.");
	if (plus && !startswith(frame, "build-id"))
		buffer_printf(out, " The line: addr2line -fie %.*s %s, with its debug symbols.",
			      (int)(plus - frame), frame, plus + 1);
}

static void write_headline(const struct evidence *evidence, const struct cause *cause,
			   struct buffer *out)
{
	const struct process_identity *process = evidence->abnormal->spec.kernel_event->process;
	const cJSON *details = evidence->details;
	char duration[TIME_TEXT_SIZE];

	if (evidence->loop) {
		double seconds = json_number(details, "windowSeconds", 0);

		buffer_printf(out,
			      "%s of %s crashes again and again, %.0f times within %s (%.1f a "
			      "minute): the last time it %s.",
			      evidence->program, evidence->container,
			      json_number(details, "crashes", 0),
			      duration_format_seconds(seconds, duration),
			      json_number(details, "ratePerMinute", 0), cause->words);
		return;
	}
	buffer_printf(out, "%s", evidence->program);
	if (process)
		buffer_printf(out, " (pid %" PRId64 ")",
			      process->tgid ? process->tgid : process->pid);
	buffer_printf(out, " of %s crashed: it %s.", evidence->container, cause->words);
}

static int diagnose(struct plugin_call *call)
{
	const struct kernel_event *event = call->abnormal->spec.kernel_event;
	_cleanup_buffer_ struct buffer out = BUFFER(MESSAGE_BYTES_MAX);
	struct evidence evidence;

	if (!event || !event->type ||
	    (!streq(event->type, "ProcessCrash") && !streq(event->type, "CrashLoop")))
		return PLUGIN_NOT_MINE;
	gather(call, &evidence);
	struct cause cause = evidence.sent ? sent_cause(&evidence) : fault_cause(&evidence);

	write_headline(&evidence, &cause, &out);
	buffer_append_text(&out, "\nEvidence:");
	write_signal(&evidence, &out);
	write_repeats(&evidence, &out);
	write_core(&evidence, &out);
	buffer_append_text(
		&out,
		evidence.loop
			? "\nRepair: none; what starts it again only repeats it.\nAdvice: "
			: "\nRepair: nothing is changed for a crash, as starting again is its "
			  "runtime's business; it is checked whether it runs again.\n"
			  "Advice: ");
	buffer_append_text(&out, cause.advice);
	write_logs(&evidence, &out);
	write_debugger(&evidence, &out);
	return plugin_identify(call, evidence.loop ? "CrashLoop" : "ProcessCrashed", "%s",
			       buffer_text(&out));
}

static const char *const detectors[] = {"process_crash", NULL};

PLUGIN(process_crash_diagnoser) = {
	.name = "process-crash",
	.summary = "a process that a fatal signal ended: what its signal tells, and where to look",
	.kind = PLUGIN_DIAGNOSER,
	.order = 10,
	.sources = FOR_SOURCE(SOURCE_KERNEL_EVENT),
	.detectors = detectors,
	.diagnose = diagnose,
};
