/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of what the store's two halves say to each other: a stream of frames, in which the
 * other half may have gone mad. No text reaches beyond its frame, and what is read as a record or
 * an opening is written as a frame that reads as the same.
 */
#include "../fuzz.h"

#include "store/store_protocol.h"

static void claim_same_text(const char *a, const char *b)
{
	claim(streq_ptr(a, b), "a text is the same");
}

static void check_record(const struct record *record)
{
	_cleanup_(channel_close) struct channel channel;
	struct record again;
	struct frame frame;

	channel_init(&channel, -1);
	struct frame_writer writer = frame_start(&channel.in, FRAME_RECORD, record->sequence);
	record_put(&writer, record);
	claim(frame_finish(&writer) == 0, "a record that was read can be written");
	claim(channel_next(&channel, &frame) == 1 && record_get(&frame, record->run, &again) == 0,
	      "and read again");
	claim(again.sequence == record->sequence && again.time == record->time &&
		      again.put == record->put && again.final == record->final &&
		      again.actions == record->actions && again.created == record->created &&
		      again.ended == record->ended &&
		      again.document_length == record->document_length,
	      "its numbers are the same");
	claim_same_text(again.namespace, record->namespace);
	claim_same_text(again.name, record->name);
	claim_same_text(again.uid, record->uid);
	claim_same_text(again.fingerprint, record->fingerprint);
	claim_same_text(again.phase, record->phase);
	claim_same_text(again.transition, record->transition);
	claim_same_text(again.delete_namespace, record->delete_namespace);
	claim_same_text(again.delete_name, record->delete_name);
	claim_same_text(again.position_source, record->position_source);
	claim_same_text(again.position, record->position);
	claim(!record->document == !again.document &&
		      (!record->document ||
		       memcmp(again.document, record->document, record->document_length + 1) == 0),
	      "its document is the same");
	buffer_free(&channel.in);
}

static void check_open(const struct open_request *request)
{
	_cleanup_(channel_close) struct channel channel;
	struct open_request again;
	struct frame frame;

	channel_init(&channel, -1);
	struct frame_writer writer = frame_start(&channel.in, FRAME_OPEN, 1);
	open_request_put(&writer, request);
	claim(frame_finish(&writer) == 0 && channel_next(&channel, &frame) == 1 &&
		      open_request_get(&frame, &again) == 0,
	      "an opening that was read can be written and read again");
	claim(again.run == request->run && again.retention_age_ns == request->retention_age_ns &&
		      again.lock_wait_ns == request->lock_wait_ns && again.load == request->load &&
		      again.standby == request->standby,
	      "it is the same");
	buffer_free(&channel.in);
}

/* As questions and answers are read: numbers, then texts, until there are none. */
static void read_texts(struct frame *frame)
{
	frame_number(frame);
	while (frame_check(frame) < 0 && !frame->broken) {
		size_t length;
		const char *text = frame_text(frame, &length);

		if (text)
			claim(text + length < frame->payload + frame->header.size &&
				      text[length] == '\0',
			      "a text lies within its frame");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct channel channel;
	struct frame frame;

	channel_init(&channel, -1);
	claim(buffer_append(&channel.in, data, size) == 0, "there is memory");
	while (channel_next(&channel, &frame) == 1) {
		struct open_request request;
		struct record record;

		if (frame.header.type == FRAME_OPEN && open_request_get(&frame, &request) == 0)
			check_open(&request);
		else if (frame.header.type == FRAME_RECORD && record_get(&frame, 1, &record) == 0 &&
			 (!record.put || record.document)) /* the database refuses the others */
			check_record(&record);
		else if (frame.header.type != FRAME_OPEN && frame.header.type != FRAME_RECORD)
			read_texts(&frame);
	}
	channel_close(&channel);
	buffer_free(&channel.in);
	return 0;
}
