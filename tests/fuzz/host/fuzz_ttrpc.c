/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of what a shim answers: frames and the protobuf in them. Besides not to crash, an
 * answer says the same however it comes in pieces: the first byte says how long they are.
 */
#include "../fuzz.h"

#include "host/ttrpc.h"

/* Feeds DATA in pieces of STEP bytes. Returns as ttrpc_read. */
static int feed(struct ttrpc_reader *reader, const char *data, size_t size, size_t step)
{
	int r = 0;

	for (size_t at = 0; at < size && r == 0; at += step) {
		/* Of its own size, so that a read beyond its end is seen. */
		size_t length = MIN(step, size - at);
		_cleanup_free_ char *piece = malloc(length);

		memcpy(piece, data + at, length);
		r = ttrpc_read(reader, 1, piece, length);
	}
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(ttrpc_reader_clear) struct ttrpc_reader whole = TTRPC_READER,
							  pieces = TTRPC_READER;
	struct ttrpc_answer answer = {0}, again = {0};

	if (size < 2)
		return 0;
	int r = feed(&whole, (const char *)data + 1, size - 1, size);
	claim(feed(&pieces, (const char *)data + 1, size - 1, (size_t)data[0] + 1) == r,
	      "pieces are the whole");
	if (r != 1)
		return 0;
	claim(whole.message.length <= TTRPC_MESSAGE_KEPT_MAX, "no more is kept than allowed");
	r = ttrpc_read_state(&whole, &answer);
	claim(ttrpc_read_state(&pieces, &again) == r, "both can be read, or neither");
	claim(r < 0 || (answer.code == again.code && answer.status == again.status &&
			streq(answer.text, again.text)),
	      "both say the same");
	return 0;
}
