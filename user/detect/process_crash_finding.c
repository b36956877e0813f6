/* SPDX-License-Identifier: Apache-2.0 */
/* One crash as spec.kernelEvent: docs/detectors.md lists the members of `details`. */
#include "detect/process_crash.h"

#include <inttypes.h>
#include <signal.h>

#include "base/file.h"
#include "base/plain.h"

#define CORE_DUMPED 0x80 /* of the exit code */
#define PATTERN_BYTES_MAX 256
#define ADDRESS_TEXT_SIZE 20

static const struct {
	int signal;
	const char *name;
} signals[] = {
	{SIGILL, "SIGILL"}, {SIGTRAP, "SIGTRAP"}, {SIGABRT, "SIGABRT"}, {SIGBUS, "SIGBUS"},
	{SIGFPE, "SIGFPE"}, {SIGSEGV, "SIGSEGV"}, {SIGSYS, "SIGSYS"},
};

/* sigaction(2), and include/uapi/asm-generic/siginfo.h. SIGNAL 0: of any. */
static const struct {
	int signal, code;
	const char *name;
} codes[] = {
	{0, SI_USER, "SI_USER"},     {0, SI_KERNEL, "SI_KERNEL"},      {0, SI_QUEUE, "SI_QUEUE"},
	{0, SI_TIMER, "SI_TIMER"},   {0, SI_TKILL, "SI_TKILL"},	       {SIGSEGV, 1, "SEGV_MAPERR"},
	{SIGSEGV, 2, "SEGV_ACCERR"}, {SIGSEGV, 3, "SEGV_BNDERR"},      {SIGSEGV, 4, "SEGV_PKUERR"},
	{SIGSEGV, 10, "SEGV_CPERR"}, {SIGBUS, 1, "BUS_ADRALN"},	       {SIGBUS, 2, "BUS_ADRERR"},
	{SIGBUS, 3, "BUS_OBJERR"},   {SIGBUS, 4, "BUS_MCEERR_AR"},     {SIGBUS, 5, "BUS_MCEERR_AO"},
	{SIGILL, 1, "ILL_ILLOPC"},   {SIGILL, 2, "ILL_ILLOPN"},	       {SIGILL, 3, "ILL_ILLADR"},
	{SIGILL, 4, "ILL_ILLTRP"},   {SIGILL, 5, "ILL_PRVOPC"},	       {SIGILL, 6, "ILL_PRVREG"},
	{SIGILL, 7, "ILL_COPROC"},   {SIGILL, 8, "ILL_BADSTK"},	       {SIGFPE, 1, "FPE_INTDIV"},
	{SIGFPE, 2, "FPE_INTOVF"},   {SIGFPE, 3, "FPE_FLTDIV"},	       {SIGFPE, 4, "FPE_FLTOVF"},
	{SIGFPE, 5, "FPE_FLTUND"},   {SIGFPE, 6, "FPE_FLTRES"},	       {SIGFPE, 7, "FPE_FLTINV"},
	{SIGFPE, 8, "FPE_FLTSUB"},   {SIGTRAP, 1, "TRAP_BRKPT"},       {SIGTRAP, 2, "TRAP_TRACE"},
	{SIGTRAP, 3, "TRAP_BRANCH"}, {SIGTRAP, 4, "TRAP_HWBKPT"},      {SIGTRAP, 6, "TRAP_PERF"},
	{SIGSYS, 1, "SYS_SECCOMP"},  {SIGSYS, 2, "SYS_USER_DISPATCH"},
};

static const char *signal_name(int number)
{
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (signals[i].signal == number)
			return signals[i].name;
	return NULL;
}

static const char *code_name(int number, int code)
{
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (codes[i].code == code && (!codes[i].signal || codes[i].signal == number))
			return codes[i].name;
	return NULL;
}

/* JSON's numbers are exact to 2^53 only, and addresses are read in hexadecimal. */
static int set_address(cJSON *json, const char *name, uint64_t address)
{
	char text[ADDRESS_TEXT_SIZE];

	snprintf(text, sizeof(text), "0x%" PRIx64, address);
	return json_set_string(json, name, text);
}

/* --- The stack --- */

static const struct crash_build_id *build_id_of(const struct crash_signal *crash, size_t frame)
{
	size_t depth = MIN(crash->build_id_depth, (uint32_t)CRASH_STACK_DEPTH);

	return frame < depth && crash->build_ids[frame].status == 1 ? &crash->build_ids[frame]
								    : NULL;
}

static void build_id_text(const struct crash_build_id *id, size_t bytes, char *text)
{
	for (size_t i = 0; i < bytes; i++)
		snprintf(text + 2 * i, 3, "%02x", id->build_id[i]);
}

/*
 * "libc.so.6+0x8e5a3" with the offset in the file. Where the file's name is not known: "build-id
 * 1f2e3d4c+0x8e5a3"; where not even that is, "nginx[code]+0x1136" from the start of the program's own
 * code, which is known by its range, and the bare address of anything else.
 */
static char *frame_text(const struct process_crash_event *event, size_t frame)
{
	const struct crash_signal *crash = &event->signal;
	const struct crash_file *file = &event->files[frame];
	const struct crash_build_id *id = build_id_of(crash, frame);
	uint64_t address = crash->stack[frame], offset = id ? id->offset : address;
	bool own = address >= crash->code_start && address < crash->code_end;
	_cleanup_free_ char *name = event_text(file->name, sizeof(file->name));
	const char *suffix = "";
	char id_text[9], *text;

	if (name && *name) {
		offset = file->offset;
	} else if (own) {
		free(name);
		name = event_text(crash->exe, sizeof(crash->exe));
		suffix = id ? "" : "[code]";
		offset = id ? id->offset : address - crash->code_start;
	} else if (id) {
		build_id_text(id, 4, id_text);
		suffix = id_text;
		free(name);
		name = strdup("build-id ");
	}
	if (!name)
		return NULL;
	return asprintf(&text, "%s%s%s0x%" PRIx64, name, suffix, *name ? "+" : "", offset) < 0
		       ? NULL
		       : text;
}

static cJSON *stack_json(const struct process_crash_event *event)
{
	size_t depth = MIN(event->signal.stack_depth, (uint32_t)CRASH_STACK_DEPTH);
	_cleanup_json_ cJSON *json = cJSON_CreateObject();
	cJSON *frames = json ? cJSON_AddArrayToObject(json, "user") : NULL;

	if (!frames)
		return NULL;
	for (size_t i = 0; i < depth; i++) {
		_cleanup_free_ char *text = frame_text(event, i);
		cJSON *frame = text ? cJSON_CreateString(text) : NULL;

		if (!frame || !cJSON_AddItemToArray(frames, frame)) {
			cJSON_Delete(frame);
			return NULL;
		}
	}
	return TAKE_PTR(json);
}

/* --- Details --- */

static int set_build_id(cJSON *details, const struct crash_signal *crash)
{
	const struct crash_build_id *id = build_id_of(crash, 0);
	char text[41];

	if (!id)
		return 0;
	build_id_text(id, sizeof(id->build_id), text);
	return json_set_string(details, "buildId", text);
}

static int set_sender(cJSON *details, const struct crash_signal *crash)
{
	_cleanup_json_ cJSON *sender = cJSON_CreateObject();

	if (!sender || json_set_number(sender, "pid", crash->sender_pid) < 0 ||
	    json_set_number(sender, "uid", crash->sender_uid) < 0 ||
	    json_set_bool(sender, "self", (uint32_t)crash->sender_pid == crash->own_pid) < 0)
		return -ENOMEM;
	return json_set(details, "sender", TAKE_PTR(sender));
}

static int set_core(cJSON *details, const struct detector_run *run, int exit_code)
{
	_cleanup_json_ cJSON *core = cJSON_CreateObject();
	_cleanup_free_ char *pattern = NULL, *clean = NULL;
	size_t length = 0;

	if (!core || json_set_bool(core, "dumped", exit_code & CORE_DUMPED) < 0)
		return -ENOMEM;
	if (file_read(run->host->proc, "sys/kernel/core_pattern", PATTERN_BYTES_MAX, &pattern,
		      &length) == 0) {
		clean = event_text(pattern, strcspn(pattern, "\n"));
		if (!clean || json_set_string(core, "pattern", clean) < 0)
			return -ENOMEM;
	}
	return json_set(details, "core", TAKE_PTR(core));
}

static int set_cause(cJSON *details, const struct crash_signal *crash)
{
	const char *name = signal_name(crash->signal),
		   *code = code_name(crash->signal, crash->code);
	int r;

	if (json_set_string(details, "signal", name ? name : "unknown") < 0 ||
	    json_set_number(details, "signalNumber", crash->signal) < 0 ||
	    json_set_string(details, "code", code) < 0 ||
	    json_set_number(details, "codeNumber", crash->code) < 0 ||
	    set_address(details, "instruction", crash->instruction) < 0 ||
	    set_address(details, "stackPointer", crash->stack_pointer) < 0)
		return -ENOMEM;
	if (crash->code <= 0)
		return set_sender(details, crash);
	r = set_address(details, "address", crash->address);
	if (r == 0 && crash->signal == SIGSYS)
		r = json_set_number(details, "syscall", crash->syscall);
	if (r == 0 && crash->signal == SIGSYS)
		r = json_set_number(details, "architecture", crash->architecture);
	return r;
}

/*
 * "worker.py (python3.11)": the name of the process, and the file where that says more. A script is
 * known by its own name, its interpreter by the file's.
 */
static char *program_text(const struct process_crash_event *event)
{
	_cleanup_free_ char *comm = event_text(event->process_comm, sizeof(event->process_comm));
	_cleanup_free_ char *exe = event_text(event->signal.exe, sizeof(event->signal.exe));
	char *text = NULL;

	if (!comm || !exe)
		return NULL;
	if (!*exe || !*comm)
		return *comm ? TAKE_PTR(comm) : TAKE_PTR(exe);
	/* Cut at 15 bytes, or the python3 that is a link to python3.11. */
	if (startswith(exe, comm))
		return TAKE_PTR(exe);
	return asprintf(&text, "%s (%s)", comm, exe) < 0 ? NULL : text;
}

static cJSON *details_json(const struct detector_run *run, const struct process_crash_event *event)
{
	_cleanup_free_ char *program = program_text(event),
			    *exe = event_text(event->signal.exe, sizeof(event->signal.exe)),
			    *comm = event_text(event->process_comm, sizeof(event->process_comm));
	_cleanup_json_ cJSON *details = cJSON_CreateObject();

	if (!details || !program || !exe || !comm ||
	    json_set_string(details, "program", program) < 0 ||
	    json_set_string(details, "processName", comm) < 0 ||
	    (*exe && json_set_string(details, "exe", exe) < 0) ||
	    json_set_number(details, "pidInContainer", event->signal.own_pid) < 0 ||
	    set_cause(details, &event->signal) < 0 || set_build_id(details, &event->signal) < 0 ||
	    set_core(details, run, event->exit_code) < 0)
		return NULL;
	return TAKE_PTR(details);
}

cJSON *crash_event_json(const struct detector_run *run, const struct process_crash_event *event)
{
	_cleanup_json_ cJSON *json =
		event_json(run, "ProcessCrash", event->header.boot_ns, event->header.cpu);

	if (!json || json_set(json, "process", event_task_json(&event->process)) < 0 ||
	    json_set(json, "container", event_container_json(run->containers, &event->cgroup)) <
		    0 ||
	    json_set(json, "stack", stack_json(event)) < 0 ||
	    json_set(json, "details", details_json(run, event)) < 0)
		return NULL;
	return TAKE_PTR(json);
}

/*
 * A container that is started again has another id, and another cgroup; its pod has not, nor has the
 * container's name.
 */
char *crash_subject(const cJSON *event)
{
	const cJSON *container = json_at(event, "container");
	const char *program = json_string(json_at(event, "details"), "program");
	const char *name = json_string(container, "name"), *pod = json_string(container, "pod"),
		   *namespace = json_string(container, "namespace"),
		   *uid = json_string(container, "podUid"), *id = json_string(container, "id"),
		   *path = json_string(container, "cgroupPath");
	char *text = NULL;
	int r;

	if (!program)
		return NULL;
	if (pod && namespace && name)
		r = asprintf(&text, "%s in container %s of pod %s/%s", program, name, namespace,
			     pod);
	else if (uid || pod)
		r = asprintf(&text, "%s in pod %s", program, uid ? uid : pod);
	else if (id)
		r = asprintf(&text, "%s in container %.12s", program, id);
	else
		r = asprintf(&text, "%s in control group %s", program, path ? path : "(unknown)");
	return r < 0 ? NULL : text;
}
