/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of goroutine dumps: what another process wrote, and what is found in it. Besides not
 * to crash, a dump has no more than its limits allow, what it tells can be printed, and its summary
 * counts each goroutine once; a stream of writes keeps no more than it may.
 */
#include "../fuzz.h"

#include "host/goroutine_dump.h"
#include "host/goroutine_stream.h"
#include "host/goroutine_text.h"

static void check_dump(const struct goroutine_dump *dump)
{
	_cleanup_json_ cJSON *summary = goroutine_dump_summary(dump, 16, 8), *again = NULL;
	_cleanup_free_ char *text = summary ? json_print(summary) : NULL;
	struct problem problem;
	uint64_t sum = 0;
	const cJSON *group;

	claim(dump->count > 0 && dump->count <= GOROUTINES_MAX,
	      "a dump has goroutines, not too many");
	for (size_t i = 0; i < dump->count; i++) {
		const struct goroutine *goroutine = &dump->items[i];

		claim(goroutine->frame_count <= GOROUTINE_FRAMES_MAX, "not too many frames");
		claim_plain(goroutine->state);
		claim_plain(goroutine->created_by);
		for (size_t f = 0; f < goroutine->frame_count; f++) {
			claim(*goroutine->frames[f].function, "a frame has a function");
			claim_plain(goroutine->frames[f].function);
			claim_plain(goroutine->frames[f].file);
		}
	}
	claim(text && json_parse(text, strlen(text), &again, &problem) == 0,
	      "a summary is JSON that can be read");
	cJSON_ArrayForEach (group, json_at(summary, "groups"))
		sum += json_u64(group, "count");
	claim(sum <= dump->count, "each goroutine is in one group");
	claim(json_u64(summary, "groupCount") > 16 || sum == dump->count, "and none is left out");
}

/* The same bytes in writes, with the size of each in the first byte. */
static void check_stream(const uint8_t *data, size_t size)
{
	_cleanup_(goroutine_streams_clear) struct goroutine_streams streams = {.bytes_max = 4096};
	_cleanup_free_ struct write_record *record = malloc(sizeof(*record) + 256);
	size_t step = (size_t)data[0] + 1;

	claim(record, "there is memory");
	for (size_t at = 1; at < size; at += step) {
		size_t length = MIN(step, size - at);
		struct goroutine_stream *stream = goroutine_stream_of(&streams, data[at] & 3);

		*record = (struct write_record){
			.address = data[at] * 64u, .total = length, .length = (uint32_t)length};
		if (data[at] & 4)
			record->flags = WRITE_UNREADABLE;
		if (data[at] & 8)
			record->offset = record->total = length;
		memcpy(record->data, data + at, length);
		claim(goroutine_stream_add(stream, record) >= 0, "there is memory for 4 KiB");
		claim(stream->text.length <= 4096, "a stream keeps no more than it may");
		claim(stream->begun || stream->text.length == 0,
		      "nothing is kept before a dump begins");
	}
	const struct goroutine_stream *best = goroutine_streams_best(&streams);
	claim(!best || goroutine_text_begin(best->text.data, best->text.length),
	      "what is kept is of a dump");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct goroutine_dump *dump = NULL;
	int r = goroutine_dump_parse((const char *)data, size, &dump);

	claim(r == 0 || r == -ENODATA, "any text is a dump or none");
	if (r == 0)
		check_dump(dump);
	if (r == 0)
		goroutine_dump_free(dump);
	if (size > 1)
		check_stream(data, size);
	return 0;
}
