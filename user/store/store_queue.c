/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of records and questions that wait for the store's worker. */
#include "store/store_queue.h"

#include "base/clock.h"
#include "core/fingerprint.h"

static void item_free(struct queue_item *item)
{
	if (!item)
		return;
	buffer_free(&item->frame);
	buffer_free(&item->text);
	free(item);
}
DEFINE_CLEANUP(struct queue_item, item_free);

static struct queue_item *item_new(struct store_queue *queue, enum frame_type type, void *userdata)
{
	struct queue_item *item = calloc(1, sizeof(*item));

	if (!item)
		return NULL;
	*item = (struct queue_item){
		.sequence = queue->sequence + 1,
		.queued_ns = clock_monotonic(clock_system()),
		.type = type,
		.frame = BUFFER(FRAME_BYTES_MAX + sizeof(struct frame_header) + 64),
		.text = BUFFER(QUEUE_ANSWER_BYTES_MAX),
		.userdata = userdata};
	return item;
}

static void queue_append(struct store_queue *queue, struct queue_item *item)
{
	queue->sequence++;
	queue->bytes += item->frame.length;
	if (item->type == FRAME_RECORD)
		queue->records++;
	else
		queue->questions++;
	if (queue->tail)
		queue->tail->next = item;
	else
		queue->head = item;
	queue->tail = item;
	if (!queue->unsent)
		queue->unsent = item;
}

static struct queue_item *queue_pop(struct store_queue *queue)
{
	struct queue_item *item = queue->head;

	queue->head = item->next;
	if (!queue->head)
		queue->tail = NULL;
	if (queue->unsent == item)
		queue->unsent = item->next;
	queue->bytes -= item->frame.length;
	if (item->type == FRAME_RECORD)
		queue->records--;
	else
		queue->questions--;
	return item;
}

/* When it ended: its last condition's change, so that writing it again does not move its end. */
static int64_t abnormal_ended(const struct abnormal *abnormal, int64_t now_ns)
{
	const struct condition *conditions = abnormal->status.conditions.items;
	int64_t ended = TIME_ABSENT;

	for (size_t i = 0; i < abnormal->status.conditions.count; i++)
		ended = MAX(ended, conditions[i].last_transition_time);
	return ended == TIME_ABSENT ? now_ns : ended;
}

static int record_of(const struct store_record *source, const char *document,
		     char fingerprint[FINGERPRINT_SIZE], struct record *ret_record)
{
	const struct abnormal *abnormal = source->abnormal;
	struct record record = {.time = clock_realtime(clock_system()),
				.put = abnormal && !source->delete_name,
				.transition = source->transition,
				.delete_namespace = source->delete_namespace,
				.delete_name = source->delete_name,
				.position_source = source->position_source,
				.position = source->position};

	if (!record.put && !record.delete_name && !record.position_source)
		return -EINVAL;
	if (record.delete_name && !record.delete_namespace)
		record.delete_namespace = "";
	if (record.put) {
		const struct metadata *metadata = &abnormal->metadata;

		if (!metadata->name)
			return -EINVAL;
		record.namespace = metadata->namespace ? metadata->namespace : "";
		record.name = metadata->name;
		record.uid = metadata->uid ? metadata->uid : "";
		record.fingerprint = abnormal_fingerprint(abnormal, fingerprint);
		record.phase = abnormal_phase_names[abnormal->status.phase];
		record.final = phase_is_final((enum abnormal_phase)abnormal->status.phase);
		record.actions = abnormal->status.actions.count > 0;
		record.created = metadata->creation_timestamp == TIME_ABSENT
					 ? 0
					 : metadata->creation_timestamp;
		record.ended = abnormal_ended(abnormal, record.time);
		record.heard = MAX(abnormal_latest_time(abnormal), record.created);
		record.document = document;
		record.document_length = strlen(document);
	}
	*ret_record = record;
	return 0;
}

int queue_add_record(struct store_queue *queue, const struct store_record *source,
		     store_written callback, void *userdata)
{
	_cleanup_(item_freep) struct queue_item *item = NULL;
	_cleanup_free_ char *document = NULL;
	char fingerprint[FINGERPRINT_SIZE];
	struct record record;
	int r;

	if (queue->records >= QUEUE_RECORDS_MAX || queue->bytes >= QUEUE_BYTES_MAX)
		return -ENOBUFS;
	if (source->abnormal) {
		r = abnormal_print(source->abnormal, &document);
		if (r < 0)
			return r;
	}
	r = record_of(source, document, fingerprint, &record);
	if (r < 0)
		return r;
	item = item_new(queue, FRAME_RECORD, userdata);
	if (!item)
		return -ENOMEM;
	item->written = callback;
	struct frame_writer frame = frame_start(&item->frame, FRAME_RECORD, item->sequence);
	record_put(&frame, &record);
	r = frame_finish(&frame);
	if (r < 0)
		return r == -ENOBUFS ? -EFBIG : r;
	queue_append(queue, TAKE_PTR(item));
	return 0;
}

int queue_add_question(struct store_queue *queue, enum frame_type type, const char *namespace,
		       const char *name, store_answer callback, void *userdata)
{
	_cleanup_(item_freep) struct queue_item *item = NULL;

	if (queue->questions >= QUEUE_QUESTIONS_MAX)
		return -ENOBUFS;
	item = item_new(queue, type, userdata);
	if (!item)
		return -ENOMEM;
	item->answer = callback;
	struct frame_writer frame = frame_start(&item->frame, type, item->sequence);
	frame_put_text(&frame, namespace);
	frame_put_text(&frame, name);
	int r = frame_finish(&frame);
	if (r < 0)
		return r;
	queue_append(queue, TAKE_PTR(item));
	return 0;
}

bool queue_send(struct store_queue *queue, struct buffer *out, size_t limit)
{
	bool any = false;

	while (queue->unsent && out->length < limit) {
		struct queue_item *item = queue->unsent;

		if (buffer_append(out, item->frame.data, item->frame.length) < 0)
			break;
		item->sent = true;
		queue->unsent = item->next;
		any = true;
	}
	return any;
}

bool queue_is_waiting(const struct store_queue *queue)
{
	return queue->head && queue->head->sent;
}

void queue_resend(struct store_queue *queue)
{
	for (struct queue_item *item = queue->head; item && item->sent; item = item->next) {
		uint16_t flags = FRAME_FLAG_AGAIN;

		memcpy(item->frame.data + offsetof(struct frame_header, flags), &flags,
		       sizeof(flags));
		item->sent = false;
		item->result = 0;
		/* The next worker answers from the beginning. */
		buffer_consume(&item->text, item->text.length);
	}
	queue->unsent = queue->head;
}

static struct queue_item *queue_find(struct store_queue *queue, uint64_t sequence)
{
	for (struct queue_item *item = queue->head; item && item->sent; item = item->next)
		if (item->sequence == sequence)
			return item;
	return NULL;
}

int queue_committed(struct store_queue *queue, uint64_t sequence, struct store_counts *counts)
{
	while (queue->head && queue->head->sent && queue->head->sequence <= sequence) {
		if (queue->head->type != FRAME_RECORD)
			return -EPROTO;
		_cleanup_(item_freep) struct queue_item *item = queue_pop(queue);
		if (item->result == 0)
			counts->writes++;
		else
			counts->write_errors++;
		if (item->written)
			item->written(item->userdata, item->result);
	}
	return 0;
}

int queue_rejected(struct store_queue *queue, uint64_t sequence, int error)
{
	struct queue_item *item = queue_find(queue, sequence);

	if (!item || item->type != FRAME_RECORD)
		return -EPROTO;
	item->result = error;
	return 0;
}

/* The question at the head, which is the only one that the worker can be answering. */
static struct queue_item *queue_question(struct store_queue *queue, uint64_t sequence)
{
	struct queue_item *item = queue->head;

	return item && item->sent && item->type != FRAME_RECORD && item->sequence == sequence
		       ? item
		       : NULL;
}

int queue_part(struct store_queue *queue, uint64_t sequence, const char *text, size_t length)
{
	struct queue_item *item = queue_question(queue, sequence);

	if (!item)
		return -EPROTO;
	if (item->result < 0 || !item->answer)
		return 0;
	int r = buffer_append(&item->text, text, length);
	item->result = r == -ENOBUFS ? -EFBIG : r;
	return 0;
}

int queue_end(struct store_queue *queue, uint64_t sequence, int error)
{
	if (!queue_question(queue, sequence))
		return -EPROTO;
	_cleanup_(item_freep) struct queue_item *item = queue_pop(queue);
	int result = item->result < 0 ? item->result : error;
	if (item->answer && result < 0)
		item->answer(item->userdata, result, NULL, 0);
	else if (item->answer)
		item->answer(item->userdata, 0, buffer_text(&item->text), item->text.length);
	return 0;
}

/* Its place is kept, as the worker may still answer; the answer then goes nowhere. */
void queue_expire(struct store_queue *queue, uint64_t queued_ns)
{
	for (struct queue_item *item = queue->questions ? queue->head : NULL; item;
	     item = item->next) {
		if (item->type == FRAME_RECORD || !item->answer || item->queued_ns >= queued_ns)
			continue;
		store_answer answer = TAKE_PTR(item->answer);

		buffer_free(&item->text);
		answer(item->userdata, -ETIMEDOUT, NULL, 0);
	}
}

void queue_cancel(struct store_queue *queue)
{
	while (queue->head) {
		_cleanup_(item_freep) struct queue_item *item = queue_pop(queue);

		if (item->written)
			item->written(item->userdata, -ECANCELED);
		if (item->answer)
			item->answer(item->userdata, -ECANCELED, NULL, 0);
	}
}
