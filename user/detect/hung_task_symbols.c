/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of the kernel addresses that sleeping tasks' stacks hold. There are few different ones, and
 * a reading of kallsyms takes 50 ms: so they are asked for together, and kept while somebody waits.
 */
#include "detect/hung_task.h"

#include "host/kallsyms.h"

#define SLOTS 8192 /* a power of two */
#define ADDRESSES_MAX (SLOTS / 2)
#define READING_INTERVAL_NS NS_PER_S
#define AGE_MAX_NS (600 * NS_PER_S)

struct symbols {
	struct {
		uint64_t address; /* 0: free */
		char *name;
	} slots[SLOTS];
	size_t count, unnamed;
	uint64_t read_ns, since_ns;
};

struct symbols *symbols_new(void)
{
	return calloc(1, sizeof(struct symbols));
}

static void symbols_clear(struct symbols *symbols)
{
	for (size_t i = 0; i < SLOTS; i++)
		free(symbols->slots[i].name);
	memset(symbols->slots, 0, sizeof(symbols->slots));
	symbols->count = symbols->unnamed = 0;
}

void symbols_free(struct symbols *symbols)
{
	if (!symbols)
		return;
	symbols_clear(symbols);
	free(symbols);
}

static size_t find_slot(const struct symbols *symbols, uint64_t address)
{
	size_t at = (size_t)(address * UINT64_C(0x9e3779b97f4a7c15) >> 40) & (SLOTS - 1);

	while (symbols->slots[at].address && symbols->slots[at].address != address)
		at = (at + 1) & (SLOTS - 1);
	return at;
}

void symbols_want(struct symbols *symbols, uint64_t address)
{
	size_t at = find_slot(symbols, address);

	/* Over the cap an address stays without a name, and is shown as a number. */
	if (!address || symbols->slots[at].address || symbols->count == ADDRESSES_MAX)
		return;
	symbols->slots[at].address = address;
	symbols->count++;
	symbols->unnamed++;
}

bool symbols_fill(struct symbols *symbols, const struct host *host, uint64_t now_ns)
{
	uint64_t addresses[ADDRESSES_MAX];
	char *names[ADDRESSES_MAX];
	size_t count = 0;

	if (!symbols->unnamed)
		return true;
	if (symbols->read_ns && now_ns - symbols->read_ns < READING_INTERVAL_NS)
		return false;
	symbols->read_ns = now_ns;
	if (!symbols->since_ns)
		symbols->since_ns = now_ns;
	for (size_t i = 0; i < SLOTS; i++)
		if (symbols->slots[i].address && !symbols->slots[i].name)
			addresses[count++] = symbols->slots[i].address;
	if (kallsyms_resolve(host, addresses, count, names) < 0)
		return false;
	for (size_t i = 0; i < count; i++)
		symbols->slots[find_slot(symbols, addresses[i])].name = names[i];
	symbols->unnamed = 0;
	return true;
}

const char *symbols_name(const struct symbols *symbols, uint64_t address)
{
	return symbols->slots[find_slot(symbols, address)].name;
}

void symbols_flush(struct symbols *symbols, uint64_t now_ns)
{
	if (!symbols->count || now_ns - symbols->since_ns < AGE_MAX_NS)
		return;
	symbols_clear(symbols);
	symbols->since_ns = 0;
}
