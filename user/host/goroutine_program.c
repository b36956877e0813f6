/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a process runs a program that Go's linker made, and may be asked for its goroutines. Read
 * from /proc/PID/exe, which leads to the program also when it was deleted, or is a container's.
 */
#include "host/goroutine_program.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/stat.h>

#include <gelf.h>

#include "base/file.h"
#include "host/goroutine_capture.h"

#define STATUS_BYTES_MAX (64 * KIB)
#define NOTES_BYTES_MAX (64 * KIB)
#define SECTIONS_MAX 4096
#define SEGMENTS_MAX 512
#define GO_NOTE_BUILD_ID 4 /* cmd/internal/objabi, ELF_NOTE_GOBUILDID_TAG */

/* --- The program --- */

static void elf_endp(Elf **elf)
{
	elf_end(*elf);
}

static bool has_go_section(Elf *elf)
{
	size_t names, count = 0;

	if (elf_getshdrstrndx(elf, &names) < 0)
		return false;
	for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section)) && count < SECTIONS_MAX;
	     count++) {
		GElf_Shdr header;
		const char *name;

		if (!gelf_getshdr(section, &header))
			continue;
		name = elf_strptr(elf, names, header.sh_name);
		if (name && (streq(name, ".go.buildinfo") || streq(name, ".note.go.buildid")))
			return true;
	}
	return false;
}

/* Sections can be stripped; the note is also in a segment. */
static bool has_go_note(Elf *elf)
{
	size_t count;

	if (elf_getphdrnum(elf, &count) < 0)
		return false;
	for (size_t i = 0; i < MIN(count, (size_t)SEGMENTS_MAX); i++) {
		GElf_Phdr segment;

		if (!gelf_getphdr(elf, (int)i, &segment) || segment.p_type != PT_NOTE ||
		    segment.p_filesz > NOTES_BYTES_MAX)
			continue;
		Elf_Data *data = elf_getdata_rawchunk(elf, (int64_t)segment.p_offset,
						      segment.p_filesz, ELF_T_NHDR);
		GElf_Nhdr note;
		size_t name, descriptor;

		for (size_t at = 0;
		     data && (at = gelf_getnote(data, at, &note, &name, &descriptor));)
			if (note.n_type == GO_NOTE_BUILD_ID && note.n_namesz == 4 &&
			    memcmp((char *)data->d_buf + name, "Go\0", 4) == 0)
				return true;
	}
	return false;
}

int program_read(const struct host *host, int64_t pid, struct program *ret_program)
{
	char path[64];

	elf_version(EV_CURRENT);
	snprintf(path, sizeof(path), "%" PRId64 "/exe", pid);
	_cleanup_close_ int fd = openat(host->proc, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	_cleanup_(elf_endp) Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
	if (!elf || elf_kind(elf) != ELF_K_ELF) {
		*ret_program = (struct program){0};
		return 0;
	}
	*ret_program = (struct program){.go = has_go_section(elf) || has_go_note(elf),
					.wide = gelf_getclass(elf) == ELFCLASS64};
	return 0;
}

int process_is_go(const struct host *host, int64_t pid)
{
	struct program program;
	int r = program_read(host, pid, &program);

	return r < 0 ? r : program.go;
}

/* --- What a process does with a signal --- */

/* A hexadecimal or decimal number after "KEY:" at the start of a line. */
static int status_number(const char *text, const char *key, int base, uint64_t *ret_value)
{
	const char *line = strstr(text, key);
	char *end;

	if (!line)
		return -ENODATA;
	line += strlen(key);
	unsigned long long number = strtoull(line, &end, base);
	if (end == line)
		return -EINVAL;
	*ret_value = number;
	return 0;
}

int process_signal_state(const struct host *host, int64_t pid, int number, bool *ret_caught,
			 int64_t *ret_tracer)
{
	_cleanup_free_ char *status = NULL;
	uint64_t caught = 0, tracer = 0;
	char path[64];

	snprintf(path, sizeof(path), "%" PRId64 "/status", pid);
	int r = file_read(host->proc, path, STATUS_BYTES_MAX, &status, NULL);
	if (r == 0)
		r = status_number(status, "\nSigCgt:", 16, &caught);
	if (r == 0)
		r = status_number(status, "\nTracerPid:", 10, &tracer);
	if (r < 0)
		return r == -ENOENT ? -ESRCH : r;
	*ret_caught = caught >> (number - 1) & 1;
	*ret_tracer = (int64_t)tracer;
	return 0;
}

bool process_output_is_closed(const struct host *host, int64_t pid, int fd)
{
	struct stat status;
	char path[64];

	snprintf(path, sizeof(path), "%" PRId64 "/fd/%d", pid, fd);
	if (fstatat(host->proc, path, &status, 0) < 0 || !S_ISFIFO(status.st_mode))
		return false;
	/* Without a reader a named pipe cannot be opened so (fifo(7)); an unnamed one polls as broken. */
	_cleanup_close_ int pipe = openat(host->proc, path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (pipe < 0)
		return errno == ENXIO;
	struct pollfd polled = {.fd = pipe, .events = POLLOUT};
	return poll(&polled, 1, 0) > 0 && polled.revents & POLLERR;
}
