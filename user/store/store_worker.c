/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's worker process: takes the agent's frames, applies all records that are there in one
 * transaction, makes it durable, and only then tells the agent. It ends when the agent closes the
 * socket or dies; signals meant for the agent's process group do not end it.
 */
#include "store/store_worker.h"

#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/database.h"

/* Most records of one transaction: keeps the time between two answers short on a slow disk. */
#define BATCH_RECORDS 2048
#define PROGRESS_INTERVAL_NS (200 * NS_PER_MS)

struct worker {
	struct channel channel;
	struct database *database;
	const char *directory;
	struct open_request request;
	bool in_transaction, agent_gone;
	uint64_t batch_records, last_sequence;
	uint64_t next_retention_ns, next_progress_ns;
	struct buffer part; /* of the answer being made */
	uint64_t part_sequence;
};

/*
 * Sends what is to be sent. When the agent is gone the answers are dropped, and the work goes on.
 */
static int worker_flush(struct worker *worker)
{
	if (worker->agent_gone || channel_flush(&worker->channel) < 0) {
		worker->agent_gone = true;
		buffer_consume(&worker->channel.out, worker->channel.out.length);
	}
	return 0;
}

static int worker_send(struct worker *worker, struct frame_writer *frame)
{
	int r = frame_finish(frame);

	if (r == 0 && worker->channel.out.length >= FRAME_PART_BYTES)
		r = worker_flush(worker);
	return r;
}

static void on_progress(void *userdata)
{
	struct worker *worker = userdata;
	uint64_t now_ns = clock_monotonic(clock_system());

	if (now_ns < worker->next_progress_ns || worker->channel.out.length)
		return;
	worker->next_progress_ns = now_ns + PROGRESS_INTERVAL_NS;
	struct frame_writer frame = frame_start(&worker->channel.out, FRAME_PROGRESS, 0);
	if (worker_send(worker, &frame) == 0)
		worker_flush(worker);
}

/* The last words: why the worker cannot go on. Returns ERROR. */
static int worker_fail(struct worker *worker, int error, const char *text)
{
	struct frame_writer frame = frame_start(&worker->channel.out, FRAME_FAILED, 0);

	frame_put_number(&frame, (uint64_t)-error);
	frame_put_text(&frame, text);
	if (worker_send(worker, &frame) == 0)
		worker_flush(worker);
	return error;
}

static int worker_fail_database(struct worker *worker, int error)
{
	struct problem problem = {0};

	database_explain(worker->database, error, &problem);
	return worker_fail(worker, error, problem.text);
}

static int send_number(struct worker *worker, enum frame_type type, uint64_t sequence,
		       uint64_t number)
{
	struct frame_writer frame = frame_start(&worker->channel.out, type, sequence);

	frame_put_number(&frame, number);
	return worker_send(worker, &frame);
}

static void put_counts(struct worker *worker, struct frame_writer *frame)
{
	frame_put_number(frame, worker->database->abnormals);
	frame_put_number(frame, worker->database->bytes);
}

static int send_counts(struct worker *worker, enum frame_type type, uint64_t sequence)
{
	struct frame_writer frame = frame_start(&worker->channel.out, type, sequence);

	put_counts(worker, &frame);
	return worker_send(worker, &frame);
}

static int send_row(struct worker *worker, enum frame_type type, const char *text, size_t length,
		    const char *second)
{
	struct frame_writer frame = frame_start(&worker->channel.out, type, 0);

	frame_put_bytes(&frame, text, length);
	if (type == FRAME_POSITION)
		frame_put_text(&frame, second);
	return worker_send(worker, &frame);
}

static int on_live(void *userdata, const char *text, size_t length, const char *second)
{
	return send_row(userdata, FRAME_LIVE, text, length, second);
}

static int on_recent(void *userdata, const char *text, size_t length, const char *second)
{
	return send_row(userdata, FRAME_RECENT, text, length, second);
}

static int on_acted(void *userdata, const struct store_action *action)
{
	struct worker *worker = userdata;
	struct frame_writer frame = frame_start(&worker->channel.out, FRAME_ACTED, 0);

	frame_put_text(&frame, action->recoverer);
	frame_put_text(&frame, action->subject);
	frame_put_number(&frame, (uint64_t)action->intent_time);
	return worker_send(worker, &frame);
}

static int on_position(void *userdata, const char *text, size_t length, const char *second)
{
	return send_row(userdata, FRAME_POSITION, text, length, second);
}

static int on_removed(void *userdata, const char *text, size_t length, const char *second)
{
	return send_row(userdata, FRAME_REMOVED, text, length, second);
}

static int worker_send_state(struct worker *worker)
{
	int64_t now_ns = clock_realtime(clock_system());
	uint64_t history_ns = MIN(worker->request.history_ns, (uint64_t)now_ns);
	int r = database_live(worker->database, on_live, worker);

	if (r == 0)
		r = database_recent(worker->database, now_ns - (int64_t)history_ns, on_recent,
				    worker);
	if (r == 0)
		r = database_acted(worker->database, now_ns - (int64_t)history_ns, on_acted,
				   worker);
	if (r == 0)
		r = database_positions(worker->database, on_position, worker);
	return r;
}

static int worker_retain(struct worker *worker)
{
	const struct open_request *request = &worker->request;
	uint64_t now_ns = clock_monotonic(clock_system());

	if (now_ns < worker->next_retention_ns)
		return 0;
	worker->next_retention_ns = now_ns + request->retention_interval_ns;
	int r = database_retain(worker->database, clock_realtime(clock_system()),
				request->retention_age_ns, request->retention_count, on_removed,
				worker);
	return r < 0 ? worker_fail_database(worker, r) : 0;
}

static int worker_open(struct worker *worker, struct frame *frame)
{
	struct problem problem = {0};
	int r = open_request_get(frame, &worker->request);

	if (r < 0 || worker->database)
		return worker_fail(worker, -EBADMSG, "the store's worker got a malformed request");
	struct database_options options = {.directory = worker->directory,
					   .standby = worker->request.standby,
					   .lock_wait_ns = worker->request.lock_wait_ns,
					   .progress = on_progress,
					   .userdata = worker};
	r = database_open(&options, &worker->database, &problem);
	if (r < 0)
		return worker_fail(worker, r, problem.text);
	/* What retention removes is not worth being loaded. */
	r = worker_retain(worker);
	if (r < 0)
		return r;
	if (worker->request.load)
		r = worker_send_state(worker);
	if (r < 0)
		return worker_fail_database(worker, r);
	struct frame_writer answer = frame_start(&worker->channel.out, FRAME_OPENED, 0);
	const char *warning = worker->database->warning.text;
	frame_put_text(&answer, *warning ? warning : NULL);
	put_counts(worker, &answer);
	r = worker_send(worker, &answer);
	if (r == 0)
		r = worker_flush(worker);
	if (r == 0)
		database_make_room(worker->database);
	return r;
}

/* Makes durable what was applied, and only then says so. */
static int worker_commit(struct worker *worker)
{
	if (!worker->in_transaction)
		return 0;
	int r = database_commit(worker->database);
	if (r < 0)
		return worker_fail_database(worker, r);
	worker->in_transaction = false;
	worker->batch_records = 0;
	r = send_counts(worker, FRAME_COMMITTED, worker->last_sequence);
	if (r == 0)
		r = worker_flush(worker);
	/* In memory the size decides too, and measuring costs little. */
	if (r == 0 && !worker->directory && worker->database->bytes > DATABASE_MEMORY_BYTES)
		worker->next_retention_ns = 0;
	if (r == 0)
		r = worker_retain(worker);
	if (r == 0)
		r = worker_flush(worker);
	/* Nobody waits for this one. */
	if (r == 0)
		database_checkpoint(worker->database);
	return r;
}

static int worker_record(struct worker *worker, struct frame *frame)
{
	struct record record;
	int r = record_get(frame, worker->request.run, &record);

	if (r < 0)
		return worker_fail(worker, r, "the store's worker got a malformed record");
	if (!worker->in_transaction) {
		r = database_begin(worker->database);
		if (r < 0)
			return worker_fail_database(worker, r);
		worker->in_transaction = true;
	}
	r = database_apply(worker->database, &record, on_removed, worker);
	if (database_is_refusal(r))
		r = send_number(worker, FRAME_REJECTED, record.sequence, (uint64_t)-r);
	if (r < 0)
		return worker_fail_database(worker, r);
	worker->last_sequence = record.sequence;
	return ++worker->batch_records >= BATCH_RECORDS ? worker_commit(worker) : 0;
}

static int part_send(struct worker *worker)
{
	struct frame_writer frame =
		frame_start(&worker->channel.out, FRAME_PART, worker->part_sequence);

	frame_put_bytes(&frame, buffer_text(&worker->part), worker->part.length);
	buffer_consume(&worker->part, worker->part.length);
	return worker_send(worker, &frame);
}

static int on_part(void *userdata, const char *text, size_t length, const char *second)
{
	struct worker *worker = userdata;
	int r = 0;

	if (worker->part.length && worker->part.length + length > FRAME_PART_BYTES)
		r = part_send(worker);
	return r < 0 ? r : buffer_append(&worker->part, text, length);
}

/* Questions are answered from the durable state alone. */
static int worker_question(struct worker *worker, struct frame *frame)
{
	const char *namespace = frame_text(frame, NULL), *name = frame_text(frame, NULL);
	int r = frame_check(frame);

	if (r < 0)
		return worker_fail(worker, r, "the store's worker got a malformed question");
	worker->part_sequence = frame->header.sequence;
	if (frame->header.type == FRAME_GET)
		r = database_get(worker->database, namespace, name, on_part, worker);
	else if (frame->header.type == FRAME_LIST)
		r = database_list(worker->database, namespace, on_part, worker);
	else
		r = database_history(worker->database, namespace, name, on_part, worker);
	if (r < 0 && !database_is_refusal(r))
		return worker_fail_database(worker, r);
	int result = r;
	r = worker->part.length ? part_send(worker) : 0;
	if (r == 0)
		r = send_number(worker, FRAME_END, worker->part_sequence, (uint64_t)-result);
	return r < 0 ? r : worker_flush(worker);
}

static int worker_dump(struct worker *worker, uint64_t number)
{
	_cleanup_close_ int fd = -1;
	int r = database_dump(worker->database, &fd);

	if (r < 0)
		return worker_fail_database(worker, r);
	worker_flush(worker);
	return channel_send_fd(&worker->channel, FRAME_DUMPED, number, fd);
}

static int worker_merge(struct worker *worker, struct frame *frame)
{
	_cleanup_close_ int fd = TAKE_FD(worker->channel.received_fd);
	bool load = frame_number(frame);

	if (frame_check(frame) < 0 || fd < 0)
		return worker_fail(worker, -EBADMSG, "the store's worker got a malformed merge");
	int r = database_merge(worker->database, fd);
	if (r == 0 && load)
		r = worker_send_state(worker);
	if (r < 0)
		return worker_fail_database(worker, r);
	r = send_counts(worker, FRAME_MERGED, 0);
	return r < 0 ? r : worker_flush(worker);
}

static int worker_handle(struct worker *worker, struct frame *frame)
{
	if (!worker->database && frame->header.type != FRAME_OPEN)
		return worker_fail(worker, -EBADMSG, "the store's worker was not opened");
	if (frame->header.type == FRAME_RECORD)
		return worker_record(worker, frame);
	int r = worker_commit(worker);
	if (r < 0)
		return r;
	switch (frame->header.type) {
	case FRAME_OPEN:
		return worker_open(worker, frame);
	case FRAME_GET:
	case FRAME_LIST:
	case FRAME_HISTORY:
		return worker_question(worker, frame);
	case FRAME_DUMP:
		return worker_dump(worker, frame->header.sequence);
	case FRAME_MERGE:
		return worker_merge(worker, frame);
	default:
		return worker_fail(worker, -EBADMSG, "the store's worker got an unknown request");
	}
}

/* Handles every whole frame that is there, then commits once nothing more waits. 0 at the end. */
static int worker_step(struct worker *worker)
{
	struct pollfd wait = {.fd = worker->channel.fd, .events = POLLIN};
	struct frame frame;
	int r;

	ssize_t length = channel_receive(&worker->channel);
	if (length == -EAGAIN) {
		r = worker_commit(worker);
		if (r < 0)
			return r;
		return poll(&wait, 1, -1) < 0 && errno != EINTR ? -errno : 1;
	}
	/* ECONNRESET: the agent died with answers unread. What it sent before was received. */
	if (length == 0 || length == -ECONNRESET)
		return worker_commit(worker);
	if (length < 0)
		return (int)length;
	while ((r = channel_next(&worker->channel, &frame)) > 0) {
		r = worker_handle(worker, &frame);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : 1;
}

int store_worker_run(int socket_fd, const char *directory)
{
	struct worker worker = {.directory = directory, .part = BUFFER(FRAME_BYTES_MAX)};
	int r;

	channel_init(&worker.channel, socket_fd);
	do
		r = worker_step(&worker);
	while (r > 0);
	database_free(worker.database);
	channel_close(&worker.channel);
	buffer_free(&worker.channel.in);
	buffer_free(&worker.channel.out);
	buffer_free(&worker.part);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int store_worker_main(int argc, char **argv)
{
	static const struct option options[] = {{"fd", required_argument, NULL, 'f'},
						{"directory", required_argument, NULL, 'd'},
						{0}};
	const char *directory = NULL;
	long fd = -1;
	int option;

	optind = 0; /* the main program has parsed its own options with the same getopt */
	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (option == 'f')
			fd = strtol(optarg, NULL, 10);
		else if (option == 'd')
			directory = optarg;
		else
			return 64;
	}
	if (fd < 0 || fd > INT_MAX || fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0) {
		log_error("starting the store's worker: --fd names no open socket; lifeboat agent "
			  "runs this command, it is not for people");
		return 64;
	}
	/* Ctrl-C and a stopping service manager mean the agent; the worker ends with it. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	/* Keeps Ctrl-C of a terminal, which goes to the group, away. */
	setpgid(0, 0);
	prctl(PR_SET_NAME, "lifeboat-store");
	umask(077);
	return store_worker_run((int)fd, directory);
}
