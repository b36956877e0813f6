/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fails one call of the C library, for tests/inject/run: preloaded, so that it stands between libc and
 * the program *and* every library that it uses (SQLite, cJSON, libbpf, sd-event, libmicrohttpd).
 *
 * A site is a call of one of these functions as reached over one way: the innermost frames of the
 * stack. Its name is a hash of them that stays the same from run to run, whatever the addresses.
 *
 *   LIFEBOAT_INJECT_RECORD=FILE    each site that is reached becomes one line: process, class, site, frames
 *   LIFEBOAT_INJECT=PROCESS:CLASS:SITE:MODE    fails that site: `once`, the first time in any process of
 *                  the run; `while`, and with it every call of the class in that process, and in others
 *                  like it that come to the site, for a while, as when memory or disk are used up
 *   LIFEBOAT_INJECT_LOG=FILE       made when the first call fails, and says which
 *
 * PROCESS is the subcommand (agent, store-worker, plugin-supervisor, or cli for all others).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <unwind.h>

/* Of a stack, as many count as tell apart who asked for what: of libraries, of lifeboat itself. */
#define LIBRARY_FRAMES 4
#define OWN_FRAMES 4
#define FRAMES_MAX 64
#define MODULES_MAX 96
#define SEEN_MAX 16384
#define WHILE_NS 300000000ll

enum class { CLASS_ALLOC, CLASS_WRITE, CLASS_FORK, CLASS_BPF, CLASS_OPEN };
static const char *const class_names[] = {"alloc", "write", "fork", "bpf", "open"};

static const char *const commands[] = {"agent", "store-worker", "plugin-supervisor"};

static struct {
	uintptr_t begin, end, base;
	char name[32];
	bool own;
} modules[MODULES_MAX];
static unsigned module_count;

static bool active; /* false until the constructor is done, and in every other program */
static const char *process_name;
static int record_fd = -1;
static char log_path[512];
static int failing = -1; /* a class, or -1 */
static uint64_t failing_site;
static bool failing_while;
static int64_t exhausted_until_ns; /* CLOCK_REALTIME, which file times are of */
static uint64_t seen[SEEN_MAX];
static __thread bool inside;

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static long (*real_syscall)(long number, ...);

/* Asked for when it is first called, which may be before the constructor runs. */
#define REAL(function) (real_##function ? real_##function : real(&real_##function, #function))
#define real(kept, name) ({ *(kept) = dlsym(RTLD_NEXT, name); *(kept); })

static int module_add(struct dl_phdr_info *info, size_t size, void *userdata)
{
	uintptr_t begin = UINTPTR_MAX, end = 0;

	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];
		uintptr_t from = info->dlpi_addr + header->p_vaddr;

		if (header->p_type != PT_LOAD)
			continue;
		begin = from < begin ? from : begin;
		end = from + header->p_memsz > end ? from + header->p_memsz : end;
	}
	if (module_count == MODULES_MAX || end == 0)
		return 0;
	const char *slash = strrchr(info->dlpi_name, '/');
	modules[module_count].begin = begin;
	modules[module_count].end = end;
	modules[module_count].base = info->dlpi_addr;
	modules[module_count].own = module_count == 0;
	snprintf(modules[module_count].name, sizeof(modules[0].name), "%s",
		 module_count == 0 ? "lifeboat" : slash ? slash + 1 : info->dlpi_name);
	module_count++;
	return 0;
}

static int module_of(uintptr_t address)
{
	for (unsigned i = 0; i < module_count; i++)
		if (address >= modules[i].begin && address < modules[i].end)
			return (int)i;
	return -1;
}

struct stack {
	uintptr_t frames[FRAMES_MAX];
	int count;
	int own, library;
};

static _Unwind_Reason_Code on_frame(struct _Unwind_Context *context, void *userdata)
{
	struct stack *stack = userdata;
	uintptr_t address = _Unwind_GetIP(context);
	int module = module_of(address);

	if (module < 0 || strncmp(modules[module].name, "shim.so", 7) == 0)
		return module < 0 ? _URC_END_OF_STACK : _URC_NO_REASON;
	/* A recursion is one place, however deep. */
	for (int i = 0; i < stack->count; i++)
		if (stack->frames[i] == address)
			return _URC_NO_REASON;
	if (modules[module].own) {
		stack->own++;
	} else if (stack->own) {
		/* A library that calls back: what called it is another errand. */
		return _URC_END_OF_STACK;
	} else if (++stack->library > LIBRARY_FRAMES) {
		return _URC_NO_REASON;
	}
	stack->frames[stack->count++] = address;
	return stack->own == OWN_FRAMES || stack->count == FRAMES_MAX ? _URC_END_OF_STACK
								      : _URC_NO_REASON;
}

static uint64_t hash(uint64_t so_far, const void *data, size_t size)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < size; i++)
		so_far = (so_far ^ bytes[i]) * 0x100000001b3;
	return so_far;
}

static uint64_t site_name(enum class class, const char *function, const struct stack *stack)
{
	uint64_t name = hash(0xcbf29ce484222325, &class, sizeof(class));

	name = hash(name, function, strlen(function));
	for (int i = 0; i < stack->count; i++) {
		int module = module_of(stack->frames[i]);
		uintptr_t offset = stack->frames[i] - modules[module].base;

		name = hash(name, modules[module].name, strlen(modules[module].name));
		name = hash(name, &offset, sizeof(offset));
	}
	return name;
}

static bool seen_before(uint64_t site)
{
	for (unsigned i = (unsigned)(site % SEEN_MAX), tries = 0; tries < SEEN_MAX; tries++) {
		unsigned at = (i + tries) % SEEN_MAX;

		if (seen[at] == site)
			return true;
		if (!seen[at]) {
			seen[at] = site;
			return false;
		}
	}
	return true;
}

static int describe(char *line, size_t size, enum class class, const char *function, uint64_t site,
		    const struct stack *stack)
{
	int length = snprintf(line, size, "%s %s %016lx %s", process_name, class_names[class], site, function);

	for (int i = 0; i < stack->count && length < (int)size - 80; i++) {
		int module = module_of(stack->frames[i]);

		length += snprintf(line + length, size - (size_t)length, " %s+%lx", modules[module].name,
				   stack->frames[i] - modules[module].base);
	}
	line[length++] = '\n';
	return length;
}

static int64_t ns_of(const struct timespec *time)
{
	return time->tv_sec * 1000000000ll + time->tv_nsec;
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return ns_of(&now);
}

/* The first to come here makes the log; for a while others of its kind may find it. */
static bool begin_failing(const char *line, int length)
{
	int fd = (int)real_syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct stat status;

	if (fd >= 0) {
		real_syscall(SYS_write, fd, line, length);
		real_syscall(SYS_close, fd);
		exhausted_until_ns = failing_while ? now_ns() + WHILE_NS : 0;
	} else if (failing_while && stat(log_path, &status) == 0) {
		exhausted_until_ns = ns_of(&status.st_mtim) + WHILE_NS;
	}
	failing = failing_while ? failing : -1;
	return fd >= 0 || now_ns() < exhausted_until_ns;
}

/* True if this call is to fail. */
static bool chosen(enum class class, const char *function)
{
	struct stack stack = {0};
	char line[4096];

	if (record_fd < 0 && failing != (int)class)
		return false;
	if (exhausted_until_ns) {
		bool still = now_ns() < exhausted_until_ns;

		if (!still)
			failing = -1;
		return still;
	}
	_Unwind_Backtrace(on_frame, &stack);
	/* What no code of lifeboat asked for is the start of the program, before main. */
	if (!stack.own)
		return false;
	uint64_t site = site_name(class, function, &stack);
	bool to_record = record_fd >= 0 && !seen_before(site);
	bool to_fail = failing == (int)class && site == failing_site;
	if (!to_record && !to_fail)
		return false;
	int length = describe(line, sizeof(line), class, function, site, &stack);
	if (to_record)
		real_syscall(SYS_write, record_fd, line, length);
	return to_fail && begin_failing(line, length);
}

static bool refuse(enum class class, const char *function, int error)
{
	if (!active || inside)
		return false;
	int saved = errno;
	inside = true;
	bool fail = chosen(class, function);
	inside = false;
	errno = fail ? error : saved;
	return fail;
}

static const char *role(void)
{
	char executable[512], arguments[512];
	ssize_t length = readlink("/proc/self/exe", executable, sizeof(executable) - 1);
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, arguments, sizeof(arguments) - 1);

	if (fd >= 0)
		close(fd);
	if (length <= 0 || got <= 0)
		return NULL;
	executable[length] = arguments[got] = '\0';
	const char *slash = strrchr(executable, '/');
	if (!slash || strcmp(slash, "/lifeboat") != 0)
		return NULL;
	const char *command = arguments + strlen(arguments) + 1;
	for (size_t i = 0; command < arguments + got && i < sizeof(commands) / sizeof(*commands); i++)
		if (strcmp(command, commands[i]) == 0)
			return commands[i];
	return "cli";
}

static void choose(const char *text)
{
	char process[32], class[16], mode[8];

	if (sscanf(text, "%31[^:]:%15[^:]:%lx:%7s", process, class, &failing_site, mode) != 4 ||
	    strcmp(process, process_name) != 0)
		return;
	failing_while = strcmp(mode, "while") == 0;
	for (size_t i = 0; i < sizeof(class_names) / sizeof(*class_names); i++)
		if (strcmp(class, class_names[i]) == 0)
			failing = (int)i;
}

__attribute__((constructor)) static void begin(void)
{
	const char *record = getenv("LIFEBOAT_INJECT_RECORD"), *which = getenv("LIFEBOAT_INJECT");
	const char *told = getenv("LIFEBOAT_INJECT_LOG");

	inside = true;
	real_syscall = dlsym(RTLD_NEXT, "syscall");
	process_name = role();
	if (process_name) {
		dl_iterate_phdr(module_add, NULL);
		snprintf(log_path, sizeof(log_path), "%s", told ? told : "/dev/null");
		if (record) {
			int fd = open(record, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

			/* Beyond what a program that closes or counts its descriptors looks at. */
			record_fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 900);
			if (fd >= 0)
				close(fd);
		}
		if (which)
			choose(which);
		active = record_fd >= 0 || failing >= 0;
	}
	inside = false;
}

/* --- Memory --- */

void *malloc(size_t size)
{
	return refuse(CLASS_ALLOC, "malloc", ENOMEM) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return refuse(CLASS_ALLOC, "calloc", ENOMEM) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	/* Freeing by realloc can't fail. */
	if (!(old && size == 0) && refuse(CLASS_ALLOC, "realloc", ENOMEM))
		return NULL;
	return __libc_realloc(old, size);
}

void *reallocarray(void *old, size_t count, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(count, size, &total) || refuse(CLASS_ALLOC, "reallocarray", ENOMEM)) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_realloc(old, total);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return refuse(CLASS_ALLOC, "aligned_alloc", ENOMEM) ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **ret_memory, size_t alignment, size_t size)
{
	if (refuse(CLASS_ALLOC, "posix_memalign", ENOMEM))
		return ENOMEM;
	void *memory = __libc_memalign(alignment, size);
	if (!memory)
		return ENOMEM;
	*ret_memory = memory;
	return 0;
}

static typeof(&mmap) real_mmap;
void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	if (refuse(CLASS_ALLOC, "mmap", ENOMEM))
		return MAP_FAILED;
	return REAL(mmap)(address, length, protection, flags, fd, offset);
}

static typeof(&mmap64) real_mmap64;
void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset)
{
	if (refuse(CLASS_ALLOC, "mmap", ENOMEM))
		return MAP_FAILED;
	return REAL(mmap64)(address, length, protection, flags, fd, offset);
}

/* --- Writing --- */

#define FAILS(class, error, type, function, declared, passed)                           \
	static typeof(&function) real_##function;                                       \
	type function declared                                                          \
	{                                                                               \
		return refuse(class, #function, error) ? (type)-1 : REAL(function) passed; \
	}

static typeof(&write) real_write;
ssize_t write(int fd, const void *data, size_t size)
{
	struct stat status;

	/* What has no type is an eventfd or the like: a number in the kernel, which always takes it. */
	if (active && fstat(fd, &status) == 0 && (status.st_mode & S_IFMT) && refuse(CLASS_WRITE, "write", ENOSPC))
		return -1;
	return REAL(write)(fd, data, size);
}

FAILS(CLASS_WRITE, ENOSPC, ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
FAILS(CLASS_WRITE, ENOSPC, ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at),
      (fd, data, size, at))
FAILS(CLASS_WRITE, ENOSPC, ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))
/* Not ENOBUFS: libmicrohttpd takes that for EAGAIN, and waits for room that was there all the time. */
FAILS(CLASS_WRITE, ECONNRESET, ssize_t, send, (int fd, const void *data, size_t size, int flags),
      (fd, data, size, flags))
FAILS(CLASS_WRITE, ECONNRESET, ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags),
      (fd, message, flags))
FAILS(CLASS_WRITE, EIO, int, fsync, (int fd), (fd))
FAILS(CLASS_WRITE, EIO, int, fdatasync, (int fd), (fd))
FAILS(CLASS_WRITE, ENOSPC, int, ftruncate, (int fd, off_t length), (fd, length))
FAILS(CLASS_WRITE, ENOSPC, int, ftruncate64, (int fd, off64_t length), (fd, length))
FAILS(CLASS_WRITE, ENOSPC, int, rename, (const char *from, const char *to), (from, to))
FAILS(CLASS_WRITE, ENOSPC, int, mkdir, (const char *path, mode_t mode), (path, mode))
FAILS(CLASS_WRITE, ENOSPC, int, mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode))
FAILS(CLASS_WRITE, EROFS, int, unlink, (const char *path), (path))
FAILS(CLASS_WRITE, EROFS, int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags))

/* --- Descriptors --- */

#define OPENS(function, declared, passed)                                                  \
	static typeof(&function) real_##function;                                          \
	int function declared                                                              \
	{                                                                                  \
		va_list arguments;                                                         \
		va_start(arguments, flags);                                                \
		mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0; \
		va_end(arguments);                                                         \
		return refuse(CLASS_OPEN, #function, EMFILE) ? -1 : REAL(function) passed;  \
	}

OPENS(open, (const char *path, int flags, ...), (path, flags, mode))
OPENS(open64, (const char *path, int flags, ...), (path, flags, mode))
OPENS(openat, (int fd, const char *path, int flags, ...), (fd, path, flags, mode))
OPENS(openat64, (int fd, const char *path, int flags, ...), (fd, path, flags, mode))
FAILS(CLASS_OPEN, EMFILE, int, socket, (int domain, int type, int protocol), (domain, type, protocol))
FAILS(CLASS_OPEN, EMFILE, int, socketpair, (int domain, int type, int protocol, int ends[2]),
      (domain, type, protocol, ends))
FAILS(CLASS_OPEN, EMFILE, int, accept4, (int fd, struct sockaddr *restrict peer, socklen_t *restrict size, int flags),
      (fd, peer, size, flags))
FAILS(CLASS_OPEN, EMFILE, int, pipe2, (int ends[2], int flags), (ends, flags))

/* --- Processes and BPF --- */

FAILS(CLASS_FORK, EAGAIN, pid_t, fork, (void), ())

/* libbpf and what glibc has no name for. */
long syscall(long number, ...)
{
	long words[6];
	va_list arguments;

	va_start(arguments, number);
	for (int i = 0; i < 6; i++)
		words[i] = va_arg(arguments, long);
	va_end(arguments);
	if (!real_syscall)
		real_syscall = dlsym(RTLD_NEXT, "syscall");
	if (number == SYS_bpf || number == SYS_perf_event_open) {
		/* Which command it was is part of the place. */
		char name[32];
		snprintf(name, sizeof(name), "bpf-%ld", number == SYS_bpf ? words[0] : -1);
		if (refuse(CLASS_BPF, name, EPERM))
			return -1;
	} else if (number == SYS_pidfd_open && refuse(CLASS_FORK, "pidfd_open", EMFILE)) {
		return -1;
	}
	return real_syscall(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}
