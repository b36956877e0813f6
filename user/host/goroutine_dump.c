/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser of goroutine dumps, in one pass over the text's lines, on a copy of its own: what a line
 * says is made plain and ended in place, so that a dump owns one text and two arrays.
 *
 * What the runtime prints: runtime/traceback.go, goroutineheader() and printfuncname().
 */
#include "host/goroutine_dump.h"

#include "base/plain.h"
#include "host/goroutine_text.h"

#define HEADER_MAX 4096 /* with pprof's labels */
#define IDS_SLOTS 32768 /* a power of two, over GOROUTINES_MAX */

struct storage {
	struct goroutine_dump dump; /* first: what the caller has */
	char *text;
	struct goroutine_frame *frames;
	size_t frame_count, frame_capacity, item_capacity;
	bool marked; /* it follows a line with the BEGIN marker */
	bool ended; /* the END marker has come */
};

/* A dump being read, and the best one that came before. */
struct parser {
	struct storage *current, *kept;
	uint64_t *ids; /* of the current dump and one more, by hash; 0: free */
	struct goroutine *goroutine; /* the last of the current dump; NULL before its first */
	bool skip; /* frames of an ancestor, or over a limit */
	bool created; /* the next place is that of the go statement */
	bool place; /* the last frame's place is yet to come */
};

/* --- The dumps --- */

static void storage_free(struct storage *storage)
{
	if (!storage)
		return;
	free(storage->dump.items);
	free(storage->frames);
	free(storage->text);
	free(storage);
}

void goroutine_dump_free(struct goroutine_dump *dump)
{
	storage_free((struct storage *)dump);
}

static void parser_clear(struct parser *parser)
{
	storage_free(parser->current);
	storage_free(parser->kept);
	free(parser->ids);
}

/* Ends the current dump. WHOLE tells whether it ended by itself. */
static void dump_end(struct parser *parser, bool whole)
{
	struct storage *current = parser->current;

	parser->goroutine = NULL;
	parser->current = NULL;
	if (!current)
		return;
	if (!whole || (current->marked && !current->ended) || parser->place)
		current->dump.truncated = true;
	parser->place = false;
	if (current->dump.count == 0 ||
	    (current->dump.truncated && parser->kept && !parser->kept->dump.truncated)) {
		storage_free(current);
		return;
	}
	storage_free(parser->kept);
	parser->kept = current;
}

static int dump_begin(struct parser *parser, bool marked)
{
	dump_end(parser, true);
	parser->current = calloc(1, sizeof(*parser->current));
	if (!parser->current)
		return -ENOMEM;
	parser->current->marked = marked;
	memset(parser->ids, 0, IDS_SLOTS * sizeof(*parser->ids));
	return 0;
}

/* Returns false if the current dump has goroutine ID already. */
static bool id_add(struct parser *parser, uint64_t id)
{
	size_t slot = (id * UINT64_C(0x9e3779b97f4a7c15)) >> 32 & (IDS_SLOTS - 1);

	/* Over the limit none is kept, and none remembered: the table would have no end to look for. */
	if (parser->current->dump.count == GOROUTINES_MAX)
		return true;

	for (; parser->ids[slot]; slot = (slot + 1) & (IDS_SLOTS - 1))
		if (parser->ids[slot] == id + 1)
			return false;
	parser->ids[slot] = id + 1;
	return true;
}

/* Room for one more. */
static int grow(void **items, size_t count, size_t *capacity, size_t size)
{
	if (count < *capacity)
		return 0;
	size_t wanted = *capacity ? *capacity * 2 : 64;
	void *grown = reallocarray(*items, wanted, size);
	if (!grown)
		return -ENOMEM;
	*items = grown;
	*capacity = wanted;
	return 0;
}

/* --- Lines --- */

static char *plain(char *text, size_t length)
{
	plain_copy(text, text, length);
	return text;
}

/* "10 minutes", "locked to thread", "synctest bubble 3": what follows the state. */
static void attribute_parse(struct goroutine *goroutine, const char *text, size_t length)
{
	static const char locked[] = "locked to thread", minutes[] = " minutes";
	uint64_t number = 0;
	size_t digits = 0;

	if (length == strlen(locked) && memcmp(text, locked, length) == 0)
		goroutine->locked = true;
	for (; digits < length && digits < 18 && text[digits] >= '0' && text[digits] <= '9';
	     digits++)
		number = number * 10 + (uint64_t)(text[digits] - '0');
	if (digits > 0 && length - digits == strlen(minutes) &&
	    memcmp(text + digits, minutes, strlen(minutes)) == 0)
		goroutine->wait_minutes = number;
}

/*
 * "chan send (nil chan), 10 minutes, locked to thread labels:{…}". That the garbage collector looks at the
 * goroutine, " (scan)", is not kept: it says nothing of what it waits for.
 */
static void state_parse(struct goroutine *goroutine, char *text, size_t length)
{
	static const char scan[] = " (scan)";
	char *labels = memmem(text, length, " labels:{", strlen(" labels:{"));

	if (labels)
		length = (size_t)(labels - text);
	char *comma = memchr(text, ',', length);
	size_t state = comma ? (size_t)(comma - text) : length;
	for (size_t at = state; at < length;) {
		char *item = text + at + 1;
		char *next = memchr(item, ',', length - at - 1);
		size_t end = next ? (size_t)(next - text) : length;

		if (end > at + 1 && *item == ' ')
			attribute_parse(goroutine, item + 1, end - at - 2);
		at = end;
	}
	if (state > strlen(scan) && memcmp(text + state - strlen(scan), scan, strlen(scan)) == 0)
		state -= strlen(scan);
	goroutine->state = plain(text, state);
}

static int on_header(struct parser *parser, const struct goroutine_header *header)
{
	bool known = parser->current && !id_add(parser, header->id);

	/* Within the markers it is somebody else's; without, the next dump. */
	if (known && parser->current->marked) {
		parser->skip = true;
		return 0;
	}
	if (known || !parser->current) {
		int r = dump_begin(parser, false);

		if (r < 0)
			return r;
		id_add(parser, header->id);
	}
	struct storage *storage = parser->current;
	parser->created = false;
	parser->place = false;
	parser->skip = storage->dump.count == GOROUTINES_MAX;
	if (parser->skip) {
		storage->dump.truncated = true;
		return 0;
	}
	int r = grow((void **)&storage->dump.items, storage->dump.count, &storage->item_capacity,
		     sizeof(struct goroutine));
	if (r < 0)
		return r;
	parser->goroutine = &storage->dump.items[storage->dump.count++];
	*parser->goroutine = (struct goroutine){.id = header->id, .created_by = ""};
	state_parse(parser->goroutine, header->state, header->state_length);
	return 0;
}

/*
 * The length of the function's name in "main.(*T).f(0x1, {0x2, 0x3}, ...)", whose last bracket is
 * closed at the end; 0 if the line is none of these. A name has no blanks: import paths have none.
 */
static size_t function_length(const char *line, size_t length)
{
	size_t depth = 0;

	if (length < 3 || line[length - 1] != ')')
		return 0;
	for (size_t at = length; at-- > 0;) {
		if (line[at] == ')')
			depth++;
		else if (line[at] == '(' && --depth == 0) {
			for (size_t i = 0; i < at; i++)
				if ((unsigned char)line[i] <= ' ' || line[i] == '"' ||
				    line[i] == '=')
					return 0;
			return at;
		}
	}
	return 0;
}

static int frame_add(struct parser *parser, char *function, size_t length)
{
	struct storage *storage = parser->current;

	if (parser->goroutine->frame_count == GOROUTINE_FRAMES_MAX) {
		storage->dump.truncated = true;
		parser->skip = true;
		return 0;
	}
	int r = grow((void **)&storage->frames, storage->frame_count, &storage->frame_capacity,
		     sizeof(struct goroutine_frame));
	if (r < 0)
		return r;
	storage->frames[storage->frame_count++] =
		(struct goroutine_frame){.function = plain(function, length), .file = ""};
	parser->goroutine->frame_count++;
	parser->place = true;
	parser->created = false;
	return 0;
}

/* "/path/file.go:12 +0x5a fp=0x… sp=0x… pc=0x…": the last colon is before the line's number. */
static void place_parse(struct goroutine_frame *frame, char *text, size_t length)
{
	char *colon = memrchr(text, ':', length), *end = text + length, *digit;
	uint64_t line = 0;

	if (!colon || colon == text)
		return;
	for (digit = colon + 1; digit < end && *digit >= '0' && *digit <= '9' && line <= UINT32_MAX;
	     digit++)
		line = line * 10 + (uint64_t)(*digit - '0');
	if (digit == colon + 1 || (digit < end && *digit != ' ') || line > UINT32_MAX)
		return;
	frame->line = (uint32_t)line;
	frame->file = plain(text, (size_t)(colon - text));
}

/* "created by main.main in goroutine 1"; before Go 1.21 without the latter half. */
static void created_parse(struct parser *parser, char *text, size_t length)
{
	static const char by[] = " in goroutine ";
	char *blank = memmem(text, length, by, strlen(by));

	if (blank)
		length = (size_t)(blank - text);
	parser->goroutine->created_by = plain(text, length);
	parser->created = true;
	parser->place = false;
}

static bool begins_with(const char *line, size_t length, const char *prefix)
{
	return length >= strlen(prefix) && memcmp(line, prefix, strlen(prefix)) == 0;
}

/* A line within a goroutine; what is no part of one, as another's log line, changes nothing. */
static int on_line(struct parser *parser, char *line, size_t length)
{
	static const char created[] = "created by ";
	struct storage *storage = parser->current;

	if (parser->skip || length == 0)
		return 0;
	if (*line == '\t') {
		if (parser->created || !parser->place)
			parser->created = false;
		else
			place_parse(&storage->frames[storage->frame_count - 1], line + 1,
				    length - 1);
		parser->place = false;
		return 0;
	}
	if (begins_with(line, length, created)) {
		created_parse(parser, line + strlen(created), length - strlen(created));
		return 0;
	}
	/* Of a goroutine that has ended and started this one (GODEBUG=tracebackancestors). */
	if (begins_with(line, length, "[originating from goroutine ")) {
		parser->skip = true;
		return 0;
	}
	size_t function = function_length(line, length);
	return function ? frame_add(parser, line, function) : 0;
}

/* LINE has LENGTH bytes, and one more that may be written to. */
static int parse_line(struct parser *parser, char *line, size_t length)
{
	struct goroutine_header header;

	if (length > 0 && line[length - 1] == '\r')
		length--;
	if (memmem(line, length, GOROUTINES_END, strlen(GOROUTINES_END))) {
		if (parser->current) {
			parser->current->ended = true;
			dump_end(parser, true);
		}
		return 0;
	}
	if (memmem(line, length, GOROUTINES_BEGIN, strlen(GOROUTINES_BEGIN)))
		return dump_begin(parser, true);
	if (length <= HEADER_MAX && goroutine_header_read(line, length, &header))
		return on_header(parser, &header);
	return parser->goroutine ? on_line(parser, line, length) : 0;
}

static int parse_lines(struct parser *parser, char *text, size_t length)
{
	for (char *line = text, *end = text + length; line < end;) {
		char *newline = memchr(line, '\n', (size_t)(end - line));
		char *next = newline ? newline + 1 : end;
		int r = parse_line(parser, line, (size_t)((newline ? newline : end) - line));

		if (r < 0)
			return r;
		line = next;
	}
	dump_end(parser, length > 0 && text[length - 1] == '\n');
	return 0;
}

int goroutine_dump_parse(const char *text, size_t length, struct goroutine_dump **ret_dump)
{
	_cleanup_(parser_clear) struct parser parser = {
		.ids = calloc(IDS_SLOTS, sizeof(*parser.ids))};
	_cleanup_free_ char *lines = NULL;
	size_t lines_length, next = 0;
	bool escaped;

	if (!parser.ids)
		return -ENOMEM;
	int r = goroutine_text_unescape(text, length, &lines, &lines_length, &escaped);
	if (r == 0)
		r = parse_lines(&parser, lines, lines_length);
	if (r < 0)
		return r;
	struct storage *kept = TAKE_PTR(parser.kept);
	if (!kept)
		return -ENODATA;
	kept->dump.escaped = escaped;
	kept->text = TAKE_PTR(lines);
	for (size_t i = 0; i < kept->dump.count; i++) {
		kept->dump.items[i].frames = kept->frames ? kept->frames + next : NULL;
		next += kept->dump.items[i].frame_count;
	}
	*ret_dump = &kept->dump;
	return 0;
}

const struct goroutine *goroutine_dump_find(const struct goroutine_dump *dump, uint64_t id)
{
	for (size_t i = 0; i < dump->count; i++)
		if (dump->items[i].id == id)
			return &dump->items[i];
	return NULL;
}

const char *goroutine_function_name(const char *function)
{
	const char *name = function;

	/* Type arguments and receivers may have paths of their own. */
	for (const char *at = function; *at && *at != '(' && *at != '['; at++)
		if (*at == '/')
			name = at + 1;
	return name;
}
