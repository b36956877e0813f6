/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/kallsyms as a stream of symbols. The kernel's own come sorted by address, those of modules
 * do not, so nothing here relies on the order.
 */
#include "host/kallsyms.h"

#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/buffer.h"

#define SYMBOL_MAX 512 /* KSYM_NAME_LEN */
#define FUNCTION_BYTES_MAX MIB /* an address further behind a symbol is not in it */

struct symbol {
	uint64_t address;
	const char *name, *module; /* module: "" or "fuse"; both valid during the call alone */
	size_t name_length, module_length;
};

typedef void (*symbol_visitor)(void *userdata, const struct symbol *symbol);

static int hex_digit(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	return -1;
}

/* "ffffffff81000000 T name[\t[module]]"; false for data and for what is no such line. */
static bool parse_line(const char *line, const char *end, struct symbol *ret_symbol)
{
	struct symbol symbol = {.module = ""};
	int digit;

	for (; line < end && (digit = hex_digit(*line)) >= 0; line++)
		symbol.address = symbol.address << 4 | (uint64_t)digit;
	if (end - line < 4 || line[0] != ' ' || line[2] != ' ')
		return false;
	char type = (char)tolower((unsigned char)line[1]);
	if (type != 't' && type != 'w')
		return false;
	symbol.name = line += 3;
	while (line < end && *line != '\t' && *line != ' ')
		line++;
	symbol.name_length = (size_t)(line - symbol.name);
	while (line < end && (*line == '\t' || *line == ' ' || *line == '['))
		line++;
	if (line < end && end[-1] == ']') {
		symbol.module = line;
		symbol.module_length = (size_t)(end - 1 - line);
	}
	*ret_symbol = symbol;
	return symbol.name_length > 0;
}

/* Calls VISIT for each function. -EPERM if all addresses are hidden. */
static int visit_symbols(const struct host *host, symbol_visitor visit, void *userdata)
{
	_cleanup_close_ int fd = openat(host->proc, "kallsyms", O_RDONLY | O_CLOEXEC);
	_cleanup_buffer_ struct buffer content = BUFFER(256 * KIB);
	bool any = false, shown = false;

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t length = buffer_read(&content, fd);

		if (length == -EINTR)
			continue;
		if (length < 0)
			return (int)length;
		if (length == 0)
			break;
		const char *next = content.data, *newline;
		const char *end = content.data + content.length;
		while ((newline = memchr(next, '\n', (size_t)(end - next)))) {
			struct symbol symbol;

			if (parse_line(next, newline, &symbol)) {
				any = true;
				if (symbol.address) {
					shown = true;
					visit(userdata, &symbol);
				}
			}
			next = newline + 1;
		}
		buffer_consume(&content, (size_t)(next - content.data));
	}
	return any && !shown ? -EPERM : 0;
}

/* --- Names of addresses --- */

struct wanted {
	uint64_t address;
	size_t index; /* in the caller's list */
	uint64_t best; /* the nearest symbol before it */
	char *name;
};

struct resolving {
	struct wanted *wanted; /* by address */
	size_t count;
	bool out_of_memory;
};

static int compare_wanted(const void *a, const void *b)
{
	const struct wanted *left = a, *right = b;

	return (left->address > right->address) - (left->address < right->address);
}

static void resolve_symbol(void *userdata, const struct symbol *symbol)
{
	struct resolving *resolving = userdata;
	size_t low = 0, high = resolving->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (resolving->wanted[middle].address < symbol->address)
			low = middle + 1;
		else
			high = middle;
	}
	for (size_t i = low; i < resolving->count; i++) {
		struct wanted *wanted = &resolving->wanted[i];
		char name[2 * SYMBOL_MAX];

		if (wanted->address - symbol->address >= FUNCTION_BYTES_MAX)
			break;
		if (wanted->name && wanted->best >= symbol->address)
			continue;
		snprintf(name, sizeof(name),
			 symbol->module_length ? "%.*s+0x%" PRIx64 " [%.*s]" : "%.*s+0x%" PRIx64,
			 (int)MIN(symbol->name_length, (size_t)SYMBOL_MAX), symbol->name,
			 wanted->address - symbol->address,
			 (int)MIN(symbol->module_length, (size_t)64), symbol->module);
		char *copy = strdup(name);
		if (!copy) {
			resolving->out_of_memory = true;
			return;
		}
		free(wanted->name);
		wanted->name = copy;
		wanted->best = symbol->address;
	}
}

int kallsyms_resolve(const struct host *host, const uint64_t *addresses, size_t count,
		     char **ret_names)
{
	_cleanup_free_ struct wanted *wanted = calloc(MAX(count, (size_t)1), sizeof(*wanted));

	if (!wanted)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		wanted[i] = (struct wanted){.address = addresses[i], .index = i};
	qsort(wanted, count, sizeof(*wanted), compare_wanted);
	struct resolving resolving = {.wanted = wanted, .count = count};
	int r = visit_symbols(host, resolve_symbol, &resolving);
	for (size_t i = 0; r == 0 && i < count; i++) {
		char text[32];

		snprintf(text, sizeof(text), "%#" PRIx64, wanted[i].address);
		if (!wanted[i].name && !(wanted[i].name = strdup(text)))
			r = -ENOMEM;
	}
	if (resolving.out_of_memory)
		r = -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		if (r < 0)
			free(wanted[i].name);
		else
			ret_names[wanted[i].index] = wanted[i].name;
	}
	return r;
}

/* --- Ranges of functions --- */

struct ranging {
	const char *const *names;
	size_t count;
	struct kernel_range *ranges;
};

static void find_start(void *userdata, const struct symbol *symbol)
{
	struct ranging *ranging = userdata;

	for (size_t i = 0; i < ranging->count; i++)
		/* A function has a length: none begins with the last byte. */
		if (!ranging->ranges[i].start && symbol->address < UINT64_MAX &&
		    strlen(ranging->names[i]) == symbol->name_length &&
		    memcmp(ranging->names[i], symbol->name, symbol->name_length) == 0)
			ranging->ranges[i].start = symbol->address;
}

static void find_end(void *userdata, const struct symbol *symbol)
{
	struct ranging *ranging = userdata;

	for (size_t i = 0; i < ranging->count; i++) {
		struct kernel_range *range = &ranging->ranges[i];

		if (range->start && symbol->address > range->start && symbol->address < range->end)
			range->end = symbol->address;
	}
}

int kallsyms_ranges(const struct host *host, const char *const *names, size_t count,
		    struct kernel_range *ret_ranges)
{
	struct ranging ranging = {.names = names, .count = count, .ranges = ret_ranges};

	memset(ret_ranges, 0, count * sizeof(*ret_ranges));
	int r = visit_symbols(host, find_start, &ranging);
	for (size_t i = 0; i < count; i++)
		if (ret_ranges[i].start)
			ret_ranges[i].end =
				ret_ranges[i].start +
				MIN(FUNCTION_BYTES_MAX, UINT64_MAX - ret_ranges[i].start);
	/* A second reading, as a module's next symbol may stand before the function. */
	return r < 0 ? r : visit_symbols(host, find_end, &ranging);
}

int kallsyms_range(const struct host *host, const char *name, uint64_t *ret_start,
		   uint64_t *ret_end)
{
	struct kernel_range range;
	int r = kallsyms_ranges(host, &name, 1, &range);

	if (r < 0)
		return r;
	if (!range.start)
		return -ENOENT;
	*ret_start = range.start;
	*ret_end = range.end;
	return 0;
}
