/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target of what a script says of itself in its first lines, as each kind of plug-in. What is
 * refused is told of; what is taken lies within the limits that the documents promise, and is the
 * same when nothing but other lines follow it.
 */
#include "../fuzz.h"

#include "plugin/script_header.h"
#include "plugin/settings.h"

/* As the limit counts them: without the further bytes of a character. */
static size_t characters(const char *text)
{
	size_t count = 0;

	for (; *text; text++)
		count += ((unsigned char)*text & 0xc0) != 0x80;
	return count;
}

static void check_header(const struct script_header *header, enum plugin_kind kind)
{
	claim(header->order >= -100000 && header->order <= 100000, "an order has its limits");
	claim(header->has_order || header->order == 0, "an order was given, or there is none");
	claim(header->timeout_ns == 0 || (header->timeout_ns >= PLUGIN_TIMEOUT_MIN_NS &&
					  header->timeout_ns <= PLUGIN_TIMEOUT_MAX_NS),
	      "so has a timeout");
	claim(header->verify_within_ns <= 24 * 3600 * NS_PER_S, "so has a verification");
	claim(!header->summary || characters(header->summary) <= 200, "so has a summary");
	claim(!header->sources.count == !header->source_mask || header->detectors.count,
	      "sources that are named are known");
	claim(kind == PLUGIN_RECOVERER || (!header->disturbs && !header->verify && !header->plan),
	      "only recoverers disturb, plan and verify");
	claim(kind == PLUGIN_COLLECTOR || (!header->required && !header->troubleshooting),
	      "only collectors are required");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum plugin_kind kinds[] = {PLUGIN_COLLECTOR, PLUGIN_DIAGNOSER,
						 PLUGIN_RECOVERER};
	/* Of its own size, so that a read beyond its end is seen. */
	_cleanup_free_ char *text = malloc(size);

	if (!text || !memcpy(text, data, size))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		_cleanup_(script_header_freep) struct script_header *header = NULL;
		struct problem problem = {0};
		int r = script_header_parse(kinds[i], text, size, &header, &problem);

		claim(r == 0 || problem.text[0], "a refused header is told of");
		if (r == 0)
			check_header(header, kinds[i]);
	}
	return 0;
}
