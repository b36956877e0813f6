/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking a goroutine dump: who may be sent the signal, the programs in the kernel that see what it
 * writes then, and when that is all. The bytes are put together in goroutine_stream.c.
 */
#include "host/goroutine_capture.h"

#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "host/goroutine_program.h"
#include "host/goroutine_stream.h"
#include "write_watch.skel.h"

/* After which a dump without an END marker is whole. */
#define QUIET_NS (300 * NS_PER_MS)
#define POLL_MS 20

const char *const goroutine_hook_names[] = {
	[GOROUTINE_HOOK_BEST] = "",
	[GOROUTINE_HOOK_TP_BTF] = "tp_btf/sys_enter",
	[GOROUTINE_HOOK_RAW_TP] = "raw_tp/sys_enter",
	NULL,
};

struct watch {
	struct write_watch_bpf *skeleton;
	enum goroutine_hook hook; /* that of LINK */
	struct bpf_link *link;
	struct ring_buffer *ring;
	const struct host *host;
	const struct clock *clock;
	int64_t pid;
	struct goroutine_streams streams;
	uint64_t last_ns; /* monotonic: when the last piece of a dump came */
	int error;
};

void goroutine_capture_clear(struct goroutine_capture *capture)
{
	free(capture->text);
	*capture = (struct goroutine_capture){0};
}

/* --- Who may be asked --- */

static int check_process(const struct host *host, int64_t pid, uint64_t start_time,
			 struct problem *problem)
{
	struct program program;
	struct process process;
	int64_t tracer;
	bool caught;
	int r = process_read_same(host, pid, start_time, &process);

	if (r == 0)
		r = process_signal_state(host, pid, SIGUSR1, &caught, &tracer);
	if (r == 0)
		r = program_read(host, pid, &program);
	if (r == -ESRCH || (r == 0 && strchr("ZX", process.state)))
		return problem_set(problem, -ESRCH, "", "process %" PRId64 " has ended", pid);
	if (r < 0)
		return problem_set(problem, r, "", "cannot read process %" PRId64 ": %s", pid,
				   strerror(-r));
	if (tracer || process.state == 't')
		return problem_set(problem, -EOPNOTSUPP, "",
				   "process %" PRId64 " (%s) is being debugged, by process %" PRId64
				   ": the signal would stop it",
				   pid, process.comm, tracer);
	if (process.state == 'T')
		return problem_set(problem, -EOPNOTSUPP, "",
				   "process %" PRId64
				   " (%s) is stopped: it would answer only once continued",
				   pid, process.comm);
	if (!program.go)
		return problem_set(problem, -EOPNOTSUPP, "",
				   "process %" PRId64 " (%s) is no Go program", pid, process.comm);
	if (!caught)
		return problem_set(problem, -EOPNOTSUPP, "",
				   "process %" PRId64 " (%s) does not catch SIGUSR1, and would die "
				   "of it",
				   pid, process.comm);
	if (!program.wide)
		return problem_set(problem, -EOPNOTSUPP, "",
				   "process %" PRId64
				   " (%s) is a 32-bit program, whose writes are not watched",
				   pid, process.comm);
	/*
	 * Go ends a program whose standard output or error is a pipe without a reader when it writes there
	 * (os/signal, SIGPIPE), unless it asks for that signal. Every shim does, as containerd, which
	 * reads from that pipe, may be started anew.
	 */
	if (!startswith(process.comm, "containerd-shim") &&
	    (process_output_is_closed(host, pid, STDERR_FILENO) ||
	     process_output_is_closed(host, pid, STDOUT_FILENO)))
		return problem_set(problem, -EOPNOTSUPP, "",
				   "nobody reads the output of process %" PRId64
				   " (%s) any more: it might die of writing a dump",
				   pid, process.comm);
	return 0;
}

/* --- Its writes --- */

/* A container's output, which its shim passes on: whatever it looks like, it is not the shim's. */
static bool is_container_output(const struct watch *watch, int fd)
{
	char path[64], target[PATH_MAX];

	snprintf(path, sizeof(path), "%" PRId64 "/fd/%d", watch->pid, fd);
	ssize_t length = readlinkat(watch->host->proc, path, target, sizeof(target) - 1);
	if (length < 0)
		return false;
	target[length] = '\0';
	return endswith(target, "-stdout") || endswith(target, "-stderr");
}

static int on_record(void *context, void *data, size_t size)
{
	const struct write_record *record = data;
	struct watch *watch = context;
	int fd;

	if (size < sizeof(*record) || record->length > size - sizeof(*record) || watch->error)
		return 0;
	fd = record->fd;
	size_t known = watch->streams.count;
	struct goroutine_stream *stream = goroutine_stream_of(&watch->streams, fd);
	if (!stream)
		return 0;
	if (known != watch->streams.count)
		stream->ignored = is_container_output(watch, fd);
	int r = goroutine_stream_add(stream, record);
	if (r < 0)
		watch->error = r;
	else if (r > 0)
		watch->last_ns = clock_monotonic(watch->clock);
	/* It only looked like a dump: the kernel looks at each write again. */
	else if (!stream->begun && !stream->ignored)
		bpf_map__delete_elem(watch->skeleton->maps.dump_files, &fd, sizeof(fd), 0);
	return 0;
}

static int keep_quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return 0;
}

static void watch_detach(struct watch *watch)
{
	bpf_link__destroy(watch->link);
	watch->link = NULL;
}

static void watch_end(struct watch *watch)
{
	watch_detach(watch);
	ring_buffer__free(watch->ring);
	write_watch_bpf__destroy(watch->skeleton);
	goroutine_streams_clear(&watch->streams);
}

static int watch_load(struct watch *watch, const char *name)
{
	struct bpf_program *program;
	int r;

	write_watch_bpf__destroy(watch->skeleton);
	watch->skeleton = write_watch_bpf__open();
	if (!watch->skeleton)
		return -errno;
	program = bpf_object__find_program_by_name(watch->skeleton->obj, name);
	r = program ? bpf_program__set_autoload(program, true) : -ENOENT;
	if (r == 0)
		r = write_watch_bpf__load(watch->skeleton);
	if (r == 0 && !watch->skeleton->bss)
		r = -EOPNOTSUPP; /* maps that can't be mapped, as before Linux 5.5 */
	if (r < 0)
		return r;
	watch->skeleton->bss->control.tgid = (__u32)watch->pid;
	watch->skeleton->bss->control.bytes_max = watch->streams.bytes_max;
	watch->link = bpf_program__attach(program);
	return watch->link ? 0 : -errno;
}

/* Late kernels first; raw_tp where the tracepoint is in no BTF. */
static int watch_begin(struct watch *watch, enum goroutine_hook wanted, struct problem *problem)
{
	static const char *const programs[] = {
		[GOROUTINE_HOOK_TP_BTF] = "write_watch_btf",
		[GOROUTINE_HOOK_RAW_TP] = "write_watch_raw",
	};
	libbpf_print_fn_t print = libbpf_set_print(keep_quiet);
	int r = -ENOENT;

	for (size_t i = GOROUTINE_HOOK_TP_BTF; i < ARRAY_SIZE(programs) && r < 0; i++) {
		if (wanted != GOROUTINE_HOOK_BEST && wanted != i)
			continue;
		r = watch_load(watch, programs[i]);
		watch->hook = (enum goroutine_hook)i;
	}
	libbpf_set_print(print);
	if (r == 0) {
		watch->ring = ring_buffer__new(bpf_map__fd(watch->skeleton->maps.writes), on_record,
					       watch, NULL);
		r = watch->ring ? 0 : -errno;
	}
	if (r == 0)
		return 0;
	return problem_set(problem, r == -ENOMEM ? r : -EOPNOTSUPP, "",
			   "cannot watch the writes of process %" PRId64 ": %s", watch->pid,
			   strerror(-r));
}

/* --- The dump --- */

static bool is_over(const struct watch *watch, const struct goroutine_stream *stream, uint64_t now)
{
	if (!stream)
		return false;
	if (stream->ended)
		return true;
	if (stream->text.cut || watch->skeleton->bss->control.bytes >= watch->streams.bytes_max)
		return true;
	return !stream->marked && now - watch->last_ns >= QUIET_NS;
}

/* Until the dump is whole, the process has ended, or the time is over. */
static int watch_dump(struct watch *watch, int process, uint64_t within_ns)
{
	uint64_t deadline = clock_monotonic(watch->clock) + within_ns;

	for (;;) {
		struct pollfd ended = {.fd = process, .events = POLLIN};
		int r = ring_buffer__poll(watch->ring, POLL_MS);

		if (r < 0 && r != -EINTR)
			return r;
		if (watch->error)
			return watch->error;
		uint64_t now = clock_monotonic(watch->clock);
		if (now >= deadline || is_over(watch, goroutine_streams_best(&watch->streams), now))
			return 0;
		if (poll(&ended, 1, 0) > 0) {
			r = ring_buffer__consume(watch->ring);
			return r < 0 ? r : watch->error;
		}
	}
}

static int send_signal(int process, int64_t pid, struct problem *problem)
{
	if (pidfd_send_signal(process, SIGUSR1, NULL, 0) == 0)
		return 0;
	int r = -errno;

	return problem_set(problem, r, "", "cannot send SIGUSR1 to process %" PRId64 ": %s", pid,
			   strerror(-r));
}

static int finish(struct watch *watch, struct goroutine_capture *ret_capture,
		  const struct goroutine_capture_options *options, struct problem *problem)
{
	struct goroutine_stream *stream = goroutine_streams_best(&watch->streams);
	char time[TIME_TEXT_SIZE];

	if (!stream || stream->text.length == 0)
		return problem_set(problem, -ETIMEDOUT, "",
				   "process %" PRId64
				   " was sent SIGUSR1 and wrote no goroutine dump within %s",
				   watch->pid, duration_format(options->within_ns, time));
	ret_capture->hook = watch->hook;
	ret_capture->lost = watch->skeleton->bss->control.lost;
	ret_capture->truncated = stream->truncated || ret_capture->lost ||
				 watch->skeleton->bss->control.cut ||
				 (stream->marked && !stream->ended);
	ret_capture->length = stream->text.length;
	ret_capture->text = buffer_take(&stream->text);
	return ret_capture->text ? 0 : -ENOMEM;
}

int goroutine_capture_take(const struct host *host, const struct clock *clock, int64_t pid,
			   uint64_t start_time, const struct goroutine_capture_options *options,
			   struct goroutine_capture *ret_capture, struct problem *problem)
{
	_cleanup_(watch_end) struct watch watch = {
		.host = host,
		.clock = clock,
		.pid = pid,
		.streams = {.bytes_max = options->bytes_max},
	};
	struct goroutine_capture capture = {0};
	_cleanup_close_ int process = process_open(host, pid, start_time);

	if (process < 0)
		return problem_set(problem, process, "", "cannot open process %" PRId64 ": %s", pid,
				   strerror(-process));
	int r = check_process(host, pid, start_time, problem);
	if (r == 0)
		r = watch_begin(&watch, options->hook, problem);
	/* Again, as loading takes a while, and what a process does with a signal changes. */
	if (r == 0)
		r = check_process(host, pid, start_time, problem);
	if (r < 0)
		return r;
	capture.time = clock_realtime(clock);
	r = send_signal(process, pid, problem);
	if (r < 0)
		return r;
	r = watch_dump(&watch, process, options->within_ns);
	watch_detach(&watch);
	if (r < 0)
		return problem_set(problem, r, "",
				   "cannot read the writes of process %" PRId64 ": %s", pid,
				   strerror(-r));
	r = finish(&watch, &capture, options, problem);
	if (r < 0)
		return r;
	*ret_capture = capture;
	return 0;
}
