/* SPDX-License-Identifier: Apache-2.0 */
/* The checks of `lifeboat doctor` that need no agent. */
#include "cli/doctor_checks.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include "base/file.h"
#include "host/kallsyms.h"

#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#endif
#ifndef CAP_BPF
#define CAP_BPF 39
#endif

#define SMALL_FILE_MAX ((size_t)64 * KIB)

const char *const check_state_names[] = {"ok", "note", "missing"};

_printf_(3, 4) static void found(struct check *check, enum check_state state, const char *format,
				 ...)
{
	va_list arguments;

	check->state = state;
	va_start(arguments, format);
	vsnprintf(check->found, sizeof(check->found), format, arguments);
	va_end(arguments);
}

static void next(struct check *check, const char *text)
{
	snprintf(check->next, sizeof(check->next), "%s", text);
}

/*
 * What could not be looked at for want of memory or descriptors is not what is not there. Returns
 * whether ERROR says so, and then it is told.
 */
static bool not_looked_at(struct check *check, const char *path, int error)
{
	if (error != -ENOMEM && error != -EMFILE && error != -ENFILE)
		return false;
	found(check, CHECK_MISSING, "%s was not looked at: %s", path, strerror(-error));
	next(check, "try again when this host has memory and file descriptors to spare");
	return true;
}

/* 1, 0, or the negative errno of what cannot be told. */
static int is_on(int directory, const char *path, unsigned long magic)
{
	_cleanup_close_ int fd = openat(directory, path, O_PATH | O_CLOEXEC);
	struct statfs status;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	return fstatfs(fd, &status) == 0 && (unsigned long)status.f_type == magic;
}

static void check_kernel(const struct host *host, struct check *check)
{
	struct utsname name;

	uname(&name);
	found(check, CHECK_FINE, "%s %s", name.release, name.machine);
}

static void check_btf(const struct host *host, struct check *check)
{
	struct stat status;

	if (fstatat(host->sys, "kernel/btf/vmlinux", &status, 0) == 0 &&
	    faccessat(host->sys, "kernel/btf/vmlinux", R_OK, 0) == 0) {
		found(check, CHECK_FINE, "/sys/kernel/btf/vmlinux, %" PRIu64 " KiB",
		      (uint64_t)status.st_size / 1024);
		return;
	}
	found(check, CHECK_MISSING, "/sys/kernel/btf/vmlinux: %s", strerror(errno));
	next(check, "use a kernel built with CONFIG_DEBUG_INFO_BTF=y (those of Debian 11, Ubuntu "
		    "20.10, RHEL 8.2 and later are); without it the detectors poll /proc and see "
		    "less");
}

static void check_bpffs(const struct host *host, struct check *check)
{
	int on = is_on(host->sys, "fs/bpf", BPF_FS_MAGIC);

	if (not_looked_at(check, "/sys/fs/bpf", on))
		return;
	if (on > 0) {
		found(check, CHECK_FINE, "mounted on /sys/fs/bpf");
		return;
	}
	found(check, CHECK_NOTE,
	      "not mounted on /sys/fs/bpf: what happens while no agent runs is not seen, and maps "
	      "and iterators cannot be looked at with bpftool");
	next(check, "mount -t bpf bpf /sys/fs/bpf");
}

static void check_capabilities(const struct host *host, struct check *check)
{
	static const struct {
		const char *name;
		unsigned bit;
	} wanted[] = {{"sys_admin", CAP_SYS_ADMIN},
		      {"sys_ptrace", CAP_SYS_PTRACE},
		      {"syslog", CAP_SYSLOG},
		      {"kill", CAP_KILL},
		      {"bpf", CAP_BPF},
		      {"perfmon", CAP_PERFMON}};
	_cleanup_free_ char *status = NULL;
	uint64_t effective = 0;
	char lacking[128] = "";
	size_t length;

	int r = file_read(host->proc, "self/status", SMALL_FILE_MAX, &status, &length);
	if (not_looked_at(check, "/proc/self/status", r))
		return;
	const char *line = r == 0 ? strstr(status, "\nCapEff:") : NULL;
	if (line)
		effective = strtoull(line + strlen("\nCapEff:"), NULL, 16);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (!(effective & UINT64_C(1) << wanted[i].bit))
			snprintf(lacking + strlen(lacking), sizeof(lacking) - strlen(lacking),
				 " cap_%s", wanted[i].name);
	if (!*lacking) {
		found(check, CHECK_FINE, "all that are needed");
		return;
	}
	found(check, CHECK_MISSING, "this process lacks%s", lacking);
	next(check, geteuid() == 0 ? "give the container or unit these capabilities (Kubernetes: "
				     "securityContext, systemd: CapabilityBoundingSet=)"
				   : "run this as root: sudo lifeboat doctor");
}

static void check_lockdown(const struct host *host, struct check *check)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	int r = file_read(host->sys, "kernel/security/lockdown", SMALL_FILE_MAX, &text, &length);

	if (not_looked_at(check, "/sys/kernel/security/lockdown", r))
		return;
	if (r < 0 || !strstr(text, "[confidentiality]")) {
		found(check, CHECK_FINE, "BPF may read kernel memory");
		return;
	}
	found(check, CHECK_MISSING,
	      "the kernel is locked down for confidentiality: BPF may not read its memory");
	next(check, "boot with lockdown=integrity, or without lockdown=; until then the detectors "
		    "poll /proc");
}

static void check_cgroup(const struct host *host, struct check *check)
{
	static const struct {
		const char *path;
		unsigned long magic;
		const char *words;
	} kinds[] = {{"fs/cgroup", CGROUP2_SUPER_MAGIC, "version 2"},
		     {"fs/cgroup/unified", CGROUP2_SUPER_MAGIC,
		      "hybrid: version 1 with a unified hierarchy"},
		     {"fs/cgroup/memory", CGROUP_SUPER_MAGIC, "version 1"}};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		int on = is_on(host->sys, kinds[i].path, kinds[i].magic);

		if (not_looked_at(check, "/sys/fs/cgroup", on))
			return;
		if (on > 0) {
			found(check, CHECK_FINE, "%s", kinds[i].words);
			return;
		}
	}
	found(check, CHECK_NOTE, "no hierarchy with a memory controller on /sys/fs/cgroup");
	next(check, "mount -t cgroup2 cgroup2 /sys/fs/cgroup; without it limits and usage of "
		    "containers are not told");
}

static void check_psi(const struct host *host, struct check *check)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	int r = file_read(host->proc, "pressure/memory", SMALL_FILE_MAX, &text, &length);

	if (not_looked_at(check, "/proc/pressure", r))
		return;
	/* With psi=0 the files are there, and reading gives EOPNOTSUPP. */
	if (r == 0) {
		found(check, CHECK_FINE, "/proc/pressure");
		return;
	}
	found(check, CHECK_NOTE,
	      "no /proc/pressure: the collector pressure and `lifeboat top` show none");
	next(check, "boot with psi=1 (kernels with CONFIG_PSI=y)");
}

static void check_hung_task(const struct host *host, struct check *check)
{
	uint64_t seconds;
	int r = file_read_u64(host->proc, "sys/kernel/hung_task_timeout_secs", &seconds);

	if (not_looked_at(check, "kernel.hung_task_timeout_secs", r))
		return;
	if (r < 0)
		found(check, CHECK_FINE,
		      "the kernel's own watch is not built in; lifeboat has its own clock");
	else if (seconds == 0)
		found(check, CHECK_FINE,
		      "the kernel's own watch is off; lifeboat has its own clock");
	else
		found(check, CHECK_FINE,
		      "the kernel logs tasks hung for %" PRIu64 " s; lifeboat has its own clock",
		      seconds);
}

static void check_kallsyms(const struct host *host, struct check *check)
{
	uint64_t start, end;
	/* Not by the table's first line, whose address is 0 on x86-64 up to Linux 6.14. */
	int r = kallsyms_range(host, "schedule", &start, &end);

	if (not_looked_at(check, "/proc/kallsyms", r))
		return;
	if (r >= 0) {
		found(check, CHECK_FINE, "addresses are shown");
		return;
	}
	found(check, CHECK_NOTE,
	      r == -EPERM ? "the kernel hides addresses: stacks are told as numbers"
			  : "/proc/kallsyms tells nothing: stacks are told as numbers");
	next(check, "sysctl kernel.kptr_restrict=1, and run the agent with cap_syslog");
}

size_t host_checks(const struct host *host, struct check checks[CHECKS_MAX])
{
	static const struct {
		const char *name;
		void (*run)(const struct host *host, struct check *check);
	} all[] = {
		{"kernel", check_kernel},
		{"BTF", check_btf},
		{"capabilities", check_capabilities},
		{"lockdown", check_lockdown},
		{"bpffs", check_bpffs},
		{"cgroups", check_cgroup},
		{"pressure", check_psi},
		{"symbols", check_kallsyms},
		{"hung_task", check_hung_task},
	};
	_Static_assert(ARRAY_SIZE(all) <= CHECKS_MAX, "the caller's array holds them all");

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		checks[i] = (struct check){0};
		snprintf(checks[i].name, sizeof(checks[i].name), "%s", all[i].name);
		all[i].run(host, &checks[i]);
	}
	return ARRAY_SIZE(all);
}

void detector_check(const cJSON *detector, struct check *ret_check)
{
	const char *name = json_string(detector, "name"), *status = json_string(detector, "status");
	const char *hook = json_string(detector, "hook"), *reason = json_string(detector, "reason");
	bool unsupported = streq_ptr(status, "unsupported"), active = streq_ptr(status, "active");
	double lost = json_number(detector, "lost", 0);

	*ret_check = (struct check){0};
	snprintf(ret_check->name, sizeof(ret_check->name), "%s", name ? name : "?");
	found(ret_check,
	      active && lost == 0 ? CHECK_FINE
	      : unsupported	  ? CHECK_MISSING
				  : CHECK_NOTE,
	      "%s%s%s%s%s", status ? status : "?", hook && *hook ? " by " : "", hook ? hook : "",
	      reason && *reason ? ": " : "", reason ? reason : "");
	if (lost > 0)
		snprintf(ret_check->found + strlen(ret_check->found),
			 sizeof(ret_check->found) - strlen(ret_check->found),
			 "; %.0f events were lost", lost);
	if (unsupported)
		next(ret_check,
		     "see what its hooks lack below; `missing` lines above say how to get it");
	else if (streq_ptr(status, "disabled"))
		snprintf(ret_check->next, sizeof(ret_check->next),
			 "set detectors.%s.enabled: true in the configuration to have it",
			 ret_check->name);
}
